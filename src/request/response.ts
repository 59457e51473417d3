/** Reads what the gateway answered: today's shape and the two retired ones; everything else is a typed error. */

import { utf8Decode } from "../crypto/utf8.js";
import { type AnswerDetails, AnswerError, type AnswerErrorCode } from "../errors.js";
import type { HttpResponse } from "../host.js";

export interface Answer {
  readonly requestId: string;
  /** HTTP status. */
  readonly status: number;
  /** The answer's own object, for members beyond the RequestId. */
  readonly content: Readonly<Record<string, unknown>>;
}

/** JSON.parse of a deeply nested text overflows a device's stack; an answer of the gateway has two braces or three. */
const MAX_BRACKETS = 64;
const MAX_EXCERPT = 200;

/**
 * The gateway's success, or its refusal as an error.
 * @throws {AnswerError} GATEWAY_REJECTED with the gateway's own code and message; HTTP_STATUS, ANSWER_EMPTY,
 * ANSWER_NOT_JSON, ANSWER_UNKNOWN with the beginning of what came instead
 */
export function readAnswer(response: HttpResponse): Answer {
  const { status, headers, body } = response;
  const details: { -readonly [K in keyof AnswerDetails]: AnswerDetails[K] } = { status };
  const retryAfter = readRetryAfter(headers["retry-after"], headers.date);
  if (retryAfter !== undefined) details.retryAfterSeconds = retryAfter;
  const dateMs = readDate(headers.date);
  if (dateMs !== undefined) details.dateMs = dateMs;

  const failed = status < 200 || status > 299;
  const fail = (code: AnswerErrorCode, reason: string) => {
    if (body.length > 0) details.excerpt = excerpt(body);
    // A proxy's or a captive portal's page is not the gateway's last word; the same request may succeed later.
    if (failed) {
      return new AnswerError(
        "HTTP_STATUS",
        `The gateway answered with HTTP status ${status}.`,
        details,
        mayPass(status),
      );
    }
    return new AnswerError(code, reason, details, true);
  };

  if (body.length === 0) throw fail("ANSWER_EMPTY", "The gateway's answer is empty.");
  const type = headers["content-type"];
  if (type !== undefined && !/\bjson\b/i.test(type)) throw fail("ANSWER_NOT_JSON", "The gateway's answer is not JSON.");
  const root = parseObject(body);
  if (root === undefined) throw fail("ANSWER_NOT_JSON", "The gateway's answer is not valid JSON.");

  const read = readShapes(root);
  if (read === undefined) throw fail("ANSWER_UNKNOWN", "The gateway's answer has none of the known shapes.");
  if (read.requestId !== undefined) details.requestId = read.requestId;
  if (read.code !== undefined) {
    details.gatewayCode = read.code;
    if (read.message !== undefined) details.gatewayMessage = read.message;
    const message = `The gateway refused the request: ${printable(String(read.code))}${read.message ? ` (${printable(read.message).replace(/\.$/, "")})` : ""}.`;
    throw new AnswerError("GATEWAY_REJECTED", message, details, mayPass(status) || isPassing(read.code));
  }
  if (failed || read.requestId === undefined) {
    throw fail("ANSWER_UNKNOWN", "The gateway's answer has none of the known shapes.");
  }
  return { requestId: read.requestId, status, content: read.content };
}

interface Shape {
  readonly content: Record<string, unknown>;
  readonly requestId?: string;
  readonly code?: string | number;
  readonly message?: string;
}

function readShapes(root: Record<string, unknown>): Shape | undefined {
  const response = asObject(root.Response);
  if (response !== undefined) {
    const shape = { content: response, requestId: asText(response.RequestId) };
    if (response.Error === undefined || response.Error === null) return shape;
    const error = asObject(response.Error);
    const code = error && asCode(error.Code);
    return code === undefined ? undefined : { ...shape, code, message: asText(error?.Message) };
  }
  // The retired endpoints: 0 is success.
  const code = asCode(root.code) ?? asCode(root.returnCode);
  if (code === undefined) return undefined;
  const requestId = asText(root.requestId) ?? asText(root.RequestId);
  if (code === 0 || code === "0") return { content: root, requestId: requestId ?? "" };
  return { content: root, requestId, code, message: asText(root.message) ?? asText(root.returnMessage) };
}

/** The object that JSON bytes hold; undefined if they do not, or nest deeper than anything of the gateway does. */
export function parseObject(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const text = utf8Decode(body);
    let brackets = 0;
    for (const bracket of "{[") {
      for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
        if (++brackets > MAX_BRACKETS) return undefined;
      }
    }
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : undefined;
}

function asCode(value: unknown): string | number | undefined {
  return typeof value === "number" || (typeof value === "string" && value !== "") ? value : undefined;
}

/** HTTP statuses after which the same request may succeed (RFC 9110 section 15, RFC 6585 section 4). */
function mayPass(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** The platform's list of codes is not published; these prefixes mean the same in all of Tencent Cloud's API 3.0. */
function isPassing(code: string | number): boolean {
  return (
    typeof code === "string" &&
    /^(InternalError|RequestLimitExceeded|ResourceUnavailable|ServiceUnavailable)/.test(code)
  );
}

/** RFC 9110 section 10.2.3: seconds, or a date, which is taken relative to the answer's own date. */
function readRetryAfter(value: string | undefined, date: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(value)) return Number(value);
  const until = readDate(value);
  const now = readDate(date);
  return until === undefined || now === undefined ? undefined : Math.max(0, Math.ceil((until - now) / 1000));
}

const MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec";

/** IMF-fixdate, RFC 9110 section 5.6.7. Engines differ in what Date.parse takes, so it is read here. */
function readDate(value: string | undefined): number | undefined {
  const m = /^[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT$/.exec(
    value ?? "",
  );
  if (m === null) return undefined;
  const month = MONTHS.indexOf(m[2]) / 3;
  if (!Number.isInteger(month) || month < 0) return undefined;
  return Date.UTC(Number(m[3]), month, Number(m[1]), Number(m[4]), Number(m[5]), Number(m[6]));
}

function excerpt(body: Uint8Array): string {
  const bytes = body.subarray(0, MAX_EXCERPT + 3);
  // A cut may fall into a character: up to three bytes are left off until the rest is whole.
  for (let end = Math.min(bytes.length, MAX_EXCERPT); end > 0 && end > MAX_EXCERPT - 4; end--) {
    try {
      return printable(utf8Decode(bytes.subarray(0, end)));
    } catch {}
    if (body.length <= MAX_EXCERPT) break;
  }
  let text = "";
  for (let i = 0; i < bytes.length && i < MAX_EXCERPT; i++)
    text += String.fromCharCode(bytes[i] < 0x80 ? bytes[i] : 0x2e);
  return printable(text);
}

/** At most 200 characters, without control characters that could play tricks in a log. */
function printable(text: string): string {
  return text.slice(0, MAX_EXCERPT).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");
}
