/** The outbox on a host's storage, opened again for each start. */

import { expect, test } from "@jest/globals";
import { createHost } from "../../host/node/index.js";
import type { HttpRequest } from "../../src/host.js";
import { Device, NetworkError, type Storage } from "../../src/index.js";
import { taken } from "./virtual-host.js";

/** Starts the device; received payloads are added to `received`. */
export function start(storage: Storage, received: string[], up = true): Device {
  const send = async ({ body }: HttpRequest) => {
    if (!up) throw new NetworkError("CONNECTION_REFUSED", "connect", "m");
    received.push(String(JSON.parse(Buffer.from(body).toString()).Payload).slice(0, 3));
    return taken();
  };
  const host = { ...createHost(), http: { send, close: () => {} }, storage };
  const outbox = { flushIntervalMs: 0, maxBytes: 100_000 };
  return new Device(
    { productId: "P", deviceName: "d", credential: { secret: "s" }, rateLimit: false, retry: false, outbox },
    host,
  );
}

/** @param create returns a function that opens the storage again, like the next start */
export function survivesRestarts(create: () => Promise<() => Storage>): void {
  test("readings of all sizes survive restarts, in order", async () => {
    const open = await create();
    const received: string[] = [];
    const expected: string[] = [];
    for (let life = 0; life < 4; life++) {
      const storage = open();
      const device = start(storage, received, life % 2 === 1);
      for (const size of [0, 500, 1500, 3000]) {
        const name = `${life}${size / 500}.`;
        expected.push(name);
        await device.enqueue({ topic: "data", payload: name.padEnd(size) });
      }
      const { remaining: kept } = await device.flush();
      expect(kept).toBe(life % 2 === 1 ? 0 : 4);
      device.close();
      await storage.close?.();
    }
    expect(received).toEqual(expected);
    const last = open();
    expect(await last.keys()).toEqual([]);
    await last.close?.();
  });
}
