import { describe, expect, test } from "@jest/globals";
import * as fc from "fast-check";
import { classifyError } from "../../src/errors.js";
import type { HttpResponse } from "../../src/host.js";
import {
  Aborter,
  createMemoryStorage,
  Device,
  type DeviceEvent,
  type DeviceOptions,
  IotHubError,
  NetworkError,
  ResponseError,
  type RetryNotice,
  type ThrottledError,
} from "../../src/index.js";
import { backoffMs, flushPauseMs, nextRunMs, pauseMs } from "../../src/request/backoff.js";
import { TokenBucket } from "../../src/request/rate-limit.js";
import { retryDefaults } from "../../src/request/retry.js";
import { failure } from "../support/failure.js";
import { hang, page, type Reply, refused, taken, type VirtualHost, virtualHost } from "../support/virtual-host.js";

const message = { topic: "data", payload: { t: 21.5 } };
const reset = () => new NetworkError("CONNECTION_RESET", "read", "The connection was closed.");
const late = () => new NetworkError("TIMEOUT", "first-byte", "The request timed out.");

function setup(reply: Reply, changes: Partial<DeviceOptions> = {}, host = virtualHost(reply)) {
  const events: DeviceEvent[] = [];
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      onEvent: (event) => events.push(event),
      ...changes,
    },
    host,
  );
  return { host, device, events };
}

/** Responds by turns; the last one goes on. */
function turns(...replies: (HttpResponse | Error | (() => HttpResponse))[]): Reply {
  return (_request, index) => {
    const reply = replies[Math.min(index, replies.length - 1)];
    if (reply instanceof Error) throw reply;
    return typeof reply === "function" ? reply() : reply;
  };
}

function stamps(host: VirtualHost): number[] {
  return host.sent.map(({ request }) => Number(request.headers["X-TC-Timestamp"]));
}

describe("classes of errors", () => {
  const reply = (code: string | number, status = 200) =>
    new ResponseError("GATEWAY_REJECTED", "m", { status, gatewayCode: code, requestId: "r" });
  const other = (status: number) => new ResponseError("HTTP_STATUS", "m", { status });
  test.each<[string, unknown, string]>([
    ["refused connection", new NetworkError("CONNECTION_REFUSED", "connect", "m"), "network"],
    ["name", new NetworkError("NAME_RESOLUTION", "connect", "m"), "network"],
    ["TLS", new NetworkError("TLS_FAILED", "tls", "m"), "network"],
    ["timeout", late(), "timeout"],
    ["certificate", new NetworkError("CERTIFICATE_REJECTED", "tls", "m"), "certificate"],
    ["endless response", new NetworkError("RESPONSE_TOO_LARGE", "read", "m"), "unreadable"],
    ["no HTTP", new NetworkError("RESPONSE_MALFORMED", "read", "m"), "unreadable"],
    ["what a host throws", new TypeError("x"), "network"],
    ["429", other(429), "throttled"],
    ["408", other(408), "timeout"],
    ["401", other(401), "credential"],
    ["413", other(413), "unknown"],
    ["a captive portal", other(302), "unreadable"],
    ["503", other(503), "server"],
    ["limit", reply("RequestLimitExceeded"), "throttled"],
    ["limit of a kind", reply("RequestLimitExceeded.Device"), "throttled"],
    ["internal", new ResponseError("GATEWAY_REJECTED", "m", { status: 200, gatewayCode: "InternalError" }), "server"],
    ["signature", reply("AuthFailure.SignatureFailure"), "credential"],
    ["signature, retired API", reply(1010), "credential"],
    ["expired", reply("AuthFailure.SignatureExpire"), "clock"],
    ["timestamp", reply("InvalidParameterValue.Timestamp"), "clock"],
    ["nonce", reply("AuthFailure.NonceReused"), "server"],
    ["device", reply("ResourceNotFound.DeviceNotExist"), "device"],
    ["topic", reply("InvalidParameterValue.TopicName"), "message"],
    ["permission", reply("UnauthorizedOperation"), "console"],
    ["a code of tomorrow", reply("Something.New"), "unknown"],
    ["a number of tomorrow", reply(4711), "unknown"],
    ["empty response", new ResponseError("RESPONSE_EMPTY", "m", { status: 200 }), "unreadable"],
    ["clock", new IotHubError("CLOCK_NOT_SET", "m"), "clock"],
    ["cancelled", new IotHubError("CANCELLED", "m"), "cancelled"],
    ["closed", new IotHubError("DEVICE_CLOSED", "m"), "cancelled"],
    ["queue", new IotHubError("QUEUE_FULL", "m"), "throttled"],
    ["bad input", new IotHubError("INVALID_TOPIC", "m"), "message"],
  ])("%s", (_name, error, expected) => {
    expect(classifyError(error)).toBe(expected);
  });
});

