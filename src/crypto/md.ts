/** What SHA-1 and SHA-256 share: blocks of 64 bytes, 32-bit words, padding (FIPS 180-4 section 5.1.1). */

export const BLOCK_BYTES = 64;

export abstract class Md {
  protected state: Int32Array;
  #block = new Uint8Array(BLOCK_BYTES);
  #filled = 0;
  #length = 0;

  constructor(initial: readonly number[]) {
    this.state = Int32Array.from(initial);
  }

  protected abstract compress(state: Int32Array, bytes: Uint8Array, offset: number, w: Int32Array): void;

  /** Adds bytes of any number. */
  update(bytes: Uint8Array): this {
    const w = new Int32Array(80);
    const end = bytes.length;
    let offset = 0;
    this.#length += end;
    while (offset < end) {
      if (this.#filled === 0 && end - offset >= BLOCK_BYTES) {
        this.compress(this.state, bytes, offset, w);
        offset += BLOCK_BYTES;
        continue;
      }
      const count = Math.min(BLOCK_BYTES - this.#filled, end - offset);
      this.#block.set(bytes.subarray(offset, offset + count), this.#filled);
      this.#filled += count;
      offset += count;
      if (this.#filled === BLOCK_BYTES) {
        this.compress(this.state, this.#block, 0, w);
        this.#filled = 0;
      }
    }
    return this;
  }

  /** The hash of all bytes added so far. The object itself stays as it is and may go on. */
  digest(): Uint8Array {
    const filled = this.#filled;
    const tail = new Uint8Array(filled < 56 ? BLOCK_BYTES : 2 * BLOCK_BYTES);
    tail.set(this.#block.subarray(0, filled));
    tail[filled] = 0x80;
    const view = new DataView(tail.buffer);
    // The length in bits takes 64 bits; the high word is beyond what a number shifts.
    view.setUint32(tail.length - 8, Math.floor(this.#length / 0x20000000));
    view.setInt32(tail.length - 4, this.#length << 3);
    const state = this.state.slice();
    const w = new Int32Array(80);
    for (let offset = 0; offset < tail.length; offset += BLOCK_BYTES) this.compress(state, tail, offset, w);
    const result = new DataView(new ArrayBuffer(state.length * 4));
    for (let i = 0; i < state.length; i++) result.setInt32(i * 4, state[i]);
    return new Uint8Array(result.buffer);
  }

  /** Overwrites state and buffer. */
  wipe(): void {
    this.state.fill(0);
    this.#block.fill(0);
  }

  protected copyTo<T extends Md>(other: T): T {
    other.state.set(this.state);
    other.#block.set(this.#block);
    other.#filled = this.#filled;
    other.#length = this.#length;
    return other;
  }
}
