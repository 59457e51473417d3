/**
 * The gateway's signature as far as it needs no RSA: eight lines, a hash of the body, an HMAC in Base64. Firmware that
 * signs with a secret alone is a third smaller without the rest.
 */

import { base64 } from "../crypto/base64.js";
import { toBytes } from "../crypto/bytes.js";
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
  /**
   * True for a secret that was not copied by a person, or that really has white space, quotes or another length than
   * Base64 has: a device takes it without a check. A credential from a registration has it.
   * @default false
   */
  readonly verbatim?: boolean;
}

/**
 * What a signature is made with. {@link createSigner} makes one from a credential; a device with a secure element
 * brings its own, whose `sign` may return a promise.
 */
export interface Signer {
  readonly algorithm: Algorithm;
  /** Lower-case hex of the body's hash: SHA-1 for `hmacsha1`, SHA-256 for the others. */
  hashBody(body: Uint8Array): string;
  /** The signature of a string to sign, in Base64 with padding. */
  sign(text: string): string | Promise<string>;
  /** Drops the key. Whatever is signed afterwards throws SIGNER_CLOSED. */
  close(): void;
}

/** A signer that has its key at hand. */
export interface SyncSigner extends Signer {
  sign(text: string): string;
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
export function createSecretSigner(credential: SecretCredential): SyncSigner {
  const { secret, algorithm } = (credential ?? {}) as Partial<SecretCredential>;
  if (typeof secret !== "string" || secret === "") throw invalidCredential("its secret must be a non-empty text");
  if (algorithm === undefined || algorithm === "hmacsha256" || algorithm === "hmacsha1") {
    return new HmacSigner(secret, algorithm ?? "hmacsha256");
  }
  throw invalidCredential('its algorithm must be "hmacsha256" or "hmacsha1"');
}

export interface RequestToSign {
  readonly host: string;
  /** Begins with a slash, without query. */
  readonly path: string;
  /** Signed exactly as it is: send these bytes, or this text as UTF-8. */
  readonly body: string | Uint8Array;
}

/**
 * Signs one request with a signer. The same input gives the same result; nothing is sent.
 * @returns a promise where the signer's `sign` returns one
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_BODY, INVALID_TIMESTAMP, INVALID_NONCE, SIGNER_CLOSED;
 * SIGNING_FAULT if the signer fails for a reason of its own. A signer that returns a promise has it rejected with these
 */
export function signWith(request: RequestToSign, signer: SyncSigner, time: SignatureTime): SignedRequest;
export function signWith(
  request: RequestToSign,
  signer: Signer,
  time: SignatureTime,
): SignedRequest | Promise<SignedRequest>;
export function signWith(
  { host, path, body }: RequestToSign,
  signer: Signer,
  time: SignatureTime,
): SignedRequest | Promise<SignedRequest> {
  const bytes = typeof body === "string" ? utf8(body) : toBytes(body);
  if (bytes === undefined) throw new IotHubError("INVALID_BODY", "The body must be text or bytes.");
  const { algorithm } = signer;
  const { timestampSeconds, nonce } = time;
  const bodyHash = signer.hashBody(bytes);
  const text = stringToSign({ host, path, algorithm, timestampSeconds, nonce, bodyHash });
  let signature: string | Promise<string>;
  try {
    signature = signer.sign(text);
  } catch (cause) {
    throw signingFault(cause);
  }
  if (typeof signature === "string") return signedRequest(text, algorithm, signature, time);
  return Promise.resolve(signature).then(
    (late) => signedRequest(text, algorithm, late, time),
    (cause) => {
      throw signingFault(cause);
    },
  );
}

function signedRequest(
  text: string,
  algorithm: Algorithm,
  signature: string,
  { timestampSeconds, nonce, contentType }: SignatureTime,
): SignedRequest {
  // A signer that an app brings may return bytes, hex, or Base64 in lines: none may become a header. Without a regular
  // expression, which would cost more than all the rest here.
  const length = algorithm === "hmacsha256" ? 44 : algorithm === "hmacsha1" ? 28 : signature?.length;
  const isBase64 = typeof signature === "string" && length > 0 && length % 4 === 0 && signature.length === length;
  if (!isBase64 || signature.includes("\n")) {
    throw new IotHubError("SIGNING_FAULT", "The signer must return its signature as Base64 text in one line.");
  }
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

function signingFault(cause: unknown): IotHubError {
  if (cause instanceof IotHubError) return cause;
  return new IotHubError("SIGNING_FAULT", "The signer did not sign.", cause);
}

class HmacSigner implements SyncSigner {
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
