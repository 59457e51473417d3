import { constants, createHash, createHmac, type KeyObject, publicDecrypt, verify } from "node:crypto";
import type { Credential } from "./devices.js";
import {
  bodyHash,
  hmacName,
  hostWithoutPort,
  type RawRequest,
  type SignatureHeaders,
  type SignedFieldName,
  type SignedFields,
  signedFieldNames,
  stringToSign,
} from "./verify.js";

/**
 * Diagnosis of a wrong signature. Contains no secret: mistakes in the key are described in words.
 *
 * An HMAC cannot be inverted. A wrong key can be distinguished from a request that was modified after signing only if
 * the original can be guessed from the received request: another form of the same host, path, body or time, or one of
 * few known values. Another nonce, payload or hostname cannot be distinguished from another key. An RSA signature
 * contains its hash, so the key is certain, and only the text is guessed.
 */
export interface Diagnosis {
  /**
   * - `explained`: the signature is that of a request with these `deviations`
   * - `signature`: not made with the device's key, for any text (RSA only)
   * - `key-or-text`: another key, or a modification after signing that cannot be guessed (HMAC)
   * - `text`: the key is correct, but one of the eight fields differs in an unknown way (RSA only)
   * - `unreadable`: the header does not contain a signature
   */
  readonly verdict: "explained" | "signature" | "key-or-text" | "text" | "unreadable";
  /** The wrong fields; empty if the key or the encoding is wrong. */
  readonly fields: readonly SignedFieldName[];
  readonly deviations: readonly Deviation[];
  /** Correct string to sign, line by line. */
  readonly expected: SignedFields;
  /** One line. */
  readonly message: string;
}

/** One mistake. */
export interface Deviation {
  /** A field of the string to sign, the way the fields are joined, the key, or the encoding of the signature. */
  readonly where: SignedFieldName | "layout" | "key" | "encoding" | "hash";
  /** Description of the mistake, to follow "signed with …". */
  readonly what: string;
  /** For a field: the value that was signed; absent if it could be long. */
  readonly signed?: string;
}

interface FieldVariant {
  readonly deviation: Deviation;
  readonly fields: SignedFields;
  /** Whether it is tried only alone, because there are too many of its kind. */
  readonly lone: boolean;
}

interface Text {
  readonly deviations: readonly Deviation[];
  readonly text: string;
}

interface KeyVariant {
  readonly deviation?: Deviation;
  readonly key: Buffer;
}

/** Other known keys that a client may have used by mistake, with descriptions. */
export interface OtherKey {
  readonly name: string;
  readonly secret: string;
}

/**
 * Tries known mistakes, each alone and then in pairs, until the result equals the received signature. At most some
 * thousands of short hashes.
 */
export function diagnose(
  request: RawRequest,
  signed: SignatureHeaders,
  expected: SignedFields,
  credential: Credential,
  otherKeys: readonly OtherKey[] = [],
): Diagnosis {
  const readings = readSignature(signed.signature);
  return credential.kind === "psk"
    ? diagnoseHmac(request, signed, expected, credential.psk, readings, otherKeys)
    : diagnoseRsa(request, signed, expected, credential.publicKey, readings);
}

/** Range of other timestamps that are tried, in seconds: the validity of a signature. */
const GUESSED_SECONDS = 300;

const digestBytes = { sha1: 20, sha256: 32 } as const;

