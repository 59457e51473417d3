/** Delays before retries and pauses. Pure functions: the random value is an argument. */

import type { Random } from "../host.js";

/** Maximum that pauses and failures add to the interval of a periodic task, in milliseconds. */
export const MAX_BACKOFF_MS = 600000;
const MIN_PAUSE_SPREAD_MS = 1000;
const MIN_FLUSH_SPREAD_MS = 60000;

/**
 * Exponential backoff with full jitter: a random part of a limit that doubles (AWS Architecture Blog, "Exponential
 * Backoff And Jitter").
 * @param retry 0 before the first retry
 * @param random 0 to 1
 * @returns milliseconds
 */
export function backoffMs(
  retry: number,
  { baseDelayMs, maxDelayMs }: { readonly baseDelayMs: number; readonly maxDelayMs: number },
  random: number,
): number {
  return random * Math.min(maxDelayMs, baseDelayMs * 2 ** Math.min(retry, 31));
}

/**
 * Returns the delay before the next run of a periodic task: its interval, plus a backoff after failures.
 * @param failures number of consecutive failures
 * @param maxDelayMs upper limit of the backoff, in milliseconds
 * @param random 0 to 1
 * @returns milliseconds
 */
export function nextRunMs(intervalMs: number, failures: number, maxDelayMs: number, random: number): number {
  if (failures === 0) return intervalMs;
  return intervalMs + backoffMs(failures, { baseDelayMs: intervalMs, maxDelayMs }, random);
}

/**
 * Returns the pause for a Retry-After: never shorter than requested, and randomly up to half longer, so that boards
 * that were rejected together do not come back together.
 * @param askedMs requested pause in milliseconds
 * @param maxMs upper limit of the pause and of the random addition, each in milliseconds
 * @param random 0 to 1
 * @returns milliseconds
 */
export function pauseMs(askedMs: number, maxMs: number, random: number): number {
  const obeyedMs = Math.min(askedMs, maxMs);
  return obeyedMs + random * Math.min(maxMs, Math.max(MIN_PAUSE_SPREAD_MS, obeyedMs / 2));
}

/**
 * Same as {@link pauseMs} for automatic flushes, with a much larger random spread, since no caller is waiting.
 * @param refusals number of consecutive rejections, from 1
 */
export function flushPauseMs(askedMs: number, refusals: number, random: number): number {
  const obeyedMs = Math.min(askedMs, MAX_BACKOFF_MS);
  const spread = { baseDelayMs: Math.max(MIN_FLUSH_SPREAD_MS, obeyedMs), maxDelayMs: MAX_BACKOFF_MS };
  return obeyedMs + backoffMs(Math.max(0, refusals - 1), spread, random);
}

/** Returns a random number from 0 (inclusive) to 1 (exclusive). */
export function unit(random: Random): number {
  const bytes = random.bytes(2);
  return ((bytes[0] << 8) | bytes[1]) / 65536;
}
