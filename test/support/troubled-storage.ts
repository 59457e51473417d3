/** A storage with the troubles of a small machine, at random and repeatably. */

import { errorTable, IotHubError } from "../../src/errors.js";

/** What every storage has, whatever its values are. */
interface Operations {
  get(key: string): Promise<unknown>;
  set(key: string, value: never): Promise<void>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
}

/**
 * - `memory`: short of memory for a moment, which no operation says: `get` finds nothing, `keys` gives an empty list,
 *   `delete` does nothing, and `set` fails
 * - `full`: no room for a moment: `set` fails
 * - `failure`: every operation fails for a moment
 */
export type Trouble = "memory" | "full" | "failure";

export interface Troubles {
  /** The share of operations at which a trouble begins, 0 to 1. */
  readonly probability: number;
  readonly among: readonly Trouble[];
  /** 0 to 1, a new number each time. */
  random(): number;
  /** Whether it may be full now. One that lacks room although nothing of the outbox is in it stays so: nobody deletes. */
  mayBeFull?(): boolean;
}

/** Operations that one trouble lasts at most. */
const MAX_OPERATIONS = 8;

/** The storage, which has these troubles; all of its other members are its own. */
export function troubledStorage<S extends Operations>(
  storage: S,
  { probability, among, random, mayBeFull = () => true }: Troubles,
): S {
  let trouble: Trouble | undefined;
  let left = 0;

  /** The trouble that an operation meets. */
  const met = (): Trouble | undefined => {
    if (left > 0) left--;
    else trouble = undefined;
    if (trouble === undefined && random() < probability) {
      trouble = among[Math.floor(random() * among.length)];
      left = Math.floor(random() * MAX_OPERATIONS);
    }
    return trouble;
  };
  const failed = () => Promise.reject(new IotHubError("STORAGE_FAILED", "The storage failed."));
  const noRoom = () => {
    const code = Object.hasOwn(errorTable, "STORAGE_FULL") ? "STORAGE_FULL" : "STORAGE_FAILED";
    return Promise.reject(new IotHubError(code as "STORAGE_FAILED", "The storage has no room."));
  };
  const operations: Operations = {
    get: (key) => {
      const is = met();
      return is === "failure" ? failed() : is === "memory" ? Promise.resolve(undefined) : storage.get(key);
    },
    set: (key, value) => {
      const is = met();
      return is === "full" && mayBeFull()
        ? noRoom()
        : is !== undefined && is !== "full"
          ? failed()
          : storage.set(key, value);
    },
    delete: (key) => {
      const is = met();
      return is === "failure" ? failed() : is === "memory" ? Promise.resolve() : storage.delete(key);
    },
    keys: () => {
      const is = met();
      return is === "failure" ? failed() : is === "memory" ? Promise.resolve([]) : storage.keys();
    },
  };
  return new Proxy(storage, {
    get: (_target, name) => {
      if (Object.hasOwn(operations, name)) return operations[name as keyof Operations];
      const value = Reflect.get(storage, name, storage);
      return typeof value === "function" ? value.bind(storage) : value;
    },
  });
}
