/** The system clock, which the system keeps synchronized. */

// Captured: a test framework may replace the global with a fake clock.
import { uptime } from "node:os";
import { performance } from "node:perf_hooks";
import type { Clock } from "../../src/host.js";

export function createClock(): Clock {
  return {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    synchronized: true,
    uptimeMs: () => uptime() * 1000,
  };
}
