import { createDecipheriv, createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type DevicesDescription,
  type Gateway,
  type GatewayOptions,
  makeCertificates,
  type RegistrationDescription,
  sealRegistrationPayload,
  startGateway,
} from "../../tools/gateway/index.js";
import { type Call, message, type Reply, send } from "../support/gateway-client.js";
import { productSecret, psk } from "../support/keys.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));
const open: Gateway[] = [];
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(registration: RegistrationDescription = {}, options: GatewayOptions = {}): Promise<Gateway> {
  const devices = { products: { P1: { productSecret, registration, devices: { dev1: { psk } } } } };
  const gateway = await startGateway({ devices, ...options });
  open.push(gateway);
  return gateway;
}

function register(gateway: Gateway, deviceName = "new1", members: object = {}, call: Call = {}): Promise<Reply> {
  const body = JSON.stringify({ ProductId: "P1", DeviceName: deviceName, ...members });
  return send(gateway, { path: "/device/register", body, secret: productSecret, ...call });
}

interface Opened {
  content: { encryptionType: number; psk?: string; clientCert?: string; clientKey?: string };
  state: number | undefined;
}

function opened(reply: Reply): Opened {
  const { Len, Payload, State } = (reply.json as { Response: { Len: number; Payload: string; State?: number } })
    .Response;
  const decipher = createDecipheriv("aes-128-cbc", productSecret.slice(0, 16), "0".repeat(16)).setAutoPadding(false);
  const plain = Buffer.concat([decipher.update(Payload, "base64"), decipher.final()]);
  expect(plain.subarray(Len).every((byte) => byte === 0)).toBe(true);
  expect(plain.length - Len).toBeLessThan(16);
  return { content: JSON.parse(plain.subarray(0, Len).toString()), state: State };
}

test("payloads are encrypted like by the service and the official C client", () => {
  let compared = 0;
  for (const vector of vectors.aes_registration) {
    const { Len, Payload } = JSON.parse(vector.response_json).Response;
    const plain = vector.plaintext_in ?? (vector.id === "aes-01" ? `{"encryptionType":2,"psk":"${psk}"}` : undefined);
    if (typeof plain !== "string" || vector.product_secret === undefined || Payload === undefined) continue;
    if (Buffer.byteLength(plain) !== Len) continue;
    compared++;
    expect(sealRegistrationPayload(vector.product_secret, plain)).toEqual({ payload: Payload, length: Len });
  }
  expect(compared).toBeGreaterThanOrEqual(4);
});

test("a new device gets a PSK, publishes with it, and gets it again", async () => {
  const gateway = await start();
  const first = opened(await register(gateway));
  expect([first.state, first.content.encryptionType]).toEqual([0, 2]);
  const secret = first.content.psk as string;
  const body = message({ DeviceName: "new1", TopicName: "P1/new1/event" });
  expect((await send(gateway, { body, secret })).code).toBeUndefined();
  expect(opened(await register(gateway))).toEqual({ content: first.content, state: 1 });
  expect(gateway.received[0]).toMatchObject({ verifiedBy: "productSecret", registrationState: 0, accepted: true });
  expect(JSON.stringify(gateway.received)).not.toContain(secret);
});

test("a known device gets its existing PSK", async () => {
  expect(opened(await register(await start(), "dev1"))).toEqual({ content: { encryptionType: 2, psk }, state: 1 });
});

test("registering again can revoke the issued credential", async () => {
  const gateway = await start({ again: "renew" });
  const first = opened(await register(gateway)).content.psk as string;
  const second = opened(await register(gateway)).content.psk as string;
  expect(second).not.toBe(first);
  const body = message({ DeviceName: "new1", TopicName: "P1/new1/event" });
  expect((await send(gateway, { body, secret: first })).code).toBe("AuthFailure.SignatureFailure");
  expect((await send(gateway, { body, secret: second })).code).toBeUndefined();
});

test("a device gets a certificate and its key, and publishes with them", async () => {
  const gateway = await start({ credential: "certificate" });
  const { content } = opened(await register(gateway, "new1", {}, { algorithm: "hmacsha1" }));
  expect(content.encryptionType).toBe(1);
  const certificate = new X509Certificate(content.clientCert as string);
  expect(certificate.checkPrivateKey(createPrivateKey(content.clientKey as string))).toBe(true);
  expect(certificate.subject).toBe("CN=P1new1");
  const body = message({ DeviceName: "new1", TopicName: "P1/new1/event" });
  const call: Call = { body, algorithm: "rsa-sha256", privateKey: content.clientKey };
  expect((await send(gateway, call)).code).toBeUndefined();
  expect(opened(await register(gateway))).toEqual({ content, state: 1 });
});

