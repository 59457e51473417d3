import { describe, expect, test } from "@jest/globals";
import { createMemoryStorage, IotHubError, type Storage } from "../../src/index.js";
import { outboxDevice, reading, settled } from "../support/outbox-device.js";
import { gated } from "../support/storage.js";
import { page, type Reply, refused, taken } from "../support/virtual-host.js";

test.each([Number.NaN, -5000, 1e18])("outbox loses no reading with a clock that shows %d", async (nowMs) => {
  const { device, host, dropped, payloads } = outboxDevice();
  await device.enqueue({ ...reading("a"), timeMs: 0 });
  await device.enqueue({ ...reading("b"), timeMs: 0 });
  host.setNow(nowMs);
  expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 2, reason: "clock" });
  expect(dropped).toEqual([]);
  host.setNow(Date.UTC(2026, 10, 3));
  expect(await device.flush()).toMatchObject({ delivered: 2, remaining: 0 });
  expect(payloads()).toEqual(["a", "b"]);
});

test("outbox loses no reading with a failing signer", async () => {
  for (const [code, ended] of [
    ["KEY_INCONSISTENT", "credential"],
    ["INVALID_CREDENTIAL", "credential"],
    ["SIGNER_CLOSED", "state"],
  ] as const) {
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
    expect(await device.flush()).toMatchObject({ remaining: 1, dropped: 0, reason: ended });
  }
});

const rejectA: Reply = ({ body }) =>
  Buffer.from(body).includes('"a"') ? refused("InvalidParameterValue.PayloadOverLimit") : taken();

test("classify overrides the error table", async () => {
  const classify = () => "server" as const;
  const { device, dropped } = outboxDevice(rejectA, {}, {}, { retry: { classify } });
  await device.enqueue(reading("a"));
  await device.enqueue(reading("b"));
  expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 2, reason: "server" });
  expect(dropped).toEqual([]);
});

test("classify that returns no class is ignored", async () => {
  const classify = () => "permanent" as never;
  const { device } = outboxDevice(rejectA, {}, {}, { retry: { classify } });
  await device.enqueue(reading("a"));
  await device.enqueue(reading("b"));
  expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, reason: "empty" });
});

test("classify that throws is ignored", async () => {
  const classify = () => {
    throw new Error("a fault of the app's");
  };
  const { device, dropped } = outboxDevice(rejectA, {}, {}, { retry: { classify } });
  await device.enqueue(reading("a"));
  await device.enqueue(reading("b"));
  expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, reason: "empty" });
  expect(dropped).toMatchObject([{ reason: "rejected", error: { code: "GATEWAY_REJECTED" } }]);
});

describe("the caller's bytes", () => {
  test("may be reused at once", async () => {
    const { device, delivered } = outboxDevice();
    const buffer = Buffer.from([1, 2, 3]);
    const safe = device.enqueue(reading(buffer));
    buffer.fill(0);
    await safe;
    await device.flush();
    expect(delivered[0]).toMatchObject({ payload: "AQID", payloadEncoding: "Base64" });
  });
});

describe("an acknowledged message whose deletion failed", () => {
  test("is reported as delivered by a later flush", async () => {
    const gate = gated();
    const { device, delivered, payloads } = outboxDevice(undefined, {}, { storage: gate.storage });
    await device.enqueue(reading("a"));
    gate.failing = true;
    expect(await device.flush()).toMatchObject({ delivered: 0, remaining: 1, reason: "storage" });
    expect(delivered).toEqual([]);
    gate.failing = false;
    expect(await device.flush()).toMatchObject({ delivered: 1, remaining: 0, reason: "empty" });
    expect(delivered).toMatchObject([{ sequence: 0, payload: "a" }]);
    expect(payloads()).toEqual(["a"]);
  });

  test("or a rejected one is neither resent nor reported as corrupt", async () => {
    const gate = gated();
    let rejections = 0;
    const reply: Reply = (...args) => {
      const response = rejectA(...args);
      // The second rejection is the verdict: from here on nothing can be deleted.
      if (Buffer.from(args[0].body).includes('"a"')) gate.failing = ++rejections === 2;
      return response;
    };
    const { device, dropped, payloads } = outboxDevice(reply, {}, { storage: gate.storage });
    for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 0, remaining: 2, reason: "storage" });
    expect(dropped).toEqual([]);
    gate.failing = false;
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, reason: "empty" });
    expect(dropped).toMatchObject([{ reason: "rejected", message: { payload: "a" } }]);
    expect(payloads()).toEqual(["a", "c", "a", "b"]);
  });

  test("is deleted to make room", async () => {
    const gate = gated();
    const { device, delivered, dropped } = outboxDevice(undefined, { maxMessages: 1 }, { storage: gate.storage });
    await device.enqueue(reading("a"));
    gate.failing = true;
    await device.flush();
    gate.failing = false;
    await device.enqueue(reading("b"));
    expect(delivered).toMatchObject([{ payload: "a" }]);
    expect(dropped).toEqual([]);
    expect(await device.flush()).toMatchObject({ delivered: 1, reason: "empty" });
    expect(delivered).toMatchObject([{ payload: "a" }, { payload: "b" }]);
  });
});

