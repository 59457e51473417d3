/** Parsers of untrusted bytes: each must accept them or throw a typed error, within limited time. */

import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { base64Decode } from "../../src/crypto/base64.js";
import { hexDecode } from "../../src/crypto/hex.js";
import { readRsaPrivateKey } from "../../src/crypto/key.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { createMemoryStorage, IotHubError } from "../../src/index.js";
import { StoredQueue } from "../../src/outbox/queue.js";
import { decodeRecord, encodeRecord } from "../../src/outbox/record.js";
import { openRegistrationPayload } from "../../src/provisioning/register.js";
import { ClockOffset } from "../../src/request/clock-offset.js";
import { readEndpoint } from "../../src/request/endpoint.js";
import { readResponse } from "../../src/request/response.js";
import { mulberry32 } from "../../tools/gateway/faults.js";
import { sealRegistrationPayload } from "../../tools/gateway/registration.js";
import { samples as httpSamples, read as readHttp } from "../conformance/http.cases.js";
import { mutate } from "./mutate.js";

export interface Target {
  readonly name: string;
  /** Of all cases, in hundredths. */
  readonly share: number;
  /** Valid inputs, to be damaged. */
  readonly samples: readonly Uint8Array[];
  /** Structured inputs. @default `samples` and random bytes */
  readonly arbitrary?: fc.Arbitrary<Uint8Array>;
  run(bytes: Uint8Array, random: () => number): void | Promise<void>;
}

export const MAX_BYTES = 1 << 20;

const text = (value: unknown) => utf8(typeof value === "string" ? value : JSON.stringify(value));
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const secret = "hzvf5LF9S0isvBhDSauWMaIk";

const replies = [
  { Response: { RequestId: "f4da4f1f-d72e-40f1-0000-349fc0072ba0" } },
  { Response: { Error: { Code: "AuthFailure.SignatureFailure", Message: "签名 😀" }, RequestId: "r" } },
  { Response: { Len: 53, Payload: "abcd", State: 1, RequestId: "r" } },
  { code: 1010, message: "Check signature failed", requestId: 7 },
  { returnCode: 0, returnMessage: "success" },
];

const statuses = [100, 200, 204, 301, 400, 401, 403, 408, 429, 500, 503, 599];
const dates = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 99 Foo 9999 99:99:99 GMT", "", "7", "-1", "999999999999", "soon"];

/** Fixed keys, so that a case is the same each time: the vectors' RSA key, and the EC key of RFC 7517 appendix A.2. */
function keySamples(): Uint8Array[] {
  const peers = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));
  const rsa = createPrivateKey(peers.rsa_test_key["rsa2048_pkcs8.pem"]);
  const ec = createPrivateKey({
    format: "jwk",
    key: {
      kty: "EC",
      crv: "P-256",
      x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
      y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
      d: "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    },
  });
  const samples: Uint8Array[] = [];
  for (const [key, types] of [
    [rsa, ["pkcs1", "pkcs8"]],
    [ec, ["sec1", "pkcs8"]],
  ] as const) {
    for (const type of types) {
      samples.push(new Uint8Array(key.export({ format: "der", type } as never) as unknown as Buffer));
      samples.push(text(key.export({ format: "pem", type } as never)));
    }
  }
  return samples;
}

function recordSamples(): Uint8Array[] {
  const message = { timeMs: 1800000000000, topic: "data", qos: 1 as const, endpoint: 0 };
  return [
    { ...message, payload: '{"t":21.5}' },
    { ...message, payload: "大".repeat(1200), topic: "$thing/up/property/P/D" },
    { ...message, payload: Uint8Array.from({ length: 2900 }, (_, i) => i), qos: 0 as const },
    { ...message, payload: "a\0b", topic: "", endpoint: 1 },
  ].map((one) => text(encodeRecord(one, 3999, 7680).text));
}

const records = recordSamples();

