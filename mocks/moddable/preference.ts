/**
 * `preference`: small values that survive a restart, with the limits and failures of NVS on ESP32. It opens the domain
 * for each call; if memory for that is short, it finds, lists and deletes nothing.
 */

import { EspError, flash, type Value } from "./flash.js";

const NAME_LENGTH = 15;
const MAX_BYTES = 4000;

const Preference = {
  /** Erases the old value, then writes the new one: after a power cut in between, neither exists. */
  set(domain: string, key: string, value: Value): void {
    checkName(domain);
    checkName(key);
    checkValue(value);
    const opened = attempt("nvs_open fail", () => flash.open(domain, "r+"));
    if (!opened) throw new Error("nvs_open fail");
    flash.erase(domain, key);
    attempt("nvs set fail", () => flash.write(domain, key, value instanceof ArrayBuffer ? value.slice(0) : value));
  },

  get(domain: string, key: string): Value | undefined {
    if (domain.length > NAME_LENGTH || key.length > NAME_LENGTH) return undefined;
    if (!opens(domain, "r")) return undefined;
    const value = flash.read(domain, key);
    return value instanceof ArrayBuffer ? value.slice(0) : value;
  },

  delete(domain: string, key: string): void {
    checkName(domain);
    checkName(key);
    if (opens(domain, "r+")) flash.erase(domain, key);
  },

  keys(domain: string): string[] {
    return opens(domain, "r") ? flash.keys(domain) : [];
  },
};

function opens(domain: string, mode: "r" | "r+"): boolean {
  try {
    return flash.open(domain, mode);
  } catch (error) {
    if (error instanceof EspError) return false;
    throw error;
  }
}

function attempt<T>(message: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    throw error instanceof EspError ? new Error(message) : error;
  }
}

function checkName(name: string): void {
  if (typeof name !== "string" || name.length < 1 || name.length > NAME_LENGTH) throw new Error("nvs_open fail");
}

function checkValue(value: unknown): void {
  if (typeof value === "boolean") return;
  if (typeof value === "number") {
    if (!Number.isInteger(value)) throw new Error("float unsupported");
    return;
  }
  const bytes =
    typeof value === "string"
      ? Buffer.byteLength(value) + 1
      : value instanceof ArrayBuffer
        ? value.byteLength
        : Number.NaN;
  if (Number.isNaN(bytes)) throw new Error("unsupported type");
  if (bytes > MAX_BYTES) throw new Error("nvs set fail");
}

export default Preference;
