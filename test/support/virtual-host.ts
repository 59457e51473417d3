/** A fake host whose time advances only when nothing else is pending: no test waits, and none depends on speed. */

import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpContext, HttpResponse } from "../../src/host.js";
import { createMemoryStorage, type Host } from "../../src/index.js";
import { type FakeHost, fakeHost, type Respond } from "./fake-host.js";

export type Reply = Respond;
export type VirtualHost = FakeHost;

/** @param startMs what the wall clock shows at first; the default is a day after the version was made */
export function virtualHost(reply: Respond, changes: Partial<Host> = {}, startMs = Date.UTC(2026, 10, 2)): VirtualHost {
  const host = fakeHost(reply, {}, startMs);
  const { set, clear } = host.timer;
  let pumping = false;
  // Microtasks are done before this is called; then the earliest timer is due.
  const pump = () => {
    pumping = false;
    if (host.advanceToNext()) wake();
  };
  const wake = () => {
    if (!pumping && host.timers > 0) setImmediate(pump);
    pumping ||= host.timers > 0;
  };
  const timer: Host["timer"] = {
    set: (callback, delayMs) => {
      const handle = set(callback, delayMs);
      wake();
      return handle;
    },
    clear,
  };
  return Object.assign(host, { timer, storage: createMemoryStorage() }, changes);
}

let ids = 0;

/** A success response with a unique RequestId. */
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

/** A request without a response: it ends when it is aborted. */
export function hang({ signal }: HttpContext): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
