/** A device that publishes, with as little around it as an app has. */

import { utf8 } from "../../src/crypto/utf8.js";
import { type Credential, Device, type Host } from "../../src/index.js";

declare function print(text: string): void;

const success = utf8('{"Response":{"RequestId":"f4da4f1f-d72e-40f1-0000-349fc0072ba0"}}');

export function publish(credential: Credential, payload: object = { t: 21.5 }): void {
  let now = 1735286744000;
  const host: Host = {
    http: {
      send: async () => ({ status: 200, headers: { "content-type": "application/json" }, body: success }),
      close() {},
    },
    clock: { nowMs: () => now++, monotonicMs: () => now++, ready: async () => {} },
    random: { bytes: (length) => new Uint8Array(length).fill(7) },
    timer: { set: () => 1, clear() {} },
  };
  publishOnce(new Device({ productId: "G8N9VAAAHB", deviceName: "AAAAAA", credential }, host), payload);
}

async function publishOnce(device: Device, payload: object): Promise<void> {
  print((await device.publish({ topic: "data", payload })).requestId);
}