function diagnoseHmac(
  request: RawRequest,
  signed: SignatureHeaders,
  expected: SignedFields,
  psk: string,
  readings: readonly Reading[],
  otherKeys: readonly OtherKey[],
): Diagnosis {
  const hash = hmacName(signed.algorithm);
  const otherHash = hash === "sha256" ? "sha1" : "sha256";
  const allHashes: readonly { readonly name: "sha1" | "sha256"; readonly deviation?: Deviation }[] = [
    { name: hash },
    {
      name: otherHash,
      deviation: { where: "hash", what: `HMAC-${otherHash.toUpperCase()} instead of ${hash.toUpperCase()}` },
    },
  ];
  // The length of a signature determines its hash.
  const hashes = allHashes.filter(({ name }) => readings.some(({ bytes }) => bytes.length === digestBytes[name]));
  const wanted = new Map(readings.map((reading) => [reading.bytes.toString("hex"), reading]));
  const attempt = (text: Text, key: KeyVariant): Diagnosis | undefined => {
    for (const { name, deviation } of hashes) {
      const reading = wanted.get(createHmac(name, key.key).update(text.text).digest("hex"));
      if (reading === undefined) continue;
      const deviations = [key.deviation, deviation, ...text.deviations, reading.deviation].filter(isDeviation);
      return explained(deviations, expected);
    }
    return undefined;
  };

  const [rightKey, ...wrongKeys] = keyVariants(psk, otherKeys);
  const singles = fieldVariants(request, signed, expected);
  const right = { deviations: [], text: stringToSign(expected) };
  for (const text of textsOf(expected, singles)) {
    const found = attempt(text, rightKey);
    if (found) return found;
  }
  for (const key of wrongKeys) {
    const found = attempt(right, key);
    if (found) return found;
  }
  for (const text of pairs(singles)) {
    const found = attempt(text, rightKey);
    if (found) return found;
  }
  const few = singles.filter(({ lone }) => !lone);
  for (const key of wrongKeys) {
    for (const text of textsOf(expected, few)) {
      const found = attempt(text, key);
      if (found) return found;
    }
  }
  if (readings.length === 0) return unreadable(expected);
  return {
    verdict: "key-or-text",
    fields: [],
    deviations: [],
    expected,
    message:
      "wrong signature: no known mistake leads to it; either the key is another one, or something was changed after it " +
      "was signed (body, host, path, timestamp or nonce), which cannot be distinguished",
  };
}

function diagnoseRsa(
  request: RawRequest,
  signed: SignatureHeaders,
  expected: SignedFields,
  publicKey: KeyObject,
  readings: readonly Reading[],
): Diagnosis {
  if (readings.length === 0) return unreadable(expected);
  for (const reading of readings) {
    // An RSA signature contains its hash, which distinguishes a wrong key from a wrong text.
    const opened = openRsa(publicKey, reading.bytes);
    if (opened === undefined) continue;
    const hashDeviation: Deviation | undefined =
      opened.hash === "sha256"
        ? undefined
        : { where: "hash", what: `RSA with ${opened.hash.toUpperCase()} instead of SHA256` };
    const singles = fieldVariants(request, signed, expected);
    for (const texts of [textsOf(expected, singles), pairs(singles)]) {
      for (const text of texts) {
        if (!createHash(opened.hash).update(text.text).digest().equals(opened.digest)) continue;
        return explained([hashDeviation, ...text.deviations, reading.deviation].filter(isDeviation), expected);
      }
    }
    return {
      verdict: "text",
      fields: [],
      deviations: [],
      expected,
      message: "wrong signature: the key is right, but some of the eight fields differs in a way that is not known",
    };
  }
  const right = { deviations: [], text: stringToSign(expected) };
  const pss = explainPss(publicKey, readings, [right], expected);
  if (pss !== undefined) return pss;
  const keyBytes = (publicKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
  const sizes = new Set(readings.map(({ bytes }) => bytes.length));
  const message = sizes.has(keyBytes)
    ? "no text signed with the device's private key gives it; the key is another one, the signature was changed on its " +
      "way, or it is not RSASSA-PKCS1-v1_5"
    : `it has ${[...sizes].join(" or ")} bytes, the device's key makes ${keyBytes}; it was made with a key of another size, or it is not RSA`;
  return { verdict: "signature", fields: [], deviations: [], expected, message: `wrong signature: ${message}` };
}

/** Checks whether the signature is RSASSA-PSS, which differs only in the padding. */
function explainPss(
  publicKey: KeyObject,
  readings: readonly Reading[],
  texts: Iterable<Text>,
  expected: SignedFields,
): Diagnosis | undefined {
  const key = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO };
  const padding: Deviation = { where: "encoding", what: "RSASSA-PSS instead of RSASSA-PKCS1-v1_5" };
  for (const text of texts) {
    for (const reading of readings) {
      if (!verify("sha256", Buffer.from(text.text), key, reading.bytes)) continue;
      return explained([padding, ...text.deviations, reading.deviation].filter(isDeviation), expected);
    }
  }
  return undefined;
}

