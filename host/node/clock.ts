/** The system's clock, which the system keeps right. */

import type { Clock } from "../../src/host.js";

export function createClock(): Clock {
  return { nowMs: () => Date.now(), monotonicMs: () => performance.now() };
}
