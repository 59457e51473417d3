/** Starts the board anew; a simulator only says so. */
export function restart() {
  trace("restart\n");
  // The SDK's global of boards.
  /** @type {{ System?: { restart?(): void } }} */ (globalThis).System?.restart?.();
}
