/** Clock and SNTP of the Moddable host, on stand-ins for the SDK's modules. */

import dgram from "node:dgram";
import { beforeEach, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type ClockOptions, earliestMs, ModdableClock } from "../../host/moddable/clock.js";
import { ntpTimeMs } from "../../host/moddable/sntp.js";
import { KeyValueStorage } from "../../host/moddable/storage.js";
import { Device } from "../../src/index.js";
import { startGateway } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { psk } from "../support/keys.js";
import { clock, createModdableHost, flash, network, until, useMachine } from "../support/moddable-machine.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";

useMachine();

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

describe("uptime of a clock", () => {
  beforeEach(() => clock.stop());

  test("uptime counts from power-on, also when the clock is set, and gives the time of this start", async () => {
    // Deep sleep: the program began 700 ms ago, the power came an hour before.
    const ticks = clock.ticks();
    clock.setDate(3600000 + ticks);
    const server = await timeServer(soon);
    const c = makeClock({ servers: [server.address] });
    expect([c.synchronized, c.uptimeMs(), c.life.startMs]).toEqual([false, 3600000 + ticks, 3600000]);
    expect(c.life.id).toMatch(/^[0-9a-z]{5}$/);
    expect(c.life).toBe(c.life);
    await c.ready();
    await clock.advance(250);
    expect([c.synchronized, c.uptimeMs(), c.life.startMs]).toEqual([true, 3600250 + ticks, 3600000]);
  });

  test("uptime has a new origin if the clock was set in an earlier run", () => {
    clock.setDate(soon());
    const c = makeClock({});
    expect([c.synchronized, c.uptimeMs(), c.life.startMs]).toEqual([true, 0, undefined]);
    expect(makeClock({ trustSystemClock: false }).synchronized).toBe(false);
  });
});

