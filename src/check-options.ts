/**
 * Checks options by tables: every name is known, every value has its type and range. A misspelled name is worse than a
 * wrong value, since nothing shows that it has no effect.
 */

import { IotHubError } from "./errors.js";

/**
 * What an option must be:
 * - `"integer 1 1000"`, `"number 0 60000"`: a number within these bounds
 * - `"signal"`: an AbortSignal, or anything of its shape
 * - `"switch"`: an object with further options, or `false`
 * - `"any"`: its reader checks it, and has a specific error code
 */
export type Rule =
  | "any"
  | "string"
  | "boolean"
  | "function"
  | "object"
  | "signal"
  | "switch"
  | `${"integer" | "number"} ${number} ${number}`;

export type Rules<Options> = Readonly<Record<keyof Options, Rule>>;

/**
 * Checks the names of options and, as far as the table says, their values. An option that is undefined is left out.
 * @param what names the object in errors, as in `retry.maxAttempts`; empty where the options stand by themselves
 * @throws {IotHubError} INVALID_OPTION
 */
export function checkOptions(what: string, options: unknown, rules: Readonly<Record<string, Rule>>): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw invalid(`${what === "" ? "The argument" : what} must be an object with options`, options);
  }
  const names = Object.keys(options);
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    const rule = rules[name];
    // Inherited members are not rules.
    if (typeof rule !== "string") throw unknown(what, name, Object.keys(rules));
    if (rule !== "any") checkValue(what === "" ? name : `${what}.${name}`, (options as never)[name], rule);
  }
}

function checkValue(name: string, value: unknown, rule: Rule): void {
  if (value === undefined) return;
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  switch (rule) {
    case "object":
      if (!isObject) throw invalid(`${name} must be an object with options`, value);
      return;
    case "switch":
      if (!isObject && value !== false) throw invalid(`${name} must be an object with options, or false`, value);
      return;
    case "signal":
      if (!isObject || typeof (value as { addEventListener?: unknown }).addEventListener !== "function") {
        throw invalid(`${name} must be an AbortSignal`, value);
      }
      return;
    case "string":
    case "boolean":
    case "function":
      if (typeof value !== rule) throw invalid(`${name} must be a ${rule}`, value);
      return;
    default: {
      const [kind, min, max] = rule.split(" ");
      const fits = typeof value === "number" && value >= Number(min) && value <= Number(max);
      if (!fits || (kind === "integer" && !Number.isInteger(value))) {
        throw invalid(`${name} must be ${kind === "integer" ? "an integer" : "a number"} from ${min} to ${max}`, value);
      }
    }
  }
}

/** Never shows a text: it may be a secret that stands in the wrong place. */
function invalid(sentence: string, value: unknown): IotHubError {
  const kind =
    typeof value === "number"
      ? String(value)
      : value === null || value === undefined
        ? String(value)
        : Array.isArray(value)
          ? "an array"
          : typeof value === "object"
            ? "an object"
            : `a ${typeof value}`;
  return new IotHubError("INVALID_OPTION", `${sentence}; it is ${kind}.`);
}

function unknown(what: string, name: string, known: readonly string[]): IotHubError {
  // An array in place of an object has names, too: none of them is worth to be shown in full.
  const shown = `\`${what === "" ? "" : `${what}.`}${name.slice(0, 40)}\``;
  const near = nearest(name, known);
  const hint = near === undefined ? `the known ones are ${known.join(", ")}.` : `did you mean \`${near}\`?`;
  return new IotHubError("INVALID_OPTION", `Unknown option ${shown}; ${hint}`);
}

/** The name that differs by no more than a third of its letters, or is the other's beginning. */
function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > 40) return undefined;
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const other = candidate.toLowerCase();
    const isBeginning = wanted.length > 2 && (other.startsWith(wanted) || wanted.startsWith(other));
    // What is cut off counts as one mistake, yet a name that differs by one letter comes first.
    const distance = Math.min(editDistance(wanted, other), isBeginning ? 1.5 : Number.POSITIVE_INFINITY);
    if (distance < least && distance <= Math.max(1.5, other.length / 3)) {
      best = candidate;
      least = distance;
    }
  }
  return best;
}

/** Letters to add, to leave out, to replace, or to swap with their neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const differs = a[i - 1] === b[j - 1] ? 0 : 1;
      row[j] = Math.min(row[j - 1] + 1, last[j] + 1, last[j - 1] + differs);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    before = last;
    last = row;
  }
  return last[b.length];
}
