/** A cancellation signal for engines that have no AbortController. */

import { IotHubError } from "../errors.js";
import type { AbortSignalLike } from "../host.js";

/** Cancels what its `signal` was given to; the first call of `abort` counts. */
export class Aborter {
  readonly signal: AbortSignalLike = new Signal();

  abort(reason?: unknown): void {
    (this.signal as Signal).abort(reason);
  }
}

class Signal implements AbortSignalLike {
  // Mostly there is one listener, or none: no array for it.
  #first: (() => void) | undefined;
  #others: (() => void)[] | undefined;
  #aborted = false;
  #reason: unknown;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    if (this.#aborted || listener === this.#first) return;
    if (this.#first === undefined) this.#first = listener;
    else if (this.#others === undefined) this.#others = [listener];
    else if (!this.#others.includes(listener)) this.#others.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    if (listener === this.#first) this.#first = this.#others?.shift();
    else this.#others = this.#others?.filter((l) => l !== listener);
  }

  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const first = this.#first;
    const others = this.#others;
    this.#first = this.#others = undefined;
    first?.();
    if (others) for (const listener of others) listener();
  }
}

/**
 * Passes signals on, and listens to each once, however much waits on it: from the eleventh listener of one AbortSignal on,
 * Node warns of a leak, and an app may well give one signal to everything that it has under way.
 */
export class AbortForwarder {
  #entries: { readonly signal: AbortSignalLike; readonly targets: Set<Abortable>; readonly listener: () => void }[] =
    [];

  /** Cancels the target with CANCELLED when the signal is aborted, or at once if it is already. */
  add(signal: AbortSignalLike, target: Abortable): void {
    if (signal.aborted) {
      target.abort(cancelled(signal));
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
      for (const one of targets) one.abort(cancelled(signal));
    };
    this.#entries.push({ signal, targets, listener });
    signal.addEventListener("abort", listener);
  }

  /** Forgets a target, and the signal with its last one. */
  remove(signal: AbortSignalLike, target: Abortable): void {
    const targets = this.#entries.find((e) => e.signal === signal)?.targets;
    if (targets?.delete(target) && targets.size === 0) this.#drop(signal);
  }

  #drop(signal: AbortSignalLike): void {
    for (const { listener } of this.#entries.filter((e) => e.signal === signal)) {
      signal.removeEventListener("abort", listener);
    }
    this.#entries = this.#entries.filter((e) => e.signal !== signal);
  }
}

/** What an {@link AbortForwarder} cancels; must not throw. */
type Abortable = Pick<Aborter, "abort">;

function cancelled(signal: AbortSignalLike): IotHubError {
  return new IotHubError("CANCELLED", "The request was cancelled.", { cause: signal.reason });
}

/** Settles as the promise does, or at once with the signal's reason. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignalLike): Promise<T> {
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
