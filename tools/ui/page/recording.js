/** Reads a recording of a gateway (`tencent-iothub gateway --record FILE`): JSON, an event on each line. */

/** @import { Bytes, Entry, RequestDetail } from "./types.js" */

import { bytesOfBase64 } from "./format.js";
import { MAX_ENTRIES } from "./list.js";

/** Only the end of a longer file is read. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * @param {Blob} file
 * @returns {Promise<{ entries: Entry[], skipped: number }>} the last 10 000 events, and how many lines are none
 * @throws {Error} if no line is an event
 */
export async function readRecording(file) {
  const start = Math.max(0, file.size - MAX_BYTES);
  const lines = (await file.slice(start).text()).split("\n");
  // The first line of a part is not whole.
  if (start > 0) lines.shift();
  /** @type {Entry[]} */
  const entries = [];
  let skipped = 0;
  for (const line of lines) {
    if (line.trim() === "" || line.startsWith('{"recording"')) continue;
    const entry = entryOf(line);
    if (entry === undefined) skipped++;
    else entries.push(entry);
  }
  if (entries.length === 0) throw new Error("This is not a recording of a gateway, or it is empty.");
  return { entries: entries.slice(-MAX_ENTRIES), skipped };
}

/** A recording may be anybody's: what does not have the form of an event is left out. @param {string} line */
function entryOf(line) {
  try {
    return eventOf(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** @param {any} event @returns {Entry | undefined} */
function eventOf(event) {
  const key = -1;
  if (event.type === "request") {
    const { bodyBase64, payloadBase64, ...request } = event.request;
    if (typeof request.method !== "string" || typeof request.url !== "string" || !isHeaders(request.headers))
      return undefined;
    if (typeof request.connection?.id !== "number" || typeof request.receivedAtMs !== "number") return undefined;
    if (!isError(request.error) || !isFault(request.fault) || !isDiagnosis(request.diagnosis)) return undefined;
    if (!isTexts(request.messages ?? [])) return undefined;
    /** @type {RequestDetail} */
    const view = {
      ...request,
      accepted: request.accepted === true,
      atMs: request.receivedAtMs,
      body: bytesView(bodyBase64),
      ...(payloadBase64 === undefined ? {} : { payload: bytesView(payloadBase64) }),
    };
    return { key, type: "request", view, failed: !view.accepted };
  }
  if (event.type === "tlsError" && typeof event.error?.code === "string" && typeof event.error.atMs === "number") {
    return { key, type: "tlsError", view: event.error, failed: true };
  }
  if (event.type === "dropped" && typeof event.reason === "string" && typeof event.atMs === "number") {
    if (typeof event.connection?.id !== "number") return undefined;
    return { key, type: "dropped", view: event, failed: true };
  }
  // When a fault was changed is not recorded.
  return undefined;
}

/** @param {unknown} value */
const isTexts = (value) => Array.isArray(value) && value.every((item) => typeof item === "string");

/** @param {unknown} value */
const isHeaders = (value) =>
  typeof value === "object" && value !== null && Object.values(value).every((item) => typeof item === "string");

/** @param {any} value */
const isError = (value) => value === undefined || (typeof value.code === "string" && typeof value.message === "string");

/** @param {any} value */
const isFault = (value) => value === undefined || typeof value.kind === "string";

/** @param {any} value */
const isDiagnosis = (value) =>
  value === undefined ||
  (typeof value.message === "string" &&
    [value.deviations, value.problems].every((list) => Array.isArray(list)) &&
    isTexts(value.ruledOut) &&
    isHeaders(value.expected) &&
    (value.signed === undefined || isHeaders(value.signed)));

/** @param {string} base64 @returns {Bytes} */
function bytesView(base64) {
  const bytes = bytesOfBase64(base64);
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), bytes: bytes.length };
  } catch {
    return { base64, bytes: bytes.length };
  }
}
