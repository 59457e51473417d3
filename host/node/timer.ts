/** Node's timers. */

import type { Timer } from "../../src/host.js";

export function createTimer(): Timer {
  return {
    set: (callback, delayMs) => setTimeout(callback, delayMs),
    clear: (handle) => clearTimeout(handle as NodeJS.Timeout),
  };
}
