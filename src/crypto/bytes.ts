/**
 * Conversion between bytes and big-endian 32-bit words, and copies of bytes.
 *
 * Reversing all bytes in one native call turns them, on a little-endian machine, into the words in reverse order in the
 * same memory. On XS this costs a fraction of reading every word from a DataView.
 */

/** Whether a buffer can be copied natively and zero-extended (ECMAScript 2024), as in XS and the newest engines. */
const HAS_TRANSFER = (ArrayBuffer.prototype as Transferable).transfer !== undefined;
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Converts, in place, bytes aligned to four into words in reverse order, or such words back into bytes. */
export function reverse(bytes: Uint8Array): void {
  (LITTLE_ENDIAN ? bytes : new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)).reverse();
}

/**
 * Returns the bytes of an ArrayBuffer, of a SharedArrayBuffer, or of any view on one, also from another realm;
 * undefined for anything else. Shared memory is copied, since it may change between two reads.
 */
export function toBytes(value: unknown): Uint8Array | undefined {
  // By far the most frequent case: an unshared Uint8Array of this realm that has not been transferred.
  if (value instanceof Uint8Array && value.buffer instanceof ArrayBuffer && value.length > 0) return value;
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    // A view on a transferred buffer has length 0, like an empty one.
    if ((buffer as { detached?: boolean }).detached === true) return undefined;
    if (tagOf(buffer) === "SharedArrayBuffer")
      return copyBytes(new Uint8Array(buffer, byteOffset, byteLength), byteLength);
    return value instanceof Uint8Array ? value : new Uint8Array(buffer, byteOffset, byteLength);
  }
  const tag = tagOf(value);
  if (tag !== "ArrayBuffer" && tag !== "SharedArrayBuffer") return undefined;
  if ((value as { detached?: boolean }).detached === true) return undefined;
  const bytes = new Uint8Array(value as ArrayBuffer);
  // Any object can set its own tag.
  if (bytes.buffer !== value) return undefined;
  return tag === "ArrayBuffer" ? bytes : copyBytes(bytes, bytes.length);
}

/**
 * Returns an object's built-in tag, in any realm: `"Map"`, `"Error"`, `"Object"`. Do not use it on views: their tag is
 * a getter, which firmware stripped of unused built-ins lacks.
 */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/**
 * Copies bytes into a new buffer and fills it with zeros up to `size` bytes.
 * @param from index of the first byte to copy
 * @default from 0
 */
export function copyBytes(bytes: Uint8Array, size: number, from = 0): Uint8Array {
  if (!HAS_TRANSFER) {
    const copy = new Uint8Array(new ArrayBuffer(size));
    copy.set(from === 0 ? bytes : bytes.subarray(from));
    return copy;
  }
  // XS copies typed arrays element by element, but a buffer in one piece.
  const { length, byteOffset } = bytes;
  const buffer = bytes.buffer as ArrayBuffer;
  const copy = buffer.slice(byteOffset + from, byteOffset + length) as ArrayBuffer & Required<Transferable>;
  return new Uint8Array(size === length - from ? copy : copy.transfer(size));
}

/** Concatenates bytes into new memory. */
export function joinBytes(first: Uint8Array, second: Uint8Array, third: Uint8Array): Uint8Array {
  const buffer = first.buffer as ArrayBuffer & Concatenable;
  if (buffer.concat !== undefined && [first, second, third].every((part) => part.length === part.buffer.byteLength)) {
    return new Uint8Array(buffer.concat(second.buffer as ArrayBuffer, third.buffer as ArrayBuffer));
  }
  const whole = new Uint8Array(first.length + second.length + third.length);
  whole.set(first);
  whole.set(second, first.length);
  whole.set(third, first.length + second.length);
  return whole;
}

/** Returns bytes, zero-padded to `size` (a multiple of four), as words in reverse order. */
export function wordsOf(bytes: Uint8Array, size: number): Int32Array {
  const copy = copyBytes(bytes, size);
  reverse(copy);
  return new Int32Array(copy.buffer);
}

/** Returns the bytes of words in reverse order. Works in place: the words are overwritten. */
export function bytesOf(words: Int32Array): Uint8Array {
  const bytes = new Uint8Array(words.buffer);
  reverse(bytes);
  return bytes;
}

/** ECMAScript 2024. */
interface Transferable {
  transfer?(size: number): ArrayBuffer;
}

/** XS extension. */
interface Concatenable {
  concat?(...others: ArrayBuffer[]): ArrayBuffer;
}
