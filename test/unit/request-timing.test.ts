/** Where a request's time goes, and what one request leaves for the next. */
import { describe, expect, test } from "@jest/globals";
import { Device, type DeviceOptions, type Host, NetworkError } from "../../src/index.js";
import { type Reply, refused, taken, virtualHost } from "../support/virtual-host.js";

function setup(reply: Reply = () => taken(), options: Partial<DeviceOptions> = {}, changes: Partial<Host> = {}) {
  const host = virtualHost(reply, changes);
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      url: "http://gateway.test",
      rateLimit: false,
      retry: false,
      ...options,
    },
    host,
  );
  return { host, device };
}

const message = { topic: "data", payload: "1" };

describe("timing", () => {
  test("separates waiting, signing and total", async () => {
    let now = 0;
    const slow = (ms: number) => () => {
      now += ms;
      return "A".repeat(44);
    };
    const { device } = setup(
      () => {
        now += 300;
        return taken();
      },
      { credential: { algorithm: "hmacsha256", hashBody: slow(20), sign: slow(30), close: () => {} } },
      { clock: { nowMs: () => Date.UTC(2026, 10, 3), monotonicMs: () => now } },
    );
    const [first, second] = await Promise.all([device.publish(message), device.publish(message)]);
    expect(first.timing).toMatchObject({ waitMs: 0, signMs: 50, totalMs: 350 });
    expect(second.timing).toMatchObject({ waitMs: 350, signMs: 50, totalMs: 700 });
  });

  test("counts all attempts, and the time between them as waiting", async () => {
    let now = 0;
    const { device } = setup(
      (_request, index) => {
        now += 300;
        if (index > 0) return taken();
        throw new NetworkError("CONNECTION_RESET", "read", "The connection was reset.");
      },
      {
        retry: { baseDelayMs: 1000 },
        credential: {
          algorithm: "hmacsha256",
          hashBody: () => "",
          sign: () => {
            now += 50;
            return "A".repeat(44);
          },
          close: () => {},
        },
      },
      {
        clock: { nowMs: () => Date.UTC(2026, 10, 3), monotonicMs: () => now },
        timer: {
          set: (callback, delayMs) => {
            // Only the wait for the next attempt is that short.
            if (delayMs <= 1000) {
              queueMicrotask(() => {
                now += 700;
                callback();
              });
            }
            return 1;
          },
          clear: () => {},
        },
      },
    );
    const { timing, attempts } = await device.publish(message);
    expect(attempts).toBe(2);
    expect(timing).toMatchObject({ waitMs: 700, signMs: 100, totalMs: 1400 });
  });
});

test("a new connection is requested once after a broken one", async () => {
  const { device, host } = setup((_request, index) => {
    if (index === 1) throw new NetworkError("CONNECTION_RESET", "read", "The connection was reset.");
    return taken();
  });
  for (let i = 0; i < 5; i++) await device.publish(message).catch(() => {});
  expect(host.sent.map(({ options }) => options.fresh)).toEqual([false, false, true, false, false]);
});

describe("without clock correction", () => {
  test("requests have the host's time", async () => {
    const { device, host } = setup(undefined, { clockCorrection: false });
    host.setNow(Date.UTC(2026, 10, 5));
    await device.publish(message);
    expect(host.sent[0].request.headers["X-TC-Timestamp"]).toBe(String(Date.UTC(2026, 10, 5) / 1000));
  });

  test("a rejected timestamp is an error without retry", async () => {
    const reply = () => refused("AuthFailure.SignatureExpire", { date: new Date(Date.UTC(2027, 0, 1)).toUTCString() });
    const { device, host } = setup(reply, { clockCorrection: false });
    await expect(device.publish(message)).rejects.toMatchObject({
      code: "GATEWAY_REJECTED",
      gatewayCode: "AuthFailure.SignatureExpire",
    });
    expect(host.sent.length).toBe(1);
  });

  test("an unset clock fails every request, and is tried every time", async () => {
    let asked = 0;
    const clock = {
      nowMs: () => 0,
      monotonicMs: () => 0,
      ready: async () => {
        asked++;
        throw new NetworkError("TIMEOUT", "total", "No time came.");
      },
    };
    const { device, host } = setup(undefined, { clockCorrection: false }, { clock });
    for (let i = 0; i < 2; i++) await expect(device.publish(message)).rejects.toMatchObject({ code: "TIMEOUT" });
    expect([asked, host.sent.length]).toEqual([2, 0]);
  });
});

test("over HTTP, a clock that could not be set is retried after one to two hours", async () => {
  let now = 0;
  let asked = 0;
  const clock = {
    nowMs: () => Date.UTC(2026, 10, 3) + now,
    monotonicMs: () => now,
    ready: async () => {
      asked++;
      throw new NetworkError("TIMEOUT", "total", "No time came.");
    },
  };
  const events: string[] = [];
  const { device } = setup(
    undefined,
    { onEvent: ({ type: phase }) => phase === "clock" && events.push(phase) },
    { clock },
  );
  for (const [at, expected] of [
    [0, 1],
    [3_599_999, 1],
    [7_200_000, 2],
    [10_799_999, 2],
    [14_400_000, 3],
  ]) {
    now = at;
    await device.publish(message);
    expect([at, asked, events.length]).toEqual([at, expected, expected]);
  }
});

test("the limit of clock correction must not be negative", () => {
  expect(() => setup(undefined, { clockCorrection: { maxStepMs: 0 } })).not.toThrow();
  for (const maxStepMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => setup(undefined, { clockCorrection: { maxStepMs } })).toThrow(/maxStepMs/);
  }
});
