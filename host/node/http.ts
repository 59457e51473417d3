/** HTTP and HTTPS client with Node's modules and keep-alive connections. The core enforces timeouts. */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
// Imported: a test framework may replace the global with a fake timer, and requests would never end.
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
   * Trust anchors, which replace Node's: PEM as text or bytes with one or more certificates, or DER bytes; one or a
   * list.
   * @default Node's bundled certificates
   */
  readonly trustAnchors?: PemOrDer | readonly PemOrDer[];
  /**
   * Trusts Node's bundled certificates in addition to `trustAnchors`.
   * @default false
   */
  readonly systemTrustAnchors?: boolean;
  /**
   * For mutual TLS, with `clientKey`: the client's certificate, followed by its intermediate certificates, in the
   * formats of `trustAnchors`.
   */
  readonly clientCertificate?: PemOrDer | readonly PemOrDer[];
  /** For mutual TLS: the client's private key, unencrypted, in PEM or DER (PKCS#8, PKCS#1 or, for EC, SEC 1). */
  readonly clientKey?: PemOrDer;
  /** Custom hostname resolution, for tests and private networks. @default the system's resolver */
  readonly lookup?: http.RequestOptions["lookup"];
  /**
   * HTTP proxy for every request, including loopback addresses: `http://[user:password@]name[:port]`, port 80 by
   * default; `false` for none. HTTPS uses a CONNECT tunnel and stays encrypted up to the gateway.
   * @default the environment variable `https_proxy` or `http_proxy`, also in upper case, read when the host is created;
   * except for hosts in `no_proxy` or `NO_PROXY` and loopback addresses
   */
  readonly proxy?: string | false;
}

/** Shorter than the gateway's limit, so that a connection is not used while it is being closed. */
const KEEP_ALIVE_MS = 30000;

/** State of a socket. */
interface Link {
  /** Whether a complete response has come on it: only then may a failure be caused by its idle time. */
  proven: boolean;
  /** The pending request. */
  pending: PendingRequest | undefined;
  /** Called when unsolicited bytes arrived. */
  onSurplus(): void;
}

const links = new WeakMap<Socket, Link>();

/** With several addresses, Node tries each for this fraction (1/4) of the connect timeout. */
const ADDRESS_SHARE = 4;
/** Node's default timeout per address in milliseconds. */
const MIN_ADDRESS_MS = 250;

/** @throws {IotHubError} INVALID_OPTION if a certificate or the key cannot be read, or `proxy` is not the URL of an HTTP proxy */
export function createHttp(options: NodeHttpOptions = {}): HttpClient {
  return new NodeHttp(options);
}

class NodeHttp implements HttpClient {
  readonly #options: NodeHttpOptions;
  readonly #plain = this.#watch(new http.Agent({ keepAlive: true, maxSockets: 8, timeout: KEEP_ALIVE_MS }));
  readonly #secure: https.Agent;
  /** Agent for HTTPS through the proxy, created on demand. */
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
      // Created here, so that an unreadable certificate is reported now, not at the first request.
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
      pending.fail(new IotHubError("CANCELLED", "The HTTP client was closed during the request."));
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
      // A request that never starts must not leave a half-open connection in the pool.
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
      // Bytes waiting on a keep-alive connection are read before it is used: they belong to no request, and close it.
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
      // Normalized as for the signature: no trailing dot in the Host header, SNI and certificate checks.
      host: request.host.replace(/^\[|\]$|\.$/g, ""),
      port: request.port,
      method: request.method,
      path: request.path,
      headers,
      agent: this.#plain,
      lookup: this.#options.lookup,
      // With several addresses, Node gives up each after 250 ms, which may be one round trip of a cellular link.
      autoSelectFamilyAttemptTimeout: Math.max(MIN_ADDRESS_MS, Math.floor(connectTimeoutMs / ADDRESS_SHARE)),
    };
    if (secure) {
      options.agent = proxy === undefined ? this.#secure : this.#tunnelsTo(proxy);
      options.onTunnel = (tunnel) => pending.opening(tunnel);
      return https.request(options);
    }
    if (proxy === undefined) return http.request(options);
    // RFC 9112 section 3.2.2: a proxy needs the absolute URL.
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

  /** Listens to idle connections from the moment they enter the pool. */
  #watch<T extends http.Agent>(agent: T): T {
    // Documented by Node as a method to override.
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

  /** Listens to a socket for its lifetime: bytes without a pending request close it. */
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
    // Before Node's parser, which may complete the response with this chunk.
    socket.prependListener("data", (chunk: Buffer) => {
      if (link.pending?.isOpen === true || socket.destroyed) return;
      // A server may announce on an idle connection that it closes it.
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

/** Calls back when all bytes that have arrived by now were read: the current poll may have begun earlier. */
function afterNextPoll(callback: () => void): void {
  setImmediate(() => setImmediate(callback));
}

function secureContext(options: NodeHttpOptions): SecureContext {
  const { trustAnchors, systemTrustAnchors, clientCertificate, clientKey } = options;
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate and clientKey must be given together.");
  }
  const anchors = trustAnchors === undefined ? undefined : readChain("trustAnchors", trustAnchors).map(String);
  const identity: SecureContextOptions = {};
  if (clientCertificate !== undefined && clientKey !== undefined) {
    const chain = readChain("clientCertificate", clientCertificate);
    const key = readKey(clientKey);
    // OpenSSL detects a mismatch only if both have the same type.
    if (!chain[0].checkPrivateKey(key)) {
      throw new IotHubError("INVALID_OPTION", "clientKey does not match clientCertificate.");
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

/**
 * Parsed one by one: OpenSSL silently skips unreadable certificates, and a missing anchor would only show in the field.
 */
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
      // OpenSSL's messages do not help here; try the other types.
    }
  }
  throw new IotHubError("INVALID_OPTION", "clientKey must be a private key that is not encrypted, in PEM or DER.");
}

type Settle = (error: unknown, response?: HttpResponse) => void;
type LinkOf = (socket: Socket) => Link;

/**
 * One request and its response: reports the phases and settles once. Removes its listeners from socket and signal,
 * which both outlive it, a keep-alive connection by many thousand requests.
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

  /** Whether received bytes belong to its response. */
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
    // Without a listener, Node would close the connection silently.
    outgoing.on("upgrade", (_incoming, socket) => {
      socket.destroy();
      this.fail(new NetworkError("RESPONSE_MALFORMED", this.#phase, "Unexpected protocol upgrade (101)."));
    });
    outgoing.end(this.#request.body);
  }

  /** Binds a tunnel being opened to this request. */
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
    // Not `reusedSocket`: the pool also contains connections whose request was aborted while connecting.
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
      else this.#onError(Object.assign(new Error("incomplete response"), { code: "ECONNRESET" }));
    });
  }

  #onComplete(incoming: http.IncomingMessage, body: Buffer): void {
    if (this.#settled) return;
    // Node destroys a keep-alive connection only if another response came in the same chunk.
    if (this.#outgoing?.shouldKeepAlive && this.#socket?.destroyed) this.#link?.onSurplus();
    if (this.#link !== undefined) this.#link.proven = true;
    if (this.#outgoing?.destroyed) {
      // Node considers the request finished and has released its connection. At a late `finish` it would release it
      // again, while another request uses it (nodejs/node issue 60001).
      this.#written = true;
      this.#outgoing.removeAllListeners("finish");
    }
    // Over TLS, Node reports one turn later that a request was written, and a fast response can come before that.
    // Further bytes received by then belong to no request, and close the connection.
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
      // The response is complete, only its end event is missing: the parse error is about bytes after it.
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
