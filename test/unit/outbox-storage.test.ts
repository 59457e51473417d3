/** What an outbox does with its storage: nothing is lost or left behind, and no operation runs beside another. */
import { describe, expect, test } from "@jest/globals";
import { createMemoryStorage, Device, type HttpResponse, type Outbox, type Storage } from "../../src/index.js";
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

/** Keys of messages: without the mark of used numbers, and what belongs to the device. */
async function messageKeys(storage: Storage, name = "out"): Promise<string[]> {
  return (await storage.keys()).filter((key) => new RegExp(`^${name}\\.[0-9a-z]{8}\\.`).test(key)).sort();
}

/** A storage that counts operations under way at once, and fails where it is told to. */
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
    get: (key) => operate("get", key, () => inner.get(key)),
    set: (key, value) => operate("set", key, () => inner.set(key, value)),
    delete: (key) => operate("delete", key, () => inner.delete(key)),
    keys: () => operate("keys", "", () => inner.keys()),
  };
  return watch;
}

const long = "x".repeat(9000);

describe("a message that is being sent while the outbox makes room behind it", () => {
  test.each([0, 1, 5, 70])("leaves the others and their order, %d messages later", async (before) => {
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

test("an outbox that failed while it was read holds each message once when it is read again", async () => {
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

test("another outbox with a name of the same length is left alone", async () => {
  const storage = createMemoryStorage();
  const other = setup({ storage, name: "abc" });
  await other.device.enqueue(reading("theirs"));
  const { device, box, delivered } = setup({ storage, name: "out" });
  await box.open();
  expect(box.size).toBe(0);
  await device.enqueue(reading("ours"));
  await device.flush();
  expect(delivered).toEqual(["ours"]);
  expect(await messageKeys(storage, "abc")).toEqual(["abc.00000000.0"]);
});

describe("operations of the storage follow each other", () => {
  test("while messages of several parts are written, sent and deleted", async () => {
    const watch = watched();
    const { device } = setup({ storage: watch.storage });
    await Promise.all([device.enqueue(reading(long)), device.enqueue(reading("b")), device.enqueue(reading(long))]);
    await device.flush();
    await settled();
    expect(await messageKeys(watch.storage)).toEqual([]);
    expect(watch.most).toBe(1);
  });

  test("while a message that could not be written is cleared away", async () => {
    const watch = watched();
    const { device } = setup({ storage: watch.storage });
    await device.enqueue(reading("a"));
    watch.failing = (operation, key) => operation === "set" && key.endsWith(".0");
    await expect(device.enqueue(reading(long))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    watch.failing = () => false;
    await device.enqueue(reading("c"));
    await settled();
    expect((await messageKeys(watch.storage)).length).toBe(2);
    expect(watch.most).toBe(1);
  });

  test("while what a power cut left is cleared away, after the number is safe", async () => {
    const storage = createMemoryStorage();
    await setup({ storage }).device.enqueue(reading(long));
    const keys = await messageKeys(storage);
    expect(keys.length).toBeGreaterThan(2);
    // The first part is written last: without it the message never was complete.
    await storage.delete(keys[0]);
    const watch = watched(storage);
    const { box } = setup({ storage: watch.storage });
    await box.open();
    await settled();
    expect(watch.writes).toEqual(["set out.n", ...keys.slice(1).map((key) => `delete ${key}`)]);
    expect(watch.most).toBe(1);
  });

  test("and the number of a message is safe before the last one is deleted", async () => {
    const watch = watched();
    const { device } = setup({ storage: watch.storage });
    await device.enqueue(reading("a"));
    watch.writes.length = 0;
    await device.flush();
    expect(watch.writes).toEqual(["set out.n", "delete out.00000000.0"]);
    expect(watch.most).toBe(1);
  });
});

describe("the mark of used numbers, which wears the flash, is not written", () => {
  test("when a message is deleted that is not the last", async () => {
    const watch = watched();
    const reply: Reply = (_request, index) => {
      if (index > 0) throw new Error("the network is gone");
      return taken();
    };
    const { device, box } = setup({ storage: watch.storage, reply });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    watch.writes.length = 0;
    await device.flush();
    expect(box.size).toBe(1);
    expect(watch.writes).toEqual(["delete out.00000000.0"]);
  });

  test("when what is left of an earlier message is cleared away", async () => {
    const storage = createMemoryStorage();
    const { device } = setup({ storage });
    await device.enqueue(reading(long));
    const keys = await messageKeys(storage);
    await device.enqueue(reading("b"));
    await storage.delete(keys[0]);
    const watch = watched(storage);
    await setup({ storage: watch.storage }).box.open();
    expect(watch.writes).toEqual(keys.slice(1).map((key) => `delete ${key}`));
  });
});
