/** HMAC signatures, separate from RSA: sign-only firmware with a secret is a third smaller without it. */

import { base64 } from "../crypto/base64.js";
import { toBytes } from "../crypto/bytes.js";
import { hexOfWords } from "../crypto/hex.js";
import { Hmac } from "../crypto/hmac.js";
import { Beginning, BLOCK_BYTES, blockText } from "../crypto/merkle-damgard.js";
import { SHA1 } from "../crypto/sha1.js";
import { SHA256 } from "../crypto/sha256.js";
import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { type Algorithm, checkTime, headToSign } from "./string-to-sign.js";

/** Credential with a device's PSK or a ProductSecret. */
export interface SecretCredential {
  /** The secret exactly as shown in the console. Its characters are the key: it is not Base64-decoded. */
  readonly secret: string;
  /** HMAC of the signature. @default "hmacsha256" */
  readonly algorithm?: "hmacsha256" | "hmacsha1";
  /**
   * Disables the device's check for copying mistakes, for a secret that really contains white space or quotes, or has a
   * length that Base64 cannot have. True in credentials from a registration.
   * @default false
   */
  readonly verbatim?: boolean;
}

/**
 * Signs requests. {@link createSigner} creates one from a credential. Implement it for a secure element; `sign` may
 * then return a promise.
 */
export interface Signer {
  readonly algorithm: Algorithm;
  /** Returns the hash of a request body in lower-case hex: SHA-1 for `hmacsha1`, SHA-256 otherwise. */
  hashBody(body: Uint8Array): string;
  /** Returns the signature of a string to sign, in Base64 with padding. */
  sign(text: string): string | Promise<string>;
  /** Drops the key. `sign` then throws SIGNER_CLOSED. */
  close(): void;
}

/** A signer that signs synchronously. */
export interface SyncSigner extends Signer {
  sign(text: string): string;
}

/** Timestamp, nonce and content type of a signed request. */
export interface SigningParameters {
  /** Seconds since 1970, an integer from 0 to 253402300799 (the end of the year 9999). */
  readonly timestampSeconds: number;
  /** An integer from 0 to 2^53 - 1; the official SDKs draw from 0 to 2147483646. */
  readonly nonce: number;
  /** Content-Type of the request; not part of the signature. @default "application/json; charset=utf-8" */
  readonly contentType?: string;
}

/** A signature and the headers that carry it. */
export interface SignedRequest {
  readonly stringToSign: string;
  /** Base64 with padding. */
  readonly signature: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Creates a signer from a secret. The first signature computes the HMAC midstates for all others.
 * @throws {IotHubError} INVALID_CREDENTIAL
 */
export function createSecretSigner(credential: SecretCredential): SyncSigner {
  const { secret, algorithm } = (credential ?? {}) as Partial<SecretCredential>;
  if (typeof secret !== "string" || secret === "") throw invalidCredential("its secret must be a non-empty string");
  if (algorithm === undefined || algorithm === "hmacsha256" || algorithm === "hmacsha1") {
    return new HmacSigner(secret, algorithm ?? "hmacsha256");
  }
  throw invalidCredential('its algorithm must be "hmacsha256" or "hmacsha1"');
}

/** Request to be signed. */
export interface RequestToSign {
  readonly host: string;
  /** Path with a leading slash, without query. */
  readonly path: string;
  /** Body, signed unchanged: send exactly these bytes, or this text as UTF-8. */
  readonly body: string | Uint8Array;
}

/**
 * Signs one request with a signer. Deterministic; sends nothing.
 * @returns a promise if the signer's `sign` returns one
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_BODY, INVALID_TIMESTAMP, INVALID_NONCE, SIGNER_CLOSED;
 * SIGNING_FAULT if the signer fails; with an asynchronous signer, the promise rejects with the last two
 */
export function signWith(request: RequestToSign, signer: SyncSigner, time: SigningParameters): SignedRequest;
export function signWith(
  request: RequestToSign,
  signer: Signer,
  time: SigningParameters,
): SignedRequest | Promise<SignedRequest>;
export function signWith(
  { host, path, body }: RequestToSign,
  signer: Signer,
  time: SigningParameters,
): SignedRequest | Promise<SignedRequest> {
  const bytes = typeof body === "string" ? utf8(body) : toBytes(body);
  if (bytes === undefined) throw new IotHubError("INVALID_BODY", "The body must be text or bytes.");
  const { algorithm } = signer;
  checkTime(time);
  const timestamp = String(time.timestampSeconds);
  const nonce = String(time.nonce);
  const headers: Record<string, string> = {
    "Content-Type": time.contentType ?? "application/json; charset=utf-8",
    "X-TC-Algorithm": algorithm,
    "X-TC-Timestamp": timestamp,
    "X-TC-Nonce": nonce,
    "X-TC-Signature": "",
  };
  const bodyHash = signer.hashBody(bytes);
  const isOurs = signer instanceof PreparedSigner;
  const head = isOurs ? signer.head(host, path) : headToSign(host, path, algorithm);
  const text = head.concat(timestamp, "\n", nonce, "\n", bodyHash);
  let signature: string | Promise<string>;
  try {
    signature = signer.sign(text);
  } catch (cause) {
    throw signingFault(cause);
  }
  if (typeof signature === "string") {
    // Not a helper function, which would cost each request as much as all headers.
    if (!isOurs) checked(signature, algorithm);
    headers["X-TC-Signature"] = signature;
    return { stringToSign: text, signature, headers };
  }
  return Promise.resolve(signature).then(
    (late) => {
      headers["X-TC-Signature"] = checked(late, algorithm);
      return { stringToSign: text, signature: late, headers };
    },
    (cause) => {
      throw signingFault(cause);
    },
  );
}

/** Checks the result of an app's signer: bytes, hex, or Base64 with line breaks must not become a header. */
function checked(signature: string, algorithm: Algorithm): string {
  const length = algorithm === "hmacsha256" ? 44 : algorithm === "hmacsha1" ? 28 : signature?.length;
  if (typeof signature === "string" && signature.length === length && length % 4 === 0) {
    if (/^[A-Za-z0-9+/]+={0,2}$/.test(signature)) return signature;
  }
  throw new IotHubError("SIGNING_FAULT", "The signer must return the signature as one line of Base64.");
}

function signingFault(cause: unknown): IotHubError {
  if (cause instanceof IotHubError) return cause;
  return new IotHubError("SIGNING_FAULT", "The signer failed.", { cause });
}

/** Base of the built-in signers. Checks host and path once, as long as they stay the same. */
export abstract class PreparedSigner implements SyncSigner {
  abstract readonly algorithm: Algorithm;
  #host = "";
  #path = "";
  #head = "";

