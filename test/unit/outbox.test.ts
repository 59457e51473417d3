import { describe, expect, test } from "@jest/globals";
import { base64Decode } from "../../src/crypto/base64.js";
import type { HttpResponse } from "../../src/host.js";
import {
  createMemoryStorage,
  Device,
  type FlushResult,
  IotHubError,
  NetworkError,
  type OutboxOptions,
  ResponseError,
  type Storage,
} from "../../src/index.js";
import { failure } from "../support/failure.js";
import { outboxDevice, reading, settled } from "../support/outbox-device.js";
import { boardLimits, Flash } from "../support/storage.js";
import { hang, page, refused, taken, virtualHost } from "../support/virtual-host.js";

const reset = () => new NetworkError("CONNECTION_RESET", "read", "The connection was closed.");

describe("enqueue and flush", () => {
  test("messages are delivered in order, and deleted", async () => {
    const { device, box, host, delivered, payloads } = outboxDevice();
    const results = [];
    for (let i = 0; i < 5; i++) results.push(await device.enqueue(reading(String(i))));
    expect(results.map(({ size }) => size)).toEqual([1, 2, 3, 4, 5]);
    expect(box.size).toBe(5);
    expect(box.bytes).toBe(5 * 32 * (1 + 1));
    expect(await device.flush()).toEqual({ delivered: 5, remaining: 0, dropped: 0, reason: "empty", error: undefined });
    expect(payloads()).toEqual(["0", "1", "2", "3", "4"]);
    expect(delivered.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3, 4]);
    expect([box.size, box.bytes, box.oldestAgeMs, host.timers]).toEqual([0, 0, 0, 0]);
    expect(await host.storage?.keys()).toEqual([]);
  });

  test("every type of payload and topic is sent like by publish", async () => {
    const messages = [
      { topic: "data", payload: "text 温度 😀 \u0000" },
      { topic: "$thing/up/property/P/d", payload: { t: [1, 2] }, qos: 0 as const },
      { topic: "event", payload: Uint8Array.from({ length: 300 }, (_, i) => i) },
      { topic: "event", payload: "x", encoding: "Base64" as const },
      { topic: "data", payload: "" },
      { topic: "data", payload: "大".repeat(5461) },
      { topic: "data", payload: new Uint8Array(16384).fill(7) },
      { topic: `${"长".repeat(80)}/x`, payload: new Uint8Array(0) },
    ];
    const { device, host, delivered } = outboxDevice(undefined, { maxBytes: 100000 });
    for (const message of messages) await device.enqueue({ ...message, timeMs: 1700000000000 });
    expect((await device.flush()).delivered).toBe(messages.length);
    const stored = host.sent.map(({ request }) => new TextDecoder().decode(request.body));
    for (const message of messages) await device.publish(message);
    const direct = host.sent.slice(messages.length).map(({ request }) => new TextDecoder().decode(request.body));
    expect(stored).toEqual(direct);
    expect(delivered.every(({ timeMs }) => timeMs === 1700000000000)).toBe(true);
    expect(delivered[2]).toMatchObject({ payloadEncoding: "Base64" });
    expect(base64Decode(delivered[2].payload)).toEqual(messages[2].payload);
  });

  test("enqueue rejects what publish rejects", async () => {
    const { device, box } = outboxDevice();
    expect((await failure(device.enqueue({ topic: "a+", payload: "" }))).code).toBe("TOPIC_WILDCARD");
    expect((await failure(device.enqueue(reading("x".repeat(16385))))).code).toBe("PAYLOAD_TOO_LARGE");
    expect((await failure(device.enqueue({ ...reading(""), timeMs: -1 }))).code).toBe("INVALID_TIMESTAMP");
    expect((await failure(device.enqueue({ ...reading(""), timeMs: Number.NaN }))).code).toBe("INVALID_TIMESTAMP");
    expect(box.size).toBe(0);
  });

  test.each<[string, OutboxOptions]>([
    ["a name of five", { name: "abcde" }],
    ["a name with a dot", { name: "a.b" }],
    ["no message", { maxMessages: 0 }],
    ["half a byte", { maxBytes: 0.5 }],
    ["a policy", { policy: "dropAll" as never }],
    ["an interval", { flushIntervalMs: -1 }],
    ["a threshold", { flushThreshold: 0 }],
    ["text", "outbox" as never],
  ])("%s is rejected as an option", (_name, outbox) => {
    const host = virtualHost(() => taken());
    const options = { productId: "P", deviceName: "d", credential: { secret: "s" }, outbox };
    expect(() => new Device(options, host)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });

  test("a device without storage or the option has no outbox", async () => {
    expect(() => outboxDevice(undefined, {}, { storage: undefined })).toThrow(IotHubError);
    const device = new Device(
      { productId: "P", deviceName: "d", credential: { secret: "s" } },
      virtualHost(() => taken()),
    );
    expect(device.outbox).toBeUndefined();
    expect((await failure(device.enqueue(reading("")))).code).toBe("INVALID_OPTION");
    expect((await failure(device.flush())).code).toBe("INVALID_OPTION");
  });

  test("a restart keeps messages, order, times and numbers", async () => {
    const storage = createMemoryStorage();
    const first = outboxDevice(undefined, {}, { storage });
    for (let i = 0; i < 3; i++) await first.device.enqueue(reading(`a${i}`));
    const second = outboxDevice(undefined, {}, { storage });
    await second.box.open();
    expect([second.box.size, second.box.bytes]).toEqual([first.box.size, first.box.bytes]);
    expect((await second.device.enqueue(reading("b"))).sequence).toBe(3);
    await second.device.flush();
    expect(second.payloads()).toEqual(["a0", "a1", "a2", "b"]);
    // Within a life numbers rise, though nothing waits; after a restart they go on above what waits.
    expect((await second.device.enqueue(reading("c"))).sequence).toBe(4);
    await second.device.flush();
    const third = outboxDevice(undefined, {}, { storage });
    expect((await third.device.enqueue(reading("d"))).sequence).toBe(0);
  });

  test("two devices can share a storage with two names", async () => {
    const storage = createMemoryStorage();
    const a = outboxDevice(undefined, { name: "a" }, { storage });
    const b = outboxDevice(undefined, { name: "ab" }, { storage });
    await a.device.enqueue(reading("1"));
    await b.device.enqueue(reading("2"));
    await b.device.enqueue(reading("3"));
    expect([a.box.size, b.box.size]).toEqual([1, 2]);
    await b.device.flush();
    await a.device.flush();
    expect([a.payloads(), b.payloads()]).toEqual([["1"], ["2", "3"]]);
  });
});

