/**
 * Dates readings taken before the clock was set. Each reading stores the random id of its power-on and the milliseconds
 * since then. Once the time is known, the offset is stored under the id for all of them, and deleted with the last one.
 *
 * Storage key `<name>.u-<id>`, value `1<made>[,<offset>]`, both numbers in base 36. `made` is the time of the first
 * such reading, in milliseconds since power-on. A run that started later than `made` belongs to the same power-on, one
 * that started earlier to another, since the count restarts at each power-on. Values of other versions are not touched.
 */

import type { Clock, Random } from "../host.js";
import { isPowerOn, POWER_ON_LENGTH } from "./record.js";

/** Storage operations for these values. */
export interface PowerOnStorage {
  get(key: string): Promise<string | undefined>;
  /** Resolves with false, without writing, if there is no room. @throws {IotHubError} STORAGE_STOPPED */
  set(key: string, text: string): Promise<boolean>;
  delete(key: string): Promise<void>;
}

export type PowerOnClock = Pick<Clock, "monotonicMs" | "uptimeMs" | "life">;

interface PowerOn {
  readonly id: string;
  readonly madeMs: number;
  /** Offset from `uptimeMs` to milliseconds since 1970; undefined while it is not known. */
  offsetMs: number | undefined;
  /** The stored value, as far as it is known. */
  stored: string | undefined;
  /** Number of stored readings. */
  readings: number;
  /** Whether a later version has written the value. */
  readonly isNewer: boolean;
}

export class PowerOns {
  readonly #prefix: string;
  readonly #storage: PowerOnStorage;
  readonly #clock: PowerOnClock;
  readonly #random: Random;
  /** Indexed by the number that the queue keeps per message. */
  #all: PowerOn[] = [];
  /** The power-on of this run, while its time is not known. */
  #current: PowerOn | undefined;

  constructor(name: string, storage: PowerOnStorage, clock: PowerOnClock, random: Random) {
    this.#prefix = `${name}.u-`;
    this.#storage = storage;
    this.#clock = clock;
    this.#random = random;
  }

  /** Returns milliseconds since power-on. */
  uptimeMs(): number {
    const clock = this.#clock;
    return Math.max(0, Math.floor(clock.uptimeMs === undefined ? clock.monotonicMs() : clock.uptimeMs()));
  }