test("backoff is a random part of a limit that doubles up to a maximum", () => {
  const options = { baseDelayMs: 100, maxDelayMs: 1000 };
  expect([0, 1, 2, 3, 4, 5].map((retry) => backoffMs(retry, options, 1))).toEqual([100, 200, 400, 800, 1000, 1000]);
  expect(backoffMs(3, options, 0)).toBe(0);
  expect(backoffMs(1000, options, 0.5)).toBe(500);
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (retry, random) => {
      const delay = backoffMs(retry, retryDefaults, random);
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(delay).toBeLessThanOrEqual(retryDefaults.maxDelayMs);
    }),
  );
});

test("a requested pause is never shortened, and prolonged by up to half, at least a second", () => {
  for (const [askedMs, maxMs, least, most] of [
    [0, 300000, 0, 1000],
    [1000, 300000, 1000, 2000],
    [30000, 300000, 30000, 45000],
    [3600000, 300000, 300000, 450000],
    [30000, 50, 50, 100],
  ]) {
    expect(pauseMs(askedMs, maxMs, 0)).toBe(least);
    expect(pauseMs(askedMs, maxMs, 1)).toBe(most);
  }
});

test("automatic flushes are spread over a minute or the requested pause, doubled up to ten minutes", () => {
  for (const [askedMs, refusals, spreadMs] of [
    [30000, 0, 60000],
    [30000, 1, 60000],
    [30000, 2, 120000],
    [30000, 4, 480000],
    [30000, 5, 600000],
    [30000, 1000, 600000],
    [200000, 1, 200000],
    [200000, 2, 400000],
  ]) {
    expect(flushPauseMs(askedMs, refusals, 0)).toBe(askedMs);
    expect(flushPauseMs(askedMs, refusals, 1)).toBe(askedMs + spreadMs);
  }
  expect(flushPauseMs(2 ** 31 * 1000, 1, 0)).toBe(600000);
});

test("automatic tasks wait for their interval, plus a backoff after failures", () => {
  expect(nextRunMs(1000, 0, 8000, 1)).toBe(1000);
  expect([1, 2, 3, 4, 50].map((failures) => nextRunMs(1000, failures, 8000, 1))).toEqual([
    3000, 5000, 9000, 9000, 9000,
  ]);
  expect(nextRunMs(1000, 50, 8000, 0)).toBe(1000);
});

test("the token bucket limits every time window", () => {
  const bucket = new TokenBucket({ perSecond: 20, burst: 10 });
  const times: number[] = [];
  for (let now = 0; times.length < 200; ) {
    const wait = bucket.take(now);
    expect(Number.isInteger(wait) && wait >= 0 && wait <= 50).toBe(true);
    if (wait === 0) times.push(now);
    now += wait;
  }
  expect(times.filter((t) => t === 0).length).toBe(10);
  for (let i = 0; i + 30 < times.length; i++) expect(times[i + 30] - times[i]).toBeGreaterThanOrEqual(1000);
  expect(times[199]).toBe(190 * 50);
  // A clock that stands still gives nothing, one that goes back takes nothing.
  expect(bucket.take(times[199])).toBeGreaterThan(0);
  expect(bucket.take(0)).toBeGreaterThan(0);
});

