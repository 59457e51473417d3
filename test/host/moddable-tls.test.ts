/** HTTPS of the Moddable host against the local gateway, with a stand-in for the SDK's TLS session. */

import { afterEach, describe, expect, test } from "@jest/globals";
import { type GatewayOptions, makeCertificates, startGateway } from "../../mocks/gateway/index.js";
import { Device, type DeviceOptions } from "../../src/index.js";
import { clock, createModdableHost, network, until, useMachine } from "./moddable-machine.js";

useMachine();

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const devices = { products: { P: { devices: { D: { psk } } } } };

test("ten publishes", async () => {
  const g = await startGateway({ devices, https: true });
  cleanups.push(() => g.close());
  const host = createModdableHost({ certificates: [g.certificates?.rootDer as Uint8Array] });
  const d = new Device({ productId: "P", deviceName: "D", credential: { secret: psk }, url: g.url }, host);
  for (let i = 0; i < 10; i++) {
    const { timing } = await d.publish({ topic: "data", payload: { i } });
    expect(timing.reused).toBe(i > 0);
  }
  expect(g.counts).toMatchObject({ connections: 1, tlsHandshakes: 1 });
  d.close();
});
