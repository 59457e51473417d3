/** Base64 with the standard alphabet and padding, RFC 4648 section 4. */

import { IotHubError } from "../errors.js";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Four characters for every three bytes begun. */
export function base64(bytes: Uint8Array): string {
  const length = bytes.length;
  let text = "";
  let i = 0;
  for (; i + 2 < length; i += 3) {
    const v = (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2];
    text += ALPHABET[v >> 18] + ALPHABET[(v >> 12) & 63] + ALPHABET[(v >> 6) & 63] + ALPHABET[v & 63];
  }
  if (i + 1 === length) {
    text += `${ALPHABET[bytes[i] >> 2] + ALPHABET[(bytes[i] << 4) & 63]}==`;
  } else if (i + 2 === length) {
    const v = (bytes[i] << 8) | bytes[i + 1];
    text += `${ALPHABET[v >> 10] + ALPHABET[(v >> 4) & 63] + ALPHABET[(v << 2) & 63]}=`;
  }
  return text;
}

/**
 * The bytes of Base64 text; no white space, padding required, unused bits zero (RFC 4648 sections 3.2, 3.3, 3.5).
 * @throws {IotHubError} INVALID_BASE64
 */
export function base64Decode(text: string): Uint8Array {
  let valid = text.length % 4 === 0;
  const padding = !valid ? 0 : text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const digits = text.length - padding;
  const bytes = new Uint8Array(valid ? (text.length / 4) * 3 - padding : 0);
  let bits = 0;
  let count = 0;
  let at = 0;
  for (let i = 0; valid && i < digits; i++) {
    const c = text.charCodeAt(i);
    let value = 0;
    if (c >= 65 && c <= 90) value = c - 65;
    else if (c >= 97 && c <= 122) value = c - 71;
    else if (c >= 48 && c <= 57) value = c + 4;
    else if (c === 43) value = 62;
    else if (c === 47) value = 63;
    else valid = false;
    bits = (bits << 6) | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes[at++] = bits >> count;
      bits &= (1 << count) - 1;
    }
  }
  if (!valid || bits !== 0) {
    throw new IotHubError("INVALID_BASE64", "The text is not Base64 with padding (RFC 4648 section 4).");
  }
  return bytes;
}
