import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "@jest/globals";
import {
  Aborter,
  createMemoryStorage,
  Device,
  type DeviceEvent,
  type DeviceOptions,
  type Host,
  IotHubError,
  NetworkError,
} from "../../src/index.js";
import { createSigner, signRequest } from "../../src/signing/signer.js";
import { failure } from "../support/failure.js";
import { fakeHost, type Respond, response, success } from "../support/fake-host.js";
import { psk } from "../support/keys.js";

const options: DeviceOptions = {
  productId: "G8N9VAAAHB",
  deviceName: "AAAAAA",
  credential: { secret: psk },
  retry: false,
  rateLimit: false,
};
const message = { topic: "data", payload: { t: 21.5 } };

function device(respond: Respond, changes: Partial<DeviceOptions> = {}, host: Partial<Host> = {}) {
  const fake = fakeHost(respond, host);
  return { host: fake, device: new Device({ ...options, ...changes }, fake) };
}

test("publish sends a signed request and resolves with its result", async () => {
  const { device: d, host } = device(() => response(success));
  const result = await d.publish(message);
  expect(result).toMatchObject({
    requestId: "f4da4f1f-d72e-40f1-0000-349fc0072ba0",
    status: 200,
    topic: "G8N9VAAAHB/AAAAAA/data",
    timing: { waitMs: 0, signMs: 0, totalMs: 0 },
  });
  const { request, options: sendOptions } = host.sent[0];
  expect(request).toMatchObject({
    scheme: "https",
    host: "ap-guangzhou.gateway.tencentdevices.com",
    port: 443,
    method: "POST",
    path: "/device/publish",
  });
  expect(sendOptions).toMatchObject({ connectTimeoutMs: 20000, maxResponseBytes: 16384, fresh: false });
  expect(result.bodyBytes).toBe(request.body.length);
  const { createHash } = await import("node:crypto");
  const text = [
    "POST",
    request.host,
    request.path,
    "",
    "hmacsha256",
    "1735286744",
    request.headers["X-TC-Nonce"],
    createHash("sha256").update(request.body).digest("hex"),
  ].join("\n");
  expect(request.headers).toEqual({
    "Content-Type": "application/json; charset=utf-8",
    "X-TC-Algorithm": "hmacsha256",
    "X-TC-Timestamp": "1735286744",
    "X-TC-Nonce": expect.stringMatching(/^\d{1,10}$/),
    "X-TC-Signature": createHmac("sha256", psk).update(text).digest("base64"),
    "Accept-Encoding": "identity",
  });
  expect(host.timers).toBe(0);
});

test("options of a device apply to its requests", async () => {
  const { device: d, host } = device(() => response(success), {
    url: "http://Gateway.Local:8080/",
    contentType: "application/json",
    timeoutMs: 1234,
    maxResponseBytes: 99,
  });
  await d.publish(message);
  await d.publish(message, { timeoutMs: 55 });
  expect(host.sent[0].request).toMatchObject({ scheme: "http", host: "gateway.local", port: 8080 });
  expect(host.sent[0].request.headers["Content-Type"]).toBe("application/json");
  expect(host.sent[0].options).toMatchObject({ connectTimeoutMs: 1234, maxResponseBytes: 99 });
  expect(host.sent[1].options.connectTimeoutMs).toBe(55);
});

test("nonces are unique", async () => {
  const { device: d, host } = device(() => response(success));
  for (let i = 0; i < 1000; i++) await d.publish(message);
  const nonces = host.sent.map(({ request }) => Number(request.headers["X-TC-Nonce"]));
  expect(new Set(nonces).size).toBe(1000);
  expect(nonces.every((n) => Number.isInteger(n) && n >= 0 && n <= 2147483646)).toBe(true);
});

