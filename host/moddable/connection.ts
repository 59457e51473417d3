import Time from "time";
import Timer from "timer";
import { type ConnectionPhase, IotHubError, NetworkError } from "../../src/errors.js";
import type { HttpCounters, HttpResponse } from "../../src/host.js";
import { parseObject } from "../../src/request/response.js";
import { ResponseReader, requestHead } from "./http-codec.js";
import type { PendingRequest } from "./pending-request.js";
import type { Resolver } from "./resolver.js";
import { AbruptEnd, type OriginMemory, type Transport, type TransportEvents } from "./transport.js";

/** Parameters of connections to one origin. */
export interface Endpoint {
  /** Hostname or IPv4 address. */
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
  readonly resolver: Resolver;
  /** Keep-alive time of an idle connection in milliseconds. */
  readonly keepAliveMs: number;
  readonly memory?: OriginMemory;
  /** @throws {Error} if no socket is available */
  connect(address: string, events: TransportEvents): Transport;
}

export type Counters = { -readonly [Name in keyof HttpCounters]: number };

export interface ConnectionEvents {
  onClosed(connection: Connection): void;
  /** Called when unsolicited bytes arrived; the connection is then closed. */
  onSurplus(): void;
  /** Shared by all connections: a callback for each would cost memory. */
  readonly counters: Counters;
  /** Called with the `Date` header of each response that has one. */
  readonly onDate?: (date: string) => void;
}

type State = "new" | "connecting" | "securing" | "writing" | "waiting" | "reading" | "idle" | "closed";

/** Phase that a request reports for a state of its connection. */
const phases: Readonly<Partial<Record<State, ConnectionPhase>>> = Object.freeze({
  connecting: "connect",
  securing: "tls",
  writing: "write",
  waiting: "first-byte",
  reading: "read",
});

/**
 * Bytes of head and body that are copied and written at once, over TLS as one record; the rest of the body is not
 * copied.
 */
const FIRST_BYTES = 2048;
/** Margin before the server's keep-alive limit, as its count begins half a round trip earlier. */
const KEEP_ALIVE_MARGIN_MS = 2000;

/** A connection that carries one request after another until either side closes it. */
export class Connection implements TransportEvents {
  readonly #endpoint: Endpoint;
  readonly #events: ConnectionEvents;
  #state: State = "new";
  #transport: Transport | undefined;
  #withdrawName: (() => void) | undefined;
  /** Whether its address was remembered from an earlier connection. */
  #isRemembered = false;
  #idleTimer: Timer | undefined;
  #idleSince = 0;
  #idleMs = 0;
  #isReused = false;
  /** Whether the TLS handshake of a new connection resumed a session. */
  #isResumed: boolean | undefined;
  /** The pending request, its unsent bytes, and the reader of its response. */
  #pending: PendingRequest | undefined;
  readonly #unsent: Uint8Array[] = [];
  #reader: ResponseReader | undefined;
  /** Whether the first byte of the response has arrived. */
  #hasResponded = false;
  /** Whether the final response began before the request was written completely. */
  #isEarly = false;

  constructor(endpoint: Endpoint, events: ConnectionEvents) {
    this.#endpoint = endpoint;
    this.#events = events;
  }

  /** Whether it accepts another request. False if it was idle for too long, even if its timer is late. */
  get isIdle(): boolean {
    return this.#state === "idle" && Time.delta(this.#idleSince) < this.#idleMs;
  }

