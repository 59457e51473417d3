/** String to sign: eight lines (Tencent Cloud, "Signature Algorithm", 1105/41501). */

import { IotHubError } from "../errors.js";

/** The value of X-TC-Algorithm. */
export type Algorithm = "hmacsha256" | "hmacsha1" | "rsa-sha256";

/** Parts of a string to sign. */
export interface StringToSignParts {
  /** Hostname or IP address; it is lower-cased, and a port and a trailing dot are removed. */
  readonly host: string;
  /** Path without query, for example `/device/publish`. */
  readonly path: string;
  readonly algorithm: Algorithm;
  /** Seconds since 1970, an integer; 0 is a valid time. */
  readonly timestampSeconds: number;
  /** A non-negative integer; 0 is a valid nonce. */
  readonly nonce: number;
  /** Hash of the body in lower-case hex. */
  readonly bodyHash: string;
}

/** The end of the year 9999, in seconds since 1970. */
export const MAX_TIMESTAMP = 253402300799;

/**
 * Returns the string to sign: eight fields joined by LF, without a trailing LF (Tencent Cloud, "Signature Algorithm",
 * 1105/41501).
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_TIMESTAMP, INVALID_NONCE
 */
export function stringToSign(parts: StringToSignParts): string {
  const { host, path, algorithm, timestampSeconds, nonce, bodyHash } = parts;
  const head = headToSign(host, path, algorithm);
  checkTime(parts);
  return head.concat(String(timestampSeconds), "\n", String(nonce), "\n", bodyHash);
}

/**
 * Returns the lines common to all requests of a device to one path, with a trailing LF.
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH
 */
export function headToSign(host: string, path: string, algorithm: Algorithm): string {
  // Printable ASCII except "?" and "#".
  if (typeof path !== "string" || !path.startsWith("/") || /[^!-"$->@-~]/.test(path)) {
    throw new IotHubError("INVALID_PATH", "The path must begin with a slash and have no spaces, query or fragment.");
  }
  // Line 4 is the query string, which is always empty.
  return `POST\n${signedHost(host)}\n${path}\n\n${algorithm}\n`;
}

/** @throws {IotHubError} INVALID_TIMESTAMP, INVALID_NONCE */
export function checkTime({ timestampSeconds, nonce }: Pick<StringToSignParts, "timestampSeconds" | "nonce">): void {
  if (!Number.isInteger(timestampSeconds) || timestampSeconds < 0 || timestampSeconds > MAX_TIMESTAMP) {
    throw new IotHubError(
      "INVALID_TIMESTAMP",
      "The timestamp must be a whole number of seconds, not milliseconds, since 1970.",
    );
  }
  if (!Number.isSafeInteger(nonce) || nonce < 0) {
    throw new IotHubError("INVALID_NONCE", "The nonce must be an integer from 0 to 2^53 - 1.");
  }
}

/**
 * Normalizes a host for the signature, the Host header and certificate checks: lower case, without port, and without
 * the trailing dot of a fully qualified name, which RFC 6066 section 3 excludes from TLS.
 * @throws {IotHubError} INVALID_HOST
 */
export function signedHost(host: string): string {
  // Common case: already normalized. This small expression costs a device half of the one below.
  if (typeof host === "string" && host !== "" && !/[^a-z0-9._-]/.test(host) && !host.endsWith(".")) return host;
  const match = typeof host === "string" && /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$/.exec(host.toLowerCase());
  const name = match ? match[1] : "";
  const bare = name.endsWith(".") ? name.slice(0, -1) : name;
  if (bare === "" || bare.endsWith(".")) {
    throw new IotHubError("INVALID_HOST", "The host must be a hostname or an IP address, with or without a port.");
  }
  return bare;
}
