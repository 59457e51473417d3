/** HTTP and HTTPS over Node's own modules, with kept connections and a limit for each phase. */

import { X509Certificate } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { createSecureContext, rootCertificates } from "node:tls";
import { IotHubError, NetworkError, type NetworkErrorCode, type RequestPhase } from "../../src/errors.js";
import type { HttpClient, HttpRequest, HttpResponse, HttpSendOptions } from "../../src/host.js";

export interface NodeHttpOptions {
  /** Trust anchors in PEM, in place of Node's own list. */
  readonly ca?: string | readonly string[];
  /** Trust Node's own list as well as `ca`. */
  readonly systemCa?: boolean;
  /** A client certificate and its key in PEM, for mutual TLS. */
  readonly cert?: string;
  readonly key?: string;
  /** Resolves a name in place of the system; for tests and private networks. */
  readonly lookup?: http.RequestOptions["lookup"];
}

const DEFAULT_MAX_RESPONSE_BYTES = 16384;
/** Before the gateway's own limit, so that a connection is not used just when it closes. */
const KEEP_ALIVE_MS = 30000;

/** Sockets on which an answer has come whole: only a failure on one of these may be blamed on its idle time. */
const proven = new WeakSet<Socket>();

/** @throws {IotHubError} INVALID_OPTION if the certificates are no PEM */
export function createHttp(options: NodeHttpOptions = {}): HttpClient {
  return new NodeHttp(options);
}

class NodeHttp implements HttpClient {
  readonly #options: NodeHttpOptions;
  readonly #plain = watchIdle(new http.Agent({ keepAlive: true, maxSockets: 8, timeout: KEEP_ALIVE_MS }));
  readonly #secure: https.Agent;
  readonly #exchanges = new Set<Exchange>();
  #closed = false;

  constructor(options: NodeHttpOptions) {
    this.#options = options;
    try {
      const secure = new https.Agent({
        keepAlive: true,
        maxSockets: 8,
        timeout: KEEP_ALIVE_MS,
        // Made here, so that a certificate that cannot be read is an error now and not at the first request.
        secureContext: createSecureContext({
          minVersion: "TLSv1.2",
          ca: readAnchors(options),
          cert: options.cert,
          key: options.key,
        }),
      });
      this.#secure = watchIdle(secure);
    } catch (cause) {
      if (cause instanceof IotHubError) throw cause;
      throw new IotHubError("INVALID_OPTION", "The CA or the client certificate cannot be read.", cause);
    }
  }

  close(): void {
    this.#closed = true;
    for (const exchange of this.#exchanges) {
      exchange.fail(new IotHubError("CANCELLED", "The HTTP client was closed while the request was under way."));
    }
    this.#plain.destroy();
    this.#secure.destroy();
  }

