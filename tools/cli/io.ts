/** The process that a command runs in, replaceable in tests. */

import type { NetworkInterfaceInfo } from "node:os";
import { InvalidArgumentError } from "commander";
import { createColors } from "picocolors";

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface Streams {
  readonly stdin: AsyncIterable<Uint8Array | string> & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * Registers a callback for SIGINT, SIGTERM and a closed standard output; it may be called more than once. Without it,
   * a signal ends the process.
   */
  onInterrupt(callback: () => void): void;
  /** Returns the network interfaces of this machine, like `networkInterfaces` of `node:os`. */
  readonly networkInterfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>;
}

export type Colors = ReturnType<typeof createColors>;

/** Color only on a TTY, unless NO_COLOR (no-color.org) or TERM=dumb says otherwise. */
export function colorsFor(output: Output, env: Streams["env"]): Colors {
  return createColors(output.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb");
}

export function printLine(output: Output, text = ""): void {
  output.write(`${text}\n`);
}

/** Warns of a secret in an option. @param instead alternatives, such as `--psk-file` */
export function warnSecretOnCommandLine(io: Streams, what: "PSK" | "ProductSecret", instead: string): void {
  const warning = colorsFor(io.stderr, io.env).yellow("warning:");
  printLine(
    io.stderr,
    `${warning} a ${what} on the command line is visible to other users and saved in the shell's history; use ${instead}.`,
  );
}

/** Parses a decimal integer; NaN for anything else, which the receiver rejects. */
export function wholeNumber(text: string): number {
  return /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
}

/** Returns a parser of whole numbers for an option. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = wholeNumber(text);
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** Formats milliseconds for display. */
export function milliseconds(ms: number): string {
  return `${ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** Formats a duration for display, in its two largest units: `3 h 20 min`. */
export function duration(seconds: number): string {
  const s = Math.round(Math.abs(seconds));
  const units: [number, string][] = [
    [Math.floor(s / 86400), "d"],
    [Math.floor(s / 3600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [s % 60, "s"],
  ];
  const first = units.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return units
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}

/** Quotes text for a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Quotes text for a POSIX shell only if it needs to be. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : quote(text);
}
