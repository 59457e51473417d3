import { Refusal } from "./responses.js";

/** Rate limit per device, over a sliding window of one second. */
export class RateLimit {
  readonly #limit: number;
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
    this.#times.set(device, times);
  }
}
