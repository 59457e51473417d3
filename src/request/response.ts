/** Parses the gateway's response: the current format and the two retired ones. Everything else is a typed error. */

import { utf8Decode } from "../crypto/utf8.js";
import { type ResponseDetails, ResponseError } from "../errors.js";
import type { HttpResponse } from "../host.js";
import { buildDateMs } from "../version.js";

export interface GatewayResponse {
  readonly requestId: string;
  /** HTTP status. */
  readonly status: number;
  /** The response object, with members beyond the RequestId. */
  readonly content: Readonly<Record<string, unknown>>;
}

/**
 * Maximum nesting: JSON.parse of deeply nested text overflows a device's stack. The gateway's responses have three
 * levels.
 */
const MAX_DEPTH = 64;
const MAX_EXCERPT = 200;
/** Maximum Retry-After in seconds (68 years); its users limit it further. */
const MAX_SECONDS = 2147483647;

/**
 * Returns the gateway's success, or throws its rejection. The Content-Type is ignored: JSON sent as text/plain is
 * accepted. Success requires a RequestId and an HTTP status from 200 to 299.
 * @param nowMs local time in milliseconds since 1970, for a Retry-After date in a response without a Date
 * @throws {ResponseError} GATEWAY_REJECTED with the gateway's code and message; HTTP_STATUS, RESPONSE_EMPTY,
 * RESPONSE_NOT_JSON, RESPONSE_UNEXPECTED with the beginning of the body
 */
export function readResponse(response: HttpResponse, nowMs?: number): GatewayResponse {
  const { status, body } = response;
  const text = body.length === 0 ? undefined : readText(body);
  const root = text === undefined ? undefined : parseText(text);
  const read = root === undefined ? undefined : readShapes(root, text as string);
  if (read !== undefined && read.code === undefined && read.requestId !== undefined && status >= 200 && status <= 299) {
    return { requestId: read.requestId, status, content: read.content };
  }
  throw failure(response, nowMs, root, read);
}

function failure(
  { status, headers, body, early }: HttpResponse,
  nowMs: number | undefined,
  root: object | undefined,
  read: Shape | undefined,
): ResponseError {
  // Parsed only on failure: a success needs no dates, and XS compiles a regular expression at each use.
  const dateMs = readDate(headers.date);
  const details: { -readonly [K in keyof ResponseDetails]: ResponseDetails[K] } = { status };
  if (dateMs !== undefined) details.dateMs = dateMs;
  const retryAfterSeconds = readRetryAfter(headers["retry-after"], dateMs ?? nowMs);
  if (retryAfterSeconds !== undefined) details.retryAfterSeconds = retryAfterSeconds;
  if (read?.requestId !== undefined) details.requestId = read.requestId;
  if (early) details.early = true;
  if (read?.code !== undefined) {
    details.gatewayCode = read.code;
    if (read.message !== undefined) details.gatewayMessage = read.message;
    const said = read.message ? ` (${printable(read.message).replace(/\.$/, "")})` : "";
    const message = `The gateway rejected the request: ${printable(String(read.code))}${said}.`;
    return new ResponseError("GATEWAY_REJECTED", message, details);
  }
  if (body.length > 0) details.excerpt = excerpt(body);
  // A page of a proxy or a captive portal is not the gateway's decision; the same request may succeed later.
  if (status < 200 || status > 299)
    return new ResponseError("HTTP_STATUS", `Unexpected HTTP status ${status}.`, details);
  if (body.length === 0) return new ResponseError("RESPONSE_EMPTY", "The response is empty.", details);
  if (root === undefined) return new ResponseError("RESPONSE_NOT_JSON", "The response is not JSON.", details);
  return new ResponseError("RESPONSE_UNEXPECTED", "The response is JSON of an unknown format.", details);
}

interface Shape {
  readonly content: Record<string, unknown>;
  readonly requestId?: string;
  readonly code?: string | number;
  readonly message?: string;
}

function readShapes(root: Record<string, unknown>, text: string): Shape | undefined {
  const response = asObject(root.Response);
  if (response !== undefined) {
    const shape = { content: response, requestId: asId(response.RequestId, text) };
    if (response.Error === undefined || response.Error === null) return shape;
    const error = asObject(response.Error);
    const code = error && asCode(error.Code);
    return code === undefined ? undefined : { ...shape, code, message: asText(error?.Message) };
  }
  // Retired endpoints: 0 is success. Other APIs also return {"code":0}, so a success must have the other members, too.
  const code = asCode(root.code);
  if (code !== undefined) return readRetired(root, text, code, root.message, true);
  const returnCode = asCode(root.returnCode);
  return returnCode === undefined ? undefined : readRetired(root, text, returnCode, root.returnMessage, false);
}

function readRetired(
  content: Record<string, unknown>,
  text: string,
  code: string | number,
  said: unknown,
  needsId: boolean,
): Shape | undefined {
  const requestId = asId(content.requestId ?? content.RequestId, text);
  const message = asText(said);
  if (code !== 0 && code !== "0") return { content, requestId, code, message };
  if (message === undefined || (needsId && !requestId)) return undefined;
  return { content, requestId: requestId ?? "" };
}

