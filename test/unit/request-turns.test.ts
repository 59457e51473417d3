/** Requests of one device wait for each other; none is left waiting, whatever becomes of those before it. */

import { describe, expect, test } from "@jest/globals";
import type { HttpResponse } from "../../src/host.js";
import { Device, type DeviceOptions, type RequestOptions } from "../../src/index.js";
import type { Signer } from "../../src/signing/signer.js";
import { taken, virtualHost } from "../support/virtual-host.js";

/** A gateway that responds only when the test says so. */
function setup(options: Partial<DeviceOptions> = {}) {
  const open: ((response: HttpResponse) => void)[] = [];
  const host = virtualHost(() => new Promise<HttpResponse>((resolve) => open.push(resolve)));
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      rateLimit: false,
      retry: false,
      timeoutMs: 2147483647,
      ...options,
    },
    host,
  );
  return {
    host,
    device,
    async respond() {
      await settled();
      open.shift()?.(taken());
      await settled();
    },
  };
}

/** As an app's own abort signal does, without what an engine without AbortController lacks. */
function aborter() {
  const listeners = new Set<() => void>();
  const signal = {
    aborted: false,
    reason: undefined as unknown,
    addEventListener: (_type: "abort", listener: () => void) => void listeners.add(listener),
    removeEventListener: (_type: "abort", listener: () => void) => void listeners.delete(listener),
  };
  return {
    signal: signal as NonNullable<RequestOptions["signal"]>,
    listeners,
    abort() {
      signal.aborted = true;
      for (const listener of [...listeners]) listener();
    },
  };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve();
}

const message = (n: number) => ({ topic: "data", payload: `${n}` });

describe("a request aborted while it is queued", () => {
  test("does not block those behind it", async () => {
    const { device, host, respond } = setup();
    const { signal, abort } = aborter();
    const first = device.publish(message(1));
    const second = device.publish(message(2), { signal });
    const third = device.publish(message(3));
    await settled();
    abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    await respond();
    await first;
    await settled();
    expect(host.sent.length).toBe(2);
    await respond();
    await third;
  });

  test("frees its place in the queue", async () => {
    const { device, respond } = setup({ maxQueued: 1 });
    const { signal, abort } = aborter();
    const first = device.publish(message(1));
    await settled();
    const second = device.publish(message(2), { signal });
    await settled();
    await expect(device.publish(message(3))).rejects.toMatchObject({ code: "QUEUE_FULL" });
    abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    const fourth = device.publish(message(4));
    await respond();
    await first;
    await respond();
    await fourth;
  });

  test("leaves no listener and no timer", async () => {
    const { device, host, respond } = setup();
    const [one, two] = [aborter(), aborter()];
    const first = device.publish(message(1), { signal: one.signal });
    const second = device.publish(message(2), { signal: two.signal });
    await settled();
    two.abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    await respond();
    await first;
    expect([one.listeners.size, two.listeners.size, host.timers]).toEqual([0, 0, 0]);
  });
});

test("requests are sent one at a time, in the order of their calls", async () => {
  const { device, host, respond } = setup();
  const all = [1, 2, 3].map((n) => device.publish(message(n)));
  for (const n of [1, 2, 3]) {
    await settled();
    expect(host.sent.map(({ request }) => JSON.parse(new TextDecoder().decode(request.body)).Payload).at(-1)).toBe(
      `${n}`,
    );
    expect(host.sent.length).toBe(n);
    await respond();
  }
  await Promise.all(all);
});

describe("a device that is closed", () => {
  test("closes its signer, once", () => {
    let closed = 0;
    const credential: Signer = {
      algorithm: "hmacsha256",
      hashBody: () => "",
      sign: () => "",
      close: () => void closed++,
    };
    const { device } = setup({ credential });
    expect(closed).toBe(0);
    device.close();
    device.close();
    expect(closed).toBe(1);
  });

  test("rejects pending and queued requests", async () => {
    const { device, host } = setup();
    const all = [1, 2, 3].map((n) => device.publish(message(n)));
    const outcomes = all.map((one) =>
      one.then(
        () => "",
        ({ code }) => code,
      ),
    );
    await settled();
    device.close();
    expect(await Promise.all(outcomes)).toEqual(["DEVICE_CLOSED", "DEVICE_CLOSED", "DEVICE_CLOSED"]);
    expect([host.sent.length, host.timers]).toEqual([1, 0]);
  });
});
