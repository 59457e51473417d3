/**
 * A queue of messages in a storage, safe against a power cut at any operation, as each message is one value: it is there
 * if and only if its key is. Keys: `<name>.<sequence, 8 digits of base 36>`.
 *
 * Numbers rise within a life. After a restart they go on above the highest that waits, which is all that a queue needs:
 * nothing but the messages is written, so a storage that is full can be emptied.
 *
 * A storage that is short of memory may say that a key is absent which is not. So a key that the queue knows is never
 * considered gone by that alone, and no key is written before it was found free.
 */

import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import type { OutboxStats } from "../health.js";
import type { Clock, Random, Storage } from "../host.js";
import { type PowerOnClock, PowerOns } from "./power-on.js";
import { DIGITS, decodeRecord, readDigits, type StoredMessage, type StoredRecord, storedBytes } from "./record.js";

/** As eight base-36 digits of a key count: 4000 years at 20 a second. */
const MAX_SEQUENCE = 36 ** 8 - 1;
/**
 * Numbers an entry has in the table: sequence number, bytes and endpoint, time. Bytes are whole entries of 32. In place of
 * a time, what is below UNKNOWN_TIME counts down from there, one for each power-on.
 */
const STRIDE = 3;
/** Entries that the table grows by: few for a device, and not so few that a long queue is copied all the time. */
const LEAST_ROOM = 16;
/** What a message is counted as that is listed and reads as absent. */
const LEAST_BYTES = storedBytes(0);
const UNKNOWN_TIME = -1;
/** A set that finds no room costs an ESP32 the erasure of a sector: how long until it may find some, if nothing is deleted. */
const NO_ROOM_MS = 3600000;

export interface Corrupt {
  readonly sequence: number;
  /** `unsupported`: written by a later version of this library. It stays in the storage for that version. */
  readonly reason: "corrupt" | "unsupported";
}

/** Sequence numbers of what is being sent, which must not be evicted. */
export interface Held {
  readonly first: number;
  readonly last: number;
}

/** A message, and what lies in storage for it. */
interface Found {
  readonly message: StoredMessage;
  readonly text: string;
}

/** What is read of a message. `absent` may come from a storage that is short of memory. */
export type Read = StoredMessage | "absent" | "corrupt" | "newer";

export class StoredQueue {
  readonly #storage: Storage;
  readonly #name: string;
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Entries in order; the table is larger than what is in use. */
  #table = new Float64Array(0);
  #begin = 0;
  #end = 0;
  #bytes = 0;
  /** Messages that are not readings. */
  #others = 0;
  /** Messages that were listed and read as absent. */
  #unread = 0;
  /** What an opening that failed has found, and perhaps deleted, already. */
  #found: Corrupt[] | undefined;
  #next = 0;
  /** Messages read so far: shows whether the storage could read anything meanwhile. */
  #reads = 0;
  /** Messages that were absent in an earlier flush, and what `#reads` was then. */
  #absent: Map<number, number> | undefined;
  /** Numbers whose writing failed, perhaps after it took effect. */
  #failed: number[] | undefined;
  /** Bytes for which there was no room, and until when there is none unless something is deleted. */
  #noRoomBytes = Number.POSITIVE_INFINITY;
  #noRoomUntilMs = 0;
  /** Readings without a time; undefined where none is sent. */
  powerOns: PowerOns | undefined;
  #keyOf = -1;
  #lastKey = "";
  /** Why nothing may be written any more in this life. */
  #stopped: unknown;

  /** @param name 1 to 4 characters of `[A-Za-z0-9_-]` */
  constructor(storage: Storage, name: string, clock: Pick<Clock, "monotonicMs">) {
    this.#storage = storage;
    this.#name = name;
    this.#clock = clock;
  }

