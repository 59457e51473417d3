/** What a payload may be, by kinds of objects and of bytes. */

import { runInNewContext } from "node:vm";
import { MessageChannel } from "node:worker_threads";
import { describe, expect, test } from "@jest/globals";
import type { IotHubError } from "../../src/index.js";
import { MAX_JSON_DEPTH } from "../../src/json.js";
import { publishBody } from "../../src/message.js";

const identity = { productId: "P", deviceName: "D" };

function payloadOf(payload: unknown): unknown {
  const { body } = publishBody(identity, { topic: "data", payload: payload as object });
  const read = JSON.parse(Buffer.from(body).toString());
  return read.PayloadEncoding === "Base64" ? [...Buffer.from(read.Payload, "base64")] : read.Payload;
}

function refusal(payload: unknown, limit?: number): IotHubError {
  try {
    publishBody(identity, { topic: "data", payload: payload as object }, limit);
  } catch (error) {
    return error as IotHubError;
  }
  throw new Error("it was taken");
}

const bytes = [1, 0, 254, 255];
const other = (code: string) => runInNewContext(code, { SharedArrayBuffer });

describe("bytes are sent as bytes", () => {
  const buffer = Uint8Array.from([9, ...bytes, 9, 9, 9]).buffer;
  const shared = new SharedArrayBuffer(4);
  new Uint8Array(shared).set(bytes);
  test.each<[string, unknown]>([
    ["a Uint8Array", Uint8Array.from(bytes)],
    ["a Buffer", Buffer.from(bytes)],
    ["an ArrayBuffer", Uint8Array.from(bytes).buffer],
    ["a part of a buffer", new Uint8Array(buffer, 1, 4)],
    ["a DataView", new DataView(buffer, 1, 4)],
    ["an Int8Array", new Int8Array(buffer, 1, 4)],
    ["a Uint16Array", new Uint16Array(Uint8Array.from(bytes).buffer)],
    ["a SharedArrayBuffer", shared],
    ["a view on one", new Uint8Array(shared)],
    ["a Uint8Array of another realm", other("Uint8Array.of(1, 0, 254, 255)")],
    ["an ArrayBuffer of another realm", other("Uint8Array.of(1, 0, 254, 255).buffer")],
    ["a DataView of another realm", other("new DataView(Uint8Array.of(1, 0, 254, 255).buffer)")],
  ])("%s", (_name, payload) => {
    expect(payloadOf(payload)).toEqual(bytes);
  });

  test("a transferred buffer is rejected", () => {
    const gone = new ArrayBuffer(4);
    const view = new Uint8Array(gone);
    const { port1 } = new MessageChannel();
    port1.postMessage(gone, [gone]);
    port1.close();
    // Node 20 cannot tell a buffer that is gone from one that is empty.
    if (!("detached" in ArrayBuffer.prototype)) {
      process.stderr.write("skipped: this engine has no ArrayBuffer.prototype.detached\n");
      return;
    }
    for (const payload of [gone, view]) expect(refusal(payload).message).toMatch(/transferred/);
  });

  test("an object with the tag of a buffer is not one", () => {
    expect(refusal({ [Symbol.toStringTag]: "ArrayBuffer", __proto__: { made: 1 } }).code).toBe("INVALID_PAYLOAD");
  });
});

