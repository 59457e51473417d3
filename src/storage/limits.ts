/**
 * A storage with timeouts: an operation that takes too long rejects, and further operations reject until it has ended.
 */

import { IotHubError } from "../errors.js";
import type { Storage, Timer } from "../host.js";

/** Default of `storageTimeoutMs`, in milliseconds. */
export const DEFAULT_STORAGE_TIMEOUT_MS = 10000;

/** Limits of an outbox in a storage without `outboxLimits`: 1 MiB, counted like NVS, and 10 000 messages. */
export const defaultOutboxLimits: { readonly maxBytes: number; readonly maxQueued: number } = Object.freeze({
  maxBytes: 1048576,
  maxQueued: 10000,
});

/**
 * Wraps a storage with timeouts. After `closed` is set, no further writes are issued, as after a power loss, so that
 * none can interfere with a new device.
 */
export class LimitedStorage implements Storage {
  closed = false;
  /** Called when all operations that timed out have ended. */
  onLate: (() => void) | undefined;
  readonly #storage: Storage;
  readonly #timer: Timer;
  readonly #timeoutMs: number;
  /** Number of operations that timed out and have not ended. */
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

/** Turns an error of a storage into STORAGE_FAILED, unless it has a code. */
export function storageError(error: unknown): IotHubError {
  if (error instanceof IotHubError) return error;
  return new IotHubError("STORAGE_FAILED", "The storage could not be used.", { cause: error });
}

export function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}
