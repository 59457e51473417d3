/** What an outbox does with its storage: nothing is lost or left behind, and no operation runs beside another. */

import { describe, expect, test } from "@jest/globals";
import type { HttpResponse } from "../../src/host.js";
import { createMemoryStorage, Device, type Storage } from "../../src/index.js";
import type { Outbox } from "../../src/outbox/outbox.js";
import { type Reply, taken, virtualHost } from "../support/virtual-host.js";

function setup({
  reply = () => taken(),
  storage = createMemoryStorage(),
  ...outbox
}: {
  reply?: Reply;
  storage?: Storage;
  name?: string;
  maxMessages?: number;
} = {}) {
  const delivered: unknown[] = [];
  const host = virtualHost(reply, { storage });
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      rateLimit: false,
      retry: false,
      outbox: { flushIntervalMs: 0, onDelivered: ({ payload }) => delivered.push(payload), ...outbox },
    },
    host,
  );
  return { host, storage, device, box: device.outbox as Outbox, delivered };
}

const reading = (payload: string) => ({ topic: "data", payload });

async function settled(): Promise<void> {
  for (let i = 0; i < 500; i++) await Promise.resolve();
}

/** Keys of messages, without what belongs to the device. */
async function messageKeys(storage: Storage, name = "out"): Promise<string[]> {
  return (await storage.keys()).filter((key) => key.startsWith(`${name}.`)).sort();
}

/** A storage that counts concurrent operations, and fails on request. */
function watched(storage: Storage = createMemoryStorage()) {
  let under = 0;
  const watch = {
    storage,
    most: 0,
    writes: [] as string[],
    /** Whether an operation fails, by its name and key. */
    failing: (_operation: string, _key: string): boolean => false,
  };
  const operate = async <T>(operation: string, key: string, act: () => Promise<T>): Promise<T> => {
    under++;
    watch.most = Math.max(watch.most, under);
    if (operation === "set" || operation === "delete") watch.writes.push(`${operation} ${key}`);
    try {
      for (let i = 0; i < 5; i++) await Promise.resolve();
      if (watch.failing(operation, key)) throw new Error("worn");
      return await act();
    } finally {
      under--;
    }
  };
  const inner = storage;
  watch.storage = {
    ...inner,
    get: (key) => operate("get", key, () => inner.get(key)),
    set: (key, text) => operate("set", key, () => inner.set(key, text)),
    delete: (key) => operate("delete", key, () => inner.delete(key)),
    keys: () => operate("keys", "", () => inner.keys()),
  };
  return watch;
}

const long = "x".repeat(7000);

describe("a message in flight while others are evicted", () => {
  test.each([0, 1, 5, 70])("keeps the order of the others, %d messages later", async (before) => {
    const open: ((response: HttpResponse) => void)[] = [];
    let isHolding = false;
    const reply = () => (isHolding ? new Promise<HttpResponse>((resolve) => open.push(resolve)) : taken());
    const { device, box, storage, delivered, host } = setup({ reply, maxMessages: 3 });
    for (let i = 0; i < before; i++) {
      await device.enqueue(reading("early"));
      await device.flush();
    }
    delivered.length = 0;
    host.sent.length = 0;
    isHolding = true;
    for (const payload of ["a", "b longer than the others", "c"]) await device.enqueue(reading(payload));
    const flushed = device.flush();
    await settled();
    expect(open.length).toBe(1);
    isHolding = false;
    await device.enqueue(reading("d"));
    await device.enqueue(reading("e"));
    expect(box.size).toBe(3);
    open[0](taken());
    await flushed;
    expect(delivered).toEqual(["a", "d", "e"]);
    expect(host.sent.length).toBe(3);
    expect([box.size, box.bytes, box.oldestAgeMs]).toEqual([0, 0, 0]);
    expect(await messageKeys(storage)).toEqual([]);
  });
});

test("an outbox whose loading failed contains each message once when loaded again", async () => {
  const plain = setup();
  for (const payload of ["a", "b", "c"]) await plain.device.enqueue(reading(payload));
  const { bytes } = plain.box;
  const keys = await messageKeys(plain.storage);
  for (const failingKey of keys) {
    const watch = watched(plain.storage);
    watch.failing = (operation, key) => operation === "get" && key === failingKey;
    const { box } = setup({ storage: watch.storage });
    expect([box.size, box.bytes]).toEqual([0, 0]);
    await expect(box.open()).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    watch.failing = () => false;
    await box.open();
    expect([box.size, box.bytes]).toEqual([3, bytes]);
  }
});

test("another outbox with a name of the same length is not affected", async () => {
  const storage = createMemoryStorage();
  const other = setup({ storage, name: "abc" });
  await other.device.enqueue(reading("theirs"));
  const { device, box, delivered } = setup({ storage, name: "out" });
  await box.open();
  expect(box.size).toBe(0);
  await device.enqueue(reading("ours"));
  await device.flush();
  expect(delivered).toEqual(["ours"]);
  expect(await messageKeys(storage, "abc")).toEqual(["abc.00000000"]);
});

describe("storage operations are sequential", () => {
  test("while messages are written, sent and deleted", async () => {
    const watch = watched();
    const { device } = setup({ storage: watch.storage });
    await Promise.all([device.enqueue(reading(long)), device.enqueue(reading("b")), device.enqueue(reading(long))]);
    await device.flush();
    await settled();
    expect(await messageKeys(watch.storage)).toEqual([]);
    expect(watch.most).toBe(1);
  });

  test("while a message is removed whose failed write took effect", async () => {
    const watch = watched();
    const { device } = setup({ storage: watch.storage });
    await device.enqueue(reading("a"));
    const { set } = watch.storage;
    watch.storage.set = async (key, text) => {
      await set(key, text);
      throw new Error("after it was written");
    };
    await expect(device.enqueue(reading(long))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    watch.storage.set = set;
    watch.writes.length = 0;
    await device.enqueue(reading("c"));
    await settled();
    expect(await messageKeys(watch.storage)).toEqual(["out.00000000", "out.00000002"]);
    expect(watch.most).toBe(1);
  });

  test("while rejected messages are removed before further writes", async () => {
    const watch = watched();
    const { device, box } = setup({ storage: watch.storage });
    await box.open();
    const { set } = watch.storage;
    watch.storage.set = async (key, text) => {
      await set(key, text);
      throw new Error("after it was written");
    };
    // It cannot be deleted at once.
    watch.failing = (operation) => operation === "delete";
    await expect(device.enqueue(reading("a"))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    await expect(device.enqueue(reading("b"))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    watch.failing = () => false;
    watch.storage.set = set;
    watch.writes.length = 0;
    await device.enqueue(reading("c"));
    expect(watch.writes).toEqual(["delete out.00000000", "set out.00000001"]);
  });

  test("and a message costs one write and one deletion", async () => {
    const watch = watched();
    const { device } = setup({ storage: watch.storage });
    await device.enqueue(reading("a"));
    await device.flush();
    expect(watch.writes).toEqual(["set out.00000000", "delete out.00000000"]);
    expect(watch.most).toBe(1);
  });
});
