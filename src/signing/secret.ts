/** Finds what goes wrong while people copy a secret: it signs well, and is always refused. */

import { IotHubError } from "../errors.js";

/** Shorter texts in the alphabet of Base64 may be anything. */
const LEAST_BASE64 = 16;

/**
 * Why a secret cannot be what the console shows; undefined for a text that may well be one. The reason never contains
 * any of it.
 *
 * Certain mistakes are controls (a line end from a file or an editor, a tab), white space and invisible marks anywhere,
 * quotes around the text, and percent-encoding. A text in the alphabet of Base64 with a length that Base64 cannot have
 * has lost its `=` or more; without any `=` this counts from 16 characters on, as a deployment may use any word. All
 * other texts pass.
 */
export function secretMistake(secret: string, isBase64 = true): string | undefined {
  // As the console shows it: one look in place of six, of which each costs a device as much as a small hash.
  if (secret.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(secret)) return undefined;
  if (secret.startsWith("\ufeff")) return "it begins with a byte order mark (U+FEFF)";
  if (/[\r\n]/.test(secret)) return "it contains a line break";
  if (/[\u0000-\u001f\u007f-\u009f]/.test(secret)) return "it contains a control character";
  // Spaces of every width, and marks that have none.
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
  if (missing < 0) return "it has more = at its end than Base64 has";
  if (missing === 3) return "a text in Base64 never has this length, so that a part is missing";
  return padding === 0
    ? "it seems to have lost its trailing = signs"
    : "it seems to have lost one of its trailing = signs";
}

/**
 * Checks a psk that a person has copied.
 * @throws {IotHubError} INVALID_CREDENTIAL
 */
export function checkPsk(secret: string): void {
  const reason = secretMistake(secret);
  if (reason === undefined) return;
  throw new IotHubError(
    "INVALID_CREDENTIAL",
    `The psk was not copied as it is in the console: ${reason}. If it really is this text, add \`verbatim: true\` to the credential.`,
  );
}
