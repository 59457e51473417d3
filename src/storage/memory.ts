/** Storage in memory, for tests and for devices without persistent storage. */

import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { type Storage, storageLimits } from "../host.js";
import { defaultOutboxLimits } from "./limits.js";

const MAX_VALUE_BYTES = 65536;

/**
 * Creates a storage in memory, with the limits of the Node host's storage. Its contents are lost when the program ends.
 * @returns a storage whose operations reject with INVALID_OPTION if a key or value is invalid
 * @example
 *   const host = { ...createHost(), storage: createMemoryStorage() };
 *   const device = new Device({ productId, deviceName, credential, outbox: {} }, host);
 */
export function createMemoryStorage(): Storage {
  const values = new Map<string, string>();
  // Caches the last key: it is often used several times in a row, and a regular expression costs XS as much as a
  // hundred comparisons.
  let last = "-";
  const checked = (key: string): string => {
    if (key === last) return key;
    if (typeof key === "string" && key.length <= storageLimits.keyLength && /^[A-Za-z0-9_.-]+$/.test(key)) {
      last = key;
      return key;
    }
    throw new IotHubError("INVALID_OPTION", "A storage key must be 1 to 15 letters, digits and _ . -.");
  };
  return {
    maxValueBytes: MAX_VALUE_BYTES,
    outboxLimits: defaultOutboxLimits,
    get: async (key) => values.get(checked(key)),
    set: async (key, text) => {
      if (typeof text !== "string" || text.length > MAX_VALUE_BYTES || utf8(text).length > MAX_VALUE_BYTES) {
        throw new IotHubError("INVALID_OPTION", `A stored value must be text of at most ${MAX_VALUE_BYTES} bytes.`);
      }
      values.set(checked(key), text);
    },
    delete: async (key) => {
      values.delete(checked(key));
    },
    keys: async () => [...values.keys()],
  };
}
