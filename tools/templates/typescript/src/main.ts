/** Starts the device: what needs the board is here, the rest in app.ts. */

import Resource from "Resource";
import config from "mc/config";
import { createHost, Device } from "tencent-iothub-xs";
import Timer from "timer";
import { outbox, readTemperature, report } from "./app.js";
import { startWifi } from "./wifi.js";

async function main(): Promise<void> {
  const host = createHost({
    // A private gateway, such as the one on your desk, has a private CA; the cloud's roots are built in.
    trustAnchors: Resource.exists("gateway-root.der") ? new Resource("gateway-root.der") : undefined,
    // On your desk, readings are kept apart, so that none of them is ever sent to the cloud.
    storage: config.storage || undefined,
  });

  // ProductId, DeviceName, psk and url or region come from the manifest's config: see README.md.
  const device = new Device(
    {
      outbox: {
        ...outbox,
        onDelivered: ({ sequence }) => trace(`reading ${sequence} delivered\n`),
        onDropped: ({ reason }) => trace(`a reading was lost: ${reason}\n`),
      },
      onEvent(event) {
        if (event.type === "retry" || event.type === "error") trace(`${event.code}: ${event.message}\n`);
      },
    },
    host,
  );

  startWifi();
  await report(device, readTemperature());
  Timer.repeat(() => {
    report(device, readTemperature()).catch(fail);
  }, 1000 * config.intervalSeconds);
}

function fail(error: { code?: string; message: string }): void {
  trace(`${error.code ?? "error"}: ${error.message}\n`);
}

main().catch(fail);
