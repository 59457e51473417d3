/**
 * A queue of messages in a storage, safe against a power cut at any operation.
 *
 * Keys: `<name>.<sequence, 8 digits of base 36>.<part, 1 digit>` for a part, `<name>.n` for the mark below which
 * numbers may have been used.
 *
 * - A message's first part is written last and deleted first: it is there if and only if the message is.
 * - The mark is written only before the message with the highest number is deleted, as long as that one still tells
 *   the number. It is set {@link RESERVE} ahead, so it is due once in so many messages and once after a restart.
 * - So a part costs two operations that write, its writing and its deletion, in the message's whole life.
 */

import { IotHubError } from "../errors.js";
import type { Storage } from "../host.js";
import {
  decodeRecord,
  encodeMark,
  encodeRecord,
  MAX_PARTS,
  MAX_SEQUENCE,
  type RecordHead,
  readHead,
  readMark,
  readPart,
  type StoredMessage,
} from "./record.js";

/** How many numbers a mark is ahead. */
const RESERVE = 64;
/** Numbers an entry has in the table: sequence number, bytes, time, parts. */
const STRIDE = 4;
/** Entries that the table grows by: few for a device, and not so few that a long queue is copied all the time. */
const LEAST_ROOM = 16;

export interface Damaged {
  readonly sequence: number;
  /** `unsupported`: written by a later version of this library. It stays in the storage for that version. */
  readonly reason: "damaged" | "unsupported";
}

export class StoredQueue {
  readonly #storage: Storage;
  readonly #name: string;
  /** Entries in order; the table is larger than what is in use. */
  #table = new Float64Array(0);
  #begin = 0;
  #end = 0;
  #bytes = 0;
  /** What an opening that failed has found, and perhaps deleted, already. */
  #found: Damaged[] = [];
  #next = 0;
  #mark = 0;

  /** @param name 1 to 4 characters of `[A-Za-z0-9_-]` */
  constructor(storage: Storage, name: string) {
    this.#storage = storage;
    this.#name = name;
  }

