/** What sixty readings cost after an outage: requests and bytes on the wire, one by one and in batches. */

import { expect, test } from "@jest/globals";
import { requestHead } from "../../host/moddable/http-codec.js";
import { columns, type OutboxOptions } from "../../src/index.js";
import { outboxDevice } from "../support/outbox-device.js";

const READINGS = 60;
const FIRST_MS = 1796000000000;

/** Requests, and the bytes of their heads and bodies as a board writes them. */
async function cost(outbox: OutboxOptions) {
  const { device, host } = outboxDevice(undefined, outbox, {}, { productId: "ABCDEFGHIJ", deviceName: "sensor-1" });
  for (let n = 0; n < READINGS; n++) {
    await device.enqueue({ topic: "data", payload: { temperature: 21.5 }, timeMs: FIRST_MS + n * 10000 });
  }
  expect(await device.flush()).toMatchObject({ delivered: READINGS, reason: "empty" });
  let bytes = 0;
  // A nonce has up to ten digits.
  for (const { request } of host.sent) {
    const nonce = request.headers["X-TC-Nonce"] ?? "";
    bytes += requestHead(request).length + 10 - nonce.length + request.body.length;
  }
  return [host.sent.length, Math.round(bytes / READINGS)];
}

test.each<[string, OutboxOptions, number, number]>([
  ["one by one, without their time", {}, 60, 449],
  ["one by one, with their time", { timeField: "time" }, 60, 472],
  ["in batches", { batch: {} }, 3, 67],
  ["in one batch", { batch: { maxReadings: 60 } }, 1, 53],
  ["in one batch of columns", { batch: { maxReadings: 60, encode: columns } }, 1, 20],
])("60 readings %s have the expected requests and bytes", async (_name, outbox, requests, bytes) => {
  expect(await cost(outbox)).toEqual([requests, bytes]);
});
