/** Log uploads to the platform, POST /device/reportlog: batched, limited in size and rate. Uploads are never logged. */

import { utf8, utf8Decode } from "./crypto/utf8.js";
import { type ErrorClass, IotHubError, type ResponseError } from "./errors.js";
import type { Random, Timer } from "./host.js";
import { checkOptions, logRules } from "./options.js";
import { nextRunMs, unit } from "./request/backoff.js";
import { countRejection, roundsNeeded, type Suspect } from "./request/evidence.js";

/** Severity of a log line, lowest first. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Options of {@link Device.log}: minimum level, upload interval and limits. */
export interface LogOptions {
  /** Minimum level: lines of lower levels are discarded. @default "info" */
  readonly level?: LogLevel;
  /** Interval between uploads in milliseconds, 100 to 3 600 000. @default 10000 */
  readonly intervalMs?: number;
  /** Maximum number of lines in one upload and in memory, 1 to 100. @default 50 */
  readonly maxLines?: number;
  /** Maximum line length in bytes of UTF-8, 64 to 4096; longer lines are truncated. @default 512 */
  readonly maxLineBytes?: number;
}

/** Dependencies of a log. */
export interface LogParts {
  readonly timer: Timer;
  readonly random: Random;
  /** The best known time, in milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Limit in bytes of the lines' JSON in one upload and in memory. */
  readonly maxBytes: number;
  /**
   * Uploads lines; resolves when they are delivered or stored. @param lines JSON array of strings @param fresh use a
   * new connection
   */
  readonly send: (lines: string, fresh: boolean) => Promise<void>;
  readonly classify: (error: IotHubError) => ErrorClass;
}

const LEVELS: readonly string[] = Object.freeze(["debug", "info", "warn", "error"]);
/** Prefix of the lines of each level. */
const PREFIXES: readonly string[] = Object.freeze(["DBG", "INF", "WRN", "ERR"]);
/** Limit of the lines' JSON in one upload, in bytes: that of a message. */
export const MAX_LOG_BYTES = 16384;
/** Reserved for the line that reports the number of dropped lines. */
const NOTICE_BYTES = 96;
/** Maximum backoff, in intervals. */
const MAX_BACKOFF = 32;

/** Oldest lines, which were rejected together. */
interface SuspectLines extends Suspect {
  readonly count: number;
}

/**
 * Collects lines and uploads them at most once per interval. Lines beyond the limits are dropped, and the next upload
 * reports their number. Rejected lines are dropped on the same evidence as a rejected reading: later lines are
 * acknowledged, and these are rejected again.
 */
export class Log {
  readonly #parts: LogParts;
  readonly #least: number;
  readonly #intervalMs: number;
  readonly #maxLines: number;
  readonly #maxLineBytes: number;
  /** Lines, each encoded as a JSON string. */
  #lines: string[] = [];
  #bytes = 0;
  #dropped = 0;
  #failures = 0;
  #timer: unknown;
  #sending: Promise<void> | undefined;
  #suspect: SuspectLines | undefined;
  #silent = false;
  #closed = false;

  /** @throws {IotHubError} INVALID_LOG_LEVEL, INVALID_OPTION */
  constructor(parts: LogParts, options: LogOptions = {}) {
    checkOptions("log", options, logRules);
    const { level = "info", intervalMs = 10000, maxLines = 50, maxLineBytes = 512 } = options;
    this.#parts = parts;
    this.#least = rank(level);
    this.#intervalMs = intervalMs;
    this.#maxLines = maxLines;
    this.#maxLineBytes = maxLineBytes;
  }

