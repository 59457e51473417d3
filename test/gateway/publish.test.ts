import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  formatRequest,
  type Gateway,
  type GatewayOptions,
  makeCertificates,
  type ReceivedRequest,
  startGateway,
} from "../../tools/gateway/index.js";
import { type Call, message, type Reply, send } from "../support/gateway-client.js";
import { makeRsaKeys, productSecret, psk } from "../support/keys.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));
const rsa = makeRsaKeys();

const open: Gateway[] = [];
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({
    devices: {
      products: {
        P1: {
          productSecret,
          devices: {
            dev1: { psk, topics: { extra: "publish", "P1/shared/x": "both", event: "subscribe" } },
            dev2: { publicKey: rsa.publicPem },
            dev3: { psk, algorithm: "hmacsha1" },
          },
        },
      },
    },
    ...options,
  });
  open.push(gateway);
  return gateway;
}

describe.each([false, true])("a message over %s (https)", (https) => {
  test("is verified, parsed and recorded", async () => {
    const gateway = await start({ https });
    const reply = await send(gateway, { body: message({ Payload: "温度 25 °C 😀" }) });
    expect(reply.status).toBe(200);
    expect(reply.headers["content-type"]).toMatch("application/json");
    expect(Math.abs(Date.parse(reply.headers.date as string) - Date.now())).toBeLessThan(60_000);
    const [entry] = gateway.received;
    expect(reply.json).toEqual({ Response: { RequestId: entry.requestId } });
    expect(entry).toMatchObject({ accepted: true, verifiedBy: "psk", algorithm: "hmacsha256", topic: "P1/dev1/data" });
    expect(entry).toMatchObject({ productId: "P1", deviceName: "dev1", qos: 1, status: 200 });
    expect(entry.payload?.toString()).toBe("温度 25 °C 😀");
    expect(gateway.counts).toMatchObject({ connections: 1, requests: 1, accepted: 1, tlsHandshakes: https ? 1 : 0 });
    expect(entry.connection.tls !== undefined).toBe(https);
  });
});

test("all three algorithms and both credential types are verified", async () => {
  const gateway = await start();
  const rsaBody = message({ DeviceName: "dev2", TopicName: "P1/dev2/event" });
  const calls: [Call, string][] = [
    [{ algorithm: "hmacsha256" }, "psk"],
    [{ algorithm: "hmacsha1" }, "psk"],
    [{ algorithm: "rsa-sha256", privateKey: rsa.privatePem, body: rsaBody }, "publicKey"],
  ];
  for (const [call, verifiedBy] of calls) {
    expect((await send(gateway, call)).code).toBeUndefined();
    expect(gateway.received.at(-1)).toMatchObject({ accepted: true, verifiedBy, algorithm: call.algorithm });
  }
});

test("a device's public key can be given as a certificate", async () => {
  const made = makeCertificates("direct", { keyType: { leaf: "rsa" } });
  const devices = { products: { P1: { devices: { dev1: { certificate: made.chain } } } } };
  const gateway = await start({ devices });
  expect((await send(gateway, { algorithm: "rsa-sha256", privateKey: made.key })).code).toBeUndefined();
});

test("the received bytes are hashed, whatever the JSON's formatting", async () => {
  const gateway = await start();
  const body = ` { "Qos" : 1,\r\n "ProductId":"P1","DeviceName":"dev1", "TopicName":"P1\\/dev1\\/data","Payload":"\\u6e29"}\n`;
  expect((await send(gateway, { body })).code).toBeUndefined();
  expect(gateway.received[0].body.toString()).toBe(body);
  expect(gateway.received[0].payload?.toString()).toBe("温");
});

