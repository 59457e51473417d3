import { describe, expect, test } from "@jest/globals";
import type { Message } from "../../src/index.js";
import { publishBody } from "../../src/message.js";

const identity = { productId: "G8N9VAAAHB", deviceName: "AAAAAA" };

function body(message: unknown, limit?: number): Record<string, unknown> {
  return JSON.parse(Buffer.from(publishBody(identity, message as Message, limit).body).toString());
}

function code(message: unknown, limit?: number): string {
  try {
    publishBody(identity, message as Message, limit);
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "taken";
}

test("a publish body has its members in the order of the official SDKs", () => {
  const { body } = publishBody(identity, { topic: "data", payload: "123" });
  expect(Buffer.from(body).toString()).toBe(
    '{"ProductId":"G8N9VAAAHB","DeviceName":"AAAAAA","TopicName":"G8N9VAAAHB/AAAAAA/data","Payload":"123","Qos":1}',
  );
});

describe("topics", () => {
  test.each([
    ["data", "G8N9VAAAHB/AAAAAA/data"],
    ["G8N9VAAAHB/AAAAAA/event", "G8N9VAAAHB/AAAAAA/event"],
    ["$thing/up/property/G8N9VAAAHB/AAAAAA", "$thing/up/property/G8N9VAAAHB/AAAAAA"],
    ["a/b", "a/b"],
    ["数据", "G8N9VAAAHB/AAAAAA/数据"],
  ])("%s", (topic, sent) => {
    expect(body({ topic, payload: "" }).TopicName).toBe(sent);
  });

  test.each([
    ["", "INVALID_TOPIC"],
    [undefined, "INVALID_TOPIC"],
    [7, "INVALID_TOPIC"],
    ["a\0b", "INVALID_TOPIC"],
    ["a/+/b", "TOPIC_WILDCARD"],
    ["a/#", "TOPIC_WILDCARD"],
    [`a/${"b".repeat(253)}`, "taken"],
    [`a/${"b".repeat(254)}`, "TOPIC_TOO_LONG"],
    [`a/${"度".repeat(84)}b`, "taken"],
    [`a/${"度".repeat(85)}`, "TOPIC_TOO_LONG"],
    ["b".repeat(237), "taken"],
    ["b".repeat(238), "TOPIC_TOO_LONG"],
    [`a/${"😀".repeat(64)}`, "TOPIC_TOO_LONG"],
  ])("%s: %s", (topic, expected) => {
    expect(code({ topic, payload: "" })).toBe(expected);
  });
});

describe("payloads", () => {
  test("any text is sent unchanged", () => {
    const payload = '温度"\\\n\u2028\0 😀';
    expect(body({ topic: "data", payload })).toEqual({
      ProductId: "G8N9VAAAHB",
      DeviceName: "AAAAAA",
      TopicName: "G8N9VAAAHB/AAAAAA/data",
      Payload: payload,
      Qos: 1,
    });
  });

  test("bytes are sent as Base64", () => {
    for (const payload of [Uint8Array.of(0, 255, 128), Uint8Array.of(0, 255, 128).buffer, Buffer.from([0, 255, 128])]) {
      expect(body({ topic: "data", payload })).toMatchObject({ Payload: "AP+A", PayloadEncoding: "Base64" });
    }
  });

  test("an object is sent as JSON text", () => {
    const made = body({ topic: "data", payload: { t: 21.5, 名: ["a"] } });
    expect(made.Payload).toBe('{"t":21.5,"名":["a"]}');
    expect(made.PayloadEncoding).toBeUndefined();
    expect(body({ topic: "data", payload: [1, 2] }).Payload).toBe("[1,2]");
  });

  test("encoding Base64 applies to text and objects", () => {
    expect(body({ topic: "data", payload: "温", encoding: "Base64" })).toMatchObject({
      Payload: "5rip",
      PayloadEncoding: "Base64",
    });
    expect(body({ topic: "data", payload: {}, encoding: "Base64" }).Payload).toBe("e30=");
  });

  const circular: Record<string, unknown> = {};
  circular.self = circular;
  test.each<[string, unknown, string]>([
    ["undefined", undefined, "INVALID_PAYLOAD"],
    ["null", null, "INVALID_PAYLOAD"],
    ["a number", 5, "INVALID_PAYLOAD"],
    ["a function", () => 1, "INVALID_PAYLOAD"],
    ["a circle", circular, "INVALID_PAYLOAD"],
    ["a BigInt inside", { n: 1n }, "INVALID_PAYLOAD"],
    ["toJSON that gives nothing", { toJSON: () => undefined }, "INVALID_PAYLOAD"],
    ["a text of 16384 bytes", "x".repeat(16384), "taken"],
    ["a text of 16385 bytes", "x".repeat(16385), "PAYLOAD_TOO_LARGE"],
    ["Chinese text of 16386 bytes", "度".repeat(5462), "PAYLOAD_TOO_LARGE"],
    ["Chinese text of 16383 bytes", "度".repeat(5461), "taken"],
    ["16384 bytes", new Uint8Array(16384), "taken"],
    ["16385 bytes", new Uint8Array(16385), "PAYLOAD_TOO_LARGE"],
    ["JSON of 16385 bytes", ["x".repeat(16381)], "PAYLOAD_TOO_LARGE"],
    ["JSON of 16384 bytes", ["x".repeat(16380)], "taken"],
  ])("%s", (_name, payload, expected) => {
    expect(code({ topic: "data", payload })).toBe(expected);
  });

  test("the limit can be set, and is named in the error", () => {
    expect(code({ topic: "data", payload: "123456" }, 5)).toBe("PAYLOAD_TOO_LARGE");
    expect(() => publishBody(identity, { topic: "data", payload: "123456" }, 5)).toThrow("6 bytes; the limit is 5");
  });
});

test.each([
  [{ topic: "data", payload: "", qos: 2 }, "INVALID_QOS"],
  [{ topic: "data", payload: "", qos: "1" }, "INVALID_QOS"],
  [{ topic: "data", payload: "", qos: null }, "INVALID_QOS"],
  [{ topic: "data", payload: "", qos: 0 }, "taken"],
  [{ topic: "data", payload: "", encoding: "base64" }, "INVALID_ENCODING"],
  [null, "INVALID_PAYLOAD"],
  ["data", "INVALID_PAYLOAD"],
])("%j: %s", (message, expected) => {
  expect(code(message)).toBe(expected);
});
