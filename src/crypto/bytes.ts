/**
 * Bytes as words of 32 bits, the highest byte first; copies of bytes.
 *
 * Bytes become words by being reversed as a whole, in one native call: on a little-endian machine the same memory is
 * then the words, the last one first. On XS that costs a fraction of reading every word from a DataView.
 */

/** Whether buffers can be copied in one piece with zeros after it (ECMAScript 2024), as XS and the newest engines do. */
const HAS_TRANSFER = (ArrayBuffer.prototype as Transferable).transfer !== undefined;
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Turns bytes that start at a multiple of four into words in reverse order, or such words into bytes. */
export function reverse(bytes: Uint8Array): void {
  (LITTLE_ENDIAN ? bytes : new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)).reverse();
}

/**
 * The bytes of an ArrayBuffer, of a SharedArrayBuffer, or of any view on one, also from another realm; undefined for
 * anything else. Memory that is shared is copied, since it may change between two looks at it.
 */
export function toBytes(value: unknown): Uint8Array | undefined {
  // By far the most frequent: bytes of this realm in memory that they do not share and that has not been transferred.
  if (value instanceof Uint8Array && value.buffer instanceof ArrayBuffer && value.length > 0) return value;
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    // The length of a view whose buffer has been transferred is 0, as if it were empty.
    if ((buffer as { detached?: boolean }).detached === true) return undefined;
    if (tagOf(buffer) === "SharedArrayBuffer")
      return copyBytes(new Uint8Array(buffer, byteOffset, byteLength), byteLength);
    return value instanceof Uint8Array ? value : new Uint8Array(buffer, byteOffset, byteLength);
  }
  const tag = tagOf(value);
  if (tag !== "ArrayBuffer" && tag !== "SharedArrayBuffer") return undefined;
  if ((value as { detached?: boolean }).detached === true) return undefined;
  const bytes = new Uint8Array(value as ArrayBuffer);
  // An object may bear any tag.
  if (bytes.buffer !== value) return undefined;
  return tag === "ArrayBuffer" ? bytes : copyBytes(bytes, bytes.length);
}

/**
 * What kind of object the language says that this is, in any realm: `"Map"`, `"Error"`, `"Object"`. Not for views: theirs
 * is a getter, which firmware without unused built-ins lacks.
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
  // XS copies from one typed array to another element by element, and a buffer in one piece.
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

/** The words of bytes and of the zeros that follow them up to `size` bytes, a multiple of four; the last word first. */
export function wordsOf(bytes: Uint8Array, size: number): Int32Array {
  const copy = copyBytes(bytes, size);
  reverse(copy);
  return new Int32Array(copy.buffer);
}

/** The bytes of words of which the last is the first; they share memory, so that the words are lost. */
export function bytesOf(words: Int32Array): Uint8Array {
  const bytes = new Uint8Array(words.buffer);
  reverse(bytes);
  return bytes;
}

/** ECMAScript 2024. */
interface Transferable {
  transfer?(size: number): ArrayBuffer;
}

/** An extension of XS. */
interface Concatenable {
  concat?(...others: ArrayBuffer[]): ArrayBuffer;
}
