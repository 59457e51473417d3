/**
 * Simulated: a computer stays awake.
 * @param {number} seconds
 */
export function deepSleep(seconds) {
  trace(`asleep for ${seconds} s; a board restarts then\n`);
}