  /** Same as {@link headToSign}, cached. */
  head(host: string, path: string): string {
    if (this.#head === "" || host !== this.#host || path !== this.#path) {
      this.#head = headToSign(host, path, this.algorithm);
      this.#host = host;
      this.#path = path;
    }
    return this.#head;
  }

  /** Returns the cached head if the text begins with it and it fills at least one block; otherwise an empty string. */
  protected commonHead(text: string): string {
    const head = this.#head;
    return head.length >= BLOCK_BYTES && text.startsWith(head) ? head : "";
  }

  abstract hashBody(body: Uint8Array): string;
  abstract sign(text: string): string;
  abstract close(): void;
}

class HmacSigner extends PreparedSigner {
  readonly algorithm: Algorithm;
  // Bodies and strings to sign mostly begin like the previous ones.
  readonly #body = new Beginning();
  readonly #text = new Beginning();
  /** Kept until the first signature: a wake-up that only stores a reading does not need the midstates. */
  #secret: string | undefined;
  #hmac: Hmac | undefined;

  constructor(secret: string, algorithm: "hmacsha256" | "hmacsha1") {
    super();
    this.algorithm = algorithm;
    this.#secret = secret;
  }

  hashBody(body: Uint8Array): string {
    // The C SDK hashes the body with SHA-1 for hmacsha1, and its published test vector agrees.
    const hash = this.algorithm === "hmacsha1" ? SHA1 : SHA256;
    return hexOfWords(this.#body.end(hash, hash.initial, body, body.length, blockText(body)));
  }

  sign(text: string): string {
    const hmac = this.#hmac ?? this.#prepare();
    return base64(hmac.sign(utf8(text), this.#text, this.commonHead(text)));
  }

  #prepare(): Hmac {
    if (this.#secret === undefined) throw closed();
    const hash = this.algorithm === "hmacsha1" ? "sha1" : "sha256";
    this.#hmac = new Hmac(hash, utf8(this.#secret));
    this.#secret = undefined;
    return this.#hmac;
  }

  close(): void {
    this.#body.wipe();
    this.#text.wipe();
    this.#hmac?.close();
    this.#hmac = this.#secret = undefined;
  }
}

export function closed(): IotHubError {
  return new IotHubError("SIGNER_CLOSED", "The signer has been closed.");
}

export function invalidCredential(reason: string): IotHubError {
  return new IotHubError("INVALID_CREDENTIAL", `The credential cannot be used: ${reason}.`);
}
