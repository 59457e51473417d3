import { base64 } from "../../src/crypto/base64.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { publishBody } from "../../src/message.js";
import type { Case } from "./case.js";

const identity = Object.freeze({ productId: "G8N9VAAAHB", deviceName: "AAAAAA" });

function members(body: Uint8Array): Record<string, unknown> {
  return JSON.parse(utf8Decode(body));
}

export const cases: readonly Case[] = [
  {
    name: "text arrives as it was given",
    run(check, texts: readonly (readonly string[])[]) {
      for (const pieces of texts) {
        const payload = pieces.join("");
        const { topic, body } = publishBody(identity, { topic: "data", payload });
        const read = members(body);
        check.equal(topic, "G8N9VAAAHB/AAAAAA/data");
        // By bytes: on XS, two joined halves and the character are different texts.
        check.equal(utf8(read.Payload as string), utf8(payload), JSON.stringify(payload));
        check.equal(Object.keys(read), ["ProductId", "DeviceName", "TopicName", "Payload", "Qos"]);
        const encoded = members(publishBody(identity, { topic: "data", payload, encoding: "Base64" }).body);
        check.equal(encoded.Payload, base64(utf8(payload)));
        check.equal(encoded.PayloadEncoding, "Base64");
      }
    },
  },
  {
    name: "bytes, buffers and objects",
    run(check) {
      const bytes = Uint8Array.from([0, 255, 1, 254]);
      for (const payload of [bytes, bytes.buffer, new Uint8Array(bytes.buffer)]) {
        const read = members(publishBody(identity, { topic: "a/b", payload, qos: 0 }).body);
        check.equal(read, {
          ProductId: "G8N9VAAAHB",
          DeviceName: "AAAAAA",
          TopicName: "a/b",
          Payload: "AP8B/g==",
          PayloadEncoding: "Base64",
          Qos: 0,
        });
      }
      const payload = { t: 21.5, text: "温度😀", list: [1, null, true], nested: { a: "\n" } };
      check.equal(
        JSON.parse(members(publishBody(identity, { topic: "data", payload }).body).Payload as string),
        payload,
      );
    },
  },
  {
    name: "text of the default limit, 16 KB",
    run(check) {
      const payload = "x".repeat(16_384);
      check.ok(publishBody(identity, { topic: "data", payload }).body.length > 16_384, "taken");
      check.throws("PAYLOAD_TOO_LARGE", () => publishBody(identity, { topic: "data", payload: `${payload}x` }));
    },
  },
  {
    name: "bytes of the default limit, 16 KB",
    run(check) {
      const { body } = publishBody(identity, { topic: "data", payload: new Uint8Array(16_384) });
      check.ok(body.length > (16_384 * 4) / 3, "taken");
    },
  },
  {
    name: "what cannot be sent is refused with its own code",
    run(check) {
      const cyclic: Record<string, unknown> = {};
      cyclic.self = cyclic;
      const refused: [string, object][] = [
        ["INVALID_TOPIC", { topic: "" }],
        ["INVALID_TOPIC", { topic: "a\0b" }],
        ["INVALID_TOPIC", { topic: undefined }],
        ["TOPIC_WILDCARD", { topic: "a/+" }],
        ["TOPIC_WILDCARD", { topic: "#" }],
        ["TOPIC_TOO_LONG", { topic: `a/${"x".repeat(254)}` }],
        ["TOPIC_TOO_LONG", { topic: `a/${"漢".repeat(85)}` }],
        ["TOPIC_TOO_LONG", { topic: `a/${"😀".repeat(64)}` }],
        ["INVALID_QOS", { qos: 2 }],
        ["INVALID_QOS", { qos: -1 }],
        ["INVALID_QOS", { qos: "1" }],
        ["INVALID_ENCODING", { encoding: "base64" }],
        ["INVALID_PAYLOAD", { payload: undefined }],
        ["INVALID_PAYLOAD", { payload: null }],
        ["INVALID_PAYLOAD", { payload: 5 }],
        ["INVALID_PAYLOAD", { payload: cyclic }],
        ["INVALID_PAYLOAD", { payload: { n: 1n } }],
        ["INVALID_PAYLOAD", { payload: () => 1 }],
        ["PAYLOAD_TOO_LARGE", { payload: "x".repeat(101) }],
        ["PAYLOAD_TOO_LARGE", { payload: "漢".repeat(34) }],
        ["PAYLOAD_TOO_LARGE", { payload: "😀".repeat(26) }],
        ["PAYLOAD_TOO_LARGE", { payload: new Uint8Array(101) }],
      ];
      for (const [code, change] of refused) {
        const message = { topic: "data", payload: "x", ...change } as { topic: string; payload: string };
        check.throws(code, () => publishBody(identity, message, 100), code);
      }
      const taken = ["x".repeat(100), "漢".repeat(33), "😀".repeat(25), new Uint8Array(100)];
      for (const payload of taken)
        check.ok(publishBody(identity, { topic: "data", payload }, 100).body.length, "taken");
      check.ok(
        publishBody(identity, { topic: `a/${"x".repeat(253)}`, payload: "" }).body.length,
        "a topic of 255 bytes",
      );
    },
  },
  {
    name: "bytes of every kind of view",
    run(check) {
      const bytes = Uint8Array.from([9, 9, 1, 0, 254, 255]);
      const views: object[] = [
        new Uint8Array(bytes.buffer, 2),
        new DataView(bytes.buffer, 2),
        new Int8Array(bytes.buffer, 2),
        new Uint16Array(bytes.buffer, 2),
        bytes.buffer.slice(2),
      ];
      if (typeof SharedArrayBuffer !== "undefined") {
        const shared = new SharedArrayBuffer(4);
        new Uint8Array(shared).set(bytes.subarray(2));
        views.push(shared, new Uint8Array(shared));
      } else views.push(bytes.subarray(2), bytes.subarray(2));
      for (const payload of views) {
        check.equal(members(publishBody(identity, { topic: "data", payload }).body).Payload, "AQD+/w==");
      }
    },
  },
  {
    name: "what JSON would show as null or as an empty object is refused with its path",
    run(check) {
      class Empty {}
      const refused: [unknown, string][] = [
        [Number.NaN, "is NaN; JSON has no number for it"],
        [Number.POSITIVE_INFINITY, "is Infinity; JSON has no number for it"],
        [1n, "is a BigInt"],
        [new Map([[1, 2]]), "is a Map,"],
        [new Set([1]), "is a Set,"],
        [Promise.resolve(), "is a Promise,"],
        [/x/, "is a RegExp,"],
        [new Error("x"), "is an Error,"],
        [new Number(1), "is a Number object"],
        [new Empty(), "is an Empty,"],
        [Uint8Array.of(1), "is a Uint8Array;"],
        [new Date(0), "is a Date: use its toISOString()"],
      ];
      for (const [value, said] of refused) {
        const payload = { sensors: [{}, { t: value }] };
        const error = check.throws("INVALID_PAYLOAD", () => publishBody(identity, { topic: "data", payload }), said);
        // A release build of firmware has no names of classes.
        const message = error.message
          .replace("is an object,", "is an Empty,")
          .replace("is an object;", "is a Uint8Array;");
        check.ok(message.startsWith(`payload.sensors[1].t ${said}`), error.message);
      }
      class Reading {
        t = 1;
      }
      const payload = [new Reading(), { none: null, left: undefined }, Object.create(null)];
      check.equal(
        members(publishBody(identity, { topic: "data", payload }).body).Payload,
        '[{"t":1},{"none":null},{}]',
      );
    },
  },
  {
    name: "an object that is nested too deeply is an error, not the end of the machine",
    // What an ESP32 has by default.
    stackBytes: 6144,
    run(check) {
      const nested = (levels: number) => {
        let payload: object = {};
        for (let i = 1; i < levels; i++) payload = i % 2 ? [payload] : { a: payload };
        return payload;
      };
      check.ok(publishBody(identity, { topic: "data", payload: nested(16) }).body.length, "taken");
      for (const levels of [17, 500]) {
        check.throws("INVALID_PAYLOAD", () => publishBody(identity, { topic: "data", payload: nested(levels) }));
      }
      const list: number[] = [];
      list[1e9] = 1;
      check.throws("PAYLOAD_TOO_LARGE", () => publishBody(identity, { topic: "data", payload: { list } }));
    },
  },
  {
    name: "unknown members are reported with the closest name",
    run(check) {
      for (const [name, said] of [
        ["topc", "did you mean `topic`?"],
        ["constructor", "the known ones are topic, payload, qos, encoding, timeMs."],
        ["QOS", "did you mean `qos`?"],
      ]) {
        const message = { topic: "data", payload: "x", [name]: 1 };
        const error = check.throws("INVALID_OPTION", () => publishBody(identity, message), name);
        check.equal(error.message, `Unknown option \`${name}\`; ${said}`);
      }
    },
  },
];
