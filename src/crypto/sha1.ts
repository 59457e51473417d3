/**
 * SHA-1 (FIPS 180-4 section 6.1). Only for `hmacsha1`, where the protocol requires it: SHA-1 is not
 * collision-resistant.
 */

import { bytesOf } from "./bytes.js";
import { type HashFunction, hashEnd, MerkleDamgard } from "./merkle-damgard.js";

export const SHA1: HashFunction = Object.freeze({
  // FIPS 180-4 section 5.3.1.
  initial: Object.freeze([0xc3d2e1f0 | 0, 0x10325476, 0x98badcfe | 0, 0xefcdab89 | 0, 0x67452301]),
  blocks: sha1Blocks,
});

function sha1Blocks(from: ArrayLike<number>, words: Int32Array, first: number, to: Int32Array): void {
  let h = Array.from(from);
  const w: number[] = [];
  for (let i = first; i > 0; i -= 16) {
    let [e, d, c, b, a] = h;
    for (let t = 0; t < 80; t++) {
      // Right shifts are signed, because XS stores large unsigned numbers as floating point.
      const x = t < 16 ? words[i - t] : w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16];
      w[t] = t < 16 ? x : (x << 1) | ((x >> 31) & 1);
      // FIPS 180-4 sections 4.1.1 and 4.2.1.
      const fk =
        t < 20
          ? (d ^ (b & (c ^ d))) + 0x5a827999
          : t < 40
            ? (b ^ c ^ d) + 0x6ed9eba1
            : t < 60
              ? ((b & c) ^ (d & (b ^ c))) - 0x70e44324
              : (b ^ c ^ d) - 0x359d3e2a;
      const next = (fk + w[t] + (((a << 5) | ((a >> 27) & 31)) + e)) | 0;
      e = d;
      d = c;
      c = (b << 30) | ((b >> 2) & 0x3fffffff);
      b = a;
      a = next;
    }
    h = [h[0] + e, h[1] + d, h[2] + c, h[3] + b, h[4] + a].map((sum) => sum | 0);
  }
  to.set(h);
}

/** Incremental SHA-1. */
export class Sha1 extends MerkleDamgard {
  constructor() {
    super(SHA1);
  }

  /** Returns a copy of the current state. */
  clone(): Sha1 {
    return this.copyTo(new Sha1());
  }
}

/** Returns the SHA-1 of bytes: 20 bytes (FIPS 180-4 section 6.1). */
export function sha1(bytes: Uint8Array): Uint8Array {
  return bytesOf(hashEnd(SHA1, SHA1.initial, bytes, bytes.length));
}