describe("the constructor rejects", () => {
  test.each<[string, Partial<Record<keyof DeviceOptions, unknown>>, string]>([
    ["a product id with a slash", { productId: "a/b" }, "INVALID_PRODUCT_ID"],
    ["no product id", { productId: undefined }, "INVALID_PRODUCT_ID"],
    ["a device name of 49 characters", { deviceName: "x".repeat(49) }, "INVALID_DEVICE_NAME"],
    ["a device name in Chinese", { deviceName: "设备" }, "INVALID_DEVICE_NAME"],
    ["no credential", { credential: undefined }, "INVALID_CREDENTIAL"],
    ["null", { credential: null }, "INVALID_CREDENTIAL"],
    ["an empty secret", { credential: { secret: "" } }, "INVALID_CREDENTIAL"],
    ["a secret and a key", { credential: { secret: psk, privateKey: "x" } }, "INVALID_CREDENTIAL"],
    ["another algorithm", { credential: { secret: psk, algorithm: "HmacSha256" } }, "INVALID_CREDENTIAL"],
    ["a psk that lost its ==", { credential: { secret: psk.slice(0, -2) } }, "INVALID_CREDENTIAL"],
    ["a psk that lost one =", { credential: { secret: psk.slice(0, -1) } }, "INVALID_CREDENTIAL"],
    ["the same, verbatim", { credential: { secret: psk.slice(0, -1), verbatim: true } }, "taken"],
    ["a psk with a line feed", { credential: { secret: `${psk}\n` } }, "INVALID_CREDENTIAL"],
    ["a dot at the end of the host", { url: "http://a.example.:8080" }, "taken"],
    ["two dots at the end of the host", { url: "http://a.example.." }, "INVALID_URL"],
    ["a key that is none", { credential: { privateKey: "key" } }, "KEY_MALFORMED"],
    ["a region with a dot", { region: "a.b" }, "INVALID_REGION"],
    ["region and url", { region: "europe", url: "http://a" }, "INVALID_OPTION"],
    ["ftp", { url: "ftp://a" }, "INVALID_URL"],
    ["a path", { url: "http://a/b" }, "INVALID_URL"],
    ["a user", { url: "http://u:p@a" }, "INVALID_URL"],
    ["port 0", { url: "http://a:0" }, "INVALID_URL"],
    ["port 65536", { url: "http://a:65536" }, "INVALID_URL"],
    ["a line feed in the host", { url: "http://a\nb" }, "INVALID_URL"],
    ["no time", { timeoutMs: 0 }, "INVALID_OPTION"],
    ["NaN", { timeoutMs: Number.NaN }, "INVALID_OPTION"],
    ["too much time", { timeoutMs: 2 ** 31 }, "INVALID_OPTION"],
    ["a limit of 0", { maxPayloadBytes: 0 }, "INVALID_OPTION"],
    ["a response of 0", { maxResponseBytes: 0 }, "INVALID_OPTION"],
    ["null for retry", { retry: null }, "INVALID_OPTION"],
    ["true for retry", { retry: true }, "INVALID_OPTION"],
    ["null for rateLimit", { rateLimit: null }, "INVALID_OPTION"],
    ["null for clockCorrection", { clockCorrection: null }, "INVALID_OPTION"],
    ["null for log", { log: null }, "INVALID_OPTION"],
    ["null for outbox", { outbox: null }, "INVALID_OPTION"],
    ["a Content-Type with CRLF", { contentType: "a\r\nb: c" }, "INVALID_OPTION"],
    ["IPv6", { url: "https://[::1]:8443" }, "taken"],
    ["a region of tomorrow", { region: "ap-tokyo" }, "taken"],
  ])("%s", (_name, changes, expected) => {
    let code = "taken";
    try {
      new Device(
        { ...options, ...(changes as Partial<DeviceOptions>) },
        fakeHost(() => response(success)),
      );
    } catch (error) {
      expect(error).toBeInstanceOf(IotHubError);
      code = (error as IotHubError).code;
      expect((error as IotHubError).message).toMatch(/^[A-Za-z].*\.$/);
    }
    expect(code).toBe(expected);
  });
});

test("invalid messages are rejected before anything is sent", async () => {
  const { device: d, host } = device(() => response(success), { maxPayloadBytes: 10 });
  expect((await failure(d.publish({ topic: "", payload: "" }))).code).toBe("INVALID_TOPIC");
  expect((await failure(d.publish({ topic: "data", payload: "12345678901" }))).code).toBe("PAYLOAD_TOO_LARGE");
  expect((await failure(d.publish(message, { timeoutMs: -1 }))).code).toBe("INVALID_OPTION");
  expect(host.sent.length).toBe(0);
});

