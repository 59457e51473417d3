/** Hexadecimal, RFC 4648 section 8, lower case. */

import { IotHubError } from "../errors.js";

const DIGITS = "0123456789abcdef";

/** Two lower-case digits a byte. */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += DIGITS[bytes[i] >> 4] + DIGITS[bytes[i] & 15];
  return text;
}

/**
 * The bytes of hexadecimal digits of either case.
 * @throws {IotHubError} INVALID_HEX
 */
export function hexDecode(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new IotHubError("INVALID_HEX", "Hexadecimal text must be an even number of digits 0-9, a-f.");
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
