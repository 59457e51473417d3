/**
 * Computers stay awake.
 * @param {number} seconds
 */
export function deepSleep(seconds) {
  trace(`asleep for ${seconds} s; a board starts anew then\n`);
}
