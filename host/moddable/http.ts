import { IotHubError, NetworkError } from "../../src/errors.js";
import type { HttpClient, HttpContext, HttpCounters, HttpRequest, HttpResponse } from "../../src/host.js";
import { Connection, type ConnectionEvents, type Counters, type Endpoint } from "./connection.js";
import { PendingRequest } from "./pending-request.js";
import { Resolver } from "./resolver.js";
import { TcpTransport } from "./tcp.js";
import type { OriginMemory, Transport, TransportEvents } from "./transport.js";

/** Creates TLS connections. */
export interface SecureTransport {
  readonly Transport: new (options: SecureTransportOptions, events: TransportEvents) => Transport;
  /** Returns further options for an origin; called once per origin. */
  settings(host: string, port: number): { readonly memory?: OriginMemory };
}

export interface SecureTransportOptions {
  /** IPv4 address of the server. */
  readonly address: string;
  readonly port: number;
  /** Hostname or IPv4 address that the certificate must match. */
  readonly host: string;
}

export interface HttpOptions {
  /** TLS implementation; without it, https URLs are rejected. */
  readonly secure?: SecureTransport;
  /** Static IPv4 addresses by hostname, like a hosts file. */
  readonly addresses?: Readonly<Record<string, string>>;
  /** Resolver of all other names. @default a new resolver */
  readonly resolver?: Resolver;
  /**
   * Keep-alive time of an idle connection in milliseconds, 0 to 86 400 000; 0 closes it at once. If the server
   * announces less (`Keep-Alive: timeout=`), the connection is closed two seconds before that.
   * @default 75_000
   */
  readonly keepAliveMs?: number;
  /**
   * Maximum number of origins with an open connection; each takes some kilobytes.
   * @default 2
   */
  readonly maxConnections?: number;
  /**
   * Maximum number of requests waiting for a connection.
   * @default 16
   */
  readonly maxWaiting?: number;
  /** Called with the `Date` header of each response that has one. */
  readonly onDate?: (date: string) => void;
}

/** The connection to one origin and the requests waiting for it. */
interface Origin {
  readonly endpoint: Endpoint;
  connection: Connection | undefined;
  current: PendingRequest | undefined;
  readonly waiting: PendingRequest[];
}

/** Default of nginx; servers with a shorter limit announce it. */
const KEEP_ALIVE_MS = 75000;

