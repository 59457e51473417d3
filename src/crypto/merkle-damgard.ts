/**
 * What SHA-1 and SHA-256 share: blocks of 64 bytes, big-endian words of 32 bits, padding (FIPS 180-4 section 5.1.1).
 * Words and states are kept with the last word first, as `wordsOf` makes them.
 */

import { bytesOf, copyBytes, reverse, wordsOf } from "./bytes.js";
import { asciiText, HAS_NATIVE_TEXT, nativeText } from "./native-text.js";

export const BLOCK_BYTES = 64;

/** How many bytes are copied at once: many enough that a copy costs little, and on XS few enough for a small heap. */
const CHUNK_BYTES = HAS_NATIVE_TEXT ? 512 : 16384;

/** A hash function of this family. */
export interface HashFunction {
  /** Words of the initial state, the last word first. */
  readonly initial: readonly number[];
  /**
   * Hashes blocks.
   * @param from words of the state before, the last word first
   * @param words the blocks' words, the last word first
   * @param first index of the first word
   * @param to receives the state, the last word first; this may be where `from` or `words` is
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
 * Hashes the rest of a message with its padding.
 * @param total bytes of the whole message, with those that `from` stands for
 * @param start bytes of `bytes` that `from` stands for already
 * @param outer true if the state that results is to be hashed in its turn, by HMAC: then it is left, padded, in the
 * first sixteen words of what is returned, as the only block after one other
 * @returns words of the state, the last word first
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
  // One byte 0x80 and eight of length at least.
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
 * The state after the first block of messages that mostly begin alike: kept while the block repeats, which saves a
 * compression. The first repetition costs a little more than the others. A typed array, since it takes a third of the
 * memory of a plain one and is read once a message.
 */
export class Beginning {
  #key = "";
  #state: Int32Array | undefined;

  /**
   * As {@link hashEnd}.
   * @param key the first block, or a text that stands for it; empty if the message is not longer, or has no such text
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

  /** Overwrites the state, from which signatures could be made. */
  wipe(): void {
    this.#key = "";
    this.#state?.fill(0);
    this.#state = undefined;
  }
}

/** The first block as a text that no other block has; empty if there is none. One native call, as a comparison is. */
export function blockText(bytes: Uint8Array): string {
  if (bytes.length <= BLOCK_BYTES) return "";
  try {
    const text = HAS_NATIVE_TEXT ? nativeText(bytes, BLOCK_BYTES) : asciiText(bytes.subarray(0, BLOCK_BYTES));
    // On XS the text ends at a NUL, and more than one byte can be one character.
    return text.length === BLOCK_BYTES ? text : "";
  } catch {
    return "";
  }
}

/** A hash over bytes that come in pieces. */
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

  /** Adds bytes of any number. */
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

  /** The hash of all bytes added so far. The object itself stays as it is and may go on. */
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
