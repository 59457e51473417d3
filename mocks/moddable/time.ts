/** `time`: the millisecond counter and the system clock. */

import { clock } from "./machine.js";

const Time = {
  /** Sets the clock to seconds since 1970. */
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
