/** Converts Node's errors, for connections to the gateway and to a proxy. */

import { NetworkError, type NetworkErrorCode, type RequestPhase } from "../../src/errors.js";

/** Peer of a connection, as named in error messages. */
export interface Peer {
  /** Hostname or IP address; an IPv6 address is in brackets. */
  readonly host: string;
  readonly port: number;
  /** True for a proxy, which messages then mention. */
  readonly proxy?: boolean;
}

/**
 * Converts an error of Node to a NetworkError. @param error Node's error, or an error of this library, which is
 * returned unchanged
 * @param kept true for a keep-alive connection
 */
export function classify(
  error: Error & { code?: string },
  phase: RequestPhase,
  peer: Peer,
  kept = false,
): NetworkError {
  if (error instanceof NetworkError) return error;
  const code = error.code ?? "";
  const host = peer.proxy ? `the proxy ${peer.host}` : peer.host;
  const { port } = peer;
  const make = (kind: NetworkErrorCode, message: string) => new NetworkError(kind, phase, message, { cause: error });
  if (["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"].includes(code)) {
    return make("NAME_RESOLUTION", `The name ${peer.proxy ? `of ${host}` : host} could not be resolved (${code}).`);
  }
  if (["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL", "EACCES", "EPERM"].includes(code)) {
    return make("CONNECTION_REFUSED", `The connection to ${host} port ${port} was refused (${code}).`);
  }
  if (code === "ETIMEDOUT") return make("TIMEOUT", `The connection to ${host} port ${port} timed out.`);
  // OpenSSL's X509_V_ERR_ names, as reported by Node, and Node's code for a hostname mismatch.
  if (
    /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|HOSTNAME_MISMATCH|ERR_TLS_CERT)/.test(
      code,
    )
  ) {
    return make("CERTIFICATE_REJECTED", `The certificate of ${host} was rejected (${code}).`);
  }
  if (code.startsWith("HPE_"))
    return make("RESPONSE_MALFORMED", `The response${peer.proxy ? ` of ${host}` : ""} is not HTTP (${code}).`);
  if (
    code === "ERR_SSL_WRONG_VERSION_NUMBER" ||
    code === "EPROTO" ||
    code.startsWith("ERR_SSL") ||
    code.startsWith("ERR_TLS")
  ) {
    return make("TLS_FAILED", `The TLS handshake with ${host} failed (${code}).`);
  }
  if (code === "ECONNRESET" || code === "EPIPE" || code === "ECONNABORTED" || code === "ERR_STREAM_PREMATURE_CLOSE") {
    // Node also reports ECONNRESET if the peer closes during the handshake.
    if (phase === "tls") return make("TLS_FAILED", `The connection to ${host} was closed during the TLS handshake.`);
    const message = `The connection to ${host} was closed before the response was complete.`;
    return new NetworkError("CONNECTION_RESET", phase, message, { cause: error, stale: kept && phase !== "read" });
  }
  return make("NETWORK_FAILED", `The request to ${host} failed${code ? ` (${code})` : ""}.`);
}
