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

async function start() {
  await startNetwork();
  const host = Resource.exists("gateway-root.der")
    ? createHost({ trustAnchors: new Resource("gateway-root.der") })
    : createHost();
  try {
    // ProductId and ProductSecret come from the manifest's config. The DeviceName may be set there, too; a board that has
    // none is called by its MAC address.
    const device = await Device.fromProvisioning({ onEvent: printEvent }, host);
    try {
      const temperature = new Thermometer().read();
      const { requestId } = await device.publish({
        topic: "data",
        payload: { temperature: temperature ?? "no sensor" },
      });
      trace(`published as ${device.deviceName}, request ${requestId}\nThis board works.\n`);
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
