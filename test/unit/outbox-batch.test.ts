/** Many readings as one message: what is in it, what is not, and what a rejection of it costs. */

import { describe, expect, test } from "@jest/globals";
import { base64Decode } from "../../src/crypto/base64.js";
import type { HttpRequest, HttpResponse } from "../../src/host.js";
import {
  type BatchOptions,
  type BatchReading,
  columns,
  type DeviceEvent,
  type OutboxOptions,
} from "../../src/index.js";
import { outboxDevice } from "../support/outbox-device.js";
import { page, refused, taken } from "../support/virtual-host.js";

const TIME = 1796000000000;
const bodyOf = ({ body }: HttpRequest) => JSON.parse(new TextDecoder().decode(body));
const payloadOf = (request: HttpRequest): string => bodyOf(request).Payload;

/** The numbers of the readings in a payload; those of one alone in a list, too. */
function numbers(payload: string): number[] {
  const value = JSON.parse(payload);
  return (Array.isArray(value) ? value : [value]).map(({ n }) => n);
}

function batching(
  batch: BatchOptions = {},
  reply: (numbers: number[], request: HttpRequest) => HttpResponse | undefined = () => undefined,
  outbox: OutboxOptions = {},
) {
  const events: DeviceEvent[] = [];
  const box = outboxDevice(
    (request) =>
      (request.path === "/device/publish" ? reply(numbers(payloadOf(request)), request) : undefined) ?? taken(),
    { batch, ...outbox },
    {},
    {
      onEvent: (event) => {
        if (event.type === "batch") events.push(event);
      },
    },
  );
  const fill = async (count: number, from = 0, topic = "data") => {
    for (let n = from; n < from + count; n++) {
      await box.device.enqueue({ topic, payload: { n }, timeMs: TIME + n * 1000 });
    }
  };
  const groups = () => box.payloads().map(numbers);
  return { ...box, events, fill, groups };
}

