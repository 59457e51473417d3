/** A storage with a limit of time: what it does not finish is not waited for, and nothing else is given to it meanwhile. */

import { IotHubError } from "../errors.js";
import type { Storage, Timer } from "../host.js";

/** @default of `storageTimeoutMs`, in milliseconds */
export const DEFAULT_STORAGE_TIMEOUT_MS = 10000;

/** What an outbox may use of a storage that does not say: 1 MiB, counted as NVS counts, and 10 000 messages. */
export const defaultOutboxLimits: { readonly maxBytes: number; readonly maxQueued: number } = Object.freeze({
  maxBytes: 1048576,
  maxQueued: 10000,
});

/** After close no further writes are begun, as after a power cut: none can meet those of the device that comes next. */
export class LimitedStorage implements Storage {
  closed = false;
  /** Called when an operation has ended that had not ended in time. */
  onLate: (() => void) | undefined;
  readonly #storage: Storage;
  readonly #timer: Timer;
  readonly #timeoutMs: number;
  /** Operations that have not ended in time. */
  #late = 0;

  constructor(storage: Storage, timer: Timer, timeoutMs: number = DEFAULT_STORAGE_TIMEOUT_MS) {
    this.#storage = storage;
    this.#timer = timer;
    this.#timeoutMs = timeoutMs;
  }

  get maxValueBytes(): number {
    return this.#storage.maxValueBytes;
  }

  get outboxLimits(): Storage["outboxLimits"] {
    return this.#storage.outboxLimits;
  }

  get(key: string): Promise<string | undefined> {
    return this.#limit(() => this.#storage.get(key));
  }

  set(key: string, text: string): Promise<void> {
    return this.closed ? Promise.reject(deviceClosed()) : this.#limit(() => this.#storage.set(key, text));
  }

  delete(key: string): Promise<void> {
    return this.closed ? Promise.reject(deviceClosed()) : this.#limit(() => this.#storage.delete(key));
  }

  keys(): Promise<string[]> {
    return this.#limit(() => this.#storage.keys());
  }

  #limit<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#late > 0) {
      const message = "The storage has not finished an earlier operation.";
      return Promise.reject(new IotHubError("STORAGE_FAILED", message));
    }
    return new Promise((resolve, reject) => {
      let isLate = false;
      const handle = this.#timer.set(() => {
        isLate = true;
        this.#late++;
        reject(new IotHubError("STORAGE_FAILED", `The storage did not finish within ${this.#timeoutMs} ms.`));
      }, this.#timeoutMs);
      const end = () => {
        if (!isLate) this.#timer.clear(handle);
        else if (--this.#late === 0) this.onLate?.();
      };
      let running: Promise<T>;
      try {
        running = operation();
      } catch (error) {
        running = Promise.reject(error);
      }
      running.then(
        (value) => {
          end();
          resolve(value);
        },
        (error) => {
          end();
          reject(storageError(error));
        },
      );
    });
  }
}

/** Whatever a storage rejects with becomes STORAGE_FAILED, unless it says more. */
export function storageError(error: unknown): IotHubError {
  if (error instanceof IotHubError) return error;
  return new IotHubError("STORAGE_FAILED", "The storage could not be used.", { cause: error });
}

export function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}
