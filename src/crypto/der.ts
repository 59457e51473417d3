/** The little of DER (ITU-T X.690) that keys and certificates need: definite, minimal lengths, one-byte tags. */

export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;
export const SEQUENCE = 0x30;

/**
 * Why bytes are not DER: "it is truncated". What was read is known to the caller alone, which says so in an error of its
 * own; this one never reaches an app.
 */
export class DerError extends Error {
  override get name(): string {
    return "DerError";
  }
}

/** Walks over the elements of one level. */
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
   * The contents of the next element, which must have this tag.
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
      // X.690 section 10.1: as few octets as possible; three of them are 16 MB and more than any key.
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
   * Passes over the next element, whatever it is.
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
   * A non-negative INTEGER's octets without leading zeros.
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
