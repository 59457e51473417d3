/** Bytes as one large number and back, the highest byte first: by the engine's own means on XS, in hexadecimal elsewhere. */

import { bytesOf, copyBytes } from "./bytes.js";
import { hex } from "./hex.js";

const IS_NATIVE =
  (BigInt as unknown as Partial<NativeBigInt>).fromArrayBuffer !== undefined &&
  (ArrayBuffer as unknown as Partial<NativeBuffer>).fromBigInt !== undefined;

/** The number that bytes stand for; 0 for none. */
export function bigIntOf(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  if (!IS_NATIVE) return BigInt(`0x${hex(bytes)}`);
  return (BigInt as unknown as NativeBigInt).fromArrayBuffer(copyBytes(bytes, bytes.length).buffer);
}

/** The bytes of a number that has no more than `length` of them, with zeros before it. */
export function bigIntBytes(value: bigint, length: number): Uint8Array {
  // As a method: XS 17 makes the buffer with what the function is called on.
  if (IS_NATIVE) return new Uint8Array((ArrayBuffer as unknown as NativeBuffer).fromBigInt(value, length));
  const words = new Int32Array(Math.ceil(length / 4));
  let rest = value;
  for (let i = 0; i < words.length; i++) {
    words[i] = Number(rest & 0xffffffffn);
    rest >>= 32n;
  }
  return bytesOf(words).subarray(words.length * 4 - length);
}

/** Extensions of XS. */
interface NativeBigInt {
  fromArrayBuffer(buffer: ArrayBufferLike): bigint;
}

interface NativeBuffer {
  fromBigInt(value: bigint, length: number): ArrayBuffer;
}
