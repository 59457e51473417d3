/** Publishes a temperature every so many seconds, on one HTTPS connection that is kept. */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { Thermometer } from "board/thermometer";
import config from "mc/config";
import { createHost, Device } from "tencent-iothub-xs";
import Timer from "timer";

const thermometer = new Thermometer();

// A gateway of one's own may have a root of its own: DER in the manifest's resources.
const host = Resource.exists("gateway-root.der")
  ? createHost({ certificates: [new Resource("gateway-root.der")] })
  : createHost();

// ProductId, DeviceName and psk come from the preferences or from the manifest's config.
const device = new Device(
  {
    outbox: {
      // A reading is sent at once. What does not get through waits in flash for the next one, or for half a minute.
      flushThreshold: 1,
      onDelivered: ({ sequence }) => trace(`reading ${sequence} delivered\n`),
      onDropped: ({ reason }) => trace(`a reading was lost: ${reason}\n`),
    },
    onEvent: (event) => {
      if (event.phase === "error") trace(`${event.code}: ${event.message}\n`);
    },
  },
  host,
);

async function report(): Promise<void> {
  try {
    await device.enqueue({ topic: "data", payload: { temperature: thermometer.read() } });
  } catch (error) {
    // The flash is full or worn out: the next reading comes in any case.
    trace(`not kept: ${error instanceof Error ? error.message : error}\n`);
  }
}

// Readings are taken whether or not there is a network.
startNetwork();
report();
Timer.repeat(report, 1000 * Number(config.intervalSeconds));
