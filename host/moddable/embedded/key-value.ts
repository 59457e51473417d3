/**
 * Texts by key in ECMA-419's key-value storage (`embedded:storage/key-value`), on ESP32 in NVS: see `../key-value.ts`.
 * It holds one handle, and throws where `preference` gives an empty result. A string in NVS is old or new after a power
 * cut, which a blob that replaces another is not.
 */

import KeyValueStorage from "embedded:storage/key-value";

export interface KeyValues {
  read(key: string): unknown;
  write(key: string, text: string): void;
  delete(key: string): void;
  keys(): string[];
  close(): void;
}

export function openKeyValues(path: string): KeyValues {
  const storage = KeyValueStorage.open({ path, format: "string" });
  return {
    read: (key) => storage.read(key),
    write: (key, text) => storage.write(key, text),
    delete: (key) => storage.delete(key),
    keys: () => [...storage],
    close: () => storage.close(),
  };
}
