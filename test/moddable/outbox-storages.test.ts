/** The outbox over every storage that a host brings, with a new host for each start. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { createHost, createStorage } from "../../host/node/index.js";
import { createMemoryStorage, Device, type HttpRequest, NetworkError, type Storage } from "../../src/index.js";
import { cleanups } from "../support/cleanups.js";
import { createModdableHost, flash, useMachine } from "../support/moddable-machine.js";
import { taken } from "../support/virtual-host.js";

useMachine();

const storages: [string, () => Promise<() => Storage>][] = [
  [
    "memory",
    async () => {
      const storage = createMemoryStorage();
      return () => storage;
    },
  ],
  [
    "Node's files",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "outbox-"));
      cleanups.push(() => rm(folder, { recursive: true }));
      return () => createStorage(folder);
    },
  ],
  ["Moddable's preferences", async () => () => createModdableHost().storage as Storage],
];

/** A start of the device: what arrives is added to `received`. */
function start(storage: Storage, received: string[], up = true): Device {
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

describe.each(storages)("%s", (_name, create) => {
  test("readings of all sizes survive restarts, in order, and numbers rise within a life", async () => {
    const open = await create();
    const received: string[] = [];
    const expected: string[] = [];
    let highest = -1;
    for (let life = 0; life < 4; life++) {
      highest = -1;
      const device = start(open(), received, life % 2 === 1);
      for (const [index, size] of [0, 1000, 2000, 3900].entries()) {
        const name = `${life}${index}.`;
        expected.push(name);
        const { sequence } = await device.enqueue({ topic: "data", payload: name.padEnd(size) });
        expect(sequence).toBeGreaterThan(highest);
        highest = sequence;
      }
      const { kept } = await device.flush();
      expect(kept).toBe(life % 2 === 1 ? 0 : 4);
      device.close();
    }
    expect(received).toEqual(expected);
    expect(await open().keys()).toEqual([]);
  });
});

test("Moddable's preferences: the power is cut at every step, and what was accepted arrives, in order", async () => {
  let cutShort = 0;
  for (let steps = 1; ; steps++) {
    flash.clear();
    const received: string[] = [];
    const accepted: string[] = [];
    flash.cutPowerAfter(steps);
    const first = start(createModdableHost().storage as Storage, received);
    for (const [index, size] of [0, 3900, 0, 0, 3900, 0, 0].entries()) {
      const name = `r${index}.`;
      const done = await first.enqueue({ topic: "data", payload: name.padEnd(size) }).then(
        () => true,
        () => false,
      );
      if (done) accepted.push(name);
      if (index === 3) await first.flush().catch(() => {});
    }
    const before = received.length;
    first.close();
    const cut = flash.steps >= steps;
    flash.powerOn();
    await start(createModdableHost().storage as Storage, received).flush();
    const firsts = received.filter((name, at) => received.indexOf(name) === at);
    expect(accepted.filter((name) => !firsts.includes(name))).toEqual([]);
    expect(firsts).toEqual([...firsts].sort());
    expect(received.length - firsts.length).toBeLessThanOrEqual(before > 0 ? 1 : 0);
    if (!cut) break;
    cutShort++;
  }
  expect(cutShort).toBeGreaterThan(8);
});
