/** HMAC (RFC 2104) with precomputed midstates of the two key blocks. */

import { bytesOf } from "./bytes.js";
import { type Beginning, BLOCK_BYTES, type HashFunction, hashBlocks, hashEnd } from "./merkle-damgard.js";
import { SHA1, sha1 } from "./sha1.js";
import { SHA256, sha256 } from "./sha256.js";

/** Hash functions supported for HMAC (RFC 2104). */
export type HmacHash = "sha256" | "sha1";

/**
 * HMAC with a prepared key, which saves two compressions per message.
 * @example
 *   const mac = new Hmac("sha256", key).sign(body);
 */
export class Hmac {
  readonly #hash: HashFunction;
  readonly #inner: Int32Array;
  // A plain array: on XS, reading an element costs less than half of a typed array's.
  readonly #outer: number[];

  /** @param key any length; a key longer than 64 bytes is hashed first (RFC 2104 section 2) */
  constructor(hash: HmacHash, key: Uint8Array) {
    const pads = hmacPads(hash, key);
    this.#hash = hash === "sha1" ? SHA1 : SHA256;
    this.#inner = midstate(this.#hash, pads.inner);
    const outer = midstate(this.#hash, pads.outer);
    this.#outer = Array.from(outer);
    outer.fill(0);
  }

  /**
   * Returns the HMAC of one message: 32 bytes for SHA-256, 20 for SHA-1.
   * @param beginning cache of the first block's state; use it with this key only, and wipe it with the key
   * @param first string that identifies the first 64 bytes of the message, which must be longer; empty to disable the
   * cache
   */
  sign(message: Uint8Array, beginning?: Beginning, first = ""): Uint8Array {
    const hash = this.#hash;
    const total = BLOCK_BYTES + message.length;
    const words = beginning
      ? beginning.end(hash, this.#inner, message, total, first, true)
      : hashEnd(hash, this.#inner, message, total, true);
    const code = new Int32Array(hash.initial.length);
    hash.blocks(this.#outer, words, 15, code);
    return bytesOf(code);
  }

  /** Overwrites the midstates, which are as sensitive as the key. Results of later calls are meaningless. */
  close(): void {
    this.#inner.fill(0);
    this.#outer.fill(0);
  }
}

/** Returns the HMAC of one message (RFC 2104): 32 bytes for SHA-256, 20 for SHA-1. */
export function hmac(hash: HmacHash, key: Uint8Array, message: Uint8Array): Uint8Array {
  const prepared = new Hmac(hash, key);
  const code = prepared.sign(message);
  prepared.close();
  return code;
}

/** Returns the two padded key blocks (RFC 2104 section 2), for a hash without midstates. The caller must wipe them. */
export function hmacPads(hash: HmacHash, key: Uint8Array): { inner: Uint8Array; outer: Uint8Array } {
  const inner = new Uint8Array(BLOCK_BYTES);
  inner.set(key.length > BLOCK_BYTES ? (hash === "sha1" ? sha1(key) : sha256(key)) : key);
  const outer = new Uint8Array(BLOCK_BYTES);
  // Word by word: the mask is the same for all bytes.
  const from = new Int32Array(inner.buffer);
  const to = new Int32Array(outer.buffer);
  for (let i = 0; i < BLOCK_BYTES / 4; i++) {
    to[i] = from[i] ^ 0x5c5c5c5c;
    from[i] ^= 0x36363636;
  }
  return { inner, outer };
}

/** Returns the state after one block, and wipes the block. */
function midstate(hash: HashFunction, block: Uint8Array): Int32Array {
  const state = hashBlocks(hash, hash.initial, block);
  block.fill(0);
  return state;
}
