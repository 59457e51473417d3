/** A host controlled by the test: responses from a function, manual time, random bytes from a counter. */

import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpContext, HttpRequest, HttpResponse } from "../../src/host.js";
import type { Host } from "../../src/index.js";

export interface FakeHost extends Host {
  /** Requests, with the monotonic time at which each was sent. */
  readonly sent: { readonly request: HttpRequest; readonly options: HttpContext; readonly atMs: number }[];
  /** Monotonic milliseconds since the start. */
  readonly elapsedMs: number;
  /** Number of set timers. */
  readonly timers: number;
  /** Advances the monotonic and the wall clock, and fires due timers. */
  advance(ms: number): void;
  /** Advances both clocks to the next timer and fires it. @returns false if no timer is set */
  advanceToNext(): boolean;
  /** Sets the wall clock, which continues from there. */
  setNow(ms: number): void;
}

export type Respond = (
  request: HttpRequest,
  index: number,
  options: HttpContext,
) => HttpResponse | Promise<HttpResponse>;

/** @param startMs initial wall-clock time */
export function fakeHost(respond: Respond, changes: Partial<Host> = {}, startMs = 1735286744_000): FakeHost {
  const sent: FakeHost["sent"] = [];
  const timers = new Map<number, { at: number; callback: () => void }>();
  let now = 0;
  let wall = startMs;
  let nextTimer = 1;
  let random = 1;
  const nextByte = () => {
    random = (random * 69069 + 12345) >>> 0;
    return random >>> 24;
  };
  return {
    sent,
    get elapsedMs() {
      return now;
    },
    get timers() {
      return timers.size;
    },
    advance(ms) {
      now += ms;
      for (const [id, { at, callback }] of [...timers]) {
        if (at <= now && timers.delete(id)) callback();
      }
    },
    advanceToNext() {
      let first: { id: number; at: number; callback: () => void } | undefined;
      for (const [id, timer] of timers) if (first === undefined || timer.at < first.at) first = { id, ...timer };
      if (first === undefined) return false;
      timers.delete(first.id);
      now = Math.max(now, first.at);
      first.callback();
      return true;
    },
    setNow(ms) {
      wall = ms - now;
    },
    http: {
      send: async (request, options) => {
        sent.push({ request, options, atMs: now });
        // By default, each request has a new connection, so that RequestIds may repeat.
        return { reused: false, ...(await respond(request, sent.length - 1, options)) };
      },
      close: () => {},
    },
    clock: { nowMs: () => wall + now, monotonicMs: () => now },
    random: { bytes: (length) => Uint8Array.from({ length }, nextByte) },
    timer: {
      set: (callback, delayMs) => {
        timers.set(nextTimer, { at: now + delayMs, callback });
        return nextTimer++;
      },
      clear: (handle) => timers.delete(handle as number),
    },
    ...changes,
  };
}

/** An HTTP response. */
export function response(body: string | Uint8Array, changes: Partial<HttpResponse> = {}): HttpResponse {
  return {
    status: 200,
    headers: { "content-type": "application/json; charset=utf-8" },
    body: typeof body === "string" ? utf8(body) : body,
    ...changes,
  };
}

export const success = '{"Response":{"RequestId":"f4da4f1f-d72e-40f1-0000-349fc0072ba0"}}';
