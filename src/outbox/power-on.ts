/**
 * When readings were taken that an unset clock could not date. Each carries the random id of its power-on and the
 * milliseconds since then; once the time is known, what to add to them is kept under the id, for all of them, and
 * deleted with the last.
 *
 * In storage, as `<name>.u-<id>`: `1<made>[,<offset>]`, both in base 36. Made is when the first such reading was taken, in
 * milliseconds since the power-on. A life that began later than that belongs to the same power-on, one that began before
 * to another, as the count begins anew with each. Values of another version are left alone.
 */

import type { Clock, Random } from "../host.js";
import { isPowerOn, POWER_ON_LENGTH } from "./record.js";

/** What the storage of the queue does for these values. */
export interface PowerOnStorage {
  get(key: string): Promise<string | undefined>;
  /** Resolves without having written where there is no room. @throws {IotHubError} STORAGE_STOPPED */
  set(key: string, text: string): Promise<boolean>;
  delete(key: string): Promise<void>;
}

export type PowerOnClock = Pick<Clock, "monotonicMs" | "uptimeMs" | "life">;

interface PowerOn {
  readonly id: string;
  readonly madeMs: number;
  /** What to add to `uptimeMs`; undefined while nobody knows. */
  offsetMs: number | undefined;
  /** What is in storage, as far as is known. */
  stored: string | undefined;
  /** Readings that are stored. */
  readings: number;
  /** Whether a later version has written the value. */
  readonly isNewer: boolean;
}

export class PowerOns {
  readonly #prefix: string;
  readonly #storage: PowerOnStorage;
  readonly #clock: PowerOnClock;
  readonly #random: Random;
  /** By the index that the queue keeps. */
  #all: PowerOn[] = [];
  /** That of this life, while its time is not known. */
  #current: PowerOn | undefined;

  constructor(name: string, storage: PowerOnStorage, clock: PowerOnClock, random: Random) {
    this.#prefix = `${name}.u-`;
    this.#storage = storage;
    this.#clock = clock;
    this.#random = random;
  }

  /** Milliseconds since the power-on. */
  uptimeMs(): number {
    const clock = this.#clock;
    return Math.max(0, Math.floor(clock.uptimeMs === undefined ? clock.monotonicMs() : clock.uptimeMs()));
  }

  /** Reads what earlier lives have kept, before the readings are. */
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
   * Once the readings have been read: chooses the power-on that goes on, and deletes what nothing needs any more.
   * @param isComplete whether all of them could be read
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

  /** The id for a reading that is taken now, at `uptimeMs`. */
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

  /** Before a reading is written: what is known of its power-on comes first. */
  async prepare(id: string): Promise<void> {
    const one = this.#all[this.indexOf(id)];
    if (one === this.#current || one.offsetMs !== undefined) await this.#save(one);
  }

  /**
   * Takes in the time, and keeps what it means for the readings that wait.
   * @param nowMs milliseconds since 1970
   */
  async learn(nowMs: number): Promise<void> {
    const one = this.#current;
    if (one === undefined) return;
    one.offsetMs ??= Math.round(nowMs) - this.uptimeMs();
    if (one.readings > 0) await this.#save(one);
  }

  /** Whether there may be something to {@link learn}: readings of this life wait for their time, or for its being kept. */
  get isWaiting(): boolean {
    return this.#current !== undefined && (this.#current.offsetMs === undefined || this.#current.readings > 0);
  }

  /** Milliseconds since 1970; undefined if nobody knows. */
  timeOf(id: string, uptimeMs: number): number | undefined {
    const offsetMs = this.#all.find((one) => one.id === id)?.offsetMs;
    return offsetMs === undefined ? undefined : offsetMs + uptimeMs;
  }

  /** The index of an id. */
  indexOf(id: string): number {
    const index = this.#all.findIndex((one) => one.id === id);
    if (index >= 0) return index;
    // Its value is gone or was never written: its time is not to be known.
    this.#all.push({ id, madeMs: Number.NaN, offsetMs: undefined, stored: undefined, readings: 0, isNewer: false });
    return this.#all.length - 1;
  }

  /** A reading of the power-on with this index was stored, or found. */
  add(index: number): void {
    this.#all[index].readings++;
  }

  /** @returns whether it was the last one */
  remove(index: number): boolean {
    return --this.#all[index].readings === 0;
  }

  /** Deletes what was kept, unless there are readings again. */
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
      // The next start does it: nothing refers to it.
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
