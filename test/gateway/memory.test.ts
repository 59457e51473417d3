/** What the local gateway keeps does not grow with the requests of a long run. */
import { describe, expect, test } from "@jest/globals";
import { RateLimit } from "../../tools/gateway/ratelimit.js";
import { NonceMemory } from "../../tools/gateway/verify.js";

describe("the memory of nonces", () => {
  const WINDOW = 300;

  test("holds the nonces of two windows, however long the gateway runs", () => {
    const nonces = new NonceMemory(1_000_000);
    let largest = 0;
    // Ten requests a second for an hour.
    for (let i = 0; i < 36_000; i++) {
      nonces.use("P/d", String(i), i / 10, WINDOW);
      largest = Math.max(largest, nonces.size);
    }
    // Those of both ends of two windows are valid: 600.0 s and all between.
    expect(largest).toBe(6001);
  });

  test("refuses a nonce up to the last second of two windows, and takes it after that", () => {
    const nonces = new NonceMemory(100);
    nonces.use("P/d", "1", 1000, WINDOW);
    // Another device's uses clean up.
    nonces.use("P/e", "1", 1000 + 2 * WINDOW, WINDOW);
    expect(() => nonces.use("P/d", "1", 1000 + 2 * WINDOW, WINDOW)).toThrow("The nonce was used before.");
    nonces.use("P/d", "1", 1001 + 2 * WINDOW, WINDOW);
    expect(nonces.size).toBe(2);
  });

  test("holds no more than its limit within the window", () => {
    const nonces = new NonceMemory(50);
    for (let i = 0; i < 1000; i++) nonces.use("P/d", String(i), 1000, WINDOW);
    expect(nonces.size).toBe(50);
  });
});

describe("the rate limit", () => {
  test("forgets devices that are silent", () => {
    const limit = new RateLimit(10);
    let largest = 0;
    // 10 000 devices, one after the other, a hundred a second.
    for (let i = 0; i < 10_000; i++) {
      limit.take(`P/d${i}`, i * 10);
      largest = Math.max(largest, limit.size);
    }
    expect(largest).toBe(100);
  });

  test("still counts the messages of a device that was busy among others", () => {
    const limit = new RateLimit(2);
    limit.take("P/a", 0);
    limit.take("P/b", 400);
    limit.take("P/a", 800);
    expect(() => limit.take("P/a", 900)).toThrow("More than 2 messages per second from this device.");
    limit.take("P/c", 1300);
    limit.take("P/a", 1300);
    expect(() => limit.take("P/a", 1400)).toThrow("More than 2 messages per second from this device.");
  });
});
