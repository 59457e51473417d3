/** A cancellation signal for engines that have no AbortController. */

import type { CancelSignal } from "../host.js";

/** Cancels what its `signal` was given to; the first call of `cancel` counts. */
export class Canceller {
  readonly signal: CancelSignal = new Signal();

  cancel(reason?: unknown): void {
    (this.signal as Signal).abort(reason);
  }
}

class Signal implements CancelSignal {
  #listeners: (() => void)[] | undefined = [];
  #reason: unknown;

  get aborted(): boolean {
    return this.#listeners === undefined;
  }

  get reason(): unknown {
    return this.#reason;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    if (!this.#listeners?.includes(listener)) this.#listeners?.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners = this.#listeners?.filter((l) => l !== listener);
  }

  abort(reason: unknown): void {
    const listeners = this.#listeners;
    if (listeners === undefined) return;
    this.#listeners = undefined;
    this.#reason = reason;
    for (const listener of listeners) listener();
  }
}
