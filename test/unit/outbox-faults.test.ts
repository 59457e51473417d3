/** What an outbox does when its storage lies, is full, stops, or does not end. */

import { describe, expect, test } from "@jest/globals";
import { type HttpResponse, storageLimits } from "../../src/host.js";
import {
  createMemoryStorage,
  Device,
  type DeviceEvent,
  IotHubError,
  NetworkError,
  type Storage,
} from "../../src/index.js";
import { failure } from "../support/failure.js";
import { outboxDevice, reading, settled } from "../support/outbox-device.js";
import { hang, taken, virtualHost } from "../support/virtual-host.js";

const key = (sequence: number) => `out.0000000${sequence}`;
const storageFull = () => new IotHubError("STORAGE_FULL", "no room");

/** A storage in memory, operations of which a test replaces. */
function faulty() {
  const memory = createMemoryStorage();
  const writes: string[] = [];
  const storage: Storage = {
    ...memory,
    set: (name, text) => {
      writes.push(`set ${name}`);
      return memory.set(name, text);
    },
    delete: (name) => {
      writes.push(`delete ${name}`);
      return memory.delete(name);
    },
  };
  return { memory, storage, writes };
}

async function fill(storage: Storage, ...payloads: string[]): Promise<void> {
  const { device } = outboxDevice(undefined, {}, { storage });
  for (const payload of payloads) await device.enqueue(reading(payload));
  device.close();
}

describe("a key that reads as absent", () => {
  const blind = async (isBlind: (name: string) => boolean, options = {}) => {
    const { memory, storage, writes } = faulty();
    await fill(memory, "a", "b", "c");
    storage.get = (name) => (isBlind(name) ? Promise.resolve(undefined) : memory.get(name));
    return { memory, writes, ...outboxDevice(undefined, options, { storage }) };
  };

  test("is skipped and not deleted, and later ones are sent", async () => {
    let isBlind = true;
    const { device, payloads, dropped, memory, writes } = await blind((name) => isBlind && name === key(0));
    expect(await device.flush()).toMatchObject({
      delivered: 2,
      remaining: 1,
      dropped: 0,
      reason: "storage",
      error: { code: "STORAGE_FAILED" },
    });
    expect([payloads(), dropped]).toEqual([["b", "c"], []]);
    expect(writes).toEqual([`delete ${key(1)}`, `delete ${key(2)}`]);
    isBlind = false;
    expect(await device.flush()).toMatchObject({ delivered: 1, remaining: 0, reason: "empty" });
    expect(await memory.keys()).toEqual([]);
  });

  test("is lost if it is absent at the next flush, and others were readable", async () => {
    const { device, dropped, memory, box } = await blind((name) => name === key(0));
    expect(await device.flush()).toMatchObject({ delivered: 2, dropped: 0, remaining: 1, reason: "storage" });
    expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 1, remaining: 0, reason: "empty" });
    expect(dropped).toEqual([{ sequence: 0, reason: "lost" }]);
    expect([box.size, box.bytes, box.oldestAgeMs]).toEqual([0, 0, 0]);
    // It may be there after all: nothing was deleted.
    expect(await memory.keys()).toEqual([key(0)]);
  });

  test("is not lost while nothing is readable", async () => {
    let isBlind = true;
    const { device, dropped } = await blind(() => isBlind);
    for (let i = 0; i < 3; i++) {
      expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 3, reason: "storage" });
    }
    isBlind = false;
    expect(await device.flush()).toMatchObject({ delivered: 3, remaining: 0, reason: "empty" });
    expect(dropped).toEqual([]);
  });
});

test("an unlisted message is not overwritten, and is delivered", async () => {
  const { memory, storage } = faulty();
  await fill(memory, "a", "b", "c");
  storage.keys = () => Promise.resolve([]);
  const { device, payloads, box } = outboxDevice(undefined, {}, { storage });
  expect((await device.enqueue(reading("d"))).sequence).toBe(3);
  expect(box.size).toBe(4);
  await device.flush();
  expect(payloads()).toEqual(["a", "b", "c", "d"]);
});

