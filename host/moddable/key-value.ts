/**
 * Texts by key in the preferences of the machine, where the SDK has no `embedded:storage/key-value`: the simulators on
 * Linux and Windows. On the others the module of this name is `embedded/key-value.ts`. The manifest chooses by platform;
 * as both go by one module name, neither may import by a relative path.
 */

import Preference from "preference";

/** Values of one domain. Every method throws what the SDK throws. */
export interface KeyValues {
  /** `undefined` if nothing is stored under the key. */
  read(key: string): unknown;
  write(key: string, text: string): void;
  /** Does nothing if nothing is stored under the key. */
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
