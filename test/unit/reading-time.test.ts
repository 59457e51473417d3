/** When a reading was taken: in its payload, whatever the clock did. */

import { describe, expect, test } from "@jest/globals";
import type { HttpResponse } from "../../src/host.js";
import { IotHubError, NetworkError, type OutboxOptions } from "../../src/index.js";
import { topics } from "../../src/topics/topics.js";
import { Board, WORLD_MS } from "../support/board.js";
import { failure } from "../support/failure.js";
import { outboxDevice, settled } from "../support/outbox-device.js";
import { gated } from "../support/storage.js";
import { refused, taken } from "../support/virtual-host.js";

const timed: OutboxOptions = { timeField: "time" };
const at = (n: number) => ({ topic: "data", payload: { n } });
const down = (): never => {
  throw new NetworkError("CONNECTION_REFUSED", "connect", "down");
};
const times = (payloads: readonly string[]) => payloads.map((text) => JSON.parse(text).time as number | null);
const marks = (board: Board) => [...board.flash.values.keys()].filter((key) => key.includes(".u-"));

describe("readings with a set clock", () => {
  const TIME = 1793530511232;

  test.each<[string, object | string, OutboxOptions, string]>([
    ["no option", { n: 1 }, {}, '{"n":1}'],
    ["milliseconds", { n: 1 }, timed, `{"n":1,"time":${TIME}}`],
    ["ISO 8601", { n: 1 }, { timeField: "at", timeFormat: "iso8601" }, '{"n":1,"at":"2026-11-01T10:55:11.232Z"}'],
    ["an empty object", {}, timed, `{"time":${TIME}}`],
    ["a member that is there", { time: "noon" }, timed, '{"time":"noon"}'],
    ["a member that is there and null", { n: 1, time: null }, timed, '{"n":1,"time":null}'],
    ["a member that is undefined", { n: 1, time: undefined }, timed, `{"n":1,"time":${TIME}}`],
    ["a member of that name further inside", { a: { time: 1 } }, timed, `{"a":{"time":1},"time":${TIME}}`],
    ["a text that looks like the member", { a: '"time":' }, timed, `{"a":"\\"time\\":","time":${TIME}}`],
    ["a name that needs escapes", { n: 1 }, { timeField: '温"' }, `{"n":1,"温\\"":${TIME}}`],
    ["__proto__", { n: 1 }, { timeField: "__proto__" }, `{"n":1,"__proto__":${TIME}}`],
    ["an array", [1], timed, "[1]"],
    ["a text, even of JSON", '{"n":1}', timed, '{"n":1}'],
    ["what toJSON makes an object", { toJSON: () => ({ n: 1 }) }, timed, `{"n":1,"time":${TIME}}`],
    ["what toJSON makes a text", { toJSON: () => "{}" }, timed, '"{}"'],
  ])("%s", async (_name, payload, outbox, expected) => {
    const { device, payloads } = outboxDevice(undefined, outbox);
    await device.enqueue({ topic: "data", payload, timeMs: TIME });
    await device.flush();
    expect(payloads()).toEqual([expected]);
  });

  test("are sent unchanged as bytes", async () => {
    const { device, payloads } = outboxDevice(undefined, timed);
    await device.enqueue({ topic: "data", payload: Uint8Array.of(123, 125) });
    await device.enqueue({ topic: "data", payload: {}, encoding: "Base64" });
    await device.flush();
    expect(payloads()).toEqual(["e30=", "e30="]);
  });

  test.each<OutboxOptions>([timed, { batch: {} }, { timeField: "timestamp", timeFormat: "iso8601" }])(
    "get a timestamp only in reports of the thing model (%j)",
    async (outbox) => {
      const { device, payloads } = outboxDevice(undefined, outbox);
      const forms = topics(device, { token: () => "t" });
      await device.enqueue({ ...forms.propertyReport({ temperature: 21.5 }), timeMs: TIME });
      await device.enqueue({ ...forms.propertyReport({}, { timeMs: 7 }), timeMs: TIME });
      await device.enqueue({ ...forms.eventPost("e", "info", {}), timeMs: TIME });
      await device.enqueue({ ...forms.deviceInfo({ name: "n" }), timeMs: TIME });
      await device.enqueue({ ...forms.shadowUpdate({ on: true }), timeMs: TIME });
      await device.enqueue({ ...forms.otaVersion("1"), timeMs: TIME });
      await device.flush();
      const head = '{"method":"event_post","clientToken":"t","version":"1.0","eventId":"e","type":"info"';
      expect(payloads()).toEqual([
        `{"method":"report","clientToken":"t","params":{"temperature":21.5},"timestamp":${TIME}}`,
        '{"method":"report","clientToken":"t","timestamp":7,"params":{}}',
        `${head},"params":{},"timestamp":${TIME}}`,
        '{"method":"report_info","clientToken":"t","params":{"name":"n"}}',
        '{"type":"update","state":{"reported":{"on":true}},"version":0,"clientToken":"t"}',
        '{"type":"report_version","report":{"version":"1"}}',
      ]);
    },
  );

  test("are limited in size including the time", async () => {
    const payload = { n: "" };
    for (const [name, added] of [
      ["milliseconds", 1 + 7 + 13],
      ["iso8601", 1 + 7 + 26],
    ] as const) {
      const bytes = (length: number) => ({ topic: "data", payload: { n: "x".repeat(length) }, timeMs: TIME });
      const bare = JSON.stringify(payload).length;
      const { device, payloads } = outboxDevice(
        undefined,
        { ...timed, timeFormat: name },
        {},
        { maxPayloadBytes: 200 },
      );
      const error = await failure(device.enqueue(bytes(201 - bare - added)));
      expect([error.code, error.message]).toEqual([
        "PAYLOAD_TOO_LARGE",
        "The payload has 201 bytes with its time; the limit is 200.",
      ]);
      await device.enqueue(bytes(200 - bare - added));
      await device.flush();
      expect(payloads()[0].length).toBe(200);
      // What has the member takes no other.
      await device.enqueue({ topic: "data", payload: { time: "x".repeat(189) } });
    }
  });

  test("keep their time when the clock jumps", async () => {
    const { device, host, payloads } = outboxDevice(undefined, timed);
    const before = host.clock.nowMs();
    await device.enqueue(at(1));
    host.setNow(before + 86400000);
    await device.enqueue(at(2));
    await device.flush();
    expect(times(payloads())).toEqual([before, before + 86400000]);
  });

  test("of an earlier version are sent unchanged", async () => {
    const { device, host, payloads } = outboxDevice(undefined, timed);
    await host.storage?.set("out.00000000", '11mvxprbeo#data#{"t":21.5}');
    await device.flush();
    expect(payloads()).toEqual(['{"t":21.5}']);
  });

  test.each<[OutboxOptions, string]>([
    [{ timeField: "" }, "outbox.timeField must have 1 to 64 characters."],
    [{ timeField: "x".repeat(65) }, "outbox.timeField must have 1 to 64 characters."],
    [{ ...timed, timeFormat: "rfc" as never }, 'outbox.timeFormat must be "milliseconds" or "iso8601".'],
  ])("reject %j as an option", (outbox, message) => {
    expect(() => outboxDevice(undefined, outbox)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", message }));
  });
});

describe("readings with an unset clock", () => {
  test("get their time once the clock is set, without leftovers in storage", async () => {
    const board = new Board();
    const { device, wait, setClock, payloads, delivered } = board.start(() => taken(), timed);
    wait(1000);
    const taken1 = board.worldMs;
    await device.enqueue(at(1));
    wait(60000);
    const taken2 = board.worldMs;
    await device.enqueue(at(2));
    wait(5000);
    setClock();
    await device.enqueue(at(3));
    expect(marks(board)).toHaveLength(1);
    await device.flush();
    expect(times(payloads())).toEqual([taken1, taken2, board.worldMs]);
    expect(delivered.map(({ timeMs }) => timeMs)).toEqual([taken1, taken2, board.worldMs]);
    expect(board.flash.values.size).toBe(0);
  });

  test("get the right time from a slow storage", async () => {
    let isSet = false;
    const gate = gated();
    const changes = {
      storage: gate.storage,
      clock: {
        nowMs: () => (isSet ? WORLD_MS : 0) + host.elapsedMs,
        monotonicMs: () => host.elapsedMs,
        get synchronized() {
          return isSet;
        },
      },
    };
    const { device, host, payloads } = outboxDevice(() => taken(), timed, changes);
    await device.enqueue(at(1));
    host.advance(1000);
    gate.holding = true;
    const second = device.enqueue(at(2));
    await settled();
    isSet = true;
    const third = device.enqueue(at(3));
    await settled();
    host.advance(5000);
    gate.release();
    await Promise.all([second, third]);
    await device.flush();
    expect(times(payloads())).toEqual([WORLD_MS, WORLD_MS + 1000, WORLD_MS + 1000]);
  });

  test("that find no room remove the value written for them", async () => {
    const board = new Board();
    const { device, host } = board.start(() => taken(), timed);
    const storage = host.storage as NonNullable<typeof host.storage>;
    const { set } = storage;
    (storage as { set: typeof set }).set = (key, text) =>
      key.includes(".u-") ? set(key, text) : Promise.reject(new IotHubError("STORAGE_FULL", "no room"));
    expect(await failure(device.enqueue(at(1)))).toMatchObject({ code: "STORAGE_FULL" });
    expect([...board.flash.values.keys()]).toEqual([]);
  });

  test("are stored without their value if there is room for nothing else", async () => {
    const board = new Board();
    const { device, setClock, host, payloads } = board.start(() => taken(), timed);
    const storage = host.storage as NonNullable<typeof host.storage>;
    const { set } = storage;
    (storage as { set: typeof set }).set = (key, text) =>
      board.flash.values.size === 0 ? set(key, text) : Promise.reject(new IotHubError("STORAGE_FULL", "no room"));
    const taken1 = board.worldMs;
    await device.enqueue(at(1));
    expect([...board.flash.values.keys()]).toEqual(["out.00000000"]);
    setClock();
    await device.flush();
    expect(times(payloads())).toEqual([taken1]);
  });

  test("are sent without a timestamp if never dated", async () => {
    const board = new Board();
    const { device, payloads } = board.start(() => taken(), timed);
    await device.enqueue(topics(device, { token: () => "t" }).propertyReport({ on: 1 }));
    await device.flush();
    expect(payloads()).toEqual(['{"method":"report","clientToken":"t","params":{"on":1}}']);
  });

  test("write one value first, once, and delete it with the last reading", async () => {
    const board = new Board();
    const { device, setClock, wait } = board.start(() => taken(), timed);
    wait(1000);
    for (const n of [1, 2, 3]) await device.enqueue(at(n));
    setClock();
    await device.flush();
    expect(board.flash.writes.map((write) => write.replace(/[0-9]$/, ""))).toEqual([
      "set out.u-life",
      "set out.0000000",
      "set out.0000000",
      "set out.0000000",
      "set out.u-life",
      "delete out.0000000",
      "delete out.0000000",
      "delete out.0000000",
      "delete out.u-life",
    ]);
  });

  test("write no value if dated", async () => {
    const board = new Board();
    const { device, setClock } = board.start(() => taken(), timed);
    setClock();
    await device.enqueue(at(1));
    await device.enqueue({ ...at(2), timeMs: 5 });
    expect(board.flash.writes).toEqual(["set out.00000000", "set out.00000001"]);
    expect([...board.flash.values.values()].every((text) => /^11[0-9a-z]+,o#/.test(text))).toBe(true);
  });

  test("keep the time of the first setting if the clock jumps afterwards", async () => {
    const board = new Board();
    let reply: () => HttpResponse = down;
    const { device, wait, setClock, payloads } = board.start(() => reply(), timed, { retry: false });
    await device.enqueue(at(1));
    const taken1 = board.worldMs;
    wait(1000);
    setClock();
    await device.flush();
    setClock(3600000);
    wait(1000);
    reply = taken;
    await device.flush();
    expect(times(payloads())).toEqual([taken1, taken1]);
  });

  test("get their time if the clock is set before a restart", async () => {
    const board = new Board();
    const first = board.start(down, timed, { retry: false });
    first.wait(7000);
    const taken1 = board.worldMs;
    await first.device.enqueue(at(1));
    first.setClock();
    await first.device.flush();
    board.sleep(3600000);
    const second = board.start(() => taken(), timed);
    await second.device.flush();
    expect(times(second.payloads())).toEqual([taken1]);
    expect(board.flash.values.size).toBe(0);
  });

  test("get their time after two deep sleeps with an unset clock", async () => {
    const board = new Board();
    const taken1: number[] = [];
    for (const n of [1, 2]) {
      const { device, wait } = board.start(down, timed, { retry: false });
      wait(700);
      taken1.push(board.worldMs);
      await device.enqueue(at(n));
      await device.flush();
      board.sleep(600000);
    }
    expect(marks(board)).toEqual(["out.u-life0"]);
    const { device, wait, setClock, payloads } = board.start(() => taken(), timed);
    wait(700);
    taken1.push(board.worldMs);
    await device.enqueue(at(3));
    wait(2000);
    setClock();
    await device.flush();
    expect(times(payloads())).toEqual(taken1);
    expect(board.flash.values.size).toBe(0);
  });

  test("get their time if delivered in a later wake", async () => {
    const board = new Board();
    const first = board.start(down, timed, { retry: false });
    first.wait(700);
    const taken1 = board.worldMs;
    await first.device.enqueue(at(1));
    first.setClock();
    const taken2 = board.worldMs;
    await first.device.enqueue(at(2));
    board.sleep(600000);
    const second = board.start(() => taken(), timed);
    await second.device.enqueue(at(3));
    const taken3 = board.worldMs;
    await second.device.flush();
    expect(times(second.payloads())).toEqual([taken1, taken2, taken3]);
  });

  test.each([300, 5000, 86400000])("have no time after a power loss of %i ms with an unset clock", async (offMs) => {
    const board = new Board();
    const first = board.start(down, timed, { retry: false });
    first.wait(2000);
    await first.device.enqueue(at(1));
    board.powerOn(offMs);
    const second = board.start(() => taken(), timed);
    // Longer than the life before: what counts is when this one began.
    second.wait(30000);
    const taken2 = board.worldMs;
    await second.device.enqueue(at(2));
    second.setClock();
    await second.device.flush();
    expect(second.payloads()[0]).toBe('{"n":1,"time":null}');
    expect(times(second.payloads())).toEqual([null, taken2]);
    expect(second.delivered.map(({ timeMs }) => timeMs)).toEqual([undefined, taken2]);
    expect(board.flash.values.size).toBe(0);
  });

  test("get no wrong time if the run ends before the offset is stored", async () => {
    const board = new Board();
    const first = board.start(down, timed, { retry: false });
    first.wait(2000);
    await first.device.enqueue(at(1));
    first.setClock();
    board.sleep(60000);
    const second = board.start(() => taken(), timed);
    await second.device.flush();
    expect(times(second.payloads())).toEqual([null]);
    expect(board.flash.values.size).toBe(0);
  });

  test("of two power-ons get their respective times", async () => {
    const board = new Board();
    const first = board.start(down, timed, { retry: false });
    first.wait(3000);
    const taken1 = board.worldMs;
    await first.device.enqueue(at(1));
    first.setClock();
    await first.device.flush();
    board.powerOn(5000);
    const second = board.start(down, timed, { retry: false });
    second.wait(9000);
    const taken2 = board.worldMs;
    await second.device.enqueue(at(2));
    second.setClock();
    await second.device.flush();
    expect(marks(board)).toHaveLength(2);
    board.sleep(1000);
    const third = board.start(() => taken(), timed);
    await third.device.flush();
    expect(times(third.payloads())).toEqual([taken1, taken2]);
    expect(board.flash.values.size).toBe(0);
  });

  test("are dated per device on a host without uptime", async () => {
    const board = new Board(false);
    const first = board.start(down, timed, { retry: false });
    await first.device.enqueue(at(1));
    board.sleep(1000);
    const second = board.start(() => taken(), timed);
    second.wait(1000);
    const taken2 = board.worldMs;
    await second.device.enqueue(at(2));
    second.wait(1000);
    second.setClock();
    await second.device.flush();
    expect(times(second.payloads())).toEqual([null, taken2]);
    expect(board.flash.values.size).toBe(0);
  });

  test("that wait for the storage keep their order and times", async () => {
    const board = new Board();
    const { device, wait, setClock, payloads } = board.start(() => taken(), timed);
    const enqueued = [device.enqueue(at(1)), device.enqueue({ ...at(2), timeMs: 7 })];
    const taken1 = board.worldMs;
    wait(50);
    enqueued.push(device.enqueue(at(3)));
    await Promise.all(enqueued);
    setClock();
    await device.flush();
    expect(times(payloads())).toEqual([taken1, 7, taken1 + 50]);
  });

  test("get their time from the gateway's Date if no time server responds", async () => {
    const board = new Board();
    const date = () => ({ date: new Date(board.worldMs).toUTCString() });
    const { device, wait, payloads } = board.start(
      (request) =>
        Math.abs(Number(request.headers["X-TC-Timestamp"]) * 1000 - board.worldMs) < 300000
          ? taken(date())
          : refused("AuthFailure.SignatureExpire", date()),
      timed,
    );
    wait(100000);
    const taken1 = board.worldMs;
    await device.enqueue(at(1));
    wait(10000);
    await device.enqueue(at(2));
    await device.flush();
    const [first, again, second] = times(payloads());
    expect(first).toBeNull();
    // A Date has whole seconds.
    expect(Math.abs((again as number) - taken1)).toBeLessThan(1000);
    expect((second as number) - (again as number)).toBe(10000);
    expect(board.flash.values.has("clock")).toBe(true);
    expect(marks(board)).toEqual([]);
  });

  test("are delivered if the storage has no room for the value", async () => {
    const board = new Board();
    const { device, wait, setClock, host, payloads } = board.start(() => taken(), timed);
    const { set } = host.storage as NonNullable<typeof host.storage>;
    (host.storage as { set: typeof set }).set = (key, text) =>
      key.includes(".u-") ? Promise.reject(new Error("worn")) : set(key, text);
    wait(500);
    const taken1 = board.worldMs;
    await device.enqueue(at(1));
    setClock();
    await device.flush();
    expect(times(payloads())).toEqual([taken1]);
  });

  test("do not change the value of a later version", async () => {
    const board = new Board();
    board.flash.values.set("out.u-abcde", "2whatever");
    board.flash.values.set("out.00000000", "115,o,uabcde#data#{}");
    const { device, payloads } = board.start(() => taken(), timed);
    await device.flush();
    expect(payloads()).toEqual(['{"time":null}']);
    expect([...board.flash.values]).toEqual([["out.u-abcde", "2whatever"]]);
  });

  test.each(["1", "x", "1-5", "1zz,", "15,5,5"])("ignore an invalid value %s", async (value) => {
    const board = new Board();
    board.flash.values.set("out.u-abcde", value);
    board.flash.values.set("out.00000000", "115,o,uabcde#data#{}");
    const { device, payloads } = board.start(() => taken(), timed);
    await device.flush();
    expect(payloads()).toEqual(['{"time":null}']);
    expect(board.flash.values.size).toBe(0);
  });
});

test("a virtual board's clock begins with its world", () => {
  expect(new Board().worldMs).toBe(WORLD_MS);
});
