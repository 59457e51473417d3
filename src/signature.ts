/** The gateway's signature: eight lines, a hash of the body, an HMAC or an RSA signature in Base64. */

import { base64 } from "./crypto/base64.js";
import { hex } from "./crypto/hex.js";
import { Hmac, hmacPads } from "./crypto/hmac.js";
import { readRsaPrivateKey } from "./crypto/key.js";
import { fault, RsaSigner } from "./crypto/rsa.js";
import { sha1 } from "./crypto/sha1.js";
import { sha256, sha256Hex } from "./crypto/sha256.js";
import { utf8 } from "./crypto/utf8.js";
import { IotHubError } from "./errors.js";
import type { NativeDigest, NativeRsa, Random } from "./host.js";

/** The value of X-TC-Algorithm. */
export type Algorithm = "hmacsha256" | "hmacsha1" | "rsa-sha256";

/** A device's psk or a ProductSecret. Its text is the key, as it stands in the console: it is not Base64-decoded. */
export interface SecretCredential {
  readonly secret: string;
  /** `"hmacsha256"` unless given. */
  readonly algorithm?: "hmacsha256" | "hmacsha1";
}

/** The private key that belongs to a device's certificate: PKCS#1 or PKCS#8, PEM text or DER bytes, 2048 to 4096 bits. */
export interface KeyCredential {
  readonly privateKey: string | Uint8Array;
}

export type Credential = SecretCredential | KeyCredential;

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

/** Parts of a host that make signing faster or harder to attack. All are optional. */
export interface SignerOptions {
  readonly digest?: NativeDigest;
  readonly rsa?: NativeRsa;
  readonly random?: Random;
}