test("a message that is read incorrectly once is not deleted", async () => {
  const { memory, storage } = faulty();
  await fill(memory, "a", "b");
  const garbled = new Set<string>();
  storage.get = async (name) => {
    if (garbled.has(name)) return memory.get(name);
    garbled.add(name);
    return "garbled";
  };
  const { device, payloads, dropped, box } = outboxDevice(undefined, {}, { storage });
  await box.open();
  garbled.clear();
  expect(await device.flush()).toMatchObject({ delivered: 2, dropped: 0 });
  expect([payloads(), dropped]).toEqual([["a", "b"], []]);
});

describe("a storage without room", () => {
  /** @param room messages that fit */
  const limited = (room: () => number, options = {}) => {
    const { memory, storage, writes } = faulty();
    let refusals = 0;
    const { set } = storage;
    storage.set = async (name, text) => {
      if ((await memory.keys()).length < room()) return set(name, text);
      refusals++;
      throw storageFull();
    };
    return { memory, writes, refusals: () => refusals, ...outboxDevice(undefined, options, { storage }) };
  };

  test("makes dropOldest drop the oldest with a report, before maxBytes is reached", async () => {
    const { device, dropped, payloads, refusals } = limited(() => 3);
    for (const payload of ["a", "b", "c", "d", "e"]) await device.enqueue(reading(payload));
    expect(dropped).toMatchObject([
      { sequence: 0, reason: "evicted", message: { payload: "a" } },
      { sequence: 1, reason: "evicted", message: { payload: "b" } },
    ]);
    expect(refusals()).toBe(2);
    await device.flush();
    expect(payloads()).toEqual(["c", "d", "e"]);
  });

  test("is tried at most four times for one message, after more deletions each time", async () => {
    const { device, dropped, refusals, box } = limited(() => (refusals() > 0 ? 0 : 12));
    for (let i = 0; i < 12; i++) await device.enqueue(reading(String(i)));
    expect((await failure(device.enqueue(reading("x")))).code).toBe("STORAGE_FULL");
    expect([refusals(), dropped.length, box.size]).toEqual([4, 6, 6]);
  });

  test("rejects new messages under rejectNewest", async () => {
    const { device, dropped, box } = limited(() => 2, { policy: "rejectNewest" });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    expect(await failure(device.enqueue(reading("c")))).toMatchObject({ code: "STORAGE_FULL", retryable: true });
    expect([dropped.length, box.size]).toEqual([0, 2]);
  });

  test("is not written to before a deletion, or for an hour", async () => {
    let room = 0;
    const { device, refusals, host } = limited(() => room);
    const enqueue = () => device.enqueue(reading("a"));
    for (let i = 0; i < 3; i++) expect((await failure(enqueue())).code).toBe("STORAGE_FULL");
    expect(refusals()).toBe(1);
    // What is larger will not fit, either.
    expect((await failure(device.enqueue(reading("a".repeat(500))))).code).toBe("STORAGE_FULL");
    expect(refusals()).toBe(1);
    host.advance(3600000);
    await failure(enqueue());
    expect(refusals()).toBe(2);
    room = 1;
    host.advance(3600000);
    await enqueue();
    room = 0;
    // One is deleted for each, and the last finds nothing that could be.
    expect((await failure(enqueue())).code).toBe("STORAGE_FULL");
    expect(refusals()).toBe(4);
    room = 1;
    expect((await failure(enqueue())).code).toBe("STORAGE_FULL");
    expect(refusals()).toBe(4);
  });

  test("is emptied although nothing can be written, also across a restart", async () => {
    const { memory, storage, writes } = faulty();
    await fill(memory, "a");
    storage.set = () => Promise.reject(storageFull());
    let sent = 0;
    for (let start = 0; start < 3; start++) {
      const { device, payloads } = outboxDevice(undefined, {}, { storage });
      await device.flush();
      sent += payloads().length;
      device.close();
    }
    expect([sent, writes]).toEqual([1, [`delete ${key(0)}`]]);
  });
});

