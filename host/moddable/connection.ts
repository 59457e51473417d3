import type HTTPClient from "embedded:network/http/client";
import type { HTTPRequest } from "embedded:network/http/client";
import { IotHubError, NetworkError, type RequestPhase } from "../../src/errors.js";
import type { Exchange } from "./exchange.js";
import { NameResolver } from "./resolver.js";
import type { GuardedSocket, SocketLink, SocketOptions, TcpConstructor } from "./socket.js";

/** How connections to one origin are made. */
export interface Route {
  /** The HTTP client class of ECMA-419 clause 15. */
  readonly Client: typeof HTTPClient;
  readonly TCP: TcpConstructor;
  readonly Socket: new (options: SocketOptions) => GuardedSocket;
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  /** IPv4 addresses of names that no server is asked for. */
  readonly addresses?: Readonly<Record<string, string>>;
  /** More for the socket's constructor. */
  readonly settings?: object;
}

type State = "connecting" | "securing" | "idle" | "writing" | "answer" | "closed";

/** Bytes of status line, headers and chunk framing that a response may have. */
const MAX_OVERHEAD_BYTES = 8192;

/** One connection: carries one exchange after another until either side closes it. */
export class Connection implements SocketLink {
  framing: "line" | "byte" | "block" = "line";
  holding = false;
  complete = true;
  fresh = true;

  readonly #route: Route;
  readonly #onClosed: (exchange: Exchange | undefined, failure: IotHubError) => void;
  #state: State = "connecting";
  #client: HTTPClient | undefined;
  #resolver: NameResolver | undefined;
  #socket: GuardedSocket | undefined;
  #exchange: Exchange | undefined;
  #failure: IotHubError | undefined;
  #overhead = 0;
  #bodyWanted = false;
  /** True if only the end of the connection ends the response. */
  #untilClose = false;
  #lastAnswer = false;

  /** @param onClosed called once, with the exchange that was under way and why it ended */
  constructor(route: Route, onClosed: (exchange: Exchange | undefined, failure: IotHubError) => void) {
    this.#route = route;
    this.#onClosed = onClosed;
  }

  get moreToCome(): boolean {
    // Until the client asks for the body, and there is one.
    return this.#state === "writing" && this.holding && !this.#bodyWanted;
  }

