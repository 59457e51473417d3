/**
 * JSON that says what it was made of. `JSON.stringify` makes `null` of NaN and `{}` of a Map, and on XS it recurses on
 * the stack of the machine, which ends with a restart rather than an exception; so everything is looked at first, in a
 * loop.
 */

import { tagOf } from "./crypto/bytes.js";
import { IotHubError } from "./errors.js";

/**
 * Objects and arrays inside each other. `JSON.stringify` takes about 70 bytes of XS's stack for each, and twice that of
 * the task's; a device's shadow has five levels at most.
 */
export const MAX_JSON_DEPTH = 16;

/** An object or an array that is being looked at. */
interface Level {
  readonly holder: object;
  readonly values: readonly unknown[];
  /** Index of the value after the one that is being looked at. */
  readonly next: number;
}

/**
 * The JSON of an object.
 * @param maxBytes what the text may have; far larger objects are refused before they are turned into text
 * @throws {IotHubError} INVALID_PAYLOAD with the path of what JSON cannot express; PAYLOAD_TOO_LARGE
 */
export function jsonText(root: object, maxBytes: number): string {
  try {
    if (!isFlat(root)) check(root, maxBytes);
    const json = JSON.stringify(root);
    if (json !== undefined) return json;
  } catch (cause) {
    if (cause instanceof IotHubError) throw cause;
    throw new IotHubError("INVALID_PAYLOAD", "The payload cannot be turned into JSON.", { cause });
  }
  throw new IotHubError("INVALID_PAYLOAD", "The payload's toJSON gives nothing that JSON can express.");
}

/** Whether a few values that JSON can express are all there is, as in most readings: then there is no more to look at. */
function isFlat(root: object): boolean {
  if (Object.getPrototypeOf(root) !== Object.prototype || (root as Jsonable).toJSON !== undefined) return false;
  const values = Object.values(root);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    switch (typeof value) {
      case "number":
        if (value - value !== 0) return false;
        break;
      case "string":
      case "boolean":
        break;
      default:
        return false;
    }
  }
  return true;
}

function check(root: object, maxBytes: number): void {
  const levels: Level[] = [];
  let holder = root;
  let values: readonly unknown[] = [root];
  let next = 0;
  /** Each is at least two bytes of JSON, however often the same one is met. */
  let containers = 0;
  for (;;) {
    while (next < values.length) {
      let value = values[next++];
      if (typeof value === "object" && value !== null) {
        // As JSON.stringify does: what stands for the object may be anything.
        if (typeof (value as Jsonable).toJSON === "function") value = standIn(value as Jsonable, levels, holder, next);
        if (typeof value === "object" && value !== null) {
          if (++containers * 2 > maxBytes) throw tooLarge(maxBytes);
          if (levels.length >= MAX_JSON_DEPTH) throw tooDeep(value, levels, holder, next);
          const inner = membersOf(value, maxBytes);
          if (typeof inner === "string") throw unfit(path(levels, holder, next), inner);
          levels.push({ holder, values, next });
          holder = value;
          values = inner;
          next = 0;
          continue;
        }
      }
      if (typeof value === "number") {
        // Not a number that JSON has: the difference is NaN for NaN and the infinities alone.
        if (value - value !== 0) throw unfit(path(levels, holder, next), `is ${value}; JSON has no number for it`);
      } else if (typeof value === "bigint") {
        if (typeof (value as Jsonable).toJSON !== "function") {
          throw unfit(path(levels, holder, next), "is a BigInt; JSON has no such type: use Number or String");
        }
      } else if (typeof value === "function" || typeof value === "symbol") {
        // As a member it is left out, as programs expect; in a list it would become null.
        if (Array.isArray(holder)) throw unfit(path(levels, holder, next), `is a ${typeof value}`);
      }
    }
    const outer = levels.pop();
    if (outer === undefined) return;
    ({ holder, values, next } = outer);
  }
}

