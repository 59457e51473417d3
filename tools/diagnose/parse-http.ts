import { DiagnoseError } from "./errors.js";
import type { SentRequest } from "./request.js";

const fail = (reason: string): never => {
  throw new DiagnoseError("INVALID_HTTP", `This is not an HTTP request: ${reason}.`);
};

/**
 * Parses an HTTP/1.1 request: request line, headers, an empty line, and the body byte for byte. Lines of the head may
 * end with LF, as written by editors.
 * @throws {DiagnoseError} INVALID_HTTP
 */
export function parseHttp(bytes: Uint8Array): SentRequest {
  const all = Buffer.from(bytes);
  const latin = all.toString("latin1").replace(/^\xef\xbb\xbf/, "");
  const shift = all.length - latin.length;
  const end = /\r?\n\r?\n/.exec(latin);
  const head = end === null ? latin : latin.slice(0, end.index);
  const [requestLine, ...headerLines] = head
    .split(/\r?\n/)
    .filter((line, index, { length }) => line || index < length - 1);
  const match = /^([A-Za-z]+) (\S+) HTTP\/[0-9.]+$/.exec((requestLine ?? "").trim());
  if (match === null) return fail("its first line must be a request line, such as POST /device/publish HTTP/1.1");
  const headers = readHeaderLines(headerLines, fail);
  const sent = end === null ? Buffer.alloc(0) : all.subarray(shift + end.index + end[0].length);
  const body = /\bchunked\b/i.test(headers["transfer-encoding"] ?? "")
    ? dechunk(sent)
    : cut(sent, headers["content-length"]);
  return { method: match[1], target: match[2], host: headers.host ?? "", headers, body };
}

/** Parses headers; names in lower case. The first value of a repeated header counts, as for Node and most gateways. */
export function readHeaderLines(lines: readonly string[], fail: (reason: string) => never): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const at = line.indexOf(":");
    const name = line.slice(0, at).trim().toLowerCase();
    if (at < 1 || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) return fail("a header is not of the form Name: value");
    headers[name] ??= line.slice(at + 1).trim();
  }
  return headers;
}

/** Truncates the body to Content-Length, since an editor may have added a line feed at the end of the file. */
function cut(body: Buffer, length: string | undefined): Buffer {
  if (length === undefined) return body;
  if (!/^[0-9]{1,9}$/.test(length)) return fail("Content-Length is not a number");
  if (Number(length) > body.length) {
    return fail(`Content-Length is ${length}, but the body has only ${body.length} bytes`);
  }
  return body.subarray(0, Number(length));
}

function dechunk(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = body.indexOf("\r\n", at);
    const size = end < 0 ? "" : body.toString("latin1", at, end).split(";")[0].trim();
    if (!/^[0-9a-fA-F]{1,7}$/.test(size)) return fail("invalid chunk size");
    const length = Number.parseInt(size, 16);
    if (length === 0) return Buffer.concat(parts);
    if (end + 2 + length > body.length) return fail("its last chunk is truncated");
    parts.push(body.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}
