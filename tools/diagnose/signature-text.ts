/** Recognizes signatures in a wrong encoding. */

import type { Deviation } from "./diagnose.js";

const encoded = (id: string, what: string, mend: string): Deviation => ({ id, where: "encoding", what, mend });

const BASE64 = "Write the raw bytes of the signature in Base64, with its = at the end.";

export const encodings = {
  hex: encoded("signature-hex", "the signature is in hex, Base64 is expected", BASE64),
  base64OfHex: encoded(
    "signature-base64-of-hex",
    "the signature is Base64 of its hex digits, Base64 of its bytes is expected",
    `Take the digest's bytes, not its hex text. ${BASE64}`,
  ),
  unpadded: encoded("signature-unpadded", "the signature's Base64 lost its padding", BASE64),
  url: encoded(
    "signature-url-alphabet",
    "the signature is in the URL alphabet of Base64",
    "Use + and / instead of - and _, with = at the end.",
  ),
  percent: encoded(
    "signature-percent-encoded",
    "the signature is percent-encoded",
    "Send the Base64 unchanged: a header is not a URL.",
  ),
  spaces: encoded(
    "signature-plus-as-space",
    "the signature's + became spaces",
    "Send the Base64 unchanged: it was decoded like a URL or a form.",
  ),
  quoted: encoded("signature-quoted", "the signature is in quotes", "Send the Base64 without quotes."),
  prefixed: encoded(
    "signature-prefixed",
    "the signature has a prefix",
    "Send the Base64 alone, without a prefix such as sha256=.",
  ),
  lines: encoded(
    "signature-line-ends",
    "the signature's Base64 is broken into lines",
    "Write the Base64 in one line: openssl base64 -A, or b64encode without newlines.",
  ),
} satisfies Record<string, Deviation>;

export interface Reading {
  readonly bytes: Buffer;
  readonly encoding?: keyof typeof encodings;
}

/** Minimum number of Base64 characters: with fewer, mistakes cannot be distinguished. */
const LEAST_PREFIX = 8;

/** Returns every signature that the text may encode or, with `isPrefix`, of which it may be the beginning. */
export function readSignature(signature: string, isPrefix: boolean): readonly Reading[] {
  if (isPrefix) return readPrefix(signature.trim());
  const readings: Reading[] = [];
  const add = (bytes: Buffer, encoding?: keyof typeof encodings): void => {
    if (![20, 32].includes(bytes.length) && bytes.length < 128) return;
    const text = bytes.toString("latin1");
    if (!readings.some((reading) => reading.bytes.toString("latin1") === text)) readings.push({ bytes, encoding });
  };
  const hex = /^([0-9a-fA-F]{2})+$/;
  const base64 = /^[A-Za-z0-9+/]+={0,2}$/;
  const text = signature.trim();
  const decoded = Buffer.from(text, "base64");
  if (hex.test(text)) add(Buffer.from(text, "hex"), "hex");
  if (base64.test(text)) {
    // A leading space of a header value is lost.
    if (text.length % 4 === 3 && text.endsWith("=")) add(Buffer.from(`+${text}`, "base64"), "spaces");
    if (hex.test(decoded.toString("latin1"))) add(Buffer.from(decoded.toString("latin1"), "hex"), "base64OfHex");
    const canonical = decoded.toString("base64");
    if (canonical === text) add(decoded);
    else if (canonical.replace(/=+$/, "") === text) add(decoded, "unpadded");
    return readings;
  }
  if (/^[A-Za-z0-9_-]+={0,2}$/.test(text)) add(Buffer.from(text, "base64url"), "url");
  const replaced: readonly (readonly [keyof typeof encodings, string])[] = [
    ["percent", text.replace(/%2b/gi, "+").replace(/%2f/gi, "/").replace(/%3d/gi, "=")],
    ["quoted", text.replace(/^(["'])(.*)\1$/, "$2")],
    ["lines", text.replace(/(?:%0[ad]|\\[nr])+/gi, "")],
    ["lines", text.replace(/\s+/g, "")],
    ["spaces", text.replaceAll(" ", "+")],
    ["spaces", `+${text.replaceAll(" ", "+")}`],
    ["prefixed", text.replace(/^(?:hmac[-_]?)?(?:sha-?(?:1|256)|v1|signature|rsa-sha256)\s*[=: ,]\s*/i, "")],
  ];
  for (const [encoding, plain] of replaced) {
    if (plain === text) continue;
    const bytes = Buffer.from(plain, "base64");
    if (base64.test(plain) && bytes.toString("base64") === plain) add(bytes, encoding);
    if (encoding === "prefixed" && hex.test(plain)) add(Buffer.from(plain, "hex"), "prefixed");
  }
  return readings;
}

/** Decodes the complete groups of four Base64 characters, which are whole bytes. */
function readPrefix(text: string): readonly Reading[] {
  const whole = text.slice(0, text.length - (text.length % 4));
  if (whole.length < LEAST_PREFIX || !/^[A-Za-z0-9+/]+={0,2}$/.test(whole)) return [];
  return [{ bytes: Buffer.from(whole, "base64") }];
}
