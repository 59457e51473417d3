/**
 * Converts the errors of `fetch`. The standard defines a TypeError without details; runtimes add a code, a name or a
 * text, on the error or on its `cause`. What they do not tell stays NETWORK_FAILED.
 */

import { type ConnectionPhase, IotHubError, NetworkError, type NetworkErrorCode } from "../../src/errors.js";
import type { HttpRequest } from "../../src/host.js";

/** How an error is recognized, in any error of the chain: by its code or name, or by its text. */
interface Kind {
  readonly code: NetworkErrorCode;
  /** Matches a code or name as a whole. */
  readonly names: RegExp;
  /** Matches a part of a message, for runtimes that give no code: Deno (hyper and rustls), workerd. */
  readonly text: RegExp;
  message(peer: HttpRequest, detail: string): string;
}

const at = ({ host, port }: HttpRequest) => `${host} port ${port}`;

// The first match applies. Certificates come before other errors of TLS, and TLS before a closed connection, since a
// runtime may report both.
const kinds: readonly Kind[] = [
  {
    code: "NAME_RESOLUTION",
    names: /^(ENOTFOUND|EAI_[A-Z]+)$/,
    text: /\bdns error\b|failed to lookup address/i,
    message: ({ host }, detail) => `The name ${host} could not be resolved${detail}.`,
  },
  {
    code: "CERTIFICATE_REJECTED",
    // OpenSSL's X509_V_ERR_ names as of Node and Bun, and their codes for a hostname mismatch.
    names:
      /^(CERT_.*|UNABLE_TO_.*|DEPTH_ZERO_.*|SELF_SIGNED_.*|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH.*|HOSTNAME_MISMATCH|ERR_TLS_CERT.*|UNKNOWN_CERTIFICATE_.*)$/,
    text: /invalid peer certificate|certificate is not trusted|certificate verify failed/i,
    message: ({ host }, detail) => `The certificate of ${host} was rejected${detail}.`,
  },
  {
    code: "TLS_FAILED",
    names: /^(EPROTO|ERR_SSL.*|ERR_TLS.*)$/,
    text: /tls handshake|before secure TLS connection|received (fatal alert|corrupt message)|wrong version number/i,
    message: ({ host }, detail) => `The TLS handshake with ${host} failed${detail}.`,
  },
  {
    code: "CONNECTION_REFUSED",
    names:
      /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EACCES|EPERM|ConnectionRefused|FailedToOpenSocket|NotCapable|PermissionDenied)$/,
    text: /connection refused|(host|network) (is )?unreachable/i,
    message: (peer, detail) => `The connection to ${at(peer)} was refused${detail}.`,
  },
  {
    code: "TIMEOUT",
    names: /^(ETIMEDOUT|UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT|TimeoutError|Timeout)$/,
    text: /operation timed out|connection timed out/i,
    message: (peer, detail) => `The platform gave up the request to ${at(peer)} because of the time it took${detail}.`,
  },
  {
    code: "RESPONSE_MALFORMED",
    names:
      /^(HPE_.*|HTTPParserError|UND_ERR_RES_CONTENT_LENGTH_MISMATCH|UND_ERR_HEADERS_OVERFLOW|Malformed_HTTP_Response|InvalidHTTPResponse|InvalidContentLength|ZlibError|Z_[A-Z_]+)$/,
    text: /invalid (http|content-length|header|chunk)|decompression failed/i,
    message: (_peer, detail) => `The response is not valid HTTP${detail}.`,
  },
  {
    code: "CONNECTION_RESET",
    names:
      /^(ECONNRESET|EPIPE|ECONNABORTED|UND_ERR_SOCKET|ERR_STREAM_PREMATURE_CLOSE|ConnectionClosed|UND_ERR_CLOSED)$/,
    text: /connection reset|connection closed before|broken pipe|socket connection was closed/i,
    message: ({ host }, detail) => `The connection to ${host} was closed before the response was complete${detail}.`,
  },
];

/** Errors of a chain of causes that are looked at. */
const MAX_CAUSES = 8;

/**
 * Converts an error of `fetch` or of a response's body.
 * @param maybeKept whether the request may have been sent on a keep-alive connection
 */
export function classify(cause: unknown, phase: ConnectionPhase, peer: HttpRequest, maybeKept: boolean): IotHubError {
  if (cause instanceof IotHubError) return cause;
  const { names, texts } = evidence(cause);
  // The standard's list of blocked ports: no attempt would ever succeed.
  if (texts.some((text) => /\bbad port\b|\bport \d+ (is|are) blocked/i.test(text))) {
    const message = `The platform's fetch blocks port ${peer.port}; use another port.`;
    return new IotHubError("INVALID_URL", message, { cause });
  }
  for (const { code, names: name, text, message } of kinds) {
    const found = names.find((one) => name.test(one));
    if (found === undefined && !texts.some((one) => text.test(one))) continue;
    const stale = code === "CONNECTION_RESET" && maybeKept && phase === "connect";
    return new NetworkError(code, phase, message(peer, found ? ` (${found})` : ""), { cause, stale });
  }
  if (phase === "read") {
    const message = `The connection to ${peer.host} was closed before the response was complete.`;
    return new NetworkError("CONNECTION_RESET", phase, message, { cause });
  }
  // workerd says only "Network connection lost.", for a connection that was refused, too.
  const stale = maybeKept && texts.some((text) => /connection lost/i.test(text));
  return new NetworkError("NETWORK_FAILED", phase, `The request to ${at(peer)} failed.`, { cause, stale });
}

/** Codes, names and messages of an error and of what caused it. */
function evidence(error: unknown): { names: string[]; texts: string[] } {
  const names: string[] = [];
  const texts: string[] = [];
  const queue = [error];
  for (let i = 0; i < queue.length && i < MAX_CAUSES; i++) {
    const one = queue[i];
    if (typeof one !== "object" || one === null) continue;
    const { code, name, message, cause, errors } = one as Record<string, unknown>;
    if (typeof code === "string") names.push(code);
    if (typeof name === "string") names.push(name);
    if (typeof message === "string") texts.push(message);
    // An AggregateError: one error for each address of the name.
    if (Array.isArray(errors)) queue.push(...errors.slice(0, MAX_CAUSES));
    if (cause !== undefined) queue.push(cause);
  }
  return { names, texts };
}
