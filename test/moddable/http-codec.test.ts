/** The reader of responses against Node's own parser, and where the two differ on purpose. */

import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { latin1, read, samples } from "../conformance/http.cases.js";
import { mutations } from "../conformance/node/http.data.js";
import { Llhttp, type LlhttpOutcome } from "../support/llhttp.js";

/** Why the reader takes what llhttp refuses; each tells by the bytes whether it applies. */
const taken: Readonly<Record<string, RegExp>> = {
  "folded values are joined (RFC 9112 5.2 asks for it; old servers fold)": /\n[ \t]/,
  "LF alone ends a line of the head (RFC 9112 2.2 allows it; small servers write it)": /(^|[^\r])\n/,
  "control characters in a value are kept (RFC 9110 5.5 allows it)": /[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]/,
  "lengths that agree count once (RFC 9112 6.3 allows it)":
    /content-length:.*content-length:|content-length: *(\d+),/is,
  "a trailer is dropped, whatever its name (RFC 9112 7.1.2)": /\n0.*\n(content-length|transfer-encoding):/is,
  "white space behind a chunk's size is ignored (RFC 9112 7.1.1 has it before an extension)": /\n[0-9a-f]+[ \t]/i,
};

/** Why the reader refuses what llhttp takes. */
const refused: Readonly<Record<string, RegExp>> = {
  "an empty line before a response belongs to nobody": /^[\r\n]/,
  "a status must be one of HTTP's five classes (RFC 9110 15)": /HTTP\/1\.[01] (0|[6-9])/,
  "the version must be 1.0 or 1.1, in the form that they have": /^(?!HTTP\/1\.[01] )/,
  "a version after an interim response, too": /\r\nHTTP\/(?!1\.[01] )/,
  "a NUL in the reason phrase is refused as everywhere": /^HTTP\/1\.[01] \d{3}[^\n]*\0/m,
  "a transfer coding other than chunked cannot be decoded": /transfer-encoding:(?![ \t]*chunked[ \t]*\r?\n)/i,
  "chunked twice is no coding that exists": /transfer-encoding:.*transfer-encoding:/is,
  "another protocol was not asked for": /HTTP\/1\.[01] 101/,
  "a body, a head or a number of headers is over the limit":
    /.{5000}|[a-f0-9]{4,}|content-length: *\d{5}|(A: b\r\n){129}/is,
};

const llhttp = new Llhttp();
beforeAll(() => llhttp.open());
afterAll(() => llhttp.close());

/** @returns what differs without a reason; undefined if nothing does */
async function difference(bytes: Uint8Array, reasons: Set<string>): Promise<object | undefined> {
  const ours = read(bytes, [], true);
  // What follows the response, llhttp would take for another.
  const theirs = await llhttp.read(ours.code ? bytes : bytes.subarray(0, bytes.length - (ours.surplus ?? 0)));
  const text = Buffer.from(bytes).toString("latin1");
  const isTaken = ours.code === undefined;
  if (isTaken === (theirs.verdict === "response")) {
    if (!isTaken) return undefined;
    const headers = Object.fromEntries(ours.headers ?? []);
    const same: LlhttpOutcome = {
      verdict: "response",
      status: ours.status,
      headers: Object.assign(Object.create(null), headers),
      body: Buffer.from(ours.body ?? []),
    };
    return isSame(same, theirs) ? undefined : { text, ours: same, theirs };
  }
  const reason = Object.entries(isTaken ? taken : refused).find(([, applies]) => applies.test(text));
  if (reason === undefined) return { text, ours, theirs };
  reasons.add(reason[0]);
  return undefined;
}

function isSame(a: LlhttpOutcome, b: LlhttpOutcome): boolean {
  const sorted = ({ headers = {} }: LlhttpOutcome) => JSON.stringify(Object.entries(headers).sort());
  return a.status === b.status && sorted(a) === sorted(b) && a.body?.equals(b.body ?? Buffer.of()) === true;
}

test("samples are parsed like by llhttp, except for the listed reasons, each of which applies", async () => {
  const reasons = new Set<string>();
  for (const { name, text } of samples) {
    expect({ name, difference: await difference(latin1(text), reasons) }).toEqual({ name });
  }
  // Which only damaged responses have.
  const unused = new Set([
    "a version after an interim response, too",
    "a trailer is dropped, whatever its name (RFC 9112 7.1.2)",
  ]);
  expect([...reasons].sort()).toEqual(
    [...Object.keys(taken), ...Object.keys(refused)].filter((each) => !unused.has(each)).sort(),
  );
});

test("modified responses are parsed like by llhttp, except for the listed reasons", async () => {
  const different: object[] = [];
  const count = Number(process.env.HTTP_MUTATIONS ?? 500);
  for (const bytes of mutations(Number(process.env.HTTP_SEED ?? 20261128), count)) {
    const found = await difference(bytes, new Set());
    if (found) different.push(found);
  }
  expect(different).toEqual([]);
});

test("modified responses are parsed the same in any pieces", () => {
  for (const bytes of mutations(4711, 100)) {
    const whole = read(bytes, [], true);
    for (let cut = 0; cut <= bytes.length; cut++) expect(read(bytes, [cut], true)).toEqual(whole);
  }
});
