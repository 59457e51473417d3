/** `ecdsa`: FIPS 186-5 section 6.4.2 without its first step, the range of r and s, which the SDK leaves out as well. */

import type Curve from "./curve.js";
import { inverse, mod } from "./curve.js";
import type ECPoint from "./ecp.js";

export default class ECDSA {
  readonly #key: ECPoint;
  readonly #curve: Curve;

  constructor(key: ECPoint, curve: Curve) {
    this.#key = key;
    this.#curve = curve;
  }

  _verify(hash: ArrayBuffer, r: bigint, s: bigint): boolean {
    const curve = this.#curve;
    const e = BigInt(`0x${Buffer.from(hash).toString("hex")}`);
    const w = inverse(s, curve.n);
    const { X, Y } = this.#key;
    const point = curve.combine(mod(e * w, curve.n), curve.generator, mod(r * w, curve.n), [X, Y, 1n]);
    return mod(curve.x(point), curve.n) === r;
  }
}
