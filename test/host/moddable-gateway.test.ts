/** The Moddable host on stand-ins for the SDK's modules against the local gateway, over real sockets. */

import { generateKeyPairSync } from "node:crypto";
import { afterEach, describe, expect, test } from "@jest/globals";
import { type Gateway, type GatewayOptions, startGateway } from "../../mocks/gateway/index.js";
import { Device, type DeviceOptions } from "../../src/index.js";
import { createModdableHost, network, useMachine } from "./moddable-machine.js";

useMachine();

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
const privateKey = keys.privateKey.export({ format: "pem", type: "pkcs8" }) as string;
const publicKey = keys.publicKey.export({ format: "pem", type: "spki" }) as string;
const devices = {
  products: { G8N9VAAAHB: { devices: { key: { psk }, sha1: { psk }, cert: { publicKey } } } },
};

async function gateway(options: GatewayOptions = {}): Promise<Gateway> {
  const g = await startGateway({ devices, ...options });
  cleanups.push(() => g.close());
  return g;
}

function device(url: string, changes: Partial<DeviceOptions> = {}): Device {
  const options = { productId: "G8N9VAAAHB", deviceName: "key", credential: { secret: psk }, url, ...changes };
  const d = new Device(options, createModdableHost());
  cleanups.push(() => d.close());
  return d;
}

describe.each([true, false])("with writableFirst %s", (writableFirst) => {
  test.each<[string, string, DeviceOptions["credential"]]>([
    ["a key, HMAC-SHA256", "key", { secret: psk }],
    ["a key, HMAC-SHA1", "sha1", { secret: psk, algorithm: "hmacsha1" }],
    ["a certificate's key, RSA-SHA256", "cert", { privateKey }],
  ])("%s is verified, whatever the payload, on one connection", async (_name, deviceName, credential) => {
    network.writableFirst = writableFirst;
    const g = await gateway();
    const d = device(g.url, { deviceName, credential });
    for (const payload of ["温度\0\u2028😀\ud800", { t: 21.5 }, Uint8Array.of(0, 128, 255), "", "x".repeat(16384)]) {
      const { requestId } = await d.publish({ topic: "data", payload, qos: 0 });
      expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect(g.received.length).toBe(5);
    expect(g.counts.connections).toBe(1);
    expect(network.opened).toBe(1);
  });
});
