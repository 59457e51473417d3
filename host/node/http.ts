/** HTTP and HTTPS over Node's own modules, with kept connections. Limits and timers are the core's. */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
// The global of this name may be a test framework's fake timer, under which no request would ever end.
import { setImmediate } from "node:timers";
import {
  createSecureContext,
  rootCertificates,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from "node:tls";
import { toBytes } from "../../src/crypto/bytes.js";
import { SEQUENCE } from "../../src/crypto/der.js";
import { latin1 } from "../../src/crypto/key.js";
import { type PemOrDer, readCertificates } from "../../src/crypto/pem.js";
import { type ConnectionPhase, IotHubError, NetworkError } from "../../src/errors.js";
import type { HttpClient, HttpContext, HttpCounters, HttpRequest, HttpResponse } from "../../src/host.js";
import { classify, type Peer } from "./classify.js";
import { authority, authorizationOf, type HttpProxy, type ProxyRule, proxyRule } from "./proxy.js";
import { refusedByProxy, TunnelAgent, type TunnelOptions } from "./tunnel.js";

/** Options of the HTTP client: trust, the client's certificate, name resolution and the proxy. */
export interface NodeHttpOptions {
  /**
   * Trust anchors, and no others: PEM as text or bytes, with any number of certificates in it, or DER bytes; one or a
   * list.
   * @default the list that Node comes with
   */
  readonly trustAnchors?: PemOrDer | readonly PemOrDer[];
  /**
   * Trust Node's list as well as `trustAnchors`.
   * @default false
   */
  readonly systemTrustAnchors?: boolean;
  /**
   * For mutual TLS, with `clientKey`: the client's certificate and, after it, those above it, in the forms that
   * `trustAnchors` takes.
   */
  readonly clientCertificate?: PemOrDer | readonly PemOrDer[];
  /** For mutual TLS: the client's private key, not encrypted, in PEM or DER (PKCS#8, PKCS#1 or, for EC, SEC 1). */
  readonly clientKey?: PemOrDer;
  /** Resolves a name in place of the system; for tests and private networks. */
  readonly lookup?: http.RequestOptions["lookup"];
  /**
   * HTTP proxy for every request, loopback included: `http://[user:password@]name[:port]`, port 80 by default; `false`
   * for none. HTTPS goes through a CONNECT tunnel and stays encrypted up to the gateway.
   * @default `https_proxy` or `http_proxy` of the environment, or the same in capitals, read when the host is created.
   * Names and addresses in `no_proxy` or `NO_PROXY` and the loopback interface are connected to directly.
   */
  readonly proxy?: string | false;
}

/** Before the gateway's own limit, so that a connection is not used just when it closes. */
const KEEP_ALIVE_MS = 30000;

/** What is known of a socket as long as it lives. */
interface Link {
  /** Whether a response has come whole on it: only a failure on such a socket may be blamed on its idle time. */
  proven: boolean;
  /** The request under way. */
  pending: PendingRequest | undefined;
  /** Bytes came that no request had asked for. */
  onSurplus(): void;
}

const links = new WeakMap<Socket, Link>();

/** Parts of the time for connecting that Node may spend on one address of several before it takes the next. */
const ADDRESS_SHARE = 4;
/** Node's own limit for one address, in milliseconds. */
const MIN_ADDRESS_MS = 250;

/** @throws {IotHubError} INVALID_OPTION if a certificate or the key cannot be read, or `proxy` is not the URL of an HTTP proxy */
export function createHttp(options: NodeHttpOptions = {}): HttpClient {
  return new NodeHttp(options);
}

class NodeHttp implements HttpClient {
  readonly #options: NodeHttpOptions;
  readonly #plain = this.#watch(new http.Agent({ keepAlive: true, maxSockets: 8, timeout: KEEP_ALIVE_MS }));
  readonly #secure: https.Agent;
  /** For HTTPS through the proxy, made at its first request. */
  #tunnels: TunnelAgent | undefined;
  readonly #proxyFor: ProxyRule;
  readonly #pending = new Set<PendingRequest>();
  #closed = false;
  #surplus = 0;
  readonly #counters = { connections: 0, fullHandshakes: 0, resumedHandshakes: 0 };

  constructor(options: NodeHttpOptions) {
    this.#options = options;
    this.#proxyFor = proxyRule(options.proxy, process.env);
    const secure = new https.Agent({
      keepAlive: true,
      maxSockets: 8,
      timeout: KEEP_ALIVE_MS,
      // Made here, so that a certificate that cannot be read is an error now and not at the first request.
      secureContext: secureContext(options),
    });
    this.#secure = this.#watch(secure);
  }

  get surplus(): number {
    return this.#surplus;
  }

  counters(): HttpCounters {
    return { ...this.#counters };
  }

  close(): void {
    this.#closed = true;
    for (const pending of this.#pending) {
      pending.fail(new IotHubError("CANCELLED", "The HTTP client was closed while the request was under way."));
    }
    this.#plain.destroy();
    this.#secure.destroy();
    this.#tunnels?.destroy();
  }

  send(request: HttpRequest, context: HttpContext): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new IotHubError("CANCELLED", "The HTTP client has been closed."));
        return;
      }
      // A request that never starts must not leave a connection half made in the pool.
      if (context.signal.aborted) {
        reject(context.signal.reason);
        return;
      }
      const proxy = this.#proxyFor(request);
      if (context.fresh) this.#dropKept(request.scheme);
      const pending: PendingRequest = new PendingRequest(
        request,
        context,
        proxy,
        (socket) => this.#linkOf(socket),
        (error, response) => {
          this.#pending.delete(pending);
          if (error instanceof NetworkError && error.stale) this.#dropKept(request.scheme);
          if (response !== undefined) resolve(response);
          else reject(error);
        },
      );
      this.#pending.add(pending);
      const start = () => pending.start(() => this.#open(request, context, proxy, pending));
      // What waits on a kept connection is read before it is used: it belongs to no request, and ends the connection.
      if (this.#hasKept()) afterNextPoll(start);
      else start();
    });
  }

  #open(
    request: HttpRequest,
    { connectTimeoutMs }: HttpContext,
    proxy: HttpProxy | undefined,
    pending: PendingRequest,
  ): http.ClientRequest {
    const secure = request.scheme === "https";
    const headers: http.OutgoingHttpHeaders = { ...request.headers, "Content-Length": request.body.length };
    const options: TunnelOptions = {
      // The name as it is signed: a dot at its end is not part of the Host header, of SNI or of a certificate.
      host: request.host.replace(/^\[|\]$|\.$/g, ""),
      port: request.port,
      method: request.method,
      path: request.path,
      headers,
      agent: this.#plain,
      lookup: this.#options.lookup,
      // Node gives up an address after 250 ms where there is another, which a cellular link may need for one round trip.
      autoSelectFamilyAttemptTimeout: Math.max(MIN_ADDRESS_MS, Math.floor(connectTimeoutMs / ADDRESS_SHARE)),
    };
    if (secure) {
      options.agent = proxy === undefined ? this.#secure : this.#tunnelsTo(proxy);
      options.onTunnel = (tunnel) => pending.opening(tunnel);
      return https.request(options);
    }
    if (proxy === undefined) return http.request(options);
    // RFC 9112 section 3.2.2: a proxy gets the whole URL.
    const target = request.port === 80 ? request.host : authority(request);
    options.host = proxy.host;
    options.port = proxy.port;
    options.path = `http://${target}${request.path}`;
    Object.assign(headers, { Host: target }, authorizationOf(proxy));
    return http.request(options);
  }

  #tunnelsTo(proxy: HttpProxy): TunnelAgent {
    this.#tunnels ??= this.#watch(new TunnelAgent(proxy, this.#secure.options));
    return this.#tunnels;
  }

  #dropKept(scheme: HttpRequest["scheme"]): void {
    for (const agent of scheme === "https" ? [this.#secure, this.#tunnels] : [this.#plain]) {
      for (const sockets of Object.values(agent?.freeSockets ?? {})) {
        for (const socket of sockets ?? []) socket.destroy();
      }
    }
  }

  #hasKept(): boolean {
    return [this.#plain, this.#secure, this.#tunnels].some((agent) => Object.keys(agent?.freeSockets ?? {}).length > 0);
  }

  /** Has idle connections listened to from the moment they are kept. */
  #watch<T extends http.Agent>(agent: T): T {
    // Node's documentation describes the method as there to be overridden.
    const hooks = agent as unknown as { keepSocketAlive(socket: Socket): boolean };
    const { keepSocketAlive } = hooks;
    hooks.keepSocketAlive = (socket) => {
      this.#linkOf(socket);
      return keepSocketAlive.call(agent, socket);
    };
    return agent;
  }

  #count(socket: Socket): void {
    const counters = this.#counters;
    const connected = () => counters.connections++;
    if (socket.connecting) socket.once("connect", connected);
    else connected();
    if (socket instanceof TLSSocket) {
      socket.once("secureConnect", () => counters[socket.isSessionReused() ? "resumedHandshakes" : "fullHandshakes"]++);
    }
  }

  /** Listens to a socket as long as it lives: bytes that come while no request waits for any end it. */
  #linkOf(socket: Socket): Link {
    const known = links.get(socket);
    if (known !== undefined) return known;
    const link: Link = {
      proven: false,
      pending: undefined,
      onSurplus: () => {
        this.#surplus++;
        socket.destroy();
      },
    };
    links.set(socket, link);
    this.#count(socket);
    // Before Node's parser, after which a response is complete that this very chunk completes.
    socket.prependListener("data", (chunk: Buffer) => {
      if (link.pending?.isOpen === true || socket.destroyed) return;
      // A server may say on an idle connection that it is about to close it; no more than that follows.
      if (isTimeout(chunk)) socket.destroy();
      else link.onSurplus();
    });
    return link;
  }
}

