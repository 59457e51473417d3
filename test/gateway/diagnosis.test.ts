import { constants, createHash, generateKeyPairSync, sign } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { DiagnosisLimit } from "../../tools/gateway/diagnosis-limit.js";
import {
  type Diagnosis,
  formatRequest,
  type Gateway,
  type ReceivedRequest,
  startGateway,
} from "../../tools/gateway/index.js";
import { type Call, message, send } from "../support/gateway-client.js";
import { productSecret, psk } from "../support/keys.js";

const SECONDS = 1_800_000_000;
const rsa = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
});

let gateway: Gateway;
beforeEach(async () => {
  const devices = { dev1: { psk }, dev2: { publicKey: rsa.publicKey } };
  gateway = await startGateway({
    devices: { products: { P1: { productSecret, devices } } },
    now: () => SECONDS * 1000,
    windowSeconds: 100_000,
  });
});
afterEach(() => gateway.close());

async function diagnosisOf(call: Call): Promise<Diagnosis> {
  const reply = await send(gateway, { timestamp: String(SECONDS), nonce: "1804289383", ...call });
  expect(reply.code).toBe("AuthFailure.SignatureFailure");
  return gateway.received.at(-1)?.diagnosis as Diagnosis;
}

/** What was signed, where something else is sent. */
interface Change {
  readonly name: string;
  readonly call: Call;
}

const sha256 = "a".repeat(64);

/** A change after signing of which the original cannot be guessed from what arrives. */
const untraceable: readonly Change[] = [
  { name: "the body, with another payload", call: { signed: { bodyHash: sha256 } } },
  { name: "the host, with a name of which nothing is known", call: { signed: { host: "gateway.example.org" } } },
  { name: "the path, with one that is not the gateway's", call: { signed: { path: "/prefix/device/publish" } } },
  { name: "the nonce", call: { signed: { nonce: "846930886" } } },
  { name: "the timestamp, by more than its validity", call: { signed: { timestamp: String(SECONDS - 301) } } },
];

/** A change after signing of which the original is one of few possible ones. */
const traceable: readonly (Change & { readonly field: string; readonly words: RegExp })[] = [
  {
    name: "the body, serialized again",
    call: { body: message().replaceAll(":", ": "), signed: { bodyHash: hashOf(message()) } },
    field: "bodyHash",
    words: /serialized again/,
  },
  {
    name: "the body, its topic completed",
    call: { signed: { bodyHash: hashOf(message({ TopicName: "data" })) } },
    field: "bodyHash",
    words: /before its topic was completed/,
  },
  { name: "the host, with its port", call: { signed: { host: "127.0.0.1:443" } }, field: "host", words: /port/ },
  {
    name: "the host, of the real service",
    call: { signed: { host: "ap-guangzhou.gateway.tencentdevices.com" } },
    field: "host",
    words: /real service/,
  },
  { name: "the path", call: { signed: { path: "/device/reportlog" } }, field: "path", words: /another path/ },
  { name: "the query string", call: { signed: { query: "?" } }, field: "query", words: /always empty/ },
  { name: "the method", call: { signed: { method: "PUT" } }, field: "method", words: /another method/ },
  { name: "the nonce, counted on", call: { signed: { nonce: "1804289382" } }, field: "nonce", words: /counted on/ },
  {
    name: "the timestamp, within its validity",
    call: { signed: { timestamp: String(SECONDS - 300) } },
    field: "timestamp",
    words: /another time was signed/,
  },
  {
    name: "the timestamp, by a second",
    call: { signed: { timestamp: String(SECONDS + 1) } },
    field: "timestamp",
    words: /clock was read twice/,
  },
];

describe("HMAC", () => {
  const wrongKey: Call = { secret: "c2VjcmV0LXRoYXQtaXMtbm90LWtub3du" };

  test("a wrong key is not reported as certain", async () => {
    const { verdict, fields, message } = await diagnosisOf(wrongKey);
    expect([verdict, fields]).toEqual(["key-or-text", []]);
    expect(message).toMatch(/the key is wrong, or something was changed after signing/);
    for (const field of ["body", "host", "path", "timestamp", "nonce"]) expect(message).toContain(field);
    expect(message).not.toMatch(/most likely|probably/);
  });

  test.each(untraceable)("a change that cannot be guessed is reported like a wrong key: $name", async ({ call }) => {
    expect(await diagnosisOf(call)).toMatchObject({
      verdict: "key-or-text",
      deviations: [],
      message: (await diagnosisOf(wrongKey)).message,
    });
  });

  test.each(traceable)("a change whose original can be guessed is reported: $name", async ({ call, field, words }) => {
    const { verdict, fields, message } = await diagnosisOf(call);
    expect([verdict, fields]).toEqual(["explained", [field]]);
    expect(message).toMatch(words);
  });

  test("a known wrong key is reported", async () => {
    expect((await diagnosisOf({ secret: productSecret })).message).toMatch(/the key is the ProductSecret/);
  });
});

