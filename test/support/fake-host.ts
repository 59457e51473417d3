/** A host whose every part the test decides: answers by a function, time by hand, bytes by a counter. */

import { type Host, type HttpRequest, type HttpResponse, type HttpSendOptions, utf8 } from "../../src/index.js";

export interface FakeHost extends Host {
  readonly sent: { readonly request: HttpRequest; readonly options: HttpSendOptions }[];
  /** Moves the monotonic and the wall clock, and calls what is due. */
  advance(ms: number): void;
  /** Timers that are set. */
  readonly timers: number;
}

export type Respond = (
  request: HttpRequest,
  options: HttpSendOptions,
  index: number,
) => HttpResponse | Promise<HttpResponse>;

export function fakeHost(respond: Respond, changes: Partial<Host> = {}): FakeHost {
  let now = 1735286744_000;
  const sent: { request: HttpRequest; options: HttpSendOptions }[] = [];
  const timers = new Map<number, { at: number; callback: () => void }>();
  let nextTimer = 1;
  let random = 0;
  return {
    sent,
    get timers() {
      return timers.size;
    },
    advance(ms) {
      now += ms;
      for (const [id, { at, callback }] of [...timers]) {
        if (at <= now && timers.delete(id)) callback();
      }
    },
    http: {
      send: async (request, options) => {
        sent.push({ request, options });
        return respond(request, options, sent.length - 1);
      },
      close: () => {},
    },
    clock: { nowMs: () => now, monotonicMs: () => now },
    random: { bytes: (length) => Uint8Array.from({ length }, () => (random = (random * 5 + 7) & 0xff)) },
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

/** An HTTP answer. */
export function response(body: string | Uint8Array, changes: Partial<HttpResponse> = {}): HttpResponse {
  return {
    status: 200,
    headers: { "content-type": "application/json; charset=utf-8" },
    body: typeof body === "string" ? utf8(body) : body,
    ...changes,
  };
}

export const success = '{"Response":{"RequestId":"f4da4f1f-d72e-40f1-0000-349fc0072ba0"}}';