describe("every promise settles with", () => {
  const never = () => new Promise<never>(() => {});

  test("a host that never calls back", async () => {
    const { device: d, host } = device(never, { timeoutMs: 5000 });
    const error = failure(d.publish(message));
    await Promise.resolve();
    host.advance(6001);
    expect(await error).toMatchObject({ code: "TIMEOUT", phase: "connect" });
    expect(host.timers).toBe(0);
  });

  test("a clock that is never ready", async () => {
    const clock = { nowMs: () => 0, monotonicMs: () => 0, ready: never };
    const { device: d, host } = device(() => response(success), { timeoutMs: 5000 }, { clock });
    const error = failure(d.publish(message));
    await Promise.resolve();
    host.advance(6001);
    expect((await error).code).toBe("TIMEOUT");
    expect(host.sent.length).toBe(0);
  });

  test("a clock that cannot be set", async () => {
    const ready = () => Promise.reject(new IotHubError("CLOCK_NOT_SET", "No server responded."));
    const clock = { nowMs: () => 0, monotonicMs: () => 0, ready };
    const { device: d } = device(() => response(success), {}, { clock });
    expect((await failure(d.publish(message))).code).toBe("CLOCK_NOT_SET");
  });

  test("a signal aborted before or during the request", async () => {
    const { device: d, host } = device(never);
    const aborter = new Aborter();
    const during = failure(d.publish(message, { signal: aborter.signal }));
    while (host.sent.length === 0) await Promise.resolve();
    aborter.abort();
    expect((await during).code).toBe("CANCELLED");
    expect(host.sent[0].options.signal?.aborted).toBe(true);
    expect((await failure(d.publish(message, { signal: aborter.signal }))).code).toBe("CANCELLED");
    expect(host.timers).toBe(0);
  });

  test("close", async () => {
    const { device: d, host } = device(never);
    const open = [failure(d.publish(message)), failure(d.publish(message))];
    d.close();
    d.close();
    for (const error of open) expect((await error).code).toBe("DEVICE_CLOSED");
    expect((await failure(d.publish(message))).code).toBe("DEVICE_CLOSED");
    expect(host.timers).toBe(0);
  });

  test("an unknown error of the host", async () => {
    const cause = new TypeError("inside the host");
    const { device: d } = device(() => Promise.reject(cause));
    expect(await failure(d.publish(message))).toMatchObject({ code: "NETWORK_FAILED", cause });
  });
});

test("a stale connection costs one more signature, and loses no message", async () => {
  const stale = new NetworkError("CONNECTION_RESET", "write", "The connection was closed.", { stale: true });
  const once = device((_r, i) => (i === 0 ? Promise.reject(stale) : response(success)));
  await once.device.publish(message);
  const [first, second] = once.host.sent.map(({ request }) => request);
  expect(second.headers["X-TC-Nonce"]).not.toBe(first.headers["X-TC-Nonce"]);
  expect(second.body).toBe(first.body);

  const always = device(() => Promise.reject(stale));
  expect((await failure(always.device.publish(message))).code).toBe("CONNECTION_RESET");
  expect(always.host.sent.length).toBe(2);
});

describe("onEvent", () => {
  const peers = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));
  const privateKey: string = peers.rsa_test_key["rsa2048_pkcs8.pem"];

  test("reports the phases in order", async () => {
    const seen: string[] = [];
    const d = device(() => response(success), { onEvent: ({ type: phase }) => seen.push(phase) });
    await d.device.publish(message);
    expect(seen).toEqual(["sign", "send", "response", "done"]);
    const failed = device(() => response("", { status: 500 }), { onEvent: ({ type: phase }) => seen.push(phase) });
    await failure(failed.device.publish(message));
    expect(seen.slice(4)).toEqual(["sign", "send", "response", "error"]);
  });

  test.each([
    ["a psk", { secret: psk }],
    ["a private key", { privateKey }],
  ])("reports the body's hash and the beginning of the signature: %s", async (_name, credential) => {
    const seen: DeviceEvent[] = [];
    const { device: d, host } = device(() => response(success), { credential, onEvent: (event) => seen.push(event) });
    await d.publish(message);
    const { headers, body } = host.sent[0].request;
    const sign = seen.find((event) => event.type === "sign");
    expect(sign).toMatchObject({
      bodyHash: createHash("sha256").update(body).digest("hex"),
      signature: headers["X-TC-Signature"].slice(0, 12),
    });
    expect(JSON.stringify(seen)).not.toContain(headers["X-TC-Signature"].slice(0, 13));
  });

  test("contains no secret, nor do errors", async () => {
    const canary = "c2VjcmV0LWNhbmFyeS1wc2s=";
    for (const credential of [{ secret: canary }, { secret: canary, algorithm: "hmacsha1" as const }, { privateKey }]) {
      const seen: unknown[] = [];
      for (const body of [success, "<html>", '{"Response":{"Error":{"Code":"AuthFailure"},"RequestId":"r"}}']) {
        const d = device(() => response(body), { credential, onEvent: (event) => seen.push(event) });
        await d.device
          .publish({ topic: "data", payload: "private reading" })
          .catch((error) => seen.push({ ...error, message: error.message, stack: error.stack, cause: error.cause }));
        seen.push(d.device);
        d.device.close();
        await d.device.publish(message).catch((error) => seen.push(error.message));
      }
      const text = JSON.stringify(seen) + String(seen);
      expect(text).toContain("hmac".slice(0, "secret" in credential ? 4 : 0));
      expect(text).not.toContain(canary);
      expect(text).not.toContain(Buffer.from(canary, "base64").toString());
      expect(text).not.toContain("private reading");
      expect(text).not.toMatch(/PRIVATE KEY|MII/);
      expect(text).not.toContain("X-TC-Signature");
    }
  });

  test("may throw without effect", async () => {
    const onEvent = () => {
      throw new Error("listener");
    };
    const { device: d } = device(() => response(success), { onEvent });
    expect((await d.publish(message)).status).toBe(200);
  });
});

