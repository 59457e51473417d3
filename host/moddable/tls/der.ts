/**
 * DER parser (ITU-T X.690) for certificates: one cursor that enters and leaves elements, so that only the views that
 * are kept are allocated.
 */

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const NULL = 0x05;
export const OBJECT_IDENTIFIER = 0x06;
export const SEQUENCE = 0x30;
export const SET = 0x31;

/**
 * Position of an element: its start, and 14 bits of its end. A number takes a sixth of the memory of a view. 0 is never
 * a valid position.
 */
export type Span = number;

const SPAN_BITS = 14;

export function viewOf(bytes: Uint8Array, span: Span): Uint8Array {
  return bytes.subarray(span >> SPAN_BITS, span & ((1 << SPAN_BITS) - 1));
}

/** Returns four bytes as a signed number: cheaper to compare than hexadecimal digits, and without deep calls. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}

/** Why bytes are not valid DER, such as "it is truncated". The caller names the object. */
export class DerFault extends Error {
  override get name(): string {
    return "DerFault";
  }
}

export class DerCursor {
  readonly #bytes: Uint8Array;
  #at: number;
  #end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = bytes.length;
  }

  /** Returns a cursor at the same position. */
  copy(): DerCursor {
    const copy = new DerCursor(this.#bytes);
    copy.#at = this.#at;
    copy.#end = this.#end;
    return copy;
  }

  /** Whether the current element, or the input, has no further elements. */
  get done(): boolean {
    return this.#at >= this.#end;
  }

  /** Tag of the next element, or -1 at the end. */
  peek(): number {
    return this.#at < this.#end ? this.#bytes[this.#at] : -1;
  }

  /**
   * Enters the next element, which must have this tag.
   * @returns the argument for {@link leave}
   * @throws {DerFault}
   */
  enter(tag: number): number {
    const end = this.#open(tag);
    const outer = this.#end;
    this.#end = end;
    return outer;
  }

  /**
   * Leaves the current element.
   * @throws {DerFault} if it was not read completely
   */
  leave(outer: number): void {
    if (this.#at !== this.#end) throw new DerFault("an element has more parts than expected");
    this.#end = outer;
  }

  /**
   * Returns the contents of the next element, which must have this tag.
   * @throws {DerFault}
   */
  read(tag: number): Uint8Array {
    const end = this.#open(tag);
    const contents = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return contents;
  }

  /**
   * Returns the position of the contents of the next element, which must have this tag; the input must have fewer than
   * 16 384 bytes.
   * @throws {DerFault}
   */
  span(tag: number): Span {
    const end = this.#open(tag);
    const start = this.#at;
    this.#at = end;
    return (start << SPAN_BITS) | end;
  }

  /**
   * Returns the position of the next element including its tag and length.
   * @throws {DerFault}
   */
  whole(tag: number): Span {
    const start = this.#at;
    this.#at = this.#open(tag);
    return (start << SPAN_BITS) | this.#at;
  }

  /**
   * Skips the next element; without a tag, of any type.
   * @throws {DerFault}
   */
  skip(tag = this.peek()): void {
    this.#at = this.#open(tag);
  }

  /** Skips the rest of the current element, which need not be DER. */
  skipRest(): void {
    this.#at = this.#end;
  }

  /** @throws {DerFault} if the input has not been read completely */
  end(): void {
    if (!this.done) throw new DerFault("bytes follow its end");
  }

  /**
   * Reads the octets of an INTEGER (X.690 section 8.3.2: as few as possible).
   * @throws {DerFault}
   */
  integer(): Uint8Array {
    const octets = this.read(INTEGER);
    const { length } = octets;
    if (length === 0) throw new DerFault("a number is empty");
    if (length > 1 && (octets[0] === 0 ? octets[1] < 0x80 : octets[0] === 0xff && octets[1] >= 0x80)) {
      throw new DerFault("a number has more bytes than it needs");
    }
    return octets;
  }

  /**
   * Reads the octets of a positive INTEGER without leading zero.
   * @throws {DerFault}
   */
  positive(): Uint8Array {
    const octets = this.integer();
    if (octets[0] >= 0x80 || (octets[0] === 0 && octets.length === 1)) throw new DerFault("a number is not positive");
    return octets[0] === 0 ? octets.subarray(1) : octets;
  }

  /** @throws {DerFault} */
  boolean(): boolean {
    const octets = this.read(BOOLEAN);
    // X.690 section 11.1. An explicit FALSE, where it is the default, is common and harmless.
    if (octets.length !== 1 || (octets[0] !== 0 && octets[0] !== 0xff)) throw new DerFault("a boolean is not DER");
    return octets[0] !== 0;
  }

  /**
   * Reads the octets of a BIT STRING without unused bits.
   * @throws {DerFault}
   */
  octetsOfBits(): Uint8Array {
    const octets = this.read(BIT_STRING);
    if (octets.length === 0 || octets[0] !== 0) throw new DerFault("a bit string is not of whole bytes");
    return octets.subarray(1);
  }

  /** Moves to the contents of the next element and returns their end. */
  #open(tag: number): number {
    const bytes = this.#bytes;
    const limit = this.#end;
    let at = this.#at;
    if (at >= limit) throw new DerFault("it ends too early");
    if (bytes[at] !== tag || (tag & 0x1f) === 0x1f) throw new DerFault("an element is not of the expected type");
    if (++at >= limit) throw new DerFault("it ends too early");
    let length = bytes[at++];
    if (length >= 0x80) {
      // X.690 section 10.1: as few octets as possible. Two suffice for the longest certificate.
      const octets = length & 0x7f;
      if (octets === 0 || octets > 2) throw new DerFault("a length is not valid DER");
      if (at + octets > limit) throw new DerFault("it ends too early");
      length = bytes[at++];
      if (octets === 2) {
        if (length === 0) throw new DerFault("a length is not valid DER");
        length = (length << 8) | bytes[at++];
      } else if (length < 0x80) {
        throw new DerFault("a length is not valid DER");
      }
    }
    if (at + length > limit) throw new DerFault("it is truncated");
    this.#at = at;
    return at + length;
  }
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  // From the end, where names are more likely to differ.
  let i = a.length;
  if (i !== b.length) return false;
  while (i-- > 0) if (a[i] !== b[i]) return false;
  return true;
}
