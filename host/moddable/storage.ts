import Preference from "preference";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { IotHubError } from "../../src/errors.js";
import { type Storage, storageLimits } from "../../src/host.js";

/**
 * Values in the preferences of the device: NVS on ESP32. Writing a preference erases the old value first, so a value is
 * written under the next of three domains and the old one is deleted afterwards; if both are found after a power cut,
 * the one whose domain follows is the newer.
 */
export class PreferenceStorage implements Storage {
  readonly maxValueBytes: number = storageLimits.valueBytes;
  readonly outboxLimits: { readonly maxBytes: number; readonly maxQueued: number } = Object.freeze({
    maxBytes: 7680,
    maxQueued: 1000,
  });
  readonly #domains: readonly string[];

  /**
   * @param domain 1 to 13 characters; devices that share a board need one each
   * @throws {IotHubError} INVALID_OPTION
   */
  constructor(domain = "tc-iothub") {
    if (!/^[A-Za-z0-9_.-]{1,13}$/.test(domain)) {
      throw new IotHubError("INVALID_OPTION", "A storage domain must be 1 to 13 letters, digits and _ . -.");
    }
    this.#domains = [`${domain}.0`, `${domain}.1`, `${domain}.2`];
  }

  /** @throws {IotHubError} INVALID_OPTION for a key outside the limits, STORAGE_FAILED */
  async get(key: string): Promise<string | undefined> {
    checkKey(key);
    return attempt(() => {
      const slot = this.#newest(key);
      if (slot < 0) return undefined;
      const value = Preference.get(this.#domains[slot], key);
      return value instanceof ArrayBuffer ? utf8Decode(new Uint8Array(value)) : "";
    });
  }

  /** @throws {IotHubError} INVALID_OPTION for a key or value outside the limits, STORAGE_FAILED */
  async set(key: string, text: string): Promise<void> {
    checkKey(key);
    const value = utf8(text);
    if (value.length > storageLimits.valueBytes) {
      throw new IotHubError("INVALID_OPTION", `A stored value must not exceed ${storageLimits.valueBytes} bytes.`);
    }
    attempt(() => {
      const old = this.#newest(key);
      this.#clean(key, old);
      // An empty buffer is not kept by every platform; false stands for it.
      Preference.set(
        this.#domains[(old + 1) % 3],
        key,
        value.length === 0 ? false : (value.slice().buffer as ArrayBuffer),
      );
      if (old >= 0) Preference.delete(this.#domains[old], key);
    });
  }

  /** @throws {IotHubError} INVALID_OPTION for a key outside the limits, STORAGE_FAILED */
  async delete(key: string): Promise<void> {
    checkKey(key);
    attempt(() => {
      const slot = this.#newest(key);
      if (slot < 0) return;
      this.#clean(key, slot);
      Preference.delete(this.#domains[slot], key);
    });
  }

  /** @throws {IotHubError} STORAGE_FAILED */
  async keys(): Promise<string[]> {
    return attempt(() => {
      const keys = new Set<string>();
      for (const domain of this.#domains) for (const key of Preference.keys(domain)) keys.add(key);
      return [...keys];
    });
  }

  /** The slot of the newest value, -1 if there is none. */
  #newest(key: string): number {
    const present = this.#domains.map((domain) => Preference.get(domain, key) !== undefined);
    for (let slot = 0; slot < 3; slot++) if (present[slot] && !present[(slot + 1) % 3]) return slot;
    return -1;
  }

  /** Deletes what a power cut left behind, before the newer value goes. */
  #clean(key: string, newest: number): void {
    if (newest < 0) return;
    const older = this.#domains[(newest + 2) % 3];
    if (Preference.get(older, key) !== undefined) Preference.delete(older, key);
  }
}

function checkKey(key: string): void {
  if (typeof key !== "string" || !/^[A-Za-z0-9_.-]{1,15}$/.test(key)) {
    throw new IotHubError("INVALID_OPTION", "A storage key must be 1 to 15 letters, digits and _ . -.");
  }
}

function attempt<T>(operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw new IotHubError("STORAGE_FAILED", "The preferences of the device cannot be used.", error);
  }
}
