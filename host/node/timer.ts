/** Node's timers. */

// The globals of these names may be a test framework's fake timers, under which no request would ever end.
import { clearTimeout, setTimeout } from "node:timers";
import type { Timer } from "../../src/host.js";

export function createTimer(): Timer {
  return {
    set: (callback, delayMs) => setTimeout(callback, delayMs),
    clear: (handle) => clearTimeout(handle as NodeJS.Timeout),
  };
}
