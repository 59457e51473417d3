/** The outbox over NVS: restarts, a power cut at every step, and a board that is short of memory. */

import { describe, expect, jest, test } from "@jest/globals";

// Before anything imports the host: the modules that the manifest maps on ESP32.
const platform = await import("../../host/moddable/esp32/platform.js");
const keyValue = await import("../../host/moddable/embedded/key-value.js");
jest.unstable_mockModule("../../host/moddable/platform.js", () => ({ ...platform }));
jest.unstable_mockModule("../../host/moddable/key-value.js", () => ({ ...keyValue }));
const { flash, useMachine } = await import("../support/moddable-machine.js");
const { KeyValueStorage } = await import("../../host/moddable/index-http.js");
const { start, survivesRestarts } = await import("../support/outbox-storages.js");

useMachine();

describe("NVS", () => {
  survivesRestarts(async () => () => new KeyValueStorage());
});

test.each(["clean", "torn"] as const)(
  "outbox in NVS delivers accepted readings in order after %s power cuts at every step",
  async (how) => {
    let cutShort = 0;
    for (let steps = 1; ; steps++) {
      flash.clear();
      const received: string[] = [];
      const accepted: string[] = [];
      flash.cutPowerAfter(steps, how);
      const first = start(new KeyValueStorage(), received);
      for (const [index, size] of [0, 3000, 0, 0, 3000, 0, 0].entries()) {
        const name = `r${index}.`;
        const done = await first.enqueue({ topic: "data", payload: name.padEnd(size) }).then(
          // While the power is gone nothing is delivered: `received` below is what came before.
          () => true,
          () => false,
        );
        if (done) accepted.push(name);
        if (index === 3) await first.flush().catch(() => {});
      }
      const cut = flash.steps >= steps;
      first.close();
      flash.powerOn();
      await start(new KeyValueStorage(), received).flush();
      const firsts = received.filter((name, at) => received.indexOf(name) === at);
      expect(accepted.filter((name) => !firsts.includes(name))).toEqual([]);
      if (!cut) {
        expect(firsts).toEqual([...firsts].sort());
        break;
      }
      cutShort++;
    }
    expect(cutShort).toBeGreaterThan(8);
  },
);

test("a reading with a topic of 20 and a payload of 56 bytes costs 4 entries, 7.4 writes, 150 bytes", async () => {
  const received: string[] = [];
  const storage = new KeyValueStorage();
  const topic = "sensor/temperature/1";
  const payload = "x".repeat(56);
  const device = start(storage, received);
  const before = flash.entries;
  await device.enqueue({ topic, payload });
  expect(flash.entries - before).toBe(4);
  await device.flush();
  const { writes, bytes, copies } = flash.wear;
  const readings = 500;
  for (let i = 0; i < readings; i++) {
    await device.enqueue({ topic, payload });
    await device.flush();
  }
  device.close();
  expect(received.length).toBe(readings + 1);
  expect((flash.wear.writes - writes) / readings).toBeLessThanOrEqual(7.4);
  expect((flash.wear.bytes - bytes) / readings).toBeLessThanOrEqual(150);
  expect(flash.wear.copies).toBe(copies);
});
