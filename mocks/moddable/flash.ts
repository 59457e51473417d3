/**
 * Flash of an ESP32 with NVS, as observable by programs: entries, pages, page reclaims and failures as measured with
 * `nvs_flash` of ESP-IDF 6. In memory or in a file; tests can cut the power at any step and make allocations fail.
 *
 * A page has 126 entries of 32 bytes; one page always stays free. A string takes one entry plus those for its bytes and
 * a NUL, never split; a blob takes one more, and one more per further page. Erased entries stay in their page until it
 * is reclaimed, for which the entries in use are copied first.
 */

import { readFileSync, writeFileSync } from "node:fs";

export type Value = string | number | boolean | ArrayBuffer;

const PAGE_ENTRIES = 126;
const PAGES = 6;
/** Entries whose state shares one word of flash. */
const WORD_ENTRIES = 16;

/** Codes of ESP-IDF. */
const errors = {
  ESP_ERR_NO_MEM: 0x101,
  ESP_ERR_INVALID_STATE: 0x103,
  ESP_ERR_NVS_NOT_ENOUGH_SPACE: 0x1105,
} as const;

export type EspErrorName = keyof typeof errors;

export class EspError extends Error {
  constructor(readonly espName: EspErrorName) {
    super(espName);
  }
}

/** One string or number, one chunk of a blob, or a blob's index. */
interface Item {
  readonly cell: string;
  readonly span: number;
  /** Index of its first entry in the page. */
  readonly at: number;
  /** Bytes after the header. */
  readonly bytes: number;
}

interface Page {
  used: number;
  readonly live: Set<Item>;
}

interface Cell {
  readonly value: Value;
  readonly items: { page: Page; item: Item }[];
}

/** Counters of operations on the flash. */
export interface Wear {
  /** Entries, calls and bytes written, including those for states and copies. */
  entries: number;
  writes: number;
  bytes: number;
  /** Pages erased, and how many of them needed copies first. */
  erases: number;
  copies: number;
}

let cells = new Map<string, Cell>();
let pages: Page[] = [];
let freePages = PAGES;
let file: string | undefined;
/** Steps until the power is cut; each erasure and each write is one. */
let stepsLeft = Number.POSITIVE_INFINITY;
let steps = 0;
let wear: Wear = noWear();
let tearing = false;
let loseNextWrite = false;
let failingAllocations = 0;
let failingWrites: EspErrorName[] = [];
/** Whether a write since the restart has failed while pages may have been copied. */
let spoiled = false;
let writesAfterFailure = 0;
let opened = 0;

