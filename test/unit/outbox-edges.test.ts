import { describe, expect, test } from "@jest/globals";
import { createMemoryStorage, IotHubError, type Storage } from "../../src/index.js";
import { outboxDevice, reading, settled } from "../support/outbox-device.js";
import { gated } from "../support/storage.js";
import { page, type Reply, refused, taken } from "../support/virtual-host.js";

test.each([Number.NaN, -5000, 1e18])("a clock that shows %d loses no reading", async (nowMs) => {
  const { device, host, dropped, payloads } = outboxDevice();
  await device.enqueue({ ...reading("a"), timeMs: 0 });
  await device.enqueue({ ...reading("b"), timeMs: 0 });
  host.setNow(nowMs);
  expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, kept: 2, ended: "clock" });
  expect(dropped).toEqual([]);
  host.setNow(Date.UTC(2026, 10, 3));
  expect(await device.flush()).toMatchObject({ delivered: 2, kept: 0 });
  expect(payloads()).toEqual(["a", "b"]);
});

test("a signer that cannot sign loses no reading", async () => {
  for (const code of ["KEY_INCONSISTENT", "INVALID_CREDENTIAL", "SIGNER_CLOSED"] as const) {
    const credential = {
      algorithm: "hmacsha256" as const,
      hashBody: () => "",
      sign: () => {
        throw new IotHubError(code, "The element has no key.");
      },
      close: () => {},
    };
    const { device } = outboxDevice(undefined, {}, {}, { credential });
    await device.enqueue(reading("a"));
    expect(await device.flush()).toMatchObject({ kept: 1, dropped: 0, ended: "credential" });
  }
});

test("classify that throws is as if it were not there", async () => {
  const classify = () => {
    throw new Error("a fault of the app's");
  };
  const reply: Reply = (_request, index) => (index === 0 ? refused("InvalidParameter") : taken());
  const { device, dropped } = outboxDevice(reply, {}, {}, { retry: { classify } });
  await device.enqueue(reading("a"));
  await device.enqueue(reading("b"));
  expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, ended: "empty" });
  expect(dropped).toMatchObject([{ reason: "refused", error: { code: "GATEWAY_REJECTED" } }]);
});

describe("the caller's bytes", () => {
  test("may be used again at once", async () => {
    const { device, delivered } = outboxDevice();
    const buffer = Buffer.from([1, 2, 3]);
    const safe = device.enqueue(reading(buffer));
    buffer.fill(0);
    await safe;
    await device.flush();
    expect(delivered[0].payload).toEqual(Uint8Array.of(1, 2, 3));
  });

  test("that a storage in memory was given, too", async () => {
    const storage = createMemoryStorage();
    const buffer = Buffer.from([1, 2, 3]);
    await storage.set("a", buffer);
    buffer.fill(0);
    expect(await storage.get("a")).toEqual(Uint8Array.of(1, 2, 3));
  });
});

describe("what was taken and could not be deleted at once", () => {
  test("is reported as delivered when it is, by a flush", async () => {
    const gate = gated();
    const { device, delivered, payloads } = outboxDevice(undefined, {}, { storage: gate.storage });
    await device.enqueue(reading("a"));
    gate.failing = true;
    expect(await device.flush()).toMatchObject({ delivered: 0, kept: 1, ended: "storage" });
    expect(delivered).toEqual([]);
    gate.failing = false;
    expect(await device.flush()).toMatchObject({ delivered: 1, kept: 0, ended: "empty" });
    expect(delivered).toMatchObject([{ sequence: 0, payload: "a" }]);
    expect(payloads()).toEqual(["a"]);
  });

  test("nor is what was refused asked again or called damaged", async () => {
    const gate = gated();
    const reply: Reply = (_request, index) => (index === 0 ? refused("InvalidParameter") : taken());
    const { device, dropped, payloads } = outboxDevice(reply, {}, { storage: gate.storage });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    gate.failing = true;
    expect(await device.flush()).toMatchObject({ dropped: 0, kept: 2, ended: "storage" });
    expect(dropped).toEqual([]);
    gate.failing = false;
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, ended: "empty" });
    expect(dropped).toMatchObject([{ reason: "refused", message: { payload: "a" } }]);
    expect(payloads()).toEqual(["a", "b"]);
  });

  test("or to make room", async () => {
    const gate = gated();
    const { device, delivered, dropped } = outboxDevice(undefined, { maxMessages: 1 }, { storage: gate.storage });
    await device.enqueue(reading("a"));
    gate.failing = true;
    await device.flush();
    gate.failing = false;
    await device.enqueue(reading("b"));
    expect(delivered).toMatchObject([{ payload: "a" }]);
    expect(dropped).toEqual([]);
    expect(await device.flush()).toMatchObject({ delivered: 1, ended: "empty" });
    expect(delivered).toMatchObject([{ payload: "a" }, { payload: "b" }]);
  });
});

test("close is to the storage what a power cut is: the next device's readings are safe from the last one's", async () => {
  const gate = gated();
  const first = outboxDevice(undefined, { maxBytes: 100000 }, { storage: gate.storage });
  await first.box.open();
  gate.holding = true;
  // Two parts: the device is closed while the first of them is being written.
  const cut = first.device.enqueue(reading(new Uint8Array(6000)));
  await settled();
  expect(gate.held.length).toBe(1);
  first.device.close();
  await expect(cut).rejects.toMatchObject({ code: "DEVICE_CLOSED" });
  const waiting = gate.held.splice(0);
  gate.holding = false;
  const second = outboxDevice(undefined, {}, { storage: gate.storage });
  await second.device.enqueue(reading("accepted"));
  for (const go of waiting) go();
  await settled();
  expect(await second.device.flush()).toMatchObject({ delivered: 1, dropped: 0, ended: "empty" });
  expect(second.payloads()).toEqual(["accepted"]);
});

