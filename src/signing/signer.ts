/** Signatures of the gateway's protocol: a string to sign of eight lines, signed with HMAC or RSA. */

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

/** Credential with the private key of a device certificate. */
export interface KeyCredential {
  /** RSA key of 2048 to 4096 bits, PKCS#1 or PKCS#8: PEM as a string or bytes, or DER bytes. */
  readonly privateKey: string | Uint8Array;
}

/** Credential of a device: a secret (PSK in the console) or a private key. */
export type Credential = SecretCredential | KeyCredential;

/** Optional parts of a host for faster or hardened signing. */
export interface SignerOptions {
  /** Native SHA-256. @default SHA-256 in JavaScript */
  readonly digest?: NativeDigest;
  /** Native RSA. @default RSA in JavaScript */
  readonly rsa?: NativeRsa;
  /**
   * Mixed into the blinding of RSA signatures. @default none: the blinding is derived from the key, the message and a
   * counter
   */
  readonly random?: Random;
}

/**
 * Creates a signer from a credential. Prepares the key once for all signatures.
 * @throws {IotHubError} INVALID_CREDENTIAL; for a private key KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE,
 * KEY_MALFORMED, KEY_SIZE, KEY_INCONSISTENT
 * @example
 *   const signer = createSigner({ secret: psk });
 *   const request = { host: "ap-guangzhou.gateway.iotdevice.qcloud.com", path: "/device/publish", body };
 *   const { headers } = signRequest(request, signer, { timestampSeconds: Math.floor(Date.now() / 1000), nonce: 1 });
 *   signer.close();
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
  throw invalidCredential("it needs either a secret (a non-empty string) or a privateKey (PEM or DER)");
}

/**
 * Signs one request. Deterministic; sends nothing.
 * @returns a promise if the signer's `sign` returns one
 * @throws {IotHubError} INVALID_HOST, INVALID_PATH, INVALID_BODY, INVALID_TIMESTAMP, INVALID_NONCE, SIGNING_FAULT;
 * SIGNER_CLOSED for a signer, and the errors of {@link createSigner} for a credential
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

/** Whether a value is a signer rather than a credential. */
export function isSigner(value: Credential | Signer): value is Signer {
  return typeof (value as Signer | undefined)?.hashBody === "function";
}

/** HMAC-SHA256 with a native hash: without midstates, since two more native blocks cost less than JavaScript. */
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
