/**
 * Sleeps; the program restarts afterwards.
 * @param {number} seconds
 */
export function deepSleep(seconds) {
  native("xs_example_deepSleep").call(undefined, seconds);
}