describe("rejections and failures", () => {
  test("a permanently rejected message does not block others, and is reported", async () => {
    const { device, dropped, payloads } = outboxDevice(({ body }) =>
      Buffer.from(body).includes('"b"') ? refused("InvalidParameterValue.TopicName") : taken(),
    );
    for (const name of ["a", "b", "c"]) await device.enqueue(reading(name));
    expect(await device.flush()).toMatchObject({ delivered: 2, dropped: 1, remaining: 0, reason: "empty" });
    // Another message is acknowledged, so the rejection is not one of everything.
    expect(payloads()).toEqual(["a", "b", "c", "b"]);
    expect(dropped).toMatchObject([{ sequence: 1, reason: "rejected", message: { payload: "b", topic: "data" } }]);
    expect(dropped[0].error).toBeInstanceOf(ResponseError);
  });

  test.each<[string, HttpResponse | Error, string]>([
    ["a credential that is refused", refused("AuthFailure.SignatureFailure"), "credential"],
    ["a certificate that is refused", new NetworkError("CERTIFICATE_REJECTED", "tls", "m"), "certificate"],
    ["an unknown device", refused("ResourceNotFound.DeviceNotExist"), "device"],
    ["a clock that cannot be mended", refused("AuthFailure.SignatureExpire"), "clock"],
  ])("%s ends a flush at once and loses nothing", async (_name, reply, ended) => {
    const { device, host } = outboxDevice(() => {
      if (reply instanceof Error) throw reply;
      return reply;
    });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 2, reason: ended });
    expect(host.sent.length).toBe(1);
  });

  test("an outage is retried until the budget or the time is used up, then messages are kept", async () => {
    let up = false;
    const { device, host, retried, payloads, box } = outboxDevice(() => {
      if (up) return taken();
      throw reset();
    });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    expect(await device.flush({ deadlineMs: 3000 })).toMatchObject({ delivered: 0, remaining: 2, dropped: 0 });
    expect(host.elapsedMs).toBeLessThanOrEqual(3000);
    expect(await device.flush()).toMatchObject({ delivered: 0, remaining: 2, reason: "network" });
    expect(retried()).toBe(10);
    expect(box.oldestAgeMs).toBeCloseTo(host.elapsedMs, 1);
    up = true;
    expect(await device.flush()).toMatchObject({ delivered: 2, remaining: 0, reason: "empty" });
    expect(payloads().slice(-2)).toEqual(["a", "b"]);
  });

  test("a flush ends at its deadline, whatever hangs", async () => {
    const http = outboxDevice((_r, _i, options) => hang(options));
    await http.device.enqueue(reading("a"));
    expect(await http.device.flush({ deadlineMs: 700 })).toMatchObject({ remaining: 1, reason: "deadline" });
    expect(http.host.elapsedMs).toBe(700);
    await settled();
    expect(http.host.timers).toBe(0);

    const never = () => new Promise<never>(() => {});
    const deaf = outboxDevice(never);
    await deaf.device.enqueue(reading("a"));
    expect(await deaf.device.flush({ deadlineMs: 50 })).toMatchObject({ remaining: 1, reason: "deadline" });
    expect(deaf.host.elapsedMs).toBe(50);

    const memory = createMemoryStorage();
    const disk = outboxDevice(undefined, {}, { storage: { ...memory, keys: never } });
    expect(await disk.device.flush({ deadlineMs: 50 })).toMatchObject({ reason: "deadline" });
    expect(disk.host.elapsedMs).toBe(50);
  });

  test("a flush waits for the pending one", async () => {
    const { device } = outboxDevice();
    for (let i = 0; i < 4; i++) await device.enqueue(reading(String(i)));
    const [first, second] = await Promise.all([device.flush(), device.flush()]);
    expect([first.delivered, second.delivered]).toEqual([4, 0]);
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => device.flush()));
    expect(all.filter(({ status }) => status === "fulfilled").length).toBe(16);
    expect((await device.flush()).reason).toBe("empty");
  });

  test("the outbox reads the current format, and ignores that of version 0.1", async () => {
    const storage = createMemoryStorage();
    const stored: [string, string][] = [
      ["out.0000000a", '11mvxprbeo#data#{"温度":21.5}'],
      ["out.0000000b", "12mvxprbep,m1z#a/b#AP8="],
      ["out.0000000c", "15mvxprbep#data#YQBi"],
      ["out.0000000d.0", "what 0.1 stored"],
      ["out.n", "its mark"],
    ];
    for (const [key, value] of stored) await storage.set(key, value);
    const { device, delivered, payloads } = outboxDevice(undefined, {}, { storage });
    await device.flush();
    expect(delivered).toEqual([
      { sequence: 10, timeMs: 1793530511232, topic: "data", payload: '{"温度":21.5}', qos: 1, endpoint: 0 },
      {
        sequence: 11,
        timeMs: 1793530511233,
        topic: "a/b",
        payload: "AP8=",
        payloadEncoding: "Base64",
        qos: 0,
        endpoint: 0,
      },
      { sequence: 12, timeMs: 1793530511233, topic: "data", payload: "a\0b", qos: 1, endpoint: 0 },
    ]);
    expect(payloads()).toEqual(['{"温度":21.5}', "AP8=", "a\0b"]);
    expect((await device.enqueue({ ...reading("next"), timeMs: 1793530511232 })).sequence).toBe(13);
    expect((await storage.keys()).sort()).toEqual(["out.0000000d", "out.0000000d.0", "out.n"]);
    expect(await storage.get("out.0000000d")).toBe("11mvxprbeo#data#next");
  });

  test("corrupt messages are dropped and reported, the others kept", async () => {
    const flash = new Flash();
    const first = outboxDevice(undefined, {}, { storage: flash.start().storage });
    for (const payload of ["a", "b".repeat(900), "c", "d"]) await first.device.enqueue(reading(payload));
    flash.values.set("out.00000000", "");
    flash.values.set("other", "1");
    const { device, dropped, payloads, box } = outboxDevice(undefined, {}, { storage: flash.start().storage });
    await box.open();
    flash.values.set("out.00000001", "1x#data");
    const result = await device.flush();
    expect(payloads()).toEqual(["c", "d"]);
    expect(dropped).toEqual([0, 1].map((sequence) => ({ sequence, reason: "corrupt" })));
    expect(result).toMatchObject({ delivered: 2, dropped: 1, remaining: 0, reason: "empty" });
    expect([...flash.values.keys()]).toEqual(["other"]);
  });

  test("messages of a later version are kept, and their numbers not used", async () => {
    const flash = new Flash();
    flash.values.set("out.00000007", "2 whatever it needs#then the rest");
    const { device, dropped, payloads } = outboxDevice(undefined, {}, { storage: flash.start().storage });
    expect((await device.enqueue(reading("b"))).sequence).toBe(8);
    await device.flush();
    expect(payloads()).toEqual(["b"]);
    expect(dropped).toEqual([{ sequence: 7, reason: "unsupported" }]);
    expect([...flash.values.keys()]).toEqual(["out.00000007"]);
  });

  test("a failing storage is reported by enqueue and flush, and nothing is sent twice", async () => {
    type Operation = "get" | "set" | "delete" | "keys";
    const memory = createMemoryStorage();
    let broken: Operation | undefined = "set";
    const guard = <K extends Operation>(name: K) =>
      ((...args: Parameters<Storage[K]>) =>
        broken === name
          ? Promise.reject(new Error("flash"))
          : (memory[name] as (...a: unknown[]) => unknown)(...args)) as Storage[K];
    const storage: Storage = {
      ...memory,
      get: guard("get"),
      set: guard("set"),
      delete: guard("delete"),
      keys: guard("keys"),
    };
    const { device, host, box } = outboxDevice(undefined, {}, { storage });
    expect((await failure(device.enqueue(reading("a")))).code).toBe("STORAGE_FAILED");
    expect(box.size).toBe(0);
    broken = undefined;
    await device.enqueue(reading("b"));
    await device.enqueue(reading("c"));
    broken = "delete";
    expect(await device.flush()).toMatchObject({
      delivered: 0,
      remaining: 2,
      reason: "storage",
      error: { code: "STORAGE_FAILED" },
    });
    expect(await device.flush()).toMatchObject({ delivered: 0, remaining: 2, reason: "storage" });
    expect(host.sent.length).toBe(1);
    broken = undefined;
    expect(await device.flush()).toMatchObject({ remaining: 0, reason: "empty" });
    expect(host.sent.length).toBe(2);
    broken = "keys";
    const unread = outboxDevice(undefined, {}, { storage });
    expect((await failure(unread.device.flush())).code).toBe("STORAGE_FAILED");
    broken = undefined;
    expect((await unread.device.flush()).reason).toBe("empty");
  });
});

