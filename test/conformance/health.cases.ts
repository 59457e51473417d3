import { utf8Decode } from "../../src/crypto/utf8.js";
import type { Vitals } from "../../src/host.js";
import {
  type AbortSignalLike,
  createMemoryStorage,
  Device,
  type DeviceOptions,
  type Host,
  IotHubError,
  NetworkError,
  type ResponseError,
} from "../../src/index.js";
import { fakeHost, type Respond, response, success } from "../support/fake-host.js";
import type { Case } from "./case.js";

const START = 1735286744_000;
const message = Object.freeze({ topic: "data", payload: "1" });
const base: DeviceOptions = Object.freeze({
  productId: "P",
  deviceName: "d",
  credential: { secret: "lDZ6Uqt+I9E0wW7rvDUs7Q==" },
  retry: false as const,
  rateLimit: false as const,
});

function create(respond: Respond, changes: Partial<DeviceOptions> = {}, parts: Partial<Host> = {}) {
  const host = fakeHost(respond, { storage: createMemoryStorage(), ...parts }, START);
  return { host, device: new Device({ ...base, ...changes }, host) };
}

const ok = () => response(success);
const refuse = (): never => {
  throw new NetworkError("CONNECTION_REFUSED", "connect", "refused");
};
const beats = (host: ReturnType<typeof fakeHost>) =>
  host.sent
    .map(({ request }) => JSON.parse(utf8Decode(request.body)))
    .filter(({ TopicName }) => TopicName === "P/d/beat")
    .map(({ Payload, Qos }) => ({ qos: Qos, ...JSON.parse(Payload) }));

/** Lets everything run that waits for no timer. */
async function settle() {
  for (let i = 0; i < 200; i++) await undefined;
}

const stackBytes = 16_384;
const heapBytes = 196_608;

