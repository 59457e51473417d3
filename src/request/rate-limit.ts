/** Rate limit of a device's requests, as a token bucket. */

import { checkOptions, rateLimitRules } from "../options.js";

/** Rate limit of a device's requests. */
export interface RateLimit {
  /**
   * Requests per second, 0.001 to 1 000 000. The default is the lower of the two limits that the platform documents.
   * @default 20
   */
  readonly perSecond?: number;
  /** Maximum burst of requests after a pause, 1 to 1 000 000. @default 10 */
  readonly burst?: number;
}

export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at = 0;

  /** @throws {IotHubError} INVALID_OPTION */
  constructor(options: RateLimit) {
    checkOptions("rateLimit", options, rateLimitRules);
    const { perSecond = 20, burst = 10 } = options;
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /**
   * Takes a token if there is one.
   * @param nowMs monotonic time in milliseconds
   * @returns 0 if it took one, or the delay in milliseconds before the next try
   */
  take(nowMs: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, nowMs - this.#at) * this.#perMs);
    this.#at = nowMs;
    // Delays are rounded up to whole milliseconds; the tolerance compensates for rounding errors in the sum above.
    if (this.#tokens > 0.999999) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.ceil((1 - this.#tokens) / this.#perMs);
  }

  /**
   * Checks for a token without taking it.
   * @returns 0 if there is a token, or the milliseconds until there is one
   */
  peek(nowMs: number): number {
    if (this.#tokens > 0.999999) return 0;
    const tokens = this.#tokens + Math.max(0, nowMs - this.#at) * this.#perMs;
    return tokens > 0.999999 ? 0 : Math.ceil((1 - tokens) / this.#perMs);
  }
}
