/** What a board knows of itself. */

interface Board {
  /** ESP-IDF's number of why it was started. */
  resetReason: number;
  /** Bytes; undefined in a build without instrumentation. */
  freeMemory: number | undefined;
}

export const board: Board = { resetReason: 1, freeMemory: undefined };

export function resetBoard(): void {
  board.resetReason = 1;
  board.freeMemory = undefined;
}
