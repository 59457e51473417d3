import { ResponseReader, requestHead } from "../../host/moddable/http-codec.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import type { IotHubError } from "../../src/index.js";
import type { Case } from "./case.js";

/** What came of reading bytes: a response, an error's code, or nothing yet. */
interface Outcome {
  readonly code?: string;
  readonly status?: number;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: readonly number[];
  /** Bytes behind the response. */
  readonly surplus?: number;
  readonly persistent?: boolean;
}

const MAX_BODY_BYTES = 10000;

/**
 * Reads bytes, in pieces that end at the given places.
 * @param ends whether the connection ends after them
 */
export function read(bytes: Uint8Array, cuts: readonly number[], ends: boolean): Outcome {
  const reader = new ResponseReader(MAX_BODY_BYTES);
  let from = 0;
  let used = 0;
  try {
    for (const to of [...cuts, bytes.length]) {
      const count = reader.feed(bytes.subarray(from, to));
      used += count;
      if (reader.state === "done" || count < to - from) break;
      from = to;
    }
    if (reader.state !== "done" && !(ends && reader.end())) return { code: "unfinished" };
  } catch (error) {
    return { code: (error as IotHubError).code };
  }
  const { status, headers, body, isPersistent } = reader;
  return {
    status,
    headers: Object.keys(headers).map((name) => [name, headers[name]] as const),
    body: [...body],
    surplus: bytes.length - used,
    persistent: isPersistent,
  };
}

