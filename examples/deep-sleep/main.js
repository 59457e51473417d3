/**
 * Wakes up, reads, publishes, sleeps. Undelivered readings stay in flash until the next wake. Waking up is a restart,
 * after which a storage that has stopped (STORAGE_STOPPED) accepts writes again.
 */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { describe, printEvent, printFlush } from "board/report";
import { Thermometer } from "board/thermometer";
import { deepSleep } from "deep-sleep/sleep";
import config from "mc/config";
import { createHost, Device } from "tencent-iothub-xs";
import Time from "time";
import Timer from "timer";

/** Maximum time awake: the battery must survive a network that does not respond. */
const AWAKE_MS = 30000;

// Not Date.now(): the first wake sets the clock.
const start = Time.ticks;
const limit = Timer.set(sleep, AWAKE_MS);
/** @type {(() => void)[]} */
const closers = [];
let asleep = false;
let isAcknowledged = false;

wake()
  .catch((error) => trace(`${describe(error)}\n`))
  .then(sleep);

async function wake() {
  const trustAnchors = Resource.exists("gateway-root.der") ? new Resource("gateway-root.der") : undefined;
  // Stores the TLS session and the gateway's address: the next wake needs no lookup and no public-key operations.
  const host = createHost({ trustAnchors, resumption: "storage" });
  closers.push(() => host.close());
  // The clock runs during deep sleep; the host queries a time server once a day. Readings taken before the first time
  // are stored with the uptime, and are dated once the time is known.
  const device = new Device(
    {
      // Stored before the network is started, since the battery may fail first. After an outage, readings are batched.
      outbox: { flushIntervalMs: 0, batch: {}, onFlushed: printFlush },
      // Sent with a flush, at most once an hour: the platform has no last will.
      heartbeat: { intervalMs: 3_600_000, topic: "event" },
      onEvent,
    },
    host,
  );
  closers.unshift(() => device.close());

  const temperature = new Thermometer().read();
  if (temperature !== undefined) await device.enqueue({ topic: "data", payload: { temperature } });
  await startNetwork();
  const { delivered, remaining } = await device.flush({ deadlineMs: AWAKE_MS - 5000 });
  trace(`${delivered} delivered, ${remaining} remaining, ${Time.delta(start)} ms awake\n`);
}

/** @param {import("tencent-iothub-xs").DeviceEvent} event */
function onEvent(event) {
  printEvent(event);
  if (event.type !== "response" || event.timing === undefined || isAcknowledged) return;
  isAcknowledged = true;
  const { connectMs = 0, tlsMs = 0, totalMs, resumed } = event.timing;
  const acknowledgedMs = Time.delta(start);
  const sentMs = Math.round(acknowledgedMs - totalMs + connectMs + tlsMs);
  const handshake = resumed === undefined ? "" : resumed ? ", session resumed" : ", full handshake";
  trace(`sent after ${sentMs} ms, acknowledged after ${acknowledgedMs} ms${handshake}\n`);
}

function sleep() {
  if (asleep) return;
  asleep = true;
  Timer.clear(limit);
  for (const close of closers.splice(0)) close();
  deepSleep(Number(config.intervalSeconds));
}
