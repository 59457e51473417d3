/**
 * What this device does. It runs on the board, in the simulator and, for the test, on Node: what needs the board is in
 * main.ts.
 */

import type { Device, OutboxOptions } from "tencent-iothub-xs";

/** A reading is sent at once. If it does not get through within five seconds, it waits in flash for the network. */
export const outbox: OutboxOptions = { flushThreshold: 1, storeAfterMs: 5000 };

/** Temperature in °C. Replace it with your sensor. */
export function readTemperature(): number {
  return Math.round(200 + 50 * Math.random()) / 10;
}

/** Hands a reading to the outbox, which delivers it. */
export async function report(device: Device, temperature: number): Promise<void> {
  await device.enqueue({ topic: "data", payload: { temperature } });
}
