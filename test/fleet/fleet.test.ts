/** A fleet that is asked to come back later comes back spread over time, and is served all the same. */
import { expect, test } from "@jest/globals";
import { runFleet } from "./fleet.js";

const RETRY_AFTER_S = 30;

test("10 000 boards that come within 15 s to a gateway for 50 a second never come back as more than 250", async () => {
  const { perSecond, delivered, shortestPauseMs } = await runFleet({
    boards: 10_000,
    seed: 20261128,
    capacity: 50,
    retryAfter: RETRY_AFTER_S,
    flushIntervalMs: 15_000,
    maxSeconds: 3600,
  });
  // Nothing is known of the gateway before the first request of each.
  const first = Math.max(...perSecond.slice(0, 20));
  const back = Math.max(...perSecond.slice(20));
  process.stdout.write(`fleet: ${first} requests/s at first, at most ${back}/s after that, ${perSecond.length} s\n`);
  expect(first).toBeGreaterThan(500);
  expect(back).toBeLessThanOrEqual(250);
  expect(shortestPauseMs).toBeGreaterThanOrEqual(RETRY_AFTER_S * 1000);
  expect(delivered).toBe(10_000);
  expect(perSecond.length).toBeLessThan(1800);
});

test("a gateway for a third of the readings is kept busy, and not stormed", async () => {
  const capacity = 5;
  const { perSecond, delivered, shortestPauseMs } = await runFleet({
    boards: 1000,
    seed: 20261128,
    capacity,
    retryAfter: RETRY_AFTER_S,
    flushIntervalMs: 30_000,
    readingEveryMs: 60_000,
    maxSeconds: 900,
  });
  expect(Math.max(...perSecond)).toBeLessThanOrEqual(7 * capacity);
  expect(delivered).toBeGreaterThan(0.95 * capacity * 900);
  expect(shortestPauseMs).toBeGreaterThanOrEqual(RETRY_AFTER_S * 1000);
});
