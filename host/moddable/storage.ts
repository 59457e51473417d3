import { IotHubError } from "../../src/errors.js";
import type { Storage } from "../../src/host.js";
import { type KeyValues, openKeyValues } from "./key-value.js";
import { readStorageFailure } from "./platform.js";

/** Maximum string in NVS: 4 000 bytes including the NUL. */
const MAX_VALUE_BYTES = 3999;

/**
 * Storage of strings in the platform's key-value storage, on an ESP32 in NVS. Each value is read back after writing,
 * and written once more if it differs: after a write interrupted by a power loss, NVS may lose the next one although it
 * reports success.
 *
 * On an ESP32, a write that fails for any reason other than lack of room may have stopped during a page copy. A restart
 * repairs that, but a further write might destroy the partition: from then on all writes reject with STORAGE_STOPPED,
 * while reads and deletions continue.
 */
export class KeyValueStorage implements Storage {
  readonly maxValueBytes = MAX_VALUE_BYTES;
  /**
   * Default: 240 of the 630 entries of a 24 KB NVS partition. Above about 300, even occasional writes make NVS copy
   * pages. A message takes at least two entries.
   */
  readonly outboxLimits: { readonly maxBytes: number; readonly maxQueued: number } = LIMITS;
  readonly #path: string;
  #values: KeyValues | undefined;
  #closed = false;
  /** Why writes are rejected. */
  #stopped: IotHubError | undefined;
  /** The namespace could not be created for lack of room: each further attempt would cost a flash erase. */
  #noNamespace: IotHubError | undefined;

  /**
   * Opens the storage at once: on an ESP32, a new namespace cannot be created once the partition is full. If opening
   * fails, each operation rejects.
   * @param path 1 to 15 letters, digits and _ . -: on an ESP32 the namespace; devices that share a board need different
   * paths
   * @default "tc-iothub"
   * @throws {IotHubError} INVALID_OPTION if the path is invalid
   */
  constructor(path = "tc-iothub") {
    if (!isName(path)) throw new IotHubError("INVALID_OPTION", `A storage path must be ${NAME}.`);
    this.#path = path;
    try {
      this.#open();
    } catch {
      // Reported by the operations, since the app cannot handle it here.
    }
  }

  /**
   * Resolves with the value, or with undefined if the key is absent.
   * @throws {IotHubError} INVALID_OPTION if the key is invalid; STORAGE_FAILED; STORAGE_FULL, STORAGE_STOPPED if the
   * storage could not be opened
   */
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
   * Stores a value, and resolves when it was read back.
   * @throws {IotHubError} INVALID_OPTION if the key or the text is invalid; STORAGE_FULL if there is no room;
   * STORAGE_STOPPED if nothing more can be written until a restart; STORAGE_FAILED
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

  /**
   * Deletes a key, if it exists.
   * @throws {IotHubError} INVALID_OPTION if the key is invalid; STORAGE_FAILED; STORAGE_FULL, STORAGE_STOPPED if the
   * storage could not be opened
   */
  async delete(key: string): Promise<void> {
    checkKey(key);
    const values = this.#open();
    try {
      values.delete(key);
    } catch (error) {
      throw new IotHubError("STORAGE_FAILED", `The stored value ${key} could not be deleted.`, { cause: error });
    }
  }

  /**
   * Resolves with all keys.
   * @throws {IotHubError} STORAGE_FAILED; STORAGE_FULL, STORAGE_STOPPED if the storage could not be opened
   */
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
    // Opening writes if the namespace is new.
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

  /** Converts a failed write to an error; on an ESP32 it may disable writes until a restart. */
  #failed(error: unknown): IotHubError {
    const failure = readStorageFailure(error);
    if (failure === "full") return new IotHubError("STORAGE_FULL", "The storage is full.", { cause: error });
    if (failure === "failed")
      return new IotHubError("STORAGE_FAILED", "The storage could not be written.", { cause: error });
    this.#stopped = new IotHubError(
      "STORAGE_STOPPED",
      "The storage accepts no more writes after a failure: restart the board. Stored data is safe.",
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