describe("bounds", () => {
  test("dropOldest evicts and reports the oldest by count and by bytes", async () => {
    const count = outboxDevice(undefined, { maxMessages: 3 });
    for (const name of ["a", "b", "c", "d", "e"]) await count.device.enqueue(reading(name));
    expect(count.dropped).toMatchObject([
      { sequence: 0, reason: "evicted", message: { payload: "a" } },
      { sequence: 1, reason: "evicted", message: { payload: "b" } },
    ]);
    await count.device.flush();
    expect(count.payloads()).toEqual(["c", "d", "e"]);

    const bytes = outboxDevice(undefined, { maxBytes: 2800 });
    for (const name of ["a", "b", "c"]) await bytes.device.enqueue(reading(name.repeat(600)));
    await bytes.device.enqueue(reading("d".repeat(1900)));
    expect(bytes.dropped.map(({ sequence }) => sequence)).toEqual([0, 1]);
    expect(bytes.box.bytes).toBeLessThanOrEqual(2800);
  });

  test("rejectNewest rejects new messages", async () => {
    const { device, box, payloads, dropped } = outboxDevice(undefined, { maxMessages: 2, policy: "rejectNewest" });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    expect(await failure(device.enqueue(reading("c")))).toMatchObject({ code: "OUTBOX_FULL", retryable: true });
    expect(box.size).toBe(2);
    await device.flush();
    await device.enqueue(reading("d"));
    await device.flush();
    expect(payloads()).toEqual(["a", "b", "d"]);
    expect(dropped).toEqual([]);
  });

  test.each([
    ["a board's storage", boardLimits, {}, 3999],
    ["maxBytes", {}, { maxBytes: 4000 }, 3967],
    ["a storage in memory", {}, {}, 65536],
  ])("a message that can never fit is rejected at once: %s", async (_name, limits, options, valueBytes) => {
    const storage = { ...createMemoryStorage(), ...limits };
    const { device, dropped, payloads } = outboxDevice(undefined, options, { storage }, { maxPayloadBytes: 10 ** 6 });
    // Head, topic and separators: 11mhhz2800#data#
    const text = valueBytes - 16;
    const bytes = Math.floor(text / 4) * 3;
    for (const [payload, limit, what] of [
      ["x".repeat(text + 1), text, "text"],
      [`${"大".repeat(Math.floor(text / 3))}大`, text, "text"],
      [new Uint8Array(bytes + 1), bytes, "binary data"],
      [`\0${"x".repeat(bytes)}`, bytes, "text"],
    ] as const) {
      const error = await failure(device.enqueue(reading(payload)));
      expect(error).toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
      expect(error.message).toContain(`with this topic the outbox can store ${limit} bytes of ${what}`);
    }
    const fitting = ["x".repeat(text), new Uint8Array(bytes).fill(7), `\0${"x".repeat(bytes - 1)}`];
    for (const payload of fitting) {
      await device.enqueue(reading(payload));
      expect((await device.flush()).delivered).toBe(1);
    }
    expect(payloads()).toEqual([fitting[0], Buffer.from(fitting[1]).toString("base64"), fitting[2]]);
    expect(dropped).toEqual([]);
  });

  test("the message in flight is not evicted", async () => {
    let release: (response: HttpResponse) => void = () => {};
    const { device, dropped, payloads, host } = outboxDevice(
      (_r, index) => (index === 0 ? new Promise((resolve) => (release = resolve)) : taken()),
      { maxMessages: 2 },
    );
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    const flushed = device.flush();
    while (host.sent.length === 0) await Promise.resolve();
    await device.enqueue(reading("c"));
    expect(dropped).toMatchObject([{ sequence: 1, reason: "evicted" }]);
    release(taken());
    expect((await flushed).delivered).toBe(2);
    expect(payloads()).toEqual(["a", "c"]);
  });

  test.each([{}, { batch: {} }])("waiting calls are limited by number and by bytes: %j", async (options) => {
    const never = () => new Promise<never>(() => {});
    for (const [count, payload] of [
      [256, ""],
      [16, "x".repeat(1000)],
    ] as const) {
      const storage = { ...createMemoryStorage(), keys: never };
      const { device } = outboxDevice(undefined, { maxMessages: 3, ...options }, { storage });
      const waiting = Array.from({ length: count }, () => failure(device.enqueue(reading(payload))));
      expect(await failure(device.enqueue(reading(payload)))).toMatchObject({ code: "QUEUE_FULL", retryable: true });
      device.close();
      for (const error of waiting) expect((await error).code).toBe("DEVICE_CLOSED");
    }
  });

  test("the limits of a board fit its partition of 24 KB, and leave room for other data", async () => {
    // Six pages of 126 entries of 32 bytes, one of them kept free for moving (ESP-IDF, "NVS"): above 300 entries in
    // use, reclaiming a page copies what others rewrite.
    for (const payload of ["", "x".repeat(60), "x".repeat(1000), "x".repeat(3900), new Uint8Array(2970)]) {
      const flash = new Flash();
      const { device, box } = outboxDevice(undefined, {}, { storage: flash.start().storage });
      for (let i = 0; i < 130; i++) await device.enqueue(reading(payload));
      expect(box.size).toBeGreaterThanOrEqual(1);
      expect(flash.peakBytes).toBeLessThanOrEqual(240 * 32);
      expect(flash.peakBytes).toBe(box.bytes);
    }
  });
});

