import type { JsonObject } from "./publish.js";
import { Refusal } from "./responses.js";

/** Limits of this gateway; those of the service are not documented. */
const maxLines = 100;
const maxLineBytes = 4096;

const levels = ["DBG", "INF", "ERR", "WRN"];

/**
 * Reads the lines of `POST /device/reportlog`.
 * @throws {Refusal} InvalidParameterValue.ParamIncomplete, InvalidParameterValue, FailedOperation.InvalidMsgLen if
 * `Message` is not an array of 1 to 100 strings, each of at most 4096 bytes with a level as its prefix
 */
export function readLogLines(body: JsonObject): readonly string[] {
  const lines = body.Message;
  if (lines === undefined) throw new Refusal("InvalidParameterValue.ParamIncomplete", "Message is missing.");
  const bad = (message: string): Refusal => new Refusal("InvalidParameterValue", message);
  if (!Array.isArray(lines) || lines.length === 0) throw bad(`Message must be an array of 1 to ${maxLines} strings.`);
  const tooLong = (message: string): Refusal => new Refusal("FailedOperation.InvalidMsgLen", message);
  if (lines.length > maxLines) throw tooLong(`Message must be an array of 1 to ${maxLines} strings.`);
  for (const line of lines) {
    if (typeof line !== "string") throw bad("Message must contain only strings.");
    if (Buffer.byteLength(line) > maxLineBytes) throw tooLong(`A line of Message has more than ${maxLineBytes} bytes.`);
    if (!levels.some((level) => line.startsWith(level))) {
      throw bad(`Each line of Message must begin with its level: ${levels.join(", ")}.`);
    }
  }
  const level = body.Level;
  if (level !== undefined && !levels.includes(level as string)) throw bad(`Level must be one of ${levels.join(", ")}.`);
  return lines as string[];
}
