/** The system's clock, which the system keeps right. */

// The global may be a test framework's, whose time stands still while the timers of this host do not.
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
