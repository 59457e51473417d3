/** Instructions so far. */
export const ticks = native("bench_ticks");

/** Writes one line. */
export const print = native("bench_print");
