/** A storage with reproducible random failures like on a small machine. */

import { errorTable, IotHubError } from "../../src/errors.js";

/** Operations of a storage with values of any type. */
interface Operations {
  get(key: string): Promise<unknown>;
  set(key: string, value: never): Promise<void>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
}

/**
 * - `memory`: temporary lack of memory, reported by no operation: `get` finds nothing, `keys` returns an empty list,
 *   `delete` does nothing, and `set` fails
 * - `full`: temporary lack of room: `set` fails
 * - `failure`: every operation fails temporarily
 */
export type Trouble = "memory" | "full" | "failure";

export interface Troubles {
  /** Share of operations at which a failure begins, 0 to 1. */
  readonly probability: number;
  readonly among: readonly Trouble[];
  /** Returns a random number from 0 to 1. */
  random(): number;
  /** Whether it may be full now: without messages of the outbox, nothing would be deleted, and it would stay full. */
  mayBeFull?(): boolean;
}

/** Maximum duration of a failure in operations. */
const MAX_OPERATIONS = 8;

/** Wraps a storage with these failures. */
export function troubledStorage<S extends Operations>(
  storage: S,
  { probability, among, random, mayBeFull = () => true }: Troubles,
): S {
  let trouble: Trouble | undefined;
  let left = 0;

  /** Returns the failure of an operation. */
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
