/** Clock, random numbers, storage, settings, digest and RSA of the Moddable host, on stand-ins for the SDK's modules. */

import { generateKeyPairSync, verify } from "node:crypto";
import dgram from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type ClockOptions, earliestMs, ModdableClock } from "../../host/moddable/clock.js";
import { completeOptions, readSettings } from "../../host/moddable/config.js";
import { createDigest } from "../../host/moddable/digest.js";
import { Device as ModdableDevice } from "../../host/moddable/plain.js";
import { PooledRandom } from "../../host/moddable/random.js";
import { ArithmeticRsa } from "../../host/moddable/rsa.js";
import { ntpTimeMs } from "../../host/moddable/sntp.js";
import { PreferenceStorage } from "../../host/moddable/storage.js";
import { ModdableTimer } from "../../host/moddable/timer.js";
import { startGateway } from "../../mocks/gateway/index.js";
import Preference from "../../mocks/moddable/preference.js";
import { createSigner, Device, IotHubError, sha256, signRequest, utf8 } from "../../src/index.js";
import { NonceSource } from "../../src/nonce.js";
import {
  aborts,
  clock,
  config,
  createModdableHost,
  Digest,
  flash,
  network,
  RSA,
  restart,
  turn,
  until,
  useMachine,
} from "./moddable-machine.js";

useMachine();

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function failure(promise: Promise<unknown>): Promise<IotHubError> {
  const error = await promise.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(IotHubError);
  return error;
}

const EPOCH = 2208988800;
const ERA = 4294967296;

/** As a server writes it. */
function ntpTimestamp(ms: number): { seconds: number; fraction: number } {
  const seconds = Math.floor(ms / 1000) + EPOCH;
  return { seconds: ((seconds % ERA) + ERA) % ERA, fraction: Math.floor((((ms % 1000) + 1000) % 1000) * (ERA / 1000)) };
}

interface TimeServer {
  readonly address: string;
  readonly requests: Buffer[];
}