export const targets: readonly Target[] = [
  {
    name: "response",
    share: 28,
    samples: replies.map(text),
    arbitrary: fc.oneof(fc.json({ maxDepth: 8 }).map(text), fc.string({ unit: "binary" }).map(text), fc.uint8Array()),
    run(body, random) {
      const headers: Record<string, string> = {};
      if (random() < 0.8) headers["content-type"] = random() < 0.9 ? "application/json" : latin1(body.subarray(0, 40));
      if (random() < 0.3) headers.date = dates[Math.floor(random() * dates.length)];
      if (random() < 0.3)
        headers["retry-after"] =
          random() < 0.8 ? dates[Math.floor(random() * dates.length)] : latin1(body.subarray(0, 20));
      const status = statuses[Math.floor(random() * statuses.length)];
      try {
        const { requestId } = readResponse({ status, headers, body });
        if (typeof requestId !== "string") throw new TypeError("the RequestId is not text");
      } catch (error) {
        const { excerpt = "", message } = error as { excerpt?: string; message: string };
        if (excerpt.length > 200 || message.length > 1000)
          throw new RangeError(`an error of ${message.length} characters`);
        throw error;
      }
    },
  },
  {
    name: "record",
    share: 30,
    samples: records,
    run(bytes) {
      const message = decodeRecord(5, new TextDecoder().decode(bytes));
      if (message === undefined || message === "newer") return;
      const { topic, qos, endpoint, timeMs, uptimeMs, powerOn, payload, payloadEncoding } = message;
      if ((timeMs === undefined) !== (powerOn !== undefined) || (uptimeMs === undefined) !== (powerOn === undefined))
        throw new TypeError("a message with two times or none");
      if (qos > 1 || (topic === "" && endpoint === 0) || endpoint > 1 || !((timeMs ?? uptimeMs ?? -1) >= 0))
        throw new TypeError("an invalid message");
      if (payloadEncoding !== undefined && JSON.stringify(payload) !== `"${payload}"`)
        throw new TypeError("a payload that is not Base64");
    },
  },
  {
    name: "storage",
    share: 6,
    samples: records,
    async run(bytes, random) {
      const storage = createMemoryStorage();
      const keys = ["out.00000005", "out.00000006", "out.00000005.0", "out.n", "clock", "out.zzzzzzzz", "out"];
      for (const key of keys) {
        const value = random() < 0.5 ? bytes : records[Math.floor(random() * records.length)];
        if (random() < 0.6) await storage.set(key, new TextDecoder().decode(value.subarray(0, 4000)));
      }
      const clock = { nowMs: () => 0, monotonicMs: () => 0 };
      const queue = new StoredQueue(storage, "out", clock);
      await queue.open();
      const size = queue.size;
      for (let i = 0; i < size; i++) {
        await queue.read(0);
        await queue.remove(0);
      }
      if (queue.size !== 0 || queue.bytes !== 0) throw new TypeError("something is left");
      const skew = new ClockOffset(clock, storage);
      await skew.load();
      if (!Number.isFinite(skew.offsetMs)) throw new TypeError("an offset that is not a number");
    },
  },
  {
    name: "key",
    share: 10,
    samples: keySamples(),
    run(bytes, random) {
      readRsaPrivateKey(random() < 0.5 ? latin1(bytes) : bytes);
    },
  },
  {
    name: "registration",
    share: 6,
    samples: [
      { encryptionType: 2, psk: "lDZ6Uqt+I9E0wW7rvDUs7Q==" },
      { encryptionType: 1, clientCert: "-----BEGIN CERTIFICATE-----", clientKey: "-----BEGIN PRIVATE KEY-----" },
      { encryptionType: 1 },
    ].map((content) => text(sealRegistrationPayload(secret, JSON.stringify(content)).payload)),
    run(bytes, random) {
      openRegistrationPayload(secret, latin1(bytes), Math.floor(bytes.length / 4) * 3 - Math.floor(random() * 16));
    },
  },
  {
    name: "text",
    share: 14,
    samples: [text("温度 😀 \u0000 ü"), text("bERaNlVxdCtJOUUwd1c3cnZEVXM3UT09"), text("00ff7f80deadbeef")],
    run(bytes, random) {
      const which = random();
      if (which < 0.4) {
        const decoded = utf8Decode(bytes);
        if (Buffer.compare(utf8(decoded), bytes) !== 0) throw new TypeError("other bytes come back");
      } else if (which < 0.7) base64Decode(latin1(bytes));
      else hexDecode(latin1(bytes));
    },
  },
  {
    name: "http",
    share: 6,
    samples: httpSamples.map(({ text: bytes }) => Buffer.from(bytes, "latin1")),
    run(bytes, random) {
      const cuts = [random(), random()].map((part) => Math.floor(part * (bytes.length + 1))).sort((a, b) => a - b);
      const ends = random() < 0.5;
      const whole = JSON.stringify(readHttp(bytes, [], ends));
      if (JSON.stringify(readHttp(bytes, cuts, ends)) !== whole) throw new TypeError("pieces are read differently");
    },
  },
];

/**
 * Runs one case, which its target, its number and the seed decide.
 * @throws whatever is no error of the library's own
 */
export async function runCase(target: Target, seed: number, number: number): Promise<void> {
  const random = mulberry32((seed ^ Math.imul(number + 1, 0x9e3779b1)) >>> 0);
  const { samples } = target;
  const sample = samples[Math.floor(random() * samples.length)];
  const bytes = mutate(sample, random, samples, MAX_BYTES);
  await settle(target, bytes, random);
}

/** As many cases of fast-check's, by the structure of the input. */
export async function runProperty(target: Target, seed: number, cases: number): Promise<void> {
  const arbitrary = target.arbitrary ?? fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...target.samples));
  await fc.assert(
    fc.asyncProperty(arbitrary, fc.nat(), (bytes, n) => settle(target, bytes, mulberry32(n))),
    { seed, numRuns: cases },
  );
}

async function settle(target: Target, bytes: Uint8Array, random: () => number): Promise<void> {
  try {
    await target.run(bytes, random);
  } catch (error) {
    if (!(error instanceof IotHubError && typeof error.code === "string")) throw error;
  }
}

/** A URL is typed by people, so it has no share of bytes; a few texts do. */
export function checkUrls(seed: number, cases: number): void {
  fc.assert(
    fc.property(fc.oneof(fc.webUrl(), fc.string(), fc.string({ unit: "binary" })), (url) => {
      try {
        const { port } = readEndpoint(undefined, url);
        if (!(port >= 1 && port <= 65535)) throw new TypeError("a port out of range");
      } catch (error) {
        if (!(error instanceof IotHubError)) throw error;
      }
    }),
    { seed, numRuns: cases },
  );
}
