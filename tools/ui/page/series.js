/** Finds the numbers in payloads, with the time at which each was measured. */

/** @import { RequestView } from "./types.js" */

import { parseJson } from "./format.js";

/**
 * @typedef {object} Reading
 * @property {number | undefined} timeMs the reading's own time; undefined if it has none
 * @property {[path: string, value: number][]} values
 */

/** In this order: an application's own `t` is more often a temperature. */
const TIME_NAMES = ["time", "timestamp", "timeMs", "ts", "datetime", "date"];
/** What the platform adds; none of it is measured. */
const META_NAMES = new Set(["clientToken", "version", "sequence"]);
const MAX_DEPTH = 5;
const MAX_VALUES = 64;
const MAX_READINGS = 5000;

/**
 * Reads a time: milliseconds or seconds since 1970, or ISO 8601.
 *
 * @param {unknown} value
 * @returns {number | undefined} milliseconds since 1970
 */
export function readTime(value) {
  if (typeof value === "number") {
    if (value >= 1e11 && value < 1e14) return value;
    // From 2001 on: a smaller number counts from the start of the device.
    if (value >= 1e9 && value < 1e11) return value * 1000;
    return undefined;
  }
  if (typeof value !== "string" || !/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(value)) return undefined;
  const time = Date.parse(value);
  return Number.isNaN(time) ? undefined : time;
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value @returns {value is number} `JSON.parse` makes an infinity of 1e999 */
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/**
 * @param {unknown} json
 * @returns {Reading[]}
 */
export function readingsOf(json) {
  if (isNumber(json)) return [{ timeMs: undefined, values: [["value", json]] }];
  if (Array.isArray(json))
    return json.slice(0, MAX_READINGS).flatMap((item) => (isObject(item) ? readingsOf(item) : []));
  if (!isObject(json)) return [];
  const { t0, dt, method, params, timestamp, eventId, state } = json;
  if (Array.isArray(dt)) return columns(json, t0, dt);
  if (typeof method === "string" && isObject(params)) {
    // Thing model: a report of properties, or an event.
    const prefix = typeof eventId === "string" ? `${eventId}.` : "";
    return nonEmpty(readTime(timestamp), flatten(params, prefix));
  }
  if (isObject(state) && isObject(state.reported)) return nonEmpty(undefined, flatten(state.reported, ""));
  const timeName = TIME_NAMES.find((name) => Object.hasOwn(json, name) && isTime(json[name]));
  const { [timeName ?? ""]: time, ...rest } = json;
  return nonEmpty(readTime(time), flatten(rest, ""));
}

/** A time that is not known is null. @param {unknown} value */
const isTime = (value) => value === null || readTime(value) !== undefined;

/**
 * A batch by columns: `{"t0":1796000000000,"dt":[0,10000],"temperature":[21.5,21.6]}`.
 *
 * @param {Record<string, unknown>} json
 * @param {unknown} t0
 * @param {unknown[]} dt
 * @returns {Reading[]}
 */
function columns(json, t0, dt) {
  const start = readTime(t0);
  const lists = Object.entries(json).filter(([name, list]) => name !== "dt" && Array.isArray(list));
  return dt.slice(0, MAX_READINGS).flatMap((offset, row) => {
    /** @type {Record<string, unknown>} */
    const values = {};
    for (const [name, list] of lists) {
      // Not by assignment: a column may be called __proto__.
      Object.defineProperty(values, name, { value: /** @type {unknown[]} */ (list)[row], enumerable: true });
    }
    const timeMs = start !== undefined && isNumber(offset) ? start + offset : undefined;
    return nonEmpty(timeMs, flatten(values, ""));
  });
}

/**
 * @param {number | undefined} timeMs
 * @param {[string, number][]} values
 * @returns {Reading[]}
 */
function nonEmpty(timeMs, values) {
  return values.length === 0 ? [] : [{ timeMs, values }];
}

/**
 * @param {unknown} value
 * @param {string} prefix
 * @param {number} [depth]
 * @param {[string, number][]} [found]
 */
function flatten(value, prefix, depth = 0, found = []) {
  const entries = Array.isArray(value)
    ? value.map((item, index) => [String(index), item])
    : Object.entries(value ?? {});
  for (const [name, item] of entries) {
    if (found.length >= MAX_VALUES) break;
    if (isNumber(item)) {
      if (!(depth === 0 && META_NAMES.has(name))) found.push([prefix + name, item]);
    } else if (typeof item === "object" && item !== null && depth < MAX_DEPTH) {
      flatten(item, `${prefix}${name}.`, depth + 1, found);
    }
  }
  return found;
}

/**
 * One line of a plot.
 *
 * @typedef {object} Line
 * @property {string} device
 * @property {{ ownMs: number | undefined, receivedMs: number, value: number }[]} points
 */

const MAX_POINTS = 5000;
const MAX_LINES = 200;

/** The last numbers, by path and device. */
export class SeriesStore {
  /** By path, and in it by device. @type {Map<string, Map<string, Line>>} */
  paths = new Map();
  /** Increases with each change. */
  version = 0;
  #lines = 0;

  clear() {
    this.paths.clear();
    this.#lines = 0;
    this.version++;
  }

  /** @param {RequestView} view @returns {boolean} whether it had numbers */
  add(view) {
    const { payload, accepted, productId, deviceName, atMs } = view;
    if (!accepted || payload?.text === undefined || payload.cut) return false;
    const parsed = parseJson(payload.text);
    if (parsed === undefined) return false;
    const readings = readingsOf(parsed.json);
    for (const { timeMs, values } of readings) {
      for (const [path, value] of values) {
        this.#add(path, `${productId}/${deviceName}`, { ownMs: timeMs, receivedMs: atMs, value });
      }
    }
    if (readings.length > 0) this.version++;
    return readings.length > 0;
  }

  /**
   * @param {string} path
   * @param {string} device
   * @param {Line["points"][number]} point
   */
  #add(path, device, point) {
    let lines = this.paths.get(path);
    let line = lines?.get(device);
    if (line === undefined) {
      if (this.#lines >= MAX_LINES) return;
      this.#lines++;
      line = { device, points: [] };
      lines ??= new Map();
      lines.set(device, line);
      this.paths.set(path, lines);
    }
    line.points.push(point);
    // In steps, as taking off the first one each time would move all of them.
    if (line.points.length > MAX_POINTS * 1.2) line.points.splice(0, line.points.length - MAX_POINTS);
  }
}

/**
 * Brings lines to what uPlot takes: one ascending list of times, and for each line a value, `null` never, and `undefined`
 * where it has none at a time of another line, which is not a gap.
 *
 * @param {Iterable<Line>} lines
 * @param {"own" | "received"} axis points without a time are at the time of receipt on both
 * @param {number} [lastMs] only this much before the last point @default all
 * @returns {{ times: number[], values: (number | undefined)[][], undated: number }}
 */
export function align(lines, axis, lastMs = Number.POSITIVE_INFINITY) {
  let undated = 0;
  const maps = [...lines].map(({ points }) => {
    /** @type {Map<number, number>} */
    const map = new Map();
    for (const { ownMs, receivedMs, value } of points) {
      if (ownMs === undefined) undated++;
      map.set(axis === "own" ? (ownMs ?? receivedMs) : receivedMs, value);
    }
    return map;
  });
  let times = [...new Set(maps.flatMap((map) => [...map.keys()]))].sort((a, b) => a - b);
  const from = (times.at(-1) ?? 0) - lastMs;
  if (times[0] < from) times = times.filter((time) => time >= from);
  return { times, values: maps.map((map) => times.map((time) => map.get(time))), undated };
}
