/**
 * One TLS session in the host's storage, for resumption after deep sleep or a restart. It is not encrypted: until it
 * expires, anyone who reads the storage can impersonate the server to this board, and can decrypt recorded traffic of
 * the connections that created or resumed it at any time.
 */

import { asciiText } from "../../../src/crypto/native-text.js";
import { utf8 } from "../../../src/crypto/utf8.js";
import type { Clock, Storage } from "../../../src/host.js";
import { buildDateMs } from "../../../src/version.js";
import { same } from "./der.js";
import { cipherSuites } from "./hello.js";
import { word } from "./records.js";
import type { KeptSession } from "./resumption.js";
import type { SignaturePrimitives } from "./verify.js";

const KEY = "tls-session";
/**
 * What was learned of the stored session since it was written: the first characters of its value, then one letter per fact. It
 * is a separate value because it takes two entries of NVS, and the session fourteen.
 */
const NOTE_KEY = "tls-note";
/** A later start of the program has resumed it, so storing it has paid off. */
const RESUMED = "r";
/** A connection to its address has failed, so the name is resolved again. */
const ADDRESS_FAILED = "a";

/** Fourteen entries of NVS: a value that is rewritten must stay small compared with the readings. */
const MAX_CHARACTERS = 400;
/** Above, NVS begins to copy pages as it writes. */
const MAX_ENTRIES = 300;
const NOTE_ENTRIES = 2;
const DAY_SECONDS = 86400;
/**
 * Minimum age at which a session that was resumed before is replaced while it is still valid. If servers behind one address do
 * not share their keys, every second one declines it, and storing each new session would wear out the flash.
 */
const DECLINED_SECONDS = 3600;

// Of a record: where the parts of its head begin. The master secret and the ticket or identifier follow.
const FORMAT_AT = 0;
const SUITE_AT = 1;
/** Length of the ticket or identifier; 0 if there is no session, but a note that one has failed. */
const LENGTH_AT = 2;
const MADE_AT = 3;
const LIFETIME_AT = 7;
const ADDRESS_AT = 10;
const ORIGIN_AT = 14;
const CHECK_AT = 18;
const HEAD_BYTES = 30;
const SECRET_BYTES = 48;
/** Of a text: the head as far as the time is in them. */
const MARK_CHARACTERS = 12;

const FORMAT = 0x10;
const EXTENDED = 1;
const TICKET = 2;

/** A suite is stored as its place in this list. */
const SUITES: readonly number[] = Object.freeze(cipherSuites(true));

/** Thirteen bits are two characters: with Base64, the tickets of nginx for a name of forty characters would not fit. */
const BITS = 13;
const RADIX = 91;
/** Printable, and neither a space nor a quotation mark. */
const FIRST_CODE = 0x23;

/** What a stored session is, besides for whom. */
export interface StoredSession {
  readonly session: KeptSession;
  /** Seconds since 1970, and for how many seconds from then on it is offered. */
  readonly madeSeconds: number;
  readonly lifetimeSeconds: number;
  /** IPv4 address of the server. */
  readonly address: string;
}

export interface SessionStoreOptions {
  readonly storage: Storage;
  readonly clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly hash: SignaturePrimitives["hash"];
  /** Hash of whom a session was made with trust in, and as whom: where it has changed, a stored one is worth nothing. */
  readonly binding: Uint8Array;
}

export class SessionStore {
  readonly #options: SessionStoreOptions;
  #loading: Promise<void> | undefined;
  /** What is stored; without the secret once the session has been taken. */
  #record: Uint8Array | undefined;
  /** Whether the check value of the record has been compared: it takes the origin that it is for. */
  #isChecked = false;
  /** Tells the stored session from others. */
  #mark = "";
  /** Whether the stored session has been resumed, and whether its address has failed. */
  #wasResumed = false;
  #hasAddressFailed = false;
  /** The letters of the note that is stored. */
  #note = "";
  /** Whether this start of the program may store a session. */
  #mayWrite = false;
  #room: Promise<boolean> | undefined;
  /** What is to be stored as soon as it is known that there is room. */
  #next: Uint8Array | undefined;
  /** Pending storage operations by key. */
  readonly #operations = new Map<string, Promise<void>>();
  #isForgotten = false;

  constructor(options: SessionStoreOptions) {
    this.#options = options;
  }

  /** Reads what is stored, once. A storage that fails counts as empty, and is not written to. */
  load(origin: string): Promise<void> {
    this.#loading ??= this.#load(origin);
    return this.#loading;
  }

