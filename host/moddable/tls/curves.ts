/** Supported elliptic curves, SEC 2 sections 2.4.2 and 2.5.1; `a` is -3 in both. */

import { bigIntOf } from "../../../src/crypto/big-int.js";

/** P-256 or P-384. */
export type CurveName = "secp256r1" | "secp384r1";

interface Curve {
  readonly p: bigint;
  readonly b: bigint;
  /** Order of the base point. */
  readonly n: bigint;
  /** Size of a coordinate in bytes. */
  readonly size: number;
}

export const CURVES: Readonly<Record<CurveName, Curve>> = Object.freeze({
  secp256r1: Object.freeze({
    p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    size: 32,
  }),
  secp384r1: Object.freeze({
    p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    size: 48,
  }),
});

/** Whether bytes are an uncompressed point on the curve (SEC 1 section 2.3.4) other than infinity. */
export function isOnCurve(name: CurveName, point: Uint8Array): boolean {
  const { p, b, size } = CURVES[name];
  if (point[0] !== 4 || point.length !== 1 + 2 * size) return false;
  const x = bigIntOf(point.subarray(1, 1 + size));
  const y = bigIntOf(point.subarray(1 + size));
  return x < p && y < p && (y * y) % p === ((x * x + p - 3n) * x + b) % p;
}