  send(request: HttpRequest, options: HttpSendOptions): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new IotHubError("CANCELLED", "The HTTP client has been closed."));
        return;
      }
      const secure = request.scheme === "https";
      // The name as it is signed: a dot at its end is no part of the Host header, of SNI or of a certificate.
      const host = request.host.replace(/\.$/, "");
      if (options.fresh) this.#dropKept(secure);
      let outgoing: http.ClientRequest;
      try {
        outgoing = (secure ? https : http).request({
          host: host.replace(/^\[|\]$/g, ""),
          port: request.port,
          method: request.method,
          path: request.path,
          headers: { ...request.headers, "Content-Length": request.body.length },
          agent: secure ? this.#secure : this.#plain,
          lookup: this.#options.lookup,
        });
      } catch (cause) {
        reject(new NetworkError("NETWORK_FAILED", "connect", "The request could not be started.", cause));
        return;
      }
      const exchange: Exchange = new Exchange(request, options, outgoing, (error, response) => {
        this.#exchanges.delete(exchange);
        if (error instanceof NetworkError && error.stale) this.#dropKept(secure);
        // What else has come by now is read first: it belongs to no request, and ends the connection.
        if (response !== undefined) setImmediate(resolve, response);
        else reject(error);
      });
      this.#exchanges.add(exchange);
      exchange.start();
    });
  }

  #dropKept(secure: boolean): void {
    for (const sockets of Object.values((secure ? this.#secure : this.#plain).freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}

function readAnchors({ ca, systemCa }: NodeHttpOptions): string[] | undefined {
  if (ca === undefined) return undefined;
  const anchors = typeof ca === "string" ? [ca] : [...ca];
  for (const pem of anchors) {
    // OpenSSL passes silently over what it cannot read: an anchor that is missing would be found out in the field.
    const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (certificates.length === 0) {
      throw new IotHubError("INVALID_OPTION", "The CA must be one or more certificates in PEM.");
    }
    for (const certificate of certificates) new X509Certificate(certificate);
  }
  return systemCa ? [...anchors, ...rootCertificates] : anchors;
}

/** Ends connections on which something comes while no request is under way: the next one must not take it for its answer. */
function watchIdle<T extends http.Agent>(agent: T): T {
  const end = function (this: Socket) {
    this.destroy();
  };
  // Node's documentation describes both methods as there to be overridden.
  const hooks = agent as unknown as {
    keepSocketAlive(socket: Socket): boolean;
    reuseSocket(socket: Socket, request: http.ClientRequest): void;
  };
  const { keepSocketAlive, reuseSocket } = hooks;
  hooks.keepSocketAlive = (socket) => {
    const kept = keepSocketAlive.call(agent, socket);
    if (kept) socket.on("data", end);
    return kept;
  };
  hooks.reuseSocket = (socket, request) => {
    socket.off("data", end);
    reuseSocket.call(agent, socket, request);
  };
  return agent;
}

type Settle = (error: IotHubError | undefined, response?: HttpResponse) => void;

/** One request and its answer: follows the phases, keeps their limits, settles once. */
class Exchange {
  readonly #request: HttpRequest;
  readonly #options: HttpSendOptions;
  readonly #outgoing: http.ClientRequest;
  readonly #settle: Settle;
  readonly #start = performance.now();
  readonly #spentMs: Partial<Record<RequestPhase, number>> = {};
  readonly #abort = () =>
    this.fail(new IotHubError("CANCELLED", "The request was cancelled.", this.#options.signal?.reason));
  #phase: RequestPhase = "connect";
  #phaseStart = this.#start;
  #totalTimer: NodeJS.Timeout | undefined;
  #phaseTimer: NodeJS.Timeout | undefined;
  #socket: Socket | undefined;
  #reused = false;
  #settled = false;

  constructor(request: HttpRequest, options: HttpSendOptions, outgoing: http.ClientRequest, settle: Settle) {
    this.#request = request;
    this.#options = options;
    this.#outgoing = outgoing;
    this.#settle = settle;
  }

  start(): void {
    const { signal, timeoutMs } = this.#options;
    const outgoing = this.#outgoing;
    outgoing.on("error", (error) => this.#onError(error));
    if (signal?.aborted) {
      this.#abort();
      return;
    }
    signal?.addEventListener("abort", this.#abort);
    this.#totalTimer = setTimeout(() => this.#onTimeout(timeoutMs), timeoutMs);
    this.#limitPhase();
    outgoing.on("socket", (socket) => this.#onSocket(socket));
    outgoing.on("finish", () => {
      if (this.#phase === "write") this.#enter("first-byte");
    });
    outgoing.on("response", (incoming) => this.#onResponse(incoming));
    // Without a listener Node would end the connection and report nothing.
    outgoing.on("upgrade", (_incoming, socket) => {
      socket.destroy();
      this.fail(new NetworkError("RESPONSE_MALFORMED", this.#phase, "The answer asks for another protocol."));
    });
    outgoing.end(this.#request.body);
  }

  fail(error: IotHubError): void {
    if (this.#settled) return;
    this.#finish();
    this.#outgoing.destroy();
    this.#settle(error);
  }

  #onSocket(socket: Socket): void {
    this.#socket = socket;
    this.#reused = this.#outgoing.reusedSocket;
    if (this.#reused) this.#enter("write");
    socket.once("connect", () => this.#enter(this.#request.scheme === "https" ? "tls" : "write"));
    socket.once("secureConnect", () => this.#enter("write"));
  }

  #onResponse(incoming: http.IncomingMessage): void {
    this.#enter("read");
    const { maxResponseBytes = DEFAULT_MAX_RESPONSE_BYTES } = this.#options;
    const chunks: Buffer[] = [];
    let length = 0;
    incoming.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxResponseBytes) {
        const message = `The answer is larger than ${maxResponseBytes} bytes.`;
        this.fail(new NetworkError("RESPONSE_TOO_LARGE", "read", message));
      } else {
        chunks.push(chunk);
      }
    });
    incoming.on("error", (error) => this.#onError(error));
    incoming.on("end", () => {
      if (incoming.complete) this.#succeed(incoming, Buffer.concat(chunks));
      else this.#onError(Object.assign(new Error("cut short"), { code: "ECONNRESET" }));
    });
  }

  #succeed(incoming: http.IncomingMessage, body: Buffer): void {
    if (this.#settled) return;
    this.#finish();
    if (this.#socket !== undefined) proven.add(this.#socket);
    // An answer that came before the request was out leaves the connection in no state to be used again.
    if (!this.#outgoing.writableFinished) this.#outgoing.destroy();
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(incoming.headers)) {
      if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
    }
    const spent = this.#spentMs;
    this.#settle(undefined, {
      status: incoming.statusCode ?? 0,
      headers,
      body: new Uint8Array(body),
      timing: {
        connectMs: this.#reused ? undefined : spent.connect,
        tlsMs: spent.tls,
        writeMs: spent.write,
        firstByteMs: spent["first-byte"],
        totalMs: performance.now() - this.#start,
        reused: this.#reused,
        bytesSent: this.#request.body.length,
        bytesReceived: body.length,
      },
    });
  }

  #onError(error: Error): void {
    const kept = this.#reused && this.#socket !== undefined && proven.has(this.#socket);
    this.fail(classify(error, this.#phase, this.#request, kept));
  }

  #onTimeout(limit: number): void {
    const message = `The request timed out after ${Math.round(limit)} ms (${phases[this.#phase]}).`;
    this.fail(new NetworkError("TIMEOUT", this.#phase, message));
  }

  #enter(next: RequestPhase): void {
    if (this.#settled) return;
    const now = performance.now();
    this.#spentMs[this.#phase] = now - this.#phaseStart;
    this.#phase = next;
    this.#phaseStart = now;
    this.#limitPhase();
  }

  #limitPhase(): void {
    clearTimeout(this.#phaseTimer);
    const phase = this.#phase;
    const limit = phase === "total" ? undefined : this.#options.phaseTimeoutsMs?.[phase];
    if (limit !== undefined) this.#phaseTimer = setTimeout(() => this.#onTimeout(limit), limit);
  }

  #finish(): void {
    this.#settled = true;
    clearTimeout(this.#totalTimer);
    clearTimeout(this.#phaseTimer);
    this.#options.signal?.removeEventListener("abort", this.#abort);
  }
}

const phases: Record<RequestPhase, string> = {
  connect: "while connecting",
  tls: "during the TLS handshake",
  write: "while sending",
  "first-byte": "while waiting for the answer",
  read: "while reading the answer",
  total: "altogether",
};

function classify(
  error: Error & { code?: string },
  phase: RequestPhase,
  { host, port }: HttpRequest,
  kept = false,
): NetworkError {
  const code = error.code ?? "";
  const make = (kind: NetworkErrorCode, message: string) => new NetworkError(kind, phase, message, error);
  if (["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"].includes(code)) {
    return make("NAME_RESOLUTION", `The name ${host} could not be resolved (${code}).`);
  }
  if (["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "EACCES", "EPERM"].includes(code)) {
    return make("CONNECTION_REFUSED", `The connection to ${host} port ${port} was refused (${code}).`);
  }
  if (code === "ETIMEDOUT") return make("TIMEOUT", `The connection to ${host} port ${port} timed out.`);
  // OpenSSL's X509_V_ERR_ names, as Node passes them on, and Node's own for a name that does not fit.
  if (
    /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|HOSTNAME_MISMATCH|ERR_TLS_CERT)/.test(
      code,
    )
  ) {
    return make("CERTIFICATE_REJECTED", `The certificate of ${host} was refused (${code}).`);
  }
  if (code.startsWith("HPE_")) return make("RESPONSE_MALFORMED", `The answer is not HTTP (${code}).`);
  if (
    code === "ERR_SSL_WRONG_VERSION_NUMBER" ||
    code === "EPROTO" ||
    code.startsWith("ERR_SSL") ||
    code.startsWith("ERR_TLS")
  ) {
    return make("TLS_FAILED", `The TLS handshake with ${host} failed (${code}).`);
  }
  if (code === "ECONNRESET" || code === "EPIPE" || code === "ECONNABORTED" || code === "ERR_STREAM_PREMATURE_CLOSE") {
    // Node says ECONNRESET for a peer that hung up in the middle of the handshake, too.
    if (phase === "tls") return make("TLS_FAILED", `The connection to ${host} was closed during the TLS handshake.`);
    const message = `The connection to ${host} was closed before the answer was whole.`;
    return new NetworkError("CONNECTION_RESET", phase, message, error, kept && phase !== "read");
  }
  return make("NETWORK_FAILED", `The request to ${host} failed${code ? ` (${code})` : ""}.`);
}
