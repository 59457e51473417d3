import { DiagnoseError } from "./errors.js";
import { parseCurl, type ReadFile } from "./parse-curl.js";
import { parseHar } from "./parse-har.js";
import { parseHttp } from "./parse-http.js";
import { parseRecord } from "./parse-record.js";
import { parseTrace } from "./parse-trace.js";
import type { SentRequest } from "./request.js";

export const requestFormats = ["curl", "http", "har", "trace", "record"] as const;
export type RequestFormat = (typeof requestFormats)[number];

/** Detects the format of a request; returns undefined if it is unknown. */
export function detectFormat(text: string): RequestFormat | undefined {
  const start = text.replace(/^\ufeff/, "").trimStart();
  if (/^(?:#[^\n]*\n\s*)*(?:\S*\/)?curl(?:\.exe)?\s/.test(start)) return "curl";
  if (/^[A-Za-z]+ \S+ HTTP\/[0-9.]+\s/.test(start)) return "http";
  if (/^\{"(?:recording":1|type":"(?:request|tlsError|dropped|fault)")[,}]/.test(start)) return "record";
  if (/"type"\s*:\s*"sign"/.test(start)) return "trace";
  if (start.startsWith("{") && /"(?:log|request|headers)"\s*:/.test(start)) return "har";
  return undefined;
}

/**
 * Parses a request in any supported format.
 * @param options `format` by default detected from the text; `readFile` for files in a curl command; `body` for a trace; `index` of a
 * request in a recording, by default the last one with a wrong signature
 * @throws {DiagnoseError} UNKNOWN_FORMAT, INVALID_CURL, INVALID_HTTP, INVALID_HAR, INVALID_TRACE,
 * INVALID_RECORD
 */
export function parseRequest(
  bytes: Uint8Array,
  options: {
    readonly format?: RequestFormat;
    readonly readFile?: ReadFile;
    readonly body?: Uint8Array;
    readonly index?: number;
  } = {},
): SentRequest {
  const text = Buffer.from(bytes).toString("utf8");
  const format = options.format ?? detectFormat(text);
  if (format === "curl") return parseCurl(text, options.readFile);
  if (format === "http") return parseHttp(bytes);
  if (format === "har") return parseHar(text);
  if (format === "record") return parseRecord(text, options.index);
  if (format === "trace") return parseTrace(text, options.body);
  throw new DiagnoseError(
    "UNKNOWN_FORMAT",
    "The request is neither a curl command nor raw HTTP, HAR, a trace with a sign event, or a gateway's recording.",
  );
}