/** RFC 9110 section 15.5.9: sent on an idle connection before it is closed. */
function isTimeout(chunk: Buffer): boolean {
  return /^HTTP\/1\.[01] 408[ \r]/.test(chunk.toString("latin1", 0, 13));
}

/** Calls back once all that has arrived by now has been read: the poll that is under way may have begun before. */
function afterNextPoll(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}

function secureContext(options: NodeHttpOptions): SecureContext {
  const { trustAnchors, systemTrustAnchors, clientCertificate, clientKey } = options;
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate and clientKey belong together.");
  }
  const anchors = trustAnchors === undefined ? undefined : readChain("trustAnchors", trustAnchors).map(String);
  const identity: SecureContextOptions = {};
  if (clientCertificate !== undefined && clientKey !== undefined) {
    const chain = readChain("clientCertificate", clientCertificate);
    const key = readKey(clientKey);
    // OpenSSL notices it only where both are of one type.
    if (!chain[0].checkPrivateKey(key)) {
      throw new IotHubError("INVALID_OPTION", "clientKey does not belong to clientCertificate.");
    }
    identity.cert = chain.join("");
    identity.key = key.export({ format: "pem", type: "pkcs8" });
  }
  try {
    return createSecureContext({
      minVersion: "TLSv1.2",
      ca: anchors && systemTrustAnchors ? [...anchors, ...rootCertificates] : anchors,
      ...identity,
    });
  } catch (cause) {
    throw new IotHubError("INVALID_OPTION", "The certificates or the key cannot be used for TLS.", { cause });
  }
}

