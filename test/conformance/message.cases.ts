import { base64, publishBody, utf8, utf8Decode } from "../../src/index.js";
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
];