describe("a batch contains", () => {
  test("readings of one topic, oldest first, with their times", async () => {
    const { device, fill, payloads, delivered, host } = batching();
    await fill(3);
    expect(await device.flush()).toMatchObject({ delivered: 3, remaining: 0, reason: "empty" });
    expect(payloads()).toEqual([
      '[{"n":0,"time":1796000000000},{"n":1,"time":1796000001000},{"n":2,"time":1796000002000}]',
    ]);
    expect(bodyOf(host.sent[0].request)).toMatchObject({ TopicName: "P/d/data", Qos: 1 });
    expect(delivered.map(({ sequence, timeMs, payload }) => [sequence, timeMs, payload])).toEqual([
      [0, TIME, '{"n":0}'],
      [1, TIME + 1000, '{"n":1}'],
      [2, TIME + 2000, '{"n":2}'],
    ]);
    expect(await host.storage?.keys()).toEqual([]);
  });

  test.each<[BatchOptions, number]>([
    [{}, 3],
    [{ maxReadings: 60 }, 1],
    [{ maxReadings: 1 }, 60],
    [{ maxReadings: 60, maxBytes: 2048 }, 2],
  ])("60 temperature readings with %j in %i requests", async (batch, requests) => {
    const { device, host } = outboxDevice(undefined, { batch });
    for (let i = 0; i < 60; i++) {
      await device.enqueue({ topic: "data", payload: { temperature: 21.5 }, timeMs: TIME + i * 60000 });
    }
    expect((await device.flush()).delivered).toBe(60);
    expect(host.sent.length).toBe(requests);
  });

  test("a single reading in the same format", async () => {
    const { device, fill, payloads } = batching();
    await fill(1);
    await device.flush();
    expect(payloads()).toEqual(['[{"n":0,"time":1796000000000}]']);
  });

  test("no other topic, QoS or non-object, and keeps the order", async () => {
    const { device, payloads } = outboxDevice(undefined, { batch: {} });
    const all: [string, object | string, (0 | 1)?][] = [
      ["a", { n: 0 }],
      ["a", { n: 1 }],
      ["b", { n: 2 }],
      ["a", { n: 3 }],
      ["a", { n: 4 }, 0],
      ["a", "text"],
      ["a", '{"n":5}'],
      ["a", [6]],
      ["a", Uint8Array.of(7)],
      ["$thing/up/property/P/d", { n: 8 }],
      ["$thing/up/property/P/d", { n: 9 }],
      ["a", { n: 10 }],
      ["a", { n: 11 }],
    ];
    for (const [topic, payload, qos] of all) await device.enqueue({ topic, payload, qos, timeMs: 5 });
    await device.flush();
    expect(payloads()).toEqual([
      '[{"n":0,"time":5},{"n":1,"time":5}]',
      '[{"n":2,"time":5}]',
      '[{"n":3,"time":5}]',
      '[{"n":4,"time":5}]',
      "text",
      '{"n":5}',
      "[6]",
      "Bw==",
      '{"n":8}',
      '{"n":9}',
      '[{"n":10,"time":5},{"n":11,"time":5}]',
    ]);
  });

  test("no log lines", async () => {
    const { device, fill, host } = batching();
    await fill(2);
    device.log("info", "line");
    await device.flushLog();
    await fill(1, 2);
    await device.flush();
    expect(host.sent.map(({ request }) => request.path)).toEqual([
      "/device/publish",
      "/device/reportlog",
      "/device/publish",
    ]);
  });

  test("at most maxBytes of payload as sent", async () => {
    const one = '{"n":0,"time":1796000000000}'.length;
    for (const [maxBytes, first] of [
      [4 * one + 5, 4],
      [4 * one + 4, 3],
    ]) {
      const { device, fill, groups, payloads } = batching({ maxBytes });
      await fill(9);
      await device.flush();
      expect(groups()[0].length).toBe(first);
      expect(Math.max(...payloads().map(({ length }) => length))).toBeLessThanOrEqual(maxBytes);
      expect(groups().flat()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
  });

  test("a reading larger than maxBytes alone", async () => {
    const { device, payloads } = outboxDevice(undefined, { batch: { maxBytes: 64 } });
    const large = { text: "x".repeat(100) };
    for (const payload of [{ n: 0 }, large, { n: 1 }]) await device.enqueue({ topic: "data", payload, timeMs: 1 });
    await device.flush();
    expect(payloads()).toEqual(['[{"n":0,"time":1}]', JSON.stringify({ ...large, time: 1 }), '[{"n":1,"time":1}]']);
  });

  test("readings that are not evicted while it is in flight", async () => {
    let more = async () => {};
    const { device, fill, groups, dropped } = batching(
      { maxReadings: 3 },
      (group) => {
        if (group[0] === 0) more();
        return undefined;
      },
      { maxMessages: 4 },
    );
    await fill(4);
    let added: Promise<void> | undefined;
    more = () => {
      added = fill(2, 4);
      return added;
    };
    await device.flush();
    await added;
    await device.flush();
    expect(dropped.every(({ message }) => message?.payload !== '{"n":1}')).toBe(true);
    expect(groups()[0]).toEqual([0, 1, 2]);
    expect(
      [...groups().flat(), ...dropped.map(({ message }) => JSON.parse(message?.payload as string).n)].sort(),
    ).toEqual([0, 1, 2, 3, 4, 5]);
  });
});

describe("encode", () => {
  test("gets the enqueued readings, and its text, bytes or object is sent", async () => {
    const seen: (readonly BatchReading[])[] = [];
    const results: unknown[] = ["line\nline", Uint8Array.of(1, 2), { all: [1] }];
    const { device, host } = outboxDevice(undefined, {
      batch: {
        maxReadings: 3,
        encode: (readings) => {
          seen.push(readings);
          return results[seen.length - 1] as string;
        },
      },
    });
    const payloads = [{ n: 1 }, "text", Uint8Array.of(255)];
    for (const payload of [...payloads, ...payloads, ...payloads]) {
      await device.enqueue({ topic: "data", payload, timeMs: TIME });
    }
    expect((await device.flush()).delivered).toBe(9);
    expect(seen[0]).toMatchObject(payloads.map((payload, sequence) => ({ sequence, timeMs: TIME, payload })));
    expect(host.sent.map(({ request }) => bodyOf(request))).toMatchObject([
      { Payload: "line\nline" },
      { Payload: "AQI=", PayloadEncoding: "Base64" },
      { Payload: '{"all":[1]}' },
    ]);
    expect(base64Decode("AQI=")).toEqual(Uint8Array.of(1, 2));
  });

  test("may return bytes of text, which are sent as text", async () => {
    const { device, host } = outboxDevice(undefined, { batch: { encode: () => "line" } });
    for (const byte of [1, 2]) await device.enqueue({ topic: "data", payload: Uint8Array.of(byte) });
    await device.flush();
    const { Payload, PayloadEncoding } = bodyOf(host.sent[0].request);
    expect([host.sent.length, Payload, PayloadEncoding]).toEqual([1, "line", undefined]);
  });

  test.each<[string, () => unknown, string, RegExp]>([
    ["throws", () => JSON.parse("secret"), "INVALID_PAYLOAD", /^outbox\.batch\.encode failed; the readings are sent/],
    ["gives too much", () => "x".repeat(2049), "PAYLOAD_TOO_LARGE", /returned 2049 bytes; the limit is 2048/],
    ["gives nothing", () => undefined, "INVALID_PAYLOAD", /must return text, bytes or an object/],
    ["gives an empty text", () => "", "INVALID_PAYLOAD", /returned an empty payload/],
    ["gives no bytes", () => new Uint8Array(0), "INVALID_PAYLOAD", /returned an empty payload/],
    ["gives a promise", async () => "x", "INVALID_PAYLOAD", /is a Promise/],
    ["gives NaN", () => ({ n: Number.NaN }), "INVALID_PAYLOAD", /payload\.n is NaN/],
    ["gives a number", () => 7, "INVALID_PAYLOAD", /must return text/],
  ])("that %s for several readings is called for each alone, with one event", async (_name, encode, code, message) => {
    const failing = (readings: readonly BatchReading[]) => {
      const ns = readings.map(({ payload }) => (payload as { n: number }).n);
      return ns.length > 1 && ns[0] === 0 ? encode() : JSON.stringify(ns.map((n) => ({ n })));
    };
    const { device, fill, payloads, events } = batching({ maxReadings: 3, encode: failing as never });
    await fill(5);
    expect((await device.flush()).delivered).toBe(5);
    expect(payloads()).toEqual(['[{"n":0}]', '[{"n":1}]', '[{"n":2}]', '[{"n":3},{"n":4}]']);
    expect(events).toMatchObject([{ type: "batch", code, readings: 3, message: expect.stringMatching(message) }]);
    expect(JSON.stringify(events)).not.toContain("secret");
  });

  test("that fails for a single reading sends that one as enqueued, with one event for all", async () => {
    const failing = (readings: readonly BatchReading[]) => {
      const ns = readings.map(({ payload }) => (payload as { n: number }).n);
      if (ns.includes(1)) throw new Error("one");
      return JSON.stringify(ns.map((n) => ({ n })));
    };
    const { device, fill, payloads, events } = batching({ maxReadings: 3, encode: failing });
    await fill(5);
    expect((await device.flush()).delivered).toBe(5);
    expect(payloads()).toEqual(['[{"n":0}]', `{"n":1,"time":${TIME + 1000}}`, '[{"n":2}]', '[{"n":3},{"n":4}]']);
    expect(events.length).toBe(1);
  });

  test("that always throws causes one event per batch, and everything is sent", async () => {
    const failing = () => {
      throw new Error("all");
    };
    const { device, fill, groups, events } = batching({ maxReadings: 3, encode: failing });
    await fill(6);
    expect((await device.flush()).delivered).toBe(6);
    expect([groups(), events.length]).toEqual([[[0], [1], [2], [3], [4], [5]], 2]);
  });

  test("may return less than the reading for one alone", async () => {
    const { device, payloads } = batching({ maxBytes: 64, encode: (readings) => `[{"n":${readings.length}}]` });
    await device.enqueue({ topic: "data", payload: { n: "x".repeat(100) } });
    await device.flush();
    expect(payloads()).toEqual(['[{"n":1}]']);
  });

  test("with a gateway that accepts only its format: a bad reading neither loses nor delays others", async () => {
    const json = (readings: readonly BatchReading[]) => ({
      all: readings.map(({ payload }) => [...(payload as Uint8Array)]),
    });
    const { device, dropped, delivered, host } = outboxDevice(
      (request) => {
        const { Payload, PayloadEncoding } = bodyOf(request);
        const isTaken = PayloadEncoding === undefined && !JSON.parse(Payload).all.flat().includes(3);
        return isTaken ? taken() : refused("InvalidParameterValue.InvalidJSON");
      },
      { batch: { encode: json } },
    );
    for (let byte = 0; byte < 20; byte++) await device.enqueue({ topic: "data", payload: Uint8Array.of(byte) });
    expect(await device.flush()).toMatchObject({ delivered: 19, dropped: 1, remaining: 0, reason: "empty" });
    expect(dropped).toMatchObject([{ reason: "rejected", message: { payload: "Aw==" } }]);
    expect(delivered.length).toBe(19);
    const alone = host.sent.findIndex(({ request }) => bodyOf(request).Payload === '{"all":[[3]]}');
    expect(alone + 1).toBeLessThanOrEqual(2 * 5 + 1);
  });

  test("columns returns members as arrays", async () => {
    const { device, host } = outboxDevice(undefined, { batch: { encode: columns } });
    const readings: object[] = [{ temperature: 21.5 }, { temperature: 21.6, wet: true }, { wet: null, a: { b: [1] } }];
    for (const [i, payload] of readings.entries()) {
      await device.enqueue({ topic: "data", payload, timeMs: TIME + i * 10000 });
    }
    await device.enqueue({ topic: "data", payload: "text", timeMs: TIME });
    await device.flush();
    expect(payloadOf(host.sent[0].request)).toBe(
      '{"t0":1796000000000,"dt":[0,10000,20000],"temperature":[21.5,21.6,null],"wet":[null,true,null],' +
        '"a":[null,null,{"b":[1]}]}',
    );
    expect(payloadOf(host.sent[1].request)).toBe("text");
  });

  test("columns omits missing times, and rejects reserved names", () => {
    const reading = (timeMs: number | undefined, payload: object) => ({ sequence: 0, timeMs, payload }) as BatchReading;
    expect(columns([reading(undefined, { a: 1 }), reading(7, { a: 2 }), reading(9, { __proto__: null, b: 3 })])).toBe(
      '{"t0":7,"dt":[null,0,2],"a":[1,2,null],"b":[null,null,3]}',
    );
    expect(columns([reading(undefined, {})])).toBe('{"t0":null,"dt":[null]}');
    for (const payload of [{ t0: 1 }, { dt: 1 }, Uint8Array.of(1)]) {
      expect(() => columns([reading(1, payload)])).toThrow(expect.objectContaining({ code: "INVALID_PAYLOAD" }));
    }
  });
});

describe("a rejected batch", () => {
  const codes: [string, () => HttpResponse][] = [
    ["InvalidJSON", () => refused("InvalidParameterValue.InvalidJSON")],
    ["InvalidMsgLen", () => refused("FailedOperation.InvalidMsgLen")],
    ["PayloadOverLimit", () => refused("InvalidParameterValue.PayloadOverLimit")],
    ["413", () => page(413)],
    ["422", () => page(422)],
  ];

  test.each(codes)("with %s is halved until the bad reading is found", async (_name, reject) => {
    for (const count of [2, 3, 5, 8, 13, 20]) {
      for (let bad = 0; bad < count; bad++) {
        const { device, fill, groups, dropped } = batching({}, (group) => (group.includes(bad) ? reject() : undefined));
        await fill(count);
        // Witnesses of another topic, as many as the evidence takes.
        await fill(3, 100, "event");
        const result = await device.flush();
        expect(result).toMatchObject({ delivered: count + 2, dropped: 1, remaining: 0, reason: "empty" });
        expect(dropped).toMatchObject([{ reason: "rejected", message: { payload: `{"n":${bad}}` } }]);
        // Until the bad one is alone, what it takes is bounded; then a single message's evidence follows.
        const alone = groups().findIndex((group) => group.length === 1 && group[0] === bad);
        const bound = 2 * Math.ceil(Math.log2(count)) + 1;
        expect({ count, bad, requests: alone + 1, isWithin: alone + 1 <= bound }).toMatchObject({ isWithin: true });
      }
    }
  });

  test("that is too large lowers maxBytes until the restart", async () => {
    const { device, fill, groups, payloads } = batching({}, (_group, request) =>
      payloadOf(request).length > 400 ? refused("InvalidParameterValue.PayloadOverLimit") : undefined,
    );
    await fill(40);
    expect(await device.flush()).toMatchObject({ delivered: 40, dropped: 0, reason: "empty" });
    const rejected = payloads().filter(({ length }) => length > 400).length;
    expect(rejected).toBeLessThanOrEqual(2);
    await fill(40, 40);
    await device.flush();
    expect(payloads().filter(({ length }) => length > 400).length).toBe(rejected);
    expect(
      Math.max(
        ...groups()
          .slice(-3)
          .map(({ length }) => length),
      ),
    ).toBeGreaterThan(4);
  });

  test("with a size code for an acknowledged size does not lower maxBytes", async () => {
    const { device, fill, groups } = batching({ maxReadings: 4 }, (group) =>
      group.includes(5) ? refused("InvalidParameterValue.PayloadOverLimit") : undefined,
    );
    await fill(12);
    await fill(2, 100, "event");
    await device.flush();
    await fill(4, 20);
    await device.flush();
    expect(groups().at(-1)).toEqual([20, 21, 22, 23]);
  });

  test("with a reading that is too large alone does not make other batches smaller", async () => {
    const { device, fill, groups } = batching({}, (group) =>
      group.includes(0) ? refused("InvalidParameterValue.PayloadOverLimit") : undefined,
    );
    await fill(40);
    expect(await device.flush()).toMatchObject({ delivered: 39, dropped: 1, reason: "empty" });
    await fill(20, 50);
    await device.flush();
    expect(groups().at(-1)?.length).toBe(20);
  });

  test("still sends the encoded form of one reading after batches became smaller", async () => {
    const { device, fill, payloads, events } = batching(
      { encode: (readings) => JSON.stringify(readings.map(({ payload }) => payload)).replaceAll(",", ",        ") },
      (group) => (group.length > 1 ? refused("InvalidParameterValue.PayloadOverLimit") : undefined),
    );
    await fill(6);
    expect(await device.flush()).toMatchObject({ delivered: 6, dropped: 0, reason: "empty" });
    await device.enqueue({ topic: "data", payload: { n: 7, text: "x".repeat(300) } });
    await device.flush();
    expect(payloads().at(-1)).toMatch(/^\[\{"n":7,/);
    expect(events).toEqual([]);
  });

  test("with two bad readings finds both", async () => {
    const { device, fill, dropped, delivered } = batching({}, (group) =>
      group.includes(3) || group.includes(4) ? refused("X.InvalidJSON") : undefined,
    );
    await fill(20);
    expect(await device.flush()).toMatchObject({ dropped: 2, delivered: 18, reason: "empty" });
    expect(dropped.map(({ message }) => message?.payload)).toEqual(['{"n":3}', '{"n":4}']);
    expect(delivered.length).toBe(18);
  });

  test("that is always rejected as an array is sent as single readings, soon without trying", async () => {
    const { device, fill, groups, events } = batching({}, (_group, request) =>
      payloadOf(request).startsWith("[") ? refused("InvalidParameterValue.InvalidJSON") : undefined,
    );
    await fill(60);
    expect(await device.flush()).toMatchObject({ delivered: 60, dropped: 0, reason: "empty" });
    // 20, 10, 5, 3, 2 and both alone, twice; then one by one.
    expect([groups().length, groups().filter(({ length }) => length > 1).length]).toEqual([70, 10]);
    expect(events).toMatchObject([{ type: "batch", code: "INVALID_PAYLOAD", readings: 1 }]);
    expect(events[0]).toMatchObject({ message: expect.stringMatching(/^The gateway rejects arrays of readings/) });
  });

  test("with an unknown code is sent as single readings, and none is lost", async () => {
    const { device, fill, dropped, groups } = batching({}, (group) =>
      group.includes(2) ? refused("New.Code") : undefined,
    );
    await fill(8);
    expect(await device.flush()).toMatchObject({ delivered: 7, dropped: 1 });
    expect(groups()[0].length).toBe(8);
    expect(dropped).toMatchObject([{ message: { payload: '{"n":2}' }, error: { gatewayCode: "New.Code" } }]);
  });

  test("with an unknown code for everything ends the flush and keeps everything", async () => {
    const { device, fill, groups } = batching({}, () => refused("New.Code"));
    await fill(8);
    expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 8, reason: "unknown" });
    expect(groups().length).toBe(5);
  });

  test("for a topic without permission is skipped as a whole", async () => {
    const { device, fill, groups } = batching({ maxReadings: 2 }, (_group, request) =>
      bodyOf(request).TopicName === "P/d/data" ? refused("UnauthorizedOperation.PermissionDenied") : undefined,
    );
    await fill(5);
    await fill(3, 100, "event");
    expect(await device.flush()).toMatchObject({ delivered: 3, dropped: 0, remaining: 5, reason: "console" });
    expect(groups()).toEqual([[0, 1], [100, 101], [102]]);
  });

  test.each<[string, () => HttpResponse, string]>([
    ["an account in arrears", () => refused("FailedOperation.AccountIsolated"), "account"],
    ["a wrong signature", () => refused("AuthFailure.SignatureFailure"), "credential"],
    ["a pause", () => page(429, { "retry-after": "900" }), "throttled"],
  ])("%s ends the flush after one request", async (_name, reply, ended) => {
    const { device, fill, groups } = batching({}, reply);
    await fill(8);
    expect(await device.flush()).toMatchObject({ delivered: 0, remaining: 8, reason: ended });
    expect(groups().length).toBe(1);
  });

  test("behind a captive portal costs at most one more request than without batches", async () => {
    const { device, fill, groups } = batching({}, () => page(200));
    await fill(20);
    expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 20, reason: "unreadable" });
    expect(groups().length).toBe(5);
  });

  test("with an HTML page for one reading is halved until that is found", async () => {
    const { device, fill, dropped, groups } = batching({}, (group) => (group.includes(11) ? page(403) : undefined));
    await fill(20);
    expect(await device.flush()).toMatchObject({ delivered: 19, dropped: 1, reason: "empty" });
    expect(dropped).toMatchObject([{ message: { payload: '{"n":11}' } }]);
    expect(groups().findIndex((group) => group.length === 1 && group[0] === 11)).toBeLessThanOrEqual(12);
  });
});

