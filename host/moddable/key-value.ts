/**
 * Key-value storage in the preferences, for platforms without `embedded:storage/key-value`: the simulators on Linux and
 * Windows. Elsewhere the module of this name is `embedded/key-value.ts`. The manifest selects by platform; as both have
 * the same module name, neither may use relative imports.
 */

import Preference from "preference";

/** Values of one domain. Methods throw the SDK's errors. */
export interface KeyValues {
  /** Returns undefined if the key does not exist. */
  read(key: string): unknown;
  write(key: string, text: string): void;
  /** Does nothing if the key does not exist. */
  delete(key: string): void;
  keys(): string[];
  close(): void;
}

/** @param path 1 to 15 characters: the domain, on ESP32 the namespace in NVS */
export function openKeyValues(path: string): KeyValues {
  return {
    read: (key) => Preference.get(path, key),
    write: (key, text) => Preference.set(path, key, text),
    delete: (key) => Preference.delete(path, key),
    keys: () => [...Preference.keys(path)],
    close: () => {},
  };
}
