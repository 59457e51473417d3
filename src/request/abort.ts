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

/**
 * Listens to each signal once, for however many wait on it: from the eleventh listener of one AbortSignal on, Node warns
 * of a leak, and an app may well give one signal to everything that it has under way.
 */
export class AbortListeners {
  #entries: { readonly signal: CancelSignal; readonly callbacks: Set<() => void>; readonly listener: () => void }[] =
    [];

  /**
   * Calls back once when the signal is aborted.
   * @param callback must not throw
   * @returns a function that removes the callback, and the listener with the last one
   */
  add(signal: CancelSignal, callback: () => void): () => void {
    let entry = this.#entries.find((e) => e.signal === signal);
    if (entry === undefined) {
      const callbacks = new Set<() => void>();
      const listener = () => {
        this.#remove(signal);
        for (const call of callbacks) call();
      };
      entry = { signal, callbacks, listener };
      signal.addEventListener("abort", listener);
      this.#entries.push(entry);
    }
    const { callbacks } = entry;
    callbacks.add(callback);
    return () => {
      if (callbacks.delete(callback) && callbacks.size === 0) this.#remove(signal);
    };
  }

  #remove(signal: CancelSignal): void {
    const entry = this.#entries.find((e) => e.signal === signal);
    if (entry === undefined) return;
    this.#entries = this.#entries.filter((e) => e !== entry);
    signal.removeEventListener("abort", entry.listener);
  }
}

/** Settles as the promise does, or at once with the signal's reason. */
export function unlessCancelled<T>(promise: Promise<T>, signal: CancelSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      signal.removeEventListener("abort", abort);
      reject(signal.reason);
    };
    if (signal.aborted) {
      promise.catch(() => {});
      return abort();
    }
    signal.addEventListener("abort", abort);
    promise.then(
      (value) => {
        signal.removeEventListener("abort", abort);
        resolve(value);
      },
      (error) => {
        signal.removeEventListener("abort", abort);
        reject(error);
      },
    );
  });
}
