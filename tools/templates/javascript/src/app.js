/**
 * What this device does. It runs on the board, in the simulator and, for the test, on Node: what needs the board is in
 * main.js.
 */

/**
 * A reading is sent at once. If it does not get through within five seconds, it waits in flash for the network.
 * @type {import("tencent-iothub-xs").OutboxOptions}
 */
export const outbox = { flushThreshold: 1, storeAfterMs: 5000 };

/** Temperature in °C. Replace it with your sensor. */
export function readTemperature() {
  return Math.round(200 + 50 * Math.random()) / 10;
}

/**
 * Hands a reading to the outbox, which delivers it.
 * @param {import("tencent-iothub-xs").Device} device
 * @param {number} temperature
 */
export async function report(device, temperature) {
  await device.enqueue({ topic: "data", payload: { temperature } });
}
