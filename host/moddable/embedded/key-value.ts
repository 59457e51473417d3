/**
 * Key-value storage of ECMA-419 (`embedded:storage/key-value`), on an ESP32 in NVS: see `../key-value.ts`. It holds one
 * handle, and throws where `preference` returns an empty result. NVS replaces a string atomically, but not a blob.
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
