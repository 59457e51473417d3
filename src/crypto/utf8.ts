/** UTF-8 (RFC 3629) with the bytes of the Encoding Standard's TextEncoder on every engine. */

import { IotHubError } from "../errors.js";
import { nativeBytes, nativeText } from "./words.js";

/**
 * The UTF-8 bytes of text. A surrogate without its partner becomes U+FFFD, as TextEncoder does; two halves that stand
 * side by side become their character, also on XS, where strings are code points and joining does not merge them.
 */
export function utf8(text: string): Uint8Array {
  const native = nativeBytes(text);
  // As many bytes as characters: ASCII. What XS keeps otherwise is UTF-8 unless there is a NUL or a surrogate.
  if (native !== undefined && (native.length === text.length || !/[\0\ud800-\udfff]/.test(text))) return native;
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    // On XS a character above U+FFFF comes whole.
    let c = text.charCodeAt(i);
    if (c >= 0xd800 && c < 0xe000) {
      const next = text.charCodeAt(i + 1);
      if (c < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
        c = 0x10000 + ((c & 0x3ff) << 10) + (next & 0x3ff);
        i++;
      } else {
        c = 0xfffd;
      }
    }
    if (c < 0x80) bytes.push(c);
    else if (c < 0x800) bytes.push(0xc0 | (c >> 6), 0x80 | (c & 63));
    else if (c < 0x10000) bytes.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else bytes.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
  }
  return new Uint8Array(bytes);
}

/**
 * The text of UTF-8 bytes. Overlong forms, surrogates and truncated sequences are refused (RFC 3629 section 3).
 * @throws {IotHubError} INVALID_UTF8
 */
export function utf8Decode(bytes: Uint8Array): string {
  const ascii = asciiDecode(bytes);
  if (ascii !== undefined) return ascii;
  let text = "";
  const length = bytes.length;
  for (let i = 0; i < length; ) {
    const first = bytes[i++];
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    const more =
      first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
    let c = first & (0x3f >> more);
    let valid = more > 0 && i + more <= length;
    for (let n = 0; valid && n < more; n++) {
      const b = bytes[i++];
      valid = (b & 0xc0) === 0x80;
      c = (c << 6) | (b & 0x3f);
    }
    const least = more === 3 ? 0x10000 : more === 2 ? 0x800 : 0x80;
    if (!valid || c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
      throw new IotHubError("INVALID_UTF8", "The bytes are not UTF-8 (RFC 3629 section 3).");
    }
    text += String.fromCodePoint(c);
  }
  return text;
}

function asciiDecode(bytes: Uint8Array): string | undefined {
  try {
    const text = nativeText(bytes);
    return text?.length === bytes.length ? text : undefined;
  } catch {
    // Not UTF-8: the loop tells why.
    return undefined;
  }
}
