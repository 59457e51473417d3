import { DiagnoseError } from "./errors.js";
import type { SentRequest } from "./request.js";

const fail = (reason: string): never => {
  throw new DiagnoseError("INVALID_TRACE", `This is not a trace of onEvent: ${reason}.`);
};

type Json = Record<string, unknown>;

/**
 * Parses events of `onEvent` as JSON: one event, an array, or one per line, with any prefix added by a log. Uses the
 * last `sign` event.
 * @param body the bytes that were sent, to compare their hash with that of the event
 * @throws {DiagnoseError} INVALID_TRACE
 */
export function parseTrace(text: string, body?: Uint8Array): SentRequest {
  const event = eventsOf(text)
    .filter(({ type }) => type === "sign")
    .at(-1);
  if (event === undefined) return fail('no event in it has the type "sign"');
  const { path, host, algorithm, timestampSeconds, nonce, bodyHash, signature } = event;
  for (const [name, value] of Object.entries({ path, host, algorithm, bodyHash, signature })) {
    if (typeof value !== "string") return fail(`the sign event has no ${name}`);
  }
  for (const [name, value] of Object.entries({ timestampSeconds, nonce })) {
    if (typeof value !== "number") return fail(`the sign event has no ${name}`);
  }
  return {
    method: "POST",
    target: path as string,
    host: host as string,
    headers: {
      "x-tc-algorithm": algorithm as string,
      "x-tc-timestamp": String(timestampSeconds),
      "x-tc-nonce": String(nonce),
      "x-tc-signature": signature as string,
    },
    ...(body === undefined ? {} : { body }),
    bodyHash: bodyHash as string,
    isPrefix: true,
  };
}

function eventsOf(text: string): Json[] {
  const isEvent = (value: unknown): value is Json =>
    typeof value === "object" && value !== null && typeof (value as Json).type === "string";
  try {
    const whole: unknown = JSON.parse(text.replace(/^\ufeff/, ""));
    return (Array.isArray(whole) ? whole : [whole]).filter(isEvent);
  } catch {
    // Not one JSON text: one event per line.
  }
  return text.split(/\r?\n/).flatMap((line) => {
    const [from, to] = [line.indexOf("{"), line.lastIndexOf("}")];
    if (from < 0 || to < from) return [];
    try {
      const value: unknown = JSON.parse(line.slice(from, to + 1));
      return isEvent(value) ? [value] : [];
    } catch {
      return [];
    }
  });
}