describe("wear", () => {
  test("a message costs one write and one deletion", async () => {
    const flash = new Flash();
    for (let starts = 0; starts < 4; starts++) {
      const { device } = outboxDevice(undefined, {}, { storage: flash.start().storage });
      for (let i = 0; i < 100; i++) {
        await device.enqueue(reading("21.5"));
        if (starts > 0 || i % 3 === 0) await device.flush();
      }
      await device.flush();
    }
    expect(flash.writes.length).toBe(2 * 400);
    expect(flash.writes.filter((write) => write.startsWith("set ")).length).toBe(400);
  });

  test("a reading with a topic of 20 and a payload of 56 bytes takes 4 entries, with 7 bytes to spare", async () => {
    const { device, box, host } = outboxDevice();
    await device.enqueue({ topic: "t".repeat(20), payload: "x".repeat(56) });
    expect(box.bytes).toBe(4 * 32);
    const text = (await host.storage?.get("out.00000000")) as string;
    expect(text.length + 7).toBe(95);
  });
});

describe("automatic flushing", () => {
  test("runs at the interval, at the threshold, and for messages of an earlier run", async () => {
    const storage = createMemoryStorage();
    const earlier = outboxDevice(undefined, {}, { storage });
    await earlier.device.enqueue(reading("left"));
    const { host, payloads, device } = outboxDevice(
      undefined,
      { flushIntervalMs: 30000, flushThreshold: 3 },
      { storage },
    );
    while (host.timers > 0) await new Promise(setImmediate);
    expect(payloads()).toEqual(["left"]);
    expect(host.elapsedMs).toBeLessThanOrEqual(30000);
    const start = host.elapsedMs;
    await device.enqueue(reading("1"));
    while (host.timers > 0) await new Promise(setImmediate);
    expect(host.sent[1].atMs - start).toBe(30000);
    await device.enqueue(reading("2"));
    await device.enqueue(reading("3"));
    expect(host.sent.length).toBe(2);
    await device.enqueue(reading("4"));
    while (host.timers > 0) await new Promise(setImmediate);
    expect(payloads()).toEqual(["left", "1", "2", "3", "4"]);
    expect(host.sent[4].atMs - start).toBe(30000);
  });

  test("retries less and less often in an outage, and sends everything when it ends", async () => {
    let up = false;
    const { host, device, box } = outboxDevice(
      () => {
        if (up) return taken();
        throw reset();
      },
      { flushIntervalMs: 1000, flushThreshold: 1 },
    );
    for (let i = 0; i < 5; i++) await device.enqueue(reading(String(i)));
    while (host.elapsedMs < 24 * 3600000) await new Promise(setImmediate);
    // A day of outage: ten retries in all, and a first attempt about every five minutes.
    expect(host.sent.length).toBeLessThan(400);
    expect(host.sent.length).toBeGreaterThan(140);
    up = true;
    while (box.size > 0) await new Promise(setImmediate);
    while (host.timers > 0) await new Promise(setImmediate);
    expect(host.elapsedMs).toBeLessThan(24 * 3600000 + 700000);
  });

  test("retries a storage that cannot be read yet", async () => {
    const memory = createMemoryStorage();
    await outboxDevice(undefined, {}, { storage: memory }).device.enqueue(reading("a"));
    let fails = 3;
    const keys = () => (fails-- > 0 ? Promise.reject(new Error("busy")) : memory.keys());
    const { host, payloads } = outboxDevice(undefined, { flushIntervalMs: 1000 }, { storage: { ...memory, keys } });
    while (host.timers > 0) await new Promise(setImmediate);
    expect(payloads()).toEqual(["a"]);
  });
});