test("a custom signer is used unchanged", async () => {
  const inner = createSigner({ secret: psk });
  let signed = 0;
  const signer = {
    ...inner,
    algorithm: inner.algorithm,
    hashBody: (b: Uint8Array) => inner.hashBody(b),
    close() {},
    sign: (t: string) => {
      signed++;
      return inner.sign(t);
    },
  };
  const { device: d } = device(() => response(success), { credential: signer });
  await d.publish(message);
  expect(signed).toBe(1);
});

describe("a signer that returns a promise", () => {
  const asynchronous = (sign: (text: string) => Promise<string>) => {
    const inner = createSigner({ secret: psk });
    return { algorithm: inner.algorithm, hashBody: (b: Uint8Array) => inner.hashBody(b), close() {}, sign };
  };

  test("is awaited, and counted as signing time", async () => {
    const inner = createSigner({ secret: psk });
    const { device: d, host } = device(() => response(success), {
      credential: asynchronous(async (text) => {
        host.advance(250);
        return inner.sign(text);
      }),
    });
    const { timing } = await d.publish(message);
    const { request } = host.sent[0];
    expect(timing.signMs).toBe(250);
    const time = {
      timestampSeconds: Number(request.headers["X-TC-Timestamp"]),
      nonce: Number(request.headers["X-TC-Nonce"]),
    };
    expect(request.headers).toMatchObject(signRequest(request, inner, time).headers);
  });

  test("that fails or returns no Base64 is a typed error, and nothing is sent", async () => {
    for (const sign of [
      () => Promise.reject(new Error("the secure element is gone")),
      async () => "ab cd",
      async () => "a".repeat(64),
      async () => `${"a".repeat(21)}\n${"a".repeat(21)}=`,
      async () => "-_".repeat(22),
      async () => `${"a".repeat(42)}\r\n`,
      async () => Uint8Array.of(1) as never,
      () => {
        throw new TypeError("no key");
      },
    ]) {
      const { device: d, host } = device(() => response(success), { credential: asynchronous(sign), retry: false });
      expect((await failure(d.publish(message))).code).toBe("SIGNING_FAULT");
      expect(host.sent).toEqual([]);
    }
  });

  test("that never settles ends at the request's timeout", async () => {
    const { device: d, host } = device(() => response(success), {
      credential: asynchronous(() => new Promise(() => {})),
    });
    const published = failure(d.publish(message, { timeoutMs: 500 }));
    await new Promise(setImmediate);
    host.advance(5000);
    expect((await published).code).toBe("TIMEOUT");
    expect(host.sent).toEqual([]);
  });
});

test("invalid request options are a typed error", async () => {
  const { device: d, host } = device(() => response(success));
  for (const none of [null, 5]) {
    expect((await failure(d.publish(message, none as never))).code).toBe("INVALID_OPTION");
    expect((await failure(d.publish(message, { retry: none as never }))).code).toBe("INVALID_OPTION");
  }
  expect(host.timers).toBe(0);
});

test("a device does not keep its credential", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const made = () => {
    const credential = { secret: psk };
    const d = new Device(
      { ...options, credential, outbox: { flushIntervalMs: 0 } },
      fakeHost(() => response(success), { storage: createMemoryStorage() }),
    );
    return { d, given: new WeakRef(credential) };
  };
  const { d, given } = made();
  // A WeakRef keeps its target until the current job is done.
  for (let i = 0; i < 10 && given.deref() !== undefined; i++) {
    await new Promise(setImmediate);
    collect();
  }
  expect(given.deref()).toBeUndefined();
  expect((await d.publish(message)).status).toBe(200);
});