test("a product with a private CA accepts only certificates of that CA", async () => {
  // An intermediate that is a CA stands for the product's; its leaf has an RSA key.
  const made = makeCertificates("direct", { keyType: { leaf: "rsa" } });
  const other = makeCertificates("selfSigned", { keyType: { leaf: "rsa" } });
  const expired = makeCertificates("expired", { keyType: { leaf: "rsa" } });
  const elliptic = makeCertificates("direct");
  const gateway = await start({ ownCa: made.root });
  expect((await register(gateway)).code).toBe("InvalidParameterValue.ParamIncomplete");
  const bring = (ClientCert: unknown): Promise<Reply> => register(gateway, "new1", { EncryptionType: 1, ClientCert });
  expect((await bring(other.chain)).code).toBe("InvalidParameterValue.CACertNotMatch");
  for (const bad of [expired.chain, elliptic.chain, "nonsense", 5]) {
    // What another CA signed is refused for that, whatever else is wrong with it.
    expect((await bring(bad)).code).toMatch(/^InvalidParameterValue(\.CACertNotMatch)?$/);
  }
  expect((await register(gateway, "new1", { EncryptionType: 2, ClientCert: made.chain })).code).toBe(
    "InvalidParameterValue",
  );
  expect(opened(await bring(made.chain))).toEqual({ content: { encryptionType: 1 }, state: 0 });
  const body = message({ DeviceName: "new1", TopicName: "P1/new1/event" });
  const call: Call = { body, algorithm: "rsa-sha256", privateKey: made.key };
  expect((await send(gateway, call)).code).toBeUndefined();
});

test.each<[string, RegistrationDescription, string, object, Call, string]>([
  ["signed with a psk", {}, "dev1", {}, { secret: psk }, "AuthFailure.SignatureFailure"],
  ["signed with nothing known", {}, "new1", {}, { secret: "x" }, "AuthFailure.SignatureFailure"],
  ["closed product", { open: false }, "new1", {}, {}, "ResourceNotFound.DeviceNotExist"],
  [
    "own certificate unasked",
    {},
    "new1",
    { EncryptionType: 1, ClientCert: "x" },
    {},
    "UnsupportedOperation.WrongProductAuthType",
  ],
  ["malformed name", {}, "a/b", {}, {}, "InvalidParameterValue"],
])("registration is rejected: %s", async (_name, registration, deviceName, members, call, code) => {
  const gateway = await start(registration);
  expect((await register(gateway, deviceName, members, call)).code).toBe(code);
  expect(gateway.received[0].accepted).toBe(false);
});

test("registration is rejected if repeated, without a ProductSecret, and with RSA", async () => {
  const once = await start({ again: "refuse" });
  expect((await register(once)).code).toBeUndefined();
  expect((await register(once)).code).toBe("UnsupportedOperation.ClientCertAlreadyGot");
  const none = await start({}, { devices: { products: { P1: {} } } });
  expect((await register(none)).code).toBe("UnauthorizedOperation.ProductIsForbidden");
  const { key } = makeCertificates("direct", { keyType: "rsa" });
  const gateway = await start();
  expect((await register(gateway, "new1", {}, { algorithm: "rsa-sha256", privateKey: key })).code).toBe(
    "UnsupportedOperation.WrongProductAuthType",
  );
});

test("State can be omitted from the response", async () => {
  expect(opened(await register(await start({ withoutState: true }))).state).toBeUndefined();
});

describe("log lines", () => {
  const report = (gateway: Gateway, members: object): Promise<Reply> => {
    const body = JSON.stringify({ ProductId: "P1", DeviceName: "dev1", ...members });
    return send(gateway, { path: "/device/reportlog", body });
  };

  test("are recorded", async () => {
    const gateway = await start();
    const Message = ["DBG|a", "INF b", "ERR: 温", "WRN"];
    expect((await report(gateway, { Message })).code).toBeUndefined();
    expect((await report(gateway, { Message: ["INF"], Level: "ERR" })).code).toBeUndefined();
    expect(gateway.received[0]).toMatchObject({ accepted: true, messages: Message, verifiedBy: "psk" });
  });

  test.each<[object, string]>([
    [{}, "InvalidParameterValue.ParamIncomplete"],
    [{ Message: "INF" }, "InvalidParameterValue"],
    [{ Message: [] }, "InvalidParameterValue"],
    [{ Message: [1] }, "InvalidParameterValue"],
    [{ Message: ["no level"] }, "InvalidParameterValue"],
    [{ Message: ["INF"], Level: "LOUD" }, "InvalidParameterValue"],
    [{ Message: Array(101).fill("INF") }, "FailedOperation.InvalidMsgLen"],
    [{ Message: [`INF${"x".repeat(4094)}`] }, "FailedOperation.InvalidMsgLen"],
  ])("%j → %s", async (members, code) => {
    expect((await report(await start(), members)).code).toBe(code);
  });
});

