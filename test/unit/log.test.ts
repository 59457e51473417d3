import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Clock, HttpResponse } from "../../src/host.js";
import {
  createMemoryStorage,
  Device,
  type DeviceOptions,
  type Host,
  IotHubError,
  type LogLevel,
  NetworkError,
  type OutboxOptions,
  type PublishResult,
  type Storage,
  type StoredMessage,
} from "../../src/index.js";
import { fakeHost, type Respond, response, success } from "../support/fake-host.js";

const taken: Respond = () => response(success);
const down: Respond = () => {
  throw new NetworkError("CONNECTION_REFUSED", "connect", "Nothing listens.");
};
const rejection = (code: string) => `{"Response":{"Error":{"Code":"${code}","Message":"no"},"RequestId":"r"}}`;
const refused: Respond = () => response(rejection("InvalidParameterValue.InvalidJSON"));

function setUp(respond: Respond = taken, changes: Partial<DeviceOptions> = {}, parts: Partial<Host> = {}) {
  let reply = respond;
  const host = fakeHost((...args) => reply(...args), parts);
  const options = { productId: "P1", deviceName: "dev1", credential: { secret: "x" }, url: "http://gateway.test" };
  // One attempt an upload, so that each of them is seen.
  const device = new Device({ ...options, retry: false, ...changes } as DeviceOptions, host);
  return {
    host,
    device,
    /** The uploads, as lines without their times. */
    get uploads(): string[][] {
      return host.sent.map(({ request }) => {
        expect(request.path).toBe("/device/reportlog");
        const { ProductId, DeviceName, Message, ...rest } = JSON.parse(Buffer.from(request.body).toString());
        expect({ ProductId, DeviceName, rest }).toEqual({ ProductId: "P1", DeviceName: "dev1", rest: {} });
        return Message.map((line: string) => line.replace(/\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|/, "|"));
      });
    },
    respond(next: Respond) {
      reply = next;
    },
    /** Lets time pass, and what it brought about come to its end. */
    async wait(ms: number) {
      host.advance(ms);
      for (let i = 0; i < 100; i++) await null;
    },
  };
}

test("log lines of one interval are uploaded together, with levels and times", async () => {
  const t = setUp(taken, { log: { level: "debug" } });
  t.device.log("debug", "a");
  t.device.log("info", "b", 5, true, null, undefined);
  await t.wait(9999);
  expect(t.host.sent).toHaveLength(0);
  t.device.log("warn", "c", { d: [1] });
  t.device.log("error", new IotHubError("INVALID_URL", "The url is bad."), new TypeError("odd"));
  await t.wait(1);
  expect(t.uploads).toEqual([
    ["DBG|a", "INF|b 5 true null undefined", 'WRN|c {"d":[1]}', "ERR|INVALID_URL: The url is bad. TypeError: odd"],
  ]);
  const [{ request }] = t.host.sent;
  expect(JSON.parse(Buffer.from(request.body).toString()).Message[0]).toBe("DBG|2024-12-27T08:05:44.000Z|a");
  expect(t.host.timers).toBe(0);
});

test("log lines below the minimum level are dropped; the default is info", async () => {
  const all: LogLevel[] = ["debug", "info", "warn", "error"];
  for (const [level, expected] of [
    [undefined, ["INF|info", "WRN|warn", "ERR|error"]],
    ["error", ["ERR|error"]],
  ] as const) {
    const t = setUp(taken, { log: { level } });
    for (const each of all) t.device.log(each, each);
    await t.device.flushLog();
    expect(t.uploads).toEqual([expected]);
  }
});