export const cases: readonly Case[] = [
  {
    name: "statistics count what was published, retried and dropped, and when requests last succeeded and failed",
    stackBytes,
    heapBytes,
    async run(check) {
      let fails = 0;
      const { host, device } = create(() => (fails-- > 0 ? refuse() : ok()), {
        retry: { maxAttempts: 3, baseDelayMs: 0 },
        outbox: { flushIntervalMs: 0, maxMessages: 2 },
      });
      const fresh = device.stats();
      // On XS it cannot be made of an object in read-only memory.
      check.equal(JSON.parse(JSON.stringify(fresh)).waiting, { for: "nothing" });
      check.equal(fresh.published + fresh.retried, 0);
      check.equal([fresh.lastSuccessTimeMs, fresh.lastError, fresh.http], [undefined, undefined, undefined]);
      check.equal([fresh.waiting, fresh.dropped], [{ for: "nothing" }, {}]);
      fails = 2;
      host.advance(1000);
      await device.publish(message);
      check.equal([device.stats().published, device.stats().retried], [1, 2]);
      host.advance(2000);
      fails = 3;
      await check.rejects("CONNECTION_REFUSED", () => device.publish(message));
      check.equal(device.stats().lastError, {
        code: "CONNECTION_REFUSED",
        errorClass: "network",
        timeMs: START + 3000,
      });
      check.equal(device.stats().lastSuccessTimeMs, START + 1000);
      for (const payload of ["1", "2", "3"]) await device.enqueue({ topic: "data", payload });
      host.advance(500);
      const { outbox, dropped } = device.stats();
      check.equal([outbox?.size, outbox?.oldestAgeMs, dropped], [2, 500, { evicted: 1 }]);
      await device.flush();
      check.equal([device.stats().published, device.stats().outbox?.bytes], [3, 0]);
      // Times are those of the clock as it is known by now.
      host.setNow(START + 1_000_000);
      host.advance(10);
      check.equal(device.stats().lastSuccessTimeMs, START + 1_000_000 - 500 + 500);
      device.log("info", "a line");
      await device.flushLog();
      check.equal(device.stats().published, 3, "log lines are not published");
    },
  },
  {
    name: "what the device waits for is said with the time until when, and canPublish follows it",
    stackBytes,
    heapBytes,
    async run(check) {
      const busy = () => response("{}", { status: 503, headers: { "retry-after": "60" } });
      const paused = create(busy);
      check.equal(paused.device.canPublish(), true);
      await check.rejects("HTTP_STATUS", () => paused.device.publish(message));
      const { waiting } = paused.device.stats();
      check.equal(waiting.for, "pause");
      const until = (waiting.untilMs ?? 0) - START;
      check.ok(until >= 60_000 && until <= 90_000, `${until}`);
      check.equal(paused.device.canPublish(), false);
      paused.host.advance(until);
      check.equal([paused.device.stats().waiting, paused.device.canPublish()], [{ for: "nothing" }, true]);

      const limited = create(ok, { rateLimit: { perSecond: 1, burst: 1 } });
      await limited.device.publish(message);
      check.equal(limited.device.stats().lastSuccessTimeMs, START);
      check.equal(limited.device.stats().waiting, { for: "rateLimit", untilMs: START + 1000 });
      check.equal(limited.device.canPublish(), false);
      // Asking takes no token.
      limited.host.advance(1000);
      check.equal([limited.device.canPublish(), limited.device.canPublish()], [true, true]);

      const failing = create(refuse, { retry: { baseDelayMs: 8000 } });
      const failed = failing.device.publish(message, { timeoutMs: 100_000 });
      await settle();
      check.equal(failing.device.stats().waiting.for, "backoff");
      check.equal(failing.device.canPublish(), false);
      failing.device.close();
      check.equal(failing.device.stats().waiting, { for: "closed" });
      check.equal(failing.device.canPublish(), false);
      await check.rejects("DEVICE_CLOSED", () => failed);
      check.equal(failing.device.stats().lastError?.code, undefined, "closing is no error of the gateway");

      const pending = create(() => new Promise<never>(() => {}));
      const first = pending.device.publish(message);
      await settle();
      check.equal([pending.device.stats().waiting, pending.device.canPublish()], [{ for: "request" }, true]);
      const second = pending.device.publish(message);
      await settle();
      check.equal(pending.device.canPublish(), false);
      pending.device.close();
      await check.rejects("DEVICE_CLOSED", () => first);
      await check.rejects("DEVICE_CLOSED", () => second);

      let set = () => {};
      const ready = new Promise<void>((resolve) => {
        set = resolve;
      });
      const clock = { nowMs: () => START, monotonicMs: () => 0, ready: () => ready };
      const unset = create(ok, {}, { clock });
      check.equal(unset.device.canPublish(), true);
      const late = unset.device.publish(message);
      await settle();
      check.equal([unset.device.stats().waiting, unset.device.canPublish()], [{ for: "clock" }, false]);
      set();
      await late;
      check.equal(unset.device.stats().waiting, { for: "nothing" });
    },
  },
  {
    name: "an outbox says that it backs off, or that its storage has stopped",
    stackBytes,
    heapBytes,
    async run(check) {
      const { host, device } = create(refuse, { outbox: { flushIntervalMs: 10_000 } });
      await device.enqueue(message);
      host.advanceToNext();
      await settle();
      const { waiting } = device.stats();
      check.equal(waiting.for, "backoff");
      const untilMs = waiting.untilMs ?? 0;
      host.advance(untilMs - START - host.elapsedMs - 1);
      check.equal([host.sent.length, device.stats().waiting], [1, waiting]);
      host.advance(1);
      await settle();
      check.equal(host.sent.length, 2);
      // A publish does not wait for the outbox.
      check.equal(device.canPublish(), true);
      device.close();

      const storage = createMemoryStorage();
      storage.set = () => Promise.reject(new IotHubError("STORAGE_STOPPED", "stopped"));
      const stopped = create(ok, { outbox: { flushIntervalMs: 0 } }, { storage });
      await stopped.device.enqueue(message);
      check.equal([stopped.device.stats().waiting, stopped.device.canPublish()], [{ for: "storage" }, true]);
    },
  },
  {
    name: "heartbeats are sent at their interval, and neither stored nor sent again",
    stackBytes,
    heapBytes,
    async run(check) {
      let respond: Respond = ok;
      const vitals = (): Vitals => ({ uptimeMs: 5, resetReason: "Panic", freeHeapBytes: Number.NaN, rssiDbm: -61 });
      const { host, device } = create(
        (...given) => respond(...given),
        { heartbeat: { intervalMs: 60_000, topic: "beat" }, retry: {} },
        { vitals },
      );
      check.equal(host.sent.length, 0);
      host.advanceToNext();
      await settle();
      const [first] = beats(host);
      check.equal([first.qos, first.uptimeMs, first.resetReason, first.rssiDbm], [0, 5, "Panic", -61]);
      check.equal([first.freeHeapBytes, first.published, first.waiting], [undefined, 0, undefined]);
      check.equal(device.stats().published, 0, "a heartbeat is no message");
      check.ok(host.elapsedMs < 60_000, "the first comes within the interval");
      respond = refuse;
      host.advance(60_000);
      await settle();
      check.equal(beats(host).length, 2);
      check.equal(device.stats().retried, 0);
      // One that never ends is waited for no longer than its own limit, and none is sent beside it.
      respond = () => new Promise<never>(() => {});
      host.advance(60_000);
      await settle();
      check.equal([beats(host).length, beats(host)[2].lastError.code], [3, "CONNECTION_REFUSED"]);
      host.advance(60_000);
      await settle();
      respond = ok;
      host.advance(60_000);
      await settle();
      check.equal(beats(host).length, 4);
      device.close();
      host.advance(600_000);
      await settle();
      check.equal([beats(host).length, host.timers], [4, 0]);
    },
  },
  {
    name: "a heartbeat is left out while the gateway's pause holds",
    stackBytes,
    heapBytes,
    async run(check) {
      let isPaused = true;
      const { host, device } = create(
        () => (isPaused ? response("{}", { status: 503, headers: { "retry-after": "100" } }) : ok()),
        { heartbeat: { intervalMs: 60_000, topic: "beat" } },
      );
      const error = await check.rejects("HTTP_STATUS", () => device.publish(message));
      check.equal((error as ResponseError).retryAfterSeconds, 100);
      isPaused = false;
      host.advance(60_000);
      await settle();
      check.equal(beats(host).length, 0);
      host.advance(60_000);
      host.advance(60_000);
      await settle();
      check.ok(beats(host).length > 0, "none came after the pause");
      device.close();
    },
  },
  {
    name: "with deep sleep, a heartbeat follows a flush when it is due, after restarts too",
    stackBytes,
    heapBytes,
    async run(check) {
      const storage = createMemoryStorage();
      let counted = 0;
      const wake = async (afterMs: number, respond: Respond = ok, signal?: AbortSignalLike) => {
        const host = fakeHost(respond, { storage }, START + afterMs);
        const device = new Device(
          { ...base, outbox: { flushIntervalMs: 0 }, heartbeat: { intervalMs: 3_600_000, topic: "beat" } },
          host,
        );
        await device.enqueue(message);
        const { reason: ended } = await device.flush({ deadlineMs: 20_000, signal });
        device.close();
        check.equal(host.timers, 0);
        counted = beats(host).length;
        return ended;
      };
      check.equal([await wake(0), counted], ["empty", 1]);
      check.equal([await wake(600_000), counted], ["empty", 0]);
      // A wake that comes a little early is early enough.
      check.equal([await wake(3_590_000), counted], ["empty", 1]);
      check.equal([await wake(3_600_000 + 600_000), counted], ["empty", 0]);
      // A flush that fails is followed by none; the next one is.
      check.equal([await wake(7_400_000, refuse), counted], ["network", 0]);
      check.equal([await wake(7_500_000), counted], ["empty", 1]);
      // The clock was put back.
      check.equal([await wake(1000), counted], ["empty", 1]);
      check.equal((await storage.keys()).length, 1);
    },
  },
  {
    name: "a flush ends in time though a heartbeat or its storage never ends",
    stackBytes,
    heapBytes,
    async run(check) {
      for (const part of ["gateway", "storage"]) {
        const inner = createMemoryStorage();
        const storage = {
          ...inner,
          maxValueBytes: inner.maxValueBytes,
          get: (key: string) =>
            part === "storage" && key.endsWith(".beat") ? new Promise<never>(() => {}) : inner.get(key),
        };
        const { host, device } = create(
          ({ body }) => (utf8Decode(body).includes("/beat") ? new Promise<never>(() => {}) : ok()),
          { outbox: { flushIntervalMs: 0 }, heartbeat: { intervalMs: 3_600_000, topic: "beat" } },
          { storage },
        );
        await device.enqueue(message);
        let ended = "";
        const flushed = device.flush({ deadlineMs: 5000 }).then((result) => {
          ended = result.reason;
        });
        await settle();
        check.equal(ended, "", part);
        host.advance(5000);
        await flushed;
        check.equal(ended, "empty", part);
        device.close();
        await settle();
        check.equal(await inner.get("out.beat"), undefined);
      }
    },
  },
  {
    name: "options of a heartbeat are checked",
    heapBytes,
    run(check) {
      const make = (heartbeat: unknown) => () => create(ok, { heartbeat: heartbeat as never });
      make({ topic: "beat" })().device.close();
      check.throws("INVALID_OPTION", make({ intervalMs: 999, topic: "beat" }));
      check.throws("INVALID_OPTION", make(60_000));
      check.throws("INVALID_TOPIC", make({ intervalMs: 60_000 }));
      check.throws("TOPIC_WILDCARD", make({ intervalMs: 60_000, topic: "a/#" }));
    },
  },
];
