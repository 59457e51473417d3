/** Runs on the bare engine: readings through an outbox in memory, in a loop as a device would. */

import { utf8 } from "../../src/crypto/utf8.js";
import { Device } from "../../src/device.js";
import type { HttpRequest } from "../../src/host.js";
import { createMemoryStorage } from "../../src/storage/memory.js";

declare const print: (text: string) => void;
declare const mark: (name: string) => void;

/** Enqueues and delivers `readings` readings, `batch` of them at a time, by themselves or as one message. */
export async function run(readings: number, batch: number, isOne = false): Promise<void> {
  let now = 0;
  let requests = 0;
  let delivered = 0;
  let timers = 0;
  let expected = 0;
  const host = {
    http: {
      send: async ({ body }: HttpRequest) => {
        requests++;
        now += 50;
        // The order, without the cost of reading JSON: the last digit of the last reading.
        const at = isOne ? 36 : 11;
        expected += isOne ? batch : 1;
        if (body[body.length - at] !== 48 + ((expected - 1) % 10)) throw new Error("out of order");
        const headers = { "content-type": "application/json" };
        return { status: 200, headers, body: utf8(`{"Response":{"RequestId":"f4da4f1f-${requests}"}}`) };
      },
      close: () => {},
    },
    clock: { nowMs: () => 1800000000000 + now, monotonicMs: () => now },
    random: { bytes: (length: number) => new Uint8Array(length).fill(7) },
    timer: { set: () => ++timers, clear: () => timers-- },
    storage: createMemoryStorage(),
  };
  const device = new Device(
    {
      productId: "G8N9VAAAHB",
      deviceName: "sensor-1",
      credential: { secret: "lDZ6Uqt+I9E0wW7rvDUs7Q==" },
      url: "http://gateway.test",
      retry: false,
      outbox: { flushIntervalMs: 0, onDelivered: () => delivered++, batch: isOne ? { maxReadings: batch } : undefined },
    },
    host,
  );
  for (let i = 0; i < readings; i += batch) {
    for (let j = 0; j < batch; j++) {
      const payload = isOne ? { t: 21.5, rh: 48.2, n: i + j } : `{"t":21.5,"rh":48.2,"n":${i + j}`;
      await device.enqueue({ topic: "data", payload, qos: 1 });
    }
    const { remaining, reason } = await device.flush();
    if (remaining > 0 || reason !== "empty") throw new Error(`${remaining} remaining: ${reason}`);
    if ((i + batch) % (readings / 10) === 0) mark(String(i + batch));
  }
  device.close();
  print(`${delivered} delivered, ${requests} requests, ${timers} timers`);
}
