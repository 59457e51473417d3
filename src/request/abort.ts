/** A cancellation signal for engines that have no AbortController. */

import { IotHubError } from "../errors.js";
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
 * Passes signals on, and listens to each once, however much waits on it: from the eleventh listener of one AbortSignal on,
 * Node warns of a leak, and an app may well give one signal to everything that it has under way.
 */
export class AbortForwarder {
  #entries: { readonly signal: CancelSignal; readonly targets: Set<Cancellable>; readonly listener: () => void }[] = [];

  /** Cancels the target with CANCELLED when the signal is aborted, or at once if it is already. */
  add(signal: CancelSignal, target: Cancellable): void {
    if (signal.aborted) {
      target.cancel(cancelled(signal));
      return;
    }
    const known = this.#entries.find((e) => e.signal === signal);
    if (known !== undefined) {
      known.targets.add(target);
      return;
    }
    const targets = new Set([target]);
    const listener = () => {
      this.#drop(signal);
      for (const one of targets) one.cancel(cancelled(signal));
    };
    this.#entries.push({ signal, targets, listener });
    signal.addEventListener("abort", listener);
  }

  /** Forgets a target, and the signal with its last one. */
  remove(signal: CancelSignal, target: Cancellable): void {
    const targets = this.#entries.find((e) => e.signal === signal)?.targets;
    if (targets?.delete(target) && targets.size === 0) this.#drop(signal);
  }

  #drop(signal: CancelSignal): void {
    for (const { listener } of this.#entries.filter((e) => e.signal === signal)) {
      signal.removeEventListener("abort", listener);
    }
    this.#entries = this.#entries.filter((e) => e.signal !== signal);
  }
}

/** What an {@link AbortForwarder} cancels; must not throw. */
type Cancellable = Pick<Canceller, "cancel">;

function cancelled(signal: CancelSignal): IotHubError {
  return new IotHubError("CANCELLED", "The request was cancelled.", signal.reason);
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
