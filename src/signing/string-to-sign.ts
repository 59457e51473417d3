/** What is signed: eight lines (Tencent Cloud, "Signature Algorithm", 1105/41501). */

import { IotHubError } from "../errors.js";

/** The value of X-TC-Algorithm. */
export type Algorithm = "hmacsha256" | "hmacsha1" | "rsa-sha256";

/** What the string to sign is made of. */
export interface StringToSignParts {
  /** Lower-cased here, without its port and without a dot at its end. */
  readonly host: string;
  /** Path without query, for example `/device/publish`. */
  readonly path: string;
  readonly algorithm: Algorithm;
  /** Seconds since 1970, an integer; 0 is a valid time. */
  readonly timestampSeconds: number;
  /** A non-negative integer; 0 is a valid nonce. */
  readonly nonce: number;
  /** Lower-case hex of the body's hash. */
  readonly bodyHash: string;
}

/** The end of the year 9999, in seconds since 1970. */
export const MAX_TIMESTAMP = 253402300799;

/**
 * The text that is signed: eight fields joined by LF, none at the end (Tencent Cloud, "Signature Algorithm", 1105/41501).
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_TIMESTAMP, INVALID_NONCE
 */
export function stringToSign(parts: StringToSignParts): string {
  const { host, path, algorithm, timestampSeconds, nonce, bodyHash } = parts;
  const head = headToSign(host, path, algorithm);
  checkTime(parts);
  return head.concat(String(timestampSeconds), "\n", String(nonce), "\n", bodyHash);
}

/**
 * The lines that all requests of a device to one path have in common, with the LF at their end.
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH
 */
export function headToSign(host: string, path: string, algorithm: Algorithm): string {
  // Printable ASCII but "?" and "#".
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
 * A host as it is signed, named to a server, and compared with its certificate: lower case, without port, and without
 * the dot at its end that marks a name as complete in the DNS (RFC 6066 section 3 keeps it out of TLS; a gateway knows
 * itself by its name without it).
 * @throws {IotHubError} INVALID_HOST
 */
export function signedHost(host: string): string {
  // Most are as they are signed already, and one small expression costs a device half of the one below.
  if (typeof host === "string" && host !== "" && !/[^a-z0-9._-]/.test(host) && !host.endsWith(".")) return host;
  const match = typeof host === "string" && /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$/.exec(host.toLowerCase());
  const name = match ? match[1] : "";
  const bare = name.endsWith(".") ? name.slice(0, -1) : name;
  if (bare === "" || bare.endsWith(".")) {
    throw new IotHubError("INVALID_HOST", "The host must be a name or an address, with or without a port.");
  }
  return bare;
}
