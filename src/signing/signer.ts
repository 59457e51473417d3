/** The gateway's signature: eight lines, a hash of the body, an HMAC or an RSA signature in Base64. */

import { base64 } from "../crypto/base64.js";
import { toBytes } from "../crypto/bytes.js";
import { hex } from "../crypto/hex.js";
import { hmacPads } from "../crypto/hmac.js";
import { utf8 } from "../crypto/utf8.js";
import type { NativeDigest, NativeRsa, Random } from "../host.js";
import {
  closed,
  createSecretSigner,
  invalidCredential,
  PreparedSigner,
  type RequestToSign,
  type SecretCredential,
  type SignedRequest,
  type Signer,
  type SigningParameters,
  type SyncSigner,
  signWith,
} from "./hmac-signer.js";
import { KeySigner } from "./rsa-signer.js";
import type { Algorithm } from "./string-to-sign.js";

export type {
  RequestToSign,
  SecretCredential,
  SignedRequest,
  Signer,
  SigningParameters,
  SyncSigner,
} from "./hmac-signer.js";
export { type Algorithm, type StringToSignParts, signedHost, stringToSign } from "./string-to-sign.js";

/** The private key of a device's certificate: PKCS#1 or PKCS#8, PEM as text or bytes, or DER bytes, 2048 to 4096 bits. */
export interface KeyCredential {
  readonly privateKey: string | Uint8Array;
}

/** What a device signs with: a secret, which the console calls psk, or a private key. */
export type Credential = SecretCredential | KeyCredential;

/** Parts of a host that make signing faster or harder to attack. All are optional. */
export interface SignerOptions {
  /** Hashes in native code. @default JavaScript */
  readonly digest?: NativeDigest;
  /** Signs in native code. @default JavaScript */
  readonly rsa?: NativeRsa;
  /** Mixed into the blinding of RSA signatures. @default none: the blinding follows from the key and the message */
  readonly random?: Random;
}

/**
 * Prepares a credential: an HMAC's midstates or an RSA key's numbers, once for all signatures.
 * @throws {IotHubError} INVALID_CREDENTIAL; KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED, KEY_SIZE,
 * KEY_INCONSISTENT
 */
export function createSigner(credential: Credential, options: SignerOptions = {}): SyncSigner {
  const { secret, algorithm, privateKey } = (credential ?? {}) as Partial<SecretCredential & KeyCredential>;
  if (typeof secret === "string" && secret !== "" && privateKey === undefined) {
    const { digest } = options;
    const isNative = digest !== undefined && (algorithm === undefined || algorithm === "hmacsha256");
    return isNative ? new DigestSigner(secret, digest) : createSecretSigner({ secret, algorithm });
  }
  const key = typeof privateKey === "string" ? privateKey : toBytes(privateKey);
  if (key !== undefined && secret === undefined) return new KeySigner(key, options);
  throw invalidCredential("it needs either a secret, a non-empty text, or a privateKey, PEM or DER");
}

/**
 * Signs one request. The same input gives the same result; nothing is sent.
 * @returns a promise where a signer is given whose `sign` returns one
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_BODY, INVALID_TIMESTAMP, INVALID_NONCE, SIGNING_FAULT, and
 * what {@link createSigner} throws
 */
export function signRequest(
  request: RequestToSign,
  credentialOrSigner: Credential | SyncSigner,
  time: SigningParameters,
): SignedRequest;
export function signRequest(
  request: RequestToSign,
  credentialOrSigner: Credential | Signer,
  time: SigningParameters,
): SignedRequest | Promise<SignedRequest>;
export function signRequest(
  request: RequestToSign,
  credentialOrSigner: Credential | Signer,
  time: SigningParameters,
): SignedRequest | Promise<SignedRequest> {
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

/** HMAC-SHA256 over a native hash: without midstates, yet two more blocks cost less there than any line of JavaScript. */
class DigestSigner extends PreparedSigner {
  readonly algorithm: Algorithm = "hmacsha256";
  readonly #digest: NativeDigest;
  #pads: { readonly inner: Uint8Array; readonly outer: Uint8Array } | undefined;

  constructor(secret: string, digest: NativeDigest) {
    super();
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
