/**
 * Text of bytes and bytes of text by the engine's own means, which XS has (`String.fromArrayBuffer`,
 * `ArrayBuffer.fromString`): a fraction of the cost of a loop over characters.
 */

/** Whether the engine makes text of bytes and bytes of text by itself, as XS does. */
export const HAS_NATIVE_TEXT =
  (String as Partial<NativeString>).fromArrayBuffer !== undefined &&
  (ArrayBuffer as Partial<NativeBuffer>).fromString !== undefined;

/** The text of ASCII codes other than NUL. */
export function asciiText(codes: Uint8Array): string {
  if (HAS_NATIVE_TEXT) return nativeText(codes);
  let joined = "";
  // Engines limit the number of arguments; `apply` spares V8 the iterator that a spread would run.
  for (let i = 0; i < codes.length; i += 4096) {
    joined += String.fromCharCode.apply(null, codes.subarray(i, i + 4096) as unknown as number[]);
  }
  return joined;
}

/**
 * On XS alone, the text of bytes that look like UTF-8. It ends before the first NUL in XS 13, and overlong forms and
 * surrogates pass.
 * @throws {Error} if the bytes do not look like UTF-8
 */
export function nativeText(bytes: Uint8Array, length: number = bytes.length): string {
  return (String as unknown as NativeString).fromArrayBuffer(bytes.buffer, bytes.byteOffset, length);
}

/** On XS alone, the bytes of text as XS keeps it: NUL is C0 80 in XS 13, and surrogates stay single. */
export function nativeBytes(text: string): Uint8Array {
  return new Uint8Array((ArrayBuffer as unknown as NativeBuffer).fromString(text));
}

interface NativeString {
  fromArrayBuffer(buffer: ArrayBufferLike, start: number, length: number): string;
}

interface NativeBuffer {
  fromString(text: string): ArrayBuffer;
}
