/** `time`: the counter of milliseconds, and the system's clock. */

import { clock } from "./machine.js";

const Time = {
  /** In seconds since 1970. */
  set(seconds: number): void {
    if (clock.settable) clock.setDate(Math.trunc(seconds) * 1000);
  },

  get ticks(): number {
    return clock.ticks();
  },

  delta(start: number, end = clock.ticks()): number {
    return end - start;
  },
};

export default Time;