describe("values that JSON cannot represent are rejected with their path", () => {
  class Empty {
    #t = 1;
    get t() {
      return this.#t;
    }
  }
  const values: [string, unknown, string][] = [
    ["NaN", Number.NaN, "is NaN; JSON has no number for it"],
    ["Infinity", Number.POSITIVE_INFINITY, "is Infinity; JSON has no number for it"],
    ["-Infinity", Number.NEGATIVE_INFINITY, "is -Infinity; JSON has no number for it"],
    ["a BigInt", 1n, "is a BigInt"],
    ["a Map", new Map([["t", 1]]), "is a Map, which JSON cannot represent"],
    ["a Set", new Set([1]), "is a Set, which JSON"],
    ["a WeakMap", new WeakMap(), "is a WeakMap, which JSON"],
    ["a Promise", Promise.resolve(1), "is a Promise, which JSON"],
    ["a Blob", new Blob(["x"]), "is a Blob, which JSON"],
    ["a RegExp", /x/, "is a RegExp, which JSON"],
    ["an Error", Object.assign(new Error("x"), { code: "E" }), "is an Error, which JSON"],
    ["a Map of another realm", other("new Map([[1, 2]])"), "is a Map, which JSON"],
    ["a generator", (function* () {})(), "is a Generator, which JSON"],
    ["a Number object", new Number(5), "is a Number object"],
    ["a String object", new String("x"), "is a String object"],
    ["a Boolean object", new Boolean(false), "is a Boolean object"],
    ["an instance without members", new Empty(), "is an Empty, which JSON"],
    ["bytes", Uint8Array.of(1), "is a Uint8Array; JSON has no bytes"],
    ["numbers", Float32Array.of(1), "is a Float32Array; JSON has no bytes"],
    ["a buffer", new ArrayBuffer(1), "is an ArrayBuffer; JSON has no bytes"],
    ["a Date", new Date(0), "is a Date: use its toISOString()"],
    ["an invalid Date", new Date(Number.NaN), "is a Date: use its toISOString()"],
  ];
  test.each(values)("%s as a member, in an array, behind toJSON", (_name, value, said) => {
    const places: [unknown, string][] = [
      [{ sensors: [{}, {}, { temperature: value }] }, "payload.sensors[2].temperature"],
      [[0, [null, value]], "payload[1][1]"],
      [{ a: { b: 1 }, "温 度": value }, 'payload["温 度"]'],
      [{ reading: { toJSON: () => ({ t: value }) } }, "payload.reading.t"],
    ];
    for (const [payload, path] of places) {
      const { code, message } = refusal(payload);
      expect(code).toBe("INVALID_PAYLOAD");
      expect(message).toContain(`${path} ${said}`);
    }
  });

  test.each(
    values.filter(([, value]) => typeof value === "object" && !/^(bytes|numbers|a buffer)$/.test(String(value))),
  )("%s as the payload", (name, value, said) => {
    if (/^(bytes|numbers|a buffer)$/.test(name)) return;
    expect(refusal(value).message).toContain(`payload ${said}`);
  });

  test("a Date alone", () => {
    expect(refusal(new Date(0)).message).toBe("payload is a Date: use its toISOString().");
  });

  test("a function in a list", () => {
    expect(refusal({ list: [() => 1] }).message).toBe("payload.list[0] is a function.");
  });

  test.each([
    [undefined, "it is undefined"],
    [null, "it is null"],
    [5, "it is a number"],
    [() => 1, "it is a function"],
  ])("%p", (payload, said) => {
    expect(refusal(payload).message).toBe(`The payload must be text, bytes or an object; ${said}.`);
  });

  test("a circular object is reported where it begins", () => {
    const payload: Record<string, unknown> = { a: { list: [1] } };
    (payload.a as { list: unknown[] }).list.push(payload.a);
    expect(refusal(payload).message).toBe("payload.a.list[1] is an object that contains it.");
  });
});

test("JSON is sent like by JSON.stringify", () => {
  class Reading {
    t = 21.5;
    #secret = 1;
    twice() {
      return this.#secret * 2;
    }
  }
  for (const payload of [
    {},
    [],
    { t: 21.5, unit: "C", ok: true, none: null, left: undefined, out: () => 1 },
    [undefined, null, -0, 1e300],
    Object.create(null),
    Object.assign(Object.create(null), { a: 1 }),
    new Reading(),
    { url: new URL("http://h/") },
    { toJSON: (key: string) => ({ key }) },
    [{ toJSON: (key: string) => key }],
    { a: { toJSON: (key: string) => [key] } },
    other("({ a: [1, { b: 2 }] })"),
    { note: "null, NaN and {}" },
  ]) {
    expect(payloadOf(payload)).toBe(JSON.stringify(payload));
  }
});

describe("limits", () => {
  const nested = (levels: number) => {
    let payload: object = { end: 1 };
    for (let i = 1; i < levels; i++) payload = i % 2 ? [payload] : { a: payload };
    return payload;
  };

  test("nesting is limited", () => {
    expect(payloadOf(nested(MAX_JSON_DEPTH))).toBe(JSON.stringify(nested(MAX_JSON_DEPTH)));
    for (const levels of [MAX_JSON_DEPTH + 1, 100000]) {
      expect(refusal(nested(levels)).message).toMatch(
        /^payload[\w.[\]]{1,20} is nested too deeply: the limit is 16 levels\.$/,
      );
    }
  });

  test("an endless toJSON is rejected", () => {
    const endless = (): object => ({ toJSON: () => ({ next: endless() }) });
    expect(refusal(endless()).code).toBe("INVALID_PAYLOAD");
  });

  // Looked at one by one, they would not end within the limit of a test.
  test("shared objects that would expand to billions are rejected", () => {
    let payload: object = {};
    for (let i = 0; i < 15; i++) payload = Array(8).fill(payload);
    expect(refusal(payload).code).toBe("PAYLOAD_TOO_LARGE");
  });

  test("a sparse array with a billion elements is rejected", () => {
    const list: number[] = [];
    list[1e9] = 1;
    expect(refusal({ list }).code).toBe("PAYLOAD_TOO_LARGE");
  });
});

test("an exception of toJSON or a proxy is a typed error with its cause", () => {
  const cause = new TypeError("trap");
  for (const payload of [
    {
      toJSON() {
        throw cause;
      },
    },
    new Proxy(
      {},
      {
        ownKeys() {
          throw cause;
        },
      },
    ),
  ]) {
    const error = refusal(payload);
    expect(error.code).toBe("INVALID_PAYLOAD");
    expect(error.cause).toBe(cause);
  }
});
