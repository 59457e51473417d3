import { Refusal } from "./responses.js";

/** Rate limit per device, over a sliding window of one second. Keeps nothing of devices that are silent for longer. */
export class RateLimit {
  readonly #limit: number;
  /** Times of the last second by device, the device that was silent longest first. */
  readonly #times = new Map<string, number[]>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws {Refusal} RequestLimitExceeded */
  take(device: string, nowMs: number): void {
    const times = (this.#times.get(device) ?? []).filter((time) => time > nowMs - 1000 && time <= nowMs);
    if (times.length >= this.#limit) {
      throw new Refusal("RequestLimitExceeded", `More than ${this.#limit} messages per second from this device.`);
    }
    times.push(nowMs);
    this.#times.delete(device);
    this.#times.set(device, times);
    for (const [silent, of] of this.#times) {
      if (of[of.length - 1] > nowMs - 1000) break;
      this.#times.delete(silent);
    }
  }

  /** Number of devices with a message within the last second, or since the last message of any device. */
  get size(): number {
    return this.#times.size;
  }
}
