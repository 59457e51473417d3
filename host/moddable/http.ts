import TCP from "embedded:io/socket/tcp";
import HTTPClient from "embedded:network/http/client";
import { IotHubError, NetworkError } from "../../src/errors.js";
import type { HttpClient, HttpContext, HttpRequest, HttpResponse } from "../../src/host.js";
import { Connection, type Route } from "./connection.js";
import { Exchange } from "./exchange.js";
import { PlainSocket, type TcpConstructor } from "./socket.js";

export type SecureRoute = Pick<Route, "Socket"> & {
  /** Settings of the TLS socket for an origin, made once and kept. */
  settings(host: string, port: number): object;
};

export interface HttpOptions {
  /** How https is spoken; without it, https is refused. */
  readonly secure?: SecureRoute;
  /** IPv4 addresses of names that no server is to be asked for, as a hosts file has them. */
  readonly addresses?: Readonly<Record<string, string>>;
  /** Origins to which a connection is kept, 2 unless given: each costs some kilobytes. */
  readonly maxConnections?: number;
  /** Requests that may wait for a connection, 16 unless given. */
  readonly maxWaiting?: number;
}

/** The connection to one origin and what waits for it. */
interface Origin {
  readonly route: Route;
  connection: Connection | undefined;
  current: Exchange | undefined;
  readonly waiting: Exchange[];
}

/**
 * HTTP/1.1 over the HTTP client of ECMA-419. Keeps one connection an origin; requests to the same origin follow each
 * other.
 */
export class Http implements HttpClient {
  readonly #options: HttpOptions;
  readonly #origins = new Map<string, Origin>();
  #closed = false;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  send(request: HttpRequest, context: HttpContext): Promise<HttpResponse> {
    const exchange = new Exchange(request, context);
    if (exchange.settled) return exchange.promise;
    if (this.#closed) {
      exchange.fail(clientClosed());
      return exchange.promise;
    }
    let origin: Origin;
    try {
      origin = this.#origin(request);
    } catch (error) {
      exchange.fail(
        error instanceof IotHubError
          ? error
          : new NetworkError("NETWORK_FAILED", "connect", "The connection cannot be prepared.", error),
      );
      return exchange.promise;
    }
    if (origin.waiting.length >= (this.#options.maxWaiting ?? 16)) {
      exchange.fail(new NetworkError("NETWORK_FAILED", "connect", "Too many requests wait for the connection."));
      return exchange.promise;
    }
    origin.waiting.push(exchange);
    exchange.onSettled = () => this.#settled(origin, exchange);
    this.#soon(origin);
    return exchange.promise;
  }

  checkEndpoint({ scheme, host }: Pick<HttpRequest, "scheme" | "host">): void {
    if (host.startsWith("[")) {
      throw new IotHubError("INVALID_URL", "IPv6 is not supported on this platform: use a name or an IPv4 address.");
    }
    if (scheme === "https" && !this.#options.secure) {
      throw new IotHubError(
        "INVALID_OPTION",
        "This build has no TLS: include manifest.json instead of manifest-http.json (with mcpack, import " +
          '"tencent-iothub-xs" instead of "tencent-iothub-xs/plain"), or set an http url.',
      );
    }
  }

  close(): void {
    this.#closed = true;
    for (const origin of this.#origins.values()) {
      for (const exchange of origin.waiting.splice(0)) exchange.fail(clientClosed());
      origin.current?.fail(clientClosed());
      origin.connection?.close();
    }
    this.#origins.clear();
  }

  #origin(request: HttpRequest): Origin {
    const { scheme, host, port } = request;
    const key = `${scheme}://${host}:${port}`;
    let origin = this.#origins.get(key);
    if (origin) {
      // The order of the map tells which was used last.
      this.#origins.delete(key);
    } else {
      origin = { route: this.#route(request), connection: undefined, current: undefined, waiting: [] };
      this.#makeRoom();
    }
    this.#origins.set(key, origin);
    return origin;
  }

  #route(request: HttpRequest): Route {
    this.checkEndpoint(request);
    const { scheme, host: name, port } = request;
    const { addresses } = this.#options;
    // The name as it is signed: a dot at its end is no part of the Host header, of SNI or of a certificate.
    const host = name.replace(/\.$/, "");
    const common = { Client: HTTPClient, TCP: TCP as unknown as TcpConstructor, host, port, addresses };
    if (scheme === "http") return { ...common, Socket: PlainSocket, secure: false };
    const secure = this.#options.secure as SecureRoute;
    return { ...common, Socket: secure.Socket, secure: true, settings: secure.settings(host, port) };
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
    const exchange = origin.waiting.shift();
    if (!exchange) return;
    origin.current = exchange;
    const connection = origin.connection;
    if (connection?.idle && !exchange.fresh) {
      exchange.reused = true;
      connection.start(exchange);
    } else {
      connection?.close();
      this.#connect(origin, exchange);
    }
  }

  #connect(origin: Origin, exchange: Exchange): void {
    const connection: Connection = new Connection(origin.route, (unfinished, failure) => {
      if (origin.connection === connection) origin.connection = undefined;
      unfinished?.fail(failure);
    });
    origin.connection = connection;
    connection.start(exchange);
  }

  #settled(origin: Origin, exchange: Exchange): void {
    const waiting = origin.waiting.indexOf(exchange);
    if (waiting >= 0) origin.waiting.splice(waiting, 1);
    if (origin.current !== exchange) return;
    origin.current = undefined;
    // Given up by the caller or by a time limit: a response may still come and must not be taken for the next one's.
    if (origin.connection && !origin.connection.idle) origin.connection.close();
    this.#soon(origin);
  }

  /** On a stack of its own: callers are deep in theirs, or in the middle of the SDK's client. */
  #soon(origin: Origin): void {
    Promise.resolve().then(() => this.#next(origin));
  }
}

function clientClosed(): IotHubError {
  return new IotHubError("CANCELLED", "The HTTP client has been closed.");
}
