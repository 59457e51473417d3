/**
 * Strict JSON encoding. `JSON.stringify` turns NaN into `null` and a Map into `{}`, and on XS it recurses on the native
 * stack, where an overflow restarts the board instead of throwing. So every value is checked first, iteratively.
 */

import { tagOf } from "./crypto/bytes.js";
import { IotHubError } from "./errors.js";

/**
 * Maximum nesting of objects and arrays. Per level, `JSON.stringify` takes about 70 bytes of XS's stack, and twice that
 * of the native stack. A device shadow has at most five levels.
 */
export const MAX_JSON_DEPTH = 16;

/** An object or array being checked. */
interface Level {
  readonly holder: object;
  readonly values: readonly unknown[];
  /** Index of the value after the current one. */
  readonly next: number;
}

/**
 * Encodes an object as JSON.
 * @param maxBytes limit of the text in bytes; much larger objects are rejected before they are encoded
 * @throws {IotHubError} INVALID_PAYLOAD with the path of the value that JSON cannot represent; PAYLOAD_TOO_LARGE
 */
export function jsonText(root: object, maxBytes: number): string {
  try {
    if (!isFlat(root)) check(root, maxBytes);
    const json = JSON.stringify(root);
    if (json !== undefined) return json;
  } catch (cause) {
    if (cause instanceof IotHubError) throw cause;
    throw new IotHubError("INVALID_PAYLOAD", "The payload cannot be encoded as JSON.", { cause });
  }
  throw new IotHubError("INVALID_PAYLOAD", "The payload's toJSON returned nothing that JSON can represent.");
}

/**
 * Whether an object has only primitive values that JSON can represent, as most readings do: no further check is needed.
 */
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
  /** Containers visited, repeated ones included: each takes at least two bytes of JSON. */
  let containers = 0;
  for (;;) {
    while (next < values.length) {
      let value = values[next++];
      if (typeof value === "object" && value !== null) {
        // Like JSON.stringify: toJSON may return anything.
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
        // The difference is NaN only for NaN and the infinities.
        if (value - value !== 0) throw unfit(path(levels, holder, next), `is ${value}; JSON has no number for it`);
      } else if (typeof value === "bigint") {
        if (typeof (value as Jsonable).toJSON !== "function") {
          throw unfit(path(levels, holder, next), "is a BigInt; JSON has no such type: use Number or String");
        }
      } else if (typeof value === "function" || typeof value === "symbol") {
        // As a member it is omitted, as programs expect; in an array it would become null.
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
  // XS encodes a Date inside an object as {} in firmware that is stripped of unused built-ins.
  if (!ArrayBuffer.isView(value) && tagOf(value) === "Date") {
    throw unfit(path(levels, holder, next), "is a Date: use its toISOString()");
  }
  const key = levels.length === 0 ? "" : Array.isArray(holder) ? String(next - 1) : Object.keys(holder)[next - 1];
  return value.toJSON?.(key);
}

/** Returns the values that JSON includes from an object, or the reason why it cannot be encoded. */
function membersOf(value: object, maxBytes: number): readonly unknown[] | string {
  if (Array.isArray(value)) {
    // Before iterating over a sparse array with a billion elements.
    if (value.length > maxBytes) throw tooLarge(maxBytes);
    return value;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return Object.values(value);
  // Must precede tagOf: firmware stripped of unused built-ins lacks the getter of a view's tag, and restarts.
  const isView = ArrayBuffer.isView(value);
  const tag = isView ? "Object" : tagOf(value);
  if (isView || tag === "ArrayBuffer" || tag === "SharedArrayBuffer") {
    return `is ${nameOf(value, tag)}; JSON has no bytes: send them as the whole payload, or as text made by base64()`;
  }
  // A plain object of another realm.
  if (Object.getPrototypeOf(prototype) === null && tag === "Object") return Object.values(value);
  const values = Object.values(value);
  if (values.length > 0 && tag !== "Error" && tag !== "String") return values;
  const wrapped = tag === "Number" || tag === "String" || tag === "Boolean" || tag === "Symbol" || tag === "BigInt";
  if (wrapped) return `is a ${tag} object: use its valueOf()`;
  return `is ${nameOf(value, tag)}, which JSON cannot represent: convert it to a plain object or an array`;
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
