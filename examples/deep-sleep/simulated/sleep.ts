/** Computers stay awake. */
export function deepSleep(seconds: number): void {
  trace(`asleep for ${seconds} s; a board starts anew then\n`);
}
