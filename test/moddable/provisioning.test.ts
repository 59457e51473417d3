/** Provisioning of a board on stand-ins for the SDK's modules, against the local gateway, with its power cut. */

import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { completeProvisioning } from "../../host/moddable/config.js";
import { Device } from "../../host/moddable/index-http.js";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { productSecret } from "../support/keys.js";
import { config, flash, network, until, useMachine } from "../support/moddable-machine.js";

useMachine();

let gateway: Gateway;
beforeEach(async () => {
  gateway = await startGateway({
    devices: {
      products: {
        KEY: { productSecret, registration: { again: "renew" } },
        CERT: { productSecret, registration: { again: "renew", credential: "certificate" } },
      },
    },
  });
});
afterEach(async () => {
  await gateway.close();
  await until(() => network.open === 0);
});

async function publishOnce(device: Device): Promise<void> {
  try {
    await device.publish({ topic: "data", payload: "1" });
    expect(gateway.received.at(-1)).toMatchObject({ url: "/device/publish", accepted: true });
  } finally {
    device.close();
  }
}

test("provisioning uses the MAC address as DeviceName and the settings for the rest", async () => {
  Object.assign(config, { productId: "KEY", productSecret, url: gateway.url });
  await publishOnce(await Device.fromProvisioning());
  expect(gateway.received[0]).toMatchObject({ url: "/device/register", deviceName: "240ac4000110", accepted: true });
  // An update of the firmware without the secret.
  Object.assign(config, { productSecret: undefined });
  const device = await Device.fromProvisioning();
  await publishOnce(device);
  expect(gateway.received.map(({ url }) => url)).toEqual(["/device/register", "/device/publish", "/device/publish"]);
  await device.forget();
  await expect(Device.fromProvisioning()).rejects.toMatchObject({ code: "NOT_PROVISIONED" });
});

test("provisioning requires a DeviceName without a MAC address", async () => {
  network.values.delete("MAC");
  const options = { productId: "KEY", productSecret, url: gateway.url };
  await expect(Device.fromProvisioning(options)).rejects.toMatchObject({ code: "INVALID_DEVICE_NAME" });
  await publishOnce(await Device.fromProvisioning({ ...options, deviceName: "lin" }));
});

test("options override the settings in provisioning", () => {
  Object.assign(config, { productId: "P", deviceName: "D", productSecret: "S", psk: "K", url: "http://a.test" });
  expect(completeProvisioning()).toEqual({
    productId: "P",
    deviceName: "D",
    productSecret: "S",
    url: "http://a.test",
  });
  expect(completeProvisioning({ deviceName: "E", productSecret: "T", region: "europe" })).toEqual({
    productId: "P",
    deviceName: "E",
    productSecret: "T",
    region: "europe",
  });
});

describe.each(["KEY", "CERT"])("product %s: a power cut at every step of the flash", (productId) => {
  const options = () => ({ productId, productSecret, url: gateway.url });

  test.each([false, true])("a board publishes after its next start (forced: %p)", async (force) => {
    for (let steps = 0; ; steps++) {
      flash.clear();
      if (force) (await Device.fromProvisioning(options())).close();
      const before = flash.steps;
      flash.cutPowerAfter(steps);
      await Device.fromProvisioning({ ...options(), force }).then(
        (device) => device.close(),
        () => {},
      );
      const needed = flash.steps - before;
      flash.powerOn();
      await publishOnce(await Device.fromProvisioning(options()));
      const registered = gateway.counts.requests;
      (await Device.fromProvisioning({ ...options(), productSecret: undefined })).close();
      expect(gateway.counts.requests).toBe(registered);
      if (needed < steps) {
        expect(needed).toBeGreaterThan(3);
        break;
      }
    }
  });
});
