/** SHA-1, FIPS 180-4 section 6.1. For `hmacsha1` alone, where the protocol asks for it: it is not collision-resistant. */

import { Md } from "./md.js";

// FIPS 180-4 section 5.3.1.
const INITIAL = Object.freeze([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);

/** SHA-1 over bytes that come in pieces. */
export class Sha1 extends Md {
  constructor() {
    super(INITIAL);
  }

  protected override compress(state: Int32Array, bytes: Uint8Array, offset: number, w: Int32Array): void {
    let from = offset;
    for (let t = 0; t < 16; t++, from += 4) {
      w[t] = (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3];
    }
    for (let t = 16; t < 80; t++) {
      const x = w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16];
      w[t] = (x << 1) | (x >>> 31);
    }
    let [a, b, c, d, e] = state;
    for (let t = 0; t < 80; t++) {
      // FIPS 180-4 sections 4.1.1 and 4.2.1.
      const fk =
        t < 20
          ? ((b & c) ^ (~b & d)) + 0x5a827999
          : t < 40
            ? (b ^ c ^ d) + 0x6ed9eba1
            : t < 60
              ? ((b & c) ^ (b & d) ^ (c & d)) + 0x8f1bbcdc
              : (b ^ c ^ d) + 0xca62c1d6;
      const next = (((a << 5) | (a >>> 27)) + fk + e + w[t]) | 0;
      e = d;
      d = c;
      c = (b << 30) | (b >>> 2);
      b = a;
      a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
  }

  /** A copy of the state as it is now. */
  clone(): Sha1 {
    return this.copyTo(new Sha1());
  }
}

/** SHA-1 of bytes: 20 bytes (FIPS 180-4 section 6.1). */
export function sha1(bytes: Uint8Array): Uint8Array {
  return new Sha1().update(bytes).digest();
}
