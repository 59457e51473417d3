/** A host whose time passes only when nothing else is to be done: no test waits, and none depends on speed. */

import {
  createMemoryStorage,
  type Host,
  type HttpRequest,
  type HttpResponse,
  type HttpSendOptions,
  utf8,
} from "../../src/index.js";

export interface VirtualHost extends Host {
  /** Requests with the monotonic time at which they were sent. */
  readonly sent: { readonly request: HttpRequest; readonly options: HttpSendOptions; readonly atMs: number }[];
  /** Monotonic milliseconds since the start. */
  readonly elapsedMs: number;
  readonly timers: number;
  /** Sets the wall clock; it goes on from there. */
  setNow(ms: number): void;
}

export type Reply = (
  request: HttpRequest,
  index: number,
  options: HttpSendOptions,
) => HttpResponse | Promise<HttpResponse>;

/** @param startMs what the wall clock shows at first; the default is a day after the version was made */
export function virtualHost(reply: Reply, changes: Partial<Host> = {}, startMs = Date.UTC(2026, 10, 2)): VirtualHost {
  const sent: VirtualHost["sent"] = [];
  const timers = new Map<number, { at: number; callback: () => void }>();
  let now = 0;
  let wall = startMs;
  let nextTimer = 1;
  let random = 1;
  const next = () => {
    random = (random * 69069 + 12345) >>> 0;
    return random;
  };
  let pumping = false;
  // Microtasks are done before this is called; then the earliest timer is due.
  const pump = () => {
    pumping = false;
    let first: number | undefined;
    for (const [id, { at }] of timers) if (first === undefined || at < (timers.get(first)?.at ?? 0)) first = id;
    if (first === undefined) return;
    const { at, callback } = timers.get(first) as { at: number; callback: () => void };
    timers.delete(first);
    now = Math.max(now, at);
    callback();
    wake();
  };
  const wake = () => {
    if (!pumping && timers.size > 0) setImmediate(pump);
    pumping ||= timers.size > 0;
  };
  return {
    sent,
    get elapsedMs() {
      return now;
    },
    get timers() {
      return timers.size;
    },
    setNow(ms) {
      wall = ms - now;
    },
    http: {
      send: async (request, options) => {
        sent.push({ request, options, atMs: now });
        return reply(request, sent.length - 1, options);
      },
      close: () => {},
    },
    clock: { nowMs: () => wall + now, monotonicMs: () => now },
    random: { bytes: (length) => Uint8Array.from({ length }, () => next() >>> 24) },
    timer: {
      set: (callback, delayMs) => {
        timers.set(nextTimer, { at: now + delayMs, callback });
        wake();
        return nextTimer++;
      },
      clear: (handle) => timers.delete(handle as number),
    },
    storage: createMemoryStorage(),
    ...changes,
  };
}

let ids = 0;

/** An answer with a RequestId of its own. */
export function taken(headers: Record<string, string> = {}): HttpResponse {
  return json({ Response: { RequestId: `request-${++ids}` } }, 200, headers);
}

export function refused(code: string, headers: Record<string, string> = {}, status = 200): HttpResponse {
  return json({ Response: { Error: { Code: code, Message: "no" }, RequestId: `request-${++ids}` } }, status, headers);
}

export function page(status: number, headers: Record<string, string> = {}): HttpResponse {
  return { status, headers: { "content-type": "text/html", ...headers }, body: utf8("<html></html>") };
}

function json(value: unknown, status: number, headers: Record<string, string>): HttpResponse {
  return { status, headers: { "content-type": "application/json", ...headers }, body: utf8(JSON.stringify(value)) };
}

/** A host's promise that only ends with its request. */
export function hang({ signal, timeoutMs }: HttpSendOptions, host: Host, timeout: () => Error): Promise<never> {
  return new Promise((_resolve, reject) => {
    const handle = host.timer.set(() => reject(timeout()), timeoutMs);
    signal?.addEventListener("abort", () => {
      host.timer.clear(handle);
      reject(new Error("aborted"));
    });
  });
}
