/**
 * HTTP/1.1 client codec (RFC 9112): encodes request heads and parses one response incrementally. No I/O, no timers, no
 * SDK.
 *
 * Choices that the RFC leaves open:
 * - A line of the head or a trailer may end with a bare LF (section 2.2), as some small servers send it. Chunk framing
 *   requires CRLF: otherwise two parsers may disagree on where a body ends.
 * - NUL and a bare CR are rejected everywhere; other control characters in a value are kept (RFC 9110 section 5.5).
 * - Repeated equal lengths count as one; different lengths, or a length with a transfer coding, are rejected (6.3).
 * - Folded values are joined by one space (5.2). Trailers are validated and discarded (7.1.2).
 * - Non-ASCII bytes in a value are decoded as UTF-8 if valid, otherwise as ISO-8859-1.
 */

import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { IotHubError, NetworkError } from "../../src/errors.js";
import type { HttpRequest } from "../../src/host.js";

/** Maximum bytes of status line, headers, chunk framing and trailers of one response, including interim responses. */
export const MAX_HEAD_BYTES = 16384;
/** Maximum header lines of one response, including trailers. */
export const MAX_HEADERS = 128;

/** Bytes of framing per chunk that do not count towards the limit. */
const CHUNK_LINE_BYTES = 20;
const NOTHING = new Uint8Array(0);

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const COLON = 0x3a;
const SEMICOLON = 0x3b;

/**
 * Encodes the head of a request, including the empty line.
 * @throws {IotHubError} INVALID_OPTION if a header contains a line break
 */
export function requestHead({ scheme, host, port, method, path, headers, body }: HttpRequest): Uint8Array {
  const authority = port === (scheme === "https" ? 443 : 80) ? host : `${host}:${port}`;
  let head = `${method} ${path} HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: ${body.length}\r\n`;
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value.includes("\n") || value.includes("\r")) {
      throw new IotHubError("INVALID_OPTION", `Header ${name} must not contain a line break.`);
    }
    head += `${name}: ${value}\r\n`;
  }
  return utf8(`${head}\r\n`);
}

/** `head` until the empty line, `body` until its last byte, `done`. */
export type ReaderState = "head" | "body" | "done";

/** Type of the next line. */
type Line = "status" | "header" | "chunk-size" | "chunk-end" | "trailer";

/** Incremental parser of one response. After an exception, close the connection. */
export class ResponseReader {
  readonly #maxBodyBytes: number;
  #state: ReaderState = "head";
  #line: Line = "status";
  /** Beginning of an incomplete line. */
  #partial = NOTHING;
  #partialLength = 0;
  #headBytes = 0;
  #headerCount = 0;
  #status = 0;
  #isHttp10 = false;
  #headers = newHeaders();
  #lastName: string | undefined;
  /** Remaining bytes of the body or chunk. */
  #remaining = 0;
  #body = NOTHING;
  #bodyLength = 0;
  #isPersistent = true;

  /** @param maxBodyBytes maximum size of the body in bytes */
  constructor(maxBodyBytes: number) {
    this.#maxBodyBytes = maxBodyBytes;
  }

  get state(): ReaderState {
    return this.#state;
  }

  /** Status code, 200 to 599; valid once the head was read. */
  get status(): number {
    return this.#status;
  }

