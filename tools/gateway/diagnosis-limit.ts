/** Limits the cost of wrong signatures: a maximum number of diagnoses per second. */
export class DiagnosisLimit {
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  /** Times of the last diagnoses, oldest first. */
  readonly #takenMs: number[] = [];

  /** @param nowMs monotonic clock, independent of the gateway's clock, which may be wrong */
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
