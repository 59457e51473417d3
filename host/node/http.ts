/** HTTP and HTTPS over Node's own modules, with kept connections and a limit for each phase. */

import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import { rootCertificates, TLSSocket } from "node:tls";
import { IotHubError, NetworkError, type NetworkErrorCode, type RequestPhase } from "../../src/errors.js";
import type { HttpClient, HttpRequest, HttpResponse, HttpSendOptions } from "../../src/host.js";

export interface NodeHttpOptions {
  /** Trust anchors in PEM, in place of Node's own list. */
  readonly ca?: string | readonly string[];
  /** Kept in addition to `ca` where a deployment has both: Node's own list as well. */
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
  readonly #plain = new http.Agent({ keepAlive: true, maxSockets: 8, timeout: KEEP_ALIVE_MS });
  readonly #secure: https.Agent;
  readonly #requests = new Set<(error: IotHubError) => void>();
  #closed = false;

  constructor(options: NodeHttpOptions) {
    this.#options = options;
    let ca: string[] | undefined;
    if (options.ca !== undefined) {
      ca = typeof options.ca === "string" ? [options.ca] : [...options.ca];
      if (!ca.some((pem) => pem.includes("-----BEGIN CERTIFICATE-----"))) {
        throw new IotHubError("INVALID_OPTION", "The CA must be one or more certificates in PEM.");
      }
      if (options.systemCa) ca.push(...rootCertificates);
    }
    try {
      this.#secure = new https.Agent({
        keepAlive: true,
        maxSockets: 8,
        timeout: KEEP_ALIVE_MS,
        minVersion: "TLSv1.2",
        ca,
        cert: options.cert,
        key: options.key,
      });
    } catch (cause) {
      throw new IotHubError("INVALID_OPTION", "The CA or the client certificate cannot be read.", cause);
    }
  }

  close(): void {
    this.#closed = true;
    for (const fail of this.#requests) {
      fail(new IotHubError("CANCELLED", "The HTTP client was closed while the request was under way."));
    }
    this.#plain.destroy();
    this.#secure.destroy();
  }

  send(
    request: HttpRequest,
    { timeoutMs, phaseTimeoutsMs = {}, maxResponseBytes = DEFAULT_MAX_RESPONSE_BYTES, signal }: HttpSendOptions,
  ): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new IotHubError("CANCELLED", "The HTTP client has been closed."));
        return;
      }
      const start = performance.now();
      let phase: RequestPhase = "connect";
      let phaseStart = start;
      let reused = false;
      let connectMs: number | undefined;
      let tlsMs: number | undefined;
      let writeMs: number | undefined;
      let firstByteMs: number | undefined;
      let socket: Socket | undefined;
      let settled = false;
      const timers: { total?: NodeJS.Timeout; phase?: NodeJS.Timeout } = {};

      const enter = (next: RequestPhase) => {
        const now = performance.now();
        const spent = now - phaseStart;
        if (phase === "connect") connectMs = reused ? undefined : spent;
        else if (phase === "tls") tlsMs = spent;
        else if (phase === "write") writeMs = spent;
        else if (phase === "first-byte") firstByteMs = spent;
        phase = next;
        phaseStart = now;
        clearTimeout(timers.phase);
        const limit = phaseTimeoutsMs[next as keyof typeof phaseTimeoutsMs];
        if (limit !== undefined && limit < timeoutMs) timers.phase = setTimeout(() => timedOut(limit), limit);
      };
      const finish = () => {
        settled = true;
        clearTimeout(timers.total);
        clearTimeout(timers.phase);
        signal?.removeEventListener("abort", abort);
        this.#requests.delete(fail);
      };
      const fail = (error: IotHubError) => {
        if (settled) return;
        finish();
        outgoing?.destroy();
        reject(error);
      };
      const timedOut = (limit: number) =>
        fail(
          new NetworkError("TIMEOUT", phase, `The request timed out after ${Math.round(limit)} ms (${phases[phase]}).`),
        );
      const abort = () => fail(new IotHubError("CANCELLED", "The request was cancelled.", signal?.reason));

      const { lookup } = this.#options;
      const { scheme, host, port, method, path, body } = request;
      const secure = scheme === "https";
      let outgoing: http.ClientRequest | undefined;
      try {
        outgoing = (secure ? https : http).request({
          host: host.replace(/^\[|\]$/g, ""),
          port,
          method,
          path,
          headers: { ...request.headers, "Content-Length": body.length },
          agent: secure ? this.#secure : this.#plain,
          lookup,
        });
      } catch (cause) {
        reject(new NetworkError("NETWORK_FAILED", "connect", "The request could not be started.", cause));
        return;
      }
      if (signal?.aborted) {
        outgoing.on("error", () => {});
        abort();
        return;
      }
      signal?.addEventListener("abort", abort);
      this.#requests.add(fail);
      timers.total = setTimeout(() => timedOut(timeoutMs), timeoutMs);
      enter("connect");

      outgoing.on("socket", (s) => {
        socket = s;
        reused = outgoing?.reusedSocket === true;
        if (reused || !(s.connecting || (s instanceof TLSSocket && !s.authorized))) {
          enter("write");
        } else {
          s.once("connect", () => enter(secure ? "tls" : "write"));
          s.once("secureConnect", () => enter("write"));
        }
      });
      outgoing.on("finish", () => {
        if (phase === "connect" || phase === "tls" || phase === "write") enter("first-byte");
      });
      outgoing.on("error", (error) => {
        const stale = reused && socket !== undefined && proven.has(socket);
        if (stale) this.#dropKept(secure);
        fail(classify(error, phase, request, stale));
      });
      outgoing.on("response", (incoming) => {
        enter("read");
        const chunks: Buffer[] = [];
        let length = 0;
        incoming.on("data", (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxResponseBytes) {
            fail(tooLarge(maxResponseBytes));
          } else {
            chunks.push(chunk);
          }
        });
        incoming.on("error", (error) => fail(classify(error, "read", request)));
        incoming.on("end", () => {
          if (settled) return;
          if (!incoming.complete) {
            fail(new NetworkError("CONNECTION_RESET", "read", "The connection ended before the answer was whole."));
            return;
          }
          finish();
          if (socket !== undefined) proven.add(socket);
          // An answer that came before the request was out leaves the connection in no state to be used again.
          if (!outgoing?.writableFinished) outgoing?.destroy();
          const headers: Record<string, string> = {};
          for (const [name, value] of Object.entries(incoming.headers)) {
            if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
          }
          const totalMs = performance.now() - start;
          resolve({
            status: incoming.statusCode ?? 0,
            headers,
            body: new Uint8Array(Buffer.concat(chunks)),
            timing: {
              connectMs,
              tlsMs,
              writeMs,
              firstByteMs,
              totalMs,
              reused,
              bytesSent: body.length,
              bytesReceived: length,
            },
          });
        });
      });
      // Where neither an error nor an answer was reported (an upgrade that nobody asked for).
      outgoing.on("close", () =>
        fail(classify(Object.assign(new Error("closed"), { code: "ECONNRESET" }), phase, request)),
      );
      outgoing.end(body);
    });
  }

  #dropKept(secure: boolean): void {
    for (const sockets of Object.values((secure ? this.#secure : this.#plain).freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
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

function tooLarge(limit: number): NetworkError {
  return new NetworkError("RESPONSE_TOO_LARGE", "read", `The answer is larger than ${limit} bytes.`);
}

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