  /**
   * Headers with lower-case names; repeated values are joined by ", ". No prototype, so that every property is a
   * header.
   */
  get headers(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  /** Body bytes received so far. */
  get body(): Uint8Array {
    return this.#bodyLength === this.#body.length ? this.#body : this.#body.slice(0, this.#bodyLength);
  }

  /** Whether the server keeps the connection open after this response. */
  get isPersistent(): boolean {
    return this.#isPersistent;
  }

  /** Seconds after which the server closes an idle connection, from `Keep-Alive: timeout=`; undefined if absent. */
  get keepAliveSeconds(): number | undefined {
    for (const parameter of (this.#headers["keep-alive"] ?? "").toLowerCase().split(",")) {
      const [name, value = ""] = parameter.split("=");
      const digits = value.trim();
      if (name.trim() === "timeout" && isDecimal(digits)) return Number(digits);
    }
    return undefined;
  }

  /**
   * Parses bytes of the response.
   * @returns how many bytes belong to this response; the rest is surplus
   * @throws {NetworkError} RESPONSE_MALFORMED, RESPONSE_TOO_LARGE
   */
  feed(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#state !== "done") {
      at = this.#remaining > 0 ? this.#takeBody(bytes, at) : this.#takeLine(bytes, at);
    }
    return at;
  }

  /**
   * Must be called when the connection has ended.
   * @returns true if the end of the connection completes the body; false if the response is incomplete
   */
  end(): boolean {
    if (this.#remaining === Number.POSITIVE_INFINITY) this.#finish();
    return this.#state === "done";
  }

  #finish(): void {
    this.#state = "done";
    this.#remaining = 0;
    this.#partial = NOTHING;
  }

  #takeBody(bytes: Uint8Array, at: number): number {
    const count = Math.min(this.#remaining, bytes.length - at);
    const length = this.#bodyLength + count;
    if (length > this.#maxBodyBytes) throw this.#tooLarge();
    if (length > this.#body.length) {
      const grown = new Uint8Array(Math.min(this.#maxBodyBytes, Math.max(256, length, 2 * this.#body.length)));
      grown.set(this.#body.subarray(0, this.#bodyLength));
      this.#body = grown;
    }
    this.#body.set(bytes.subarray(at, at + count), this.#bodyLength);
    this.#bodyLength = length;
    this.#remaining -= count;
    if (this.#remaining === 0) {
      if (this.#line === "chunk-size") this.#line = "chunk-end";
      else this.#finish();
    }
    return at + count;
  }

  #takeLine(bytes: Uint8Array, at: number): number {
    const end = bytes.indexOf(LF, at) + 1;
    const until = end === 0 ? bytes.length : end;
    this.#headBytes += until - at;
    if (this.#headBytes > MAX_HEAD_BYTES) {
      throw new NetworkError(
        "RESPONSE_TOO_LARGE",
        "read",
        `The head of the response is larger than ${MAX_HEAD_BYTES} bytes.`,
      );
    }
    if (end > 0 && this.#partialLength === 0) {
      this.#readLine(bytes.subarray(at, end));
      return until;
    }
    const length = this.#partialLength + until - at;
    if (length > this.#partial.length) {
      const grown = new Uint8Array(Math.max(128, length, 2 * this.#partial.length));
      grown.set(this.#partial.subarray(0, this.#partialLength));
      this.#partial = grown;
    }
    this.#partial.set(bytes.subarray(at, until), this.#partialLength);
    this.#partialLength = length;
    if (end > 0) {
      this.#partialLength = 0;
      this.#readLine(this.#partial.subarray(0, length));
    }
    return until;
  }

  /** @param line including its line end */
  #readLine(line: Uint8Array): void {
    const hasCr = line[line.length - 2] === CR;
    const end = line.length - (hasCr ? 2 : 1);
    const cr = line.indexOf(CR);
    if (cr >= 0 && cr < end) throw malformed("a CR without LF");
    if (line.indexOf(0) >= 0) throw malformed("a NUL");
    switch (this.#line) {
      case "status":
        this.#readStatus(line, end);
        break;
      case "header":
        if (end === 0) this.#endHead();
        else this.#readHeader(line, end);
        break;
      case "chunk-size":
        if (!hasCr) throw malformed("invalid chunk size");
        this.#readChunkSize(line, end);
        break;
      case "chunk-end":
        if (!hasCr || end > 0) throw malformed("chunk longer than its size");
        this.#headBytes -= line.length;
        this.#line = "chunk-size";
        break;
      case "trailer":
        if (end === 0) this.#finish();
        else this.#readHeader(line, end);
    }
  }

  #readStatus(line: Uint8Array, end: number): void {
    // "HTTP/1.1 200", optionally followed by a space and a reason.
    const text = end >= 12 ? decode(line.subarray(0, 9)) : "";
    if ((text !== "HTTP/1.1 " && text !== "HTTP/1.0 ") || (end > 12 && line[12] !== SPACE)) {
      throw malformed("invalid status line");
    }
    const status = readDecimal(line.subarray(9, 12));
    if (status === undefined || status < 100 || status > 599) throw malformed("invalid status code");
    this.#status = status;
    this.#isHttp10 = line[7] === 0x30;
    this.#line = "header";
  }

  #readHeader(line: Uint8Array, end: number): void {
    const isTrailer = this.#line === "trailer";
    if (line[0] === SPACE || line[0] === TAB) {
      const name = this.#lastName;
      if (name === undefined) throw malformed("folded line without a header");
      const more = fieldValue(line, 0, end);
      if (isTrailer || more === "") return;
      const value = this.#headers[name];
      this.#headers[name] = value === "" ? more : `${value} ${more}`;
      return;
    }
    if (++this.#headerCount > MAX_HEADERS) {
      throw new NetworkError("RESPONSE_TOO_LARGE", "read", `The response has more than ${MAX_HEADERS} headers.`);
    }
    const colon = line.indexOf(COLON);
    const name = colon > 0 ? decode(line.subarray(0, colon)) : "";
    if (!isToken(name)) throw malformed("invalid header name");
    this.#lastName = name.toLowerCase();
    if (isTrailer) return;
    const value = fieldValue(line, colon + 1, end);
    const before = this.#headers[this.#lastName];
    this.#headers[this.#lastName] = before === undefined ? value : `${before}, ${value}`;
  }

  #endHead(): void {
    this.#lastName = undefined;
    if (this.#status < 200) {
      if (this.#status === 101) throw malformed("unexpected protocol upgrade (101)");
      // RFC 9110 section 15.2: the final response follows.
      this.#headers = newHeaders();
      this.#line = "status";
      return;
    }
    const { connection = "", "transfer-encoding": coding, "content-length": length } = this.#headers;
    this.#isPersistent = this.#isHttp10 ? hasToken(connection, "keep-alive") : true;
    if (hasToken(connection, "close")) this.#isPersistent = false;
    this.#state = "body";
    // RFC 9112 section 6.3 in its order, after the cases that cannot be recovered.
    if (coding !== undefined && length !== undefined) throw malformed("both a length and a transfer coding");
    if (coding !== undefined && coding.toLowerCase() !== "chunked") throw malformed("unknown transfer coding");
    const bytes = length === undefined ? undefined : readLength(length);
    if (this.#status === 204 || this.#status === 304) {
      this.#finish();
    } else if (coding !== undefined) {
      // Section 6.1: HTTP/1.0 has no transfer codings; do not reuse the connection of a server that sends one.
      if (this.#isHttp10) this.#isPersistent = false;
      this.#line = "chunk-size";
    } else if (bytes !== undefined) {
      if (bytes > this.#maxBodyBytes) throw this.#tooLarge();
      if (bytes === 0) {
        this.#finish();
      } else {
        this.#body = new Uint8Array(bytes);
        this.#remaining = bytes;
      }
    } else {
      this.#isPersistent = false;
      // RFC 9110 section 15.3.6: this status has no content, whatever the headers say.
      if (this.#status === 205) this.#finish();
      else this.#remaining = Number.POSITIVE_INFINITY;
    }
  }

  #readChunkSize(line: Uint8Array, end: number): void {
    let size = 0;
    let at = 0;
    for (; at < end; at++) {
      const digit = hexDigit(line[at]);
      if (digit < 0) break;
      size = size * 16 + digit;
      if (size > this.#maxBodyBytes) throw this.#tooLarge();
    }
    const digits = at;
    // Some senders pad the size with spaces.
    while (line[at] === SPACE || line[at] === TAB) at++;
    if (digits === 0 || (at < end && line[at] !== SEMICOLON)) throw malformed("invalid chunk size");
    this.#headBytes -= Math.min(line.length, CHUNK_LINE_BYTES);
    this.#remaining = size;
    if (size === 0) this.#line = "trailer";
  }

  #tooLarge(): NetworkError {
    return new NetworkError("RESPONSE_TOO_LARGE", "read", `The response is larger than ${this.#maxBodyBytes} bytes.`);
  }
}

function malformed(reason: string): NetworkError {
  return new NetworkError("RESPONSE_MALFORMED", "read", `Malformed HTTP response: ${reason}.`);
}

function newHeaders(): Record<string, string> {
  return Object.create(null);
}

/** Returns the trimmed text of a part of a line. */
function fieldValue(line: Uint8Array, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && (line[start] === SPACE || line[start] === TAB)) start++;
  while (end > start && (line[end - 1] === SPACE || line[end - 1] === TAB)) end--;
  return decode(line.subarray(start, end));
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes);
  } catch {
    // Converts ISO-8859-1 to UTF-8 bytes: on XS, appending characters copies the string each time.
    const wide = new Uint8Array(2 * bytes.length);
    let length = 0;
    for (const byte of bytes) {
      if (byte >= 0x80) wide[length++] = 0xc0 | (byte >> 6);
      wide[length++] = byte < 0x80 ? byte : 0x80 | (byte & 0x3f);
    }
    return utf8Decode(wide.subarray(0, length));
  }
}

/** RFC 9110 section 5.6.2. */
function isToken(name: string): boolean {
  // Fast path with a native call: apart from parentheses, it changes every character that is not allowed in a token.
  if (encodeURIComponent(name) === name) return name !== "" && !name.includes("(") && !name.includes(")");
  for (const character of name) {
    const isWord = encodeURIComponent(character) === character && character !== "(" && character !== ")";
    if (!isWord && !"#$%&+^`|".includes(character)) return false;
  }
  return true;
}

/** Whether a list of tokens contains one (RFC 9110 section 5.6.1). */
function hasToken(list: string, token: string): boolean {
  return list !== "" && list.split(",").some((each) => each.trim().toLowerCase() === token);
}

function readLength(header: string): number {
  const [first, ...others] = header.split(",").map((each) => each.trim());
  if (!isDecimal(first) || others.some((each) => !isDecimal(each) || Number(each) !== Number(first))) {
    throw malformed("invalid Content-Length");
  }
  return Number(first);
}

function isDecimal(text: string): boolean {
  for (const character of text) if (character < "0" || character > "9") return false;
  return text !== "";
}

function readDecimal(digits: Uint8Array): number | undefined {
  let value = 0;
  for (const digit of digits) {
    if (digit < 0x30 || digit > 0x39) return undefined;
    value = value * 10 + digit - 0x30;
  }
  return value;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
