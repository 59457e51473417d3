/** Records out of a stream of bytes, and handshake messages out of records: RFC 5246 sections 6.2.1 and 7.4. */

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
class Cutter {
  readonly #head: Uint8Array;
  readonly #measure: (head: Uint8Array) => number;
  /** How many bytes of the unit are here: first in the head, then in the unit. */
  #filled = 0;
  #unit: Uint8Array | undefined;
  #piece: Uint8Array | undefined;
  #at = 0;

  /** @param measure length of a whole unit, by its head; throws if there must not be such a unit */
  constructor(headBytes: number, measure: (head: Uint8Array) => number) {
    this.#head = new Uint8Array(headBytes);
    this.#measure = measure;
  }

  /** Whether a unit has begun and not ended. */
  get isAmid(): boolean {
    return this.#filled > 0;
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
    const head = this.#head;
    if (this.#unit === undefined) {
      const start = this.#at;
      const isWhole = this.#filled === 0;
      if (!this.#fill(head, piece)) return undefined;
      const length = this.#measure(head);
      if (isWhole && start + length <= piece.length) {
        this.#filled = 0;
        this.#at = start + length;
        return piece.subarray(start, this.#at);
      }
      this.#unit = new Uint8Array(length);
      this.#unit.set(head);
    }
    const unit = this.#unit;
    if (!this.#fill(unit, piece)) return undefined;
    this.#unit = undefined;
    this.#filled = 0;
    return unit;
  }

  #fill(target: Uint8Array, piece: Uint8Array): boolean {
    const at = this.#at;
    const count = Math.min(target.length - this.#filled, piece.length - at);
    if (count > 0) target.set(piece.subarray(at, at + count), this.#filled);
    this.#filled += count;
    this.#at = at + count;
    if (this.#filled === target.length) return true;
    this.#piece = undefined;
    return false;
  }
}

/** Whole records, head included. What cannot be one is refused at its first five bytes. */
export class RecordReader extends Cutter {
  /** Whether what comes next is encrypted, and so may be longer. */
  isEncrypted = false;

  constructor() {
    super(RECORD_HEAD_BYTES, (head) => {
      const [type, major, minor] = head;
      if (type < CHANGE_CIPHER_SPEC || type > APPLICATION_DATA) throw notTls(head);
      // A server that speaks nothing newer says so in an alert of its own version.
      if (major !== 3 || (minor !== 3 && type !== ALERT)) throw version();
      const length = word(head, 3);
      if (length > (this.isEncrypted ? MAX_CIPHERTEXT_BYTES : MAX_PLAINTEXT_BYTES)) {
        throw new TlsFault("a record is longer than TLS allows", RECORD_OVERFLOW);
      }
      return RECORD_HEAD_BYTES + length;
    });
  }
}

/** Whole handshake messages, head included, from the fragments of records. */
export class MessageReader extends Cutter {
  constructor() {
    super(MESSAGE_HEAD_BYTES, (head) => {
      const length = MESSAGE_HEAD_BYTES + (head[1] << 16) + word(head, 2);
      if (length > MAX_MESSAGE_BYTES) {
        throw new TlsFault(`a handshake message is longer than ${MAX_MESSAGE_BYTES} bytes`, DECODE_ERROR);
      }
      return length;
    });
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