test("after close no writes are issued, so that the next device's readings are safe", async () => {
  const gate = gated();
  const first = outboxDevice(undefined, {}, { storage: gate.storage }, { storageTimeoutMs: 2147483647 });
  await first.box.open();
  gate.holding = true;
  // The device is closed while the key is looked up.
  const cut = first.device.enqueue(reading("cut off"));
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
  expect(await second.device.flush()).toMatchObject({ delivered: 1, dropped: 0, reason: "empty" });
  expect(second.payloads()).toEqual(["accepted"]);
});

test("a rejected message is no longer in flight: the oldest is evicted", async () => {
  const memory = createMemoryStorage();
  const enqueued: Promise<unknown>[] = [];
  let deletions = 0;
  const storage: Storage = {
    ...memory,
    delete: async (key) => {
      // While the rejected message is being deleted, one comes that needs the room of the oldest.
      if (++deletions === 2) enqueued.push(device.enqueue(reading("d".repeat(170))));
      await memory.delete(key);
    },
  };
  const { device, dropped, payloads } = outboxDevice(rejectA, { maxBytes: 256 }, { storage });
  for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
  await device.flush();
  await Promise.all(enqueued);
  expect(dropped.map(({ reason, message }) => [reason, message?.payload])).toEqual([
    ["rejected", "a"],
    ["evicted", "b"],
  ]);
  expect(payloads()).toEqual(["a", "c", "a", "d".repeat(170)]);
});

test("a topic that a record cannot represent is rejected, not stored unreadably", async () => {
  const { box } = outboxDevice();
  for (const topic of ["", "t".repeat(256), "a#b", "a\0"]) {
    await expect(box.enqueue({ topic, payload: "", qos: 1, endpoint: 0 })).rejects.toMatchObject({
      code: "INVALID_TOPIC",
    });
  }
  expect(box.size).toBe(0);
});

describe("a rejection by a proxy", () => {
  test("does not empty the outbox", async () => {
    let portal = true;
    const { device, dropped, payloads } = outboxDevice(() => (portal ? page(400) : taken()));
    for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
    for (let i = 0; i < 4; i++) {
      expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 3, reason: "unknown" });
    }
    portal = false;
    expect(await device.flush()).toMatchObject({ delivered: 3, remaining: 0, reason: "empty" });
    expect(dropped).toEqual([]);
    expect(payloads().slice(-3)).toEqual(["a", "b", "c"]);
  });
});

test("a corrupt record is reported once, however often the storage fails meanwhile", async () => {
  for (let failing = 1; failing < 14; failing++) {
    const memory = createMemoryStorage();
    const { device } = outboxDevice(undefined, {}, { storage: memory });
    for (const payload of ["a", "b", "c"]) await device.enqueue(reading(payload));
    await memory.set("out.00000000", "not a record");
    await memory.set("out.00000001", "");
    let operations = 0;
    const count = async <T>(operation: () => Promise<T>): Promise<T> => {
      const result = await operation();
      if (++operations === failing) throw new Error("after it was done");
      return result;
    };
    const storage: Storage = {
      ...memory,
      get: (key) => count(() => memory.get(key)),
      set: (key, text) => count(() => memory.set(key, text)),
      delete: (key) => count(() => memory.delete(key)),
      keys: () => count(() => memory.keys()),
    };
    const next = outboxDevice(undefined, {}, { storage });
    for (let i = 0; i < 3; i++) await next.device.flush().catch(() => {});
    expect(next.dropped.map(({ sequence, reason }) => [sequence, reason])).toEqual([
      [0, "corrupt"],
      [1, "corrupt"],
    ]);
  }
});