describe("a storage that has stopped writing", () => {
  const setup = (reply: Parameters<typeof outboxDevice>[0] = () => taken()) => {
    const { memory, storage } = faulty();
    let sets = 0;
    let isStopped = false;
    storage.set = (name, text) => {
      sets++;
      if (!isStopped) return memory.set(name, text);
      return Promise.reject(new IotHubError("STORAGE_STOPPED", "Restart the board; what is stored is safe."));
    };
    const events: DeviceEvent[] = [];
    const onEvent = (event: DeviceEvent) => {
      if (event.type === "storage") events.push(event);
    };
    const made = outboxDevice(reply, {}, { storage }, { onEvent, retry: false });
    return { memory, events, sets: () => sets, stop: () => (isStopped = true), ...made };
  };

  test("enqueue sends at once and resolves when the gateway has acknowledged; there is one event", async () => {
    const { device, events, sets, stop, payloads, delivered } = setup();
    await device.enqueue(reading("stored"));
    stop();
    const results = await Promise.all([device.enqueue(reading("b")), device.enqueue(reading("c"))]);
    expect(results.map(({ sequence }) => sequence)).toEqual([2, 3]);
    expect(payloads()).toEqual(["b", "c"]);
    expect(delivered.map(({ payload }) => payload)).toEqual(["b", "c"]);
    expect(sets()).toBe(2);
    expect(events).toEqual([
      { type: "storage", code: "STORAGE_STOPPED", message: "Restart the board; what is stored is safe." },
    ]);
  });

  test("stored messages are still delivered and deleted", async () => {
    const { device, memory, stop, payloads } = setup();
    await device.enqueue(reading("stored"));
    stop();
    await device.enqueue(reading("b"));
    expect(await device.flush()).toMatchObject({ delivered: 1, remaining: 0, reason: "empty" });
    expect(payloads()).toEqual(["b", "stored"]);
    expect(await memory.keys()).toEqual([]);
  });

  test("enqueue rejects with STORAGE_STOPPED and the reason if the gateway is unreachable", async () => {
    const { device, stop } = setup(() => {
      throw new NetworkError("CONNECTION_REFUSED", "connect", "down");
    });
    stop();
    const error = await failure(device.enqueue(reading("a")));
    expect(error).toMatchObject({ code: "STORAGE_STOPPED", retryable: true, cause: { code: "CONNECTION_REFUSED" } });
    expect(error.message).toBe("Restart the board; what is stored is safe.");
  });
});

describe("a storage that does not respond", () => {
  /** Holds the operations that a test chooses. */
  const holding = () => {
    const { memory, storage, writes } = faulty();
    const held: (() => void)[] = [];
    const control = { hold: (_operation: string, _name: string) => false };
    let begun = 0;
    const wrap =
      (operation: "get" | "set" | "delete" | "keys") =>
      async (...args: string[]): Promise<never> => {
        begun++;
        if (control.hold(operation, args[0])) await new Promise<void>((resolve) => held.push(resolve));
        if (operation === "set" || operation === "delete") writes.push(`${operation} ${args[0]}`);
        return (memory[operation] as (...all: string[]) => Promise<never>)(...args);
      };
    Object.assign(storage, { get: wrap("get"), set: wrap("set"), delete: wrap("delete"), keys: wrap("keys") });
    const release = async () => {
      control.hold = () => false;
      for (const go of held.splice(0)) go();
      await settled();
    };
    return { memory, storage, writes, control, release, begun: () => begun };
  };

  test.each(["keys", "get", "set"])(
    "in %s fails after storageTimeoutMs, then at once until the operation has ended",
    async (what) => {
      const { storage, control, release, begun } = holding();
      control.hold = (operation) => operation === what;
      const { device, host } = outboxDevice(undefined, {}, { storage }, { storageTimeoutMs: 3000 });
      expect(await failure(device.enqueue(reading("a")))).toMatchObject({ code: "STORAGE_FAILED", retryable: true });
      expect(host.elapsedMs).toBe(3000);
      const before = begun();
      expect((await failure(device.enqueue(reading("b")))).code).toBe("STORAGE_FAILED");
      expect(await device.flush().catch((error) => error)).toMatchObject(
        what === "keys" ? { code: "STORAGE_FAILED" } : { delivered: 0 },
      );
      if (what !== "keys") await device.flushLog();
      expect([host.elapsedMs, begun()]).toEqual([3000, before]);
      await release();
      await device.enqueue(reading("c"));
      expect((await device.flush()).delivered).toBe(1);
    },
  );

  test("fails after ten seconds by default", async () => {
    const { storage, control } = holding();
    control.hold = () => true;
    const { box, host } = outboxDevice(undefined, {}, { storage });
    expect((await failure(box.open())).code).toBe("STORAGE_FAILED");
    expect(host.elapsedMs).toBe(10000);
  });

  test("a message that is written late is deleted before anything else is written", async () => {
    const { storage, control, release, writes, memory } = holding();
    const { device } = outboxDevice(undefined, {}, { storage });
    control.hold = (operation) => operation === "set";
    expect((await failure(device.enqueue(reading("late")))).code).toBe("STORAGE_FAILED");
    await release();
    // As soon as it was written.
    expect(writes).toEqual([`set ${key(0)}`, `delete ${key(0)}`]);
    await device.enqueue(reading("b"));
    expect(await memory.keys()).toEqual([key(1)]);
  });

  test("a message that is deleted late is reported as evicted", async () => {
    const { storage, control, release } = holding();
    const { device, dropped, payloads } = outboxDevice(undefined, { maxMessages: 2 }, { storage });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    control.hold = (operation) => operation === "delete";
    expect((await failure(device.enqueue(reading("c")))).code).toBe("STORAGE_FAILED");
    expect(dropped).toEqual([]);
    await release();
    expect(dropped).toMatchObject([{ sequence: 0, reason: "evicted", message: { payload: "a" } }]);
    await device.enqueue(reading("d"));
    await device.flush();
    expect(payloads()).toEqual(["b", "d"]);
  });
});

