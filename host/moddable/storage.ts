import { IotHubError } from "../../src/errors.js";
import type { Storage } from "../../src/host.js";
import { type KeyValues, openKeyValues } from "./key-value.js";
import { readStorageFailure } from "./platform.js";

/** What one string of NVS holds: 4 000 bytes with the NUL at its end. */
const MAX_VALUE_BYTES = 3999;

/**
 * Texts in the machine's key-value storage: on ESP32 in NVS, one string each. A value is read back after it was written,
 * and written once more if it differs: after a write that a power cut has torn, NVS may lose the next one, although it
 * reports success.
 *
 * On ESP32 a write that fails for any other reason than want of room may have stopped while a page was being copied.
 * A restart repairs that, and a further write might destroy the partition: from then on all writes are rejected with
 * STORAGE_STOPPED, while reading and deleting go on.
 */
export class KeyValueStorage implements Storage {
  readonly maxValueBytes = MAX_VALUE_BYTES;
  /**
   * 240 of the 630 entries that NVS has in 24 KB: above about 300, any other value that is written now and then makes
   * NVS copy pages. A message takes at least two entries.
   */
  readonly outboxLimits: { readonly maxBytes: number; readonly maxQueued: number } = LIMITS;
  readonly #path: string;
  #values: KeyValues | undefined;
  #closed = false;
  /** Why nothing is written any more. */
  #stopped: IotHubError | undefined;
  /** There was no room for the namespace: each further attempt costs the flash an erase. */
  #noNamespace: IotHubError | undefined;

  /**
   * Opens the storage at once: on ESP32 a namespace that does not exist yet cannot be made once the partition is full.
   * Where that fails, each operation says so.
   * @param path 1 to 15 letters, digits and _ . -: on ESP32 the namespace; devices that share a board need one each
   * @default "tc-iothub"
   * @throws {IotHubError} INVALID_OPTION
   */
  constructor(path = "tc-iothub") {
    if (!isName(path)) throw new IotHubError("INVALID_OPTION", `A storage path must be ${NAME}.`);
    this.#path = path;
    try {
      this.#open();
    } catch {
      // The operations report it; opening failed before anything of the app could see to it.
    }
  }

  /** @throws {IotHubError} INVALID_OPTION for a key outside the limits, STORAGE_FAILED */
  async get(key: string): Promise<string | undefined> {
    checkKey(key);
    const values = this.#open();
    let value: unknown;
    try {
      value = values.read(key);
    } catch (error) {
      throw new IotHubError("STORAGE_FAILED", `The stored value ${key} could not be read.`, { cause: error });
    }
    if (value === undefined || typeof value === "string") return value;
    throw new IotHubError("STORAGE_FAILED", `The stored value ${key} is not text.`);
  }

  /**
   * @throws {IotHubError} INVALID_OPTION for a key or text outside the limits, STORAGE_FULL if there is no room,
   * STORAGE_STOPPED, STORAGE_FAILED
   */
  async set(key: string, text: string): Promise<void> {
    checkKey(key);
    checkText(text);
    if (this.#stopped) throw this.#stopped;
    const values = this.#open(true);
    for (let attempts = 1; ; attempts++) {
      try {
        values.write(key, text);
      } catch (error) {
        throw this.#failed(error);
      }
      let stored: unknown;
      try {
        stored = values.read(key);
      } catch (error) {
        throw new IotHubError("STORAGE_FAILED", `The value ${key} was written, but could not be read back.`, {
          cause: error,
        });
      }
      if (stored === text) return;
      if (attempts === 2) throw this.#failed(new Error("the value read back differs from the one written"));
    }
  }

  /** @throws {IotHubError} INVALID_OPTION for a key outside the limits, STORAGE_FAILED */
  async delete(key: string): Promise<void> {
    checkKey(key);
    const values = this.#open();
    try {
      values.delete(key);
    } catch (error) {
      throw new IotHubError("STORAGE_FAILED", `The stored value ${key} could not be deleted.`, { cause: error });
    }
  }

  /** @throws {IotHubError} STORAGE_FAILED */
  async keys(): Promise<string[]> {
    const values = this.#open();
    try {
      return values.keys();
    } catch (error) {
      throw new IotHubError("STORAGE_FAILED", "The keys of the storage could not be listed.", { cause: error });
    }
  }

  /** Closes the handle; later operations reject with STORAGE_FAILED. */
  close(): void {
    this.#closed = true;
    const values = this.#values;
    this.#values = undefined;
    values?.close();
  }

  #open(isWriting = false): KeyValues {
    if (this.#values) return this.#values;
    if (this.#closed) throw new IotHubError("STORAGE_FAILED", "The storage was closed.");
    // Opening writes where the namespace is new.
    if (this.#stopped) throw this.#stopped;
    if (this.#noNamespace && !isWriting) throw this.#noNamespace;
    try {
      this.#values = openKeyValues(this.#path);
    } catch (error) {
      const failed = this.#failed(error);
      if (failed.code === "STORAGE_FULL") this.#noNamespace = failed;
      throw failed;
    }
    return this.#values;
  }

  /** What a failed write is; on ESP32 it may be the last one of this life. */
  #failed(error: unknown): IotHubError {
    const failure = readStorageFailure(error);
    if (failure === "full") return new IotHubError("STORAGE_FULL", "The storage has no room.", { cause: error });
    if (failure === "failed")
      return new IotHubError("STORAGE_FAILED", "The storage could not be written.", { cause: error });
    this.#stopped = new IotHubError(
      "STORAGE_STOPPED",
      "The storage takes no more writes after a failure: restart the board; what is stored is safe.",
      { cause: error },
    );
    return this.#stopped;
  }
}

const LIMITS: { readonly maxBytes: number; readonly maxQueued: number } = Object.freeze({
  maxBytes: 7680,
  maxQueued: 120,
});

const NAME = "1 to 15 letters, digits and _ . -";

function isName(name: unknown): boolean {
  return typeof name === "string" && /^[A-Za-z0-9_.-]{1,15}$/.test(name);
}

function checkKey(key: string): void {
  if (!isName(key)) throw new IotHubError("INVALID_OPTION", `A storage key must be ${NAME}.`);
}

/** NVS ends a text at U+0000. */
function checkText(text: string): void {
  if (typeof text !== "string" || text.includes("\0")) {
    throw new IotHubError("INVALID_OPTION", "A stored value must be text without U+0000.");
  }
  // A UTF-16 code unit is at most three bytes of UTF-8.
  if (text.length * 3 > MAX_VALUE_BYTES && ArrayBuffer.fromString(text).byteLength > MAX_VALUE_BYTES) {
    throw new IotHubError("INVALID_OPTION", `A stored value must not exceed ${MAX_VALUE_BYTES} bytes.`);
  }
}
