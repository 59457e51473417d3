/** Hexadecimal, RFC 4648 section 8, lower case. */

import { IotHubError } from "../errors.js";
import { bytesOf, wordsOf } from "./bytes.js";
import { asciiText, HAS_NATIVE_TEXT } from "./native-text.js";

const DIGITS = "0123456789abcdef";

/** ECMAScript 2026: available in XS 17 and the newest engines. */
interface NativeHex extends Uint8Array {
  toHex(): string;
}

const HAS_NATIVE_HEX = typeof (Uint8Array.prototype as Partial<NativeHex>).toHex === "function";

/** Encodes bytes as lower-case hexadecimal, two digits per byte. */
export function hex(bytes: Uint8Array): string {
  if (HAS_NATIVE_HEX) return (bytes as NativeHex).toHex();
  if (HAS_NATIVE_TEXT) return hexOfWords(wordsOf(bytes, (bytes.length + 3) & -4), bytes.length);
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += DIGITS[bytes[i] >> 4] + DIGITS[bytes[i] & 15];
  return text;
}

/**
 * Encodes words in reverse order as hexadecimal. Overwrites the words.
 * @param length number of bytes to encode
 * @default length all bytes of the words
 */
export function hexOfWords(words: Int32Array, length: number = words.byteLength): string {
  if (HAS_NATIVE_HEX || !HAS_NATIVE_TEXT) return hex(firstOf(bytesOf(words), length));
  const count = words.length;
  const codes = new Int32Array(2 * count);
  let word = 0;
  let bits = 0;
  let to = 0;
  for (let i = 0; i < count; i++) {
    // Spreads two bytes to four digits, one per byte, then maps them to ASCII at once: "a" is 39 codes after "0" + 10.
    // No sum reaches 2^31, where XS would switch to floating point.
    word = words[i];
    bits = word & 0xffff;
    bits = ((bits << 8) | bits) & 0xff00ff;
    bits = ((bits << 4) | bits) & 0x0f0f0f0f;
    codes[to++] = bits + 0x30303030 + (((bits + 0x06060606) >> 4) & 0x01010101) * 39;
    bits = (word >> 16) & 0xffff;
    bits = ((bits << 8) | bits) & 0xff00ff;
    bits = ((bits << 4) | bits) & 0x0f0f0f0f;
    codes[to++] = bits + 0x30303030 + (((bits + 0x06060606) >> 4) & 0x01010101) * 39;
  }
  return asciiText(firstOf(bytesOf(codes), 2 * length));
}

/** Mostly all bytes are used, and no view is needed. */
function firstOf(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.length === length ? bytes : bytes.subarray(0, length);
}

/**
 * Decodes hexadecimal digits of either case.
 * @throws {IotHubError} INVALID_HEX
 */
export function hexDecode(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new IotHubError("INVALID_HEX", "Hexadecimal text must have an even number of the digits 0-9 and a-f.");
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