  /** Keeps readings apart that were taken before the clock was set. */
  dateReadings(clock: PowerOnClock, random: Random): PowerOns {
    const storage = this.#storage;
    const set = (key: string, text: string) => this.#setValue(key, text);
    const parts = { get: (key: string) => storage.get(key), set, delete: (key: string) => storage.delete(key) };
    this.powerOns = new PowerOns(this.#name, parts, clock, random);
    return this.powerOns;
  }

  /** Messages in the queue. */
  get size(): number {
    return (this.#end - this.#begin) / STRIDE;
  }

  /** What the queue takes of its storage, counted as NVS does. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Time of the oldest message in milliseconds since 1970; undefined if none is known. */
  get oldestTimeMs(): number | undefined {
    for (let at = this.#begin + 2; at < this.#end; at += STRIDE) {
      if (this.#table[at] > UNKNOWN_TIME) return this.#table[at];
    }
    return undefined;
  }

  /** @param nowMs since 1970 */
  stats(nowMs: number): OutboxStats {
    if (this.#end === this.#begin) return { size: 0, bytes: 0, oldestAgeMs: 0 };
    const oldest = this.oldestTimeMs;
    const oldestAgeMs = oldest === undefined ? 0 : Math.max(0, nowMs - oldest);
    return { size: this.size, bytes: this.#bytes, oldestAgeMs };
  }

  /** The sequence number at an index, 0 being the oldest; undefined if there is none. */
  sequenceAt(index: number): number | undefined {
    const at = this.#begin + index * STRIDE;
    return at < this.#end ? this.#table[at] : undefined;
  }

  endpointAt(index: number): number {
    return this.#table[this.#begin + index * STRIDE + 1] % 32;
  }

  bytesAt(index: number): number {
    return this.#table[this.#begin + index * STRIDE + 1] - this.endpointAt(index);
  }

  /** The index of what is evicted first: the device's own messages before readings, the oldest first; -1 if there is none. */
  dispensable(held: Held | undefined): number {
    let oldest = -1;
    for (let at = this.#begin, index = 0; at < this.#end; at += STRIDE, index++) {
      if (held !== undefined && this.#table[at] >= held.first && this.#table[at] <= held.last) continue;
      if (this.#others > 0 && this.#table[at + 1] % 32 !== 0) return index;
      if (oldest < 0) oldest = index;
      if (this.#others === 0) break;
    }
    return oldest;
  }

  /** The index of a sequence number; -1 if it is not in the queue. */
  indexOf(sequence: number): number {
    // Numbers only rise.
    let low = 0;
    let high = this.size - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.#table[this.#begin + middle * STRIDE];
      if (found === sequence) return middle;
      if (found < sequence) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /**
   * Reads what is in the storage.
   * @returns messages that cannot be read; what is corrupt has been deleted
   */
  async open(): Promise<Corrupt[]> {
    this.#table = new Float64Array(0);
    this.#begin = 0;
    this.#end = 0;
    this.#bytes = 0;
    this.#others = 0;
    this.#unread = 0;
    const keys = await this.#storage.keys();
    if (this.powerOns !== undefined) await this.powerOns.open(keys);
    const sequences: number[] = [];
    for (const key of keys) {
      const sequence = this.#parse(key);
      if (sequence >= 0) sequences.push(sequence);
    }
    sequences.sort(byNumber);
    for (const sequence of sequences) {
      if (sequence >= this.#next) this.#next = sequence + 1;
      // Mostly it is read at once, and a function that waits costs as much as all that it does here.
      const text = await this.#storage.get(this.#key(sequence));
      let read: Found | "absent" | "corrupt" | "newer" = text === undefined ? "absent" : this.#decode(sequence, text);
      if (read === "corrupt") read = await this.#read(sequence);
      if (read === "corrupt") {
        this.#find(sequence, "corrupt");
        await this.#storage.delete(this.#key(sequence));
      } else if (read === "newer") {
        this.#find(sequence, "unsupported");
      } else {
        if (read !== "absent") this.#reads++;
        this.#add(sequence, read);
      }
    }
    // What cannot be read now may need a value that nothing else does.
    if (this.powerOns !== undefined) await this.powerOns.opened(this.#unread === 0);
    const found = this.#found ?? [];
    this.#found = undefined;
    return found;
  }

  #find(sequence: number, reason: Corrupt["reason"]): void {
    this.#found ??= [];
    if (!this.#found.some((one) => one.sequence === sequence)) this.#found.push({ sequence, reason });
  }

  #add(sequence: number, read: Found | "absent"): void {
    if (read === "absent") {
      this.#unread++;
      this.#push(sequence, LEAST_BYTES, UNKNOWN_TIME, 0);
      return;
    }
    const { timeMs, powerOn, endpoint } = read.message;
    this.#push(sequence, storedBytes(utf8(read.text).length), this.#timeOf(timeMs, powerOn), endpoint);
  }

  /** What the table has for a time. */
  #timeOf(timeMs: number | undefined, powerOn: string | undefined): number {
    if (powerOn === undefined) return timeMs ?? UNKNOWN_TIME;
    return this.powerOns === undefined ? UNKNOWN_TIME : UNKNOWN_TIME - 1 - this.powerOns.indexOf(powerOn);
  }

  /** A number that is given to no stored message. */
  takeNumber(): number {
    if (this.#next > MAX_SEQUENCE) throw new IotHubError("OUTBOX_FULL", "The outbox has no sequence number left.");
    return this.#next++;
  }

  /** Whether writing so many bytes is known to find no room. */
  isWithoutRoom(bytes: number): boolean {
    return bytes >= this.#noRoomBytes && this.#clock.monotonicMs() < this.#noRoomUntilMs;
  }

  /**
   * Writes a record behind all others.
   * @throws {IotHubError} also STORAGE_FULL, if nothing can be written before something is deleted
   */
  async append({ text, bytes, timeMs, powerOn, endpoint }: StoredRecord): Promise<number> {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (this.#failed !== undefined) await this.clean();
    if (powerOn !== undefined) {
      await this.powerOns?.prepare(powerOn);
      if (this.isWithoutRoom(bytes) && !(await this.#freeTimes(powerOn))) {
        throw new IotHubError("STORAGE_FULL", "The storage has no room.");
      }
    }
    let sequence = this.takeNumber();
    for (;;) {
      const value = await this.#storage.get(this.#key(sequence));
      if (value === undefined) break;
      // The storage did not list it.
      const found = this.#decode(sequence, value);
      if (found !== "newer" && found !== "corrupt") this.#add(sequence, found);
      sequence = this.takeNumber();
    }
    for (let isStored = false; !isStored; ) {
      try {
        await this.#storage.set(this.#key(sequence), text);
        isStored = true;
      } catch (error) {
        const { code } = error as Partial<IotHubError>;
        if (code === "STORAGE_STOPPED") this.#stopped = error;
        if (code === "STORAGE_FULL") {
          this.#foundNoRoom(bytes);
          if (await this.#freeTimes(powerOn)) continue;
        } else {
          this.#failed ??= [];
          this.#failed.push(sequence);
          await this.clean().catch(() => {});
        }
        throw error;
      }
    }
    this.#push(sequence, bytes, this.#timeOf(timeMs, powerOn), endpoint);
    return sequence;
  }

  /**
   * A reading is worth more than the time of others: deletes what no stored reading needs, also what was just written for
   * one that finds no room.
   * @returns whether there is more room now
   */
  async #freeTimes(powerOn: string | undefined): Promise<boolean> {
    // What could not be read may need any of them.
    const only = this.#unread > 0 ? powerOn : undefined;
    if (this.powerOns === undefined || (this.#unread > 0 && powerOn === undefined)) return false;
    const isFreed = await this.powerOns.deleteUnused(only);
    if (isFreed) this.#noRoomUntilMs = 0;
    return isFreed;
  }

  #foundNoRoom(bytes: number): void {
    this.#noRoomBytes = bytes;
    this.#noRoomUntilMs = this.#clock.monotonicMs() + NO_ROOM_MS;
  }

  /** Writes a value that a message can do without. @returns whether it is written */
  async #setValue(key: string, text: string): Promise<boolean> {
    const bytes = storedBytes(text.length);
    if (this.#stopped !== undefined || this.isWithoutRoom(bytes)) return false;
    // The stack begins anew: with all that waits for this, the storage would not fit into the 6 KB of an ESP32.
    await undefined;
    try {
      await this.#storage.set(key, text);
      return true;
    } catch (error) {
      const { code } = error as Partial<IotHubError>;
      if (code === "STORAGE_STOPPED") {
        this.#stopped = error;
        throw error;
      }
      if (code === "STORAGE_FULL") this.#foundNoRoom(bytes);
      return false;
    }
  }

  /** Deletes what was written although its writing failed: whoever was refused may have it stored again. */
  async clean(): Promise<void> {
    while (this.#failed !== undefined) {
      const key = this.#key(this.#failed[0]);
      if ((await this.#storage.get(key)) !== undefined) await this.#storage.delete(key);
      this.#failed.shift();
      if (this.#failed.length === 0) this.#failed = undefined;
    }
  }

  /** The message at an index. Corrupt is only what was read twice and made no sense. */
  read(index: number): Promise<Read> {
    return this.#read(this.sequenceAt(index) as number).then((read) =>
      typeof read === "string" ? read : read.message,
    );
  }

  /** Whether the key of a message is gone. */
  async isGone(sequence: number): Promise<boolean> {
    const isGone = (await this.#storage.get(this.#key(sequence))) === undefined;
    if (isGone) this.#noRoomUntilMs = 0;
    return isGone;
  }

  /**
   * Takes in that a message is absent, once in a flush.
   * @returns true if it is lost: it was absent in an earlier flush, and others could be read since
   */
  isLost(sequence: number): boolean {
    this.#absent ??= new Map();
    const reads = this.#absent.get(sequence);
    this.#absent.set(sequence, this.#reads);
    return reads !== undefined && this.#reads > reads;
  }

  /** Deletes the message at an index. */
  remove(index: number): Promise<void> {
    return this.#storage.delete(this.#key(this.sequenceAt(index) as number)).then(() => {
      this.#noRoomUntilMs = 0;
      const emptied = this.drop(index);
      return emptied < 0 ? undefined : this.powerOns?.forget(emptied);
    });
  }

  /**
   * Forgets the message at an index, which is gone from the storage.
   * @returns the index of the power-on of which it was the last reading; -1 if it was not
   */
  drop(index: number): number {
    const at = this.#begin + index * STRIDE;
    const powerOn = UNKNOWN_TIME - 1 - this.#table[at + 2];
    this.#absent?.delete(this.#table[at]);
    this.#bytes -= this.bytesAt(index);
    if (this.endpointAt(index) !== 0) this.#others--;
    this.#table.copyWithin(this.#begin + STRIDE, this.#begin, at);
    this.#begin += STRIDE;
    return powerOn >= 0 && this.powerOns?.remove(powerOn) === true ? powerOn : -1;
  }

  async #read(sequence: number): Promise<Found | "absent" | "corrupt" | "newer"> {
    let found: Found | "corrupt" | "newer" = "corrupt";
    for (let times = 0; times < 2 && found === "corrupt"; times++) {
      const text = await this.#storage.get(this.#key(sequence));
      if (text === undefined) return "absent";
      found = this.#decode(sequence, text);
    }
    if (typeof found !== "string") {
      this.#reads++;
      this.#absent?.delete(sequence);
    }
    return found;
  }

  #decode(sequence: number, text: string): Found | "corrupt" | "newer" {
    const message = decodeRecord(sequence, text);
    if (message === "newer") return "newer";
    return message === undefined ? "corrupt" : { message, text };
  }

  #push(sequence: number, bytes: number, timeMs: number, endpoint: number): void {
    if (this.#end === this.#table.length) {
      const used = this.#end - this.#begin;
      const grown = Math.floor(used / STRIDE + Math.max(LEAST_ROOM, used / STRIDE / 4)) * STRIDE;
      const table = new Float64Array(grown);
      table.set(this.#table.subarray(this.#begin, this.#end));
      this.#table = table;
      this.#begin = 0;
      this.#end = used;
    }
    const table = this.#table;
    table[this.#end] = sequence;
    table[this.#end + 1] = bytes + endpoint;
    table[this.#end + 2] = timeMs;
    this.#end += STRIDE;
    this.#bytes += bytes;
    if (timeMs < UNKNOWN_TIME) this.powerOns?.add(UNKNOWN_TIME - 1 - timeMs);
    if (endpoint !== 0) this.#others++;
  }

  #key(sequence: number): string {
    // Written and deleted, a key is asked for several times.
    if (sequence !== this.#keyOf) {
      // A number's text costs XS as much as four calls: the next number mostly differs by its last digit alone.
      const digit = sequence % 36;
      this.#lastKey =
        sequence === this.#keyOf + 1 && digit > 0
          ? this.#lastKey.slice(0, -1).concat(DIGITS[digit])
          : this.#name.concat(".", sequence.toString(36).padStart(8, "0"));
      this.#keyOf = sequence;
    }
    return this.#lastKey;
  }

  /** The sequence number; -1 for another's key. */
  #parse(key: string): number {
    const { length } = this.#name;
    if (key.length !== length + 9 || !key.startsWith(`${this.#name}.`)) return -1;
    const sequence = readDigits(key.slice(length + 1));
    return sequence >= 0 ? sequence : -1;
  }
}

function byNumber(a: number, b: number): number {
  return a - b;
}