describe("clock", () => {
  // However long a test takes, a server's limit of three seconds is over only when the test says so.
  beforeEach(() => clock.stop());

  test.each([true, false])("is set from a server; Time.set works: %s", async (settable) => {
    clock.settable = settable;
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

  test("is corrected by half the round trip", async () => {
    clock.setDate(0);
    // The reply takes two seconds of the stopped clock.
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

  test("trusts a system clock after the build date, unless disabled by an option", async () => {
    const server = await timeServer(soon);
    await makeClock({ servers: [server.address] }).ready();
    expect(server.requests.length).toBe(0);
    await makeClock({ servers: [server.address], trustSystemClock: false }).ready();
    expect(server.requests.length).toBe(1);
    clock.setDate(earliestMs - 1000);
    await makeClock({ servers: [server.address] }).ready();
    expect(server.requests.length).toBe(2);
  });

  test("shares one synchronization between callers", async () => {
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
    ["unrelated packets", (reply) => Array(8).fill(edit(reply, () => reply.writeUInt32BE(1, 24)))],
    ["replies that are too short", (reply) => Array(8).fill(reply.subarray(0, 40))],
    ["requests sent back", (_reply, request) => Array(8).fill(request)],
    [
      "a time forty years ahead",
      (reply) => [edit(reply, () => reply.writeUInt32BE((Math.floor(soon() / 1000) + EPOCH + 1262304000) % ERA, 40))],
    ],
  ];
  test.each(useless)("skips a server with %s", async (_name, change) => {
    clock.setDate(0);
    const bad = await timeServer(soon, change);
    const good = await timeServer(soon);
    const c = makeClock({ servers: [bad.address, good.address] });
    await c.ready();
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(2000);
    expect([bad.requests.length, good.requests.length]).toEqual([1, 1]);
  });

  test("ignores an unrelated packet before the reply", async () => {
    clock.setDate(0);
    const server = await timeServer(soon, (reply) => [Buffer.alloc(48), Buffer.from("x"), reply]);
    const c = makeClock({ servers: [server.address] });
    await c.ready();
    expect(Math.abs(c.nowMs() - soon())).toBeLessThan(2000);
  });

  test("skips a silent server and an unknown name", async () => {
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

  test("reports why each server failed after two queries, and can succeed later", async () => {
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

  test("fails at once without servers", async () => {
    clock.setDate(0);
    expect((await failure(makeClock({ servers: [] }).ready())).code).toBe("CLOCK_NOT_SET");
  });

  test("is refreshed daily, and 15 minutes after a failed refresh", async () => {
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
    // A quarter of an hour, and a random part of half an hour more.
    await until(() => clock.waiting[0] >= 900000 && clock.waiting[0] <= 2700000);
    silent = false;
    await clock.advance(clock.waiting[0]);
    await until(() => clock.waiting[0] === 86400000);
    expect(server.requests.length).toBe(5);
    c.close();
    expect(clock.waiting).toEqual([]);
  });

  test("keeps its refresh schedule across a restart with a running clock", async () => {
    clock.setDate(0);
    const server = await timeServer(() => soon() + clock.ticks());
    const storage = new KeyValueStorage();
    const c = makeClock({ servers: [server.address], storage });
    await c.ready();
    await until(() => flash.keys("tc-iothub").length > 0);
    c.close();
    await clock.advance(3600000);
    // After an hour of sleep: the system clock has continued, the program restarts.
    const again = makeClock({ servers: [server.address], storage });
    await again.ready();
    await until(() => clock.waiting.length === 1);
    expect(Math.abs(clock.waiting[0] - (86400000 - 3600000))).toBeLessThan(1000);
    expect(server.requests.length).toBe(1);
  });

  describe("the era of an NTP timestamp", () => {
    const ERA_1 = Date.UTC(2036, 1, 7, 6, 28, 16);
    const at = (ms: number, pivotMs: number) => {
      const { seconds, fraction } = ntpTimestamp(ms);
      return ntpTimeMs(seconds, fraction, pivotMs);
    };
    const built = Date.UTC(2026, 10, 1);

    test.each<[string, number, number]>([
      ["in the millisecond of the build", built, built],
      ["in the second of the build, after it", built + 900, built + 400],
      ["in the last second of era 0", ERA_1 - 1, built],
      ["when era 1 begins", ERA_1, built],
      ["in era 1, built in era 0", ERA_1 + 500, ERA_1 - 1],
      ["when signed seconds since 1970 wrap", 2 ** 31 * 1000, built],
      ["a millisecond before the build, an era later", built - 1 + ERA * 1000, built],
      ["in era 0, built in era 1", ERA_1 - 500 + ERA * 1000, ERA_1 + 1],
      ["when unsigned seconds since 1970 wrap", 2 ** 32 * 1000, Date.UTC(2090, 0, 1)],
      ["when era 2 begins", ERA_1 + ERA * 1000, Date.UTC(2160, 0, 1)],
    ])("is correct %s", (_name, ms, pivotMs) => {
      expect(at(ms, pivotMs)).toBe(ms);
    });

    test("is the first at or after the build date, for every time in 136 years", () => {
      const boundary = fc.constantFrom(ERA_1, 2 ** 31 * 1000, 2 ** 32 * 1000, ERA_1 + ERA * 1000);
      const near = fc.tuple(boundary, fc.integer({ min: -2000, max: 2000 })).map(([ms, by]) => ms + by);
      const pivots = fc.oneof(near, fc.integer({ min: built, max: Date.UTC(2300, 0, 1) }));
      const distances = fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: ERA * 1000 - 1 }));
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
    // Two, for a time of the next era.
    const servers = [await timeServer(() => earliestMs + byMs), await timeServer(() => earliestMs + byMs)];
    const c = makeClock({ servers: servers.map(({ address }) => address) });
    await c.ready();
    expect(c.nowMs()).toBe(earliestMs + byMs);
  });

  test.each<[string, number]>([
    ["a millisecond before the build", -1],
    ["a year before the build", -31536000000],
    ["more than thirty years after the build", 946728000001],
  ])("%s is not a credible time", async (_name, byMs) => {
    clock.setDate(0);
    const server = await timeServer(() => earliestMs + byMs);
    const error = await failure(makeClock({ servers: [server.address] }).ready());
    expect([error.code, error.message]).toEqual([
      "CLOCK_NOT_SET",
      `No time server gave a credible time (${server.address}: the time is not credible).`,
    ]);
  });

  describe("a time that is credible only in the next NTP era", () => {
    const era1 = [Date.UTC(2036, 1, 7, 6, 28, 17), Date.UTC(2038, 0, 19, 3, 14, 8), Date.UTC(2040, 11, 31)];
    /** What a server sends that has just been switched on. */
    const early = () => Date.UTC(1900, 0, 1, 0, 5);

    test.each(era1)("is accepted from two servers within ten seconds: %d", async (date) => {
      clock.setDate(0);
      const servers = [await timeServer(() => date), await timeServer(() => date + 9000)];
      const c = makeClock({ servers: servers.map(({ address }) => address) });
      await c.ready();
      expect(Math.abs(c.nowMs() - date - 9000)).toBeLessThan(1500);
      expect(servers.map(({ requests }) => requests.length)).toEqual([1, 1]);
    });

    test.each([
      ["one server alone, asked twice", [0]],
      ["two servers more than ten seconds apart", [0, 13000]],
    ])("%s: is rejected", async (_name, offsets) => {
      clock.setDate(0);
      const servers = await Promise.all(offsets.map((offset) => timeServer(() => era1[1] + offset)));
      const error = await failure(makeClock({ servers: servers.map(({ address }) => address) }).ready());
      expect(error.code).toBe("CLOCK_NOT_SET");
      expect(error.message).toContain(`${servers[0].address}: a time after 2036 that no other server confirms`);
      expect(servers.map(({ requests }) => requests.length)).toEqual(servers.map(() => 2));
    });

    test("an early timestamp of the first server is not read as 2036", async () => {
      clock.setDate(0);
      const wrong = await timeServer(early);
      const right = await timeServer(soon);
      const c = makeClock({ servers: [wrong.address, right.address] });
      await c.ready();
      expect(Math.abs(c.nowMs() - soon())).toBeLessThan(1500);
    });

    test("is accepted from one server if the clock was set by two", async () => {
      clock.setDate(0);
      const now = () => era1[1] + clock.ticks();
      const servers = [await timeServer(now), await timeServer(now)];
      const c = makeClock({ servers: servers.map(({ address }) => address) });
      await c.ready();
      await c.synchronize();
      expect(servers.map(({ requests }) => requests.length)).toEqual([2, 1]);
    });
  });

  describe("the Date of a response", () => {
    const httpDate = (ms: number) => new Date(ms).toUTCString();

    test("more than a day away causes a query of another server, once an hour", async () => {
      clock.setDate(0);
      const right = () => soon() + clock.ticks();
      const wrong = await timeServer(() => right() + 400 * 86400000);
      const good = await timeServer(right);
      const c = makeClock({ servers: [wrong.address, good.address] });
      await c.ready();
      c.compareDate(httpDate(right()));
      await until(() => Math.abs(c.nowMs() - right()) < 1500);
      expect([wrong.requests.length, good.requests.length]).toEqual([1, 1]);
      c.compareDate(httpDate(right() + 90 * 86400000));
      await clock.advance(3600000);
      expect([wrong.requests.length, good.requests.length]).toEqual([1, 1]);
      c.compareDate(httpDate(right() + 90 * 86400000));
      // The next in turn is the wrong one.
      await until(() => wrong.requests.length === 2);
    });

    test("less than a day away, invalid, or before the clock was set is ignored", async () => {
      clock.setDate(0);
      const server = await timeServer(soon);
      const c = makeClock({ servers: [server.address] });
      c.compareDate(httpDate(soon()));
      await c.ready();
      for (const date of [
        httpDate(soon() + 86000000),
        httpDate(soon() - 86000000),
        httpDate(soon()),
        "",
        "yesterday",
      ]) {
        c.compareDate(date);
      }
      await clock.advance(5000);
      expect(server.requests.length).toBe(1);
    });

    test("is passed to the host's clock", async () => {
      clock.setDate(0);
      const server = await timeServer(soon);
      const gateway = await serve((socket) =>
        onRequest(socket, () =>
          socket.write(httpResponse("{}", "200 OK", `Date: ${httpDate(soon() + 10 * 86400000)}\r\n`)),
        ),
      );
      const host = createModdableHost({ clock: { servers: [server.address] } });
      await host.clock.ready();
      await send(host, request(gateway.port));
      await until(() => server.requests.length === 2);
    });
  });

  describe("a slow resolver", () => {
    const names = ["a.test", "b.test", "c.test"];

    test("looks up one name at a time, without cancelled ones", async () => {
      clock.setDate(0);
      network.resolveMs = 7000;
      const c = makeClock({ servers: names });
      const failed = failure(c.ready());
      await until(() => network.resolving === 1);
      await clock.advance(29999);
      expect(network.resolving).toBe(1);
      expect(network.mostResolving).toBe(1);
      await clock.advance(1);
      expect((await failed).code).toBe("CLOCK_NOT_SET");
      await clock.advance(60000);
      expect(network.resolved).toEqual(["a.test", "b.test", "c.test", "a.test", "b.test"]);
    });

    test("delays a query behind another name without using up its timeout", async () => {
      clock.setDate(0);
      const server = await timeServer(soon);
      network.resolveMs = 7000;
      network.names.set("b.test", "127.0.0.1");
      const c = makeClock({ servers: ["a.test", `b.test:${server.address.split(":")[1]}`] });
      const ready = c.ready();
      await until(() => network.resolving === 1);
      // Three seconds for the first, and three and a half in which the network is still busy with it.
      await clock.advance(6500);
      network.resolveMs = 0;
      await clock.advance(500);
      await ready;
      expect(server.requests.length).toBe(1);
    });

    test("does not prolong a synchronization beyond its limit", async () => {
      clock.setDate(0);
      const server = await timeServer(soon, () => []);
      const c = makeClock({ servers: [server.address], timeoutMs: 3000, synchronizeTimeoutMs: 4000 });
      const failed = failure(c.ready());
      await until(() => server.requests.length === 1);
      await clock.advance(3000);
      await until(() => server.requests.length === 2);
      await clock.advance(1000);
      expect((await failed).code).toBe("CLOCK_NOT_SET");
    });
  });

  test("monotonic time never decreases", () => {
    const c = makeClock({});
    let last = c.monotonicMs();
    for (const date of [0, soon(), 5, soon() * 2]) {
      clock.setDate(date);
      expect(c.monotonicMs()).toBeGreaterThanOrEqual(last);
      last = c.monotonicMs();
    }
  });

  test("Device waits for the clock before its first request, and signs with its time", async () => {
    clock.setDate(0);
    const server = await timeServer(() => clock.realNow());
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

  test("Device reports a clock that cannot be set before the TLS handshake", async () => {
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
