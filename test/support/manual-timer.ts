import type { Clock, Timer } from "../../src/host.js";

/** A timer, and the monotonic clock that belongs to it, which stand still but for {@link advance}. */
export class ManualTimer implements Timer, Pick<Clock, "monotonicMs"> {
  #nowMs = 0;
  readonly #due = new Map<number, { readonly atMs: number; readonly callback: () => void }>();
  #handles = 0;

  /** Callbacks that are still to come. */
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

  /** Lets time pass; callbacks come in their order, each at its time. */
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
