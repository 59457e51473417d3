/** UTF-8 (RFC 3629), with the same bytes as TextEncoder on every engine. */

import { IotHubError } from "../errors.js";
import { HAS_NATIVE_TEXT, nativeBytes, nativeText } from "./native-text.js";

/**
 * Encodes text as UTF-8. A lone surrogate becomes U+FFFD, as with TextEncoder. Adjacent surrogates are combined, also
 * on XS, where strings are code points and concatenation does not combine them.
 */
export function utf8(text: string): Uint8Array {
  if (!HAS_NATIVE_TEXT) return encode(text);
  const native = nativeBytes(text);
  // As many bytes as characters means ASCII. Otherwise XS's internal bytes are UTF-8 unless there is a NUL or a
  // surrogate.
  return native.length === text.length || !/[\0\ud800-\udfff]/.test(text) ? native : mend(native);
}

/** Encodes a UTF-16 string. */
function encode(text: string): Uint8Array {
  const { length } = text;
  const bytes = new Uint8Array(length * 3);
  let to = 0;
  for (let i = 0; i < length; i++) {
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
    if (c < 0x80) {
      bytes[to++] = c;
      continue;
    }
    if (c < 0x800) {
      bytes[to++] = 0xc0 | (c >> 6);
    } else {
      if (c < 0x10000) {
        bytes[to++] = 0xe0 | (c >> 12);
      } else {
        bytes[to++] = 0xf0 | (c >> 18);
        bytes[to++] = 0x80 | ((c >> 12) & 63);
      }
      bytes[to++] = 0x80 | ((c >> 6) & 63);
    }
    bytes[to++] = 0x80 | (c & 63);
  }
  return bytes.slice(0, to);
}

/**
 * Converts XS's internal bytes to UTF-8, in place: NUL may be C0 80, and a surrogate is three bytes from ED A0 80 on.
 * Works on bytes, since indexing a string is O(n) on XS.
 */
function mend(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  let to = 0;
  for (let from = 0; from < length; ) {
    const first = bytes[from];
    const second = first === 0xed ? bytes[from + 1] : 0;
    if (first === 0xc0) {
      bytes[to++] = 0;
      from += 2;
    } else if (second < 0xa0) {
      if (to < from) bytes[to] = first;
      to++;
      from++;
    } else if (second < 0xb0 && bytes[from + 3] === 0xed && bytes[from + 4] >= 0xb0) {
      const high = 0x40 + ((second & 15) << 6) + (bytes[from + 2] & 63);
      const low = ((bytes[from + 4] & 15) << 6) | (bytes[from + 5] & 63);
      bytes[to++] = 0xf0 | (high >> 8);
      bytes[to++] = 0x80 | ((high >> 2) & 63);
      bytes[to++] = 0x80 | ((high & 3) << 4) | (low >> 6);
      bytes[to++] = 0x80 | (low & 63);
      from += 6;
    } else {
      bytes[to++] = 0xef;
      bytes[to++] = 0xbf;
      bytes[to++] = 0xbd;
      from += 3;
    }
  }
  return to === length ? bytes : new Uint8Array((bytes.buffer as ArrayBuffer).slice(0, to));
}

/**
 * Decodes UTF-8. Overlong forms, surrogates and truncated sequences are rejected (RFC 3629 section 3). A byte order
 * mark is kept.
 * @throws {IotHubError} INVALID_UTF8
 */
export function utf8Decode(bytes: Uint8Array): string {
  const { length } = bytes;
  let native: string | undefined;
  try {
    if (HAS_NATIVE_TEXT) native = nativeText(bytes);
  } catch {
    // Not UTF-8: the loop below throws.
  }
  if (native?.length === length) return native;
  let text = "";
  let characters = 0;
  let nuls = 0;
  for (let i = 0; i < length; characters++) {
    const first = bytes[i++];
    let c = first;
    if (first === 0) nuls++;
    if (first >= 0x80) {
      const more =
        first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
      c &= 0x3f >> more;
      let valid = more > 0 && i + more <= length;
      for (let n = 0; valid && n < more; n++) {
        const b = bytes[i++];
        valid = (b & 0xc0) === 0x80;
        c = (c << 6) | (b & 0x3f);
      }
      const least = more === 3 ? 0x10000 : more === 2 ? 0x800 : 0x80;
      if (!valid || c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        throw new IotHubError("INVALID_UTF8", "The bytes are not valid UTF-8 (RFC 3629 section 3).");
      }
    }
    // On XS, each concatenation would copy the whole string.
    if (!HAS_NATIVE_TEXT) text += String.fromCodePoint(c);
  }
  if (!HAS_NATIVE_TEXT) return text;
  if (native?.length === characters) return native;
  // XS 13 ends a string at NUL, and stores NUL as C0 80.
  const kept = new Uint8Array(length + nuls);
  let to = 0;
  for (let i = 0; i < length; i++) {
    if (bytes[i] === 0) {
      kept[to++] = 0xc0;
      kept[to++] = 0x80;
    } else {
      kept[to++] = bytes[i];
    }
  }
  return nativeText(kept);
}