  /** Gives the session that is stored for an origin, once, if it can be offered. */
  take(origin: string): StoredSession | undefined {
    const record = this.#recordOf(origin);
    if (record === undefined || record.length <= HEAD_BYTES || !this.#isAlive(record)) return undefined;
    const stored = sessionOf(record);
    this.#record = record.slice(0, HEAD_BYTES);
    return stored;
  }

  /** Address of the server whose session is stored, undefined if there is none to try. */
  addressOf(origin: string): string | undefined {
    const record = this.#recordOf(origin);
    return record && this.#isAlive(record) && !this.#hasAddressFailed ? addressOf(record) : undefined;
  }

  /**
   * Stores a session that a full handshake has made, at most one in a start of the program, and only if what is stored can
   * no longer be used. If that has never been resumed, sleeps may be longer than sessions last: the next one is stored a
   * day later.
   * @param session undefined if the server keeps none
   * @param notAfterMs end of the server's certificate, in milliseconds since 1970
   */
  keep(origin: string, session: KeptSession | undefined, notAfterMs: number, address: string): void {
    const nowMs = this.#options.clock.nowMs();
    if (session === undefined || nowMs < buildDateMs || !this.#mayWrite || !this.#mayReplace(origin, address)) return;
    const hint = session.ticket?.lifetimeSeconds || DAY_SECONDS;
    const lifetimeSeconds = Math.floor(Math.min(DAY_SECONDS, hint, (notAfterMs - nowMs) / 1000));
    const record = recordOf({ session, madeSeconds: Math.floor(nowMs / 1000), lifetimeSeconds, address });
    if (lifetimeSeconds <= 0 || record === undefined) return;
    this.#mayWrite = false;
    this.#next = record;
    this.#hasRoom().then((hasRoom) => {
      if (hasRoom && this.#next === record) this.#write(origin, record);
    });
  }

  /**
   * Takes note that the session of an origin has been resumed.
   * @param isStored whether it is the one that an earlier start of the program has stored
   */
  resumed(origin: string, isStored: boolean): void {
    if (this.#recordOf(origin) === undefined) return;
    this.#wasResumed = true;
    if (isStored) this.#takeNote(RESUMED);
  }

  /**
   * Drops the stored address of an origin after it failed. The session is kept: it stays valid across a network outage,
   * and replacing it would wear the flash.
   */
  dropAddress(origin: string): void {
    if (this.addressOf(origin) === undefined) return;
    this.#hasAddressFailed = true;
    this.#takeNote(ADDRESS_FAILED);
  }

  /**
   * Forgets the session of an origin as it has failed, at once: the machine may be about to sleep. If it has never been
   * resumed, the next one is stored a day later.
   */
  drop(origin: string): void {
    this.#next = undefined;
    const record = this.#recordOf(origin);
    if (record === undefined || lifetimeOf(record) === 0) return;
    if (this.#wasResumed) {
      this.#record = undefined;
      this.#perform(KEY, (storage) => storage.delete(KEY));
    } else {
      const empty = new Uint8Array(HEAD_BYTES);
      putSeconds(empty, MADE_AT, Math.floor(this.#options.clock.nowMs() / 1000));
      this.#write(origin, empty);
    }
  }

  /** Lets go of all that has been read, writes nothing any more, and resolves once nothing is being written. */
  async forget(): Promise<void> {
    this.#isForgotten = true;
    this.#mayWrite = false;
    this.#record = this.#next = undefined;
    await Promise.all(this.#operations.values());
  }

  async #load(origin: string): Promise<void> {
    const { storage } = this.#options;
    try {
      const text = await storage.get(KEY);
      const record = text === undefined ? undefined : decodeRecord(text);
      const mark = record ? markOf(text as string) : "";
      const note = record ? ((await storage.get(NOTE_KEY)) ?? "") : "";
      if (this.#isForgotten) return;
      this.#record = record;
      this.#mark = mark;
      this.#note = record && note.startsWith(mark) ? note.slice(MARK_CHARACTERS) : "";
      this.#wasResumed = this.#note.includes(RESUMED);
      this.#hasAddressFailed = this.#note.includes(ADDRESS_FAILED);
      this.#mayWrite = true;
      const own = this.#recordOf(origin);
      // A full handshake comes. Meanwhile the storage can be looked through; where it need not be, a wake is shorter.
      if (own === undefined || !this.#isAlive(own)) this.#hasRoom();
    } catch {
      // Without it, handshakes are full ones.
    }
  }

  #hasRoom(): Promise<boolean> {
    this.#room ??= hasRoom(this.#options.storage).catch(() => false);
    return this.#room;
  }

  /** What is stored, if it is for this origin, with the same trust, and whole. */
  #recordOf(origin: string): Uint8Array | undefined {
    const record = this.#record;
    if (record === undefined || !this.#isOf(record, origin)) return undefined;
    if (this.#isChecked) return record;
    this.#isChecked = same(this.#check(record, origin), record.subarray(CHECK_AT, HEAD_BYTES));
    if (!this.#isChecked) this.#record = undefined;
    return this.#record;
  }

  #isOf(record: Uint8Array, origin: string): boolean {
    return same(record.subarray(ORIGIN_AT, CHECK_AT), this.#nameOf(origin));
  }

  /** Of the origin and of whom is trusted: hosts that share a storage do not take turns in replacing each other's session. */
  #nameOf(origin: string): Uint8Array {
    const { hash, binding } = this.#options;
    return hash("SHA256", [binding, utf8(origin)]).subarray(0, CHECK_AT - ORIGIN_AT);
  }

  #isAlive(record: Uint8Array): boolean {
    const age = this.#ageOf(record);
    return age >= 0 && age < lifetimeOf(record);
  }

  /** Seconds; less than none if either then or now the clock is wrong. */
  #ageOf(record: Uint8Array): number {
    const nowMs = this.#options.clock.nowMs();
    return nowMs < buildDateMs ? -1 : nowMs / 1000 - secondsAt(record, MADE_AT);
  }

  #mayReplace(origin: string, address: string): boolean {
    const own = this.#recordOf(origin);
    const record = this.#record;
    if (record === undefined) return true;
    const age = this.#ageOf(record);
    if (age < 0 || age >= DAY_SECONDS) return true;
    // The server is elsewhere now.
    if (own && this.#hasAddressFailed && addressOf(own) !== address) return true;
    return this.#wasResumed && (age >= lifetimeOf(record) || (own !== undefined && age >= DECLINED_SECONDS));
  }

  #write(origin: string, record: Uint8Array): void {
    record[FORMAT_AT] |= FORMAT;
    record.set(this.#nameOf(origin), ORIGIN_AT);
    record.set(this.#check(record, origin), CHECK_AT);
    const text = encodeRecord(record);
    this.#record = record.slice(0, HEAD_BYTES);
    this.#isChecked = true;
    this.#mark = markOf(text);
    this.#note = "";
    this.#wasResumed = this.#hasAddressFailed = false;
    this.#perform(KEY, (storage) => storage.set(KEY, text));
  }

  #takeNote(letter: string): void {
    if (this.#note.includes(letter)) return;
    this.#note += letter;
    const text = this.#mark + this.#note;
    this.#perform(NOTE_KEY, (storage) => storage.set(NOTE_KEY, text));
  }

  /**
   * Runs a storage operation. A failure only costs full handshakes. Operations on one key are serialized; without a
   * pending one, the operation starts at once.
   */
  #perform(key: string, operation: (storage: Storage) => Promise<void>): void {
    const operations = this.#operations;
    const attempt = async () => {
      try {
        await operation(this.#options.storage);
      } catch {
        // The storage is the app's: it may throw.
      }
    };
    const before = operations.get(key);
    const done: Promise<void> = (before ? before.then(attempt) : attempt()).then(() => {
      if (operations.get(key) === done) operations.delete(key);
    });
    operations.set(key, done);
  }

  /** The check value that a record must have. */
  #check(record: Uint8Array, origin: string): Uint8Array {
    const { hash, binding } = this.#options;
    const parts = [binding, hash("SHA256", [utf8(origin)]), record.subarray(0, CHECK_AT), record.subarray(HEAD_BYTES)];
    return hash("SHA256", parts).subarray(0, HEAD_BYTES - CHECK_AT);
  }
}

/** Deletes the stored session, regardless of the host that stored it. */
export async function forgetSession(storage: Storage): Promise<void> {
  await storage.delete(KEY);
  await storage.delete(NOTE_KEY);
}

/** Whether NVS has room for a session in the place of the one that is stored. */
async function hasRoom(storage: Storage): Promise<boolean> {
  let entries = entriesOf(MAX_CHARACTERS) + NOTE_ENTRIES;
  for (const key of await storage.keys()) {
    if (key !== KEY && key !== NOTE_KEY) entries += entriesOf(utf8((await storage.get(key)) ?? "").length);
  }
  return entries <= MAX_ENTRIES;
}

/** Entries of NVS that a string takes. */
function entriesOf(bytes: number): number {
  return 1 + Math.ceil((bytes + 1) / 32);
}

/** The record of a session, but for its origin and check value; undefined if it is too long. */
function recordOf({ session, madeSeconds, lifetimeSeconds, address }: StoredSession): Uint8Array | undefined {
  const { ticket, secret, suite, isExtended } = session;
  const name = ticket?.bytes ?? session.id;
  const record = new Uint8Array(HEAD_BYTES + SECRET_BYTES + name.length);
  if (charactersOf(record) > MAX_CHARACTERS) return undefined;
  record[FORMAT_AT] = (isExtended ? EXTENDED : 0) | (ticket ? TICKET : 0);
  record[SUITE_AT] = SUITES.indexOf(suite);
  record[LENGTH_AT] = name.length;
  putSeconds(record, MADE_AT, madeSeconds);
  record[LIFETIME_AT] = lifetimeSeconds >> 16;
  record[LIFETIME_AT + 1] = lifetimeSeconds >> 8;
  record[LIFETIME_AT + 2] = lifetimeSeconds;
  let at = ADDRESS_AT;
  for (const part of address.split(".")) record[at++] = Number(part);
  record.set(secret, HEAD_BYTES);
  record.set(name, HEAD_BYTES + SECRET_BYTES);
  return record;
}

function sessionOf(record: Uint8Array): StoredSession {
  const nameAt = HEAD_BYTES + SECRET_BYTES;
  const name = record.slice(nameAt);
  const isTicket = (record[FORMAT_AT] & TICKET) !== 0;
  return {
    session: {
      id: isTicket ? new Uint8Array(0) : name,
      ticket: isTicket ? { bytes: name, lifetimeSeconds: lifetimeOf(record) } : undefined,
      secret: record.slice(HEAD_BYTES, nameAt),
      suite: SUITES[record[SUITE_AT]],
      isExtended: (record[FORMAT_AT] & EXTENDED) !== 0,
    },
    madeSeconds: secondsAt(record, MADE_AT),
    lifetimeSeconds: lifetimeOf(record),
    address: addressOf(record),
  };
}

function lifetimeOf(record: Uint8Array): number {
  return (record[LIFETIME_AT] << 16) | word(record, LIFETIME_AT + 1);
}

function addressOf(record: Uint8Array): string {
  return record.subarray(ADDRESS_AT, ADDRESS_AT + 4).join(".");
}

function putSeconds(record: Uint8Array, at: number, seconds: number): void {
  new DataView(record.buffer).setUint32(at, seconds);
}

function secondsAt(record: Uint8Array, at: number): number {
  return word(record, at) * 0x10000 + word(record, at + 2);
}

/** Tells a stored session from those before it: when it was made is part of it. */
function markOf(text: string): string {
  return text.slice(0, MARK_CHARACTERS);
}

/** Characters that a record takes. */
function charactersOf(record: Uint8Array): number {
  return 2 * Math.ceil((record.length * 8) / BITS);
}

/** The text of a record. */
export function encodeRecord(record: Uint8Array): string {
  const codes = new Uint8Array(charactersOf(record));
  let bits = 0;
  let count = 0;
  let from = 0;
  for (let to = 0; to < codes.length; to += 2) {
    for (; count < BITS; count += 8) bits = (bits << 8) | (from < record.length ? record[from++] : 0);
    count -= BITS;
    const value = bits >> count;
    bits &= (1 << count) - 1;
    const low = value % RADIX;
    codes[to] = FIRST_CODE + low;
    codes[to + 1] = FIRST_CODE + (value - low) / RADIX;
  }
  return asciiText(codes);
}

/** The record that a text stands for, undefined if it stands for none. */
export function decodeRecord(text: string): Uint8Array | undefined {
  const codes = utf8(text);
  const bytes = new Uint8Array(((codes.length >> 1) * BITS) >> 3);
  if (bytes.length < HEAD_BYTES || codes.length > MAX_CHARACTERS) return undefined;
  let bits = 0;
  let count = 0;
  let to = 0;
  for (let from = 0; from + 1 < codes.length; from += 2) {
    const low = codes[from] - FIRST_CODE;
    const value = low + (codes[from + 1] - FIRST_CODE) * RADIX;
    if (low < 0 || low >= RADIX || value < 0 || value >= 1 << BITS) return undefined;
    bits = (bits << BITS) | value;
    for (count += BITS; count >= 8; ) {
      count -= 8;
      bytes[to++] = bits >> count;
      bits &= (1 << count) - 1;
    }
  }
  const length = HEAD_BYTES + (bytes[LENGTH_AT] === 0 ? 0 : SECRET_BYTES + bytes[LENGTH_AT]);
  if ((bytes[FORMAT_AT] & ~(EXTENDED | TICKET)) !== FORMAT || length > bytes.length) return undefined;
  return bytes[SUITE_AT] < SUITES.length ? bytes.slice(0, length) : undefined;
}
