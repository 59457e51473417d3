/** State of the simulated board. */

interface Board {
  /** ESP-IDF's number of the reset reason. */
  resetReason: number;
  /** Free memory in bytes; undefined in a build without instrumentation. */
  freeMemory: number | undefined;
}

export const board: Board = { resetReason: 1, freeMemory: undefined };

export function resetBoard(): void {
  board.resetReason = 1;
  board.freeMemory = undefined;
}
