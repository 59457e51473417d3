/** Signature verification and key agreement with the SDK's hashes and big integers. */

import { Digest } from "crypt";
import Curve from "curve";
import ECPoint from "ecp";
import Modular from "modular";
import RSA from "rsa";
import { bigIntOf } from "../../../src/crypto/big-int.js";
import type { Random } from "../../../src/host.js";
import type { HashName, SignaturePrimitives } from "./verify.js";

function hash(name: HashName, parts: readonly Uint8Array[]): Uint8Array {
  const digest = new Digest(name);
  for (const part of parts) digest.write(part as unknown as ArrayBuffer);
  return new Uint8Array(digest.close());
}

export const sdkPrimitives: SignaturePrimitives = Object.freeze({
  hash,
  rsaPublic(modulus: Uint8Array, exponent: Uint8Array, signature: Uint8Array): bigint {
    return new RSA(bigIntOf(exponent), bigIntOf(modulus)).process(bigIntOf(signature));
  },
  // Replaces the SDK's `ecdsa`, which compares r with an unreduced coordinate.
  ecdsaVerify(
    name: "secp256r1" | "secp384r1",
    point: Uint8Array,
    hashName: HashName,
    parts: readonly Uint8Array[],
    r: bigint,
    s: bigint,
  ): boolean {
    const curve = new Curve(name);
    const { n, ec, orderSize } = curve;
    // FIPS 186-5 section 6.4.2: a hash longer than the order is truncated.
    const e = bigIntOf(hash(hashName, parts).subarray(0, orderSize));
    const inverse = new Modular(n).mulinv(s);
    const sum = ec.mul2(curve.G, (e * inverse) % n, ECPoint.fromOctetString(point), (r * inverse) % n);
    return !sum.isZero() && sum.X % n === r;
  },
});

/**
 * Multiplies a point of secp256r1 by a scalar.
 * @param point 65 bytes
 * @default point the generator
 */
export function multiply(scalar: bigint, point?: Uint8Array): ECPoint {
  const { ec, G } = new Curve("secp256r1");
  return ec.mul(point ? ECPoint.fromOctetString(point) : G, scalar);
}

/** Encrypts with RSAES-PKCS1-v1_5, RFC 8017 section 7.2.1. */
export function rsaEncrypt(
  { modulus, exponent }: { readonly modulus: Uint8Array; readonly exponent: Uint8Array },
  message: Uint8Array,
  random: Random,
): Uint8Array {
  const { length } = modulus;
  const padded = random.bytes(length);
  const start = length - message.length;
  padded[0] = padded[start - 1] = 0;
  padded[1] = 2;
  for (let i = 2; i < start - 1; i++) while (padded[i] === 0) padded[i] = random.bytes(1)[0];
  padded.set(message, start);
  return new Uint8Array(ArrayBuffer.fromBigInt(sdkPrimitives.rsaPublic(modulus, exponent, padded), length));
}
