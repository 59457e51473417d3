/** Wakes, reads, publishes, sleeps. What does not get through waits in flash for the next time. */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { Thermometer } from "board/thermometer";
import config from "mc/config";
import { deepSleep } from "sleep";
import { createHost, Device } from "tencent-iothub-xs";
import Timer from "timer";

/** Awake no longer than this: a battery must survive a network that does not answer. */
const AWAKE_MS = 30000;

const start = Date.now();
const limit = Timer.set(sleep, AWAKE_MS);

const host = Resource.exists("gateway-root.der")
  ? createHost({ certificates: [new Resource("gateway-root.der")] })
  : createHost();
// The clock goes on during deep sleep; the host asks a time server once a day.
const device = new Device({ outbox: { flushIntervalMs: 0 } }, host);

wake()
  .catch((error) => trace(`${error.code}: ${error.message}\n`))
  .then(sleep);

async function wake(): Promise<void> {
  await device.enqueue({ topic: "data", payload: { temperature: new Thermometer().read() } });
  await startNetwork();
  const { delivered, kept } = await device.flush({ deadlineMs: AWAKE_MS - 5000 });
  trace(`${delivered} delivered, ${kept} kept, ${Date.now() - start} ms awake\n`);
}

function sleep(): void {
  Timer.clear(limit);
  device.close();
  host.close();
  deepSleep(Number(config.intervalSeconds));
}