/** Read one by one: OpenSSL silently skips what it cannot read, and a missing anchor would show in the field. */
function readChain(option: string, given: unknown): X509Certificate[] {
  return readCertificates(option, given, toBytes).map((der) => {
    try {
      return new X509Certificate(der);
    } catch (cause) {
      throw new IotHubError("INVALID_OPTION", `A certificate in ${option} cannot be read.`, { cause });
    }
  });
}

function readKey(given: PemOrDer): KeyObject {
  const bytes = typeof given === "string" ? undefined : toBytes(given);
  const isDer = bytes?.[0] === SEQUENCE;
  const key = isDer ? Buffer.from(bytes) : typeof given === "string" ? given : latin1(bytes ?? new Uint8Array(0));
  const types = isDer ? (["pkcs8", "pkcs1", "sec1"] as const) : [undefined];
  for (const type of types) {
    try {
      return isDer ? createPrivateKey({ key, format: "der", type }) : createPrivateKey(key);
    } catch {
      // OpenSSL's own sentences do not say what is wrong; one of the other types may fit.
    }
  }
  throw new IotHubError("INVALID_OPTION", "clientKey must be a private key that is not encrypted, in PEM or DER.");
}

type Settle = (error: unknown, response?: HttpResponse) => void;
type LinkOf = (socket: Socket) => Link;

