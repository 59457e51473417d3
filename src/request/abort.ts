/** Cancellation for engines without AbortController. */

import { IotHubError } from "../errors.js";
import type { AbortSignalLike } from "../host.js";

/**
 * Minimal AbortController, for engines without one.
 * @example
 *   const aborter = new Aborter();
 *   const published = device.publish(message, { signal: aborter.signal });
 *   aborter.abort(); // `published` rejects with CANCELLED
 */
export class Aborter {
  /** Signal to pass to a request. */
  readonly signal: AbortSignalLike = new Signal();

  /** Aborts the signal. Only the first call has an effect. @param reason becomes the `cause` of the error */
  abort(reason?: unknown): void {
    (this.signal as Signal).abort(reason);
  }
}

class Signal implements AbortSignalLike {
  // Usually there is at most one listener: avoid an array.
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
 * Forwards signals to requests with one listener per signal. An app may pass one signal to many requests, and Node
 * warns of a leak from the eleventh listener on one AbortSignal.
 */
export class AbortForwarder {
  #entries: { readonly signal: AbortSignalLike; readonly targets: Set<Abortable>; readonly listener: () => void }[] =
    [];

  /** Cancels the target with CANCELLED when the signal is aborted, or at once if it already is. */
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

  /** Removes a target, and the listener with the last target. */
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

/** Target of an {@link AbortForwarder}; must not throw. */
type Abortable = Pick<Aborter, "abort">;

function cancelled(signal: AbortSignalLike): IotHubError {
  return new IotHubError("CANCELLED", "The request was cancelled.", { cause: signal.reason });
}

/** Settles like the promise, or rejects with the signal's reason as soon as it is aborted. */
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
