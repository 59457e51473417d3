import { DiagnoseError } from "./errors.js";
import { readHeaderLines } from "./parse-http.js";
import type { SentRequest } from "./request.js";

const fail = (reason: string): never => {
  throw new DiagnoseError("INVALID_HAR", `This is not a HAR file or an entry of one: ${reason}.`);
};

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Parses a HAR file (HTTP Archive 1.2), one of its entries, or an entry's request. Returns the last request with a
 * signature.
 * @throws {DiagnoseError} INVALID_HAR
 */
export function parseHar(text: string): SentRequest {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch {
    return fail("it is not JSON");
  }
  if (!isObject(value)) return fail("it is not an object");
  const log = isObject(value.log) ? value.log : undefined;
  const entries = log === undefined ? [value] : log.entries;
  if (!Array.isArray(entries)) return fail("log.entries is missing");
  const requests = entries.filter(isObject).map((entry) => {
    const request = isObject(entry.request) ? entry.request : entry;
    return { request, startedDateTime: entry.startedDateTime };
  });
  const found = requests.filter(({ request }) => headersOf(request)["x-tc-signature"] !== undefined).at(-1);
  if (found === undefined) return fail("no request in it has an X-TC-Signature header");
  const { request, startedDateTime } = found;
  const { method, url } = request;
  if (typeof method !== "string" || typeof url !== "string") return fail("the request has no method or no url");
  const headers = headersOf(request);
  const authority = /^[a-z]+:\/\/([^/?#@]+)/i.exec(url)?.[1];
  const host = headers.host ?? headers[":authority"] ?? authority ?? "";
  const time = typeof startedDateTime === "string" ? Date.parse(startedDateTime) : Number.NaN;
  // The server sees the Host header, which an absolute URL would override.
  const target = url.replace(/^[a-z]+:\/\/[^/?#]*/i, "").replace(/#.*$/, "");
  return {
    method,
    target: target.startsWith("/") ? target : `/${target}`,
    host,
    headers,
    body: bodyOf(request.postData),
    ...(Number.isNaN(time) ? {} : { sentAtMs: time }),
  };
}

function headersOf(request: Json): Record<string, string> {
  if (!Array.isArray(request.headers)) return {};
  const pairs = request.headers.filter(isObject).map(({ name, value }) => [String(name), String(value)] as const);
  const pseudo = Object.fromEntries(pairs.filter(([name]) => name.startsWith(":")));
  const lines = pairs.filter(([name]) => !name.startsWith(":")).map(([name, value]) => `${name}: ${value}`);
  return { ...pseudo, ...readHeaderLines(lines, fail) };
}

function bodyOf(postData: unknown): Uint8Array {
  if (!isObject(postData) || typeof postData.text !== "string") return new Uint8Array();
  return Buffer.from(postData.text, postData.encoding === "base64" ? "base64" : "utf8");
}
