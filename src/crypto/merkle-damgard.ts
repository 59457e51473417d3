/**
 * Common parts of SHA-1 and SHA-256: 64-byte blocks, big-endian 32-bit words, padding (FIPS 180-4 section 5.1.1). Words
 * and states are stored in reverse order, as `wordsOf` returns them.
 */

import { bytesOf, copyBytes, reverse, wordsOf } from "./bytes.js";
import { asciiText, HAS_NATIVE_TEXT, nativeText } from "./native-text.js";

export const BLOCK_BYTES = 64;

/** Bytes copied at once: enough to amortize the copy, and on XS few enough for a small heap. */
const CHUNK_BYTES = HAS_NATIVE_TEXT ? 512 : 16384;

/** A hash function of this family. */
export interface HashFunction {
  /** Words of the initial state, in reverse order. */
  readonly initial: readonly number[];
  /**
   * Hashes blocks.
   * @param from words of the previous state, in reverse order
   * @param words words of the blocks, in reverse order
   * @param first index of the first word
   * @param to receives the new state, in reverse order; may be the same array as `from` or `words`
   */
  readonly blocks: (from: ArrayLike<number>, words: Int32Array, first: number, to: Int32Array) => void;
}

/** Hashes whole blocks. */
export function hashBlocks(
  hash: HashFunction,
  from: ArrayLike<number>,
  bytes: Uint8Array,
  to: Int32Array = new Int32Array(hash.initial.length),
): Int32Array {
  const length = bytes.length;
  let state = from;
  for (let offset = 0; offset < length; offset += CHUNK_BYTES) {
    const chunk = bytes.subarray(offset, offset + CHUNK_BYTES);
    const words = wordsOf(chunk, chunk.length);
    hash.blocks(state, words, words.length - 1, to);
    state = to;
  }
  return to;
}

/**
 * Hashes the rest of a message and its padding.
 * @param total length of the whole message in bytes, including those already hashed into `from`
 * @param start number of leading bytes of `bytes` that are already hashed into `from`
 * @param outer true for the inner hash of HMAC: the digest is returned, padded as the second and last block of the
 * outer hash, in the first sixteen words
 * @returns words of the state, in reverse order
 */
export function hashEnd(
  hash: HashFunction,
  from: ArrayLike<number>,
  bytes: Uint8Array,
  total: number,
  outer = false,
  start = 0,
): Int32Array {
  let state = from;
  let first = start;
  let { length } = bytes;
  if (length - start > CHUNK_BYTES) {
    first = length - ((length - start) % BLOCK_BYTES);
    state = hashBlocks(hash, from, bytes.subarray(start, first));
  }
  length -= first;
  // At least one byte 0x80 and eight bytes of length.
  const block = copyBytes(bytes, (length + 72) & -BLOCK_BYTES, first);
  block[length] = 0x80;
  reverse(block);
  const words = new Int32Array(block.buffer);
  words[0] = total << 3;
  if (total > 0x1fffffff) words[1] = Math.floor(total / 0x20000000);
  const size = hash.initial.length;
  if (!outer) {
    const to = new Int32Array(size);
    hash.blocks(state, words, words.length - 1, to);
    return to;
  }
  hash.blocks(state, words, words.length - 1, words);
  words.copyWithin(16 - size, 0, size);
  words.fill(0, 1, 15 - size);
  words[15 - size] = 0x80 << 24;
  words[0] = (BLOCK_BYTES + 4 * size) << 3;
  return words;
}

/**
 * Caches the state after the first block, for messages that mostly share it: saves one compression per message. The
 * first repetition costs a little more than the others. A typed array, since it takes a third of the memory of a plain
 * one and is read once per message.
 */
export class Beginning {
  #key = "";
  #state: Int32Array | undefined;

  /**
   * Same as {@link hashEnd}, using the cached state if the first block is the same as before.
   * @param key string that identifies the first block; empty if there is none, or the message is not longer than a
   * block
   */
  end(
    hash: HashFunction,
    from: ArrayLike<number>,
    bytes: Uint8Array,
    total: number,
    key: string,
    outer = false,
  ): Int32Array {
    if (key === "" || key !== this.#key) {
      this.wipe();
      this.#key = key;
      return hashEnd(hash, from, bytes, total, outer);
    }
    this.#state ??= hashBlocks(hash, from, bytes.subarray(0, BLOCK_BYTES));
    return hashEnd(hash, this.#state, bytes, total, outer, BLOCK_BYTES);
  }

  /** Overwrites the state, which may be derived from a key. */
  wipe(): void {
    this.#key = "";
    this.#state?.fill(0);
    this.#state = undefined;
  }
}

/**
 * Returns a string that identifies the first block; empty if there is none. Making it and comparing it each take one
 * native call.
 */
export function blockText(bytes: Uint8Array): string {
  if (bytes.length <= BLOCK_BYTES) return "";
  try {
    const text = HAS_NATIVE_TEXT ? nativeText(bytes, BLOCK_BYTES) : asciiText(bytes.subarray(0, BLOCK_BYTES));
    // On XS the string ends at a NUL, and several bytes can become one character.
    return text.length === BLOCK_BYTES ? text : "";
  } catch {
    return "";
  }
}

/** Incremental hash. */
export abstract class MerkleDamgard {
  readonly #hash: HashFunction;
  #state: Int32Array;
  readonly #pending = new Uint8Array(BLOCK_BYTES);
  #filled = 0;
  #length = 0;

  constructor(hash: HashFunction) {
    this.#hash = hash;
    this.#state = Int32Array.from(hash.initial);
  }

  /** Adds any number of bytes. */
  update(bytes: Uint8Array): this {
    this.#length += bytes.length;
    let rest = bytes;
    if (this.#filled > 0) {
      const part = rest.subarray(0, BLOCK_BYTES - this.#filled);
      this.#pending.set(part, this.#filled);
      this.#filled += part.length;
      if (this.#filled < BLOCK_BYTES) return this;
      hashBlocks(this.#hash, this.#state, this.#pending, this.#state);
      rest = rest.subarray(part.length);
    }
    this.#filled = rest.length % BLOCK_BYTES;
    const whole = rest.length - this.#filled;
    if (whole > 0) hashBlocks(this.#hash, this.#state, rest.subarray(0, whole), this.#state);
    this.#pending.set(rest.subarray(whole));
    return this;
  }

  /** Returns the hash of all bytes added so far. More bytes can be added afterwards. */
  digest(): Uint8Array {
    return bytesOf(hashEnd(this.#hash, this.#state, this.#pending.subarray(0, this.#filled), this.#length));
  }

  /** Overwrites state and buffer. */
  wipe(): void {
    this.#state.fill(0);
    this.#pending.fill(0);
  }

  protected copyTo<T extends MerkleDamgard>(other: T): T {
    other.#state.set(this.#state);
    other.#pending.set(this.#pending);
    other.#filled = this.#filled;
    other.#length = this.#length;
    return other;
  }
}