describe("a deletion that fails after it took effect", () => {
  test("is reported as an eviction", async () => {
    const { memory, storage } = faulty();
    const { device, dropped, payloads } = outboxDevice(undefined, { maxMessages: 2 }, { storage });
    await device.enqueue(reading("a"));
    await device.enqueue(reading("b"));
    let fails = 1;
    storage.delete = async (name) => {
      await memory.delete(name);
      if (fails-- > 0) throw new Error("after");
    };
    await Promise.all(["c", "d"].map((payload) => device.enqueue(reading(payload))));
    expect(dropped.map(({ reason, message }) => [reason, message?.payload])).toEqual([
      ["evicted", "a"],
      ["evicted", "b"],
    ]);
    await device.flush();
    expect(payloads()).toEqual(["c", "d"]);
  });

  test("and cannot be verified at once is reported later", async () => {
    const { memory, storage } = faulty();
    const { device, dropped } = outboxDevice(undefined, { maxMessages: 1 }, { storage });
    await device.enqueue(reading("a"));
    let isDead = false;
    storage.delete = async (name) => {
      await memory.delete(name);
      isDead = true;
      throw new Error("after");
    };
    storage.get = (name) => (isDead ? Promise.reject(new Error("dead")) : memory.get(name));
    expect((await failure(device.enqueue(reading("b")))).code).toBe("STORAGE_FAILED");
    expect(dropped).toEqual([]);
    Object.assign(storage, memory);
    expect(await device.flush()).toMatchObject({ delivered: 0, remaining: 0, dropped: 0, reason: "empty" });
    expect(dropped).toMatchObject([{ reason: "evicted", message: { payload: "a" } }]);
  });

  test("keeps the message if it had no effect", async () => {
    const { memory, storage } = faulty();
    const { device, dropped, payloads } = outboxDevice(undefined, { maxMessages: 1 }, { storage });
    await device.enqueue(reading("a"));
    storage.delete = () => Promise.reject(new Error("before"));
    expect((await failure(device.enqueue(reading("b")))).code).toBe("STORAGE_FAILED");
    storage.delete = memory.delete;
    await device.flush();
    expect([payloads(), dropped]).toEqual([["a"], []]);
  });
});

