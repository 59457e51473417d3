/** Bounds what wrong signatures cost: at most so many diagnoses within any second. */
export class DiagnosisLimit {
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  /** When the last ones were, oldest first. */
  readonly #takenMs: number[] = [];

  /** @param nowMs a monotonic clock, so that the gateway's own clock may be wrong */
  constructor(perSecond: number, nowMs: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#nowMs = nowMs;
  }

  /** @returns false if the limit is reached */
  take(): boolean {
    const now = this.#nowMs();
    while (this.#takenMs.length > 0 && now - this.#takenMs[0] >= 1000) this.#takenMs.shift();
    if (this.#takenMs.length >= this.#perSecond) return false;
    this.#takenMs.push(now);
    return true;
  }
}