/** An NTP server on loopback. `change` damages the reply, or leaves it out by returning undefined. */
async function timeServer(
  nowMs: () => number,
  change: (reply: Buffer, request: Buffer) => Buffer[] = (reply) => [reply],
): Promise<TimeServer> {
  const requests: Buffer[] = [];
  const socket = dgram.createSocket("udp4");
  socket.on("message", (request, from) => {
    requests.push(request);
    const reply = Buffer.alloc(48);
    reply[0] = (4 << 3) | 4;
    reply[1] = 2;
    request.copy(reply, 24, 40, 48);
    const { seconds, fraction } = ntpTimestamp(nowMs());
    reply.writeUInt32BE(seconds, 40);
    reply.writeUInt32BE(fraction, 44);
    for (const packet of change(reply, request)) socket.send(packet, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  cleanups.push(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return { address: `127.0.0.1:${socket.address().port}`, requests };
}

function makeClock(options: ClockOptions): ModdableClock {
  const made = new ModdableClock(options);
  cleanups.push(() => made.close());
  return made;
}

const soon = () => earliestMs + 1234567890;

describe("clock", () => {
  test.each([true, false])("is set from a server, whether Time.set works: %s", async (settable) => {
    clock.settable = settable;
    clock.stop();
    clock.setDate(5000);
    const server = await timeServer(soon);
    const c = makeClock({ servers: [server.address] });
    await c.ready();
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(1000);
    expect(Math.abs(Date.now() - (settable ? soon() : 5000))).toBeLessThan(1000);
    const before = c.nowMs();
    await clock.advance(5000);
    expect(c.nowMs() - before).toBe(5000);
    expect(server.requests.length).toBe(1);
    expect(server.requests[0].length).toBe(48);
    expect(server.requests[0][0]).toBe(0x23);
  });

  test("half of the way there and back is allowed for", async () => {
    clock.stop();
    clock.setDate(0);
    // The reply is on its way for two seconds of the stopped clock.
    const socket = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    cleanups.push(() => socket.close());
    const c = makeClock({ servers: [`127.0.0.1:${socket.address().port}`] });
    const ready = c.ready();
    const [request, from] = await new Promise<[Buffer, dgram.RemoteInfo]>((resolve) =>
      socket.once("message", (...all) => resolve(all)),
    );
    await clock.advance(2000);
    const reply = Buffer.alloc(48);
    reply[0] = 0x24;
    reply[1] = 1;
    request.copy(reply, 24, 40, 48);
    const seconds = Math.floor(soon() / 1000);
    reply.writeUInt32BE((seconds + EPOCH) % ERA, 40);
    socket.send(reply, from.port, from.address);
    await ready;
    expect(c.nowMs()).toBe(seconds * 1000 + 1000);
  });

  test("a system clock that is right is trusted, one before the build is not, and distrust is an option", async () => {
    const server = await timeServer(soon);
    await makeClock({ servers: [server.address] }).ready();
    expect(server.requests.length).toBe(0);
    await makeClock({ servers: [server.address], trustSystemClock: false }).ready();
    expect(server.requests.length).toBe(1);
    clock.setDate(earliestMs - 1000);
    await makeClock({ servers: [server.address] }).ready();
    expect(server.requests.length).toBe(2);
  });

  test("callers share one synchronization", async () => {
    clock.setDate(0);
    const server = await timeServer(soon);
    const c = makeClock({ servers: [server.address] });
    await Promise.all([c.ready(), c.ready(), c.synchronize(), c.ready()]);
    await c.ready();
    expect(server.requests.length).toBe(1);
    await c.synchronize();
    expect(server.requests.length).toBe(2);
  });

  const edit = (reply: Buffer, change: () => void) => {
    change();
    return reply;
  };
  const useless: [string, (reply: Buffer, request: Buffer) => Buffer[]][] = [
    ["a kiss of death", (reply) => [edit(reply, () => reply.writeUInt8(0, 1))]],
    ["a server without time itself", (reply) => [edit(reply, () => reply.writeUInt8(0xe4, 0))]],
    ["stratum 16", (reply) => [edit(reply, () => reply.writeUInt8(16, 1))]],
    ["no time", (reply) => [reply.fill(0, 40)]],
    ["strangers' replies", (reply) => Array(8).fill(edit(reply, () => reply.writeUInt32BE(1, 24)))],
    ["replies that are too short", (reply) => Array(8).fill(reply.subarray(0, 40))],
    ["requests sent back", (_reply, request) => Array(8).fill(request)],
    [
      "a time forty years ahead",
      (reply) => [edit(reply, () => reply.writeUInt32BE((Math.floor(soon() / 1000) + EPOCH + 1262304000) % ERA, 40))],
    ],
  ];
  test.each(useless)("%s is passed over for the next server", async (_name, change) => {
    clock.setDate(0);
    const bad = await timeServer(soon, change);
    const good = await timeServer(soon);
    const c = makeClock({ servers: [bad.address, good.address] });
    await c.ready();
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(2000);
    expect([bad.requests.length, good.requests.length]).toEqual([1, 1]);
  });

  test("a stranger's packet before the reply does no harm", async () => {
    clock.setDate(0);
    const server = await timeServer(soon, (reply) => [Buffer.alloc(48), Buffer.from("x"), reply]);
    const c = makeClock({ servers: [server.address] });
    await c.ready();
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(2000);
  });

  test("a silent server and a name that is not found are passed over", async () => {
    clock.stop();
    clock.setDate(0);
    const silent = await timeServer(soon, () => []);
    const good = await timeServer(soon);
    const c = makeClock({ servers: ["ntp.nowhere.test", silent.address, good.address] });
    const ready = c.ready();
    await until(() => silent.requests.length === 1);
    await clock.advance(3000);
    await ready;
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(2000);
  });

  test("when no server answers, each has been asked twice, and the error says why; later it can succeed", async () => {
    clock.stop();
    clock.setDate(0);
    let silent = true;
    const server = await timeServer(soon, (reply) => (silent ? [] : [reply]));
    const c = makeClock({ servers: [server.address, "ntp.nowhere.test"] });
    const failed = failure(c.ready());
    for (const count of [1, 2]) {
      await until(() => server.requests.length === count);
      await clock.advance(3000);
    }
    const error = await failed;
    expect([error.code, error.retryable]).toEqual(["CLOCK_NOT_SET", true]);
    expect(error.message).toContain(`${server.address}: no reply`);
    expect(error.message).toContain("ntp.nowhere.test: name not resolved");
    silent = false;
    await c.ready();
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(2000);
  });

  test("without servers it fails at once", async () => {
    clock.setDate(0);
    expect((await failure(makeClock({ servers: [] }).ready())).code).toBe("CLOCK_NOT_SET");
  });

  test("is refreshed once a day, and a quarter of an hour after a refresh that failed", async () => {
    clock.stop();
    clock.setDate(0);
    let silent = false;
    const server = await timeServer(
      () => soon() + clock.ticks(),
      (reply) => (silent ? [] : [reply]),
    );
    const c = makeClock({ servers: [server.address] });
    await c.ready();
    expect(clock.waiting).toEqual([86400000]);
    await clock.advance(86400000);
    await until(() => server.requests.length === 2);
    await until(() => clock.waiting.includes(86400000));
    silent = true;
    await clock.advance(86400000);
    for (const count of [3, 4]) {
      await until(() => server.requests.length === count);
      await clock.advance(3000);
    }
    await until(() => clock.waiting[0] === 900000);
    silent = false;
    await clock.advance(900000);
    await until(() => clock.waiting[0] === 86400000);
    expect(server.requests.length).toBe(5);
    c.close();
    expect(clock.waiting).toEqual([]);
  });

  test("after a restart with a clock that went on, the refresh is due when the day is over", async () => {
    clock.stop();
    clock.setDate(0);
    const server = await timeServer(() => soon() + clock.ticks());
    const storage = new PreferenceStorage();
    const c = makeClock({ servers: [server.address], storage });
    await c.ready();
    await until(() => flash.steps > 0);
    c.close();
    await clock.advance(3600000);
    // Asleep for an hour: the system's clock has gone on, the program starts anew.
    const again = makeClock({ servers: [server.address], storage });
    await again.ready();
    await until(() => clock.waiting.length === 1);
    expect(Math.abs(clock.waiting[0] - (86400000 - 3600000))).toBeLessThan(1000);
    expect(server.requests.length).toBe(1);
  });

  describe("the era of an NTP timestamp", () => {
    const ERA_1 = Date.UTC(2036, 1, 7, 6, 28, 16);
    const HALF_ERA_MS = 2 ** 31 * 1000;
    const at = (ms: number, pivotMs: number) => {
      const { seconds, fraction } = ntpTimestamp(ms);
      return ntpTimeMs(seconds, fraction, pivotMs);
    };
    const built = Date.UTC(2026, 10, 1);

    test.each<[string, number, number]>([
      ["in the second of the build, before it", built + 400, built + 900],
      ["in the second of the build, after it", built + 900, built + 400],
      ["in the last second of era 0", ERA_1 - 1, built],
      ["when era 1 begins", ERA_1, built],
      ["in era 0, built in era 1", ERA_1 - 500, ERA_1 + 1],
      ["in era 1, built in era 0", ERA_1 + 500, ERA_1 - 1],
      ["when signed seconds since 1970 wrap", 2 ** 31 * 1000, built],
      ["when unsigned seconds since 1970 wrap", 2 ** 32 * 1000, Date.UTC(2090, 0, 1)],
      ["when era 2 begins", ERA_1 + ERA * 1000, Date.UTC(2160, 0, 1)],
    ])("is right %s", (_name, ms, pivotMs) => {
      expect(at(ms, pivotMs)).toBe(ms);
    });

    test("is right for every time within 68 years of the build", () => {
      const boundary = fc.constantFrom(ERA_1, 2 ** 31 * 1000, 2 ** 32 * 1000, ERA_1 + ERA * 1000);
      const near = fc.tuple(boundary, fc.integer({ min: -2000, max: 2000 })).map(([ms, by]) => ms + by);
      const pivots = fc.oneof(near, fc.integer({ min: built, max: Date.UTC(2300, 0, 1) }));
      const distances = fc.oneof(
        fc.integer({ min: -2000, max: 2000 }),
        fc.integer({ min: -HALF_ERA_MS + 2000, max: HALF_ERA_MS - 2000 }),
      );
      fc.assert(
        fc.property(pivots, distances, (pivotMs, by) => {
          expect(at(pivotMs + by, pivotMs)).toBe(pivotMs + by);
        }),
        { numRuns: 500 },
      );
    });
  });

  test.each<[string, number]>([
    ["the moment of the build", 0],
    ["a millisecond later", 1],
    ["thirty years later", 946728000000],
  ])("%s is a credible time", async (_name, byMs) => {
    clock.stop();
    clock.setDate(0);
    const server = await timeServer(() => earliestMs + byMs);
    const c = makeClock({ servers: [server.address] });
    await c.ready();
    expect(c.nowMs()).toBe(earliestMs + byMs);
  });

  test.each<[string, number]>([
    ["a millisecond before the build", -1],
    ["a year before the build", -31536000000],
    ["more than thirty years after the build", 946728000001],
  ])("%s is no credible time", async (_name, byMs) => {
    clock.setDate(0);
    const server = await timeServer(() => earliestMs + byMs);
    const error = await failure(makeClock({ servers: [server.address] }).ready());
    expect([error.code, error.message]).toEqual([
      "CLOCK_NOT_SET",
      `No time server gave a credible time (${server.address}: the time is not credible).`,
    ]);
  });

  test.each([Date.UTC(2036, 1, 7, 6, 28, 17), Date.UTC(2038, 0, 19, 3, 14, 8)])("the server says %d", async (date) => {
    clock.setDate(0);
    const server = await timeServer(() => date);
    const c = makeClock({ servers: [server.address] });
    await c.ready();
    expect(Math.abs(c.nowMs() - date)).toBeLessThan(1500);
  });

  test("the counter never goes back", () => {
    const c = makeClock({});
    let last = c.monotonicMs();
    for (const date of [0, soon(), 5, soon() * 2]) {
      clock.setDate(date);
      expect(c.monotonicMs()).toBeGreaterThanOrEqual(last);
      last = c.monotonicMs();
    }
  });

  test("Device waits for it before the first request, and signs with it", async () => {
    clock.setDate(0);
    const server = await timeServer(() => clock.realNow());
    const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
    const gateway = await startGateway({
      now: clock.realNow,
      devices: { products: { P: { devices: { D: { psk } } } } },
    });
    cleanups.push(() => gateway.close());
    // The build is as old as this file's modules: a server on the same clock is just past it, in the same second even.
    const host = createModdableHost({ clock: { servers: [server.address] } });
    const device = new Device({ productId: "P", deviceName: "D", credential: { secret: psk }, url: gateway.url }, host);
    cleanups.push(() => device.close());
    const both = await Promise.all([1, 2].map((i) => device.publish({ topic: "data", payload: { i } })));
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(server.requests.length).toBe(1);
  });

  test("Device reports a clock that cannot be set before it speaks TLS", async () => {
    clock.setDate(0);
    const host = createModdableHost({ clock: { servers: ["ntp.nowhere.test"] } });
    const device = new Device(
      { productId: "P", deviceName: "D", credential: { secret: "c2VjcmV0" }, url: "https://127.0.0.1:1" },
      host,
    );
    expect((await failure(device.publish({ topic: "data", payload: "1" }))).code).toBe("CLOCK_NOT_SET");
    expect(network.opened).toBe(0);
  });
});

describe("random", () => {
  /** A start of a simulator: the platform's generator gives the same sequence each time. */
  function nonces(count: number, persistent = true): number[] {
    let state = 1;
    const original = Math.random;
    Math.random = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    try {
      const source = new NonceSource(new PooledRandom(persistent));
      return Array.from({ length: count }, () => source.next());
    } finally {
      Math.random = original;
    }
  }

  test("nonces of two starts differ though clock and generator begin alike", () => {
    clock.stop();
    clock.setDate(1000);
    const first = nonces(200);
    const second = nonces(200);
    expect(new Set([...first, ...second]).size).toBe(400);
    for (const nonce of first) expect(nonce >= 0 && nonce <= 2147483646 && Number.isInteger(nonce)).toBe(true);
    // The seed is what makes the difference.
    expect(nonces(5, false)).toEqual(nonces(5, false));
  });

  test("without a seed the clock and the address make the difference", async () => {
    clock.stop();
    clock.setDate(1000);
    const [first] = nonces(1, false);
    network.values.set("MAC", "24:0a:c4:00:01:11");
    const [second] = nonces(1, false);
    await clock.advance(1);
    const [third] = nonces(1, false);
    expect(new Set([first, second, third]).size).toBe(3);
  });

  test("one write a start, and none that fails does harm", () => {
    const random = new PooledRandom();
    random.bytes(32);
    const { steps } = flash;
    random.bytes(1000);
    expect(flash.steps).toBe(steps);
    flash.cutPowerAfter(0);
    expect(new PooledRandom().bytes(40).length).toBe(40);
  });

  test("output has every length and no repetition", () => {
    const random = new PooledRandom(false);
    for (const length of [0, 1, 31, 32, 33, 100]) expect(random.bytes(length).length).toBe(length);
    const blocks = Array.from({ length: 100 }, () => Buffer.from(random.bytes(16)).toString("hex"));
    expect(new Set(blocks).size).toBe(100);
  });
});

describe("storage", () => {
  const bytes = (...values: number[]) => Uint8Array.from(values);

  test("keeps what it is given, over a restart and in a file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "preferences-"));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    flash.keepIn(join(folder, "flash.json"));
    const storage = new PreferenceStorage();
    const large = Uint8Array.from({ length: 4000 }, (_, i) => i);
    await storage.set("a", bytes(1, 2, 3));
    await storage.set("large", large);
    await storage.set("empty", bytes());
    await storage.set("a", bytes(4));
    await storage.set("gone", bytes(5));
    await storage.delete("gone");
    await storage.delete("never");
    flash.clear();
    expect(await storage.keys()).toEqual([]);
    flash.keepIn(join(folder, "flash.json"));
    expect((await storage.keys()).sort()).toEqual(["a", "empty", "large"]);
    expect(await storage.get("a")).toEqual(bytes(4));
    expect(await storage.get("large")).toEqual(large);
    expect(await storage.get("empty")).toEqual(bytes());
    expect(await storage.get("gone")).toBeUndefined();
    expect(await new PreferenceStorage("other").keys()).toEqual([]);
  });

  test("what is given and what is got is nobody else's", async () => {
    const storage = new PreferenceStorage();
    const value = bytes(1, 2, 3).subarray(1);
    await storage.set("k", value);
    value[0] = 9;
    const got = (await storage.get("k")) as Uint8Array;
    expect(got).toEqual(bytes(2, 3));
    got[0] = 9;
    expect(await storage.get("k")).toEqual(bytes(2, 3));
  });

  test.each(["", "k".repeat(16), "a/b", "ü", "a b"])("the key %j is refused", async (key) => {
    const storage = new PreferenceStorage();
    for (const promise of [storage.get(key), storage.set(key, bytes(1)), storage.delete(key)]) {
      expect((await failure(promise)).code).toBe("INVALID_OPTION");
    }
  });

  test("keys of 15 characters and domains of 13 fit, more does not", async () => {
    await new PreferenceStorage("d".repeat(13)).set("k".repeat(15), bytes(1));
    for (const domain of ["d".repeat(14), "", "a/b"]) {
      expect(() => new PreferenceStorage(domain)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    }
    const storage = new PreferenceStorage();
    expect((await failure(storage.set("k", new Uint8Array(4001)))).code).toBe("INVALID_OPTION");
  });

  test("a power cut at any step leaves the old value or the new one", async () => {
    const outcomes: string[] = [];
    for (let writes = 1; writes <= 4; writes++) {
      for (let cut = 0; ; cut++) {
        flash.clear();
        const storage = new PreferenceStorage();
        for (let i = 1; i < writes; i++) await storage.set("k", bytes(i));
        flash.cutPowerAfter(cut);
        const survived = await storage.set("k", bytes(writes)).then(
          () => true,
          (error) => {
            expect(error.code).toBe("STORAGE_FAILED");
            return false;
          },
        );
        flash.powerOn();
        const value = (await storage.get("k"))?.[0] ?? 0;
        expect([writes - 1, writes]).toContain(value);
        if (survived) expect(value).toBe(writes);
        outcomes.push(`${writes}/${cut}:${value}`);
        // And it goes on from there, at any further cut.
        for (let again = 0, old = value; again < 4; again++) {
          flash.cutPowerAfter(again);
          await storage.set("k", bytes(100 + again)).catch(() => {});
          flash.powerOn();
          const now = (await storage.get("k"))?.[0] ?? 0;
          expect([old, 100 + again]).toContain(now);
          old = now;
        }
        await storage.set("k", bytes(99));
        expect(await storage.get("k")).toEqual(bytes(99));
        expect(await storage.keys()).toEqual(["k"]);
        await storage.delete("k");
        expect([await storage.get("k"), await storage.keys()]).toEqual([undefined, []]);
        if (survived) break;
      }
    }
    expect(outcomes.length).toBeGreaterThan(8);
  });

  test("a power cut while deleting leaves the last value or none", async () => {
    for (let cut = 0; cut < 4; cut++) {
      flash.clear();
      const storage = new PreferenceStorage();
      await storage.set("k", bytes(1));
      flash.cutPowerAfter(1);
      await storage.set("k", bytes(2)).catch(() => {});
      flash.cutPowerAfter(cut);
      await storage.delete("k").catch(() => {});
      flash.powerOn();
      const value = await storage.get("k");
      if (value !== undefined) expect(value).toEqual(bytes(2));
      else expect(cut).toBeGreaterThan(0);
    }
  });

  test("flash that fails is an error with a code", async () => {
    flash.cutPowerAfter(0);
    const storage = new PreferenceStorage();
    for (const promise of [storage.get("k"), storage.set("k", bytes(1)), storage.delete("k"), storage.keys()]) {
      expect([(await failure(promise)).code]).toEqual(["STORAGE_FAILED"]);
    }
  });
});

describe("settings", () => {
  const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";

  test("the preferences come before the manifest, and what is given before both", () => {
    Object.assign(config, { productId: "P", deviceName: "D", psk, region: "europe", url: "", other: 1 });
    expect(readSettings()).toEqual({ productId: "P", deviceName: "D", psk, region: "europe" });
    Preference.set("tencent-iothub", "deviceName", "E");
    expect(completeOptions()).toEqual({
      productId: "P",
      deviceName: "E",
      region: "europe",
      credential: { secret: psk },
    });
    const given = { deviceName: "F", url: "http://h.test", credential: { secret: "b3RoZXI=" } };
    expect(completeOptions(given)).toEqual({ productId: "P", ...given });
  });

  test("an address in the settings comes before a region", () => {
    Object.assign(config, { productId: "P", deviceName: "D", psk, region: "europe", url: "http://h.test" });
    expect(completeOptions()).toMatchObject({ url: "http://h.test" });
    expect(completeOptions()).not.toHaveProperty("region");
    expect(completeOptions({ region: "bangkok" as never })).not.toHaveProperty("url");
  });

  test("without a credential anywhere there is an error", () => {
    expect(() => completeOptions({ productId: "P", deviceName: "D" })).toThrow(
      expect.objectContaining({ code: "INVALID_CREDENTIAL" }),
    );
  });

  test("a Device without host and options publishes", async () => {
    const gateway = await startGateway({ devices: { products: { P: { devices: { D: { psk } } } } } });
    cleanups.push(() => gateway.close());
    Object.assign(config, { productId: "P", deviceName: "D", psk, url: gateway.url });
    const device = new ModdableDevice();
    expect((await device.publish({ topic: "data", payload: "1" })).status).toBe(200);
    device.close();
    await until(() => network.open === 0);
  });
});

describe("native parts", () => {
  test("the digest is taken if it agrees with the portable one", () => {
    const digest = createDigest();
    const parts = [utf8("温度"), new Uint8Array(100).subarray(3, 90), new Uint8Array(0)];
    expect(digest?.sha256(...parts)).toEqual(sha256(Buffer.concat(parts)));
    Digest.broken = true;
    expect(createDigest()).toBeUndefined();
  });

  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;

  test("RSA signs as Node verifies", () => {
    const digest = createDigest();
    const rsa = new ArithmeticRsa(digest as NonNullable<typeof digest>);
    const der = Uint8Array.from(privateKey.export({ format: "der", type: "pkcs1" }));
    const signature = rsa.sign(der, utf8("message"));
    expect(verify("sha256", Buffer.from("message"), publicKey, signature)).toBe(true);
  });

  test("a wrong result of RSA never leaves the device", () => {
    const digest = createDigest();
    const rsa = new ArithmeticRsa(digest as NonNullable<typeof digest>);
    const signer = createSigner({ privateKey: pem }, { digest, rsa, random: new PooledRandom() });
    RSA.broken = true;
    const request = { host: "h.test", path: "/device/publish", body: "{}" };
    expect(() => signRequest(request, signer, { timestampSeconds: 1, nonce: 1 })).toThrow(
      expect.objectContaining({ code: "SIGNING_FAULT" }),
    );
  });
});

describe("timer", () => {
  test("calls once, not before, and not after it was cleared", async () => {
    clock.stop();
    const timer = new ModdableTimer();
    const calls: string[] = [];
    const handle = timer.set(() => calls.push("a"), 100);
    timer.clear(timer.set(() => calls.push("b"), 50));
    await clock.advance(99);
    expect(calls).toEqual([]);
    await clock.advance(1);
    await clock.advance(1000);
    expect(calls).toEqual(["a"]);
    timer.clear(handle);
    timer.clear(undefined);
  });

  test("what a callback throws does not reach native code", async () => {
    new ModdableTimer().set(() => {
      throw new Error("mistake");
    }, 0);
    await turn();
    await turn();
    expect(aborts).toEqual([]);
  });
});

test("the stand-ins notice what would abort the machine", async () => {
  const { default: Timer } = await import("../../mocks/moddable/timer.js");
  Timer.set(() => {
    throw new Error("in a callback");
  });
  await until(() => aborts.length === 1);
  restart();
});
