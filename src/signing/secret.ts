/** Detects copying mistakes in a secret, which would produce signatures that are always rejected. */

import { IotHubError } from "../errors.js";

/** Shorter texts of Base64 characters may be any word. */
const LEAST_BASE64 = 16;

/**
 * Returns why a secret cannot be what the console shows; undefined if it is plausible. The reason never contains any
 * part of the secret.
 *
 * Mistakes: control characters (a line break from a file or an editor, a tab), white space and invisible characters,
 * quotes around the text, percent-encoding. Text of Base64 characters with an impossible length has lost its `=` or
 * more; without any `=` this is checked from 16 characters on, since a private deployment may use any word. All other
 * texts pass.
 */
export function secretMistake(secret: string, isBase64 = true): string | undefined {
  // Common case first: each of the checks below costs a device as much as a small hash.
  if (secret.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(secret)) return undefined;
  if (secret.startsWith("\ufeff")) return "it begins with a byte order mark (U+FEFF)";
  if (/[\r\n]/.test(secret)) return "it contains a line break";
  if (/[\u0000-\u001f\u007f-\u009f]/.test(secret)) return "it contains a control character";
  // Spaces of every width, and zero-width characters.
  if (/[\s\u00ad\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]/.test(secret)) {
    return "it contains a space or an invisible character";
  }
  const bare = secret.replace(/^["'`\u2018-\u201f\u00ab\u00bb]|["'`\u2018-\u201f\u00ab\u00bb]$/g, "");
  const isPlain = /^[A-Za-z0-9+/]+=*$/.test(bare);
  if (bare.length === secret.length - 2 || (bare.length < secret.length && isPlain)) return "it has quotes around it";
  if (/^[A-Za-z0-9]+(%(2[BbFf]|3[Dd])[A-Za-z0-9]*)+$/.test(secret)) return "it is percent-encoded";
  if (!isBase64 || !isPlain) return undefined;
  const digits = bare.replace(/=+$/, "").length;
  const padding = bare.length - digits;
  const missing = ((4 - (digits % 4)) % 4) - padding;
  if (missing === 0 || (padding === 0 && digits < LEAST_BASE64)) return undefined;
  if (missing < 0) return "it has too many trailing = signs for Base64";
  if (missing === 3) return "Base64 never has this length, so a part is missing";
  return padding === 0
    ? "it seems to have lost its trailing = signs"
    : "it seems to have lost one of its trailing = signs";
}

/**
 * Checks a PSK for copying mistakes.
 * @throws {IotHubError} INVALID_CREDENTIAL
 */
export function checkPsk(secret: string): void {
  const reason = secretMistake(secret);
  if (reason === undefined) return;
  throw new IotHubError(
    "INVALID_CREDENTIAL",
    `The PSK differs from what the console shows: ${reason}. If the text is really correct, add \`verbatim: true\` to the credential.`,
  );
}
