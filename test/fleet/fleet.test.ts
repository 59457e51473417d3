/** A fleet that is asked to come back later comes back spread over time, and is served all the same. */
import { expect, test } from "@jest/globals";
import { runFleet } from "./fleet.js";

const RETRY_AFTER_S = 30;
/** `FLEET_BOARDS=10000` takes a minute or two; what a gateway serves grows with the fleet. */
const BOARDS = Number(process.env.FLEET_BOARDS ?? 2000);
const CAPACITY = BOARDS / 200;

test("a fleet that starts within 15 s with 13 times the capacity never retries with more than 5 times", async () => {
  const { perSecond, delivered, shortestPauseMs } = await runFleet({
    boards: BOARDS,
    seed: 20261128,
    capacity: CAPACITY,
    retryAfter: RETRY_AFTER_S,
    flushIntervalMs: 15_000,
    maxSeconds: 3600,
  });
  // Nothing is known of the gateway before the first request of each.
  const first = Math.max(...perSecond.slice(0, 20));
  const back = Math.max(...perSecond.slice(20));
  process.stdout.write(
    `fleet: ${BOARDS} boards, ${CAPACITY} served a second: ${first} requests/s at first, at most ${back}/s after that, ${perSecond.length} s\n`,
  );
  expect(first).toBeGreaterThan(10 * CAPACITY);
  expect(back).toBeLessThanOrEqual(5 * CAPACITY);
  expect(shortestPauseMs).toBeGreaterThanOrEqual(RETRY_AFTER_S * 1000);
  expect(delivered).toBe(BOARDS);
  expect(perSecond.length).toBeLessThan(1800);
});

test("a gateway with a third of the needed capacity stays busy without a retry storm", async () => {
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
