/** Settings of the Moddable host: options, preferences, manifest, on stand-ins for the SDK's modules. */

import { describe, expect, test } from "@jest/globals";
import { completeOptions, readSettings } from "../../host/moddable/config.js";
import { Device as ModdableDevice } from "../../host/moddable/index-http.js";
import Preference from "../../mocks/moddable/preference.js";
import { startGateway } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { psk } from "../support/keys.js";
import { config, network, until, useMachine } from "../support/moddable-machine.js";

useMachine();

describe("settings", () => {
  test("preferences override the manifest, options both", () => {
    Object.assign(config, { productId: "P", deviceName: "D", psk, region: "europe", url: "", other: 1 });
    expect(readSettings()).toEqual({ productId: "P", deviceName: "D", psk, region: "europe" });
    Preference.set("tencent-iothub", "deviceName", "E");
    expect(completeOptions()).toEqual({
      productId: "P",
      deviceName: "E",
      region: "europe",
      credential: { secret: psk },
    });
    const given = { deviceName: "F", url: "http://h.test", credential: { secret: "b3RoZXI=" } };
    expect(completeOptions(given)).toEqual({ productId: "P", ...given });
  });

  test("a url in the settings overrides the region", () => {
    Object.assign(config, { productId: "P", deviceName: "D", psk, region: "europe", url: "http://h.test" });
    expect(completeOptions()).toMatchObject({ url: "http://h.test" });
    expect(completeOptions()).not.toHaveProperty("region");
    expect(completeOptions({ region: "bangkok" as never })).not.toHaveProperty("url");
  });

  test("a missing credential is an error", () => {
    expect(() => completeOptions({ productId: "P", deviceName: "D" })).toThrow(
      expect.objectContaining({ code: "INVALID_CREDENTIAL" }),
    );
  });

  test("a Device without host and options publishes", async () => {
    const gateway = await startGateway({ devices: { products: { P: { devices: { D: { psk } } } } } });
    cleanups.push(() => gateway.close());
    Object.assign(config, { productId: "P", deviceName: "D", psk, url: gateway.url });
    const device = new ModdableDevice();
    expect((await device.publish({ topic: "data", payload: "1" })).status).toBe(200);
    device.close();
    await until(() => network.open === 0);
  });
});