export const flash = {
  /** Number of steps so far: erasures and writes. */
  get steps(): number {
    return steps;
  },

  get wear(): Readonly<Wear> {
    return { ...wear };
  },

  /** Number of entries in use. */
  get entries(): number {
    return pages.reduce((sum, { live }) => sum + [...live].reduce((entries, { span }) => entries + span, 0), 0);
  },

  /** Number of writes after one that failed for another reason than lack of room: each may destroy the partition. */
  get writesAfterFailure(): number {
    return writesAfterFailure;
  },

  /** Number of key-value storages opened. */
  get opened(): number {
    return opened;
  },

  /** Format of NVS errors: names or numbers, optionally with the suffix of a debug build. */
  errorForm: "name" as "name" | "number" | "number of c6" | "debug name" | "debug number",

  /**
   * Cuts the power after a number of further steps: everything fails until {@link flash.powerOn}. With `"torn"`, the
   * first word of the interrupted write stays blank, so that the next write is lost although it reports success.
   */
  cutPowerAfter(count: number, how: "clean" | "torn" = "clean"): void {
    stepsLeft = count;
    tearing = how === "torn";
  },

  powerOn(): void {
    stepsLeft = Number.POSITIVE_INFINITY;
    loseNextWrite ||= tearing;
    tearing = false;
    failingAllocations = 0;
    failingWrites = [];
    spoiled = false;
  },

  /** Makes the next allocations fail. */
  failAllocations(count: number): void {
    failingAllocations = count;
  },

  /** Makes the next writes of strings and numbers fail with these errors. */
  failWrites(...names: EspErrorName[]): void {
    failingWrites = names;
  },

  /** Clears the flash, and stops storing it in a file. */
  clear(): void {
    cells = new Map();
    pages = [];
    freePages = PAGES;
    file = undefined;
    steps = writesAfterFailure = opened = 0;
    wear = noWear();
    loseNextWrite = tearing = false;
    flash.errorForm = "name";
    flash.powerOn();
  },

  /** Loads the flash from a file, and stores it there from now on. */
  keepIn(path: string): void {
    cells = new Map();
    pages = [];
    freePages = PAGES;
    try {
      const entries: [string, Value | { bytes: number[] }][] = JSON.parse(readFileSync(path, "utf8"));
      for (const [name, value] of entries) {
        put(
          name,
          typeof value === "object" && "bytes" in value ? Uint8Array.from(value.bytes).buffer : (value as Value),
        );
      }
    } catch {
      cells = new Map();
    }
    file = path;
    wear = noWear();
  },

  /** `nvs_open`: returns whether the namespace exists; creates it for writing. Allocates memory. */
  open(domain: string, mode: "r" | "r+"): boolean {
    checkPower();
    allocate();
    if (cells.has(`/${domain}`)) return true;
    if (mode === "r") return false;
    step();
    put(`/${domain}`, 1);
    save();
    return true;
  },

  /** Called by storages that keep their namespace open. */
  countOpened(): void {
    opened++;
  },

  /** Reads a value; allocates no memory of NVS. */
  read(domain: string, key: string): Value | undefined {
    checkPower();
    return cells.get(`${domain}/${key}`)?.value;
  },

  /**
   * Writes a value, then erases the old one: after a power cut, strings and numbers are old or new; of a replaced blob,
   * neither may be left.
   */
  write(domain: string, key: string, value: Value): void {
    checkPower();
    if (spoiled) writesAfterFailure++;
    const failure = failingWrites.shift();
    if (failure !== undefined) fail(failure);
    try {
      allocate();
    } catch {
      fail("ESP_ERR_NO_MEM");
    }
    const name = `${domain}/${key}`;
    const old = cells.get(name);
    if (old !== undefined && same(old.value, value)) return;
    step();
    if (loseNextWrite || spoiled) {
      loseNextWrite = false;
      return;
    }
    cells.set(name, { value, items: store(name, value) });
    if (old !== undefined) {
      drop(old);
      if (stepsLeft <= 0 && value instanceof ArrayBuffer) {
        drop(cells.get(name) as Cell);
        cells.delete(name);
      }
      save();
      step();
    }
    save();
  },

  /** Erases a value; needs neither memory nor room. */
  erase(domain: string, key: string): void {
    checkPower();
    const cell = cells.get(`${domain}/${key}`);
    if (cell === undefined) return;
    step();
    cells.delete(`${domain}/${key}`);
    drop(cell);
    save();
  },

  keys(domain: string): string[] {
    checkPower();
    return [...cells.keys()].filter((name) => name.startsWith(`${domain}/`)).map((name) => name.split("/")[1]);
  },

  /** Returns the exception that the SDK's native code throws for an NVS error. */
  sdkError({ espName }: EspError): Error {
    const code = errors[espName];
    const number = `0x${code.toString(16)}(${code})`;
    switch (flash.errorForm) {
      case "name":
        return new Error(espName);
      case "number":
        return new Error(`UNKNOWN ERROR ${number}`);
      case "number of c6":
        return new Error(`ERROR ${number}`);
      case "debug name":
        return new Error(`${espName} (in write)`);
      case "debug number":
        return new Error(`UNKNOWN ERROR ${number} (in write)`);
    }
  },

  /** Allocates memory, or fails. */
  allocate,
};

function noWear(): Wear {
  return { entries: 0, writes: 0, bytes: 0, erases: 0, copies: 0 };
}

function checkPower(): void {
  if (stepsLeft <= 0) throw new Error("the power is cut");
}

function step(): void {
  checkPower();
  stepsLeft--;
  steps++;
}

function allocate(): void {
  if (failingAllocations === 0) return;
  failingAllocations--;
  throw new EspError("ESP_ERR_NO_MEM");
}

function fail(name: EspErrorName): never {
  if (name !== "ESP_ERR_NVS_NOT_ENOUGH_SPACE") spoiled = true;
  throw new EspError(name);
}