  /**
   * Adds a line. Strings are used unchanged, errors with their code, byte arrays as their length, anything else as
   * JSON.
   * @throws {IotHubError} INVALID_LOG_LEVEL
   */
  add(level: LogLevel, message: readonly unknown[]): void {
    const at = rank(level);
    if (at < this.#least || this.#silent || this.#closed) return;
    const line = this.#line(at, message.map((part) => textOf(part, this.#maxLineBytes)).join(" "));
    const bytes = bytesOf(line);
    if (this.#lines.length >= this.#maxLines || this.#bytes + bytes > this.#parts.maxBytes - NOTICE_BYTES) {
      this.#dropped++;
      return;
    }
    this.#lines.push(line);
    this.#bytes += bytes;
    this.#schedule();
  }

  /**
   * Uploads the collected lines without waiting for the interval.
   * @throws {IotHubError} the error of the upload; the lines are kept if it may succeed later
   */
  async flush(): Promise<void> {
    // A pending upload does not include the latest lines.
    await this.#sending?.catch(() => {});
    await this.#send();
    if (this.#suspect?.due) await this.#send();
  }

  /** Runs a callback and discards lines logged meanwhile: logging about log uploads would never end. */
  silently(callback: () => void): void {
    const before = this.#silent;
    this.#silent = true;
    try {
      callback();
    } finally {
      this.#silent = before;
    }
  }

  /** Counts lines as dropped after `send` had accepted them. @param lines JSON array of strings */
  lost(lines: unknown): void {
    try {
      this.#dropped += JSON.parse(String(lines)).length;
    } catch {
      this.#dropped++;
    }
  }

  /** Discards all lines. */
  close(): void {
    this.#closed = true;
    this.#clearTimer();
    this.#lines = [];
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#sending !== undefined || this.#closed || this.#lines.length === 0) return;
    const { random } = this.#parts;
    const delayMs = nextRunMs(this.#intervalMs, this.#failures, MAX_BACKOFF * this.#intervalMs, unit(random));
    this.#timer = this.#parts.timer.set(() => {
      this.#timer = undefined;
      this.#send().catch(() => {});
    }, delayMs);
  }

  #clearTimer(): void {
    if (this.#timer !== undefined) this.#parts.timer.clear(this.#timer);
    this.#timer = undefined;
  }

  async #send(): Promise<void> {
    if (this.#sending !== undefined) return this.#sending;
    if (this.#lines.length === 0 || this.#closed) return;
    this.#clearTimer();
    this.#sending = this.#upload();
    try {
      await this.#sending;
    } finally {
      this.#sending = undefined;
      this.#schedule();
    }
  }

  async #upload(): Promise<void> {
    const held = this.#suspect;
    const isDue = held?.due === true;
    // Later lines go first, as evidence. Without any, try again: the rejection may have been temporary.
    const from = held && !isDue && (this.#lines.length > held.count || this.#dropped > 0) ? held.count : 0;
    const to = held && isDue ? held.count : this.#lines.length;
    const lines = this.#lines.slice(from, to);
    const dropped = isDue ? 0 : this.#dropped;
    if (dropped > 0) lines.push(this.#line(2, `${dropped} log lines were dropped`));
    try {
      await this.#parts.send(`[${lines.join(",")}]`, isDue);
      this.#dropped -= dropped;
      this.#failures = 0;
      if (from > 0 && held) held.due = true;
      else this.#suspect = undefined;
    } catch (cause) {
      const error = cause as IotHubError;
      this.#failures++;
      const needed = roundsNeeded(error, this.#parts.classify(error));
      if (needed === undefined || (error as ResponseError).early) throw error;
      if (needed > 0) {
        // If later lines are rejected too, there is no evidence against the first ones: suspect all of them together.
        if (from > 0) this.#suspect = undefined;
        this.#suspect ??= { count: to, reason: "", rounds: 0, due: false };
        if (countRejection(this.#suspect, error) < needed) throw error;
      }
      if (from === 0) this.#suspect = undefined;
      this.#dropped += to - from;
      this.#discard(from, to);
      throw error;
    }
    this.#discard(from, to);
  }

  #discard(from: number, to: number): void {
    if (this.#closed) return;
    for (const line of this.#lines.splice(from, to - from)) this.#bytes -= bytesOf(line);
  }

  /** Formats a line, `INF|2026-01-31T12:00:00.000Z|text`, as a JSON string without control characters. */
  #line(level: number, text: string): string {
    const flat = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ");
    const whole = `${PREFIXES[level]}|${timeText(this.#parts.nowMs())}|${flat}`;
    return JSON.stringify(cut(whole, this.#maxLineBytes));
  }
}

/** Formats a time as ISO 8601; a hyphen if it is out of range. */
function timeText(timeMs: number): string {
  // ECMA-262: a Date covers 100 million days in either direction.
  return Math.abs(timeMs) <= 8.64e15 ? new Date(timeMs).toISOString() : "-";
}

/** Size of a line in the JSON of an upload. */
function bytesOf(line: string): number {
  return utf8(line).length + 1;
}

function rank(level: LogLevel): number {
  const at = LEVELS.indexOf(level);
  if (at < 0) throw new IotHubError("INVALID_LOG_LEVEL", `The log level must be one of ${LEVELS.join(", ")}.`);
  return at;
}

function textOf(part: unknown, limit: number): string {
  try {
    if (part instanceof IotHubError) return `${part.code}: ${part.message}`;
    if (part instanceof Uint8Array) return `(${part.length} bytes)`;
    // Truncated early, so that text that will not be sent is not converted.
    if (typeof part === "string") return part.slice(0, limit);
    if (part instanceof Error || typeof part !== "object") return String(part).slice(0, limit);
    return (JSON.stringify(part) ?? String(part)).slice(0, limit);
  } catch {
    return "(no text)";
  }
}

/** Truncates text to a number of UTF-8 bytes, between characters. */
function cut(text: string, maxBytes: number): string {
  // UTF-8 takes at most four bytes per character on any engine.
  if (text.length * 4 <= maxBytes) return text;
  const bytes = utf8(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes - 3;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return `${utf8Decode(bytes.subarray(0, end))}…`;
}