/** HTTP/1.1 client with one connection per origin; requests to the same origin are serialized. */
export class Http implements HttpClient {
  readonly #options: HttpOptions;
  readonly #resolver: Resolver;
  #surplus = 0;
  readonly #counters: Counters = { connections: 0, fullHandshakes: 0, resumedHandshakes: 0 };
  readonly #origins = new Map<string, Origin>();
  #closed = false;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#resolver = options.resolver ?? new Resolver(options.addresses);
  }

  /** See {@link HttpClient.surplus}. */
  get surplus(): number {
    return this.#surplus;
  }

  counters(): HttpCounters {
    return { ...this.#counters };
  }

  send(request: HttpRequest, context: HttpContext): Promise<HttpResponse> {
    const pending = new PendingRequest(request, context);
    if (pending.settled) return pending.promise;
    if (this.#closed) {
      pending.fail(clientClosed());
      return pending.promise;
    }
    let origin: Origin;
    try {
      origin = this.#origin(request);
    } catch (error) {
      pending.fail(
        error instanceof IotHubError
          ? error
          : new NetworkError("NETWORK_FAILED", "connect", "The connection could not be prepared.", { cause: error }),
      );
      return pending.promise;
    }
    if (origin.waiting.length >= (this.#options.maxWaiting ?? 16)) {
      pending.fail(new NetworkError("NETWORK_FAILED", "connect", "Too many requests are waiting for the connection."));
      return pending.promise;
    }
    origin.waiting.push(pending);
    pending.onSettled = () => this.#settled(origin, pending);
    this.#soon(origin);
    return pending.promise;
  }

  checkEndpoint({ scheme, host }: Pick<HttpRequest, "scheme" | "host">): void {
    if (host.startsWith("[")) {
      throw new IotHubError(
        "INVALID_URL",
        "IPv6 is not supported on this platform: use a hostname or an IPv4 address.",
      );
    }
    if (scheme === "https" && !this.#options.secure) {
      throw new IotHubError(
        "INVALID_OPTION",
        "This build has no TLS: include manifest.json instead of manifest-http.json (with mcpack, import " +
          '"tencent-iothub-xs" instead of "tencent-iothub-xs/http"), or set an http url.',
      );
    }
  }

  close(): void {
    this.#closed = true;
    for (const origin of this.#origins.values()) {
      for (const pending of origin.waiting.splice(0)) pending.fail(clientClosed());
      origin.current?.fail(clientClosed());
      origin.connection?.close();
    }
    this.#origins.clear();
  }

  /** Drops the memory of earlier connections: TLS sessions and addresses. */
  forget(): void {
    for (const { endpoint } of this.#origins.values()) endpoint.memory?.forget();
  }

  #origin(request: HttpRequest): Origin {
    const { scheme, host, port } = request;
    const key = `${scheme}://${host}:${port}`;
    let origin = this.#origins.get(key);
    if (origin) {
      // Map order: least recently used first.
      this.#origins.delete(key);
    } else {
      origin = { endpoint: this.#endpoint(request), connection: undefined, current: undefined, waiting: [] };
      this.#makeRoom();
    }
    this.#origins.set(key, origin);
    return origin;
  }

  #endpoint(request: HttpRequest): Endpoint {
    this.checkEndpoint(request);
    const { scheme, host: name, port } = request;
    const { secure, keepAliveMs = KEEP_ALIVE_MS } = this.#options;
    // Normalized as for the signature: no trailing dot in the Host header, SNI and certificate checks.
    const host = name.replace(/\.$/, "");
    const common = { host, port, resolver: this.#resolver, keepAliveMs };
    if (scheme === "http" || secure === undefined) {
      return { ...common, isSecure: false, connect: (address, events) => new TcpTransport(address, port, events) };
    }
    const settings = secure.settings(host, port);
    const connect: Endpoint["connect"] = (address, events) =>
      new secure.Transport({ ...settings, address, port, host }, events);
    return { ...common, isSecure: true, memory: settings.memory, connect };
  }

  #makeRoom(): void {
    const max = this.#options.maxConnections ?? 2;
    for (const [key, origin] of this.#origins) {
      if (this.#origins.size < max) return;
      if (origin.current || origin.waiting.length > 0) continue;
      this.#origins.delete(key);
      origin.connection?.close();
    }
  }

  #next(origin: Origin): void {
    if (origin.current) return;
    const pending = origin.waiting.shift();
    if (!pending) return;
    origin.current = pending;
    if (pending.fresh || !origin.connection?.isIdle) {
      origin.connection?.close();
      origin.connection = new Connection(origin.endpoint, this.#eventsOf(origin));
    }
    origin.connection?.start(pending);
  }

  #eventsOf(origin: Origin): ConnectionEvents {
    return {
      onClosed: (connection) => {
        if (origin.connection === connection) origin.connection = undefined;
      },
      onSurplus: () => {
        this.#surplus++;
      },
      counters: this.#counters,
      onDate: this.#options.onDate,
    };
  }

  #settled(origin: Origin, pending: PendingRequest): void {
    const waiting = origin.waiting.indexOf(pending);
    if (waiting >= 0) origin.waiting.splice(waiting, 1);
    if (origin.current !== pending) return;
    origin.current = undefined;
    // Aborted by the caller or a timeout: a late response must not be taken for that of the next request.
    if (origin.connection && !origin.connection.isIdle) origin.connection.close(pending.isOverdue);
    this.#soon(origin);
  }

  /** Runs on a fresh stack: the caller's is nearly full, or inside a connection's callback. */
  #soon(origin: Origin): void {
    Promise.resolve().then(() => this.#next(origin));
  }
}

function clientClosed(): IotHubError {
  return new IotHubError("CANCELLED", "The HTTP client has been closed.");
}
