/**
 * One image for every board of a product: at its first start a board registers and keeps the credential that it gets; at
 * every later start it uses that.
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
    // ProductId and ProductSecret come from the manifest's config. The DeviceName may be set there, too; a board that has
    // none is called by its MAC address.
    const device = await Device.fromProvisioning(
      { outbox: { flushIntervalMs: 0, batch: {} }, onEvent: printEvent },
      host,
    );
    try {
      // As the firmware proper does it: stored, then delivered with the time of the reading. What an earlier attempt has
      // left goes out in the same message.
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
    // A wrong ProductSecret stays wrong; a network that is down comes back.
    if (error instanceof IotHubError && error.retryable) {
      trace(`next attempt in ${RETRY_MS / 1000} s\n`);
      Timer.set(attempt, RETRY_MS);
    }
  });
}

attempt();