/** Parses a JSON object; undefined if it is none, or nested too deeply. */
export function parseObject(body: Uint8Array): Record<string, unknown> | undefined {
  const text = readText(body);
  return text === undefined ? undefined : parseText(text);
}

/** Decodes UTF-8 without a byte order mark, which RFC 8259 section 8.1 allows a parser to ignore. */
function readText(body: Uint8Array): string | undefined {
  const marked = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
  try {
    return utf8Decode(marked ? body.subarray(3) : body);
  } catch {
    return undefined;
  }
}

function parseText(text: string): Record<string, unknown> | undefined {
  if (isTooDeep(text)) return undefined;
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Whether JSON is nested deeper than {@link MAX_DEPTH}. Brackets inside strings do not count. */
function isTooDeep(text: string): boolean {
  // Native searches first: on XS a loop over the characters costs a thousand times as much.
  if (countOf("{", text) + countOf("[", text) <= MAX_DEPTH) return false;
  let depth = 0;
  let inString = false;
  let escaped = false;
  // By iteration, since indexing a string is O(n) on XS.
  for (const character of text) {
    if (inString) {
      if (escaped) escaped = false;
      else if (character === "\\") escaped = true;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{" || character === "[") {
      if (++depth > MAX_DEPTH) return true;
    } else if (character === "}" || character === "]") depth--;
  }
  return false;
}

function countOf(character: string, text: string): number {
  let count = 0;
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) count++;
  return count;
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined;
}

/** Returns a RequestId. For a number beyond 2^53, JSON.parse is imprecise: the digits are taken from the text. */
function asId(value: unknown, text: string): string | undefined {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return asText(value);
  return /"[Rr]equestId"\s*:\s*(-?[0-9]+)\s*[,}]/.exec(text)?.[1];
}

function asCode(value: unknown): string | number | undefined {
  return typeof value === "number" || (typeof value === "string" && value !== "") ? value : undefined;
}

/** RFC 9110 section 10.2.3: seconds, or a date, which is relative to the response's Date. */
function readRetryAfter(value: string | undefined, nowMs: number | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^[0-9]+$/.test(value)) return Math.min(Number(value), MAX_SECONDS);
  const until = readDate(value);
  if (until === undefined || nowMs === undefined) return undefined;
  return Math.min(Math.max(0, Math.ceil((until - nowMs) / 1000)), MAX_SECONDS);
}

const FIFTY_YEARS_MS = 50 * 365.25 * 86400000;
const MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec";

/**
 * Parses a date in any of the three formats of RFC 9110 section 5.6.7: IMF-fixdate, RFC 850 with a two-digit year,
 * asctime. Not Date.parse, which differs between engines. A repeated header is joined as "A, A".
 */
export function readDate(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const half = (header.length - 2) / 2;
  const twice = header.slice(half) === `, ${header.slice(0, half)}`;
  const value = (twice ? header.slice(0, half) : header).trim();
  const time = "([0-9]{2}):([0-9]{2}):([0-9]{2})";
  const fixed = new RegExp(`^[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ${time} GMT$`).exec(value);
  if (fixed !== null) return utc(fixed[3], fixed[2], fixed[1], fixed[4], fixed[5], fixed[6]);
  const rfc850 = new RegExp(`^[A-Z][a-z]{5,8}, ([0-9]{2})-([A-Z][a-z]{2})-([0-9]{2}) ${time} GMT$`).exec(value);
  if (rfc850 !== null) {
    const dateMs = utc(`20${rfc850[3]}`, rfc850[2], rfc850[1], rfc850[4], rfc850[5], rfc850[6]);
    // A two-digit year more than 50 years ahead belongs to the previous century. Compared with the build date, since
    // the clock may not be set.
    const isAhead = dateMs !== undefined && dateMs - buildDateMs > FIFTY_YEARS_MS;
    return isAhead ? utc(`19${rfc850[3]}`, rfc850[2], rfc850[1], rfc850[4], rfc850[5], rfc850[6]) : dateMs;
  }
  const asctime = new RegExp(`^[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9][0-9]) ${time} ([0-9]{4})$`).exec(value);
  if (asctime !== null) return utc(asctime[6], asctime[1], asctime[2], asctime[3], asctime[4], asctime[5]);
  return undefined;
}

function utc(year: string, month: string, day: string, hours: string, minutes: string, seconds: string) {
  const index = MONTHS.indexOf(month) / 3;
  if (!Number.isInteger(index) || index < 0) return undefined;
  return Date.UTC(Number(year), index, Number(day), Number(hours), Number(minutes), Number(seconds));
}

/**
 * Returns the beginning of a body as text, at most 200 bytes. In a body that is not UTF-8, non-ASCII bytes become dots.
 */
function excerpt(body: Uint8Array): string {
  let end = Math.min(body.length, MAX_EXCERPT);
  // Not in the middle of a character (RFC 3629 section 3).
  while (end > 0 && end < body.length && (body[end] & 0xc0) === 0x80) end--;
  const bytes = body.subarray(0, end);
  try {
    return printable(utf8Decode(bytes));
  } catch {
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte < 0x80 ? byte : 0x2e);
    return printable(text);
  }
}

/** Limits text to 200 characters, and replaces control characters, which could forge log lines. */
function printable(text: string): string {
  return text.slice(0, MAX_EXCERPT).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");
}