function explained(deviations: readonly Deviation[], expected: SignedFields): Diagnosis {
  const fields = deviations
    .map((deviation) => deviation.where)
    .filter((where): where is SignedFieldName => signedFieldNames.includes(where as SignedFieldName));
  const parts = deviations.map((deviation) => {
    const field = signedFieldNames.indexOf(deviation.where as SignedFieldName) + 1;
    if (field === 0) return `${deviation.where}: ${deviation.what}`;
    const instead = deviation.signed === undefined ? "" : ` (signed ${JSON.stringify(deviation.signed)}, expected `;
    const value = expected[deviation.where as SignedFieldName];
    return `field ${field} (${deviation.where}): ${deviation.what}${instead === "" ? "" : `${instead}${JSON.stringify(value)})`}`;
  });
  return { verdict: "explained", fields, deviations, expected, message: `wrong signature: ${parts.join("; ")}` };
}

function unreadable(expected: SignedFields): Diagnosis {
  return {
    verdict: "unreadable",
    fields: [],
    deviations: [{ where: "encoding", what: "neither Base64 nor hex of a signature" }],
    expected,
    message: "wrong signature: X-TC-Signature is neither Base64 nor hex of a signature of the right length",
  };
}

interface Reading {
  readonly bytes: Buffer;
  readonly deviation?: Deviation;
}

/** Returns every possible decoding of the signature header. */
function readSignature(signature: string): readonly Reading[] {
  const readings: Reading[] = [];
  const add = (bytes: Buffer, what?: string): void => {
    if (![20, 32].includes(bytes.length) && bytes.length < 128) return;
    readings.push(what === undefined ? { bytes } : { bytes, deviation: { where: "encoding", what } });
  };
  const hex = /^([0-9a-fA-F]{2})+$/;
  const text = signature.trim();
  if (hex.test(text)) add(Buffer.from(text, "hex"), "the signature is written in hex, Base64 is wanted");
  const decoded = Buffer.from(text, "base64");
  if (hex.test(decoded.toString("latin1"))) {
    const inner = Buffer.from(decoded.toString("latin1"), "hex");
    add(inner, "the signature is Base64 of its hex digits, Base64 of its bytes is wanted");
  }
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
    const canonical = decoded.toString("base64");
    if (canonical === text) add(decoded);
    else if (canonical.replace(/=+$/, "") === text) add(decoded, "the signature's Base64 lost its padding");
  } else if (/^[A-Za-z0-9_-]+={0,2}$/.test(text)) {
    add(Buffer.from(text, "base64url"), "the signature is written in the URL alphabet of Base64");
  } else if (/%[0-9a-fA-F]{2}/.test(text)) {
    add(
      Buffer.from(text.replace(/%2b/gi, "+").replace(/%2f/gi, "/").replace(/%3d/gi, "="), "base64"),
      "the signature is percent-encoded",
    );
  }
  return readings;
}

/**
 * Returns the hash function and digest inside an RSASSA-PKCS1-v1_5 signature; undefined if it was made with another
 * key.
 */
function openRsa(publicKey: KeyObject, signature: Buffer): { hash: "sha1" | "sha256"; digest: Buffer } | undefined {
  let info: Buffer;
  try {
    info = publicDecrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, signature);
  } catch {
    return undefined;
  }
  // DigestInfo, RFC 8017 section 9.2 note 1: the digest is the last field.
  if (info.length === 51) return { hash: "sha256", digest: info.subarray(19) };
  if (info.length === 35) return { hash: "sha1", digest: info.subarray(15) };
  return undefined;
}

