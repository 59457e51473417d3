/** When an outbox sends by itself, to the millisecond. Random values are one half. */

import { describe, expect, test } from "@jest/globals";
import { IotHubError, ResponseError } from "../../src/errors.js";
import { Schedule, type ScheduleOptions } from "../../src/outbox/schedule.js";
import { ManualTimer } from "../support/manual-timer.js";

const INTERVAL_MS = 1000;

function setup(options: Partial<ScheduleOptions> = {}, waiting: number | undefined = 1) {
  const timer = new ManualTimer();
  const state: { waiting: number | undefined; runs: number } = { waiting, runs: 0 };
  const random = { bytes: (length: number) => new Uint8Array(length).fill(0x80, 0, 1) };
  const parts = {
    timer,
    clock: timer,
    random,
    waiting: () => state.waiting,
    run: () => {
      state.runs++;
    },
  };
  const schedule = new Schedule(parts, { intervalMs: INTERVAL_MS, threshold: 3, ...options });
  /** Lets the planned flush begin. */
  const start = () => {
    const runs = state.runs;
    timer.advance(schedule.nextMs as number);
    expect(state.runs).toBe(runs + 1);
  };
  return { schedule, timer, state, start };
}

const failed = { reason: "network", delivered: 0, error: new IotHubError("NETWORK_FAILED", "No network.") } as const;
const refused = (retryAfterSeconds: number) =>
  ({
    reason: "server",
    delivered: 0,
    error: new ResponseError("HTTP_STATUS", "Later.", { status: 503, retryAfterSeconds }),
  }) as const;

describe("the schedule plans", () => {
  test("a random part of the interval after a start, so that a fleet is spread", () => {
    const { schedule, timer, state } = setup();
    expect(schedule.nextMs).toBe(500);
    timer.advance(499);
    expect([state.runs, schedule.nextMs]).toEqual([0, 1]);
    timer.advance(1);
    expect([state.runs, schedule.nextMs]).toEqual([1, 0]);
  });

  test("nothing without an interval", () => {
    const { schedule, timer, state } = setup({ intervalMs: 0 }, 100);
    schedule.update();
    expect([schedule.nextMs, timer.pending, state.runs]).toEqual([undefined, 0, 0]);
  });

  test("nothing for an empty outbox", () => {
    const { schedule, timer } = setup({}, 0);
    schedule.update();
    expect([schedule.nextMs, timer.pending]).toEqual([undefined, 0]);
  });

  test("one interval for new messages, not postponed by more", () => {
    const { schedule, timer, state } = setup({}, 0);
    schedule.update();
    state.waiting = 1;
    schedule.update();
    expect(schedule.nextMs).toBe(INTERVAL_MS);
    timer.advance(400);
    state.waiting = 2;
    schedule.update();
    expect([schedule.nextMs, timer.pending, state.runs]).toEqual([600, 1, 0]);
  });

  test("a flush at once at the threshold, instead of the planned one", () => {
    const { schedule, timer, state } = setup({}, 3);
    schedule.update();
    expect([state.runs, timer.pending, schedule.nextMs]).toEqual([1, 0, 0]);
    schedule.update();
    expect([state.runs, timer.pending]).toEqual([1, 0]);
  });

  test("no immediate flush before the storage was read", () => {
    const { schedule, state } = setup({}, undefined);
    state.waiting = undefined;
    schedule.update();
    expect([state.runs, schedule.nextMs]).toEqual([0, 500]);
  });

  test("at most the longest timer", () => {
    const { schedule, start } = setup({ intervalMs: 2147483647 });
    start();
    schedule.ended(failed, true);
    expect(schedule.nextMs).toBe(2147483647);
  });

  test("nothing after close", () => {
    const { schedule, timer, state } = setup({}, 3);
    schedule.close();
    expect([schedule.nextMs, timer.pending]).toEqual([undefined, 0]);
    schedule.update();
    expect([state.runs, timer.pending]).toEqual([0, 0]);
  });
});

describe("after failures", () => {
  test("the backoff doubles", () => {
    const { schedule, start } = setup();
    for (const delayMs of [2000, 3000, 5000]) {
      start();
      schedule.ended(failed, true);
      expect(schedule.nextMs).toBe(delayMs);
    }
  });

  test("the threshold is ignored until a delivery", () => {
    const { schedule, start, state } = setup({}, 3);
    start();
    schedule.ended(failed, true);
    schedule.update();
    expect([state.runs, schedule.nextMs]).toEqual([1, 2000]);
    schedule.ended({ reason: "network", delivered: 1, error: failed.error }, false);
    expect(state.runs).toBe(2);
  });

  test("a flush that empties the outbox ends the backoff", () => {
    const { schedule, start } = setup();
    start();
    schedule.ended(failed, true);
    start();
    schedule.ended({ reason: "empty", delivered: 0 }, true);
    expect(schedule.nextMs).toBe(INTERVAL_MS);
  });

  test("explicit flushes do not change the backoff and the plan", () => {
    const { schedule, timer, start } = setup();
    schedule.ended(failed, false);
    expect([schedule.nextMs, timer.pending]).toEqual([500, 1]);
    start();
    schedule.ended(failed, false);
    // The planned one is still pending.
    expect([schedule.nextMs, timer.pending]).toEqual([0, 0]);
    schedule.ended(failed, true);
    expect(schedule.nextMs).toBe(2000);
  });
});

describe("a pause requested by the gateway", () => {
  test("is respected, and spread further with each rejection in a row", () => {
    const { schedule, start } = setup();
    for (const delayMs of [10_000 + 30_000, 10_000 + 60_000, 10_000 + 120_000]) {
      start();
      schedule.ended(refused(10), true);
      expect(schedule.nextMs).toBe(delayMs);
    }
  });

  test("disables the threshold until it is over, even after a delivery", () => {
    const { schedule, timer, state, start } = setup({}, 3);
    start();
    schedule.ended({ ...refused(10), delivered: 1 }, true);
    expect([state.runs, schedule.nextMs]).toEqual([1, 40_000]);
    timer.advance(39_999);
    schedule.update();
    expect(state.runs).toBe(1);
    timer.advance(1);
    expect(state.runs).toBe(2);
  });

  test("does not count as a rejection if nothing was sent because of it", () => {
    const { schedule, start } = setup();
    const paused = Object.assign(new IotHubError("THROTTLED", "Paused."), { retryAfterSeconds: 10 });
    start();
    schedule.ended(refused(10), true);
    start();
    schedule.ended({ reason: "network", delivered: 0, error: paused }, true);
    start();
    schedule.ended(refused(10), true);
    expect(schedule.nextMs).toBe(10_000 + 60_000);
  });

  test.each([
    ["something was delivered", { reason: "network", delivered: 1, error: refused(10).error } as const, 40_000],
    ["another failure came between", failed, 3000],
  ])("is reset after %s", (_name, between, delayMs) => {
    const { schedule, start } = setup();
    start();
    schedule.ended(refused(10), true);
    start();
    schedule.ended(between, true);
    expect(schedule.nextMs).toBe(delayMs);
    start();
    schedule.ended(refused(10), true);
    expect(schedule.nextMs).toBe(between.delivered > 0 ? 70_000 : 40_000);
  });
});
