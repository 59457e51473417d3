/** Provisioning and logs on Node against the local gateway, over real sockets and a storage of real files. */

import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { createHost, Device, forget, type ProvisionedDeviceOptions, register } from "../../host/node/index.js";
import {
  type GatewayOptions,
  makeClientCertificate,
  type RegistrationDescription,
  startGateway,
} from "../../tools/gateway/index.js";
import { productSecret } from "../support/keys.js";

const cleanups: (() => unknown)[] = [];
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "provisioning-"));
  cleanups.push(() => rm(folder, { recursive: true }));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Files in the folder, without the lock of the devices that are open. */
async function stored(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => !name.startsWith("%lock-"));
}

async function gateway(registration: RegistrationDescription = {}, options: GatewayOptions = {}) {
  const g = await startGateway({ devices: { products: { P1: { productSecret, registration } } }, ...options });
  cleanups.push(() => g.close());
  return g;
}

async function start(url: string, changes: Partial<ProvisionedDeviceOptions> = {}): Promise<Device> {
  const options = { productId: "P1", deviceName: "24:6f:28:aa:bb:cc", productSecret, url, storage: folder };
  const device = await Device.fromProvisioning({ ...options, ...changes });
  cleanups.push(() => device.close());
  return device;
}

const again: [string, RegistrationDescription, string][] = [
  ["a psk", { again: "renew" }, "psk"],
  ["a certificate", { again: "renew", credential: "certificate" }, "publicKey"],
];

test.each(again)(
  "provisioning registers %s once, reuses it, and replaces it with force",
  async (_, kind, verifiedBy) => {
    const g = await gateway(kind);
    const first = await start(g.url);
    await first.publish({ topic: "data", payload: "first" });
    first.close();
    // Another process with the same folder; the image no longer needs the secret.
    const second = await start(g.url, { productSecret: undefined });
    await second.publish({ topic: "data", payload: "second" });
    expect(
      g.received.map(({ url, accepted, verifiedBy: by, registrationState }) => [url, accepted, by, registrationState]),
    ).toEqual([
      ["/device/register", true, "productSecret", 0],
      ["/device/publish", true, verifiedBy, undefined],
      ["/device/publish", true, verifiedBy, undefined],
    ]);

    // The gateway issues another and refuses the old one.
    const third = await start(g.url, { force: true });
    await third.publish({ topic: "data", payload: "third" });
    expect(g.received.at(-2)).toMatchObject({ url: "/device/register", registrationState: 1 });
    await expect(second.publish({ topic: "data", payload: "old" })).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
    const fourth = await start(g.url);
    await fourth.publish({ topic: "data", payload: "fourth" });
    expect(g.received.at(-1)).toMatchObject({ url: "/device/publish", accepted: true });

    await fourth.forget();
    expect(await stored()).toEqual([]);
    await expect(fourth.publish({ topic: "data", payload: "x" })).rejects.toMatchObject({ code: "DEVICE_CLOSED" });
    await expect(start(g.url, { productSecret: undefined })).rejects.toMatchObject({ code: "NOT_PROVISIONED" });
  },
);

test("provisioning writes files readable only by their owner, never with the ProductSecret", async () => {
  const g = await gateway({ credential: "certificate" });
  await start(g.url);
  const names = await stored();
  expect(names).toContain("cred");
  for (const name of names) {
    expect((await stat(join(folder, name))).mode & 0o077).toBe(0);
    expect(await readFile(join(folder, name), "latin1")).not.toContain(productSecret);
  }
});

test("provisioning sends the certificate of a product with a private CA", async () => {
  const { root, chain, key } = makeClientCertificate({ name: "board", keyType: "rsa" });
  const g = await gateway({ ownCa: root });
  const own = { clientCertificate: chain, clientKey: key };
  const device = await start(g.url, own);
  await device.publish({ topic: "data", payload: "x" });
  expect(g.received.map((r) => r.verifiedBy)).toEqual(["productSecret", "publicKey"]);
  const later = await start(g.url, { ...own, productSecret: undefined });
  await later.publish({ topic: "data", payload: "y" });
  expect(g.received.map((r) => r.url)).toEqual(["/device/register", "/device/publish", "/device/publish"]);
  await expect(start(g.url, { deviceName: "other", force: true })).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
});

