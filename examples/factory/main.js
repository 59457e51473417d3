/**
 * One image for every board of a product: on its first start, a board registers and stores its credential; on later
 * starts it uses the stored one.
 */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { describe, printEvent } from "board/report";
import { Thermometer } from "board/thermometer";
import { createHost, Device, IotHubError } from "tencent-iothub-xs";
import Timer from "timer";

const RETRY_MS = 60000;
const FLUSH_MS = 30000;

async function start() {
  await startNetwork();
  const host = Resource.exists("gateway-root.der")
    ? createHost({ trustAnchors: new Resource("gateway-root.der") })
    : createHost();
  try {
    // ProductId and ProductSecret come from the manifest's config. The DeviceName can be set there, too; it defaults to
    // the MAC address.
    const device = await Device.fromProvisioning(
      { outbox: { flushIntervalMs: 0, batch: {} }, onEvent: printEvent },
      host,
    );
    try {
      // Like the production firmware: stored, then delivered with the time of the reading. Readings of earlier attempts
      // are sent in the same message.
      const temperature = new Thermometer().read();
      await device.enqueue({ topic: "data", payload: { temperature: temperature ?? "no sensor" } });
      const { remaining, error } = await device.flush({ deadlineMs: FLUSH_MS });
      const { published, dropped, lastSuccessTimeMs } = device.stats();
      trace(
        `${published} readings published as ${device.deviceName}, ${remaining} remaining, ${JSON.stringify(dropped)} dropped\n`,
      );
      if (error !== undefined) throw error;
      if (lastSuccessTimeMs !== undefined) trace("This board works.\n");
    } finally {
      device.close();
    }
  } finally {
    host.close();
  }
}

function attempt() {
  start().catch((error) => {
    trace(`${describe(error)}\n`);
    // Retrying helps after a network failure, not with a wrong ProductSecret.
    if (error instanceof IotHubError && error.retryable) {
      trace(`next attempt in ${RETRY_MS / 1000} s\n`);
      Timer.set(attempt, RETRY_MS);
    }
  });
}

attempt();
