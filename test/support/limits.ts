/**
 * Timeouts controlled by the test: a busy machine cannot reach one too early, and an idle one need not wait for it.
 * Timers of about {@link LIMIT_MS} fire only when the test says that nothing else can happen. Shorter ones are real.
 */

import { afterEach } from "@jest/globals";
import type { Clock, Timer } from "../../src/host.js";

/** Timeout used by the tests. The remainder after a part of the work still counts as one. */
export const LIMIT_MS = 1_000_000;
/** Tolerance between the timeouts of a request and of its last attempt, generous for busy machines. */
const SAME_MOMENT_MS = LIMIT_MS / 100;
const LEAST_HELD_MS = LIMIT_MS / 2;

interface Held {
  readonly delayMs: number;
  readonly dueMs: number;
  readonly callback: () => void;
}

const held = new Map<object, Held>();
/** Offset of the clocks of {@link limits.clockOf} from the machine's counter. */
let aheadMs = 0;
const nowMs = () => performance.now() + aheadMs;

/** Clears a test's timeouts before the next one of the file. */
export function useLimits(): void {
  afterEach(() => {
    held.clear();
    aheadMs = 0;
  });
}

export const limits = {
  /** Delays of the set timeouts, soonest first. */
  get set(): readonly number[] {
    return [...held.values()].sort((a, b) => a.dueMs - b.dueMs).map(({ delayMs }) => delayMs);
  },

  /** Expires the next timeouts, and advances the clocks to them. @returns false if none is set */
  pass(): boolean {
    const dueMs = Math.min(...[...held.values()].map((one) => one.dueMs));
    if (held.size === 0) return false;
    aheadMs += Math.max(0, dueMs - nowMs());
    // The timeouts of a request and of its last attempt expire at the same time.
    for (const [handle, { callback, dueMs: ownMs }] of [...held]) {
      if (ownMs < dueMs + SAME_MOMENT_MS && held.delete(handle)) callback();
    }
    return true;
  },

  /** Waits for the promise, and expires a timeout whenever `isDue`, checked at every turn of the event loop. */
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

  /** Wraps a timer: timeouts are controlled by the test. */
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

  /** Wraps a clock: its counter advances with the timeouts. */
  clockOf(clock: Clock): Clock {
    return {
      nowMs: () => clock.nowMs(),
      monotonicMs: nowMs,
      ...(clock.ready && { ready: (...args: Parameters<NonNullable<Clock["ready"]>>) => clock.ready?.(...args) }),
    } as Clock;
  },
};

/** Resolves after one turn of the event loop, with all promise jobs. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves after enough turns for all pending transfers between sockets of this process. */
export async function quiet(turns = 200): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}
