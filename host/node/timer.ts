/** Node's timers. */

// Imported: a test framework may replace the globals with fake timers, and requests would never end.
import { clearTimeout, setTimeout } from "node:timers";
import type { Timer } from "../../src/host.js";

export function createTimer(): Timer {
  return {
    set: (callback, delayMs) => setTimeout(callback, delayMs),
    clear: (handle) => clearTimeout(handle as NodeJS.Timeout),
  };
}
