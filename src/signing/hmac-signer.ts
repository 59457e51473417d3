/**
 * The gateway's signature as far as it needs no RSA: eight lines, a hash of the body, an HMAC in Base64. Firmware that
 * signs with a secret alone is a third smaller without the rest.
 */

import { base64 } from "../crypto/base64.js";
import { hex } from "../crypto/hex.js";
import { Hmac } from "../crypto/hmac.js";
import { sha1 } from "../crypto/sha1.js";
import { sha256Hex } from "../crypto/sha256.js";
import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { type Algorithm, stringToSign } from "./string-to-sign.js";

/** A device's psk or a ProductSecret. Its text is the key, as it stands in the console: it is not Base64-decoded. */
export interface SecretCredential {
  readonly secret: string;
  /** `"hmacsha256"` unless given. */
  readonly algorithm?: "hmacsha256" | "hmacsha1";
}

/**
 * What a signature is made with. {@link createSigner} makes one from a credential; a device with a secure element
 * brings its own.
 */
export interface Signer {
  readonly algorithm: Algorithm;
  /** Lower-case hex of the body's hash: SHA-1 for `hmacsha1`, SHA-256 for the others. */
  hashBody(body: Uint8Array): string;
  /** The signature of a string to sign, in Base64 with padding. */
  sign(text: string): string;
  /** Drops the key. Whatever is signed afterwards throws SIGNER_CLOSED. */
  close(): void;
}

export interface SignatureTime {
  /** Seconds since 1970, an integer from 0 to 253402300799 (the end of the year 9999). */
  readonly timestampSeconds: number;
  /** An integer from 0 to 2^53 - 1; the official SDKs draw from 0 to 2147483646. */
  readonly nonce: number;
  /** `application/json; charset=utf-8` unless given. Not part of the signature. */
  readonly contentType?: string;
}

export interface SignedRequest {
  readonly stringToSign: string;
  /** Base64 with padding. */
  readonly signature: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Prepares a secret: an HMAC's midstates, once for all signatures.
 * @throws {IotHubError} INVALID_CREDENTIAL
 */
export function createSecretSigner(credential: SecretCredential): Signer {
  const { secret, algorithm } = (credential ?? {}) as Partial<SecretCredential>;
  if (typeof secret !== "string" || secret === "") throw invalidCredential("its secret must be a non-empty text");
  if (algorithm === undefined || algorithm === "hmacsha256" || algorithm === "hmacsha1") {
    return new HmacSigner(secret, algorithm ?? "hmacsha256");
  }
  throw invalidCredential('its algorithm must be "hmacsha256" or "hmacsha1"');
}

/**
 * Signs one request with a signer. The same input gives the same result; nothing is sent.
 * @param request `body` is signed exactly as it is: send these bytes, or this text as UTF-8
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_BODY, INVALID_TIMESTAMP, INVALID_NONCE, SIGNER_CLOSED
 */
export function signWith(
  { host, path, body }: { readonly host: string; readonly path: string; readonly body: string | Uint8Array },
  signer: Signer,
  { timestampSeconds, nonce, contentType }: SignatureTime,
): SignedRequest {
  if (typeof body !== "string" && !(body instanceof Uint8Array)) {
    throw new IotHubError("INVALID_BODY", "The body must be text or bytes.");
  }
  const algorithm = signer.algorithm;
  const bodyHash = signer.hashBody(typeof body === "string" ? utf8(body) : body);
  const text = stringToSign({ host, path, algorithm, timestampSeconds, nonce, bodyHash });
  const signature = signer.sign(text);
  return {
    stringToSign: text,
    signature,
    headers: {
      "Content-Type": contentType ?? "application/json; charset=utf-8",
      "X-TC-Algorithm": algorithm,
      "X-TC-Timestamp": String(timestampSeconds),
      "X-TC-Nonce": String(nonce),
      "X-TC-Signature": signature,
    },
  };
}

class HmacSigner implements Signer {
  readonly algorithm: Algorithm;
  #hmac: Hmac | undefined;

  constructor(secret: string, algorithm: "hmacsha256" | "hmacsha1") {
    this.algorithm = algorithm;
    this.#hmac = new Hmac(algorithm === "hmacsha1" ? "sha1" : "sha256", utf8(secret));
  }

  hashBody(body: Uint8Array): string {
    // The C SDK hashes the body with SHA-1 for hmacsha1, and its published known answer agrees.
    return this.algorithm === "hmacsha1" ? hex(sha1(body)) : sha256Hex(body);
  }

  sign(text: string): string {
    if (this.#hmac === undefined) throw closed();
    return base64(this.#hmac.sign(utf8(text)));
  }

  close(): void {
    this.#hmac?.close();
    this.#hmac = undefined;
  }
}

export function closed(): IotHubError {
  return new IotHubError("SIGNER_CLOSED", "The signer has been closed.");
}

export function invalidCredential(reason: string): IotHubError {
  return new IotHubError("INVALID_CREDENTIAL", `The credential cannot be used: ${reason}.`);
}