describe("requests of the official clients", () => {
  for (const vector of vectors.signing) {
    const [, host, path] = vector.string_to_sign.split("\n");
    const body = Buffer.from(vector.body_base64, "base64");
    if (!vector.body_is_valid_json) {
      test(`${vector.id}: an empty body is not JSON`, async () => {
        const gateway = await start({ now: () => vector.timestamp * 1000 });
        expect((await send(gateway, { path, body })).code).toBe("InvalidParameterValue.InvalidJSON");
      });
      continue;
    }
    test(vector.id, async () => {
      const { ProductId, DeviceName } = JSON.parse(body.toString());
      const secret = vector.key.device_psk_as_text ?? vector.key.product_secret_as_text ?? vector.key.secret_as_text;
      const device = secret === undefined ? { publicKey: vectors.rsa_test_key["rsa2048_pub.pem"] } : { psk: secret };
      const product = path === "/device/register" ? { productSecret: secret } : { devices: { [DeviceName]: device } };
      const gateway = await start({
        devices: { products: { [ProductId]: product } },
        now: () => vector.timestamp * 1000,
      });
      const headers = {
        host: vector.sent_host_header ? host : new URL(vector.url ?? `http://${host}`).host,
        "content-type": vector.content_type ?? "application/json; charset=utf-8",
        "x-tc-algorithm": vector.algorithm,
        "x-tc-timestamp": String(vector.timestamp),
        "x-tc-nonce": String(vector.nonce),
        "x-tc-signature": vector.signature,
      };
      const reply = await send(gateway, { path, body, headers });
      expect(reply.code).toBeUndefined();
      expect(gateway.received[0].accepted).toBe(true);
      // With one changed bit of the body, it must be rejected.
      const changed = Buffer.from(body);
      changed[changed.lastIndexOf("}") - 1] ^= 1;
      gateway.clearNonces();
      expect((await send(gateway, { path, body: changed, headers })).code).toMatch(/SignatureFailure|JSON/);
    });
  }
});

interface Case {
  name: string;
  call: Call;
  code: string | undefined;
  options?: GatewayOptions;
}