  /** Sends a request on a new or idle connection. Never throws. */
  start(pending: PendingRequest): void {
    const isNew = this.#state === "new";
    try {
      if (!isNew) {
        Timer.clear(this.#idleTimer);
        // Bytes sent by the server meanwhile belong to no request.
        this.#transport?.poll();
        if (this.#state !== "idle") {
          pending.fail(this.#reset("write", true));
          return;
        }
      }
      this.#pending = pending;
      this.#isReused = !isNew;
      this.#isResumed = undefined;
      this.#hasResponded = this.#isEarly = false;
      this.#reader = new ResponseReader(pending.maxResponseBytes);
      const { request } = pending;
      const { body } = request;
      const head = requestHead({ ...request, host: this.#endpoint.host });
      const first = new Uint8Array(Math.max(head.length, Math.min(head.length + body.length, FIRST_BYTES)));
      const count = first.length - head.length;
      first.set(head);
      first.set(count === body.length ? body : body.subarray(0, count), head.length);
      this.#unsent.push(first);
      if (count < body.length) this.#unsent.push(body.subarray(count));
      if (isNew) {
        this.#open();
      } else {
        this.#move("writing");
        this.#write();
      }
    } catch (error) {
      this.#pending = pending;
      this.#fail(error);
    }
  }

  /**
   * Closes at once; a pending request fails.
   * @param isOverdue see {@link Transport.close}
   */
  close(isOverdue = false): void {
    if (this.#state === "closed") return;
    const isOpening = this.#isOpening;
    this.#move("closed");
    this.#withdrawName?.();
    Timer.clear(this.#idleTimer);
    const transport = this.#transport;
    this.#transport = this.#withdrawName = this.#reader = undefined;
    this.#unsent.length = 0;
    transport?.close(isOverdue);
    // Whatever the reason: the next run must not try that address again.
    if (isOpening) this.#dropAddress();
    this.#events.onClosed(this);
    this.#pending?.fail(new IotHubError("CANCELLED", "The connection was closed by the client."));
    this.#pending = undefined;
  }

  onConnected(): void {
    this.#events.counters.connections++;
    if (this.#endpoint.isSecure && this.#state === "connecting") this.#move("securing");
  }

  onWritable(): void {
    try {
      if (this.#isOpening) {
        this.#isResumed = this.#transport?.isResumed;
        if (this.#state === "securing") {
          this.#events.counters[this.#isResumed ? "resumedHandshakes" : "fullHandshakes"]++;
        }
        this.#move("writing");
      }
      if (this.#state === "writing") this.#write();
    } catch (error) {
      this.#fail(error);
    }
  }

  onReadable(bytes: Uint8Array): void {
    const reader = this.#reader;
    if (reader === undefined) {
      if (this.#state !== "idle") return;
      // RFC 9110 section 15.5.9: a server may send 408 before it closes an idle connection.
      if (!isTimeoutResponse(bytes)) this.#events.onSurplus();
      this.close();
      return;
    }
    try {
      this.#hasResponded = true;
      if (this.#state === "waiting") this.#move("reading");
      const used = reader.feed(bytes);
      if (this.#state !== "reading" && reader.status >= 200) {
        // RFC 9112 section 9.5: the client stops writing, and closes.
        this.#isEarly = true;
        this.#unsent.length = 0;
        this.#move("waiting");
        this.#move("reading");
      }
      if (reader.state === "done") this.#finish(used < bytes.length);
    } catch (error) {
      this.#fail(error);
    }
  }

  onClose(error: unknown, isWorthAnother = false): void {
    this.#transport = undefined;
    if (this.#isOpening && (this.#dropAddress() || isWorthAnother)) {
      // Nothing of the request was written: start it on a new connection, on a fresh stack.
      this.#move("connecting");
      Promise.resolve().then(() => {
        if (this.#state === "connecting") this.#open();
      });
      return;
    }
    const reader = this.#reader;
    const isAbrupt = error instanceof AbruptEnd;
    if ((error === undefined || isAbrupt) && reader?.end()) {
      // RFC 5246 section 7.2.1: without close_notify, an attacker may have truncated it.
      if (isAbrupt && this.#endpoint.isSecure && parseObject(reader.body) === undefined) {
        this.#fail(
          new NetworkError(
            "RESPONSE_TRUNCATED",
            "read",
            "The response has no length, and the TLS connection ended without close_notify.",
          ),
        );
      } else {
        this.#finish(false);
      }
    } else {
      this.#fail(error, isWorthAnother);
    }
  }

  /** Changes the state, and reports the phase to the request. */
  #move(state: State): void {
    this.#state = state;
    const phase = phases[state];
    if (phase !== undefined) this.#pending?.enter(phase);
  }

  get #isOpening(): boolean {
    return this.#state === "connecting" || this.#state === "securing";
  }

  #dropAddress(): boolean {
    const isRemembered = this.#isRemembered;
    this.#isRemembered = false;
    if (isRemembered) this.#endpoint.memory?.dropAddress();
    return isRemembered;
  }

  #open(): void {
    this.#move("connecting");
    const loading = this.#endpoint.memory?.ready();
    if (loading === undefined) {
      this.#connect();
      return;
    }
    loading.then(() => {
      if (this.#state === "connecting") this.#connect();
    });
  }

  #connect(): void {
    const { host, resolver, memory } = this.#endpoint;
    const known = resolver.knows(host) ? undefined : memory?.address;
    this.#withdrawName = resolver.resolve(known ?? host, {
      onResolved: (address) => {
        this.#withdrawName = undefined;
        try {
          this.#transport = this.#endpoint.connect(address, this);
          // Only after it was tried: without a network or a socket, the address may still be valid.
          this.#isRemembered = known !== undefined;
        } catch (error) {
          this.#fail(error);
        }
      },
      onFailed: (error) => {
        this.#withdrawName = undefined;
        this.#fail(
          error instanceof IotHubError
            ? error
            : new NetworkError("NAME_RESOLUTION", "connect", `The hostname ${host} could not be resolved.`, {
                cause: error,
              }),
        );
      },
    });
  }

  #write(): void {
    const unsent = this.#unsent;
    while (unsent.length > 0) {
      const bytes = unsent[0];
      const count = this.#transport?.write(bytes) ?? 0;
      if (count === 0) return;
      if (count < bytes.length) unsent[0] = bytes.subarray(count);
      else unsent.shift();
    }
    this.#move("waiting");
  }

  #finish(hasSurplus: boolean): void {
    const { status, headers, body, isPersistent, keepAliveSeconds } = this.#reader as ResponseReader;
    const pending = this.#pending;
    const response: HttpResponse = { status, headers, body, reused: this.#isReused, resumed: this.#isResumed };
    this.#pending = this.#reader = undefined;
    if (hasSurplus) this.#events.onSurplus();
    const { keepAliveMs } = this.#endpoint;
    const idleMs =
      keepAliveSeconds === undefined
        ? keepAliveMs
        : Math.min(keepAliveMs, keepAliveSeconds * 1000 - KEEP_ALIVE_MARGIN_MS);
    if (isPersistent && !this.#isEarly && !hasSurplus && idleMs > 0) {
      this.#move("idle");
      this.#idleSince = Time.ticks;
      this.#idleMs = idleMs;
      this.#idleTimer = Timer.set(() => this.close(), idleMs);
    } else {
      this.close();
    }
    pending?.succeed(this.#isEarly ? { ...response, early: true } : response);
    if (headers.date) this.#events.onDate?.(headers.date);
  }

  #fail(error: unknown, isStale = false): void {
    const pending = this.#pending;
    this.#pending = undefined;
    const failure = pending && this.#describe(error, pending.phase, isStale);
    this.close();
    pending?.fail(failure);
  }

  #describe(error: unknown, phase: ConnectionPhase, isStale: boolean): IotHubError {
    if (error instanceof IotHubError) return error;
    const { host, port, isSecure } = this.#endpoint;
    if (error === undefined || error instanceof AbruptEnd) {
      return phase === "connect"
        ? new NetworkError("CONNECTION_REFUSED", phase, `${host} does not accept connections on port ${port}.`)
        : this.#reset(phase, isStale || (this.#isReused && !this.#hasResponded));
    }
    const reason = textOf(error);
    if (phase === "tls") {
      return new NetworkError("TLS_FAILED", phase, `The TLS handshake with ${host} failed: ${reason}.`, {
        cause: error,
      });
    }
    if (isSecure && phase !== "connect") {
      return new NetworkError("TLS_FAILED", phase, `The TLS connection to ${host} failed: ${reason}.`, {
        cause: error,
        stale: isStale,
      });
    }
    return new NetworkError("NETWORK_FAILED", phase, `The connection to ${host} failed: ${reason}.`, {
      cause: error,
      stale: isStale,
    });
  }

  #reset(phase: ConnectionPhase, isStale: boolean): NetworkError {
    const message = `${this.#endpoint.host} closed the connection ${until[phase]}.`;
    return new NetworkError("CONNECTION_RESET", phase, message, { stale: isStale });
  }
}

const until: Readonly<Record<ConnectionPhase, string>> = Object.freeze({
  connect: "before it was established",
  tls: "during the TLS handshake",
  write: "before the request was written completely",
  "first-byte": "before it responded",
  read: "before the response was complete",
});

/** Whether bytes begin with `HTTP/1.1 408` or `HTTP/1.0 408`. */
function isTimeoutResponse(bytes: Uint8Array): boolean {
  const [slash, four, zero, eight] = [bytes[4], bytes[9], bytes[10], bytes[11]];
  return bytes[0] === 0x48 && slash === 0x2f && four === 0x34 && zero === 0x30 && eight === 0x38;
}

function textOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message === "" ? "no reason given" : message.replace(/[.\s]+$/, "");
}