describe("close", () => {
  test("settles every promise, stops every timer, and keeps stored messages", async () => {
    const storage = createMemoryStorage();
    const never = () => new Promise<never>(() => {});
    const { device, host, box } = outboxDevice(never, { flushIntervalMs: 1000 }, { storage });
    await device.enqueue(reading("a"));
    const flushes: Promise<FlushResult>[] = [device.flush(), device.flush()];
    while (host.sent.length === 0) await Promise.resolve();
    device.close();
    for (const flush of flushes) expect(await flush).toMatchObject({ delivered: 0, remaining: 1, reason: "closed" });
    await settled();
    expect(host.timers).toBe(0);
    expect((await failure(device.enqueue(reading("b")))).code).toBe("DEVICE_CLOSED");
    expect((await failure(device.flush())).code).toBe("DEVICE_CLOSED");
    expect((await failure(box.open())).code).toBe("DEVICE_CLOSED");
    const next = outboxDevice(undefined, {}, { storage });
    expect((await next.device.flush()).delivered).toBe(1);
  });

  test("callbacks that throw do not affect delivery", async () => {
    const bad = () => {
      throw new Error("listener");
    };
    const { device } = outboxDevice(
      ({ body }, index) => {
        if (index === 0) return page(503);
        return Buffer.from(body).includes('"a"') ? refused("A.PayloadOverLimit") : taken();
      },
      { onDelivered: bad, onDropped: bad, onRetried: bad, onFlushed: bad },
    );
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, remaining: 0 });
  });
});