function keyVariants(psk: string, otherKeys: readonly OtherKey[]): readonly KeyVariant[] {
  const variants: KeyVariant[] = [{ key: Buffer.from(psk) }];
  const add = (key: Buffer, what: string): void => {
    if (!variants.some((variant) => variant.key.equals(key))) variants.push({ key, deviation: { where: "key", what } });
  };
  add(Buffer.from(psk, "base64"), "the psk was Base64-decoded; its text is the key");
  add(Buffer.from(psk.replace(/=+$/, "")), "the psk lost its trailing =");
  add(Buffer.from(`${psk}=`), "the psk has a trailing = too many");
  add(Buffer.from(`${psk}==`), "the psk has two trailing = too many");
  for (const end of ["\n", "\r\n", " ", "\0"])
    add(Buffer.from(psk + end), `the psk is followed by ${JSON.stringify(end)}`);
  add(Buffer.from(` ${psk}`), "the psk is preceded by a space");
  add(Buffer.from(`"${psk}"`), "the psk stands between quotes");
  add(Buffer.from(psk.toLowerCase()), "the psk is in lower case");
  add(Buffer.from(psk.toUpperCase()), "the psk is in upper case");
  add(Buffer.from(Buffer.from(psk).toString("base64")), "the psk was Base64-encoded once more");
  add(Buffer.from(Buffer.from(psk, "base64").toString("hex")), "the psk was written as hex");
  add(Buffer.alloc(0), "the key is empty");
  for (const other of otherKeys) add(Buffer.from(other.secret), `the key is ${other.name}`);
  return variants;
}

/** Returns every known mistake in a single field. */
function fieldVariants(request: RawRequest, signed: SignatureHeaders, expected: SignedFields): readonly FieldVariant[] {
  const variants: FieldVariant[] = [];
  const seen = new Set<string>();
  const add = (where: SignedFieldName, value: string, what: string, { show = true, lone = false } = {}): void => {
    const id = `${where} ${value}`;
    if (value === expected[where] || seen.has(id)) return;
    seen.add(id);
    const deviation = show ? { where, what, signed: value } : { where, what };
    variants.push({ deviation, fields: { ...expected, [where]: value }, lone });
  };

  for (const method of [request.method, "post", "Post", "GET", "PUT"]) add("method", method, "another method");

  const { hostHeader, url } = request;
  const host = hostWithoutPort(hostHeader);
  for (const port of [80, 443]) add("host", `${expected.host}:${port}`, "the host with its port");
  add("host", host, "the host in its letter case, lower case is wanted");
  add("host", host.toUpperCase(), "the host in upper case");
  add("host", hostHeader, "the host with its port");
  add("host", hostHeader.toLowerCase(), "the host with its port");
  add("host", hostHeader.toUpperCase(), "the host in upper case with its port");
  for (const scheme of ["http", "https"]) {
    add("host", `${scheme}://${hostHeader}`, "the host with its scheme");
    add("host", `${scheme}://${host}`, "the host with its scheme");
  }
  add("host", `${expected.host}/`, "the host with a slash");
  add("host", "", "no host");
  for (const other of ["localhost", "127.0.0.1", "[::1]"]) add("host", other, "another name of this host");
  for (const region of ["ap-guangzhou", "us-east", "europe", "ap-bangkok"]) {
    add("host", `${region}.gateway.tencentdevices.com`, "the host of a region of the real service");
  }

  add("path", url, "the path with its query string");
  for (const path of ["/device/publish", "/device/register", "/device/reportlog"]) add("path", path, "another path");
  add("path", expected.path.slice(1), "the path without its slash");
  add("path", `${expected.path}/`, "the path with a slash at its end");
  add("path", "/", "the root path");
  add("path", "", "no path");
  for (const scheme of ["http", "https"]) add("path", `${scheme}://${hostHeader}${expected.path}`, "the whole URL");

  const query = url.includes("?") ? url.slice(url.indexOf("?") + 1) : undefined;
  if (query !== undefined) {
    add("query", query, "the query string; the field is always empty");
    add("query", `?${query}`, "the query string; the field is always empty");
  }
  for (const other of ["?", " ", "null", "undefined"]) add("query", other, "a query; the field is always empty");

  const names = [
    "hmacsha256",
    "hmacsha1",
    "rsa-sha256",
    "HmacSha256",
    "HmacSHA256",
    "HMACSHA256",
    "HMAC-SHA256",
    "hmac-sha256",
    "HmacSha1",
    "HmacSHA1",
    "HMACSHA1",
    "hmac-sha1",
    "RSA-SHA256",
    "rsasha256",
    "RsaSha256",
    "TC3-HMAC-SHA256",
    "",
  ];
  for (const name of names) add("algorithm", name, "an algorithm other than the header's");

  for (const other of ["hmacsha256", "hmacsha1"] as const) {
    const fields = { ...expected, algorithm: other, bodyHash: bodyHash(other, request.body) };
    if (other === signed.algorithm || fields.bodyHash === expected.bodyHash) continue;
    const what = "the algorithm, body hash included, is another than the header's";
    variants.push({ deviation: { where: "algorithm", what, signed: other }, fields, lone: false });
  }

  const { timestampSeconds } = signed;
  add("timestamp", String(Math.floor(timestampSeconds / 1000)), "seconds where the header has milliseconds");
  for (let ms = 0; ms < 1000; ms++) {
    add("timestamp", String(timestampSeconds * 1000 + ms), "milliseconds where the header has seconds", {
      lone: ms > 0,
    });
  }
  for (let seconds = 1; seconds <= GUESSED_SECONDS; seconds++) {
    // Two clock readings of one request are close together; a larger difference means a delay or a modification.
    const what = seconds <= 3 ? "the clock was read twice" : "another time was signed";
    for (const other of [timestampSeconds + seconds, timestampSeconds - seconds]) {
      add("timestamp", String(other), what, { lone: seconds > 3 });
    }
  }
  add("timestamp", `${signed.timestamp}.0`, "a number with a fraction");
  add("timestamp", "", "no timestamp");
  add("nonce", "", "no nonce");
  add("nonce", "0", "another nonce");
  if (Number.isSafeInteger(Number(signed.nonce))) {
    for (const step of [1, -1]) add("nonce", String(Number(signed.nonce) + step), "the nonce was counted on");
  }
  add("nonce", `${signed.nonce}.0`, "a number with a fraction");

  addBodyHashes(request, signed, (value, what) => add("bodyHash", value, what, { show: false }));
  return variants;
}

