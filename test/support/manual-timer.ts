import type { Clock, Timer } from "../../src/host.js";

/** A timer with its monotonic clock, both advanced only by {@link advance}. */
export class ManualTimer implements Timer, Pick<Clock, "monotonicMs"> {
  #nowMs = 0;
  readonly #due = new Map<number, { readonly atMs: number; readonly callback: () => void }>();
  #handles = 0;

  /** Number of pending callbacks. */
  get pending(): number {
    return this.#due.size;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  set(callback: () => void, delayMs: number): number {
    this.#due.set(++this.#handles, { atMs: this.#nowMs + delayMs, callback });
    return this.#handles;
  }

  clear(handle: unknown): void {
    this.#due.delete(handle as number);
  }

  /** Advances time; callbacks fire in order, each at its time. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#due].filter(([, { atMs }]) => atMs <= untilMs).sort(([, a], [, b]) => a.atMs - b.atMs);
      if (next === undefined) break;
      const [handle, { atMs, callback }] = next;
      this.#due.delete(handle);
      this.#nowMs = atMs;
      callback();
    }
    this.#nowMs = untilMs;
  }
}