  get idle(): boolean {
    return this.#state === "idle" && this.#exchange === undefined;
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** Begins an exchange on a new connection or on an idle one. Never throws. */
  start(exchange: Exchange): void {
    this.#exchange = exchange;
    this.framing = "line";
    this.complete = false;
    this.fresh = true;
    this.#overhead = 0;
    this.#bodyWanted = false;
    this.#untilClose = this.#lastAnswer = false;
    const { request } = exchange;
    this.holding = request.body.length > 0;
    const connection = this;
    try {
      this.#client ??= this.#open();
      // What failed at once has settled the exchange already.
      if (this.#exchange !== exchange) return;
      if (this.#state === "idle") this.#enterWriting();
      this.#client.request({
        method: request.method,
        path: request.path,
        headers: new Map([["content-length", String(request.body.length)], ...Object.entries(request.headers)]),
        onHeaders(status, headers) {
          connection.#guard(() => connection.#onHeaders(status, headers as Map<string, string>));
        },
        onWritable(count) {
          connection.#guard(() => connection.#onWritable(this, count));
        },
        onReadable(count) {
          connection.#guard(() => connection.#onReadable(this, count));
        },
        onDone(error) {
          connection.#guard(() => connection.#onDone(error));
        },
      });
    } catch (error) {
      this.onFailure(error);
      this.close();
    }
  }

  /** Closes at once; an exchange under way fails. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#resolver?.close();
    try {
      this.#client?.close();
    } catch {
      // The client may be in the middle of its constructor; the socket is closed below.
    }
    this.#socket?.close();
    this.#client = this.#resolver = this.#socket = undefined;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#onClosed(
      exchange,
      this.#failure ?? new IotHubError("CANCELLED", "The connection was closed from this side."),
    );
  }

  onSocket(socket: GuardedSocket): void {
    this.#socket = socket;
  }

  onConnected(): void {
    if (!this.#route.secure) return;
    this.#state = "securing";
    this.#exchange?.enter("tls");
  }

  onSecured(): void {
    this.#enterWriting();
  }

  onReceived(count: number): void {
    const exchange = this.#exchange;
    if (!exchange || this.complete) return;
    if (!exchange.answered) {
      exchange.answered = true;
      if (this.#state === "answer") exchange.enter("read");
    }
    this.#overhead += count;
    if (this.#overhead > MAX_OVERHEAD_BYTES + exchange.maxResponseBytes) throw exchange.tooLarge();
  }

  onEarlyAnswer(): void {
    this.#lastAnswer = true;
  }

  onSurplus(): void {
    this.#lastAnswer = true;
    if (!this.#exchange) this.close();
  }

  onFailure(reason: unknown): void {
    this.#failure ??= this.#describe(reason);
  }

  #open(): HTTPClient {
    const { Client, Socket, TCP, host, port, addresses, settings } = this.#route;
    return new Client({
      host,
      port,
      socket: {
        ...settings,
        io: Socket,
        TCP: { io: TCP },
        link: this,
      },
      dns: {
        io: NameResolver,
        addresses,
        onOpen: (resolver: NameResolver) => {
          this.#resolver = resolver;
        },
      },
      onError: (error: unknown) => {
        this.onFailure(error);
        this.close();
      },
    });
  }

  #enterWriting(): void {
    this.#state = "writing";
    this.#exchange?.enter("write");
  }

  #onWritable(request: HTTPRequest, count: number): void {
    const exchange = this.#exchange;
    if (!exchange || this.#state !== "writing") return;
    const { body } = exchange.request;
    this.#bodyWanted = true;
    // The socket may take more than was announced, never less.
    const end = Math.min(body.length, exchange.sent + count);
    if (end > exchange.sent) {
      const portion = body.subarray(exchange.sent, end);
      exchange.sent = end;
      request.write(portion);
    }
    if (end === body.length) this.#onWritten(exchange);
  }

  #onWritten(exchange: Exchange): void {
    this.#state = "answer";
    this.holding = false;
    exchange.enter("first-byte");
    if (exchange.answered) exchange.enter("read");
  }

  #onHeaders(status: number, headers: Map<string, string>): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    if (this.#state === "writing") this.#onWritten(exchange);
    if (!(status >= 200 && status <= 599)) throw malformed("its status is not one of HTTP");
    const record: Record<string, string> = {};
    for (const [name, value] of headers) if (name !== "__proto__") record[name] = value;
    exchange.status = status;
    exchange.headers = record;
    if (record.connection?.toLowerCase().includes("close")) this.#lastAnswer = true;
    const coding = record["transfer-encoding"];
    const length = record["content-length"];
    if (coding !== undefined) {
      if (coding.toLowerCase() !== "chunked") throw malformed("its transfer coding is not known");
      this.framing = "byte";
    } else if (length !== undefined) {
      if (!/^\d{1,9}$/.test(length)) throw malformed("its length is not a number");
      if (Number(length) > exchange.maxResponseBytes) throw exchange.tooLarge();
      exchange.expect(Number(length));
      this.framing = "block";
    } else {
      this.#untilClose = status !== 204 && status !== 205;
      this.#lastAnswer = true;
      this.framing = "block";
    }
  }

  #onReadable(request: HTTPRequest, count: number): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    if (!(count > 0)) throw malformed("its length is not a number");
    request.read(exchange.room(count));
    const length = exchange.headers["content-length"];
    if (this.framing === "block" && length !== undefined && exchange.received === Number(length)) this.complete = true;
  }

  #onDone(error: unknown): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    if (error) {
      if (this.#untilClose && this.#isEnd()) {
        this.#failure = undefined;
        this.#succeed(exchange);
      } else {
        this.onFailure(error);
        this.close();
      }
      return;
    }
    this.#succeed(exchange);
  }

  #succeed(exchange: Exchange): void {
    this.complete = true;
    this.#exchange = undefined;
    this.#state = "idle";
    if (this.#lastAnswer) this.close();
    exchange.succeed();
  }

  #isEnd(): boolean {
    return this.#failure === undefined || this.#failure.code === "CONNECTION_RESET";
  }

  /** What the HTTP client calls, which throws on from there: into native code or a timer. */
  #guard(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.onFailure(error);
      this.close();
    }
  }

  #phase(): RequestPhase {
    return this.#exchange?.phase ?? "connect";
  }

  #describe(reason: unknown): IotHubError {
    if (reason instanceof IotHubError) return reason;
    const phase = this.#phase();
    const { host, port } = this.#route;
    // The client tells the request first, with an empty error.
    const failure = this.#resolver?.failure;
    if (failure !== undefined) {
      if (failure instanceof IotHubError) return failure;
      return new NetworkError("NAME_RESOLUTION", "connect", `The name ${host} was not resolved.`, failure);
    }
    if (reason === undefined || reason === null) {
      if (phase === "connect") {
        return new NetworkError("CONNECTION_REFUSED", phase, `${host} does not accept connections on port ${port}.`);
      }
      const exchange = this.#exchange;
      const stale = exchange?.reused === true && !exchange.answered;
      return new NetworkError(
        "CONNECTION_RESET",
        phase,
        `${host} closed the connection ${during[phase]}.`,
        undefined,
        stale,
      );
    }
    if (phase === "tls") {
      return new NetworkError("TLS_FAILED", phase, `The TLS handshake with ${host} failed: ${text(reason)}.`, reason);
    }
    if (phase === "first-byte" || phase === "read") {
      return malformed(text(reason), reason);
    }
    return new NetworkError("NETWORK_FAILED", phase, `The connection to ${host} failed: ${text(reason)}.`, reason);
  }
}

const during: Readonly<Record<RequestPhase, string>> = Object.freeze({
  connect: "before it stood",
  tls: "during the TLS handshake",
  write: "before the request was written",
  "first-byte": "before it responded",
  read: "in the middle of its response",
  total: "early",
});

function text(reason: unknown): string {
  const message = reason instanceof Error ? reason.message : String(reason);
  return message === "" ? "no reason given" : message.replace(/[.\s]+$/, "");
}

function malformed(reason: string, cause?: unknown): NetworkError {
  return new NetworkError("RESPONSE_MALFORMED", "read", `The response is not HTTP as it should be: ${reason}.`, cause);
}
