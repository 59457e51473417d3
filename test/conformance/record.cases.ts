import { base64Decode } from "../../src/crypto/base64.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { decodeRecord, encodeRecord, type StoredMessage, storedBytes } from "../../src/outbox/record.js";
import type { Case } from "./case.js";

const TIME_MS = 1793530511232;
const message = Object.freeze({ topic: "data", qos: 1 as const, endpoint: 0, timeMs: TIME_MS });
const board = [3999, 7680] as const;

/** What a storage gives back that keeps UTF-8. */
const stored = (text: string): string => utf8Decode(utf8(text));

function read(text: string): StoredMessage {
  const found = decodeRecord(7, stored(text));
  if (found === undefined || found === "newer") throw new Error(`not a record: ${text}`);
  return found;
}

export const cases: readonly Case[] = [
  {
    name: "a stored text is sent as the text that it was",
    run(check, texts: readonly (readonly string[])[]) {
      for (const pieces of texts) {
        const payload = pieces.join("");
        const record = encodeRecord({ ...message, payload }, ...board);
        const what = JSON.stringify(payload);
        check.ok(!record.text.includes("\0"), `NUL in ${what}`);
        check.equal(record.bytes, storedBytes(utf8(record.text).length), what);
        const found = read(record.text);
        // By bytes: on XS, two joined halves and the character are different texts.
        check.equal(utf8(found.payload), utf8(payload), what);
        check.equal(found.payloadEncoding, undefined);
        check.equal([found.sequence, found.topic, found.qos, found.endpoint, found.timeMs], [7, "data", 1, 0, TIME_MS]);
      }
    },
  },
  {
    name: "stored bytes are Base64, as they are sent",
    run(check) {
      for (const length of [0, 1, 2, 3, 100]) {
        const payload = Uint8Array.from({ length }, (_, i) => i * 37);
        const found = read(encodeRecord({ ...message, payload, qos: 0, endpoint: 1 }, ...board).text);
        check.equal(base64Decode(found.payload), payload);
        check.equal([found.payloadEncoding, found.qos, found.endpoint], ["Base64", 0, 1]);
      }
    },
  },
  {
    name: "the format that later versions must read",
    run(check) {
      const fixtures: [string, string | Uint8Array, Partial<StoredMessage>][] = [
        ['11mvxprbeo#data#{"t":21.5}', '{"t":21.5}', {}],
        ["10mvxprbeo#data#", "", { qos: 0 }],
        ["11mvxprbeo#温度/x#a#b", "a#b", { topic: "温度/x" }],
        ["13mvxprbeo#data#AP8=", Uint8Array.of(0, 255), {}],
        ["15mvxprbeo#data#YQBi", "a\0b", {}],
        ["18mvxprbeo##[]", "[]", { topic: "", qos: 0, endpoint: 1 }],
        ["110#data#x", "x", { timeMs: 0 }],
      ];
      for (const [text, payload, changes] of fixtures) {
        const given = { ...message, ...changes };
        check.equal(encodeRecord({ ...given, payload }, ...board).text, text);
        const found = read(text);
        check.equal(
          [found.topic, found.qos, found.endpoint, found.timeMs],
          [given.topic, given.qos, given.endpoint, given.timeMs],
        );
        check.equal(found.payload, typeof payload === "string" ? payload : "AP8=");
      }
      // With fields of a later version that this one can do without.
      check.equal(read("11mvxprbeo,m1z2,x#data#21.5").payload, "21.5");
      check.equal(decodeRecord(7, "2anything#at all"), "newer");
      // To an endpoint that this version does not know.
      for (const flags of ["g", "o", "v"]) check.equal(decodeRecord(7, `1${flags}mvxprbeo#data#x`), "newer");
    },
  },
  {
    name: "invalid records are not messages",
    run(check) {
      const texts = ["", "1", "#", "##", "1##", "11mvxprbeo", "11mvxprbeo#data", "11mvxprbeo##x", "01mvxprbeo#data#x"];
      texts.push("1wmvxprbeo#data#x", "1-mvxprbeo#data#x", "11MVXPRBEO#data#x", "1101#data#x", "11#data#x");
      texts.push("11zzzzzzzzzzzz#data#x", '13mvxprbeo#data#A"P8', "15mvxprbeo#data#YQB", "17mvxprbeo#data#YQBi", "2");
      for (const text of texts) check.equal(decodeRecord(7, text), undefined, text);
    },
  },
  {
    name: "a topic of 20 and a payload of 56 bytes take 4 entries",
    run(check) {
      const record = encodeRecord({ ...message, topic: "t".repeat(20), payload: "x".repeat(56) }, ...board);
      check.equal([record.bytes, record.payloadBytes], [4 * 32, 56]);
      check.equal([storedBytes(31), storedBytes(32), storedBytes(3999)], [64, 96, 126 * 32]);
    },
  },
  {
    name: "what does not fit one value is refused, with the limit in bytes of payload",
    run(check) {
      const limits: [(length: number) => string | Uint8Array, number][] = [
        [(length) => "x".repeat(length), 3983],
        [(length) => new Uint8Array(length), 2985],
        [(length) => `\0${"x".repeat(length - 1)}`, 2985],
      ];
      for (const [make, limit] of limits) {
        check.ok(encodeRecord({ ...message, payload: make(limit) }, ...board).text.length <= 3999, "fits");
        const error = check.throws("PAYLOAD_TOO_LARGE", () =>
          encodeRecord({ ...message, payload: make(limit + 1) }, ...board),
        );
        check.ok(error.message.includes(` ${limit} bytes of `), error.message);
      }
      check.throws("PAYLOAD_TOO_LARGE", () => encodeRecord({ ...message, payload: "x".repeat(300) }, 3999, 256));
      for (const topic of ["", "t".repeat(256), "a#b", "a\0"]) {
        check.throws("INVALID_TOPIC", () => encodeRecord({ ...message, topic, payload: "" }, ...board));
      }
    },
  },
];
