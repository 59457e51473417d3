import { afterEach, describe, expect, test } from "@jest/globals";
import {
  createMemoryStorage,
  Device,
  type DeviceEvent,
  type DeviceOptions,
  type FlushReport,
  NetworkError,
} from "../../src/index.js";
import { page, type Reply, refused, taken, virtualHost } from "../support/virtual-host.js";

const reading = { topic: "data", payload: { t: 21.5 } };
const PSK = "c2VjcmV0LW9mLXRlc3RzMTIz";
const down = () => new NetworkError("CONNECTION_REFUSED", "connect", "Nothing listens at 192.0.2.1:443.");

const devices: Device[] = [];

// A device that is left open goes on in virtual time, for ever.
afterEach(() => {
  for (const device of devices.splice(0)) device.close();
});

function setup(reply: Reply, outbox: DeviceOptions["outbox"] = {}, options: Partial<DeviceOptions> = {}) {
  const reports: FlushReport[] = [];
  const events: DeviceEvent[] = [];
  const host = virtualHost(reply);
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: PSK },
      onEvent: (event) => events.push(event),
      outbox: { onFlushed: (report) => reports.push(report), ...outbox },
      ...options,
    },
    host,
  );
  devices.push(device);
  return { host, device, reports, events };
}

/** Lets the virtual time run until there is a report, at most so many turns. */
async function until(done: () => boolean): Promise<void> {
  for (let turn = 0; turn < 20_000 && !done(); turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(done()).toBe(true);
}

describe("onFlushed", () => {
  test("reports an automatic flush that failed: its error, and when the outbox tries again", async () => {
    const { device, host, reports } = setup(
      () => {
        throw down();
      },
      { flushIntervalMs: 1000 },
      { retry: { maxAttempts: 2, budget: 0 } },
    );
    await device.enqueue(reading);
    await until(() => reports.length >= 2);
    const [first] = reports;
    expect(first).toMatchObject({
      reason: "network",
      delivered: 0,
      remaining: 1,
      error: { code: "CONNECTION_REFUSED" },
    });
    expect(first.nextFlushMs).toBeGreaterThanOrEqual(1000);
    const attempt = host.sent.find(({ atMs }) => atMs > host.sent[0].atMs);
    // It is rounded to whole milliseconds.
    expect(Math.abs((attempt?.atMs ?? 0) - host.sent[0].atMs - (first.nextFlushMs ?? 0))).toBeLessThanOrEqual(1);
  });

  test("reports an explicit flush, and no next time for an empty outbox", async () => {
    const { device, reports } = setup(() => taken());
    await device.enqueue(reading);
    const result = await device.flush();
    expect(reports).toEqual([result]);
    expect(result).toMatchObject({ reason: "empty", delivered: 1, remaining: 0 });
  });

  test("has no next time with flushIntervalMs 0", async () => {
    const { device, reports } = setup(() => page(503), { flushIntervalMs: 0 }, { retry: false });
    await device.enqueue(reading);
    await device.flush();
    expect(reports).toMatchObject([{ reason: "server", remaining: 1, error: { code: "HTTP_STATUS", status: 503 } }]);
    expect(reports[0]).not.toHaveProperty("nextFlushMs");
  });

  test("reports an unreadable storage", async () => {
    const broken = { ...createMemoryStorage(), keys: () => Promise.reject(new Error("worn out")) };
    const reports: FlushReport[] = [];
    const device = new Device(
      {
        productId: "P",
        deviceName: "d",
        credential: { secret: PSK },
        outbox: { onFlushed: (one) => reports.push(one) },
      },
      virtualHost(() => taken(), { storage: broken }),
    );
    devices.push(device);
    await expect(device.flush()).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(reports).toMatchObject([{ reason: "storage", delivered: 0, error: { code: "STORAGE_FAILED" } }]);
  });

  test("reports a flush that was ended by close", async () => {
    const { device, reports } = setup(() => new Promise(() => {}));
    await device.enqueue(reading);
    const flushed = device.flush();
    device.close();
    expect(await flushed).toMatchObject({ reason: "closed", remaining: 1 });
    await until(() => reports.length > 0);
    expect(reports).toMatchObject([{ reason: "closed" }]);
    expect(reports[0]).not.toHaveProperty("nextFlushMs");
  });

  test("may throw without affecting delivery", async () => {
    const { device } = setup(() => taken(), {
      onFlushed() {
        throw new Error("of the app");
      },
    });
    await device.enqueue(reading);
    expect(await device.flush()).toMatchObject({ delivered: 1, reason: "empty" });
  });
});

describe("retry events", () => {
  const retries = (events: readonly DeviceEvent[]) => events.filter(({ type: phase }) => phase === "retry");

  test("carry the message and the request's phase after a network error", async () => {
    const replies = [down(), undefined];
    const { device, events } = setup((_request, index) => {
      if (replies[index]) throw replies[index];
      return taken();
    });
    await device.publish(reading);
    expect(retries(events)).toEqual([
      {
        type: "retry",
        path: "/device/publish",
        attempt: 1,
        retriesLeft: 2,
        delayMs: expect.any(Number),
        errorClass: "network",
        code: "CONNECTION_REFUSED",
        message: "Nothing listens at 192.0.2.1:443.",
        requestPhase: "connect",
      },
    ]);
  });

  test("carry the status and the gateway's code after a rejection", async () => {
    const { device, events } = setup((_request, index) => (index < 2 ? refused("InternalError", {}, 500) : taken()));
    await device.publish(reading);
    const common = {
      type: "retry",
      path: "/device/publish",
      delayMs: expect.any(Number),
      errorClass: "server",
      code: "GATEWAY_REJECTED",
      message: expect.stringContaining("InternalError"),
      status: 500,
      gatewayCode: "InternalError",
    };
    expect(retries(events)).toEqual([
      { ...common, attempt: 1, retriesLeft: 2 },
      { ...common, attempt: 2, retriesLeft: 1 },
    ]);
    expect(JSON.stringify(events)).not.toContain(PSK);
  });

  test("are followed by an error event with the same details", async () => {
    const { device, events } = setup(() => page(502), {}, { retry: false });
    await expect(device.publish(reading)).rejects.toMatchObject({ code: "HTTP_STATUS" });
    expect(events.at(-1)).toMatchObject({ type: "error", code: "HTTP_STATUS", status: 502 });
  });
});
