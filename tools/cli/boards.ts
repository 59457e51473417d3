/** Boards that `init` and `flash` know by name. */

export const boards = ["esp32", "esp32c3", "esp32s3", "sim"] as const;
export const languages = ["typescript", "javascript"] as const;

export type Board = (typeof boards)[number];
export type Language = (typeof languages)[number];

/** Returns mcconfig's platform of a board: `esp32/esp32c3`; a platform of the SDK, with its slash, is returned unchanged. */
export function platformOf(board: string): string {
  return board === "esp32" || board.includes("/") ? board : `esp32/${board}`;
}
