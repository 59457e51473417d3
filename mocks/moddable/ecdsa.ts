/**
 * `ecdsa`: FIPS 186-5 section 6.4.2 without what the SDK leaves out as well: the range of r and s, and the reduction of the
 * coordinate that r is compared with.
 */

import type Curve from "./curve.js";
import { inverse } from "./curve.js";
import type ECPoint from "./ecp.js";

export default class ECDSA {
  readonly #key: ECPoint;
  readonly #curve: Curve;

  constructor(key: ECPoint, curve: Curve) {
    this.#key = key;
    this.#curve = curve;
  }

  _verify(hash: ArrayBuffer, r: bigint, s: bigint): boolean {
    const { n, ec, G } = this.#curve;
    const e = BigInt(`0x${Buffer.from(hash).toString("hex")}`);
    const w = inverse(s, n);
    return ec.mul2(G, (e * w) % n, this.#key, (r * w) % n).X === r;
  }
}
