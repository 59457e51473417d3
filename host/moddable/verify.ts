/** Signatures of certificates and of the key exchange. */

import { Digest } from "crypt";
import Curve from "curve";
import ECDSA from "ecdsa";
import ECPoint from "ecp";
import RSA from "rsa";
import { DerReader } from "../../src/crypto/der.js";
import { type PublicKey, Rejection, UNSUPPORTED_CERTIFICATE } from "./certificate.js";
import { encodePkcs1 } from "./rsa.js";

type HashName = "SHA256" | "SHA384" | "SHA512";

export interface SignatureAlgorithm {
  readonly key: "rsa" | "ec";
  readonly hash: HashName;
}

// RFC 8017 appendix A.2.4, RFC 5758 section 3.2.
const ALGORITHMS: Readonly<Record<string, SignatureAlgorithm>> = Object.freeze({
  "2a864886f70d01010b": Object.freeze({ key: "rsa", hash: "SHA256" }),
  "2a864886f70d01010c": Object.freeze({ key: "rsa", hash: "SHA384" }),
  "2a864886f70d01010d": Object.freeze({ key: "rsa", hash: "SHA512" }),
  "2a8648ce3d040302": Object.freeze({ key: "ec", hash: "SHA256" }),
  "2a8648ce3d040303": Object.freeze({ key: "ec", hash: "SHA384" }),
  "2a8648ce3d040304": Object.freeze({ key: "ec", hash: "SHA512" }),
});

// DigestInfo up to the hash, RFC 8017 section 9.2 note 1.
const DIGEST_INFO: Readonly<Record<HashName, string>> = Object.freeze({
  SHA256: "3031300d060960864801650304020105000420",
  SHA384: "3041300d060960864801650304020205000430",
  SHA512: "3051300d060960864801650304020305000440",
});

/** @throws {Rejection} for MD5, SHA-1 and whatever else is not known */
export function signatureAlgorithm(id: string): SignatureAlgorithm {
  const algorithm = ALGORITHMS[id];
  if (!algorithm) {
    throw new Rejection(
      `a certificate is not signed by RSA or ECDSA with SHA-256, SHA-384 or SHA-512 (object identifier ${id})`,
      UNSUPPORTED_CERTIFICATE,
    );
  }
  return algorithm;
}

/** Whether the signature over the parts is the key's. */
export function isSignature(
  key: PublicKey,
  algorithm: SignatureAlgorithm,
  signature: Uint8Array,
  ...parts: Uint8Array[]
): boolean {
  if (key.type !== algorithm.key) return false;
  const digest = new Digest(algorithm.hash);
  for (const part of parts) digest.write(part as unknown as ArrayBuffer);
  const hash = new Uint8Array(digest.close());
  return key.type === "rsa"
    ? isRsaSignature(key.modulus, key.exponent, signature, hash, DIGEST_INFO[algorithm.hash])
    : isEcdsaSignature(key.curve, key.point, signature, hash);
}

/**
 * RFC 8017 section 8.2.2: what the signature opens to is compared with a fresh encoding; taking it apart instead has
 * been the door for forged signatures.
 */
function isRsaSignature(
  modulus: Uint8Array,
  exponent: Uint8Array,
  signature: Uint8Array,
  hash: Uint8Array,
  digestInfo: string,
): boolean {
  if (signature.length !== modulus.length) return false;
  const n = toBigInt(modulus);
  const s = toBigInt(signature);
  if (s >= n) return false;
  const opened = new RSA(toBigInt(exponent), n).process(s);
  return opened === toBigInt(encodePkcs1(hash, modulus.length, digestInfo));
}

/** FIPS 186-5 section 6.4.2. */
function isEcdsaSignature(name: string, point: Uint8Array, signature: Uint8Array, hash: Uint8Array): boolean {
  const numbers = ecdsaNumbers(signature);
  if (!numbers) return false;
  const curve = new Curve(name);
  const { r, s } = numbers;
  if (!isInRange(r, curve.n) || !isInRange(s, curve.n)) return false;
  // Only as many bits of the hash as the order has.
  const e = hash.slice(0, Math.min(hash.length, curve.orderSize));
  return new ECDSA(ECPoint.fromOctetString(point), curve)._verify(e.buffer as ArrayBuffer, r, s);
}

/**
 * Whether an ECDSA signature has numbers that may stand in one: the SDK's own check takes the zeros of
 * CVE-2022-21449 for a valid signature.
 */
export function isEcdsaInRange(name: string, signature: Uint8Array): boolean {
  const numbers = ecdsaNumbers(signature);
  if (!numbers) return false;
  const { n } = new Curve(name);
  return isInRange(numbers.r, n) && isInRange(numbers.s, n);
}

function isInRange(number: bigint, order: bigint): boolean {
  return number > 0n && number < order;
}

function ecdsaNumbers(signature: Uint8Array): { r: bigint; s: bigint } | undefined {
  try {
    const outer = new DerReader(signature);
    const numbers = outer.sequence();
    const r = numbers.unsigned();
    const s = numbers.unsigned();
    if (!numbers.done || !outer.done || r.length === 0 || s.length === 0) return undefined;
    return { r: toBigInt(r), s: toBigInt(s) };
  } catch {
    return undefined;
  }
}

/** The key as the SDK's handshake wants it. */
export function sdkKey(key: PublicKey): object {
  return key.type === "rsa"
    ? { modulus: toBigInt(key.modulus), exponent: toBigInt(key.exponent) }
    : { curve: new Curve(key.curve), pub: ECPoint.fromOctetString(key.point) };
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt.fromArrayBuffer(bytes.slice().buffer) as bigint;
}