test("a message that was refused is no longer under way: the oldest makes room", async () => {
  const memory = createMemoryStorage();
  const enqueued: Promise<unknown>[] = [];
  const storage: Storage = {
    ...memory,
    delete: async (key) => {
      // While the refused message is being deleted, two come: the second needs the room of the oldest.
      if (enqueued.length === 0) enqueued.push(device.enqueue(reading("d")), device.enqueue(reading("e")));
      await memory.delete(key);
    },
  };
  const reply: Reply = (_request, index) => (index === 0 ? refused("InvalidParameter") : taken());
  const { device, dropped, payloads } = outboxDevice(reply, { maxMessages: 3 }, { storage });
  for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
  await device.flush();
  await Promise.all(enqueued);
  expect(dropped.map(({ reason, message }) => [reason, message?.payload])).toEqual([
    ["refused", "a"],
    ["full", "b"],
  ]);
  expect(payloads()).toEqual(["a", "c", "d", "e"]);
});

test("an explicit flush that gets through brings the automatic one back", async () => {
  let wrong = true;
  let stop = () => {};
  const { device, host } = outboxDevice(() => (wrong ? refused("AuthFailure.SignatureFailure") : taken()), {
    flushIntervalMs: 1000,
    flushThreshold: 100,
    onDelivered: () => stop(),
  });
  await device.enqueue(reading("a"));
  await device.enqueue(reading("b"));
  for (let i = 0; i < 1000 && host.timers > 0; i++) await new Promise(setImmediate);
  expect(host.timers).toBe(0);
  wrong = false;
  // Out of time after one message: what is left is the automatic flush's.
  const aborter = new AbortController();
  stop = () => aborter.abort();
  expect(await device.flush({ signal: aborter.signal })).toMatchObject({ delivered: 1, kept: 1, ended: "cancelled" });
  for (let i = 0; i < 1000 && host.timers > 0; i++) await new Promise(setImmediate);
  expect(device.outbox?.size).toBe(0);
});

test("a topic that a record cannot hold is refused, not stored in a way that cannot be read", async () => {
  const { box } = outboxDevice();
  for (const topic of ["", "t".repeat(256)]) {
    await expect(box.enqueue({ topic, payload: "", qos: 1, kind: 0 })).rejects.toMatchObject({ code: "INVALID_TOPIC" });
  }
  expect(box.size).toBe(0);
});

describe("a refusal that is not the gateway's", () => {
  test("empties no outbox", async () => {
    let portal = true;
    const { device, dropped, payloads } = outboxDevice(() => (portal ? page(400) : taken()));
    for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
    for (let i = 0; i < 4; i++) {
      expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, kept: 3, ended: "server" });
    }
    portal = false;
    expect(await device.flush()).toMatchObject({ delivered: 3, kept: 0, ended: "empty" });
    expect(dropped).toEqual([]);
    expect(payloads()).toEqual(["a", "a", "a", "a", "a", "b", "c"]);
  });

  test("holds up no outbox: after five times the message goes", async () => {
    const { device, dropped } = outboxDevice((request) =>
      new TextDecoder().decode(request.body).includes('"bad"') ? page(400) : taken(),
    );
    for (const payload of ["bad", "good"]) await device.enqueue(reading(payload));
    for (let i = 0; i < 4; i++) await device.flush();
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, kept: 0, ended: "empty" });
    expect(dropped).toMatchObject([{ reason: "refused", message: { payload: "bad" }, error: { status: 400 } }]);
  });

  test.each([413, 422])("HTTP %d speaks of the message and counts at once", async (status) => {
    const { device } = outboxDevice((_request, index) => (index === 0 ? page(status) : taken()));
    for (const payload of ["a", "b"]) await device.enqueue(reading(payload));
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, ended: "empty" });
  });
});

test("what is damaged is reported once, however often the storage fails while it is found", async () => {
  for (let failing = 1; failing < 12; failing++) {
    const memory = createMemoryStorage();
    const { device } = outboxDevice(undefined, {}, { storage: memory });
    for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
    await memory.set("out.00000000.0", new Uint8Array(20));
    await memory.set("out.00000001.0", Uint8Array.of(2));
    let operations = 0;
    const count = async <T>(operation: () => Promise<T>): Promise<T> => {
      const result = await operation();
      if (++operations === failing) throw new Error("after it was done");
      return result;
    };
    const storage: Storage = {
      get: (key) => count(() => memory.get(key)),
      set: (key, value) => count(() => memory.set(key, value)),
      delete: (key) => count(() => memory.delete(key)),
      keys: () => count(() => memory.keys()),
    };
    const next = outboxDevice(undefined, {}, { storage });
    for (let i = 0; i < 3; i++) await next.device.flush().catch(() => {});
    expect(next.dropped.map(({ sequence, reason }) => [sequence, reason])).toEqual([
      [0, "damaged"],
      [1, "damaged"],
    ]);
  }
});