test("any value is logged as one line of limited length", async () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const evil = {
    toJSON() {
      throw new Error("no");
    },
  };
  const t = setUp(taken, { log: { maxLineBytes: 64 } });
  t.device.log("info", 'two\r\nlines\u2028\u0000and "quotes"\\');
  t.device.log("info", circular, evil, Symbol("s"), 1n, new Uint8Array(1e6), () => {});
  t.device.log("info", "温".repeat(100));
  t.device.log("info", "😀".repeat(100));
  t.device.log("info", "x".repeat(1e6));
  t.device.log("info");
  await t.device.flushLog();
  const [lines] = t.uploads;
  expect(lines[0]).toBe('INF|two lines and "quotes"\\');
  expect(lines[1]).toMatch(/^INF\|\(no text\) \(no text\) Symbol\(s\) 1 …$/);
  expect(lines[2]).toBe(`INF|${"温".repeat(10)}…`);
  expect(lines[3]).toBe(`INF|${"😀".repeat(8)}…`);
  expect(lines[5]).toBe("INF|");
  const [{ request }] = t.host.sent;
  for (const line of JSON.parse(Buffer.from(request.body).toString()).Message) {
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(64);
    expect(line).not.toMatch(/[\u0000-\u001f\u2028\ufffd]/);
  }
});

test("any text is logged unchanged or truncated to the byte limit", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: "grapheme", maxLength: 300 }),
      fc.integer({ min: 64, max: 400 }),
      async (text, max) => {
        const t = setUp(taken, { log: { maxLineBytes: max } });
        t.device.log("info", text);
        await t.device.flushLog();
        const [[line]] = t.uploads;
        const flat = `INF|${text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ")}`;
        expect(flat.startsWith(line.replace(/…$/, ""))).toBe(true);
        // Without its time of 25 bytes.
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(max - 25);
        if (Buffer.byteLength(flat) <= max - 25) expect(line).toBe(flat);
      },
    ),
    { numRuns: 200 },
  );
});

describe("limits", () => {
  test("a flood is uploaded once per interval with at most maxLines; dropped lines are counted", async () => {
    const t = setUp();
    for (let second = 0; second < 100; second++) {
      for (let i = 0; i < 1000; i++) t.device.log("info", `line ${second * 1000 + i}`);
      await t.wait(1000);
    }
    expect(t.uploads).toHaveLength(10);
    for (const [i, lines] of t.uploads.entries()) {
      expect(lines).toHaveLength(51);
      expect(lines[0]).toBe(`INF|line ${i * 10000}`);
      expect(lines[50]).toBe("WRN|9950 log lines were dropped");
    }
  });

  test("an upload has at most 16 384 bytes of lines", async () => {
    const t = setUp(taken, { log: { maxLines: 100, maxLineBytes: 4096 } });
    for (let i = 0; i < 50; i++) t.device.log("info", '"\\'.repeat(1000));
    await t.device.flushLog();
    const [{ request }] = t.host.sent;
    expect(request.body.length).toBeLessThan(16384 + 100);
    expect(request.body.length).toBeGreaterThan(16384 - 4096 - 100);
    expect(t.uploads[0].at(-1)).toMatch(/^WRN\|\d+ log lines were dropped$/);
  });

  test.each<[object, string]>([
    [{ level: "verbose" }, "INVALID_LOG_LEVEL"],
    [{ intervalMs: 99 }, "INVALID_OPTION"],
    [{ intervalMs: 3600001 }, "INVALID_OPTION"],
    [{ maxLines: 0 }, "INVALID_OPTION"],
    [{ maxLines: 101 }, "INVALID_OPTION"],
    [{ maxLineBytes: 63 }, "INVALID_OPTION"],
    [{ maxLineBytes: 1.5e3 + 0.5 }, "INVALID_OPTION"],
  ])("the option %p is rejected with %s", (log, code) => {
    expect(() => setUp(taken, { log } as Partial<DeviceOptions>)).toThrow(expect.objectContaining({ code }));
  });

  test("an unknown level is rejected", () => {
    const { device } = setUp();
    for (const level of ["INFO", "toString", "", undefined]) {
      expect(() => device.log(level as LogLevel, "x")).toThrow(expect.objectContaining({ code: "INVALID_LOG_LEVEL" }));
    }
  });
});

