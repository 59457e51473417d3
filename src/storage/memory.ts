/** A storage in memory, with the limits of the others: for tests, and for machines that remember nothing. */

import { copyBytes } from "../crypto/bytes.js";
import { IotHubError } from "../errors.js";
import { type Storage, storageLimits } from "../host.js";

/** What is in it is lost when the program ends. */
export function createMemoryStorage(): Storage {
  const values = new Map<string, Uint8Array>();
  const checked = (key: string): string => {
    if (typeof key === "string" && key.length <= storageLimits.keyLength && /^[A-Za-z0-9_.-]+$/.test(key)) return key;
    throw new IotHubError("INVALID_OPTION", "A storage key must be 1 to 15 letters, digits and _ . -.");
  };
  return {
    get: async (key) => values.get(checked(key))?.slice(),
    set: async (key, value) => {
      if (value.length > storageLimits.valueBytes) {
        throw new IotHubError("INVALID_OPTION", `A stored value must not exceed ${storageLimits.valueBytes} bytes.`);
      }
      // Not `slice`, which of Node's Buffer is another view of the same bytes.
      values.set(checked(key), copyBytes(value, value.length));
    },
    delete: async (key) => {
      values.delete(checked(key));
    },
    keys: async () => [...values.keys()],
  };
}