/** What both clocks show while a case is sent, in seconds. */
const now = 1_800_000_000;
const body = (members: Record<string, unknown>): Call => ({ body: message(members) });
const header = (name: string, value: string | undefined): Call => ({ headers: { [name]: value } });
const cases: Case[] = [
  { name: "300 s old", call: { timestamp: String(now - 300) }, code: undefined },
  { name: "300 s ahead", call: { timestamp: String(now + 300) }, code: undefined },
  { name: "301 s old", call: { timestamp: String(now - 301) }, code: "AuthFailure.SignatureExpire" },
  { name: "301 s ahead", call: { timestamp: String(now + 301) }, code: "AuthFailure.SignatureExpire" },
  { name: "milliseconds", call: { timestamp: `${now}000` }, code: "AuthFailure.SignatureExpire" },
  { name: "since boot", call: { timestamp: "17" }, code: "AuthFailure.SignatureExpire" },
  {
    name: "timestamp and nonce zero",
    call: { timestamp: "0", nonce: "0" },
    code: undefined,
    options: { now: () => 100_000 },
  },
  {
    name: "own window",
    call: { timestamp: String(now - 20) },
    code: "AuthFailure.SignatureExpire",
    options: { windowSeconds: 10 },
  },
  { name: "skewed gateway", call: {}, code: "AuthFailure.SignatureExpire", options: { clockSkewSeconds: -4000 } },
  { name: "timestamp no number", call: header("x-tc-timestamp", "1e9"), code: "InvalidParameterValue" },
  { name: "nonce no number", call: header("x-tc-nonce", "abc"), code: "InvalidParameterValue" },
  { name: "nonce missing", call: header("x-tc-nonce", undefined), code: "MissingParameter" },
  { name: "signature missing", call: header("x-tc-signature", undefined), code: "MissingParameter" },
  { name: "algorithm unknown", call: header("x-tc-algorithm", "md5"), code: "InvalidParameterValue" },
  { name: "algorithm cased", call: header("x-tc-algorithm", "HmacSha256"), code: "InvalidParameterValue" },
  {
    name: "algorithm of a key for a certificate",
    call: body({ DeviceName: "dev2" }),
    code: "UnauthorizedOperation.ProductNotSupportPSK",
  },
  { name: "algorithm not the device's", call: body({ DeviceName: "dev3" }), code: "AuthFailure.SignatureFailure" },
  { name: "product unknown", call: body({ ProductId: "P9" }), code: "ResourceNotFound.ProductNotExist" },
  { name: "product malformed", call: body({ ProductId: "P-9" }), code: "InvalidParameterValue" },
  {
    name: "product named like a built-in",
    call: body({ ProductId: "__proto__" }),
    code: "ResourceNotFound.ProductNotExist",
  },
  { name: "device unknown", call: body({ DeviceName: "nobody" }), code: "ResourceNotFound.DeviceNotExist" },
  { name: "device malformed", call: body({ DeviceName: "a b" }), code: "InvalidParameterValue" },
  { name: "device missing", call: body({ DeviceName: undefined }), code: "InvalidParameterValue.ParamIncomplete" },
  { name: "device a number", call: body({ DeviceName: 5 }), code: "InvalidParameterValue" },
  { name: "topic both", call: body({ TopicName: "P1/dev1/data" }), code: undefined },
  {
    name: "topic subscribe only",
    call: body({ TopicName: "P1/dev1/control" }),
    code: "UnauthorizedOperation.PermissionDenied",
  },
  {
    name: "topic narrowed by the device",
    call: body({ TopicName: "P1/dev1/event" }),
    code: "UnauthorizedOperation.PermissionDenied",
  },
  { name: "topic of the device's own", call: body({ TopicName: "P1/dev1/extra" }), code: undefined },
  { name: "topic outside of the device", call: body({ TopicName: "P1/shared/x" }), code: undefined },
  { name: "topic unknown", call: body({ TopicName: "P1/dev1/other" }), code: "ResourceNotFound.TopicPolicyNotExist" },
  {
    name: "topic of another device",
    call: body({ TopicName: "P1/dev3/data" }),
    code: "ResourceNotFound.TopicPolicyNotExist",
  },
  { name: "topic not completed", call: body({ TopicName: "data" }), code: "ResourceNotFound.TopicPolicyNotExist" },
  { name: "topic of the shadow", call: body({ TopicName: "$shadow/operation/P1/dev1" }), code: undefined },
  { name: "topic of updates", call: body({ TopicName: "$ota/report/P1/dev1" }), code: undefined },
  {
    name: "topic of another device's shadow",
    call: body({ TopicName: "$shadow/operation/P1/dev3" }),
    code: "ResourceNotFound.TopicPolicyNotExist",
  },
  { name: "topic of the thing model", call: body({ TopicName: "$thing/up/property/P1/dev1" }), code: undefined },
  {
    name: "topic of the thing model, down",
    call: body({ TopicName: "$thing/down/property/P1/dev1" }),
    code: "ResourceNotFound.TopicPolicyNotExist",
  },
  {
    name: "topic of another's thing model",
    call: body({ TopicName: "$thing/up/property/P1/dev3" }),
    code: "ResourceNotFound.TopicPolicyNotExist",
  },
  { name: "topic with a wildcard", call: body({ TopicName: "P1/dev1/#" }), code: "FailedOperation.InvalidTopicName" },
  {
    name: "topic of 256 bytes",
    call: body({ TopicName: `${"温".repeat(85)}x` }),
    code: "FailedOperation.InvalidTopicName",
  },
  { name: "topic empty", call: body({ TopicName: "" }), code: "InvalidParameterValue.ParamIncomplete" },
  { name: "QoS 0", call: body({ Qos: 0 }), code: undefined },
  { name: "QoS 2", call: body({ Qos: 2 }), code: "InvalidParameterValue" },
  { name: "QoS a text", call: body({ Qos: "1" }), code: "InvalidParameterValue" },
  { name: "QoS missing", call: body({ Qos: undefined }), code: "InvalidParameterValue.ParamIncomplete" },
  { name: "payload empty", call: body({ Payload: "" }), code: undefined },
  { name: "payload missing", call: body({ Payload: undefined }), code: "InvalidParameterValue.ParamIncomplete" },
  { name: "payload an object", call: body({ Payload: { a: 1 } }), code: "InvalidParameterValue" },
  { name: "payload of 16384 bytes", call: body({ Payload: "x".repeat(16384) }), code: undefined },
  {
    name: "payload of 16385 bytes",
    call: body({ Payload: "x".repeat(16385) }),
    code: "InvalidParameterValue.PayloadOverLimit",
  },
  {
    name: "payload of 16386 bytes in UTF-8",
    call: body({ Payload: "温".repeat(5462) }),
    code: "InvalidParameterValue.PayloadOverLimit",
  },
  {
    name: "payload of 16384 bytes in Base64",
    call: body({ Payload: Buffer.alloc(16384).toString("base64"), PayloadEncoding: "Base64" }),
    code: undefined,
  },
  {
    name: "payload of 16385 bytes in Base64",
    call: body({ Payload: Buffer.alloc(16385).toString("base64"), PayloadEncoding: "Base64" }),
    code: "InvalidParameterValue.PayloadOverLimit",
  },
  {
    name: "own payload limit",
    call: body({ Payload: "12345" }),
    code: "InvalidParameterValue.PayloadOverLimit",
    options: { maxPayloadBytes: 4 },
  },
  {
    name: "Base64 without padding",
    call: body({ Payload: "aGVsbG8", PayloadEncoding: "Base64" }),
    code: "InvalidParameterValue",
  },
  {
    name: "Base64 of the URL alphabet",
    call: body({ Payload: "-_-_", PayloadEncoding: "Base64" }),
    code: "InvalidParameterValue",
  },
  {
    name: "another encoding",
    call: body({ PayloadEncoding: "base64" }),
    code: "InvalidParameterValue",
  },
  { name: "another type", call: header("content-type", "text/plain"), code: "InvalidParameter" },
  {
    name: "a form",
    call: header("content-type", "application/x-www-form-urlencoded"),
    code: "InvalidParameter",
  },
  { name: "no type", call: header("content-type", undefined), code: "InvalidParameter" },
  { name: "nonsense for a type", call: header("content-type", ";;"), code: "InvalidParameter" },
  {
    name: "another charset",
    call: header("content-type", "application/json; charset=gbk"),
    code: "InvalidParameter",
  },
  { name: "the bare type", call: header("content-type", "application/json"), code: undefined },
  { name: "the type in capitals", call: header("content-type", "Application/JSON;charset=UTF-8"), code: undefined },
  { name: "half a JSON", call: { body: '{"ProductId":' }, code: "InvalidParameterValue.InvalidJSON" },
  { name: "a list", call: { body: "[]" }, code: "InvalidParameterValue.InvalidJSON" },
  { name: "null", call: { body: "null" }, code: "InvalidParameterValue.InvalidJSON" },
  { name: "no body", call: { body: "" }, code: "InvalidParameterValue.InvalidJSON" },
  { name: "a byte order mark", call: { body: `\ufeff${message()}` }, code: "InvalidParameterValue.InvalidJSON" },
  {
    name: "invalid UTF-8",
    call: { body: Buffer.from('{"ProductId":"\xff"}', "latin1") },
    code: "InvalidParameterValue.InvalidJSON",
  },
  {
    name: "a pasted payload",
    call: { body: message().replace("hello", 'say "hi"') },
    code: "InvalidParameterValue.InvalidJSON",
  },
  {
    name: "a host of another letter case",
    call: header("host", "LOCALHOST:1234"),
    code: "AuthFailure.SignatureFailure",
  },
  {
    name: "a fixed host",
    call: { signed: { host: "gw.example" } },
    code: undefined,
    options: { signedHost: "gw.example" },
  },
];