describe("messages waiting to be stored", () => {
  test("are all accepted under dropOldest, although there is room for fewer", async () => {
    const { device, dropped, box } = outboxDevice(undefined, { maxMessages: 100 });
    const results = await Promise.all(Array.from({ length: 150 }, (_, i) => device.enqueue(reading(String(i)))));
    expect(results.length).toBe(150);
    expect(dropped.map(({ message }) => Number(message?.payload))).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(box.size).toBe(100);
  });

  test("wait for the message in flight if nothing else could make room", async () => {
    let respond: (response: HttpResponse) => void = () => {};
    const { device, host, dropped, payloads } = outboxDevice(
      (_request, index) => (index === 0 ? new Promise((resolve) => (respond = resolve)) : taken()),
      { maxMessages: 1 },
    );
    await device.enqueue(reading("a"));
    const flushed = device.flush();
    while (host.sent.length === 0) await Promise.resolve();
    const done: string[] = [];
    const waiting = ["b", "c"].map((payload) => device.enqueue(reading(payload)).then(() => done.push(payload)));
    await settled();
    expect(done).toEqual([]);
    respond(taken());
    await Promise.all([flushed, ...waiting]);
    expect(done).toEqual(["b", "c"]);
    await device.flush();
    expect(payloads().at(-1)).toBe("c");
    expect(dropped.filter(({ message }) => message?.payload === "a")).toEqual([]);
  });

  test("evict the message in flight after its attempt has failed", async () => {
    const { device, host, dropped } = outboxDevice((_r, _i, context) => hang(context), { maxMessages: 1 });
    await device.enqueue(reading("a"));
    const flushed = device.flush({ deadlineMs: 5000 });
    while (host.sent.length === 0) await Promise.resolve();
    await device.enqueue(reading("b"));
    expect(await flushed).toMatchObject({ reason: "deadline" });
    expect(dropped).toMatchObject([{ reason: "evicted", message: { payload: "a" } }]);
  });
});

describe("log lines in the outbox", () => {
  const setup = (outbox: object) => {
    const host = virtualHost(() => {
      throw new NetworkError("CONNECTION_REFUSED", "connect", "down");
    });
    const dropped: unknown[] = [];
    const device = new Device(
      {
        productId: "P",
        deviceName: "d",
        credential: { secret: "s" },
        retry: false,
        outbox: { flushIntervalMs: 0, onDropped: ({ message }) => dropped.push(message?.payload), ...outbox },
      },
      host,
    );
    return { device, dropped, host, box: device.outbox };
  };

  test("are evicted before readings", async () => {
    const { device, dropped, box } = setup({ maxMessages: 4 });
    await device.enqueue(reading("a"));
    device.log("info", "line");
    await device.flushLog();
    expect(box?.size).toBe(2);
    for (const payload of ["b", "c", "d", "e"]) await device.enqueue(reading(payload));
    expect(dropped).toEqual(["a"]);
    device.close();
  });

  test("never evict a reading that was added while they waited", async () => {
    const { device, dropped, box } = setup({ maxMessages: 4 });
    await device.enqueue(reading("a"));
    device.log("info", "line");
    const flushed = failure(device.flushLog());
    for (const payload of ["b", "c", "d"]) await device.enqueue(reading(payload));
    await flushed;
    expect([box?.size, dropped]).toEqual([4, []]);
    device.close();
  });

  test("are dropped for a reading if too many messages wait", async () => {
    const never = () => new Promise<never>(() => {});
    const { device, host } = outboxDevice(undefined, {}, { storage: { ...createMemoryStorage(), keys: never } });
    const box = device.outbox as NonNullable<Device["outbox"]>;
    const waiting = Array.from({ length: 255 }, () => failure(device.enqueue(reading(""))));
    const log = failure(box.enqueue({ topic: "/device/reportlog", payload: "[]", qos: 0, endpoint: 1 }));
    const last = failure(device.enqueue(reading("")));
    expect((await log).code).toBe("OUTBOX_FULL");
    expect((await failure(device.enqueue(reading("")))).code).toBe("QUEUE_FULL");
    expect(host.elapsedMs).toBe(0);
    device.close();
    for (const one of [...waiting, last]) expect((await one).code).toBe("DEVICE_CLOSED");
  });

  test("fit one value of a board's storage", async () => {
    const storage = { ...createMemoryStorage(), maxValueBytes: storageLimits.valueBytes };
    const { device, box, host } = outboxDevice(
      () => {
        throw new NetworkError("CONNECTION_REFUSED", "connect", "down");
      },
      {},
      { storage },
      { retry: false, log: { maxLines: 100 } },
    );
    for (let i = 0; i < 60; i++) device.log("info", "x".repeat(480));
    await device.flushLog();
    expect(box.size).toBe(1);
    expect(host.sent.length).toBe(1);
  });
});

test.each([Number.NaN, 1e18, -1e18])("log lines are accepted while the clock shows %d", async (nowMs) => {
  const { device, host } = outboxDevice();
  host.setNow(nowMs);
  device.log("info", "line");
  host.setNow(Date.UTC(2026, 10, 3));
  await device.flushLog();
  expect(JSON.parse(Buffer.from(host.sent[0].request.body).toString()).Message).toEqual(["INF|-|line"]);
});
