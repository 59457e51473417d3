/** SHA-256, FIPS 180-4 section 6.2. */

import { bytesOf } from "./bytes.js";
import { hexOfWords } from "./hex.js";
import { type HashFunction, hashEnd, MerkleDamgard } from "./merkle-damgard.js";
import { sha256Blocks } from "./sha256-block.js";

export const SHA256: HashFunction = Object.freeze({
  // FIPS 180-4 section 5.3.3.
  initial: Object.freeze([
    0x5be0cd19,
    0x1f83d9ab,
    0x9b05688c | 0,
    0x510e527f,
    0xa54ff53a | 0,
    0x3c6ef372,
    0xbb67ae85 | 0,
    0x6a09e667,
  ]),
  blocks: sha256Blocks,
});

/**
 * Incremental SHA-256.
 * @example
 *   const digest = new Sha256().update(first).update(second).digest();
 */
export class Sha256 extends MerkleDamgard {
  constructor() {
    super(SHA256);
  }

  /** Returns a copy of the current state: the midstate of the bytes added so far. */
  clone(): Sha256 {
    return this.copyTo(new Sha256());
  }
}

/** Returns the SHA-256 of bytes: 32 bytes (FIPS 180-4 section 6.2). */
export function sha256(bytes: Uint8Array): Uint8Array {
  return bytesOf(hashEnd(SHA256, SHA256.initial, bytes, bytes.length));
}

/** Returns the SHA-256 of bytes as 64 lower-case hexadecimal digits, without an intermediate byte array. */
export function sha256Hex(bytes: Uint8Array): string {
  return hexOfWords(hashEnd(SHA256, SHA256.initial, bytes, bytes.length), 32);
}
