/** `resetReason`, like the SDK's module for ESP32, which has names for the first eleven of ESP-IDF's reasons. */

import { board } from "./board.js";

const reasons: Readonly<Record<number, string>> = {
  1: "Power-On",
  4: "Panic",
  6: "Task WDT",
  8: "Deep Sleep",
  9: "Brownout",
};

export default function getResetReason(): { reason: number; string: string } {
  return { reason: board.resetReason, string: reasons[board.resetReason] ?? "Invalid" };
}
