/** Converts big-endian bytes to a BigInt and back: natively on XS, through hexadecimal elsewhere. */

import { bytesOf, copyBytes } from "./bytes.js";
import { hex } from "./hex.js";

const IS_NATIVE =
  (BigInt as unknown as Partial<NativeBigInt>).fromArrayBuffer !== undefined &&
  (ArrayBuffer as unknown as Partial<NativeBuffer>).fromBigInt !== undefined;

/** Returns the number that big-endian bytes represent; 0 for no bytes. */
export function bigIntOf(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  if (!IS_NATIVE) return BigInt(`0x${hex(bytes)}`);
  return (BigInt as unknown as NativeBigInt).fromArrayBuffer(copyBytes(bytes, bytes.length).buffer);
}

/** Returns the big-endian bytes of a number, padded with leading zeros to `length`, which must be large enough. */
export function bigIntBytes(value: bigint, length: number): Uint8Array {
  // Must be called as a method: XS 17 uses `this` as the constructor of the buffer.
  if (IS_NATIVE) return new Uint8Array((ArrayBuffer as unknown as NativeBuffer).fromBigInt(value, length));
  const words = new Int32Array(Math.ceil(length / 4));
  let rest = value;
  for (let i = 0; i < words.length; i++) {
    words[i] = Number(rest & 0xffffffffn);
    rest >>= 32n;
  }
  return bytesOf(words).subarray(words.length * 4 - length);
}

/** XS extensions. */
interface NativeBigInt {
  fromArrayBuffer(buffer: ArrayBufferLike): bigint;
}

interface NativeBuffer {
  fromBigInt(value: bigint, length: number): ArrayBuffer;
}