describe("devices and options", () => {
  const rsaKey = createPrivateKey(vectors.rsa_test_key["rsa2048_pkcs8.pem"]);
  const ecKey = createPublicKey(makeCertificates("direct").key).export({ type: "spki", format: "pem" }) as string;
  const one = (device: object): DevicesDescription => ({ products: { P1: { devices: { D: device } } } });

  test.each<[string, unknown, string]>([
    ["nothing", null, "devices must be an object"],
    ["a list", [], "devices must be an object"],
    ["no products", {}, "products must be an object"],
    ["an unknown member", { products: {}, x: 1 }, "devices.x is unknown"],
    ["a bad ProductId", { products: { "P-1": {} } }, "products.P-1 is not a ProductId"],
    [
      "a bad DeviceName",
      { products: { P1: { devices: { "a b": { psk } } } } },
      "products.P1.devices.a b is not a DeviceName",
    ],
    ["a short ProductSecret", { products: { P1: { productSecret: "abc" } } }, "products.P1.productSecret must have"],
    ["no credential", one({}), "products.P1.devices.D needs exactly one of"],
    ["two credentials", one({ psk, publicKey: "x" }), "products.P1.devices.D needs exactly one of"],
    ["an empty psk", one({ psk: "" }), "products.P1.devices.D.psk must be a non-empty string"],
    ["a psk that is a number", one({ psk: 5 }), "products.P1.devices.D.psk must be a non-empty string"],
    ["no key at all", one({ publicKey: "abc" }), "products.P1.devices.D.publicKey is not a public key"],
    ["a private key", one({ publicKey: rsaKey.export({ type: "pkcs8", format: "pem" }) }), "contains a private key"],
    ["an elliptic key", one({ publicKey: ecKey }), "is a key of type ec; only RSA"],
    ["no certificate", one({ certificate: "abc" }), "products.P1.devices.D.certificate is not a certificate"],
    ["an algorithm that does not fit", one({ psk, algorithm: "rsa-sha256" }), "algorithm does not fit"],
    ["an unknown algorithm", one({ psk, algorithm: "md5" }), "algorithm must be one of"],
    ["an unknown permission", one({ psk, topics: { a: "all" } }), "topics.a must be one of"],
    [
      "a bad registration",
      { products: { P1: { registration: { again: "no" } } } },
      "registration.again must be one of",
    ],
    ["a CA that is none", { products: { P1: { registration: { ownCa: "x" } } } }, "ownCa is not a certificate"],
  ])("%s", async (_name, devices, words) => {
    const started = startGateway({ devices: devices as DevicesDescription });
    await expect(started).rejects.toMatchObject({ code: "INVALID_DEVICES", message: expect.stringContaining(words) });
  });

  test("are read from a file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "gateway-"));
    try {
      const file = join(folder, "devices.json");
      writeFileSync(file, JSON.stringify({ products: { P1: { devices: { dev1: { psk } } } } }));
      const gateway = await start({}, { devices: file });
      expect((await send(gateway)).code).toBeUndefined();
      writeFileSync(file, `{"products":{"P1":{"devices":{"dev1":{"psk":"${psk}" oops`);
      const error: Error = await startGateway({ devices: file }).then(
        () => Promise.reject(new Error("started")),
        (reason) => reason,
      );
      expect(error).toMatchObject({ code: "INVALID_DEVICES" });
      expect(error.message).not.toContain(psk);
      await expect(startGateway({ devices: join(folder, "none.json") })).rejects.toMatchObject({
        code: "DEVICES_UNREADABLE",
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("can be added while the gateway is running", async () => {
    const gateway = await start();
    gateway.devices.set("P1", "late", { psk: "c2Vj" });
    const body = message({ DeviceName: "late", TopicName: "P1/late/data" });
    expect((await send(gateway, { body, secret: "c2Vj" })).code).toBeUndefined();
  });

  test.each<GatewayOptions>([
    { port: -1 },
    { port: 65536 },
    { port: 1.5 },
    { windowSeconds: -1 },
    { maxBodyBytes: 0 },
    { rateLimit: 0 },
    { faultHeader: "a b" },
    { fault: { kind: "oops" } as never },
    { fault: { kind: "tls-hang" } },
  ])("%j is rejected", async (options) => {
    await expect(startGateway(options)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });

  test("a port in use and an unavailable address are rejected", async () => {
    const gateway = await start();
    const again = startGateway({ port: gateway.port });
    await expect(again).rejects.toMatchObject({
      name: "GatewayError",
      code: "PORT_IN_USE",
      message: `Another program listens on 127.0.0.1:${gateway.port}.`,
    });
    await expect(startGateway({ host: "192.0.2.1" })).rejects.toMatchObject({ code: "LISTEN_FAILED" });
  });
});