function addBodyHashes(
  request: RawRequest,
  signed: SignatureHeaders,
  add: (value: string, what: string) => void,
): void {
  const { body } = request;
  const hash = hmacName(signed.algorithm);
  const other = hash === "sha1" ? "sha256" : "sha1";
  const digest = (data: string | Buffer, name: string = hash): Buffer => createHash(name).update(data).digest();
  const right = bodyHash(signed.algorithm, body);
  add(right.toUpperCase(), "the hash in upper-case hex");
  add(digest(body).toString("base64"), "the hash in Base64, hex is wanted");
  add(Buffer.from(right).toString("base64"), "the hash in Base64 of its hex");
  add(digest(right).toString("hex"), "the hash of the hash");
  add(
    digest(body, other).toString("hex"),
    `the body hashed with ${other.toUpperCase()} instead of ${hash.toUpperCase()}`,
  );
  add(digest(body, "md5").toString("hex"), "the body hashed with MD5");
  add(digest("").toString("hex"), "the hash of an empty body");
  add("", "no hash");
  const bodyText = body.toString("utf8");
  add(bodyText, "the body itself, not its hash");

  const hashOf = (text: string | Buffer, what: string): void => add(digest(text).toString("hex"), what);
  for (const end of ["\n", "\r\n", "\0"]) hashOf(bodyText + end, `the body followed by ${JSON.stringify(end)}`);
  if (bodyText !== bodyText.trim()) hashOf(bodyText.trim(), "the body without the white space around it");
  hashOf(`\ufeff${bodyText}`, "the body with a byte order mark");
  hashOf(Buffer.from(bodyText, "latin1"), "the body in Latin-1, UTF-8 is sent");
  hashOf(Buffer.from(body.toString("latin1"), "utf8"), "the body encoded in UTF-8 twice");
  hashOf(Buffer.from(bodyText, "utf16le"), "the body in UTF-16");
  hashOf(JSON.stringify(bodyText), "the body as a JSON text");

  let value: unknown;
  try {
    value = JSON.parse(bodyText);
  } catch {
    return;
  }
  const again = "the body serialised again after it was hashed";
  const forms: readonly (readonly [string, string])[] = [
    [JSON.stringify(value), "compact"],
    [spaced(value, ", ", ": "), "with spaces, as Python writes it"],
    [spaced(value, ",", ": "), "with a space after each colon"],
    [spaced(value, ", ", ":"), "with a space after each comma"],
    [JSON.stringify(value, null, 2), "indented by two"],
    [JSON.stringify(value, null, 4), "indented by four"],
    [JSON.stringify(value, null, "\t"), "indented by tabs"],
    [JSON.stringify(sorted(value)), "compact and sorted"],
    [spaced(sorted(value), ", ", ": "), "sorted and with spaces"],
  ];
  for (const [form, how] of forms) {
    hashOf(form, `${again} (${how} when it was hashed)`);
    hashOf(escaped(form), `${again} (${how} and escaped to ASCII when it was hashed)`);
    hashOf(form.replaceAll("/", "\\/"), `${again} (${how} and with escaped slashes when it was hashed)`);
  }
  const topic = (value as Record<string, unknown> | null)?.TopicName;
  if (typeof topic === "string" && topic.includes("/")) {
    const short = { ...(value as object), TopicName: topic.slice(topic.lastIndexOf("/") + 1) };
    hashOf(JSON.stringify(short), "the body before its topic was completed");
  }
  const payload = (value as Record<string, unknown> | null)?.Payload;
  if (typeof payload === "string") hashOf(payload, "the payload alone, the whole body is wanted");
}