interface Sample {
  readonly name: string;
  /** A character is a byte. */
  readonly text: string;
  readonly ends?: boolean;
  /** An error's code, or status, headers, body. */
  readonly expected: string | readonly [number, Readonly<Record<string, string>>, string];
  readonly surplus?: number;
  /** Whether the connection can be kept; true by default. */
  readonly persistent?: boolean;
}

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n`;
const te = { "transfer-encoding": "chunked" };
const malformed = "RESPONSE_MALFORMED";

/** What is read in one way only, whatever the pieces. */
export const samples: readonly Sample[] = [
  { name: "a length", text: `${OK}Content-Length: 3\r\n\r\nabc`, expected: [200, { "content-length": "3" }, "abc"] },
  {
    name: "no space after the colon",
    text: `${OK}Content-Length:3\r\n\r\nabc`,
    expected: [200, { "content-length": "3" }, "abc"],
  },
  {
    name: "white space around a value",
    text: `${OK}A: \t b c \t\r\nContent-Length: 0 \r\n\r\n`,
    expected: [200, { a: "b c", "content-length": "0" }, ""],
  },
  {
    name: "an empty value",
    text: `${OK}A:\r\nB: \r\nContent-Length: 1\r\n\r\nx`,
    expected: [200, { a: "", b: "", "content-length": "1" }, "x"],
  },
  {
    name: "an empty value at the end of the head",
    text: `${OK}Content-Length: 1\r\nA:\r\n\r\nx`,
    expected: [200, { "content-length": "1", a: "" }, "x"],
  },
  {
    name: "a folded value",
    text: `${OK}A: one\r\n two\r\n\t three \r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { a: "one two three", "content-length": "0" }, ""],
  },
  {
    name: "a value that begins folded",
    text: `${OK}Content-Length:\r\n 2\r\n\r\nhi`,
    expected: [200, { "content-length": "2" }, "hi"],
  },
  {
    name: "a fold without text",
    text: `${OK}A: one\r\n \r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { a: "one", "content-length": "0" }, ""],
  },
  { name: "a fold before any header", text: `${OK} A: one\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  {
    name: "no reason",
    text: "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
    expected: [200, { "content-length": "0" }, ""],
  },
  {
    name: "no reason and no space",
    text: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    expected: [200, { "content-length": "0" }, ""],
  },
  { name: "a NUL in the reason", text: "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "a status of two digits", text: "HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "a status of four digits", text: "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "a status in other notation", text: "HTTP/1.1 2e2 OK\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "a status below 100", text: "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "a status above 599", text: "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "another version", text: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "another protocol", text: "ICY 200 OK\r\nContent-Length: 0\r\n\r\n", expected: malformed },
  { name: "a banner", text: "SSH-2.0-OpenSSH_9.2\r\n", expected: malformed },
  { name: "an empty line first", text: `\r\n${OK}Content-Length: 0\r\n\r\n`, expected: malformed },
  {
    name: "names that objects have",
    text: `${OK}constructor: a\r\n__proto__: b\r\ntoString: c\r\nhasOwnProperty: d\r\nContent-Length: 0\r\n\r\n`,
    expected: [
      200,
      { constructor: "a", ["__proto__"]: "b", tostring: "c", hasownproperty: "d", "content-length": "0" },
      "",
    ],
  },
  {
    name: "a header that comes twice",
    text: `${OK}A: 1\r\nB: 2\r\na: 3\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { a: "1, 3", b: "2", "content-length": "0" }, ""],
  },
  {
    name: "all characters of a token",
    text: `${OK}!#$%&'*+-.^_\`|~09azAZ: 1\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { "!#$%&'*+-.^_`|~09azaz": "1", "content-length": "0" }, ""],
  },
  { name: "a space before the colon", text: `${OK}Content-Length : 3\r\n\r\nabc`, expected: malformed },
  { name: "parentheses in a name", text: `${OK}A(b): 3\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  { name: "no name", text: `${OK}: 3\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  { name: "no colon", text: `${OK}Content-Length\r\n\r\n`, expected: malformed },
  { name: "a name beyond ASCII", text: `${OK}\u00c3\u00a9: 3\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  {
    name: "a value in UTF-8",
    text: `${OK}A: \u00e6\u00b8\u00a9\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { a: "温", "content-length": "0" }, ""],
  },
  {
    name: "a value in ISO-8859-1",
    text: `${OK}A: caf\u00e9 \u00ff\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { a: "caf\u00e9 \u00ff", "content-length": "0" }, ""],
  },
  {
    name: "a tab and other control characters in a value",
    text: `${OK}A: b\tc\u0001\u007f\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { a: "b\tc\u0001\u007f", "content-length": "0" }, ""],
  },
  { name: "a NUL in a value", text: `${OK}A: b\0c\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  { name: "a CR in a value", text: `${OK}A: b\rContent-Length: 9\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  { name: "a CR before the line end", text: `${OK}A: b\r\r\nContent-Length: 0\r\n\r\n`, expected: malformed },
  {
    name: "lines that end with LF alone",
    text: "HTTP/1.1 200 OK\nA: b\nContent-Length: 3\n\nabc",
    expected: [200, { a: "b", "content-length": "3" }, "abc"],
  },
  {
    name: "line ends of both kinds",
    text: "HTTP/1.1 200 OK\r\nContent-Length: 3\n\r\nabc",
    expected: [200, { "content-length": "3" }, "abc"],
  },
  { name: "an invalid length", text: `${OK}Content-Length: abc\r\n\r\n`, expected: malformed },
  { name: "an empty length", text: `${OK}Content-Length:\r\n\r\n`, expected: malformed },
  { name: "a negative length", text: `${OK}Content-Length: -5\r\n\r\n`, expected: malformed },
  { name: "a length with a sign", text: `${OK}Content-Length: +5\r\n\r\n`, expected: malformed },
  { name: "a length in hexadecimal", text: `${OK}Content-Length: 0x5\r\n\r\n`, expected: malformed },
  { name: "a length with a fraction", text: `${OK}Content-Length: 5.0\r\n\r\n`, expected: malformed },
  {
    name: "a length with leading zeros",
    text: `${OK}Content-Length: 0003\r\n\r\nabc`,
    expected: [200, { "content-length": "0003" }, "abc"],
  },
  { name: "a length over the limit", text: `${OK}Content-Length: 10001\r\n\r\n`, expected: "RESPONSE_TOO_LARGE" },
  {
    name: "a length beyond all numbers",
    text: `${OK}Content-Length: ${"9".repeat(400)}\r\n\r\n`,
    expected: "RESPONSE_TOO_LARGE",
  },
  {
    name: "two lengths that agree",
    text: `${OK}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    expected: [200, { "content-length": "3, 3" }, "abc"],
  },
  {
    name: "two lengths that differ",
    text: `${OK}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
    expected: malformed,
  },
  { name: "two lengths in one header that differ", text: `${OK}Content-Length: 3, 4\r\n\r\nabcd`, expected: malformed },
  { name: "two lengths of which one is empty", text: `${OK}Content-Length: 3,\r\n\r\nabc`, expected: malformed },
  {
    name: "a length beside a transfer coding",
    text: `${CHUNKED}Content-Length: 3\r\n\r\n0\r\n\r\n`,
    expected: malformed,
  },
  { name: "an unknown transfer coding", text: `${OK}Transfer-Encoding: gzip\r\n\r\n`, expected: malformed },
  { name: "two transfer codings", text: `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, expected: malformed },
  { name: "chunked, twice", text: `${CHUNKED}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, expected: malformed },
  { name: "an empty transfer coding", text: `${OK}Transfer-Encoding:\r\n\r\n0\r\n\r\n`, expected: malformed },
  {
    name: "chunks",
    text: `${CHUNKED}\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n`,
    expected: [200, te, "abc0123456789"],
  },
  {
    name: "chunks, written in capitals",
    text: `${OK}transfer-encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`,
    expected: [200, { "transfer-encoding": "Chunked" }, "a"],
  },
  { name: "no chunk", text: `${CHUNKED}\r\n0\r\n\r\n`, expected: [200, te, ""] },
  {
    name: "leading zeros of a chunk's size",
    text: `${CHUNKED}\r\n0003\r\nabc\r\n000\r\n\r\n`,
    expected: [200, te, "abc"],
  },
  {
    name: "extensions of a chunk",
    text: `${CHUNKED}\r\n3;a=1;b="2"\r\nabc\r\n0 ; c\r\n\r\n`,
    expected: [200, te, "abc"],
  },
  { name: "spaces behind a chunk's size", text: `${CHUNKED}\r\n3  \r\nabc\r\n0\t\r\n\r\n`, expected: [200, te, "abc"] },
  { name: "a space before a chunk's size", text: `${CHUNKED}\r\n 3\r\nabc\r\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk without a size", text: `${CHUNKED}\r\n\r\nabc\r\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk with no more than an extension", text: `${CHUNKED}\r\n;a\r\n\r\n`, expected: malformed },
  { name: "an invalid chunk size", text: `${CHUNKED}\r\nxyz\r\n`, expected: malformed },
  { name: "a chunk's size with a prefix", text: `${CHUNKED}\r\n0x3\r\nabc\r\n0\r\n\r\n`, expected: malformed },
  { name: "a negative chunk's size", text: `${CHUNKED}\r\n-3\r\nabc\r\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk that is longer than its size", text: `${CHUNKED}\r\n3\r\nabcd\r\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk that is shorter than its size", text: `${CHUNKED}\r\n5\r\nabc\r\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk's size that ends with LF alone", text: `${CHUNKED}\r\n3\nabc\r\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk that ends with LF alone", text: `${CHUNKED}\r\n3\r\nabc\n0\r\n\r\n`, expected: malformed },
  { name: "a chunk over the limit", text: `${CHUNKED}\r\n2711\r\n`, expected: "RESPONSE_TOO_LARGE" },
  { name: "a chunk beyond all numbers", text: `${CHUNKED}\r\n${"f".repeat(400)}\r\n`, expected: "RESPONSE_TOO_LARGE" },
  {
    name: "chunks over the limit together",
    text: `${CHUNKED}\r\n2710\r\n${"x".repeat(10000)}\r\n1\r\ny\r\n0\r\n\r\n`,
    expected: "RESPONSE_TOO_LARGE",
  },
  {
    name: "trailers",
    text: `${CHUNKED}Trailer: A\r\n\r\n3\r\nabc\r\n0\r\nA: 1\r\nB:\r\n\r\n`,
    expected: [200, { ...te, trailer: "A" }, "abc"],
  },
  {
    name: "a folded trailer, and one named like a header",
    text: `${CHUNKED}\r\n3\r\nabc\r\n0\r\nA: 1\r\n 2\r\nContent-Length: 9\r\n\r\n`,
    expected: [200, te, "abc"],
  },
  { name: "a trailer that is none", text: `${CHUNKED}\r\n0\r\nno colon\r\n\r\n`, expected: malformed },
  { name: "a NUL in a trailer", text: `${CHUNKED}\r\n0\r\nA: b\0\r\n\r\n`, expected: malformed },
  { name: "an extension without end", text: `${CHUNKED}\r\n3;${"a".repeat(17000)}`, expected: "RESPONSE_TOO_LARGE" },
  {
    name: "extensions without end",
    text: `${CHUNKED}\r\n${`1;${"a".repeat(200)}\r\nx\r\n`.repeat(100)}`,
    expected: "RESPONSE_TOO_LARGE",
  },
  {
    name: "trailers without end",
    text: `${CHUNKED}\r\n0\r\n${`A: ${"a".repeat(200)}\r\n`.repeat(100)}`,
    expected: "RESPONSE_TOO_LARGE",
  },
  {
    name: "until the end",
    text: `${OK}A: b\r\n\r\nabc`,
    ends: true,
    expected: [200, { a: "b" }, "abc"],
    persistent: false,
  },
  { name: "until the end, of nothing", text: `${OK}\r\n`, ends: true, expected: [200, {}, ""], persistent: false },
  {
    name: "until the end, over the limit",
    text: `${OK}\r\n${"x".repeat(10001)}`,
    ends: true,
    expected: "RESPONSE_TOO_LARGE",
  },
  { name: "until an end that does not come", text: `${OK}\r\nabc`, expected: "unfinished" },
  { name: "an end in the body", text: `${OK}Content-Length: 3\r\n\r\nab`, ends: true, expected: "unfinished" },
  { name: "an end in a chunk", text: `${CHUNKED}\r\n3\r\nab`, ends: true, expected: "unfinished" },
  { name: "an end before the last chunk", text: `${CHUNKED}\r\n3\r\nabc\r\n`, ends: true, expected: "unfinished" },
  { name: "an end before the empty line", text: `${OK}A: b\r\n`, ends: true, expected: "unfinished" },
  {
    name: "status 204 with a length",
    text: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    expected: [204, { "content-length": "5" }, ""],
  },
  {
    name: "status 304 with chunks announced",
    text: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    expected: [304, te, ""],
  },
  {
    name: "status 204 and a body",
    text: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    expected: [204, { "content-length": "5" }, ""],
    surplus: 5,
  },
  { name: "status 205", text: "HTTP/1.1 205 Reset Content\r\n\r\n", expected: [205, {}, ""], persistent: false },
  {
    name: "status 205 with an empty body",
    text: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
    expected: [205, { "content-length": "0" }, ""],
  },
  {
    name: "status 205 with a body",
    text: "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nhi",
    expected: [205, { "content-length": "2" }, "hi"],
  },
  {
    name: "interim responses",
    text: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n${OK}Content-Length: 1\r\n\r\nx`,
    expected: [200, { "content-length": "1" }, "x"],
  },
  { name: "an interim response alone", text: "HTTP/1.1 100 Continue\r\n\r\n", expected: "unfinished" },
  {
    name: "interim responses without end",
    text: "HTTP/1.1 100 Continue\r\n\r\n".repeat(700),
    expected: "RESPONSE_TOO_LARGE",
  },
  { name: "an upgrade", text: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", expected: malformed },
  {
    name: "a response behind it",
    text: `${OK}Content-Length: 1\r\n\r\nx${OK}Content-Length: 1\r\n\r\ny`,
    expected: [200, { "content-length": "1" }, "x"],
    surplus: 39,
  },
  {
    name: "an empty line behind it",
    text: `${OK}Content-Length: 1\r\n\r\nx\r\n`,
    expected: [200, { "content-length": "1" }, "x"],
    surplus: 2,
  },
  { name: "bytes behind the last chunk", text: `${CHUNKED}\r\n0\r\n\r\n!`, expected: [200, te, ""], surplus: 1 },
  {
    name: "the end of the connection, announced",
    text: `${OK}Connection: close\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { connection: "close", "content-length": "0" }, ""],
    persistent: false,
  },
  {
    name: "the end of the connection among others",
    text: `${OK}Connection: keep-alive, Close\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { connection: "keep-alive, Close", "content-length": "0" }, ""],
    persistent: false,
  },
  {
    name: "what only looks like close",
    text: `${OK}Connection: close-timeout, xclose\r\nContent-Length: 0\r\n\r\n`,
    expected: [200, { connection: "close-timeout, xclose", "content-length": "0" }, ""],
  },
  {
    name: "HTTP/1.0",
    text: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    expected: [200, { "content-length": "1" }, "x"],
    persistent: false,
  },
  {
    name: "HTTP/1.0 that keeps the connection",
    text: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
    expected: [200, { connection: "Keep-Alive", "content-length": "1" }, "x"],
  },
  {
    name: "HTTP/1.0 with chunks",
    text: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    expected: [200, { connection: "keep-alive", ...te }, "x"],
    persistent: false,
  },
  { name: "a header without end", text: `${OK}A: ${"a".repeat(17000)}`, expected: "RESPONSE_TOO_LARGE" },
  { name: "a reason without end", text: `HTTP/1.1 200 ${"a".repeat(17000)}`, expected: "RESPONSE_TOO_LARGE" },
  { name: "129 headers", text: `${OK}${"A: b\r\n".repeat(129)}\r\n`, expected: "RESPONSE_TOO_LARGE" },
];

/** Each character as a byte; not utf8(), which has two bytes for some. */
export function latin1(text: string): Uint8Array {
  const bytes = utf8(text);
  return bytes.length === text.length ? bytes : Uint8Array.from([...text], (character) => character.charCodeAt(0));
}

function expectedOf({ expected, surplus = 0, persistent = true }: Sample): Outcome {
  if (typeof expected === "string") return { code: expected };
  const [status, headers, body] = expected;
  const pairs = Object.keys(headers).map((name) => [name, headers[name]] as const);
  return { status, headers: pairs, body: [...latin1(body)], surplus, persistent };
}

/** Samples that have no more bytes are cut at every place. */
const CUT_BYTES = 400;

export const cases: readonly Case[] = [
  {
    name: "samples, whole",
    heapBytes: 262144,
    run(check) {
      for (const sample of samples) {
        check.equal(read(latin1(sample.text), [], sample.ends === true), expectedOf(sample), sample.name);
      }
    },
  },
  {
    name: "samples, cut at every place",
    heapBytes: 262144,
    run(check) {
      for (const sample of samples) {
        const bytes = latin1(sample.text);
        if (bytes.length > CUT_BYTES) continue;
        const expected = JSON.stringify(expectedOf(sample));
        let same = 0;
        for (let cut = 0; cut <= bytes.length; cut++) {
          if (JSON.stringify(read(bytes, [cut], sample.ends === true)) === expected) same++;
        }
        check.equal(same, bytes.length + 1, sample.name);
      }
    },
  },
  {
    name: "samples, in small pieces",
    heapBytes: 262144,
    run(check) {
      for (const sample of samples) {
        const bytes = latin1(sample.text);
        // Of large ones, the list of places alone would be too much for a device.
        const step = bytes.length > CUT_BYTES ? 97 : 1;
        const cuts = Array.from({ length: Math.floor(bytes.length / step) }, (_, i) => i * step);
        check.equal(read(bytes, cuts, sample.ends === true), expectedOf(sample), sample.name);
      }
    },
  },
  {
    name: "100 headers of 80 bytes",
    heapBytes: 131072,
    run(check) {
      const lines = Array.from({ length: 100 }, (_, i) => `X-Header-${100 + i}: ${"v".repeat(64)}\r\n`);
      check.equal(lines[0].length, 80);
      const bytes = utf8(`${OK}${lines.join("")}Content-Length: 2\r\n\r\nok`);
      const reader = new ResponseReader(100);
      check.equal(reader.feed(bytes), bytes.length);
      check.equal([reader.state, reader.status, utf8Decode(reader.body)], ["done", 200, "ok"]);
      check.equal(Object.keys(reader.headers).length, 101);
      check.equal(reader.headers["x-header-199"], "v".repeat(64));
    },
  },
  {
    name: "ten thousand chunks of one byte",
    heapBytes: 262144,
    run(check) {
      const reader = new ResponseReader(MAX_BODY_BYTES);
      reader.feed(utf8(`${CHUNKED}\r\n`));
      const chunk = utf8("1\r\nx\r\n");
      for (let i = 0; i < 10000; i++) reader.feed(chunk);
      reader.feed(utf8("0\r\n\r\n"));
      check.equal([reader.state, reader.body.length], ["done", 10000]);
    },
  },
  {
    name: "how long a server keeps a connection",
    run(check) {
      const seconds = (value: string) => {
        const reader = new ResponseReader(0);
        reader.feed(utf8(`${OK}Keep-Alive: ${value}\r\nContent-Length: 0\r\n\r\n`));
        return reader.keepAliveSeconds;
      };
      check.equal(
        [
          "timeout=5",
          "timeout=5, max=100",
          "max=9,Timeout = 60 ",
          "timeout=0",
          "max=100",
          "",
          "timeout",
          "timeout=-5",
        ].map(seconds),
        [5, 5, 60, 0, undefined, undefined, undefined, undefined],
      );
    },
  },
  {
    name: "mutations: the same on every engine",
    each: true,
    heapBytes: 262144,
    run(check, data: readonly (readonly [string, readonly number[], Outcome])[]) {
      for (const [hex, cuts, expected] of data) {
        const bytes = new Uint8Array(hex.length / 2);
        for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
        check.equal(JSON.stringify(read(bytes, cuts, true)), JSON.stringify(expected), hex);
        check.equal(JSON.stringify(read(bytes, [], true)), JSON.stringify(expected), hex);
      }
    },
  },
  {
    name: "the head of a request",
    run(check) {
      const request = {
        scheme: "http",
        host: "gateway.test",
        port: 80,
        method: "POST",
        path: "/device/publish",
        headers: { "Content-Type": "application/json", "X-Name": "温" },
        body: utf8("温"),
      } as const;
      const text = (changes: object) => utf8Decode(requestHead({ ...request, ...changes }));
      check.equal(
        text({}),
        "POST /device/publish HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\nContent-Type: application/json\r\nX-Name: 温\r\n\r\n",
      );
      for (const [scheme, port, expected] of [
        ["https", 443, "gateway.test"],
        ["https", 80, "gateway.test:80"],
        ["http", 443, "gateway.test:443"],
        ["http", 8080, "gateway.test:8080"],
      ]) {
        check.equal(text({ scheme, port }).split("\r\n")[1], `Host: ${expected}`);
      }
      for (const value of ["a\r\nX: y", "a\n", "\r"]) {
        check.throws("INVALID_OPTION", () => requestHead({ ...request, headers: { "X-A": value } }));
      }
    },
  },
];
