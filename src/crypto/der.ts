/** DER (ITU-T X.690), limited to what keys and certificates need: definite, minimal lengths and one-byte tags. */

export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;
export const SEQUENCE = 0x30;

/**
 * Why bytes are not valid DER, such as "it is truncated". Internal: the caller, which knows what was being read, turns
 * it into an {@link IotHubError}.
 */
export class DerError extends Error {
  override get name(): string {
    return "DerError";
  }
}

/** Iterates over the elements of one level. */
export class DerReader {
  #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** The tag of the next element, or -1 at the end. */
  peek(): number {
    return this.done ? -1 : this.#bytes[this.#at];
  }

  /**
   * Reads the contents of the next element, which must have this tag.
   * @throws {DerError}
   */
  read(tag: number): Uint8Array {
    const bytes = this.#bytes;
    if (this.peek() !== tag)
      throw new DerError(this.done ? "it ends too early" : "an element is not of the expected type");
    let at = this.#at + 1;
    if (at >= bytes.length) throw new DerError("it ends too early");
    let length = bytes[at++];
    if (length >= 0x80) {
      // X.690 section 10.1: minimal length octets. Three octets allow 16 MB, more than any key has.
      const octets = length & 0x7f;
      if (octets === 0 || octets > 3) throw new DerError("a length is not valid DER");
      if (at + octets > bytes.length) throw new DerError("it ends too early");
      length = 0;
      for (let i = 0; i < octets; i++) length = (length << 8) | bytes[at++];
      if (length < 0x80 || length >> (8 * (octets - 1)) === 0) throw new DerError("a length is not valid DER");
    }
    if (at + length > bytes.length) throw new DerError("it is truncated");
    this.#at = at + length;
    return bytes.subarray(at, at + length);
  }

  /**
   * Skips the next element, whatever its type.
   * @throws {DerError}
   */
  skip(): void {
    this.read(this.peek());
  }

  /** @throws {DerError} */
  sequence(): DerReader {
    return new DerReader(this.read(SEQUENCE));
  }

  /**
   * Reads a non-negative INTEGER as octets without leading zeros.
   * @throws {DerError}
   */
  unsigned(): Uint8Array {
    const octets = this.read(INTEGER);
    if (octets.length === 0 || octets[0] >= 0x80) throw new DerError("a number is empty or negative");
    let start = 0;
    while (start < octets.length && octets[start] === 0) start++;
    return octets.subarray(start);
  }
}