/** Yields all texts with at most one mistake. */
function* textsOf(expected: SignedFields, singles: readonly FieldVariant[]): Generator<Text> {
  yield { deviations: [], text: stringToSign(expected) };
  for (const { deviation, fields } of singles) yield { deviations: [deviation], text: stringToSign(fields) };
  for (const { deviation, text } of layouts(expected)) yield { deviations: [deviation], text };
}

/** Yields all texts with two mistakes. */
function* pairs(singles: readonly FieldVariant[]): Generator<Text> {
  const few = singles.filter(({ lone }) => !lone);
  for (const [index, first] of few.entries()) {
    for (const { deviation, text } of layouts(first.fields)) yield { deviations: [first.deviation, deviation], text };
    for (const second of few.slice(index + 1)) {
      const { where } = second.deviation;
      if (where === first.deviation.where) continue;
      const fields = { ...first.fields, [where]: second.fields[where as SignedFieldName] };
      yield { deviations: [first.deviation, second.deviation], text: stringToSign(fields) };
    }
  }
}

/** Returns the correct fields, joined incorrectly. */
function layouts(fields: SignedFields): readonly { readonly deviation: Deviation; readonly text: string }[] {
  const lines = signedFieldNames.map((name) => fields[name]);
  const layout = (text: string, what: string) => ({ text, deviation: { where: "layout" as const, what } });
  const swapped = stringToSign({ ...fields, timestamp: fields.nonce, nonce: fields.timestamp });
  return [
    layout(`${lines.join("\n")}\n`, "a line feed at the end, none is wanted"),
    layout(`\n${lines.join("\n")}`, "a line feed at the start, none is wanted"),
    layout(lines.join("\r\n"), "lines end in CR LF, LF alone is wanted"),
    layout(`${lines.join("\r\n")}\r\n`, "lines end in CR LF, LF alone is wanted, none at the end"),
    layout(lines.join("\\n"), "lines are joined by a backslash and an n, a line feed is wanted"),
    layout(lines.filter((_, index) => index !== 3).join("\n"), "the empty line of the query string is missing"),
    layout(lines.join(""), "fields are joined by nothing, a line feed is wanted"),
    layout(lines.join("&"), "fields are joined by &, a line feed is wanted"),
    layout(swapped, "timestamp and nonce are swapped"),
  ];
}

/** Changes the separators of JSON. Works on the text, so depth does not matter. */
function spaced(value: unknown, comma: string, colon: string): string {
  const compact = JSON.stringify(value);
  // Strings first, so that separators inside them are skipped.
  return compact.replace(/"(?:[^"\\]|\\.)*"|[,:]/g, (token) => (token === "," ? comma : token === ":" ? colon : token));
}

function escaped(text: string): string {
  return text.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isDeviation(value: Deviation | undefined): value is Deviation {
  return value !== undefined;
}
