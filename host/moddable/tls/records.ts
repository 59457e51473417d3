/** Parses a byte stream into records, and records into handshake messages: RFC 5246 sections 6.2.1 and 7.4. */

import { DECODE_ERROR, PROTOCOL_VERSION, RECORD_OVERFLOW, TlsFault, UNEXPECTED_MESSAGE } from "./alerts.js";

// Content types.
export const CHANGE_CIPHER_SPEC = 20;
export const ALERT = 21;
export const HANDSHAKE = 22;
export const APPLICATION_DATA = 23;

export const TLS_1_2 = 0x0303;

/** Record header: type, version and length. */
export const RECORD_HEAD_BYTES = 5;
/** Handshake message header: type and length. */
export const MESSAGE_HEAD_BYTES = 4;

const MAX_PLAINTEXT_BYTES = 16384;
const MAX_CIPHERTEXT_BYTES = MAX_PLAINTEXT_BYTES + 2048;
/** Maximum size of a handshake message including its header; certificate chains have 2 to 6 KB. */
export const MAX_MESSAGE_BYTES = 16384;

/**
 * Splits a stream into units with a length in their header. A unit within a single piece is returned as a view of it;
 * one that spans pieces is copied into a buffer of exactly its length, allocated only after its header has been
 * checked.
 */
abstract class Cutter {
  #piece: Uint8Array | undefined;
  #at = 0;
  /** Buffer of a unit that spans pieces (at first of its header only), and the number of bytes in it. */
  #unit: Uint8Array | undefined;
  #filled = 0;
  #isMeasured = false;

  abstract readonly headBytes: number;

  /**
   * Returns the length of a unit including its header.
   * @throws {TlsFault} if the header is not valid
   */
  abstract measure(bytes: Uint8Array, at: number): number;

  /** Whether an incomplete unit is buffered. */
  get isAmid(): boolean {
    return this.#unit !== undefined;
  }

  /** Whether all input has been consumed and ended with a complete unit. */
  get isDrained(): boolean {
    return !this.isAmid && (this.#piece === undefined || this.#at === this.#piece.length);
  }

  /** Adds the next piece of the stream. Call only after `next` has returned undefined. */
  push(piece: Uint8Array): void {
    this.#piece = piece;
    this.#at = 0;
  }

  /** Returns the next complete unit, or undefined if more input is needed. */
  next(): Uint8Array | undefined {
    const piece = this.#piece;
    if (piece === undefined) return undefined;
    for (;;) {
      const at = this.#at;
      let unit = this.#unit;
      if (unit === undefined) {
        const left = piece.length - at;
        if (left === 0) break;
        const isMeasured = left >= this.headBytes;
        const length = isMeasured ? this.measure(piece, at) : this.headBytes;
        if (isMeasured && length <= left) {
          this.#at = at + length;
          return piece.subarray(at, at + length);
        }
        unit = this.#unit = new Uint8Array(length);
        this.#filled = 0;
        this.#isMeasured = isMeasured;
      }
      const count = Math.min(unit.length - this.#filled, piece.length - at);
      unit.set(piece.subarray(at, at + count), this.#filled);
      this.#filled += count;
      this.#at = at + count;
      if (this.#filled < unit.length) break;
      if (this.#isMeasured) {
        this.#unit = undefined;
        return unit;
      }
      this.#isMeasured = true;
      const length = this.measure(unit, 0);
      if (length > unit.length) {
        this.#unit = new Uint8Array(length);
        this.#unit.set(unit);
      }
    }
    this.#piece = undefined;
    return undefined;
  }
}

/** Reads complete records including their header. An invalid one is rejected after its first five bytes. */
export class RecordReader extends Cutter {
  /** Whether the next record is encrypted, and may therefore be longer. */
  isEncrypted = false;

  get headBytes(): number {
    return RECORD_HEAD_BYTES;
  }

  measure(bytes: Uint8Array, at: number): number {
    const type = bytes[at];
    if (type < CHANGE_CIPHER_SPEC || type > APPLICATION_DATA) throw notTls(bytes.subarray(at, at + RECORD_HEAD_BYTES));
    // A server without TLS 1.2 reports that in an alert with its own version.
    if (bytes[at + 1] !== 3 || (bytes[at + 2] !== 3 && type !== ALERT)) throw version();
    const length = word(bytes, at + 3);
    if (length > (this.isEncrypted ? MAX_CIPHERTEXT_BYTES : MAX_PLAINTEXT_BYTES)) {
      throw new TlsFault("a record is longer than TLS allows", RECORD_OVERFLOW);
    }
    return RECORD_HEAD_BYTES + length;
  }
}

/** Reads complete handshake messages including their header from the fragments of records. */
export class MessageReader extends Cutter {
  get headBytes(): number {
    return MESSAGE_HEAD_BYTES;
  }

  measure(bytes: Uint8Array, at: number): number {
    const length = MESSAGE_HEAD_BYTES + (bytes[at + 1] << 16) + word(bytes, at + 2);
    if (length > MAX_MESSAGE_BYTES) {
      throw new TlsFault(`a handshake message is longer than ${MAX_MESSAGE_BYTES} bytes`, DECODE_ERROR);
    }
    return length;
  }
}

export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function version(): TlsFault {
  return new TlsFault("the server does not support TLS 1.2", PROTOCOL_VERSION);
}

function notTls(head: Uint8Array): TlsFault {
  const isHttp = String.fromCharCode(...head) === "HTTP/";
  const reason = `the server speaks ${isHttp ? "plain HTTP" : "something other than TLS"} on this port`;
  return new TlsFault(reason, UNEXPECTED_MESSAGE);
}