describe("RSA", () => {
  const body = message({ DeviceName: "dev2", TopicName: "P1/dev2/data" });
  const right: Call = { algorithm: "rsa-sha256", privateKey: rsa.privateKey, body };
  const strange = (bits: number): string =>
    generateKeyPairSync("rsa", { modulusLength: bits }).privateKey.export({ type: "pkcs8", format: "pem" }) as string;

  test.each(untraceable)("a correct key is recognized although the text differs: $name", async ({ call }) => {
    const { verdict, message } = await diagnosisOf({ ...right, ...call });
    expect(verdict).toBe("text");
    expect(message).toMatch(/the key is correct/);
  });

  test.each(traceable.filter(({ field }) => field !== "bodyHash"))(
    "a change is reported: $name",
    async ({ call, field }) => {
      expect(await diagnosisOf({ ...right, ...call })).toMatchObject({ verdict: "explained", fields: [field] });
    },
  );

  test("a wrong key and a modified signature give the same diagnosis", async () => {
    const damaged = await diagnosisOf({
      ...right,
      write: (signature) => {
        signature[100] ^= 1;
        return signature.toString("base64");
      },
    });
    const other = await diagnosisOf({ ...right, privateKey: strange(2048) });
    expect(other.verdict).toBe("signature");
    expect(other.message).toMatch(/another private key than the device.s, changed in transit, or/);
    expect(damaged).toEqual({ ...other, expected: damaged.expected });
  });

  test("a key of another size is reported", async () => {
    const { verdict, message } = await diagnosisOf({ ...right, privateKey: strange(1024) });
    expect(verdict).toBe("signature");
    expect(message).toMatch(/it has 128 bytes instead of 256/);
  });

  test("another padding is reported", async () => {
    let text = "";
    const pss = (): string =>
      sign("sha256", Buffer.from(text), {
        key: rsa.privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: 32,
      }).toString("base64");
    const layout = (laid: string): string => {
      text = laid;
      return laid;
    };
    const { verdict, message } = await diagnosisOf({ ...right, layout, write: pss });
    expect(verdict).toBe("explained");
    expect(message).toMatch(/RSASSA-PSS instead of RSASSA-PKCS1-v1_5/);
  });
});

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

describe("the limit of diagnoses", () => {
  test("permits ten per second, by a monotonic clock", () => {
    let now = 5_000;
    const limit = new DiagnosisLimit(10, () => now);
    const burst = (): number => Array.from({ length: 100 }, () => limit.take()).filter(Boolean).length;
    expect(burst()).toBe(10);
    now += 999;
    expect(burst()).toBe(0);
    now += 1;
    expect(burst()).toBe(10);
    now += 500;
    expect(burst()).toBe(0);
  });

  test("rejects a wrong signature without diagnosis, and logs it", async () => {
    const devices = { products: { P1: { devices: { dev1: { psk } } } } };
    const busy = await startGateway({ devices, diagnosesPerSecond: 0 });
    try {
      expect((await send(busy, { secret: "x" })).code).toBe("AuthFailure.SignatureFailure");
      const [received] = busy.received;
      expect(received.diagnosis).toBeUndefined();
      expect(received.undiagnosed).toBe(true);
      expect(formatRequest(received)).toMatch(/not diagnosed: too many wrong signatures within a second/);
    } finally {
      await busy.close();
    }
  });

  test("is validated", async () => {
    await expect(startGateway({ diagnosesPerSecond: -1 })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });
});

test("the log line of a rejected request contains the fix", async () => {
  await diagnosisOf({ secret: psk.replace(/=+$/, "") });
  const line = formatRequest(gateway.received.at(-1) as ReceivedRequest);
  expect(line).toContain("the PSK lost its trailing =. Copy the complete PSK, with every = at its end.");
  expect(line).not.toContain(psk.slice(0, 10));
});

test("a diagnosis in the gateway computes few hashes", async () => {
  const { hashes } = await diagnosisOf({ secret: "another key" });
  expect(hashes).toBeGreaterThan(1000);
  expect(hashes).toBeLessThanOrEqual(5000);
});