describe("retries", () => {
  test("a temporary failure is retried with a new signature, and counted in the result", async () => {
    const notices: RetryNotice[] = [];
    const { device, host, events } = setup(turns(reset(), page(503), taken));
    const result = await device.publish(message, { onRetry: (notice) => notices.push(notice) });
    expect(result.attempts).toBe(3);
    expect(notices.map(({ attempt, errorClass }) => [attempt, errorClass])).toEqual([
      [1, "network"],
      [2, "server"],
    ]);
    expect(notices[0].delayMs).toBeLessThanOrEqual(500);
    expect(notices[1].delayMs).toBeLessThanOrEqual(1000);
    expect(host.elapsedMs).toBe(notices[0].delayMs + notices[1].delayMs);
    expect(result.timing).toMatchObject({ waitMs: host.elapsedMs, totalMs: host.elapsedMs });
    expect(new Set(host.sent.map(({ request }) => request.headers["X-TC-Nonce"])).size).toBe(3);
    expect(events.filter(({ type: phase }) => phase === "retry").length).toBe(2);
    expect(host.sent.map(({ options }) => options.fresh)).toEqual([false, true, false]);
    expect(host.timers).toBe(0);
  });

  test.each<[string, HttpResponse | Error]>([
    ["a message that is refused", refused("InvalidParameterValue.TopicName")],
    ["a credential that is refused", refused("AuthFailure.SignatureFailure")],
    ["a certificate that is refused", new NetworkError("CERTIFICATE_REJECTED", "tls", "m")],
  ])("%s is not retried", async (_name, reply) => {
    const { device, host } = setup(turns(reply));
    await failure(device.publish(message));
    expect(host.sent.length).toBe(1);
    expect(host.elapsedMs).toBe(0);
  });

  test("attempts, time per attempt and total time are limited", async () => {
    const attempts = setup(turns(reset()), { retry: { maxAttempts: 5 } });
    expect((await failure(attempts.device.publish(message))).code).toBe("CONNECTION_RESET");
    expect(attempts.host.sent.length).toBe(5);

    const slow = setup((_r, _i, options) => hang(options), { timeoutMs: 25000 });
    expect((await failure(slow.device.publish(message))).code).toBe("TIMEOUT");
    expect(slow.host.sent.map(({ options }) => options.connectTimeoutMs).slice(0, 2)).toEqual([10000, 10000]);
    expect(slow.host.sent[2].options.connectTimeoutMs).toBeLessThan(5000);
    expect(slow.host.elapsedMs).toBeLessThanOrEqual(25000);

    const once = setup((_r, _i, options) => hang(options), { retry: false, timeoutMs: 25000 });
    expect((await failure(once.device.publish(message))).code).toBe("TIMEOUT");
    expect(once.host.sent.map(({ options }) => options.connectTimeoutMs)).toEqual([25000]);
  });

  test("Retry-After delays all requests, up to its limit, plus up to half", async () => {
    const { device, host } = setup(turns(page(429, { "retry-after": "7" }), taken));
    const both = [device.publish(message), device.publish(message)];
    expect((await Promise.all(both)).map(({ attempts }) => attempts)).toEqual([2, 1]);
    expect(host.sent[1].atMs).toBeGreaterThanOrEqual(7000);
    expect(host.sent[1].atMs).toBeLessThanOrEqual(10500);

    // Longer than the request's own limit: better the reason at once, and the next request waits, too.
    const long = setup(turns(page(503, { "retry-after": "3600" }), taken));
    expect(await failure(long.device.publish(message))).toMatchObject({ code: "HTTP_STATUS", retryAfterSeconds: 3600 });
    expect(long.host.elapsedMs).toBe(0);
    const error = await failure(long.device.publish(message));
    expect(error).toMatchObject({ code: "THROTTLED", retryAfterSeconds: expect.any(Number) });
    const { retryAfterSeconds } = error as unknown as ThrottledError;
    await long.device.publish(message, { timeoutMs: 500000 });
    // Drawn once: the third request is sent at the time announced to the second.
    expect(Math.ceil(long.host.sent[1].atMs / 1000)).toBe(retryAfterSeconds);
    expect(long.host.sent[1].atMs).toBeGreaterThanOrEqual(300000);
    expect(long.host.sent[1].atMs).toBeLessThanOrEqual(450000);
  });

  test("a short Retry-After is spread over a second, and never shortened", async () => {
    const delays: number[] = [];
    for (let i = 0; i < 200; i++) {
      const { device, host } = setup(turns(page(429, { "retry-after": i % 2 === 0 ? "0" : "1" }), taken));
      // Every host begins with the same random bytes.
      host.random.bytes(i);
      await device.publish(message);
      delays.push(host.sent[1].atMs - (i % 2) * 1000);
    }
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...delays)).toBeLessThanOrEqual(1000);
    expect(new Set(delays.map((ms) => Math.floor(ms / 100))).size).toBe(10);
  });

  test("a budget limits retries in an outage, and is refilled by successes", async () => {
    let up = false;
    const { device, host } = setup(() => {
      if (up) return taken();
      throw reset();
    });
    for (let i = 0; i < 50; i++) await failure(device.publish(message));
    // 50 first attempts, and no more than ten retries for all of them.
    expect(host.sent.length).toBe(60);
    up = true;
    for (let i = 0; i < 4; i++) await device.publish(message);
    up = false;
    const before = host.sent.length;
    await failure(device.publish(message));
    await failure(device.publish(message));
    expect(host.sent.length - before).toBe(4);
  });

  test("classify overrides the classes of errors", async () => {
    const classify = (error: IotHubError) =>
      error instanceof ResponseError && error.gatewayCode === 4711 ? ("server" as const) : undefined;
    const { device, host } = setup(turns(refused("X"), taken), { retry: { classify } });
    await failure(device.publish(message));
    expect(host.sent.length).toBe(1);
    const code = JSON.stringify({ code: 4711, message: "busy" });
    const busy = { status: 200, headers: {}, body: new TextEncoder().encode(code) };
    const other = setup(turns(busy, taken), { retry: { classify } });
    expect((await other.device.publish(message)).attempts).toBe(2);
  });

  test.each<[string, Partial<DeviceOptions>]>([
    ["maxAttempts 0", { retry: { maxAttempts: 0 } }],
    ["maxAttempts 1.5", { retry: { maxAttempts: 1.5 } }],
    ["a negative delay", { retry: { baseDelayMs: -1 } }],
    ["NaN", { retry: { attemptTimeoutMs: Number.NaN } }],
    ["a budget that is text", { retry: { budget: "10" as never } }],
    ["classify that is not a function", { retry: { classify: true as never } }],
    ["no rate", { rateLimit: { perSecond: 0 } }],
    ["no burst", { rateLimit: { burst: 0 } }],
    ["a queue of -1", { maxQueued: -1 }],
    ["a step of NaN", { clockCorrection: { maxStepMs: Number.NaN } }],
  ])("rejects %s", (_name, changes) => {
    expect(() => setup(turns(taken), changes)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });
});