test("provisioning works over HTTPS, with HMAC-SHA1, and without State", async () => {
  const g = await gateway({ withoutState: true }, { https: true });
  const host = createHost({ trustAnchors: g.ca });
  cleanups.push(() => host.http.close());
  const options = { productId: "P1", deviceName: "d", productSecret, url: g.url, algorithm: "hmacsha1" } as const;
  const credential = await register(options, host);
  expect(credential).toMatchObject({ algorithm: "hmacsha1", requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  expect("state" in credential).toBe(false);
  const device = new Device({ productId: "P1", deviceName: "d", url: g.url, credential }, host);
  await device.publish({ topic: "data", payload: "x" });
  device.close();
  expect(g.received.map((r) => r.algorithm)).toEqual(["hmacsha1", "hmacsha1"]);
});

test("provisioning with a wrong ProductSecret is rejected, and nothing is stored", async () => {
  const g = await gateway();
  await expect(start(g.url, { productSecret: "x".repeat(24) })).rejects.toMatchObject({
    code: "GATEWAY_REJECTED",
    gatewayCode: "AuthFailure.SignatureFailure",
  });
  expect(await stored()).toEqual([]);
});

test("provisioning registers again after a lost response", async () => {
  const g = await gateway({ again: "renew" });
  await start(g.url);
  g.faults.always({ kind: "reset", phase: "headers" });
  await expect(start(g.url, { force: true, timeoutMs: 2000 })).rejects.toMatchObject({ retryable: true });
  g.faults.clear();
  const device = await start(g.url);
  await device.publish({ topic: "data", payload: "x" });
  expect(g.received.at(-1)).toMatchObject({ url: "/device/publish", accepted: true });
});

test("a closed device can delete its credential, and releases the folder", async () => {
  const g = await gateway();
  const device = await start(g.url);
  expect(await stored()).not.toEqual([]);
  device.close();
  await device.forget();
  expect(await readdir(folder)).toEqual([]);
});

test("provisioning requires a storage", async () => {
  const g = await gateway();
  await expect(start(g.url, { storage: undefined })).rejects.toMatchObject({ code: "INVALID_OPTION" });
  expect(g.received).toHaveLength(0);
});

test("provisioning uses the storage of a passed host, and does not close it", async () => {
  const g = await gateway();
  const host = createHost({ storage: folder });
  cleanups.push(() => host.close());
  const device = await Device.fromProvisioning({ productId: "P1", deviceName: "d", productSecret, url: g.url }, host);
  device.close();
  const second = await Device.fromProvisioning({ productId: "P1", deviceName: "d", url: g.url }, host);
  await second.publish({ topic: "data", payload: "x" });
  second.close();
  await forget(host);
  await host.close();
  expect(await stored()).toEqual([]);
});

test("log lines arrive with their levels, in one request", async () => {
  const g = await gateway();
  const device = await start(g.url, { log: { level: "debug" } });
  device.log("debug", "boot", { reason: "power on" });
  device.log("info", "温度", 21.5);
  device.log("warn", "battery low");
  device.log("error", new Error("sensor gone"));
  await device.flushLog();
  const { messages, accepted, verifiedBy } = g.received.at(-1) ?? {};
  expect({ accepted, verifiedBy }).toEqual({ accepted: true, verifiedBy: "psk" });
  expect(messages?.map((line) => line.replace(/\|.*?\|/, "|"))).toEqual([
    'DBG|boot {"reason":"power on"}',
    "INF|温度 21.5",
    "WRN|battery low",
    "ERR|Error: sensor gone",
  ]);
});
