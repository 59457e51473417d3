/** Vitals of the Node process. */

import { getHeapStatistics } from "node:v8";
import type { Vitals } from "../../src/host.js";

export function readVitals(): Vitals {
  return {
    uptimeMs: Math.round(process.uptime() * 1000),
    freeHeapBytes: getHeapStatistics().total_available_size,
  };
}