interface Jsonable {
  toJSON?(key: string): unknown;
}

function standIn(value: Jsonable, levels: readonly Level[], holder: object, next: number): unknown {
  // XS shows a Date inside an object as {} where the built-ins that firmware does not name are left out.
  if (!ArrayBuffer.isView(value) && tagOf(value) === "Date") {
    throw unfit(path(levels, holder, next), "is a Date: send its toISOString()");
  }
  const key = levels.length === 0 ? "" : Array.isArray(holder) ? String(next - 1) : Object.keys(holder)[next - 1];
  return value.toJSON?.(key);
}

/** The values that JSON shows of an object, or what is wrong with it. */
function membersOf(value: object, maxBytes: number): readonly unknown[] | string {
  if (Array.isArray(value)) {
    // Before a list with a gap of a billion places is gone through.
    if (value.length > maxBytes) throw tooLarge(maxBytes);
    return value;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return Object.values(value);
  // Before its tag is asked for: firmware without unused built-ins lacks the getter of a view's tag, and restarts.
  const isView = ArrayBuffer.isView(value);
  const tag = isView ? "Object" : tagOf(value);
  if (isView || tag === "ArrayBuffer" || tag === "SharedArrayBuffer") {
    return `is ${nameOf(value, tag)}; JSON has no bytes: send them alone, or as a text made by base64()`;
  }
  // A plain object of another realm.
  if (Object.getPrototypeOf(prototype) === null && tag === "Object") return Object.values(value);
  const values = Object.values(value);
  if (values.length > 0 && tag !== "Error" && tag !== "String") return values;
  const wrapped = tag === "Number" || tag === "String" || tag === "Boolean" || tag === "Symbol" || tag === "BigInt";
  if (wrapped) return `is a ${tag} object: give its valueOf()`;
  return `is ${nameOf(value, tag)}, of which JSON would show nothing: turn it into a plain object or an array`;
}

function nameOf(value: object, tag: string): string {
  const made = value.constructor as { name?: unknown } | undefined;
  const name = tag === "Object" ? made?.name : tag;
  const shown = typeof name === "string" && /^[A-Za-z0-9_$ ]{1,40}$/.test(name) ? name : "object";
  return `${/^[AEIOaeio]/.test(shown) ? "an" : "a"} ${shown}`;
}

/** `payload.sensors[2].temperature` */
function path(levels: readonly Level[], holder: object, next: number): string {
  return pathOf(levels.length === 0 ? [] : [...levels.slice(1), { holder, next }]);
}

function pathOf(steps: readonly Pick<Level, "holder" | "next">[]): string {
  let text = "payload";
  for (const { holder, next } of steps) {
    if (Array.isArray(holder)) text += `[${next - 1}]`;
    else {
      const key = Object.keys(holder)[next - 1];
      text += /^[A-Za-z_$][A-Za-z0-9_$]{0,39}$/.test(key) ? `.${key}` : `[${JSON.stringify(key.slice(0, 40))}]`;
    }
  }
  return text;
}

function tooDeep(value: object, levels: readonly Level[], holder: object, next: number): IotHubError {
  const steps = [...levels.slice(1), { holder, next }];
  const holders = [...steps.map((step) => step.holder), value];
  const again = holders.findIndex((each, i) => holders.indexOf(each) < i);
  return again < 0
    ? unfit(pathOf(steps.slice(0, 4)), `is nested too deeply: the limit is ${MAX_JSON_DEPTH} levels`)
    : unfit(pathOf(steps.slice(0, again)), "is an object that contains it");
}

function tooLarge(maxBytes: number): IotHubError {
  return new IotHubError("PAYLOAD_TOO_LARGE", `The payload has more than ${maxBytes} bytes; the limit is ${maxBytes}.`);
}

function unfit(where: string, what: string): IotHubError {
  return new IotHubError("INVALID_PAYLOAD", `${where} ${what}.`);
}
