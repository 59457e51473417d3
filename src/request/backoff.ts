/** How long to wait before the next try. Pure: the random value is an argument, so that it can be tested. */

import type { Random } from "../host.js";

/** Upper limit of what the gateway's pauses and failures add to the interval of something that runs by itself, in ms. */
export const MAX_BACKOFF_MS = 600000;
const MIN_PAUSE_SPREAD_MS = 1000;
const MIN_FLUSH_SPREAD_MS = 60000;

/**
 * Exponential backoff with full jitter: a random part of a limit that doubles (the AWS Architecture Blog, "Exponential
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
 * The delay before the next run of something that runs by itself: its interval, and after failures a backoff more.
 * @param failures in a row
 * @param maxDelayMs upper limit of the backoff, in milliseconds
 * @param random 0 to 1
 * @returns milliseconds
 */
export function nextRunMs(intervalMs: number, failures: number, maxDelayMs: number, random: number): number {
  if (failures === 0) return intervalMs;
  return intervalMs + backoffMs(failures, { baseDelayMs: intervalMs, maxDelayMs }, random);
}

/**
 * A pause that the gateway asked for with Retry-After: never shorter, and up to half of it longer, since boards that were
 * turned away together must not come back together.
 * @param askedMs what was asked, in milliseconds
 * @param maxMs upper limit of what is obeyed, and of what is added
 * @param random 0 to 1
 * @returns milliseconds
 */
export function pauseMs(askedMs: number, maxMs: number, random: number): number {
  const obeyedMs = Math.min(askedMs, maxMs);
  return obeyedMs + random * Math.min(maxMs, Math.max(MIN_PAUSE_SPREAD_MS, obeyedMs / 2));
}

/**
 * The same before what an outbox sends by itself, which nobody waits for: it is spread much further.
 * @param refusals in a row, 1 with the first
 */
export function flushPauseMs(askedMs: number, refusals: number, random: number): number {
  const obeyedMs = Math.min(askedMs, MAX_BACKOFF_MS);
  const spread = { baseDelayMs: Math.max(MIN_FLUSH_SPREAD_MS, obeyedMs), maxDelayMs: MAX_BACKOFF_MS };
  return obeyedMs + backoffMs(Math.max(0, refusals - 1), spread, random);
}

/** A random number from 0 to 1. */
export function unit(random: Random): number {
  const bytes = random.bytes(2);
  return ((bytes[0] << 8) | bytes[1]) / 65536;
}