/**
 * One request and its response: reports the phases, settles once. What it hangs on a socket or a signal
 * goes when it settles: both outlive it, a kept connection by many thousand requests.
 */
class PendingRequest {
  readonly #request: HttpRequest;
  readonly #context: HttpContext;
  readonly #proxy: HttpProxy | undefined;
  readonly #linkOf: LinkOf;
  readonly #settle: Settle;
  readonly #abort = () => this.fail(this.#context.signal.reason);
  readonly #onConnect = () => this.#enter(this.#request.scheme === "https" ? "tls" : "write");
  readonly #onSecureConnect = () => this.#enter("write");
  #outgoing: http.ClientRequest | undefined;
  #tunnel: http.ClientRequest | undefined;
  #phase: ConnectionPhase = "connect";
  #socket: Socket | undefined;
  #link: Link | undefined;
  #incoming: http.IncomingMessage | undefined;
  #written = false;
  #reused = false;
  #settled = false;

  constructor(
    request: HttpRequest,
    context: HttpContext,
    proxy: HttpProxy | undefined,
    linkOf: LinkOf,
    settle: Settle,
  ) {
    this.#request = request;
    this.#context = context;
    this.#proxy = proxy;
    this.#linkOf = linkOf;
    this.#settle = settle;
    context.signal.addEventListener("abort", this.#abort);
  }

  /** Whether bytes that come belong to its response. */
  get isOpen(): boolean {
    return this.#incoming?.complete !== true;
  }

  start(open: () => http.ClientRequest): void {
    if (this.#settled) return;
    let outgoing: http.ClientRequest;
    try {
      outgoing = open();
    } catch (cause) {
      this.fail(new NetworkError("NETWORK_FAILED", "connect", "The request could not be started.", { cause }));
      return;
    }
    this.#outgoing = outgoing;
    outgoing.on("error", (error) => this.#onError(error));
    outgoing.on("socket", (socket) => this.#onSocket(socket));
    outgoing.on("finish", () => {
      this.#written = true;
      if (this.#phase === "write") this.#enter("first-byte");
    });
    outgoing.on("response", (incoming) => this.#onResponse(incoming));
    // Without a listener Node would end the connection and report nothing.
    outgoing.on("upgrade", (_incoming, socket) => {
      socket.destroy();
      this.fail(new NetworkError("RESPONSE_MALFORMED", this.#phase, "Unexpected protocol upgrade (101)."));
    });
    outgoing.end(this.#request.body);
  }

  /** A tunnel is being opened for this request, which ends with it. */
  opening(tunnel: http.ClientRequest): void {
    if (this.#settled) tunnel.destroy();
    else this.#tunnel = tunnel;
  }

  fail(error: unknown): void {
    if (this.#settled) return;
    this.#finish();
    this.#tunnel?.destroy();
    this.#outgoing?.destroy();
    this.#settle(error);
  }

  #onSocket(socket: Socket): void {
    if (this.#settled) return;
    this.#socket = socket;
    this.#link = this.#linkOf(socket);
    this.#link.pending = this;
    // Not `reusedSocket`: a connection that another request gave up while it was made is in the pool, too.
    this.#reused = this.#link.proven;
    if (this.#reused) {
      this.#enter("write");
      return;
    }
    if (socket.destroyed) return;
    const secure = this.#request.scheme === "https";
    const { connecting, secureConnecting } = socket as TLSSocket & { readonly secureConnecting?: boolean };
    if (connecting) socket.once("connect", this.#onConnect);
    else this.#enter(secure && secureConnecting !== false ? "tls" : "write");
    if (secure) socket.once("secureConnect", this.#onSecureConnect);
  }

  #onResponse(incoming: http.IncomingMessage): void {
    this.#incoming = incoming;
    this.#enter("read");
    if (this.#proxy !== undefined && incoming.statusCode === 407) {
      this.fail(refusedByProxy(this.#proxy, this.#request, 407));
      return;
    }
    const { maxResponseBytes } = this.#context;
    const chunks: Buffer[] = [];
    let length = 0;
    incoming.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxResponseBytes) {
        const message = `The response is larger than ${maxResponseBytes} bytes.`;
        this.fail(new NetworkError("RESPONSE_TOO_LARGE", "read", message));
      } else {
        chunks.push(chunk);
      }
    });
    incoming.on("error", (error) => this.#onError(error));
    incoming.on("end", () => {
      if (incoming.complete) this.#onComplete(incoming, Buffer.concat(chunks));
      else this.#onError(Object.assign(new Error("cut short"), { code: "ECONNRESET" }));
    });
  }

  #onComplete(incoming: http.IncomingMessage, body: Buffer): void {
    if (this.#settled) return;
    // Node destroys a connection that it would keep only where another response came in the same chunk.
    if (this.#outgoing?.shouldKeepAlive && this.#socket?.destroyed) this.#link?.onSurplus();
    if (this.#link !== undefined) this.#link.proven = true;
    if (this.#outgoing?.destroyed) {
      // Node found the request out and has released its connection. It would do so again at a late `finish`, while
      // another request uses it (nodejs/node issue 60001).
      this.#written = true;
      this.#outgoing.removeAllListeners("finish");
    }
    // Over TLS, Node says a turn later that a request is out, and a quick response can come before it does. What else has
    // come by then is read, too: it belongs to no request, and ends the connection.
    setImmediate(() => this.#succeed(incoming, body));
  }

  #succeed(incoming: http.IncomingMessage, body: Buffer): void {
    if (this.#settled) return;
    const outgoing = this.#outgoing;
    const early = !this.#written;
    this.#finish();
    if (early) outgoing?.destroy();
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(incoming.headers)) {
      if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
    }
    this.#settle(undefined, {
      status: incoming.statusCode ?? 0,
      headers,
      body: new Uint8Array(body),
      reused: this.#reused,
      early,
    });
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (!this.isOpen) {
      // The response is whole, and its end is yet to come. What the parser found behind it was another.
      if (error.code?.startsWith("HPE_")) this.#link?.onSurplus();
      return;
    }
    const kept = this.#reused;
    const tunnelled = this.#request.scheme === "https";
    const peer: Peer = this.#proxy === undefined || tunnelled ? this.#request : { ...this.#proxy, proxy: true };
    this.fail(classify(error, this.#phase, peer, kept));
  }

  #enter(phase: ConnectionPhase): void {
    if (this.#settled) return;
    this.#phase = phase;
    this.#context.onPhase(phase);
  }

  #finish(): void {
    this.#settled = true;
    this.#context.signal.removeEventListener("abort", this.#abort);
    this.#socket?.off("connect", this.#onConnect);
    this.#socket?.off("secureConnect", this.#onSecureConnect);
    if (this.#link?.pending === this) this.#link.pending = undefined;
  }
}
