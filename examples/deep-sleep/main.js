/**
 * Wakes, reads, publishes, sleeps. What does not get through waits in flash for the next time. Waking is a restart: where
 * flash has stopped taking writes (STORAGE_STOPPED), it takes them again then.
 */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { describe, printEvent, printFlush } from "board/report";
import { Thermometer } from "board/thermometer";
import { deepSleep } from "deep-sleep/sleep";
import config from "mc/config";
import { createHost, Device } from "tencent-iothub-xs";
import Timer from "timer";

/** Awake no longer than this: a battery must survive a network that does not respond. */
const AWAKE_MS = 30000;

const start = Date.now();
const limit = Timer.set(sleep, AWAKE_MS);
/** @type {(() => void)[]} */
const closers = [];
let asleep = false;

wake()
  .catch((error) => trace(`${describe(error)}\n`))
  .then(sleep);

async function wake() {
  const host = Resource.exists("gateway-root.der")
    ? createHost({ trustAnchors: new Resource("gateway-root.der") })
    : createHost();
  closers.push(() => host.close());
  // The clock goes on during deep sleep; the host asks a time server once a day.
  const device = new Device({ outbox: { flushIntervalMs: 0, onFlushed: printFlush }, onEvent: printEvent }, host);
  closers.unshift(() => device.close());

  const temperature = new Thermometer().read();
  if (temperature !== undefined) await device.enqueue({ topic: "data", payload: { temperature } });
  await startNetwork();
  const { delivered, kept } = await device.flush({ deadlineMs: AWAKE_MS - 5000 });
  trace(`${delivered} delivered, ${kept} kept, ${Date.now() - start} ms awake\n`);
}

function sleep() {
  if (asleep) return;
  asleep = true;
  Timer.clear(limit);
  for (const close of closers.splice(0)) close();
  deepSleep(Number(config.intervalSeconds));
}