describe("one at a time", () => {
  test("requests are queued in order up to the limit", async () => {
    let open = 0;
    const { device, host } = setup(
      async () => {
        expect(++open).toBe(1);
        for (let i = 0; i < 20; i++) await Promise.resolve();
        open--;
        return taken();
      },
      { maxQueued: 5, rateLimit: false },
    );
    const all = await Promise.allSettled([..."01234567"].map((payload) => device.publish({ topic: "data", payload })));
    expect(all.map(({ status }) => status === "fulfilled")).toEqual([true, true, true, true, true, true, false, false]);
    expect((all[7] as PromiseRejectedResult).reason).toMatchObject({ code: "QUEUE_FULL", retryable: true });
    const order = host.sent.map(({ request }) => JSON.parse(new TextDecoder().decode(request.body)).Payload);
    expect(order.join("")).toBe("012345");
  });

  test("an aborted request leaves the queue", async () => {
    const { device, host } = setup((_r, _i, options) => hang(options), { timeoutMs: 5000 });
    const aborter = new Aborter();
    const first = failure(device.publish(message));
    const second = failure(device.publish(message, { signal: aborter.signal }));
    const third = failure(device.publish(message, { timeoutMs: 100 }));
    aborter.abort();
    expect((await second).code).toBe("CANCELLED");
    expect((await third).code).toBe("TIMEOUT");
    expect((await first).code).toBe("TIMEOUT");
    expect(host.timers).toBe(0);
  });

  test("close settles pending requests, and those waiting for turn, rate or retry", async () => {
    const never = () => new Promise<never>(() => {});
    const { device, host } = setup(never);
    const all = [1, 2, 3].map(() => failure(device.publish(message)));
    const waiting = setup(turns(page(503, { "retry-after": "10" })));
    all.push(failure(waiting.device.publish(message)), failure(waiting.device.publish(message)));
    while (waiting.host.sent.length === 0 || host.sent.length === 0) await Promise.resolve();
    device.close();
    waiting.device.close();
    for (const error of all) expect((await error).code).toBe("DEVICE_CLOSED");
    expect([host.timers, waiting.host.timers]).toEqual([0, 0]);
  });

  test("20 messages per second in bursts of ten are permitted", async () => {
    const { device, host } = setup(turns(taken), { maxQueued: 100 });
    await Promise.all(Array.from({ length: 50 }, () => device.publish(message)));
    expect(host.elapsedMs).toBe(40 * 50);
    expect(host.sent.filter(({ atMs }) => atMs === 0).length).toBe(10);
  });
});

