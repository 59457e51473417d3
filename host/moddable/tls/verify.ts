/** Verifies signatures of certificates and of the key exchange, with injected primitives. */

import { bigIntOf } from "../../../src/crypto/big-int.js";
import { encodePkcs1 } from "../pkcs1.js";
import { algorithmName, type PublicKey } from "./certificate.js";
import { CURVES, type CurveName } from "./curves.js";
import { DerCursor, SEQUENCE, wordAt } from "./der.js";
import { Rejection, UNSUPPORTED_CERTIFICATE } from "./rejection.js";

/** Hashes of signatures; SHA-1 is not accepted. */
export type HashName = "SHA256" | "SHA384" | "SHA512";

/** Primitives for signature verification; on a device, those of the SDK. */
export interface SignaturePrimitives {
  /** Returns the hash of the concatenated parts. */
  hash(name: HashName, parts: readonly Uint8Array[]): Uint8Array;
  /** RSAVP1 (RFC 8017 section 5.2.2); the signature must be less than the modulus. */
  rsaPublic(modulus: Uint8Array, exponent: Uint8Array, signature: Uint8Array): bigint;
  /** FIPS 186-5 section 6.4.2 from its second step on; `point` must be on the curve, and r and s in range. */
  ecdsaVerify(
    curve: CurveName,
    point: Uint8Array,
    hash: HashName,
    parts: readonly Uint8Array[],
    r: bigint,
    s: bigint,
  ): boolean;
}

export interface SignatureAlgorithm {
  readonly key: "rsa" | "ec";
  readonly hash: HashName;
}

const HASHES: readonly HashName[] = Object.freeze(["SHA256", "SHA384", "SHA512"] as const);

// DigestInfo up to the hash, RFC 8017 section 9.2 note 1.
const DIGEST_INFO: Readonly<Record<HashName, string>> = Object.freeze({
  SHA256: "3031300d060960864801650304020105000420",
  SHA384: "3041300d060960864801650304020205000430",
  SHA512: "3051300d060960864801650304020305000440",
});

/**
 * Returns the signature algorithm of a certificate.
 * @param identifier contents of the AlgorithmIdentifier
 * @throws {Rejection} for MD5, SHA-1 and unknown algorithms
 */
export function signatureAlgorithm(identifier: Uint8Array): SignatureAlgorithm {
  const { length } = identifier;
  const [first, second] = length >= 10 ? [wordAt(identifier, 0), wordAt(identifier, 4)] : [0, 0];
  // 1.2.840.113549.1.1.11 to 13, RFC 4055 section 5: parameters are NULL, and may be absent.
  if ((length === 11 || length === 13) && first === 0x06092a86 && second === 0x4886f70d) {
    const hash = HASHES[identifier[10] - 11];
    const isNull = length === 11 || (identifier[11] === 5 && identifier[12] === 0);
    if (hash && isNull && identifier[8] === 1 && identifier[9] === 1) return { key: "rsa", hash };
  }
  // 1.2.840.10045.4.3.2 to 4, RFC 5758 section 3.2: parameters are absent.
  if (length === 10 && first === 0x06082a86 && second === 0x48ce3d04 && identifier[8] === 3) {
    const hash = HASHES[identifier[9] - 2];
    if (hash) return { key: "ec", hash };
  }
  const name = algorithmName(identifier);
  throw new Rejection(
    `a certificate is not signed by RSA or ECDSA with SHA-256, SHA-384 or SHA-512 (object identifier ${name})`,
    UNSUPPORTED_CERTIFICATE,
  );
}

/** Whether a signature over the concatenated parts is valid. */
export function isSignature(
  primitives: SignaturePrimitives,
  key: PublicKey,
  algorithm: SignatureAlgorithm,
  signature: Uint8Array,
  parts: readonly Uint8Array[],
): boolean {
  const { hash } = algorithm;
  if (key.type !== algorithm.key) return false;
  if (key.type === "ec") {
    const numbers = ecdsaNumbers(key.curve, signature);
    return numbers !== undefined && primitives.ecdsaVerify(key.curve, key.point, hash, parts, numbers.r, numbers.s);
  }
  const { modulus, exponent } = key;
  if (signature.length !== modulus.length || !isLess(signature, modulus)) return false;
  // RFC 8017 section 8.2.2: compares the decrypted signature with a new encoding. Parsing it instead has allowed forged
  // signatures.
  const encoded = encodePkcs1(primitives.hash(hash, parts), modulus.length, DIGEST_INFO[hash]);
  return primitives.rsaPublic(modulus, exponent, signature) === bigIntOf(encoded);
}

/** RFC 3279 section 2.2.3; FIPS 186-5 section 6.4.2, first step. */
function ecdsaNumbers(curve: CurveName, signature: Uint8Array): { r: bigint; s: bigint } | undefined {
  const { n, size } = CURVES[curve];
  try {
    const cursor = new DerCursor(signature);
    const outer = cursor.enter(SEQUENCE);
    const [first, second] = [cursor.positive(), cursor.positive()];
    cursor.leave(outer);
    cursor.end();
    if (first.length > size || second.length > size) return undefined;
    const [r, s] = [bigIntOf(first), bigIntOf(second)];
    return r < n && s < n ? { r, s } : undefined;
  } catch {
    return undefined;
  }
}

/** Compares numbers of the same length. */
function isLess(a: Uint8Array, b: Uint8Array): boolean {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return i < a.length && a[i] < b[i];
}
