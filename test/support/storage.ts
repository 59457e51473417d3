/** Storages for tests: one whose power can be cut at any operation, and one that waits and fails when it is told to. */

import { createMemoryStorage, type Storage, storageLimits } from "../../src/index.js";

/** What the operation at which the power is cut has done. `torn`: half of a value is written over the old one. */
export type Cut = "nothing" | "everything" | "torn";
export const cuts: readonly Cut[] = ["nothing", "everything", "torn"];

export class Flash {
  readonly values = new Map<string, Uint8Array>();
  /** Operations that were begun, and those of them that write. */
  operations = 0;
  writes: string[] = [];
  /** How full it gets, counted as NVS counts. */
  peakBytes = 0;
  #at = Number.POSITIVE_INFINITY;
  #cut: Cut = "nothing";
  #off: () => void = () => {};

  /** The storage of one start. `off` resolves when the power is cut; from then on nothing of it ever settles. */
  start(at = Number.POSITIVE_INFINITY, cut: Cut = "nothing"): { storage: Storage; off: Promise<void> } {
    this.#at = this.operations + at;
    this.#cut = cut;
    const off = new Promise<void>((resolve) => {
      this.#off = resolve;
    });
    let dead = false;
    const operate = async <T>(write: string | undefined, work: (torn: boolean) => T): Promise<T> => {
      // Flash is never as fast as a function call.
      await Promise.resolve();
      if (dead) return new Promise<never>(() => {});
      this.operations++;
      if (write !== undefined) this.writes.push(write);
      if (this.operations < this.#at) return work(false);
      dead = true;
      if (this.#cut !== "nothing") work(this.#cut === "torn");
      this.#off();
      return new Promise<never>(() => {});
    };
    const storage: Storage = {
      get: (key) => operate(undefined, () => this.values.get(checked(key))?.slice()),
      set: (key, value) => {
        if (value.length > storageLimits.valueBytes) throw new Error(`a value of ${value.length} bytes`);
        return operate(`set ${key}`, (torn) => {
          const old = this.values.get(checked(key)) ?? new Uint8Array(0);
          const half = value.length >> 1;
          this.values.set(key, torn ? Uint8Array.of(...value.subarray(0, half), ...old.subarray(half)) : value.slice());
          let bytes = 0;
          for (const { length } of this.values.values()) bytes += 32 * (3 + Math.ceil(length / 32));
          this.peakBytes = Math.max(this.peakBytes, bytes);
        });
      },
      delete: (key) =>
        operate(`delete ${key}`, (torn) => {
          const old = this.values.get(checked(key));
          if (torn && old) this.values.set(key, old.subarray(0, old.length >> 1));
          else this.values.delete(key);
        }),
      keys: () => operate(undefined, () => [...this.values.keys()].reverse()),
    };
    return { storage, off };
  }
}

/** A storage whose operations wait until `release` is called, and whose deletions fail while `failing` is set. */
export function gated(storage: Storage = createMemoryStorage()) {
  const held: (() => void)[] = [];
  const gate = {
    storage,
    failing: false,
    holding: false,
    held,
    release() {
      gate.holding = false;
      for (const go of held.splice(0)) go();
    },
  };
  const pass = async () => {
    if (gate.holding) await new Promise<void>((resolve) => held.push(resolve));
  };
  gate.storage = {
    get: (key) => pass().then(() => storage.get(key)),
    set: (key, value) => pass().then(() => storage.set(key, value)),
    delete: async (key) => {
      await pass();
      if (gate.failing) throw new Error("worn");
      await storage.delete(key);
    },
    keys: () => pass().then(() => storage.keys()),
  };
  return gate;
}

function checked(key: string): string {
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(key)) throw new Error(`the key ${key}`);
  return key;
}