function same(a: Value, b: Value): boolean {
  if (a instanceof ArrayBuffer) return b instanceof ArrayBuffer && Buffer.from(a).equals(Buffer.from(b));
  return a === b;
}

function put(name: string, value: Value): void {
  cells.set(name, { value, items: store(name, value) });
}

function store(name: string, value: Value): Cell["items"] {
  if (typeof value === "string") return [place(name, Buffer.byteLength(value) + 1)];
  if (!(value instanceof ArrayBuffer)) return [place(name, 0)];
  const items: Cell["items"] = [];
  try {
    for (let left = value.byteLength; left > 0 || items.length === 0; ) {
      const page = pages.at(-1);
      const room = page ? (PAGE_ENTRIES - page.used - 1) * 32 : 0;
      const bytes = Math.min(left, room > 0 ? room : (PAGE_ENTRIES - 1) * 32);
      items.push(place(name, bytes));
      left -= bytes;
    }
    items.push(place(name, 0));
  } catch (error) {
    for (const { page, item } of items) page.live.delete(item);
    throw error;
  }
  return items;
}

/** Appends an item, on a new page if necessary. */
function place(cell: string, bytes: number): { page: Page; item: Item } {
  const span = 1 + Math.ceil(bytes / 32);
  if (pages.length === 0) activate();
  if (PAGE_ENTRIES - (pages.at(-1) as Page).used < span) {
    count(1, 4);
    nextPage();
    if (PAGE_ENTRIES - (pages.at(-1) as Page).used < span) throw new EspError("ESP_ERR_NVS_NOT_ENOUGH_SPACE");
  }
  return append(pages.at(-1) as Page, cell, span, bytes);
}

function append(page: Page, cell: string, span: number, bytes: number): { page: Page; item: Item } {
  const item = { cell, span, at: page.used, bytes };
  page.used += span;
  page.live.add(item);
  wear.entries += span;
  count(1, 32);
  count(1, 4);
  const whole = Math.floor(bytes / 32);
  if (whole > 0) {
    count(1, 32 * whole);
    countStates(item.at + 1, whole);
  }
  if (bytes % 32 > 0) {
    count(1, 32);
    count(1, 4);
  }
  return { page, item };
}

function activate(): void {
  freePages--;
  pages.push({ used: 0, live: new Set() });
  count(1, 32);
}

/** Takes a free page if there are two; otherwise copies and erases the page with the fewest entries in use. */
function nextPage(): void {
  if (freePages >= 2) {
    activate();
    return;
  }
  let victim: Page | undefined;
  let most = 0;
  for (const page of pages) {
    const unused = PAGE_ENTRIES - [...page.live].reduce((entries, { span }) => entries + span, 0);
    if (unused > most) [victim, most] = [page, unused];
  }
  if (victim === undefined) throw new EspError("ESP_ERR_NVS_NOT_ENOUGH_SPACE");
  count(1, 4);
  activate();
  if (victim.live.size > 0) wear.copies++;
  const target = pages.at(-1) as Page;
  for (const item of victim.live) {
    const copy = append(target, item.cell, item.span, item.bytes);
    const place = cells.get(item.cell)?.items.find((each) => each.item === item);
    if (place) Object.assign(place, copy);
  }
  wear.erases++;
  pages.splice(pages.indexOf(victim), 1);
  freePages++;
}

function drop(cell: Cell): void {
  for (const { page, item } of cell.items) {
    page.live.delete(item);
    countStates(item.at, item.span);
  }
}

/** Changes the states of a range of entries: one write per word of states. */
function countStates(at: number, entries: number): void {
  const words = Math.floor((at + entries - 1) / WORD_ENTRIES) - Math.floor(at / WORD_ENTRIES) + 1;
  count(words, 4 * words);
}

function count(writes: number, bytes: number): void {
  wear.writes += writes;
  wear.bytes += bytes;
}

function save(): void {
  if (file === undefined) return;
  const entries = [...cells].map(([name, { value }]) => [
    name,
    value instanceof ArrayBuffer ? { bytes: [...new Uint8Array(value)] } : value,
  ]);
  writeFileSync(file, JSON.stringify(entries));
}
