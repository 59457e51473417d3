/** How long to wait before the next try. Pure: the random value is an argument, so that it can be tested. */

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
