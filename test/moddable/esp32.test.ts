/** The Moddable host with the modules that the manifest maps on ESP32, before and after the network is started. */

import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { type IotHubError, provision } from "../../src/index.js";
import { startGateway } from "../../tools/gateway/index.js";

// Before anything imports the host.
const platform = await import("../../host/moddable/esp32/platform.js");
const keyValue = await import("../../host/moddable/embedded/key-value.js");
jest.unstable_mockModule("../../host/moddable/platform.js", () => ({ ...platform }));
jest.unstable_mockModule("../../host/moddable/key-value.js", () => ({ ...keyValue }));
const { board, clock, createHttpModdableHost, flash, network, useMachine } = await import(
  "../support/moddable-machine.js"
);
const { Device } = await import("../../host/moddable/index-http.js");
const { HashDrbg } = await import("../../host/moddable/random.js");

useMachine();
beforeEach(() => {
  network.esp32 = true;
});

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const identity = { productId: "P", deviceName: "D", credential: { secret: "c2VjcmV0" } };
const once = { retry: { maxAttempts: 1 } } as const;

async function failure(promise: Promise<unknown> | undefined): Promise<IotHubError> {
  return Promise.resolve(promise).then(
    () => {
      throw new Error("It succeeded.");
    },
    (error) => error,
  );
}

describe("random numbers on ESP32", () => {
  test("come from the chip's generator, also before the network is started", () => {
    expect(new HashDrbg().bytes(40).length).toBe(40);
    // Neither a stored seed, nor an address: useMachine() fails if that was asked for too early.
    expect(flash.steps).toBe(0);
  });
});

describe("the default DeviceName on ESP32", () => {
  test.each(["station", "station+ap"] as const)("is the station's MAC address in mode %s", (mode) => {
    network.wifi = mode;
    expect(createHttpModdableHost().deviceName?.()).toBe("240ac4000120");
  });

  test("is the MAC address of Ethernet on a board without Wi-Fi", () => {
    network.ethernet = true;
    expect(createHttpModdableHost().deviceName?.()).toBe("240ac4000123");
  });

  test.each(["off", "ap"] as const)("is an error in mode %s", async (mode) => {
    network.wifi = mode;
    const options = { productId: "P", productSecret: "s".repeat(16), url: "http://127.0.0.1:1" };
    const error = await failure(provision(options, createHttpModdableHost()));
    expect([error.code, error.message]).toEqual([
      "INVALID_DEVICE_NAME",
      "The DeviceName defaults to the MAC address, which is not available yet: start Wi-Fi first, or set deviceName.",
    ]);
    expect(flash.keys("tc-iothub")).toEqual([]);
  });
});

describe("vitals on ESP32", () => {
  test("include the signal strength once Wi-Fi is started", () => {
    network.values.set("RSSI", -61);
    board.resetReason = 9;
    const host = createHttpModdableHost();
    expect(host.vitals?.()).toEqual({ uptimeMs: expect.any(Number), resetReason: "Brownout" });
    network.wifi = "station";
    board.freeMemory = 123_456;
    board.resetReason = 15;
    expect(host.vitals?.()).toEqual({
      uptimeMs: expect.any(Number),
      resetReason: "reason 15",
      freeHeapBytes: 123_456,
      rssiDbm: -61,
    });
  });
});

describe("a publish on ESP32", () => {
  const publish = async (url: string, more: object = {}) => {
    const device = new Device({ ...identity, url, ...more }, createHttpModdableHost());
    cleanups.push(() => device.close());
    return device.publish({ topic: "data", payload: "1" });
  };

  test.each(["http://127.0.0.1:1", "http://gateway.test"])("before Wi-Fi is started fails: %s", async (url) => {
    const error = await failure(publish(url, once));
    expect([error.code, error.message, error.retryable]).toEqual([
      "NETWORK_FAILED",
      "The network is not started: connect to Wi-Fi or Ethernet first.",
      true,
    ]);
    expect(network.opened).toBe(0);
  });

  test("before Wi-Fi is started reports why the clock cannot be set", async () => {
    clock.setDate(0);
    const error = await failure(createHttpModdableHost({ clock: { servers: ["127.0.0.1:1"] } }).clock.ready?.());
    expect(error.code).toBe("CLOCK_NOT_SET");
    expect(error.message).toContain("The network is not started: connect to Wi-Fi or Ethernet first.");
  });

  test("succeeds by a retry once Wi-Fi is started", async () => {
    const { secret: psk } = identity.credential;
    const gateway = await startGateway({ devices: { products: { P: { devices: { D: { psk } } } } } });
    cleanups.push(() => gateway.close());
    const onEvent = ({ type: phase }: { type: string }) => {
      if (phase === "retry") network.wifi = "station";
    };
    const { attempts } = await publish(gateway.url, { retry: { baseDelayMs: 1 }, onEvent });
    expect(attempts).toBe(2);
  });
});
