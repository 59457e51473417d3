/** The least and the most that an option may be, its default, and the first value beyond. */

import { describe, expect, test } from "@jest/globals";
import { Device, type DeviceOptions, NetworkError, type OutboxOptions, type RetryOptions } from "../../src/index.js";
import type { Outbox } from "../../src/outbox/outbox.js";
import { page, type Reply, refused, taken, virtualHost } from "../support/virtual-host.js";

const MAX_MS = 2147483647;

function setup(options: Partial<DeviceOptions> = {}, reply: Reply = () => taken()) {
  const host = virtualHost(reply);
  const identity = { productId: "P", deviceName: "d", credential: { secret: "secret" }, url: "http://gateway.test" };
  return { host, device: new Device({ ...identity, rateLimit: false, ...options }, host) };
}

const made = (options: Partial<DeviceOptions>) => () => setup(options).device.close();
const refusal = expect.objectContaining({ code: "INVALID_OPTION" });
const down: Reply = () => {
  throw new NetworkError("CONNECTION_REFUSED", "connect", "Nothing listens.");
};

const outboxLimits: [keyof OutboxOptions, number, number][] = [
  ["maxMessages", 1, 1_000_000],
  ["maxBytes", 256, Number.MAX_SAFE_INTEGER],
  ["flushIntervalMs", 0, MAX_MS],
  ["flushThreshold", 1, 1_000_000],
];
test.each(outboxLimits)("outbox.%s is an integer from %d to %d", (name, least, most) => {
  for (const value of [least, most]) expect(made({ outbox: { [name]: value } })).not.toThrow();
  for (const value of [least - 1, most + 1, least + 0.5, Number.NaN, `${least}`]) {
    expect(made({ outbox: { [name]: value } })).toThrow(refusal);
  }
});

const retryLimits: [keyof RetryOptions, number, number, boolean][] = [
  ["maxAttempts", 1, 1000, true],
  ["baseDelayMs", 0, MAX_MS, false],
  ["maxDelayMs", 0, MAX_MS, false],
  ["maxRetryAfterMs", 0, MAX_MS, false],
  ["attemptTimeoutMs", 1, MAX_MS, false],
  ["budget", 0, 1_000_000, false],
];
test.each(retryLimits)("retry.%s is from %d to %d", (name, least, most, isInteger) => {
  for (const value of [least, most]) expect(made({ retry: { [name]: value } })).not.toThrow();
  for (const value of [least - 1, most + 1, Number.NaN, `${least}`]) {
    expect(made({ retry: { [name]: value } })).toThrow(refusal);
  }
  if (isInteger) expect(made({ retry: { [name]: least + 0.5 } })).toThrow(refusal);
  else expect(made({ retry: { [name]: least + 0.5 } })).not.toThrow();
});

test("a request is sent at most three times by default", async () => {
  const { device, host } = setup({}, down);
  await expect(device.publish({ topic: "data", payload: "1" })).rejects.toMatchObject({ code: "CONNECTION_REFUSED" });
  expect(host.sent.length).toBe(3);
});

test("32 requests may be queued behind the pending one", async () => {
  const { device } = setup({}, () => new Promise(() => {}));
  const all = Array.from({ length: 34 }, () =>
    device.publish({ topic: "data", payload: "1" }).catch(({ code }) => code as string),
  );
  expect(await all[33]).toBe("QUEUE_FULL");
  device.close();
  expect((await Promise.all(all)).filter((code) => code === "DEVICE_CLOSED").length).toBe(33);
});

describe("flush", () => {
  const box = (options: OutboxOptions = {}, reply?: Reply) => {
    const { device, host } = setup({ retry: false, outbox: { flushIntervalMs: 0, ...options } }, reply);
    return { device, host, outbox: device.outbox as Outbox };
  };

  test("accepts a deadline from 0 to the longest timer", async () => {
    const { device } = box();
    for (const deadlineMs of [0, MAX_MS]) await device.flush({ deadlineMs });
    for (const deadlineMs of [-1, MAX_MS + 1, Number.NaN]) {
      await expect(device.flush({ deadlineMs })).rejects.toMatchObject({ code: "INVALID_OPTION" });
    }
  });

  test("may be called 16 times concurrently; one more is retryable", async () => {
    const { device } = box();
    const all = Array.from({ length: 16 }, () => device.flush());
    await expect(device.flush()).rejects.toMatchObject({ code: "QUEUE_FULL", retryable: true });
    await Promise.all(all);
    await device.flush();
  });

  test.each([401, 407])("with HTTP status %d reports the credential class, and keeps the message", async (status) => {
    for (const reply of [() => page(status), () => refused("Something.New", {}, status)]) {
      const { device, outbox } = box({}, reply);
      await device.enqueue({ topic: "data", payload: "1" });
      expect(await device.flush()).toMatchObject({ reason: "credential" });
      expect(outbox.size).toBe(1);
    }
  });
});

test("messages fit an outbox of exactly their size, and no smaller one", async () => {
  const message = { topic: "data", payload: "x".repeat(300) };
  const box = (maxBytes: number) => setup({ outbox: { flushIntervalMs: 0, maxBytes, policy: "rejectNewest" } }).device;
  const measure = box(17408);
  await measure.enqueue(message);
  const { bytes } = measure.outbox as Outbox;
  const one = box(bytes);
  await one.enqueue(message);
  await expect(one.enqueue(message)).rejects.toMatchObject({ code: "OUTBOX_FULL" });
  await expect(box(bytes - 1).enqueue(message)).rejects.toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
  const two = box(2 * bytes);
  await two.enqueue(message);
  await two.enqueue(message);
  expect(two.outbox?.size).toBe(2);
});