describe("when the upload fails", () => {
  test("lines are kept in order, and retried after a backoff of up to 32 intervals", async () => {
    const t = setUp(down);
    t.device.log("info", "first");
    const times: number[] = [];
    for (let second = 1; second <= 1000; second++) {
      const before = t.host.sent.length;
      await t.wait(1000);
      if (t.host.sent.length > before) times.push(second);
      if (second === 15) t.device.log("info", "second");
    }
    expect(times[0]).toBe(10);
    const delays = times.slice(1).map((at, i) => at - times[i]);
    // A timer is looked at each second.
    for (const [i, delay] of delays.entries()) {
      expect(delay).toBeGreaterThanOrEqual(10);
      expect(delay).toBeLessThanOrEqual(11 + Math.min(320, 10 * 2 ** (i + 1)));
    }
    expect(new Set(delays).size).toBeGreaterThan(2);
    t.respond(taken);
    await t.wait(330000);
    expect(t.uploads.at(-1)).toEqual(["INF|first", "INF|second"]);
    t.device.log("info", "third");
    await t.wait(10000);
    expect(t.uploads.at(-1)).toEqual(["INF|third"]);
    expect(t.host.timers).toBe(0);
  });

  /** Rejects uploads that have the line. */
  const rejecting =
    (line: string, reject: Respond = refused): Respond =>
    (...args) =>
      (Buffer.from(args[0].body).toString().includes(`|${line}"`) ? reject : taken)(...args);

  test("lines are dropped and counted when rejected again after later ones were accepted", async () => {
    const t = setUp(rejecting("a"));
    t.device.log("info", "a");
    t.device.log("info", "b");
    await t.wait(10000);
    t.device.log("info", "c");
    await t.wait(30000);
    t.device.log("info", "d");
    await t.wait(10000);
    await t.wait(30000);
    expect(t.uploads).toEqual([
      ["INF|a", "INF|b"],
      ["INF|c"],
      ["INF|a", "INF|b"],
      ["INF|d", "WRN|2 log lines were dropped"],
    ]);
    expect(t.host.timers).toBe(0);
  });

  test("lines are kept while no other lines can serve as evidence", async () => {
    const t = setUp(refused);
    t.device.log("info", "a");
    for (let i = 0; i < 10; i++) await t.wait(330000);
    expect(t.uploads.length).toBeGreaterThan(5);
    t.device.log("info", "b");
    for (let i = 0; i < 10; i++) await t.wait(330000);
    t.respond(taken);
    await t.wait(330000);
    expect(t.uploads.at(-1)).toEqual(["INF|a", "INF|b"]);
    expect(t.host.timers).toBe(0);
  });

  test("lines that are rejected once are delivered after later ones", async () => {
    const t = setUp(refused);
    t.device.log("info", "a");
    await t.wait(10000);
    t.respond(taken);
    t.device.log("info", "b");
    await t.wait(30000);
    await t.wait(30000);
    expect(t.uploads).toEqual([["INF|a"], ["INF|b"], ["INF|a"]]);
    t.device.log("info", "c");
    await t.wait(10000);
    expect(t.uploads.at(-1)).toEqual(["INF|c"]);
  });

  test("lines rejected after others need separate evidence", async () => {
    const t = setUp(rejecting("a"));
    t.device.log("info", "a");
    await t.wait(10000);
    t.respond(refused);
    t.device.log("info", "b");
    await t.wait(30000);
    t.respond(rejecting("a"));
    t.device.log("info", "c");
    for (let i = 0; i < 3; i++) await t.wait(60000);
    t.device.log("info", "d");
    await t.wait(60000);
    expect(t.uploads).toEqual([
      ["INF|a"],
      ["INF|b"],
      ["INF|c"],
      ["INF|a", "INF|b"],
      ["INF|d", "WRN|2 log lines were dropped"],
    ]);
  });

  test("the line with the count of dropped ones is the evidence if there is no room for another", async () => {
    const t = setUp(rejecting("a"), { log: { maxLines: 1 } });
    t.device.log("info", "a");
    await t.wait(10000);
    t.device.log("info", "b");
    for (let i = 0; i < 3; i++) await t.wait(60000);
    t.device.log("info", "c");
    await t.wait(60000);
    expect(t.uploads).toEqual([
      ["INF|a"],
      ["WRN|1 log lines were dropped"],
      ["INF|a"],
      ["INF|c", "WRN|1 log lines were dropped"],
    ]);
  });

  test.each<[string, Respond, number]>([
    ["a code that is not known", () => response(rejection("Code.Of.Tomorrow")), 3],
    ["a redirection", () => response("<html></html>", { status: 302 }), 3],
    ["a page that says 404", () => response("<html></html>", { status: 404 }), 3],
    ["a code that speaks of the message", refused, 1],
  ])("lines survive %s until it was the same after enough rounds of evidence", async (_name, reject, rounds) => {
    const t = setUp(rejecting("a", reject));
    for (const line of ["a", 0, 1, 2, 3, 4]) {
      t.device.log("info", line);
      await t.device.flushLog().catch(() => {});
    }
    expect(t.uploads.filter(([line]) => line === "INF|a")).toHaveLength(rounds + 1);
    expect(t.uploads.flat().filter((line) => /dropped/.test(line))).toEqual(["WRN|1 log lines were dropped"]);
  });

  test("another reason restarts the evidence", async () => {
    let codes = 0;
    const t = setUp(rejecting("a", () => response(rejection(`InvalidParameterValue.X${++codes}`))));
    for (const line of ["a", 0, 1, 2, 3, 4]) {
      t.device.log("info", line);
      await t.device.flushLog().catch(() => {});
    }
    expect(t.uploads.filter(([line]) => line === "INF|a")).toHaveLength(6);
    expect(t.uploads.flat().filter((line) => /dropped/.test(line))).toEqual([]);
  });

  test("the app's classification decides which errors concern a message", async () => {
    const classify = () => "server" as const;
    const t = setUp(rejecting("a"), { retry: { maxAttempts: 1, classify } });
    t.device.log("info", "a");
    await t.wait(10000);
    t.device.log("info", "b");
    for (let i = 0; i < 5; i++) await t.wait(330000);
    t.respond(taken);
    await t.wait(330000);
    expect(t.uploads.at(-1)).toEqual(["INF|a", "INF|b"]);
  });

  test("flushLog uploads later lines, then rejected ones, and rejects if those fail again", async () => {
    const t = setUp(rejecting("a"));
    t.device.log("info", "a");
    await expect(t.device.flushLog()).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
    t.device.log("info", "b");
    await expect(t.device.flushLog()).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
    expect(t.uploads).toEqual([["INF|a"], ["INF|b"], ["INF|a"]]);
    t.device.log("info", "c");
    await t.device.flushLog();
    expect(t.uploads.at(-1)).toEqual(["INF|c", "WRN|1 log lines were dropped"]);
  });

  test("lines are kept if the rejection came before the upload was written", async () => {
    const t = setUp((...args) => ({ ...(refused(...args) as HttpResponse), early: true }));
    t.device.log("info", "a");
    await t.wait(10000);
    t.respond(taken);
    await t.wait(30000);
    expect(t.uploads).toEqual([["INF|a"], ["INF|a"]]);
  });

  test.each([200, 302, 400, 404, 511])("lines survive an HTML page with status %d", async (status) => {
    const t = setUp(() => response("<html></html>", { status }));
    t.device.log("info", "a");
    for (let i = 0; i < 10; i++) await t.wait(330000);
    expect(t.uploads.length).toBeGreaterThan(5);
    t.respond(taken);
    await t.wait(330000);
    expect(t.uploads.at(-1)).toEqual(["INF|a"]);
    t.device.log("info", "b");
    await t.wait(10000);
    expect(t.uploads.at(-1)).toEqual(["INF|b"]);
  });

  test("only flushLog reports the reason", async () => {
    const t = setUp(down);
    t.device.log("info", "a");
    await expect(t.device.flushLog()).rejects.toMatchObject({ code: "CONNECTION_REFUSED" });
    t.respond(taken);
    await t.device.flushLog();
    expect(t.uploads).toEqual([["INF|a"], ["INF|a"]]);
    await t.device.flushLog();
    expect(t.uploads).toHaveLength(2);
  });
});

