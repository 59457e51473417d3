/** Storages for tests: one whose power can be cut at any operation, and one that waits and fails on request. */

import { utf8 } from "../../src/crypto/utf8.js";
import { storageLimits } from "../../src/host.js";
import { createMemoryStorage, type Storage } from "../../src/index.js";
import { storedBytes } from "../../src/outbox/record.js";

/** Effect of the operation at which the power is cut: operations of a storage are atomic. */
export type Cut = "nothing" | "everything";
export const cuts: readonly Cut[] = ["nothing", "everything"];

export class Flash {
  readonly values = new Map<string, string>();
  /** Number of started operations, and how many of them write. */
  operations = 0;
  writes: string[] = [];
  /** Peak use, counted like NVS. */
  peakBytes = 0;
  readonly #limits: Pick<Storage, "maxValueBytes" | "outboxLimits">;
  #at = Number.POSITIVE_INFINITY;
  #cut: Cut = "nothing";
  #off: () => void = () => {};

  /** @param limits @default those of a board */
  constructor(limits: Pick<Storage, "maxValueBytes" | "outboxLimits"> = boardLimits) {
    this.#limits = limits;
  }

  /** The storage of one start. `off` resolves when the power is cut; from then on its operations never settle. */
  start(at = Number.POSITIVE_INFINITY, cut: Cut = "nothing"): { storage: Storage; off: Promise<void> } {
    this.#at = this.operations + at;
    this.#cut = cut;
    const off = new Promise<void>((resolve) => {
      this.#off = resolve;
    });
    let dead = false;
    const operate = async <T>(write: string | undefined, work: () => T): Promise<T> => {
      // Flash is slower than a function call.
      await Promise.resolve();
      if (dead) return new Promise<never>(() => {});
      this.operations++;
      if (write !== undefined) this.writes.push(write);
      if (this.operations < this.#at) return work();
      dead = true;
      if (this.#cut !== "nothing") work();
      this.#off();
      return new Promise<never>(() => {});
    };
    const storage: Storage = {
      ...this.#limits,
      get: (key) => operate(undefined, () => this.values.get(checked(key))),
      set: (key, text) => {
        const { length } = utf8(text);
        if (length > storage.maxValueBytes) throw new Error(`a value of ${length} bytes`);
        return operate(`set ${key}`, () => {
          this.values.set(checked(key), text);
          let bytes = 0;
          for (const value of this.values.values()) bytes += storedBytes(utf8(value).length);
          this.peakBytes = Math.max(this.peakBytes, bytes);
        });
      },
      delete: (key) =>
        operate(`delete ${key}`, () => {
          this.values.delete(checked(key));
        }),
      keys: () => operate(undefined, () => [...this.values.keys()].reverse()),
    };
    return { storage, off };
  }
}

/** Limits of a board's storage. */
export const boardLimits: Pick<Storage, "maxValueBytes" | "outboxLimits"> = {
  maxValueBytes: storageLimits.valueBytes,
  outboxLimits: { maxBytes: 7680, maxQueued: 10000 },
};

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
    ...storage,
    get: (key) => pass().then(() => storage.get(key)),
    set: (key, text) => pass().then(() => storage.set(key, text)),
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
