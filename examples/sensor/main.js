/** Publishes a temperature at an interval, on one keep-alive HTTPS connection. */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { describe, isStorageStopped, printEvent, printFlush } from "board/report";
import { Thermometer } from "board/thermometer";
import config from "mc/config";
import { createHost, Device } from "tencent-iothub-xs";
import Timer from "timer";

async function main() {
  const thermometer = new Thermometer();

  // Root of a private gateway: DER in the manifest's resources.
  const host = Resource.exists("gateway-root.der")
    ? createHost({ trustAnchors: new Resource("gateway-root.der") })
    : createHost();

  let isStopped = false;
  // ProductId, DeviceName and PSK come from the preferences or from the manifest's config.
  const device = new Device(
    {
      outbox: {
        // A reading is sent at once, and written to flash only if it is not delivered within five seconds. It is then
        // retried with the next reading, or after half a minute.
        storeAfterMs: 5000,
        flushThreshold: 1,
        // After an outage, up to twenty readings are sent as one message, each with its time.
        batch: {},
        onDelivered: ({ sequence }) => trace(`reading ${sequence} delivered\n`),
        onDropped: ({ reason, error }) => trace(`a reading was lost: ${reason} ${error ? describe(error) : ""}\n`),
        onFlushed: printFlush,
      },
      // The platform has no last will: missing heartbeats show that a board is down.
      heartbeat: { intervalMs: 300_000, topic: "event" },
      onEvent: (event) => {
        printEvent(event);
        isStopped ||= isStorageStopped(event);
      },
    },
    host,
  );

  const report = async () => {
    try {
      const temperature = thermometer.read();
      if (temperature !== undefined) await device.enqueue({ topic: "data", payload: { temperature } });
    } catch (error) {
      // The storage is full or has failed: continue with the next reading.
      trace(`not kept: ${describe(error)}\n`);
    }
    // This reading was delivered or lost; stored readings are safe until the restart.
    if (isStopped) restart();
  };

  // Readings are taken with or without a network.
  startNetwork();
  await report();
  Timer.repeat(report, 1000 * Number(config.intervalSeconds));
}

/** Restarts the board; the SDK's global `System` exists only on boards. */
function restart() {
  trace("restart\n");
  /** @type {{ System?: { restart?(): void } }} */ (globalThis).System?.restart?.();
}

main().catch((error) => trace(`${describe(error)}\n`));
