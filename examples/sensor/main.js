/** Publishes a temperature at an interval, on one HTTPS connection that is kept. */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { describe, isStorageStopped, printEvent, printFlush } from "board/report";
import { Thermometer } from "board/thermometer";
import config from "mc/config";
import { createHost, Device } from "tencent-iothub-xs";
import Timer from "timer";

async function main() {
  const thermometer = new Thermometer();

  // A private gateway may have a private root: DER in the manifest's resources.
  const host = Resource.exists("gateway-root.der")
    ? createHost({ trustAnchors: new Resource("gateway-root.der") })
    : createHost();

  let isStopped = false;
  // ProductId, DeviceName and psk come from the preferences or from the manifest's config.
  const device = new Device(
    {
      outbox: {
        // A reading is sent at once, and written to flash only if it does not get through within five seconds. There it
        // waits for the next one, or for half a minute.
        storeAfterMs: 5000,
        flushThreshold: 1,
        // After an outage, twenty readings go out as one message, each with the time at which it was taken.
        batch: {},
        onDelivered: ({ sequence }) => trace(`reading ${sequence} delivered\n`),
        onDropped: ({ reason, error }) => trace(`a reading was lost: ${reason} ${error ? describe(error) : ""}\n`),
        onFlushed: printFlush,
      },
      // The platform has no last will: a board that falls silent shows by what no longer comes.
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
      // The flash is full or worn out: the next reading comes in any case.
      trace(`not kept: ${describe(error)}\n`);
    }
    // This reading has been delivered, or is lost; what was stored before is safe and waits for the next start.
    if (isStopped) restart();
  };

  // Readings are taken whether or not there is a network.
  startNetwork();
  await report();
  Timer.repeat(report, 1000 * Number(config.intervalSeconds));
}

/** Starts the board anew; the SDK's global `System` can do that on boards alone. */
function restart() {
  trace("restart\n");
  /** @type {{ System?: { restart?(): void } }} */ (globalThis).System?.restart?.();
}

main().catch((error) => trace(`${describe(error)}\n`));
