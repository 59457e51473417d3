/** The flash below the preferences: in memory or in a file, and with a power cut at any step. */

import { readFileSync, writeFileSync } from "node:fs";

export type Value = string | number | boolean | ArrayBuffer;

let cells = new Map<string, Value>();
let file: string | undefined;
/** Steps that still happen before the power goes; each erasure and each write is one. */
let stepsLeft = Number.POSITIVE_INFINITY;
let steps = 0;

export const flash = {
  /** Steps so far: erasures of something and writes. */
  get steps(): number {
    return steps;
  },

  /** After so many more steps everything fails, as when the power is gone, until {@link flash.powerOn}. */
  cutPowerAfter(count: number): void {
    stepsLeft = count;
  },

  powerOn(): void {
    stepsLeft = Number.POSITIVE_INFINITY;
  },

  /** Empties it, and ends keeping it in a file. */
  clear(): void {
    cells = new Map();
    file = undefined;
    steps = 0;
    flash.powerOn();
  },

  /** Keeps it in a file from now on, with what the file has already. */
  keepIn(path: string): void {
    file = path;
    try {
      const entries: [string, Value | { bytes: number[] }][] = JSON.parse(readFileSync(path, "utf8"));
      cells = new Map(
        entries.map(([name, value]) => [
          name,
          typeof value === "object" && "bytes" in value ? Uint8Array.from(value.bytes).buffer : (value as Value),
        ]),
      );
    } catch {
      cells = new Map();
    }
  },

  read(domain: string, key: string): Value | undefined {
    checkPower();
    return cells.get(`${domain}/${key}`);
  },

  write(domain: string, key: string, value: Value): void {
    step();
    cells.set(`${domain}/${key}`, value);
    save();
  },

  erase(domain: string, key: string): void {
    checkPower();
    if (!cells.has(`${domain}/${key}`)) return;
    step();
    cells.delete(`${domain}/${key}`);
    save();
  },

  keys(domain: string): string[] {
    checkPower();
    return [...cells.keys()].filter((name) => name.startsWith(`${domain}/`)).map((name) => name.split("/")[1]);
  },
};

function checkPower(): void {
  if (stepsLeft <= 0) throw new Error("the power is cut");
}

function step(): void {
  checkPower();
  stepsLeft--;
  steps++;
}

function save(): void {
  if (file === undefined) return;
  const entries = [...cells].map(([name, value]) => [
    name,
    value instanceof ArrayBuffer ? { bytes: [...new Uint8Array(value)] } : value,
  ]);
  writeFileSync(file, JSON.stringify(entries));
}
