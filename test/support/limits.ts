/**
 * Limits of time in the test's hand: a busy machine cannot reach one too early, and an idle one need not wait for it.
 * Timers of {@link LIMIT_MS} and about that never fire by themselves, but when the test says that nothing else can happen
 * any more. Shorter ones are the machine's as ever.
 */

import { afterEach } from "@jest/globals";
import type { Clock, Timer } from "../../src/host.js";

/** What the tests give as a limit. What is left of it after a part of the work was done is still one. */
export const LIMIT_MS = 1_000_000;
/** A busy machine may take long between setting a request's own limit and that of its last attempt. */
const SAME_MOMENT_MS = LIMIT_MS / 100;
const LEAST_HELD_MS = LIMIT_MS / 2;

interface Held {
  readonly delayMs: number;
  readonly dueMs: number;
  readonly callback: () => void;
}

const held = new Map<object, Held>();
/** What the clocks of {@link limits.clockOf} are ahead of the machine's counter. */
let aheadMs = 0;
const nowMs = () => performance.now() + aheadMs;

/** Leaves none of a test's limits to the next one of the file. */
export function useLimits(): void {
  afterEach(() => {
    held.clear();
    aheadMs = 0;
  });
}

export const limits = {
  /** Delays of the limits that are set, soonest first. */
  get set(): readonly number[] {
    return [...held.values()].sort((a, b) => a.dueMs - b.dueMs).map(({ delayMs }) => delayMs);
  },

  /** Lets those that are due first be over, and the clocks move on to it. @returns false if none is set */
  pass(): boolean {
    const dueMs = Math.min(...[...held.values()].map((one) => one.dueMs));
    if (held.size === 0) return false;
    aheadMs += Math.max(0, dueMs - nowMs());
    // A request's own limit and that of its last attempt end in the same moment.
    for (const [handle, { callback, dueMs: ownMs }] of [...held]) {
      if (ownMs < dueMs + SAME_MOMENT_MS && held.delete(handle)) callback();
    }
    return true;
  },

  /** Waits for the promise, and passes a limit whenever `isDue`, which is asked at every turn of the event loop. */
  async passWhen<T>(isDue: (() => boolean) | undefined, promise: Promise<T>): Promise<T> {
    let settled = isDue === undefined;
    const done = () => {
      settled = true;
    };
    promise.then(done, done);
    while (!settled) {
      if (isDue?.()) limits.pass();
      await turn();
    }
    return promise;
  },

  /** The same timer, but for limits. */
  timerOf(timer: Timer): Timer {
    return {
      set(callback, delayMs) {
        if (delayMs < LEAST_HELD_MS) return timer.set(callback, delayMs);
        const handle = {};
        held.set(handle, { delayMs, dueMs: nowMs() + delayMs, callback });
        return handle;
      },
      clear(handle) {
        if (!held.delete(handle as object)) timer.clear(handle);
      },
    };
  },

  /** The same clock, with a counter that moves on with the limits. */
  clockOf(clock: Clock): Clock {
    return {
      nowMs: () => clock.nowMs(),
      monotonicMs: nowMs,
      ...(clock.ready && { ready: (...args: Parameters<NonNullable<Clock["ready"]>>) => clock.ready?.(...args) }),
    } as Clock;
  },
};

/** One turn of the event loop, with all the jobs of promises. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves after enough turns for all pending transfers between sockets of this process. */
export async function quiet(turns = 200): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}