test.each(cases)("$name → $code", async ({ call, code, options }) => {
  const gateway = await start({ now: () => now * 1000, ...options });
  const reply = await send(gateway, { timestamp: String(now), ...call });
  expect(reply.status).toBe(200);
  expect(reply.code).toBe(code);
  expect(gateway.received[0].accepted).toBe(code === undefined);
  expect(gateway.received[0].error?.code).toBe(code);
  expect(reply.text).toContain(gateway.received[0].requestId);
});

test("a nonce is valid for one request of a device; a failed request does not consume it", async () => {
  const gateway = await start();
  expect((await send(gateway, { nonce: "7", secret: "wrong" })).code).toBe("AuthFailure.SignatureFailure");
  expect((await send(gateway, { nonce: "7" })).code).toBeUndefined();
  expect((await send(gateway, { nonce: "7" })).code).toBe("AuthFailure.NonceReused");
  expect((await send(gateway, { nonce: "8" })).code).toBeUndefined();
  const other: Call = {
    nonce: "7",
    algorithm: "hmacsha1",
    body: message({ DeviceName: "dev3", TopicName: "P1/dev3/data" }),
  };
  expect((await send(gateway, other)).code).toBeUndefined();
});

test("nonces are dropped after the window, and beyond their limit", async () => {
  let seconds = 1_800_000_000;
  const gateway = await start({ now: () => seconds * 1000, windowSeconds: 10, maxNonces: 2 });
  const at = (nonce: string): Promise<Reply> => send(gateway, { nonce, timestamp: String(seconds) });
  expect((await at("1")).code).toBeUndefined();
  seconds += 20;
  expect((await at("1")).code).toBe("AuthFailure.NonceReused");
  seconds += 1;
  expect((await at("1")).code).toBeUndefined();
  await at("2");
  await at("3");
  expect((await at("1")).code).toBeUndefined();
  expect((await at("3")).code).toBe("AuthFailure.NonceReused");
});