  /** Messages in the queue. */
  get size(): number {
    return (this.#end - this.#begin) / STRIDE;
  }

  /** What the queue takes of its storage, counted as NVS does. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Time of the oldest message in milliseconds since 1970; undefined if the queue is empty. */
  get oldestTimeMs(): number | undefined {
    return this.#begin < this.#end ? this.#table[this.#begin + 2] : undefined;
  }

  /** The sequence number at an index, 0 being the oldest; undefined if there is none. */
  sequenceAt(index: number): number | undefined {
    const at = this.#begin + index * STRIDE;
    return at < this.#end ? this.#table[at] : undefined;
  }

  /**
   * Reads what is in the storage, and clears away what a power cut left half done.
   * @returns messages that cannot be read; what is damaged has been deleted
   */
  async open(): Promise<Damaged[]> {
    this.#table = new Float64Array(0);
    this.#begin = 0;
    this.#end = 0;
    this.#bytes = 0;
    const find = (sequence: number, reason: Damaged["reason"]) => {
      if (!this.#found.some((one) => one.sequence === sequence)) this.#found.push({ sequence, reason });
    };
    const ids = (await this.#storage.keys()).map((key) => this.#parse(key)).filter((id) => id >= 0);
    ids.sort((a, b) => a - b);
    this.#mark = readMark(await this.#storage.get(this.#markKey()));
    const highest = ids.length > 0 ? Math.floor(ids[ids.length - 1] / MAX_PARTS) : -1;
    this.#next = Math.max(this.#mark, highest + 1);
    for (let i = 0; i < ids.length; ) {
      const sequence = Math.floor(ids[i] / MAX_PARTS);
      let count = 1;
      while (Math.floor(ids[i + count] / MAX_PARTS) === sequence) count++;
      const parts = ids.slice(i, i + count).map((id) => id % MAX_PARTS);
      i += count;
      const head = parts[0] === 0 ? await this.#readHead(sequence) : undefined;
      if (head === "newer") {
        find(sequence, "unsupported");
        continue;
      }
      if (head !== undefined && head.parts === count) {
        this.#push(sequence, head);
        continue;
      }
      // Without a first part it was being written or deleted: nobody waits for it.
      if (parts[0] === 0) find(sequence, "damaged");
      if (sequence === highest) await this.#reserve(sequence);
      for (const part of parts) await this.#storage.delete(this.#key(sequence, part));
    }
    const found = this.#found;
    this.#found = [];
    return found;
  }

  /** What a message would take, and how to write it. */
  measure(message: Omit<StoredMessage, "sequence">): { bytes: number; parts: number; append: () => Promise<number> } {
    if (this.#next > MAX_SEQUENCE) throw new IotHubError("OUTBOX_FULL", "The outbox has no sequence number left.");
    const sequence = this.#next;
    const { head, parts } = encodeRecord({ ...message, sequence });
    return { bytes: head.bytes, parts: head.parts, append: () => this.#append(sequence, head, parts) };
  }

  async #append(sequence: number, head: RecordHead, parts: Uint8Array[]): Promise<number> {
    this.#next = sequence + 1;
    try {
      for (let part = parts.length - 1; part >= 0; part--) {
        await this.#storage.set(this.#key(sequence, part), parts[part]);
      }
    } catch (error) {
      // The number stays used. What cannot be deleted now is cleared away, or delivered, after the next start.
      for (let part = 0; part < parts.length; part++) {
        await this.#storage.delete(this.#key(sequence, part)).catch(() => {});
      }
      throw error;
    }
    this.#push(sequence, head);
    return sequence;
  }

  /** The message at an index; undefined if it is damaged. */
  async read(index: number): Promise<StoredMessage | undefined> {
    const at = this.#begin + index * STRIDE;
    const sequence = this.#table[at];
    const contents: Uint8Array[] = [];
    for (let part = 0; part < this.#table[at + 3]; part++) {
      const value = await this.#storage.get(this.#key(sequence, part));
      const content = value && readPart(value, sequence, part);
      if (content === undefined || content === "newer") return undefined;
      contents.push(content);
    }
    return decodeRecord(sequence, contents);
  }

  /** Deletes the message at an index. */
  async remove(index: number): Promise<void> {
    const at = this.#begin + index * STRIDE;
    const sequence = this.#table[at];
    const parts = this.#table[at + 3];
    if (at + STRIDE === this.#end) await this.#reserve(sequence);
    await this.#storage.delete(this.#key(sequence, 0));
    this.#bytes -= this.#table[at + 1];
    this.#table.copyWithin(this.#begin + STRIDE, this.#begin, at);
    this.#begin += STRIDE;
    // From here on it is gone. Parts that stay are cleared away at the next start.
    for (let part = 1; part < parts; part++) await this.#storage.delete(this.#key(sequence, part)).catch(() => {});
  }

  async #readHead(sequence: number): Promise<RecordHead | "newer" | undefined> {
    const value = await this.#storage.get(this.#key(sequence, 0));
    const content = value && readPart(value, sequence, 0);
    return content === undefined || content === "newer" ? content : readHead(content);
  }

  /** Keeps a number from being given again after its message is gone. */
  async #reserve(sequence: number): Promise<void> {
    if (this.#mark > sequence) return;
    const mark = Math.min(sequence + RESERVE, MAX_SEQUENCE);
    await this.#storage.set(this.#markKey(), encodeMark(mark));
    this.#mark = mark;
  }

  #push(sequence: number, { bytes, timeMs, parts }: RecordHead): void {
    if (this.#end === this.#table.length) {
      const used = this.#end - this.#begin;
      const grown = used + Math.max(LEAST_ROOM, used >> 2) * STRIDE;
      const table = new Float64Array(grown - (grown % STRIDE));
      table.set(this.#table.subarray(this.#begin, this.#end));
      this.#table = table;
      this.#begin = 0;
      this.#end = used;
    }
    const table = this.#table;
    table[this.#end] = sequence;
    table[this.#end + 1] = bytes;
    table[this.#end + 2] = timeMs;
    table[this.#end + 3] = parts;
    this.#end += STRIDE;
    this.#bytes += bytes;
  }

  #key(sequence: number, part: number): string {
    return `${this.#name}.${sequence.toString(36).padStart(8, "0")}.${part.toString(36)}`;
  }

  #markKey(): string {
    return `${this.#name}.n`;
  }

  /** The sequence number times 36 plus the part; -1 for another's key. */
  #parse(key: string): number {
    const { length } = this.#name;
    if (key.length !== length + 11 || !key.startsWith(`${this.#name}.`)) return -1;
    const digits = key.slice(length + 1);
    return /^[0-9a-z]{8}\.[0-9a-z]$/.test(digits)
      ? Number.parseInt(digits.slice(0, 8), 36) * MAX_PARTS + Number.parseInt(digits[9], 36)
      : -1;
  }
}