describe("clock correction", () => {
  const now = Date.UTC(2026, 10, 20, 12);
  const expired = (dateMs: number) => refused("AuthFailure.SignatureExpire", { date: new Date(dateMs).toUTCString() });
  /** Accepts timestamps within five minutes of its clock. */
  const gateway =
    (nowMs: () => number, code = "AuthFailure.SignatureExpire"): Reply =>
    (request) => {
      const headers = { date: new Date(nowMs()).toUTCString() };
      const off = Math.abs(Number(request.headers["X-TC-Timestamp"]) * 1000 - nowMs());
      return off <= 300000 ? taken(headers) : refused(code, headers);
    };

  test("a device without a clock publishes over HTTP, and keeps the offset across a restart", async () => {
    const host = virtualHost(
      gateway(() => now + host.elapsedMs),
      {},
      5000,
    );
    const first = setup(turns(taken), { url: "http://gateway.test" }, host);
    expect((await first.device.publish(message)).attempts).toBe(2);
    expect(stamps(host)).toEqual([5, now / 1000]);
    expect(first.events).toContainEqual({ type: "clock-correction", path: "/device/publish", offsetMs: now - 5000 });
    await first.device.publish(message);
    const second = setup(turns(taken), { url: "http://gateway.test" }, host);
    expect((await second.device.publish(message)).attempts).toBe(1);
    // The host's own clock, by which certificates are judged, is what it was.
    expect(host.clock.nowMs()).toBe(5000);
  });

  test.each<[string, () => Promise<never>, string]>([
    ["never calls back", () => new Promise<never>(() => {}), "TIMEOUT"],
    [
      "throws",
      () => {
        throw new Error("worn");
      },
      "taken",
    ],
  ])("a storage that %s: every request settles, the next one goes through", async (_name, operation, first) => {
    for (const method of ["get", "set"]) {
      const host = virtualHost(
        gateway(() => now + host.elapsedMs),
        { storage: { ...createMemoryStorage(), [method]: operation } },
        5000,
      );
      const { device } = setup(turns(taken), { url: "http://gateway.test", timeoutMs: 5000 }, host);
      const publish = () => device.publish(message).then(() => "taken", String);
      // What was learned is kept in memory, whatever becomes of its writing.
      expect(await publish()).toContain(first === "TIMEOUT" && method === "get" ? "took longer" : "taken");
      expect(await publish()).toBe("taken");
    }
  });

  test("without a time server, requests continue over HTTP, not over HTTPS", async () => {
    const ready = () => Promise.reject(new IotHubError("CLOCK_NOT_SET", "No server responded."));
    const clock = { nowMs: () => 0, monotonicMs: () => 0, ready };
    const http = virtualHost(
      gateway(() => now),
      { clock },
    );
    const { device } = setup(turns(taken), { url: "http://gateway.test" }, http);
    expect((await device.publish(message)).attempts).toBe(2);
    const https = virtualHost(
      gateway(() => now),
      { clock },
    );
    const strict = setup(turns(taken), {}, https);
    expect((await failure(strict.device.publish(message))).code).toBe("CLOCK_NOT_SET");
    const off = setup(turns(taken), { url: "http://gateway.test", clockCorrection: false }, http);
    expect((await failure(off.device.publish(message))).code).toBe("CLOCK_NOT_SET");
  });

  test("a credential rejection with a distant Date causes one retry with corrected time", async () => {
    const host = virtualHost(
      gateway(() => now + 7200000, "AuthFailure.SignatureFailure"),
      {},
      now,
    );
    const { device } = setup(turns(taken), {}, host);
    expect((await device.publish(message)).attempts).toBe(2);

    const near = setup(
      turns(refused("AuthFailure.SignatureFailure", { date: new Date(now).toUTCString() })),
      {},
      virtualHost(turns(refused("AuthFailure.SignatureFailure", { date: new Date(now).toUTCString() })), {}, now),
    );
    await failure(near.device.publish(message));
    expect(near.host.sent.length).toBe(1);

    let shown = now;
    const liar = virtualHost(
      () => {
        shown += 3600000;
        return expired(shown);
      },
      {},
      now,
    );
    const always = setup(turns(taken), {}, liar);
    expect((await failure(always.device.publish(message))).gatewayCode).toBe("AuthFailure.SignatureExpire");
    expect(liar.sent.length).toBe(2);
  });

  test.each<[string, number, number]>([
    ["before the version was made", now, Date.UTC(2026, 9, 31)],
    ["more than a day ahead of a clock that was set", now, now + 86400001],
    ["more than a day behind a clock that was set", now, now - 86400001],
    ["decades ahead of a clock that was not set", 0, Date.UTC(2047, 0, 1)],
    ["before the version was made, with a clock that was not set", 0, Date.UTC(2026, 9, 31)],
  ])("a Date %s is not used", async (_name, ownMs, dateMs) => {
    const host = virtualHost(() => expired(Math.floor(dateMs / 1000) * 1000 + (dateMs > ownMs ? 1000 : 0)), {}, ownMs);
    const { device } = setup(turns(taken), {}, host);
    await failure(device.publish(message));
    expect(stamps(host)).toEqual([ownMs / 1000]);
    expect(await host.storage?.keys()).toEqual([]);
  });

  test("forged dates shift a set clock by at most a day", async () => {
    let shown = now;
    const host = virtualHost(
      () => {
        shown += 43200000;
        return expired(shown);
      },
      {},
      now,
    );
    const { device } = setup(turns(taken), {}, host);
    for (let i = 0; i < 20; i++) await failure(device.publish(message));
    expect(Math.max(...stamps(host)) * 1000 - host.clock.nowMs()).toBeLessThanOrEqual(86400000);
  });

  test("forged dates do not wear out the storage", async () => {
    let forged = now;
    const memory = createMemoryStorage();
    const written: number[] = [];
    const storage = {
      ...memory,
      set: async (key: string, text: string) => {
        written.push(host.elapsedMs);
        await memory.set(key, text);
      },
    };
    const host = virtualHost(
      () => {
        forged += 60000;
        return expired(forged);
      },
      { storage },
      0,
    );
    const { device } = setup(turns(taken), { url: "http://gateway.test", rateLimit: false }, host);
    for (let i = 0; i < 50; i++) await failure(device.publish(message));
    expect(written).toEqual([0]);
    // An hour later another one is kept.
    await new Promise<void>((resolve) => host.timer.set(resolve, 3600000));
    await failure(device.publish(message));
    expect(written).toEqual([0, 3600000]);
  });

  test("an offset is dropped once the host sets its clock", async () => {
    const host = virtualHost(
      gateway(() => now + host.elapsedMs),
      {},
      0,
    );
    const { device } = setup(turns(taken), {}, host);
    await device.publish(message);
    host.setNow(now);
    expect((await device.publish(message)).attempts).toBe(1);
    host.setNow(0);
    expect((await device.publish(message)).attempts).toBe(1);
  });

  test("a clock jump never repeats a nonce with the same timestamp", async () => {
    const host = virtualHost(turns(taken), {}, now);
    const { device } = setup(turns(taken), { rateLimit: false }, host);
    const pairs = new Set<string>();
    for (let i = 0; i < 2000; i++) {
      host.setNow(now + (i % 3) * 1000);
      await device.publish(message);
    }
    for (const { request } of host.sent)
      pairs.add(`${request.headers["X-TC-Timestamp"]} ${request.headers["X-TC-Nonce"]}`);
    expect(pairs.size).toBe(2000);
  });

  test("the offset is stored in a stable format", async () => {
    for (const [text, stamp] of [
      ["1s3600000", now / 1000 + 3600],
      ["1s-3600000", now / 1000 - 3600],
      ["1u3600000", now / 1000],
    ] as const) {
      const host = virtualHost(turns(taken), {}, now);
      await host.storage?.set("clock", text);
      const { device } = setup(turns(taken), {}, host);
      await device.publish(message);
      expect(stamps(host)).toEqual([stamp]);
    }
  });

  test.each([
    ["nothing", ""],
    ["half of it", "1s"],
    ["of a later version", "2s3600000"],
    ["noise", "1s36000000000000000000"],
  ])("a stored offset that is %s is ignored", async (_name, value) => {
    const host = virtualHost(turns(taken), {}, now);
    await host.storage?.set("clock", value);
    const { device } = setup(turns(taken), {}, host);
    await device.publish(message);
    expect(stamps(host)).toEqual([now / 1000]);
  });
});