test("the rate limit counts messages per device and second", async () => {
  let ms = 1_800_000_000_000;
  const gateway = await start({ now: () => ms, rateLimit: 2 });
  const at = (): Promise<Reply> => send(gateway, { timestamp: String(Math.floor(ms / 1000)) });
  expect((await at()).code).toBeUndefined();
  expect((await at()).code).toBeUndefined();
  expect((await at()).code).toBe("RequestLimitExceeded");
  ms += 1000;
  expect((await at()).code).toBeUndefined();
});

test("a body over the limit is rejected without being read", async () => {
  const gateway = await start({ maxBodyBytes: 1000 });
  const reply = await send(gateway, body({ Payload: "x".repeat(1000) }));
  expect([reply.status, reply.code]).toEqual([413, "RequestSizeLimitExceeded"]);
});

test("an unknown path or method gets InvalidAction", async () => {
  const gateway = await start();
  expect(await send(gateway, { path: "/" })).toMatchObject({ status: 404, code: "InvalidAction" });
  const got = await fetch(`${gateway.url}/device/publish`);
  expect([got.status, ((await got.json()) as { Response: { Error: { Code: string } } }).Response.Error.Code]).toEqual([
    404,
    "InvalidAction",
  ]);
});

test("the retired formats and mapped statuses are supported", async () => {
  const code = await start({ responseShape: "code" });
  expect((await send(code)).json).toMatchObject({ code: 0, requestId: code.received[0].requestId });
  expect((await send(code, { secret: "x" })).json).toMatchObject({ code: 1010, message: "The signature is wrong." });
  const returnCode = await start({ responseShape: "returnCode" });
  expect((await send(returnCode)).json).toEqual({ returnCode: 0, returnMessage: "success" });
  expect((await send(returnCode, { secret: "x" })).json).toMatchObject({ returnCode: 1010 });
  const mapped = await start({ mapStatus: true });
  expect((await send(mapped, { secret: "x" })).status).toBe(401);
});

