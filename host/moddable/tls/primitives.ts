/** The SDK's hashes and big integers, for checking signatures. */

import { Digest } from "crypt";
import Curve from "curve";
import ECPoint from "ecp";
import Modular from "modular";
import RSA from "rsa";
import type { PublicKey } from "./certificate.js";
import { toBigInt } from "./curves.js";
import type { HashName, SignaturePrimitives } from "./verify.js";

function hash(name: HashName, parts: readonly Uint8Array[]): Uint8Array {
  const digest = new Digest(name);
  for (const part of parts) digest.write(part as unknown as ArrayBuffer);
  return new Uint8Array(digest.close());
}

export const sdkPrimitives: SignaturePrimitives = Object.freeze({
  hash,
  rsaPublic(modulus: Uint8Array, exponent: Uint8Array, signature: Uint8Array): bigint {
    return new RSA(toBigInt(exponent), toBigInt(modulus)).process(toBigInt(signature));
  },
  // The SDK's own `ecdsa` compares r with a coordinate that it has not reduced.
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
    // Only as many bits of the hash as the order has.
    const e = toBigInt(hash(hashName, parts).subarray(0, orderSize));
    const inverse = new Modular(n).mulinv(s);
    const sum = ec.mul2(curve.G, (e * inverse) % n, ECPoint.fromOctetString(point), (r * inverse) % n);
    return !sum.isZero() && sum.X % n === r;
  },
});

/** The key as the SDK's handshake wants it. */
export function sdkKey(key: PublicKey): object {
  return key.type === "rsa"
    ? { modulus: toBigInt(key.modulus), exponent: toBigInt(key.exponent) }
    : { curve: new Curve(key.curve), pub: ECPoint.fromOctetString(key.point) };
}
