/** Parses a byte stream into records, and records into handshake messages: RFC 5246 sections 6.2.1 and 7.4. */

import { DECODE_ERROR, PROTOCOL_VERSION, RECORD_OVERFLOW, TlsFault, UNEXPECTED_MESSAGE } from "./alerts.js";

// Content types.
export const CHANGE_CIPHER_SPEC = 20;
export const ALERT = 21;
export const HANDSHAKE = 22;
export const APPLICATION_DATA = 23;

export const TLS_1_2 = 0x0303;

/** Type, version and length before the fragment. */
export const RECORD_HEAD_BYTES = 5;
/** Type and length before the body. */
export const MESSAGE_HEAD_BYTES = 4;

const MAX_PLAINTEXT_BYTES = 16384;
const MAX_CIPHERTEXT_BYTES = MAX_PLAINTEXT_BYTES + 2048;
/** A whole handshake message; chains of certificates have 2 to 6 KB. */
export const MAX_MESSAGE_BYTES = 16384;

/**
 * Cuts a stream into units that say at their head how long they are. One that lies in a single piece is handed on where it
 * lies; another is put together in memory of exactly its length, which is not taken before the head has been checked.
 */
abstract class Cutter {
  #piece: Uint8Array | undefined;
  #at = 0;
  /** A unit that goes over several pieces, or at first its head alone; and how much of it is here. */
  #unit: Uint8Array | undefined;
  #filled = 0;
  #isMeasured = false;

  abstract readonly headBytes: number;

  /**
   * Length of a whole unit, by its head.
   * @throws {TlsFault} if there must not be such a unit
   */
  abstract measure(bytes: Uint8Array, at: number): number;

  /** Whether a unit has begun and not ended. */
  get isAmid(): boolean {
    return this.#unit !== undefined;
  }

  /** Whether all that was handed over has been used up, and ended with a unit. */
  get isDrained(): boolean {
    return !this.isAmid && (this.#piece === undefined || this.#at === this.#piece.length);
  }

  /** Hands over the stream's next piece; the one before has been used up, as `next` has returned undefined. */
  push(piece: Uint8Array): void {
    this.#piece = piece;
    this.#at = 0;
  }

  /** The next whole unit, undefined if more of the stream is needed. */
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

/** Whole records, head included. What cannot be one is refused at its first five bytes. */
export class RecordReader extends Cutter {
  /** Whether what comes next is encrypted, and so may be longer. */
  isEncrypted = false;

  get headBytes(): number {
    return RECORD_HEAD_BYTES;
  }

  measure(bytes: Uint8Array, at: number): number {
    const type = bytes[at];
    if (type < CHANGE_CIPHER_SPEC || type > APPLICATION_DATA) throw notTls(bytes.subarray(at, at + RECORD_HEAD_BYTES));
    // A server without TLS 1.2 says so in an alert with the version that it has.
    if (bytes[at + 1] !== 3 || (bytes[at + 2] !== 3 && type !== ALERT)) throw version();
    const length = word(bytes, at + 3);
    if (length > (this.isEncrypted ? MAX_CIPHERTEXT_BYTES : MAX_PLAINTEXT_BYTES)) {
      throw new TlsFault("a record is longer than TLS allows", RECORD_OVERFLOW);
    }
    return RECORD_HEAD_BYTES + length;
  }
}

/** Whole handshake messages, head included, from the fragments of records. */
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
  return new TlsFault("the server does not speak TLS 1.2", PROTOCOL_VERSION);
}

function notTls(head: Uint8Array): TlsFault {
  const isHttp = String.fromCharCode(...head) === "HTTP/";
  const reason = `the server speaks ${isHttp ? "plain HTTP" : "something other than TLS"} on this port`;
  return new TlsFault(reason, UNEXPECTED_MESSAGE);
}