describe("a wrong signature is explained", () => {
  const pretty = JSON.stringify(JSON.parse(message()), null, 2);
  const python = message().replace(/":/g, '": ').replace(/,"/g, ', "');
  const mistakes: [string, Call, string[], RegExp][] = [
    ["hex", { write: (s) => s.toString("hex") }, [], /is in hex/],
    ["Base64 of hex", { write: (s) => Buffer.from(s.toString("hex")).toString("base64") }, [], /Base64 of its hex/],
    [
      "URL alphabet",
      { write: (s) => s.toString("base64url"), timestamp: String(now), nonce: "2" },
      [],
      /URL alphabet|padding/,
    ],
    ["no padding", { write: (s) => s.toString("base64").replace(/=/g, "") }, [], /padding/],
    ["decoded psk", { secret: Buffer.from(psk, "base64") }, [], /Base64-decoded/],
    ["psk without ==", { secret: psk.replace(/=+$/, "") }, [], /lost its trailing =/],
    ["psk with a line feed", { secret: `${psk}\n` }, [], /followed by "\\n"/],
    ["ProductSecret", { secret: productSecret }, [], /the ProductSecret/],
    [
      "compact, sent indented",
      { body: pretty, signed: { bodyHash: sha256(message()) } },
      ["bodyHash"],
      /serialized again/,
    ],
    ["indented, sent compact", { signed: { bodyHash: sha256(pretty) } }, ["bodyHash"], /indented by two/],
    ["Python's spaces", { signed: { bodyHash: sha256(python) } }, ["bodyHash"], /as Python writes it/],
    ["SHA-1 of the body", { signed: { bodyHash: hash("sha1", message()) } }, ["bodyHash"], /SHA1 instead of SHA256/],
    [
      "SHA-256 for hmacsha1",
      { algorithm: "hmacsha1", signed: { bodyHash: sha256(message()) } },
      ["bodyHash"],
      /SHA256 instead of SHA1/,
    ],
    ["upper-case hash", { signed: { bodyHash: sha256(message()).toUpperCase() } }, ["bodyHash"], /upper-case hex/],
    ["payload's hash", { signed: { bodyHash: sha256("hello") } }, ["bodyHash"], /payload alone/],
    ["body with LF", { signed: { bodyHash: sha256(`${message()}\n`) } }, ["bodyHash"], /followed by/],
    ["host with port", { signed: { host: "127.0.0.1:443" } }, ["host"], /with its port/],
    ["host upper case", { headers: { host: "LocalHost" }, signed: { host: "LocalHost" } }, ["host"], /letter case/],
    ["the region's host", { signed: { host: "ap-guangzhou.gateway.tencentdevices.com" } }, ["host"], /region/],
    ["milliseconds", { timestamp: String(now), signed: { timestamp: `${now}123` } }, ["timestamp"], /milliseconds/],
    [
      "clock read twice",
      { timestamp: String(now), signed: { timestamp: String(now - 1) } },
      ["timestamp"],
      /read twice/,
    ],
    ["algorithm's case", { signed: { algorithm: "HmacSha256" } }, ["algorithm"], /header's/],
    ["another algorithm", { signed: { algorithm: "hmacsha1" } }, ["algorithm"], /header's/],
    [
      "hmacsha1 throughout, hmacsha256 in the header",
      { algorithm: "hmacsha1", headers: { "x-tc-algorithm": "hmacsha256" } },
      ["algorithm"],
      /HMAC-SHA1 instead of SHA256.*also for the body hash/,
    ],
    ["another path", { signed: { path: "/device/register" } }, ["path"], /another path/],
    [
      "path with query",
      { path: "/device/publish?a=1", signed: { path: "/device/publish?a=1" } },
      ["path"],
      /query string/,
    ],
    ["query", { path: "/device/publish?a=1", signed: { query: "a=1" } }, ["query"], /always empty/],
    ["method", { signed: { method: "post" } }, ["method"], /method/],
    ["LF at the end", { layout: (t) => `${t}\n` }, [], /line feed at the end/],
    ["CR LF", { layout: (t) => t.replaceAll("\n", "\r\n") }, [], /CR LF/],
    ["no empty line", { layout: (t) => t.replace("\n\n", "\n") }, [], /empty line/],
    [
      "two at once",
      { signed: { host: "127.0.0.1:443", algorithm: "HmacSha256" } },
      ["host", "algorithm"],
      /port.*header's/,
    ],
    ["decoded psk and LF", { secret: Buffer.from(psk, "base64"), layout: (t) => `${t}\n` }, [], /decoded.*line feed/],
    [
      "hex and wrong host",
      { write: (s) => s.toString("hex"), signed: { host: "localhost" } },
      ["host"],
      /another name.*hex/,
    ],
  ];
  test.each(mistakes)("%s", async (_name, call, fields, words) => {
    const gateway = await start({ now: () => now * 1000 });
    const reply = await send(gateway, { timestamp: String(now), ...call });
    expect(reply.code).toBe("AuthFailure.SignatureFailure");
    const { diagnosis } = gateway.received[0];
    expect(diagnosis?.message).toMatch(words);
    expect([diagnosis?.verdict, diagnosis?.fields]).toEqual(["explained", fields]);
    expect(diagnosis?.message).not.toContain("\n");
    expect(reply.text).not.toContain("field");
  });

  const rsaBody = message({ DeviceName: "dev2", TopicName: "P1/dev2/data" });
  const rsaCall: Call = { algorithm: "rsa-sha256", privateKey: rsa.privatePem, body: rsaBody };
  test.each<[string, Call, string[], RegExp]>([
    ["hex", { write: (s) => s.toString("hex") }, [], /is in hex/],
    ["host with port", { signed: { host: "127.0.0.1:80" } }, ["host"], /with its port/],
    ["LF at the end", { layout: (t) => `${t}\n` }, [], /line feed at the end/],
    ["SHA-1 of the body", { signed: { bodyHash: hash("sha1", rsaBody) } }, ["bodyHash"], /SHA1/],
  ])("RSA: %s", async (_name, call, fields, words) => {
    const gateway = await start();
    await send(gateway, { ...rsaCall, ...call });
    const { diagnosis } = gateway.received[0];
    expect(diagnosis?.message).toMatch(words);
    expect([diagnosis?.verdict, diagnosis?.fields]).toEqual(["explained", fields]);
  });

  test("a wrong key is distinguished from a wrong text if possible", async () => {
    const gateway = await start();
    const other = makeRsaKeys().privateKey;
    const privateKey = other.export({ type: "pkcs8", format: "pem" }) as string;
    const verdicts: (string | undefined)[] = [];
    for (const call of [
      { ...rsaCall, privateKey },
      { ...rsaCall, signed: { nonce: "999999" } },
      { secret: "c2VjcmV0LXRoYXQtaXMtbm90LWtub3du" },
      { write: () => "****" },
    ]) {
      expect((await send(gateway, call)).code).toBe("AuthFailure.SignatureFailure");
      verdicts.push(gateway.received.at(-1)?.diagnosis?.message);
    }
    expect(verdicts[0]).toMatch(/another private key than the device's/);
    expect(verdicts[1]).toMatch(/the key is correct/);
    expect(verdicts[2]).toMatch(/the key is wrong, or something was changed after signing/);
    expect(verdicts[3]).toMatch(/neither Base64 nor hex/);
  });

  test("does not contain the secret", async () => {
    const gateway = await start();
    const lines: string[] = [];
    for (const [, call] of mistakes) await send(gateway, call);
    for (const entry of gateway.received) lines.push(formatRequest(entry), JSON.stringify(entry));
    const text = lines.join("\n");
    for (const secret of [psk, psk.replace("==", ""), productSecret, Buffer.from(psk, "base64").toString("hex")]) {
      expect(text).not.toContain(secret);
    }
  });
});

test("recorded requests are bounded, the counts are not", async () => {
  const gateway = await start({ maxReceived: 3 });
  for (let i = 0; i < 5; i++) await send(gateway);
  expect(gateway.received.map((entry) => entry.index)).toEqual([3, 4, 5]);
  expect(gateway.counts).toMatchObject({ requests: 5, accepted: 5, connections: 5 });
});

test("each request is reported once, in a line that clients cannot forge", async () => {
  const seen: ReceivedRequest[] = [];
  let done: () => void = () => {};
  const reported = new Promise<void>((resolve) => {
    done = resolve;
  });
  const gateway = await start({
    onRequest: (entry) => {
      seen.push(entry);
      if (seen.length === 2) done();
    },
  });
  await send(gateway);
  await send(gateway, body({ TopicName: "P1/dev1/\n\x1b[2Jx" }));
  await reported;
  expect(seen.map((entry) => entry.index)).toEqual([1, 2]);
  expect(seen[0].durationMs).toBeGreaterThan(0);
  const line = formatRequest(seen[0]);
  expect(line).toMatch(
    /#1 conn 1 POST \/device\/publish 200 P1\/dev1 P1\/dev1\/data qos 1 5 B hello hmacsha256 by psk /,
  );
  expect(formatRequest(seen[1])).not.toMatch(/[\x00-\x1f]/);
});

function sha256(text: string): string {
  return hash("sha256", text);
}

function hash(name: string, text: string): string {
  return createHash(name).update(text).digest("hex");
}
