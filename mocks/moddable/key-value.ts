/**
 * `embedded:storage/key-value` on ESP32, for strings: one NVS handle; failures throw the error of NVS. Reading and
 * deleting allocate no memory.
 */

import { EspError, flash } from "./flash.js";

const NAME_LENGTH = 15;
const MAX_BYTES = 4000;

class Storage {
  readonly #domain: string;
  #isOpen = true;

  constructor(domain: string) {
    this.#domain = domain;
  }

  read(key: string): string | undefined {
    this.#check(key);
    const value = nvs(() => flash.read(this.#domain, key));
    if (value === undefined || typeof value === "string") return value;
    throw new TypeError("mismatch");
  }

  write(key: string, value: string): void {
    this.#check(key);
    if (typeof value !== "string") throw new TypeError("mismatch");
    // A C string ends at NUL.
    const text = value.split("\0", 1)[0];
    if (Buffer.byteLength(text) + 1 > MAX_BYTES) throw new Error("ESP_ERR_NVS_VALUE_TOO_LONG");
    nvs(() => flash.write(this.#domain, key, text));
  }

  delete(key: string): void {
    this.#check(key);
    nvs(() => flash.erase(this.#domain, key));
  }

  close(): void {
    this.#isOpen = false;
  }

  *[Symbol.iterator](): IterableIterator<string> {
    this.#check("");
    yield* nvs(() => {
      flash.allocate();
      return flash.keys(this.#domain);
    });
  }

  #check(key: string): void {
    if (!this.#isOpen) throw new Error("closed");
    if (key.length > NAME_LENGTH) throw new Error("ESP_ERR_NVS_KEY_TOO_LONG");
  }
}

function nvs<T>(operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw error instanceof EspError ? flash.sdkError(error) : error;
  }
}

export default {
  open({ path, format }: { path: string; format?: string }): Storage {
    if (format !== "string") throw new RangeError("unsupported");
    if (path.length < 1 || path.length > NAME_LENGTH) throw new Error("ESP_ERR_NVS_INVALID_NAME");
    nvs(() => flash.open(path, "r+"));
    flash.countOpened();
    return new Storage(path);
  },
};
