/**
 * Validates options against tables of names, types and ranges. Unknown names are rejected too: a misspelled option
 * would otherwise have no effect, silently.
 */

import { IotHubError } from "./errors.js";

/**
 * Constraint on an option's value:
 * - `"integer 1 1000"`, `"number 0 60000"`: a number within these bounds, inclusive
 * - `"signal"`: an AbortSignal, or an object with the same methods
 * - `"switch"`: an object with further options, or `false`
 * - `"any"`: not checked here; the code that reads it throws a more specific error
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
 * Checks the names and values of options. A value of undefined counts as absent.
 * @param what prefix of the option's name in errors, as in `retry.maxAttempts`; empty for top-level options
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

/** Never shows the value of a string: it may be a secret passed under the wrong name. */
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
  // A long name is probably data, not a misspelled option: show only its beginning.
  const shown = `\`${what === "" ? "" : `${what}.`}${name.slice(0, 40)}\``;
  const near = nearest(name, known);
  const hint = near === undefined ? `the known ones are ${known.join(", ")}.` : `did you mean \`${near}\`?`;
  return new IotHubError("INVALID_OPTION", `Unknown option ${shown}; ${hint}`);
}

/** Returns the closest known name: at most a third of its letters differ, or one is a prefix of the other. */
function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > 40) return undefined;
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const other = candidate.toLowerCase();
    const isBeginning = wanted.length > 2 && (other.startsWith(wanted) || wanted.startsWith(other));
    // A prefix counts as 1.5 edits, so that a name that differs by one letter wins.
    const distance = Math.min(editDistance(wanted, other), isBeginning ? 1.5 : Number.POSITIVE_INFINITY);
    if (distance < least && distance <= Math.max(1.5, other.length / 3)) {
      best = candidate;
      least = distance;
    }
  }
  return best;
}

/** Number of insertions, deletions, replacements and swaps of neighbours (optimal string alignment distance). */
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
