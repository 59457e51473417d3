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
 * Key of a note on the stored session: the first characters of the session's value, then one letter per fact. Stored
 * separately because it takes two entries of NVS, and the session fourteen.
 */
const NOTE_KEY = "tls-note";
/** It was resumed after a restart, so storing it was useful. */
const RESUMED = "r";
/** A connection to its address has failed, so the name must be resolved again. */
const ADDRESS_FAILED = "a";

/** Maximum size of the value. It takes fourteen entries of NVS: a value that is rewritten must stay small. */
const MAX_CHARACTERS = 400;
/** Maximum number of NVS entries in use: above, NVS begins to copy pages on writes. */
const MAX_ENTRIES = 300;
const NOTE_ENTRIES = 2;
const DAY_SECONDS = 86400;
/**
 * Minimum age at which a session that was resumed before is replaced while it is still valid. If servers behind one
 * address do not share their keys, every second one declines it, and storing each new session would wear out the flash.
 */
const DECLINED_SECONDS = 3600;

// Offsets in the header of a record. The master secret and the ticket or identifier follow the header.
const FORMAT_AT = 0;
const SUITE_AT = 1;
/** Length of the ticket or identifier; 0 in a record without session, which only records that one has failed. */
const LENGTH_AT = 2;
const MADE_AT = 3;
const LIFETIME_AT = 7;
const ADDRESS_AT = 10;
const ORIGIN_AT = 14;
const CHECK_AT = 18;
const HEAD_BYTES = 30;
const SECRET_BYTES = 48;
/** Length of the value's beginning that includes the time of creation. */
const MARK_CHARACTERS = 12;

const FORMAT = 0x10;
const EXTENDED = 1;
const TICKET = 2;

/** Suites are stored as an index into this list. */
const SUITES: readonly number[] = Object.freeze(cipherSuites(true));

/** Bits per two characters: with Base64, nginx's tickets for a hostname of forty characters would not fit. */
const BITS = 13;
const RADIX = 91;
/** First character code of the encoding: printable, and neither a space nor a quotation mark. */
const FIRST_CODE = 0x23;

/** A stored session. */
export interface StoredSession {
  readonly session: KeptSession;
  /** Time of creation in seconds since 1970, and lifetime from then on in seconds. */
  readonly madeSeconds: number;
  readonly lifetimeSeconds: number;
  /** IPv4 address of the server. */
  readonly address: string;
}

export interface SessionStoreOptions {
  readonly storage: Storage;
  readonly clock: Pick<Clock, "nowMs" | "monotonicMs">;
  readonly hash: SignaturePrimitives["hash"];
  /** Hash of the trust settings and the client certificate: if it has changed, a stored session is not used. */
  readonly binding: Uint8Array;
}

export class SessionStore {
  readonly #options: SessionStoreOptions;
  #loading: Promise<void> | undefined;
  /** The stored record; only its header once the session has been taken. */
  #record: Uint8Array | undefined;
  /** Whether the checksum of the record has been verified, which needs its origin. */
  #isChecked = false;
  /** Identifies the stored session, see {@link markOf}. */
  #mark = "";
  /** Whether the stored session has been resumed, and whether its address has failed. */
  #wasResumed = false;
  #hasAddressFailed = false;
  /** Letters of the stored note. */
  #note = "";
  /** Whether this run may still store a session. */
  #mayWrite = false;
  #room: Promise<boolean> | undefined;
  /** Record to store once the storage is known to have room. */
  #next: Uint8Array | undefined;
  /** Pending storage operations by key. */
  readonly #operations = new Map<string, Promise<void>>();
  #isForgotten = false;

  constructor(options: SessionStoreOptions) {
    this.#options = options;
  }

  /** Reads the storage once. A storage that fails counts as empty, and is not written to. */
  load(origin: string): Promise<void> {
    this.#loading ??= this.#load(origin);
    return this.#loading;
  }

  /** Returns the stored session of an origin once, if it is still valid. */
  take(origin: string): StoredSession | undefined {
    const record = this.#recordOf(origin);
    if (record === undefined || record.length <= HEAD_BYTES || !this.#isAlive(record)) return undefined;
    const stored = sessionOf(record);
    this.#record = record.slice(0, HEAD_BYTES);
    return stored;
  }

  /** Returns the server's address from the stored session; undefined without one, or after the address has failed. */
  addressOf(origin: string): string | undefined {
    const record = this.#recordOf(origin);
    return record && this.#isAlive(record) && !this.#hasAddressFailed ? addressOf(record) : undefined;
  }

  /**
   * Stores the session of a full handshake, at most one per run, and only if the stored one can no longer be used. If
   * that was never resumed, the board may sleep longer than sessions last: then the next one is stored a day later.
   * @param session undefined if the server does not keep it
   * @param notAfterMs expiry of the server's certificate in milliseconds since 1970
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
   * Records that the session of an origin has been resumed.
   * @param isStored whether it was stored in an earlier run
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
   * Deletes the session of an origin after it failed, at once, since the board may be about to sleep. If it was never
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

  /** Drops the state in memory, stops writing, and resolves once pending writes are done. */
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
      // A full handshake will follow, during which the storage can be measured. Otherwise this is not needed, and the
      // wake shorter.
      if (own === undefined || !this.#isAlive(own)) this.#hasRoom();
    } catch {
      // Handshakes will be full ones.
    }
  }

  #hasRoom(): Promise<boolean> {
    this.#room ??= hasRoom(this.#options.storage).catch(() => false);
    return this.#room;
  }

  /** Returns the stored record if it is intact, and for this origin and the same trust settings. */
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

  /** Hash of origin and trust settings, so that hosts sharing a storage do not keep replacing each other's session. */
  #nameOf(origin: string): Uint8Array {
    const { hash, binding } = this.#options;
    return hash("SHA256", [binding, utf8(origin)]).subarray(0, CHECK_AT - ORIGIN_AT);
  }

  #isAlive(record: Uint8Array): boolean {
    const age = this.#ageOf(record);
    return age >= 0 && age < lifetimeOf(record);
  }

  /** Returns the age in seconds; negative if the clock was or is wrong. */
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
    // The server's address has changed.
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
        // A custom storage may throw anything.
      }
    };
    const before = operations.get(key);
    const done: Promise<void> = (before ? before.then(attempt) : attempt()).then(() => {
      if (operations.get(key) === done) operations.delete(key);
    });
    operations.set(key, done);
  }

  /** Returns the checksum of a record. */
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

/** Whether NVS has room for a session that replaces the stored one. */
async function hasRoom(storage: Storage): Promise<boolean> {
  let entries = entriesOf(MAX_CHARACTERS) + NOTE_ENTRIES;
  for (const key of await storage.keys()) {
    if (key !== KEY && key !== NOTE_KEY) entries += entriesOf(utf8((await storage.get(key)) ?? "").length);
  }
  return entries <= MAX_ENTRIES;
}

/** Returns the number of NVS entries taken by a string. */
function entriesOf(bytes: number): number {
  return 1 + Math.ceil((bytes + 1) / 32);
}

/** Encodes a session without its origin and checksum; undefined if it is too long. */
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

/** Returns the beginning of a value, which identifies the session since it includes the time of creation. */
function markOf(text: string): string {
  return text.slice(0, MARK_CHARACTERS);
}

/** Returns the number of characters that encode a record. */
function charactersOf(record: Uint8Array): number {
  return 2 * Math.ceil((record.length * 8) / BITS);
}

/** Encodes a record as text. */
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

/** Decodes a record; undefined if the text does not contain one. */
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