describe("an upload is never logged", () => {
  test("by an app that logs every event; a publish is", async () => {
    let device: Device | undefined;
    const phases: string[] = [];
    const t = setUp(taken, {
      onEvent: (event) => {
        const { type: phase } = event;
        phases.push(`${"path" in event ? event.path : "storage"} ${phase}`);
        device?.log("info", phase);
        if (phase === "done") throw new Error("an app's fault");
      },
    });
    device = t.device;
    t.device.log("info", "a");
    for (let i = 0; i < 10; i++) await t.wait(10000);
    expect(t.uploads).toEqual([["INF|a"]]);
    expect(phases).toEqual(["sign", "send", "response", "done"].map((phase) => `/device/reportlog ${phase}`));
    await t.device.publish({ topic: "data", payload: "x" });
    await t.wait(10000);
    const body = JSON.parse(Buffer.from(t.host.sent[2].request.body).toString());
    expect(body.Message.map((line: string) => line.slice(29))).toEqual(["sign", "send", "response", "done"]);
    for (let i = 0; i < 10; i++) await t.wait(10000);
    expect(t.host.sent).toHaveLength(3);
  });

  test("when it fails", async () => {
    const t = setUp(down);
    t.device.log("info", "a");
    for (let i = 0; i < 50; i++) await t.wait(10000);
    expect(new Set(t.uploads.map((lines) => lines.join()))).toEqual(new Set(["INF|a"]));
  });
});

