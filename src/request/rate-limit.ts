/** A token bucket: how fast a device may send. */

import { checkOptions, rateLimitRules } from "../options.js";

export interface RateLimit {
  /**
   * Messages a second, 0.001 to 1 000 000; the default is the lower of the two limits that the platform states.
   * @default 20
   */
  readonly perSecond?: number;
  /** How many may follow each other at once after a pause, 1 to 1 000 000. @default 10 */
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
   * @param nowMs a clock that never goes back, in milliseconds
   * @returns 0, or the milliseconds after which to ask again
   */
  take(nowMs: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, nowMs - this.#at) * this.#perMs);
    this.#at = nowMs;
    // A wait is rounded up to whole milliseconds; the tolerance is for what rounding of the sum above takes away.
    if (this.#tokens > 0.999999) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.ceil((1 - this.#tokens) / this.#perMs);
  }

  /**
   * Takes none.
   * @returns 0 if there is a token, or the milliseconds until there is one
   */
  peek(nowMs: number): number {
    if (this.#tokens > 0.999999) return 0;
    const tokens = this.#tokens + Math.max(0, nowMs - this.#at) * this.#perMs;
    return tokens > 0.999999 ? 0 : Math.ceil((1 - tokens) / this.#perMs);
  }
}