export interface StringToSignParts {
  /** Lower-cased, and its port removed, here. */
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

const MAX_TIMESTAMP = 253402300799;

/**
 * The text that is signed: eight fields joined by LF, none at the end (Tencent Cloud, "Signature Algorithm", 1105/41501).
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_TIMESTAMP, INVALID_NONCE
 */
export function stringToSign(parts: StringToSignParts): string {
  const { path, timestampSeconds, nonce } = parts;
  if (typeof path !== "string" || !/^\/[!-~]*$/.test(path) || path.includes("?") || path.includes("#")) {
    throw new IotHubError("INVALID_PATH", "The path must begin with a slash and have no spaces, query or fragment.");
  }
  if (!Number.isInteger(timestampSeconds) || timestampSeconds < 0 || timestampSeconds > MAX_TIMESTAMP) {
    throw new IotHubError(
      "INVALID_TIMESTAMP",
      "The timestamp must be a whole number of seconds, not milliseconds, since 1970.",
    );
  }
  if (!Number.isSafeInteger(nonce) || nonce < 0) {
    throw new IotHubError("INVALID_NONCE", "The nonce must be an integer from 0 to 2^53 - 1.");
  }
  // Line 4 is the query string, which is always empty.
  return `POST\n${signedHost(parts.host)}\n${path}\n\n${parts.algorithm}\n${timestampSeconds}\n${nonce}\n${parts.bodyHash}`;
}

/**
 * A host as it is signed: lower case, without port.
 * @throws {IotHubError} INVALID_HOST
 */
export function signedHost(host: string): string {
  const match = typeof host === "string" && /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$/.exec(host.toLowerCase());
  if (!match) throw new IotHubError("INVALID_HOST", "The host must be a name or an address, with or without a port.");
  return match[1];
}

/**
 * Prepares a credential: an HMAC's midstates or an RSA key's numbers, once for all signatures.
 * @throws {IotHubError} INVALID_CREDENTIAL; KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED, KEY_SIZE,
 * KEY_INCONSISTENT
 */
export function createSigner(credential: Credential, options: SignerOptions = {}): Signer {
  const { secret, algorithm, privateKey } = (credential ?? {}) as Partial<SecretCredential & KeyCredential>;
  if (typeof secret === "string" && secret !== "" && privateKey === undefined) {
    if (algorithm === undefined || algorithm === "hmacsha256") {
      return options.digest ? new DigestSigner(secret, options.digest) : new HmacSigner(secret, "hmacsha256");
    }
    if (algorithm === "hmacsha1") return new HmacSigner(secret, algorithm);
    throw invalidCredential('its algorithm must be "hmacsha256" or "hmacsha1"');
  }
  if ((typeof privateKey === "string" || privateKey instanceof Uint8Array) && secret === undefined) {
    return new KeySigner(privateKey, options);
  }
  throw invalidCredential("it needs either a secret, a non-empty text, or a privateKey, PEM text or DER bytes");
}

/**
 * Signs one request. The same input gives the same result; nothing is sent.
 * @param request `body` is signed exactly as it is: send these bytes, or this text as UTF-8
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_BODY, INVALID_TIMESTAMP, INVALID_NONCE, and what
 * {@link createSigner} throws
 */
export function signRequest(
  request: { readonly host: string; readonly path: string; readonly body: string | Uint8Array },
  credentialOrSigner: Credential | Signer,
  time: SignatureTime,
): SignedRequest {
  if (isSigner(credentialOrSigner)) return signWith(request, credentialOrSigner, time);
  const signer = createSigner(credentialOrSigner);
  try {
    return signWith(request, signer, time);
  } finally {
    signer.close();
  }
}

/** Whether this is a signer rather than a credential. */
export function isSigner(value: Credential | Signer): value is Signer {
  return typeof (value as Signer | undefined)?.hashBody === "function";
}

function signWith(
  { host, path, body }: { host: string; path: string; body: string | Uint8Array },
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

/** HMAC-SHA256 over a native hash: without midstates, yet two more blocks cost less there than any line of JavaScript. */
class DigestSigner implements Signer {
  readonly algorithm: Algorithm = "hmacsha256";
  readonly #digest: NativeDigest;
  #pads: { readonly inner: Uint8Array; readonly outer: Uint8Array } | undefined;

  constructor(secret: string, digest: NativeDigest) {
    this.#digest = digest;
    this.#pads = hmacPads("sha256", utf8(secret));
  }

  hashBody(body: Uint8Array): string {
    return hex(this.#digest.sha256(body));
  }

  sign(text: string): string {
    const pads = this.#pads;
    if (pads === undefined) throw closed();
    return base64(this.#digest.sha256(pads.outer, this.#digest.sha256(pads.inner, utf8(text))));
  }

  close(): void {
    this.#pads?.inner.fill(0);
    this.#pads?.outer.fill(0);
    this.#pads = undefined;
  }
}

class KeySigner implements Signer {
  readonly algorithm: Algorithm = "rsa-sha256";
  readonly #rsa: RsaSigner;
  readonly #native: NativeRsa | undefined;
  readonly #sha256: (bytes: Uint8Array) => Uint8Array;
  #der: Uint8Array | undefined;

  constructor(privateKey: string | Uint8Array, { digest, rsa, random }: SignerOptions) {
    const key = readRsaPrivateKey(privateKey);
    this.#rsa = new RsaSigner(key, random);
    this.#native = rsa;
    this.#der = key.der;
    this.#sha256 = digest ? (bytes) => digest.sha256(bytes) : sha256;
  }

  hashBody(body: Uint8Array): string {
    return hex(this.#sha256(body));
  }

  sign(text: string): string {
    if (this.#der === undefined) throw closed();
    const message = utf8(text);
    const hash = this.#sha256(message);
    if (this.#native === undefined) return base64(this.#rsa.sign(hash));
    const signature = this.#native.sign(this.#der, message);
    if (!this.#rsa.verify(hash, signature)) throw fault();
    return base64(signature);
  }

  close(): void {
    this.#rsa.close();
    // Bytes that the caller passed in are the caller's: they are let go, not overwritten.
    this.#der = undefined;
  }
}

function closed(): IotHubError {
  return new IotHubError("SIGNER_CLOSED", "The signer has been closed.");
}

function invalidCredential(reason: string): IotHubError {
  return new IotHubError("INVALID_CREDENTIAL", `The credential cannot be used: ${reason}.`);
}
