import { describe, expect, test } from "@jest/globals";
import {
  AnswerError,
  createMemoryStorage,
  Device,
  type FlushResult,
  type HttpResponse,
  IotHubError,
  NetworkError,
  type OutboxOptions,
  type Storage,
} from "../../src/index.js";
import { failure } from "../support/failure.js";
import { outboxDevice, reading, settled } from "../support/outbox-device.js";
import { Flash } from "../support/storage.js";
import { hang, page, refused, taken, virtualHost } from "../support/virtual-host.js";

const reset = () => new NetworkError("CONNECTION_RESET", "read", "The connection was closed.");

describe("enqueue and flush", () => {
  test("what was enqueued is delivered in order, and gone", async () => {
    const { device, box, host, delivered, payloads } = outboxDevice();
    const results = [];
    for (let i = 0; i < 5; i++) results.push(await device.enqueue(reading(String(i))));
    expect(results.map(({ size }) => size)).toEqual([1, 2, 3, 4, 5]);
    expect(box.size).toBe(5);
    expect(box.bytes).toBe(5 * 32 * (3 + 1));
    expect(await device.flush()).toEqual({ delivered: 5, kept: 0, dropped: 0, ended: "empty", error: undefined });
    expect(payloads()).toEqual(["0", "1", "2", "3", "4"]);
    expect(delivered.map(({ sequence }) => sequence)).toEqual([0, 1, 2, 3, 4]);
    expect([box.size, box.bytes, box.oldestAgeMs, host.timers]).toEqual([0, 0, 0, 0]);
    expect(await host.storage?.keys()).toEqual(["out.n"]);
  });

  test("every kind of payload and topic arrives as publish would send it", async () => {
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
    expect(delivered[2].payload).toEqual(messages[2].payload);
  });

  test("what publish refuses, enqueue refuses", async () => {
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
  ])("%s is refused as an option", (_name, outbox) => {
    const host = virtualHost(() => taken());
    const options = { productId: "P", deviceName: "d", credential: { secret: "s" }, outbox };
    expect(() => new Device(options, host)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });

  test("without storage or without the option there is no outbox", async () => {
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
    const third = outboxDevice(undefined, {}, { storage });
    const { sequence } = await third.device.enqueue(reading("c"));
    expect(sequence).toBeGreaterThan(3);
  });

  test("two devices share a storage under two names", async () => {
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

describe("what is refused, what fails", () => {
  test("a message that is refused for good lets the others through, and is handed back", async () => {
    const { device, dropped, payloads } = outboxDevice(({ body }) =>
      Buffer.from(body).includes('"b"') ? refused("InvalidParameterValue.TopicName") : taken(),
    );
    for (const name of ["a", "b", "c"]) await device.enqueue(reading(name));
    expect(await device.flush()).toMatchObject({ delivered: 2, dropped: 1, kept: 0, ended: "empty" });
    // Another message is acknowledged, so the rejection is not one of everything.
    expect(payloads()).toEqual(["a", "b", "c", "b"]);
    expect(dropped).toMatchObject([{ sequence: 1, reason: "refused", message: { payload: "b", topic: "data" } }]);
    expect(dropped[0].error).toBeInstanceOf(AnswerError);
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
    expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, kept: 2, ended });
    expect(host.sent.length).toBe(1);
  });

  test("an outage: retried until the budget is spent or the time is up, then kept", async () => {
    let up = false;
    const { device, host, retried, payloads, box } = outboxDevice(() => {
      if (up) return taken();
      throw reset();
    });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    expect(await device.flush({ deadlineMs: 3000 })).toMatchObject({ delivered: 0, kept: 2, dropped: 0 });
    expect(host.elapsedMs).toBeLessThanOrEqual(3000);
    expect(await device.flush()).toMatchObject({ delivered: 0, kept: 2, ended: "network" });
    expect(retried()).toBe(10);
    expect(box.oldestAgeMs).toBeCloseTo(host.elapsedMs, 1);
    up = true;
    expect(await device.flush()).toMatchObject({ delivered: 2, kept: 0, ended: "empty" });
    expect(payloads().slice(-2)).toEqual(["a", "b"]);
  });

  test("never later than the deadline, whatever hangs", async () => {
    const http = outboxDevice((_r, _i, options) => hang(options));
    await http.device.enqueue(reading("a"));
    expect(await http.device.flush({ deadlineMs: 700 })).toMatchObject({ kept: 1, ended: "deadline" });
    expect(http.host.elapsedMs).toBe(700);
    await settled();
    expect(http.host.timers).toBe(0);

    const never = () => new Promise<never>(() => {});
    const deaf = outboxDevice(never);
    await deaf.device.enqueue(reading("a"));
    expect(await deaf.device.flush({ deadlineMs: 50 })).toMatchObject({ kept: 1, ended: "deadline" });
    expect(deaf.host.elapsedMs).toBe(50);

    const memory = createMemoryStorage();
    const disk = outboxDevice(undefined, {}, { storage: { ...memory, keys: never } });
    expect(await disk.device.flush({ deadlineMs: 50 })).toMatchObject({ ended: "deadline" });
    expect(disk.host.elapsedMs).toBe(50);
  });

  test("a flush waits for the one under way", async () => {
    const { device } = outboxDevice();
    for (let i = 0; i < 4; i++) await device.enqueue(reading(String(i)));
    const [first, second] = await Promise.all([device.flush(), device.flush()]);
    expect([first.delivered, second.delivered]).toEqual([4, 0]);
    const all = await Promise.allSettled(Array.from({ length: 20 }, () => device.flush()));
    expect(all.filter(({ status }) => status === "fulfilled").length).toBe(16);
    expect((await device.flush()).ended).toBe("empty");
  });

  test("what version 0.1 stored is read by every later version", async () => {
    const storage = createMemoryStorage();
    const stored: [string, string][] = [
      ["out.0000000a.0", "0142bfa7c400000000000a000101a194ee2f00040000000f646174617b22e6b8a9e5baa6223a32312e357d"],
      ["out.0000000b.0", "013d269f6500000000000b000201a194ee2f010300000002612f6200ff"],
      ["out.n", "0163f05003000000000063"],
    ];
    for (const [key, value] of stored) await storage.set(key, new Uint8Array(Buffer.from(value, "hex")));
    const { device, delivered } = outboxDevice(undefined, {}, { storage });
    await device.flush();
    expect(delivered).toEqual([
      { sequence: 10, timeMs: 1793500000000, topic: "data", payload: '{"温度":21.5}', qos: 1, kind: 0 },
      { sequence: 11, timeMs: 1793500000001, topic: "a/b", payload: Uint8Array.of(0, 255), qos: 0, kind: 0 },
    ]);
    expect((await device.enqueue(reading("next"))).sequence).toBe(99);
  });

  test("what is damaged is skipped and reported, the rest survives", async () => {
    const flash = new Flash();
    const first = outboxDevice(undefined, { maxBytes: 100000 }, { storage: flash.start().storage });
    for (const payload of ["a", "b".repeat(9000), "c", "d"]) await first.device.enqueue(reading(payload));
    const key = (sequence: number, part: number) => `out.0000000${sequence}.${part}`;
    (flash.values.get(key(0, 0)) as Uint8Array)[20] ^= 1;
    (flash.values.get(key(1, 2)) as Uint8Array)[3000 % 1000] ^= 128;
    flash.values.set(key(3, 0), flash.values.get(key(2, 0)) as Uint8Array);
    flash.values.set("other", Uint8Array.of(1, 2, 3));
    const { device, dropped, payloads } = outboxDevice(
      undefined,
      { maxBytes: 100000 },
      { storage: flash.start().storage },
    );
    const result = await device.flush();
    expect(payloads()).toEqual(["c"]);
    expect(dropped).toMatchObject([0, 3, 1].map((sequence) => ({ sequence, reason: "damaged" })));
    expect(result).toMatchObject({ delivered: 1, kept: 0, ended: "empty" });
    expect([...flash.values.keys()].sort()).toEqual(["other", "out.n"]);
  });

  test("what a later version stored is left to it", async () => {
    const flash = new Flash();
    const first = outboxDevice(undefined, {}, { storage: flash.start().storage });
    for (const payload of ["a", "b"]) await first.device.enqueue(reading(payload));
    const value = flash.values.get("out.00000000.0") as Uint8Array;
    value[0] = 2;
    const { crc32 } = await import("../../src/crypto/crc32.js");
    new DataView(value.buffer).setInt32(1, crc32(value, 5, crc32(value.subarray(0, 1))));
    const { device, dropped, payloads } = outboxDevice(undefined, {}, { storage: flash.start().storage });
    await device.flush();
    expect(payloads()).toEqual(["b"]);
    expect(dropped).toEqual([{ sequence: 0, reason: "unsupported" }]);
    expect(flash.values.has("out.00000000.0")).toBe(true);
  });

  test("a storage that fails: enqueue says so, flush says so, nothing is sent twice", async () => {
    const memory = createMemoryStorage();
    let broken: keyof Storage | undefined = "set";
    const guard = <K extends keyof Storage>(name: K) =>
      ((...args: Parameters<Storage[K]>) =>
        broken === name
          ? Promise.reject(new Error("flash"))
          : (memory[name] as (...a: unknown[]) => unknown)(...args)) as Storage[K];
    const storage: Storage = { get: guard("get"), set: guard("set"), delete: guard("delete"), keys: guard("keys") };
    const { device, host, box } = outboxDevice(undefined, {}, { storage });
    expect((await failure(device.enqueue(reading("a")))).code).toBe("STORAGE_FAILED");
    expect(box.size).toBe(0);
    broken = undefined;
    await device.enqueue(reading("b"));
    await device.enqueue(reading("c"));
    broken = "delete";
    expect(await device.flush()).toMatchObject({
      delivered: 0,
      kept: 2,
      ended: "storage",
      error: { code: "STORAGE_FAILED" },
    });
    expect(await device.flush()).toMatchObject({ delivered: 0, kept: 2, ended: "storage" });
    expect(host.sent.length).toBe(1);
    broken = undefined;
    expect(await device.flush()).toMatchObject({ kept: 0, ended: "empty" });
    expect(host.sent.length).toBe(2);
    broken = "keys";
    const unread = outboxDevice(undefined, {}, { storage });
    expect((await failure(unread.device.flush())).code).toBe("STORAGE_FAILED");
    broken = undefined;
    expect((await unread.device.flush()).ended).toBe("empty");
  });
});

describe("bounds", () => {
  test("dropOldest: by count and by bytes, the oldest goes and is handed back", async () => {
    const count = outboxDevice(undefined, { maxMessages: 3 });
    for (const name of ["a", "b", "c", "d", "e"]) await count.device.enqueue(reading(name));
    expect(count.dropped).toMatchObject([
      { sequence: 0, reason: "full", message: { payload: "a" } },
      { sequence: 1, reason: "full", message: { payload: "b" } },
    ]);
    await count.device.flush();
    expect(count.payloads()).toEqual(["c", "d", "e"]);

    const bytes = outboxDevice(undefined, { maxBytes: 3000 });
    for (const name of ["a", "b", "c"]) await bytes.device.enqueue(reading(name.repeat(600)));
    await bytes.device.enqueue(reading("d".repeat(1900)));
    expect(bytes.dropped.map(({ sequence }) => sequence)).toEqual([0, 1]);
    expect(bytes.box.bytes).toBeLessThanOrEqual(3000);
  });

  test("rejectNewest: what is new is refused, what waits stays", async () => {
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

  test("what can never fit is refused at once", async () => {
    const { device, dropped } = outboxDevice(undefined, { maxBytes: 4000 });
    await device.enqueue(reading("a"));
    expect((await failure(device.enqueue(reading("x".repeat(4000))))).code).toBe("PAYLOAD_TOO_LARGE");
    expect(dropped).toEqual([]);
    const large = outboxDevice(undefined, { maxBytes: 10 ** 7 }, {}, { maxPayloadBytes: 10 ** 6 });
    expect((await failure(large.device.enqueue(reading("x".repeat(144000))))).code).toBe("PAYLOAD_TOO_LARGE");
    await large.device.enqueue(reading("x".repeat(143000)));
    expect((await large.device.flush()).delivered).toBe(1);
  });

  test("the message that is being sent is not the one that is dropped", async () => {
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
    expect(dropped).toMatchObject([{ sequence: 1, reason: "full" }]);
    release(taken());
    expect((await flushed).delivered).toBe(2);
    expect(payloads()).toEqual(["a", "c"]);
  });

  test("calls that wait are bounded, too", async () => {
    const never = () => new Promise<never>(() => {});
    const { device } = outboxDevice(
      undefined,
      { maxMessages: 3 },
      { storage: { ...createMemoryStorage(), set: never } },
    );
    const waiting = [1, 2, 3].map(() => failure(device.enqueue(reading(""))));
    expect((await failure(device.enqueue(reading("")))).code).toBe("OUTBOX_FULL");
    device.close();
    for (const error of waiting) expect((await error).code).toBe("DEVICE_CLOSED");
  });

  test("the default bounds fit the non-volatile storage of a 24 KB partition", async () => {
    // Six pages of 126 entries of 32 bytes, one of them kept free for moving (ESP-IDF, "NVS"); Wi-Fi, its calibration
    // and a credential take about 2700 bytes.
    const room = 5 * 126 * 32 - 2700;
    for (const payload of [
      "",
      "x".repeat(60),
      "x".repeat(1000),
      "x".repeat(3960),
      "x".repeat(4000),
      "x".repeat(16384),
    ]) {
      const flash = new Flash();
      const { device, box } = outboxDevice(undefined, {}, { storage: flash.start().storage });
      for (let i = 0; i < 110; i++) await device.enqueue(reading(payload));
      expect(box.size).toBeGreaterThanOrEqual(1);
      expect(flash.peakBytes).toBeLessThanOrEqual(room);
    }
    const flash = new Flash();
    const { device } = outboxDevice(undefined, {}, { storage: flash.start().storage });
    await device.enqueue({ topic: `${"t".repeat(200)}/x`, payload: new Uint8Array(16384) });
    expect(flash.peakBytes).toBeLessThanOrEqual(room);
  });
});

describe("wear", () => {
  test("two writes for each part in a message's life, one for the index in 64 messages and each start", async () => {
    const flash = new Flash();
    let starts = 0;
    let parts = 0;
    for (; starts < 4; starts++) {
      const { device } = outboxDevice(undefined, { maxBytes: 10 ** 6 }, { storage: flash.start().storage });
      for (let i = 0; i < 100; i++) {
        const large = i % 10 === 0;
        await device.enqueue(reading(large ? "x".repeat(16384) : "21.5"));
        parts += large ? 5 : 1;
        // The worst case for the index: the outbox is empty after each message.
        if (starts > 0 || i % 3 === 0) await device.flush();
      }
      await device.flush();
    }
    const index = flash.writes.filter((write) => write.endsWith(".n"));
    const keys = flash.writes.filter((write) => !write.endsWith(".n"));
    expect(keys.length).toBe(2 * parts);
    expect(new Set(keys).size).toBe(2 * parts);
    expect(index.length).toBeLessThanOrEqual(Math.ceil(400 / 64) + starts);
    expect(index.every((write) => write === "set out.n")).toBe(true);
  });
});

describe("automatic flushing", () => {
  test("at the interval, at the threshold, and for what an earlier start left", async () => {
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

  test("an outage is asked ever less often, and what waits is sent when it ends", async () => {
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

  test("a storage that cannot be read yet is asked again", async () => {
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
  test("settles every promise, stops every timer, keeps what is stored", async () => {
    const storage = createMemoryStorage();
    const never = () => new Promise<never>(() => {});
    const { device, host, box } = outboxDevice(never, { flushIntervalMs: 1000 }, { storage });
    await device.enqueue(reading("a"));
    const flushes: Promise<FlushResult>[] = [device.flush(), device.flush()];
    while (host.sent.length === 0) await Promise.resolve();
    device.close();
    for (const flush of flushes) expect(await flush).toMatchObject({ delivered: 0, kept: 1, ended: "closed" });
    await settled();
    expect(host.timers).toBe(0);
    expect((await failure(device.enqueue(reading("b")))).code).toBe("DEVICE_CLOSED");
    expect((await failure(device.flush())).code).toBe("DEVICE_CLOSED");
    expect((await failure(box.open())).code).toBe("DEVICE_CLOSED");
    const next = outboxDevice(undefined, {}, { storage });
    expect((await next.device.flush()).delivered).toBe(1);
  });

  test("callbacks that throw do no harm", async () => {
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
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, kept: 0 });
  });
});
