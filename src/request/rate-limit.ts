/** A token bucket: how fast a device may send. */

import { IotHubError } from "../errors.js";

export interface RateLimit {
  /** Messages a second, above 0; 20 unless given, the lower of the two limits that the platform states. */
  readonly perSecond?: number;
  /** How many may follow each other at once after a pause, at least 1; 10 unless given. */
  readonly burst?: number;
}

export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at = 0;

  /** @throws {IotHubError} INVALID_OPTION */
  constructor({ perSecond = 20, burst = 10 }: RateLimit) {
    const valid = Number.isFinite(perSecond) && Number.isFinite(burst) && perSecond > 0 && burst >= 1;
    if (!valid) {
      throw new IotHubError("INVALID_OPTION", "rateLimit needs perSecond above 0 and burst of at least 1.");
    }
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
}