  /** Reads the values of earlier runs. Must precede reading the messages. */
  async open(keys: readonly string[]): Promise<void> {
    this.#all = [];
    this.#current = undefined;
    for (const key of keys) {
      const id = key.slice(this.#prefix.length);
      if (!key.startsWith(this.#prefix) || !isPowerOn(id)) continue;
      const stored = await this.#storage.get(key);
      const read = stored === undefined ? undefined : readValue(stored);
      const { madeMs = Number.NaN, offsetMs, isNewer = false } = read ?? {};
      this.#all.push({ id, madeMs, offsetMs, stored, readings: 0, isNewer });
    }
  }

  /**
   * Called after the messages were read: finds the power-on that continues, and deletes unused values.
   * @param isComplete whether all messages could be read
   */
  async opened(isComplete: boolean): Promise<void> {
    const { life } = this.#clock;
    for (const one of this.#all) {
      if (one.offsetMs !== undefined || one.isNewer) continue;
      const goesOn = one.id === life?.id || (life?.startMs !== undefined && life.startMs >= one.madeMs);
      if (goesOn && !(this.#current !== undefined && this.#current.madeMs >= one.madeMs)) this.#current = one;
    }
    if (!isComplete) return;
    for (const one of this.#all) {
      const isNeeded = one.readings > 0 && (one.offsetMs !== undefined || one === this.#current);
      if (!isNeeded) await this.#forget(one);
    }
  }

  /** Returns the power-on id for a reading taken now, at `uptimeMs`. */
  idFor(uptimeMs: number): string {
    if (this.#current?.offsetMs !== undefined) this.#current = undefined;
    if (this.#current === undefined) {
      let id = this.#clock.life?.id ?? randomId(this.#random);
      while (this.#all.some((one) => one.id === id)) id = randomId(this.#random);
      const made = { id, madeMs: uptimeMs, offsetMs: undefined, stored: undefined, readings: 0, isNewer: false };
      this.#all.push(made);
      this.#current = made;
    }
    return this.#current.id;
  }

  /** Stores the value of a power-on before a reading that refers to it. */
  async prepare(id: string): Promise<void> {
    const one = this.#all[this.indexOf(id)];
    if (one === this.#current || one.offsetMs !== undefined) await this.#save(one);
  }

  /**
   * Learns the time, and stores the offset for queued readings.
   * @param nowMs milliseconds since 1970
   */
  async learn(nowMs: number): Promise<void> {
    const one = this.#current;
    if (one === undefined) return;
    one.offsetMs ??= Math.round(nowMs) - this.uptimeMs();
    if (one.readings > 0) await this.#save(one);
  }

  /** Whether {@link learn} may have something to do: the offset is unknown, or not yet stored. */
  get isWaiting(): boolean {
    return this.#current !== undefined && (this.#current.offsetMs === undefined || this.#current.readings > 0);
  }

  /** Returns the time of a reading in milliseconds since 1970; undefined if it is not known. */
  timeOf(id: string, uptimeMs: number): number | undefined {
    const offsetMs = this.#all.find((one) => one.id === id)?.offsetMs;
    return offsetMs === undefined ? undefined : offsetMs + uptimeMs;
  }

  /** Returns the index of an id. */
  indexOf(id: string): number {
    const index = this.#all.findIndex((one) => one.id === id);
    if (index >= 0) return index;
    // Its value is gone or was never written: the time will never be known.
    this.#all.push({ id, madeMs: Number.NaN, offsetMs: undefined, stored: undefined, readings: 0, isNewer: false });
    return this.#all.length - 1;
  }

  /** Counts a stored reading of the power-on with this index. */
  add(index: number): void {
    this.#all[index].readings++;
  }

  /** Uncounts a deleted reading. @returns whether it was the last one */
  remove(index: number): boolean {
    return --this.#all[index].readings === 0;
  }

  /** Deletes the stored value, unless there are new readings. */
  forget(index: number): Promise<void> | undefined {
    const one = this.#all[index];
    return one.readings > 0 ? undefined : this.#forget(one);
  }

  /**
   * Deletes the values that no stored reading needs.
   * @param only the id of one power-on; all of them by default
   * @returns whether there were any
   */
  async deleteUnused(only?: string): Promise<boolean> {
    let isFreed = false;
    for (const one of this.#all) {
      if (one.readings > 0 || one.stored === undefined || (only !== undefined && one.id !== only)) continue;
      await this.#forget(one);
      isFreed ||= one.stored === undefined;
    }
    return isFreed;
  }

  async #save(one: PowerOn): Promise<void> {
    const offset = one.offsetMs === undefined ? "" : `,${one.offsetMs.toString(36)}`;
    const text = `1${one.madeMs.toString(36)}${offset}`;
    if (one.stored === text || one.isNewer || Number.isNaN(one.madeMs)) return;
    if (await this.#storage.set(this.#prefix + one.id, text)) one.stored = text;
  }

  async #forget(one: PowerOn): Promise<void> {
    if (one.stored === undefined || one.isNewer) return;
    try {
      await this.#storage.delete(this.#prefix + one.id);
      one.stored = undefined;
    } catch {
      // The next start deletes it: nothing refers to it.
    }
  }
}

function readValue(text: string): { madeMs: number; offsetMs?: number; isNewer?: boolean } | undefined {
  if (/^[2-9]/.test(text)) return { madeMs: Number.NaN, isNewer: true };
  if (!/^1[0-9a-z]{1,10}(,-?[0-9a-z]{1,10})?$/.test(text)) return undefined;
  const [made, offset] = text.slice(1).split(",");
  return {
    madeMs: Number.parseInt(made, 36),
    offsetMs: offset === undefined ? undefined : Number.parseInt(offset, 36),
  };
}

function randomId(random: Random): string {
  let number = 0;
  for (const byte of random.bytes(4)) number = number * 256 + byte;
  return number.toString(36).padStart(POWER_ON_LENGTH, "0").slice(-POWER_ON_LENGTH);
}
