/** `preference`: small values that survive a restart, with the limits and the failures of NVS on ESP32. */

import { flash, type Value } from "./flash.js";

const NAME_LENGTH = 15;
const MAX_BYTES = 4000;

const Preference = {
  /** Erases the old value, then writes the new one: with the power cut in between, neither is there. */
  set(domain: string, key: string, value: Value): void {
    checkName(domain);
    checkName(key);
    checkValue(value);
    flash.erase(domain, key);
    flash.write(domain, key, value instanceof ArrayBuffer ? value.slice(0) : value);
  },

  get(domain: string, key: string): Value | undefined {
    if (domain.length > NAME_LENGTH || key.length > NAME_LENGTH) return undefined;
    const value = flash.read(domain, key);
    return value instanceof ArrayBuffer ? value.slice(0) : value;
  },

  delete(domain: string, key: string): void {
    checkName(domain);
    checkName(key);
    flash.erase(domain, key);
  },

  keys(domain: string): string[] {
    return flash.keys(domain);
  },
};

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
