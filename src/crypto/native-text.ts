/**
 * Conversion between bytes and strings with native functions of XS (`String.fromArrayBuffer`,
 * `ArrayBuffer.fromString`), at a fraction of the cost of a loop over characters.
 */

/** Whether the engine has native functions to convert between bytes and strings, as XS does. */
export const HAS_NATIVE_TEXT =
  (String as Partial<NativeString>).fromArrayBuffer !== undefined &&
  (ArrayBuffer as Partial<NativeBuffer>).fromString !== undefined;

/** Converts ASCII bytes other than NUL to a string. */
export function asciiText(codes: Uint8Array): string {
  if (HAS_NATIVE_TEXT) return nativeText(codes);
  let joined = "";
  // In chunks, as engines limit the number of arguments; `apply` is faster on V8 than a spread, which runs an iterator.
  for (let i = 0; i < codes.length; i += 4096) {
    joined += String.fromCharCode.apply(null, codes.subarray(i, i + 4096) as unknown as number[]);
  }
  return joined;
}

/**
 * XS only: decodes UTF-8 natively. XS 13 stops at the first NUL; overlong forms and surrogates are not rejected.
 * @throws {Error} if XS rejects the bytes
 */
export function nativeText(bytes: Uint8Array, length: number = bytes.length): string {
  return (String as unknown as NativeString).fromArrayBuffer(bytes.buffer, bytes.byteOffset, length);
}

/**
 * XS only: returns XS's internal bytes of a string: UTF-8, except that NUL is C0 80 in XS 13 and surrogates are encoded
 * one by one.
 */
export function nativeBytes(text: string): Uint8Array {
  return new Uint8Array((ArrayBuffer as unknown as NativeBuffer).fromString(text));
}

interface NativeString {
  fromArrayBuffer(buffer: ArrayBufferLike, start: number, length: number): string;
}

interface NativeBuffer {
  fromString(text: string): ArrayBuffer;
}
