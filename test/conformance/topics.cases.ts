import { utf8Decode } from "../../src/crypto/utf8.js";
import { Device } from "../../src/index.js";
import { topics } from "../../src/topics/topics.js";
import { fakeHost, response, success } from "../support/fake-host.js";
import type { Case } from "./case.js";

const identity = Object.freeze({ productId: "ABCDE12345", deviceName: "sensor-1" });
const timeMs = 1764000000123;

function create() {
  let number = 0;
  return topics(identity, { token: () => `t${number++}` });
}

/** Objects inside each other, with a value in the innermost. */
function nested(keys: number, value: unknown): Record<string, unknown> {
  let inner: unknown = value;
  for (let i = 0; i < keys; i++) inner = { a: inner };
  return inner as Record<string, unknown>;
}

function flat(members: number): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (let i = 0; i < members; i++) made[`m${i}`] = i;
  return made;
}

export const cases: readonly Case[] = [
  {
    name: "properties, events, device information, shadow and firmware have the platform's forms",
    run(check) {
      const { propertyReport, eventPost, deviceInfo, shadowUpdate, otaVersion } = create();
      check.equal(propertyReport({ power_switch: 1, brightness: 32.5 }, { timeMs }), {
        topic: "$thing/up/property/ABCDE12345/sensor-1",
        payload: {
          method: "report",
          clientToken: "t0",
          timestamp: 1764000000123,
          params: { power_switch: 1, brightness: 32.5 },
        },
      });
      check.equal(eventPost("low_voltage", "alert", { voltage: 2.8 }, { timeMs }), {
        topic: "$thing/up/event/ABCDE12345/sensor-1",
        payload: {
          method: "event_post",
          clientToken: "t1",
          version: "1.0",
          eventId: "low_voltage",
          type: "alert",
          timestamp: 1764000000123,
          params: { voltage: 2.8 },
        },
      });
      check.equal(deviceInfo({ mac: "00:11:22:33:44:55", fw_ver: "1.2", device_label: { room: "4" } }), {
        topic: "$thing/up/property/ABCDE12345/sensor-1",
        payload: {
          method: "report_info",
          clientToken: "t2",
          params: { mac: "00:11:22:33:44:55", fw_ver: "1.2", device_label: { room: "4" } },
        },
      });
      check.equal(shadowUpdate({ temperature: 35, old: null }), {
        topic: "$shadow/operation/ABCDE12345/sensor-1",
        payload: { type: "update", state: { reported: { temperature: 35, old: null } }, version: 0, clientToken: "t3" },
      });
      check.equal(otaVersion("1.0.2"), {
        topic: "$ota/report/ABCDE12345/sensor-1",
        payload: { type: "report_version", report: { version: "1.0.2" } },
      });
    },
  },
  {
    name: "without a time a report has no timestamp, and a fraction of a millisecond is rounded",
    run(check) {
      const { propertyReport, eventPost } = create();
      for (const { payload } of [
        propertyReport({ t: 1 }),
        propertyReport({ t: 1 }, {}),
        eventPost("e", "info", {}, { timeMs: undefined }),
      ]) {
        check.ok(!("timestamp" in payload), "it has one");
      }
      check.equal(propertyReport({}, { timeMs: timeMs + 0.6 }).payload.timestamp, timeMs + 1);
      check.equal(propertyReport({}, { timeMs: 0 }).payload.timestamp, 0);
      for (const wrong of [Number.NaN, -1, 2 ** 48, Number.POSITIVE_INFINITY, "1764000000123", null]) {
        check.throws("INVALID_TIMESTAMP", () => propertyReport({}, { timeMs: wrong as number }));
      }
    },
  },
  {
    name: "clientTokens of a device differ, and are short",
    run(check) {
      const [first, second] = [topics(identity), topics(identity)];
      const tokens = new Set<string>();
      for (let i = 0; i < 20; i++) {
        const { clientToken } = (i < 10 ? first.propertyReport({}) : first.shadowUpdate({})).payload;
        check.ok(clientToken.length > 0 && clientToken.length <= 32, clientToken);
        tokens.add(clientToken);
      }
      check.equal(tokens.size, 20);
      check.ok(second.deviceInfo({}).payload.clientToken.length <= 32, "long");
    },
  },
  {
    name: "an event's type and identifiers are checked",
    run(check) {
      const { propertyReport, eventPost } = create();
      for (const type of ["fatal", "INFO", "error", "", undefined]) {
        check.throws("INVALID_EVENT_TYPE", () => eventPost("low_voltage", type as "info", {}));
      }
      for (const id of ["", "a b", "温度", "a/b", "a.b", "é", "x".repeat(65), 5, undefined]) {
        check.throws("INVALID_IDENTIFIER", () => eventPost(id as string, "info", {}));
        if (typeof id === "string") check.throws("INVALID_IDENTIFIER", () => propertyReport({ ok: 1, [id]: 1 }));
        if (typeof id === "string") check.throws("INVALID_IDENTIFIER", () => eventPost("e", "info", { [id]: 1 }));
      }
      check.equal(propertyReport({ ["x".repeat(64)]: 1, _sys: 2, "a-b": 3, "0": 4 }).payload.clientToken, "t0");
      for (const params of [undefined, null, 5, "text", [1]]) {
        check.throws("INVALID_PAYLOAD", () => propertyReport(params as never));
        check.throws("INVALID_PAYLOAD", () => eventPost("e", "info", params as never));
        check.throws("INVALID_PAYLOAD", () => create().deviceInfo(params as never));
        check.throws("INVALID_PAYLOAD", () => create().shadowUpdate(params as never));
      }
      check.throws("INVALID_PRODUCT_ID", () => topics({ productId: "a/b", deviceName: "d" }));
      check.throws("INVALID_DEVICE_NAME", () => topics({ productId: "a", deviceName: "" }));
      check.throws("INVALID_OPTION", () => topics(identity, { tokn: () => "" } as never));
    },
  },
  {
    name: "a shadow has at most 5 levels and 20 attributes",
    run(check) {
      const { shadowUpdate } = create();
      const level = (keys: number, value: unknown) => () => shadowUpdate(nested(keys, value));
      for (const allowed of [1, null, "text", {}, [], [1, 2], ["a"]]) {
        level(5, allowed)();
        // Empty objects and arrays of values have no keys.
        check.throws("SHADOW_LIMIT", level(6, allowed), `${allowed}`);
      }
      check.throws("SHADOW_LIMIT", level(5, [{ b: 1 }]));
      level(3, [{ b: 1 }])();
      shadowUpdate(flat(20));
      check.throws("SHADOW_LIMIT", () => shadowUpdate(flat(21)));
      shadowUpdate({ a: flat(10), b: flat(10) });
      check.throws("SHADOW_LIMIT", () => shadowUpdate({ a: flat(10), b: flat(11) }));
      shadowUpdate({ ...flat(19), list: flat(0), samples: [1, 2, 3] });
      check.throws("SHADOW_LIMIT", () => shadowUpdate({ ...flat(19), list: [{ a: 1, b: 2 }] }));
      // JSON leaves it out.
      shadowUpdate({ ...flat(20), left: undefined });
      const round: Record<string, unknown> = {};
      round.self = round;
      check.throws("INVALID_PAYLOAD", () => shadowUpdate(round));
      check.throws("INVALID_PAYLOAD", () => shadowUpdate({ t: Number.NaN }));
    },
  },
  {
    name: "a shadow has at most 16 384 bytes, the whole message counted",
    heapBytes: 262_144,
    run(check) {
      const { shadowUpdate } = topics(identity, { token: () => "t" });
      const head = JSON.stringify(shadowUpdate({ a: "" }).payload).length;
      const room = 16384 - head;
      check.equal(JSON.stringify(shadowUpdate({ a: "x".repeat(room) }).payload).length, 16384);
      check.throws("PAYLOAD_TOO_LARGE", () => shadowUpdate({ a: "x".repeat(room + 1) }));
      // Three bytes each in UTF-8.
      shadowUpdate({ a: "温".repeat(Math.floor(room / 3)) });
      check.throws("PAYLOAD_TOO_LARGE", () => shadowUpdate({ a: "温".repeat(Math.floor(room / 3) + 1) }));
    },
  },
  {
    name: "a device publishes a form as it is, to its topic",
    stackBytes: 12_288,
    async run(check) {
      const host = fakeHost(() => response(success));
      const device = new Device({ ...identity, credential: { secret: "lDZ6Uqt+I9E0wW7rvDUs7Q==" } }, host);
      const { propertyReport } = topics(device, { token: () => "t" });
      const { topic } = await device.publish(propertyReport({ temperature: 21.5 }, { timeMs }));
      check.equal(topic, "$thing/up/property/ABCDE12345/sensor-1");
      const { TopicName, Payload } = JSON.parse(utf8Decode(host.sent[0].request.body));
      check.equal(TopicName, topic);
      check.equal(
        Payload,
        '{"method":"report","clientToken":"t","timestamp":1764000000123,"params":{"temperature":21.5}}',
      );
    },
  },
];