describe("with an outbox", () => {
  const memory = () => {
    const storage = createMemoryStorage();
    let writes = 0;
    const counted: Storage = {
      ...storage,
      set: (key, value) => {
        writes++;
        return storage.set(key, value);
      },
    };
    return { storage: counted, writes: () => writes };
  };
  const withOutbox = (respond: Respond, outbox: OutboxOptions<PublishResult> = {}, storage = memory()) => {
    const t = setUp(respond, { outbox: { flushIntervalMs: 0, ...outbox } }, { storage: storage.storage });
    return { ...t, t, storage };
  };
  test("lines bypass it while the gateway is reachable", async () => {
    const { t, device, storage } = withOutbox(taken);
    for (let i = 0; i < 5; i++) {
      device.log("info", `line ${i}`);
      await t.wait(10000);
    }
    expect(t.uploads).toHaveLength(5);
    expect(storage.writes()).toBe(0);
  });

  test("lines are kept in it across an outage and a restart, in order, behind earlier readings", async () => {
    const { t, device, storage } = withOutbox(down);
    device.log("info", "first");
    await device.flushLog();
    await device.enqueue({ topic: "data", payload: "reading" });
    device.log("warn", "second");
    await device.flushLog();
    expect(device.outbox?.size).toBe(3);
    // The second did not even try: it would have come before the first.
    expect(t.host.sent).toHaveLength(1);
    device.close();

    const delivered: StoredMessage[] = [];
    const next = withOutbox(taken, { onDelivered: (message) => delivered.push(message) }, storage);
    const result = await next.device.flush();
    expect(result).toMatchObject({ delivered: 3, remaining: 0, dropped: 0, reason: "empty" });
    expect(next.t.host.sent.map(({ request }) => request.path)).toEqual([
      "/device/reportlog",
      "/device/publish",
      "/device/reportlog",
    ]);
    const [first, , second] = next.t.host.sent.map(({ request }) => JSON.parse(Buffer.from(request.body).toString()));
    expect(first).toEqual({
      ProductId: "P1",
      DeviceName: "dev1",
      Message: ["INF|2024-12-27T08:05:44.000Z|first"],
    });
    expect(second.Message).toEqual(["WRN|2024-12-27T08:05:44.000Z|second"]);
    // An app hears of its readings alone.
    expect(delivered.map(({ topic }) => topic)).toEqual(["data"]);
  });

  test("lines use at most half of it, and wait in memory meanwhile", async () => {
    const { t, device } = withOutbox(down, { maxMessages: 8 });
    for (let i = 0; i < 20; i++) {
      device.log("info", `line ${i}`);
      await t.wait(400000);
    }
    expect(device.outbox?.size).toBe(4);
    for (let i = 0; i < 4; i++) await device.enqueue({ topic: "data", payload: "reading" });
    expect(device.outbox?.size).toBe(8);
    t.respond(taken);
    await device.flush();
    await device.flushLog();
    const all = t.host.sent.slice(1).map(({ request }) => JSON.parse(Buffer.from(request.body).toString()));
    const lines = all.flatMap(({ Message = [] }) => Message.map((line: string) => line.slice(29)));
    expect(lines).toEqual(Array.from({ length: 20 }, (_, i) => `line ${i}`));
    expect(all.filter(({ TopicName }) => TopicName === "P1/dev1/data")).toHaveLength(4);
  });

  test("lines evicted by readings are counted", async () => {
    const dropped: unknown[] = [];
    const { t, device } = withOutbox(down, { maxMessages: 2, onDropped: (one) => dropped.push(one) });
    device.log("info", "a");
    device.log("info", "b");
    await device.flushLog();
    for (let i = 0; i < 2; i++) await device.enqueue({ topic: "data", payload: "reading" });
    expect(dropped).toEqual([]);
    t.respond(taken);
    await device.flush();
    device.log("info", "c");
    await device.flushLog();
    const last = JSON.parse(Buffer.from(t.host.sent.at(-1)?.request.body ?? []).toString());
    expect(last.Message.map((line: string) => line.slice(29))).toEqual(["c", "2 log lines were dropped"]);
  });

  test("logging in the outbox's callbacks does not loop", async () => {
    const { t, device } = withOutbox(down, {
      onDelivered: () => device.log("info", "delivered"),
      onRetried: () => device.log("info", "retried"),
      onDropped: () => device.log("info", "dropped"),
    });
    device.log("info", "a");
    await device.flushLog();
    t.respond(taken);
    for (let i = 0; i < 5; i++) {
      await device.flush();
      await t.wait(10000);
    }
    expect(t.host.sent).toHaveLength(2);
    expect(t.host.timers).toBe(0);
  });

  test("an unreadable outbox does not stop the log", async () => {
    const broken = { ...createMemoryStorage(), keys: () => Promise.reject(new Error("flash")) };
    const t = setUp(taken, { outbox: {} }, { storage: broken });
    t.device.log("info", "a");
    await t.device.flushLog();
    expect(t.uploads).toEqual([["INF|a"]]);
    t.respond(down);
    t.device.log("info", "b");
    await expect(t.device.flushLog()).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    t.respond(taken);
    await t.device.flushLog();
    expect(t.uploads.at(-1)).toEqual(["INF|b"]);
    t.device.close();
  });
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e300])(
  "a clock that returns %d only removes the time of a line",
  async (nowMs) => {
    const t = setUp(taken, {}, { clock: { nowMs: () => nowMs, monotonicMs: () => 0 } });
    const clock = t.host.clock as { -readonly [K in keyof Clock]: Clock[K] };
    t.device.log("info", "a");
    clock.nowMs = () => 0;
    expect(() => t.device.log("error", "b")).not.toThrow();
    clock.nowMs = () => Date.UTC(2026, 10, 20);
    await t.wait(10000);
    expect(t.uploads).toEqual([["INF|-|a", "ERR|b"]]);
  },
);

test("lines added during an upload are in the next, and two flushes share one", async () => {
  let reply: (value: HttpResponse) => void = () => {};
  const t = setUp(() => new Promise((resolve) => (reply = resolve)));
  t.device.log("info", "a");
  const first = t.device.flushLog();
  for (let i = 0; i < 20; i++) await null;
  t.device.log("info", "b");
  const second = t.device.flushLog();
  const third = t.device.flushLog();
  for (let i = 0; i < 20; i++) await null;
  expect(t.uploads).toEqual([["INF|a"]]);
  reply(response(success));
  await first;
  for (let i = 0; i < 20; i++) await null;
  reply(response(success));
  await Promise.all([second, third]);
  expect(t.uploads).toEqual([["INF|a"], ["INF|b"]]);
  expect(t.host.timers).toBe(0);
});

test("a closed log has no timer, upload or lines", async () => {
  const t = setUp();
  t.device.log("info", "a");
  t.device.close();
  expect(t.host.timers).toBe(0);
  t.device.log("info", "b");
  await t.wait(100000);
  await t.device.flushLog();
  expect(t.host.sent).toHaveLength(0);
});