test("statistics count every reading of a batch", async () => {
  const { device, fill } = batching({ maxReadings: 4 });
  await fill(9);
  await device.flush();
  await device.publish({ topic: "data", payload: "[]" });
  expect(device.stats()).toMatchObject({ published: 10, dropped: {}, outbox: { size: 0 } });
});

test("is not resent if its deletion fails after the acknowledgement", async () => {
  const { device, fill, groups, host, delivered } = batching();
  await fill(4);
  const storage = host.storage as NonNullable<typeof host.storage>;
  const remove = storage.delete;
  let deletions = 0;
  (storage as { delete: typeof remove }).delete = (key) =>
    ++deletions === 2 ? Promise.reject(new Error("worn")) : remove(key);
  expect((await device.flush()).reason).toBe("storage");
  expect(delivered.length).toBe(1);
  expect(await device.flush()).toMatchObject({ delivered: 3, reason: "empty" });
  expect(groups().length).toBe(1);
  expect(delivered.length).toBe(4);
});

test.each<[OutboxOptions, string]>([
  [{ batch: { maxBytes: 20000 } }, "outbox.batch.maxBytes must not exceed maxPayloadBytes, 16384."],
  [{ batch: { maxReading: 5 } as never }, "Unknown option `batch.maxReading`; did you mean `maxReadings`?"],
])("the batch option %j is rejected", (outbox, message) => {
  expect(() => outboxDevice(undefined, outbox)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", message }));
});
