/**
 * The device of the soak's phase without faults, a separate process: publishes on one keep-alive connection and reports
 * its parent after every so many what it holds, a line of JSON each: {@link SteadySample}.
 */

import { channel } from "node:diagnostics_channel";
import { type EventEmitter, getEventListeners } from "node:events";
import { createHost, Device } from "../../host/node/index.js";
import type { SteadySample } from "./steady.js";

export interface SteadyTask {
  readonly url: string;
  readonly ca: string | undefined;
  readonly productId: string;
  readonly deviceName: string;
  readonly psk: string;
  readonly publishes: number;
  readonly sampleEvery: number;
}

const task: SteadyTask = JSON.parse(process.argv[2]);
const { gc } = globalThis as { gc?: () => void };
if (gc === undefined) throw new Error("Start this with --expose-gc.");

const host = createHost({ trustAnchors: task.ca, proxy: false });
const device = new Device(
  {
    productId: task.productId,
    deviceName: task.deviceName,
    credential: { secret: task.psk },
    url: task.url,
    rateLimit: false,
    retry: false,
  },
  host,
);

let last: { readonly socket: EventEmitter; readonly agent: EventEmitter } | undefined;
channel("http.client.request.start").subscribe((event) => {
  last = (event as { request: typeof last }).request;
});

function countListeners(emitter: EventEmitter | undefined): Record<string, number> {
  return Object.fromEntries(
    (emitter?.eventNames() ?? []).map((name) => [String(name), emitter?.listenerCount(name) ?? 0]),
  );
}

const { signal } = new AbortController();
for (let n = 1; n <= task.publishes; n++) {
  await device.publish({ topic: "data", payload: `{"n":${n}}` }, { signal });
  if (n % task.sampleEvery !== 0) continue;
  // The exchange that has just ended is let go of a turn later.
  await new Promise((resolve) => setImmediate(resolve));
  gc();
  const sample: SteadySample = {
    publishes: n,
    heapBytes: process.memoryUsage().heapUsed,
    socket: countListeners(last?.socket),
    agent: countListeners(last?.agent),
    signal: getEventListeners(signal, "abort").length,
  };
  process.stdout.write(`${JSON.stringify(sample)}\n`);
}
device.close();
host.http.close();
