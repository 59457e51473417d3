/**
 * One image for every board of a product: at its first start a board registers and keeps the credential that it gets; at
 * every later start it uses that.
 */

import Resource from "Resource";
import { startNetwork } from "board/network";
import { Thermometer } from "board/thermometer";
import { createHost, Device, IotHubError } from "tencent-iothub-xs";
import Timer from "timer";

const RETRY_MS = 60000;

const host = Resource.exists("gateway-root.der")
  ? createHost({ certificates: [new Resource("gateway-root.der")] })
  : createHost();

async function start(): Promise<void> {
  await startNetwork();
  // ProductId and ProductSecret come from the manifest's config. The DeviceName may stand there, too; a board that has
  // none is called by its MAC address.
  const device = await Device.fromProvisioning(
    {
      onEvent: (event) => {
        if (event.phase === "done") trace(`${event.path}, request ${event.requestId}\n`);
      },
    },
    host,
  );
  await device.publish({ topic: "data", payload: { temperature: new Thermometer().read() } });
  device.close();
  host.close();
  trace("This board works.\n");
}

function attempt(): void {
  start().catch((error) => {
    trace(`${error instanceof IotHubError ? error.code : "error"}: ${error.message}\n`);
    // A wrong ProductSecret stays wrong; a network that is down comes back.
    if (error instanceof IotHubError && error.retryable) Timer.set(attempt, RETRY_MS);
  });
}

attempt();
