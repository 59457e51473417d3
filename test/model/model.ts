/**
 * A random history of an outbox (messages, flushes, logs, closing, power cuts, restarts) against a storage and a
 * gateway that misbehave, and a model that knows what must have been delivered, dropped with a report, or refused. The
 * same seed gives the same history.
 */

import { base64Decode } from "../../src/crypto/base64.js";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import type { HttpContext, HttpRequest, HttpResponse } from "../../src/host.js";
import {
  Device,
  type DeviceEvent,
  type DroppedMessage,
  IotHubError,
  NetworkError,
  type OutboxOptions,
  type Storage,
  type StoredMessage,
} from "../../src/index.js";
import { decodeRecord, storedBytes } from "../../src/outbox/record.js";
import { mulberry32 } from "../../tools/gateway/index.js";
import { hang, page, refused, taken, virtualHost } from "../support/virtual-host.js";

/** How a storage misbehaves, in episodes. */
export const troubles = [
  "none",
  /** An operation rejects, before or after it took effect. */
  "failing",
  /**
   * Short of memory: keys are absent, or lists empty, or deletions without effect, and nothing rejects. One of the
   * three at a time: of a storage that neither lists nor finds what it has, nobody could know better.
   */
  "forgetful",
  /** Text is garbled when it is read, never twice in a row. */
  "garbled",
  /** No room before `maxBytes`: others fill it. */
  "full",
  /** A write rejects with STORAGE_STOPPED, and so do all others until the restart. */
  "stopping",
  /** An operation takes longer than `storageTimeoutMs`, or for ever. */
  "hanging",
] as const;
export type Trouble = (typeof troubles)[number];

/** How readings are sent: each by itself, with its time, or many as one message. */
const forms: readonly OutboxOptions[] = [
  {},
  { timeField: "time" },
  { batch: {} },
  { batch: { maxReadings: 3, maxBytes: 200 }, timeFormat: "iso8601" },
  { batch: { maxReadings: 5, encode: (readings) => ({ many: readings.map(({ payload }) => payloadText(payload)) }) } },
];

const MAX_MESSAGES = 12;
const MAX_BYTES = 6400;
const STORAGE_TIMEOUT_MS = 10000;
const HOUR_MS = 3600000;
const OVER_LIMIT = "InvalidParameterValue.PayloadOverLimit";
/** How many responses back a proxy repeats one instead of the request's response. */
const AGO = [1, 2, 8];
/** In `full`: what there is for everybody. */
const CAPACITY = 4096;

/** What is known of a reading outside of the device. */
interface Reading {
  readonly n: number;
  /** When it was taken, and whether the clock was not set then. */
  readonly takenMs: number;
  readonly isUndated: boolean;
  accepted: boolean;
  /** What `enqueue` rejected with. */
  refusedWith?: string;
  received: number;
  /** How often it may have been sent without being known as received. */
  doubts: number;
  dropped: string[];
  /** How often the gateway has rejected it. */
  rejected: number;
  /** It was being evicted when the device was closed. */
  excused: boolean;
}

interface Life {
  device: Device;
  cut: boolean;
  closed: boolean;
  stopped: boolean;
  /** Events of the phase `storage`. */
  events: number;
  late: number;
  /** Resolves when the power is cut. */
  off: Promise<void>;
  turnOff: () => void;
  operationsLeft: number;
  lastDeleted: string | undefined;
  garbledKey: string | undefined;
  /** Whether a connection is kept. */
  connected: boolean;
  /** Unsolicited bytes have arrived on it that the host has not detected. */
  waiting: HttpResponse | undefined;
  /** How often the host has found such bytes. */
  surplus: number;
  /** Responses that came through the proxy. */
  readonly responses: HttpResponse[];
  nowMs: () => number;
  /** What a reading is taken at. */
  now: () => { takenMs: number; isUndated: boolean };
  /** Whether the clock has been set. */
  isSet: boolean;
  /** Whether the clock shows a time at all. */
  hasTime: boolean;
  sleep: (ms: number) => Promise<void>;
}

export async function history(seed: number, trouble: Trouble): Promise<string[]> {
  const random = mulberry32(seed);
  const chance = (p: number) => random() < p;
  const wrong: string[] = [];
  const readings: Reading[] = [];
  const values = new Map<string, string>();
  const promises: { what: string; life: Life; settled: boolean }[] = [];
  const policy = chance(0.8) ? "dropOldest" : "rejectNewest";
  const form = forms[Math.floor(random() * forms.length)];
  const storeAfterMs = chance(0.5) ? 0 : chance(0.5) ? 10 : 3000;
  /** What others take of the storage in `full`. */
  let others = 0;
  let mostOthers = 0;
  let troubled = chance(0.5);
  let gateway: "up" | "down" | "slow" = "up";
  /** Repeats responses. */
  let isProxyMad = chance(0.3);
  /** Takes nothing but what `encode` makes, unless it cannot make it. */
  const isPicky = form.batch?.encode !== undefined && chance(0.5);
  let poison: number | undefined;
  let poisonous = false;
  /** What poison is rejected with. */
  const rejections = [() => page(400), () => page(404), () => page(200), () => refused(OVER_LIMIT)];
  let rejection = rejections[0];
  const leftover = rejections[Math.floor(random() * 3)];
  let wallMs = Date.UTC(2026, 10, 2);
  /** Whether the machine's clock continues across restarts, or starts at each power-on. */
  const goesOn = chance(0.5);
  let powerOnMs = wallMs;
  let lives = 0;
  /** Readings that were evicted for one that has not been written. */
  let evictions = 0;
  let lie: "get" | "keys" | "delete" = "get";
  // What neither listed a key at the start nor finds it later lies twice in one life.
  let nextLie: "get" | "keys" | "delete" = "get";
  let noRoom: { bytes: number; untilMs: number; life: Life } | undefined;
  /** A write that ended late, whose message was refused: nothing may be written before it is deleted. */
  let mustDelete: string | undefined;

  const used = () => {
    let bytes = others;
    for (const text of values.values()) bytes += storedBytes(utf8(text).length);
    return bytes;
  };
  const numberOf = (text: string): number => {
    const message = decodeRecord(0, text);
    return typeof message === "object" ? messageNumber(message) : -1;
  };
  const isLog = (text: string): boolean => {
    const message = decodeRecord(0, text);
    return typeof message === "object" && message.endpoint !== 0;
  };

  function storageOf(life: Life): Storage {
    const operate = <T>(kind: "get" | "set" | "delete" | "keys", key: string, work: () => T, text = ""): Promise<T> => {
      if (life.cut) return new Promise<never>(() => {});
      if (life.late > 0) wrong.push(`${kind} ${key} while an operation was late`);
      if (--life.operationsLeft === 0) {
        const fits = trouble !== "full" || kind !== "set" || used() + storedBytes(utf8(text).length) <= CAPACITY;
        if (chance(0.5) && fits) effect(kind, key, work, text);
        powerCut(life);
        return new Promise<never>(() => {});
      }
      return run(kind, key, work, text);
    };
    const effect = <T>(kind: string, key: string, work: () => T, text: string): T => {
      if (kind === "delete") {
        const before = values.get(key);
        if (!isTime(key)) life.lastDeleted = before;
        noRoom = undefined;
        if (mustDelete === key) mustDelete = undefined;
      }
      if (kind === "set") {
        if (values.has(key) && !isTime(key)) wrong.push(`${key} was overwritten`);
        if (!isLog(text)) evictions = 0;
      }
      return work();
    };
    const run = async <T>(
      kind: "get" | "set" | "delete" | "keys",
      key: string,
      work: () => T,
      text: string,
    ): Promise<T> => {
      await Promise.resolve();
      if (life.cut) return new Promise<never>(() => {});
      const isWrite = kind === "set" || kind === "delete";
      if (isWrite && mustDelete !== undefined && values.has(mustDelete) && key !== mustDelete) {
        wrong.push(`${kind} ${key} before ${mustDelete} was deleted, which was refused`);
      }
      if (kind === "set") {
        if (life.stopped) wrong.push("a write after the storage had stopped");
        const bytes = storedBytes(utf8(text).length);
        if (trouble === "full" && used() + bytes > CAPACITY) {
          if (noRoom !== undefined && noRoom.life === life && bytes >= noRoom.bytes && life.nowMs() < noRoom.untilMs) {
            wrong.push("a write was repeated that had found no room");
          }
          noRoom = { bytes, untilMs: life.nowMs() + HOUR_MS, life };
          throw new IotHubError("STORAGE_FULL", "no room");
        }
        if (isLog(text) && evictions > 0 && trouble === "none") {
          wrong.push("a reading was evicted for a log");
        }
      }
      if (!troubled) return effect(kind, key, work, text);
      switch (trouble) {
        case "failing":
          if (chance(0.15)) throw new Error("before");
          if (chance(0.15)) {
            effect(kind, key, work, text);
            throw new Error("after");
          }
          break;
        case "forgetful":
          if (kind === "get" && lie === "get" && chance(0.4)) return undefined as T;
          if (kind === "keys" && lie === "keys" && chance(0.7)) return [] as T;
          if (kind === "delete" && lie === "delete" && chance(0.5)) return undefined as T;
          if (kind === "set" && chance(0.2)) throw new Error("no memory");
          break;
        case "garbled":
          if (kind === "get" && life.garbledKey !== key && chance(0.3)) {
            life.garbledKey = key;
            const read = work() as string | undefined;
            return (read === undefined ? read : chance(0.5) ? "" : read.slice(0, 3)) as T;
          }
          life.garbledKey = undefined;
          break;
        case "stopping":
          if (kind === "set" && chance(0.2)) {
            life.stopped = true;
            if (chance(0.3)) effect(kind, key, work, text);
            throw new IotHubError("STORAGE_STOPPED", "Restart the board; what is stored is safe.");
          }
          break;
        case "hanging":
          if (chance(0.1)) {
            const early = chance(0.5);
            let result = early ? effect(kind, key, work, text) : undefined;
            if (chance(0.3)) return new Promise<never>(() => {});
            await life.sleep(STORAGE_TIMEOUT_MS - 1);
            await Promise.resolve();
            life.sleep(2).then(() => {
              life.late++;
            });
            await life.sleep(chance(0.5) ? 50 : 60000);
            // What a device that was closed has begun takes effect before what the next one begins, or never.
            if (life.cut || life.closed) return new Promise<never>(() => {});
            life.late--;
            if (!early) result = effect(kind, key, work, text);
            if (kind === "set" && !life.closed && readings[numberOf(text)]?.refusedWith !== undefined) mustDelete = key;
            if (chance(0.3)) throw new Error("late, and failed");
            return result as T;
          }
          break;
      }
      return effect(kind, key, work, text);
    };
    return {
      maxValueBytes: 3999,
      get: (key) => operate("get", key, () => values.get(key)),
      set: (key, text) =>
        operate(
          "set",
          key,
          () => {
            values.set(key, text);
          },
          text,
        ),
      delete: (key) =>
        operate("delete", key, () => {
          values.delete(key);
        }),
      keys: () => operate("keys", "", () => [...values.keys()]),
    };
  }

  /** Response of a proxy that repeats responses on keep-alive connections instead of forwarding the request. */
  async function throughProxy(life: Life, request: HttpRequest, context: HttpContext): Promise<HttpResponse> {
    if (context.fresh) life.connected = false;
    if (!life.connected) life.waiting = undefined;
    // The host looks for bytes before it writes, and may find them too late.
    if (life.waiting !== undefined && chance(0.5)) {
      life.surplus++;
      life.connected = false;
      life.waiting = undefined;
    }
    const reused = life.connected;
    life.connected = true;
    const { waiting, responses } = life;
    const before = AGO.map((ago) => responses.at(-ago)).filter((one) => one !== undefined);
    const again = waiting ?? (isProxyMad && chance(0.25) ? before[Math.floor(random() * before.length)] : undefined);
    if (reused && again !== undefined) {
      life.waiting = undefined;
      for (const n of numbersIn(request)) readings[n].doubts++;
      const early = chance(0.3);
      if (early) life.connected = false;
      return { ...again, reused, early };
    }
    life.waiting = undefined;
    if (isProxyMad && reused && !life.cut && chance(0.1)) {
      // Sent behind the response before it, too late to be found: a page has no id to tell it by.
      for (const n of numbersIn(request)) readings[n].doubts++;
      return { ...leftover(), reused };
    }
    if (isProxyMad && !life.cut && chance(0.1)) {
      // Before the request was written completely.
      life.connected = false;
      for (const n of numbersIn(request)) readings[n].doubts++;
      const response = chance(0.3) ? taken() : refused(OVER_LIMIT);
      responses.push(response);
      return { ...response, reused, early: true };
    }
    try {
      const response = await respond(life, request, context);
      responses.push(response);
      if (isProxyMad && chance(0.1)) life.waiting = response;
      return { ...response, reused };
    } catch (error) {
      life.connected = false;
      throw error;
    }
  }

  function respond(life: Life, request: HttpRequest, context: HttpContext): HttpResponse | Promise<HttpResponse> {
    const body = JSON.parse(new TextDecoder().decode(request.body));
    const isLogRequest = request.path !== "/device/publish";
    const items = isLogRequest ? [] : itemsIn(body.Payload, body.PayloadEncoding);
    const sent: Reading[] = [];
    for (const item of items) {
      const n = numberOfItem(item);
      const reading = readings[n];
      if (reading === undefined) {
        wrong.push(`unknown payload ${String(body.Payload).slice(0, 20)}`);
        return taken();
      }
      if (!isIntact(n, item, form)) wrong.push(`${n} was changed`);
      const time = timeOfItem(item);
      const isRight = typeof time === "number" && Math.abs(time - reading.takenMs) <= 2;
      if (time !== undefined && !isRight && !(time === null && reading.isUndated)) {
        wrong.push(`${n} was taken at ${reading.takenMs} and sent with ${time}`);
      }
      const before = sent.at(-1)?.n ?? -1;
      // What was not listed is found later, behind what has been stored since.
      if (n <= before && trouble !== "forgetful") wrong.push(`${n} came behind ${before}`);
      sent.push(reading);
    }
    if (items.length > (form.batch?.maxReadings ?? (form.batch ? 20 : 1))) wrong.push(`${items.length} in one message`);
    for (const reading of sent) reading.doubts++;
    if (life.cut) return new Promise<never>(() => {});
    const fate = random();
    if (gateway === "down") throw new NetworkError("CONNECTION_REFUSED", "connect", "down");
    if (gateway === "slow" && fate < 0.5) return hang(context);
    if (isPicky && sent.length > 0 && !body.Payload.startsWith('{"many"') && body.Payload.length < 1000) {
      wrong.push(`${sent[0].n} was sent in a form of which the gateway takes nothing`);
    }
    const bad = sent.find(({ n }) => n === poison);
    if (bad && poisonous) {
      if (sent.length === 1) bad.rejected++;
      return rejection();
    }
    if (gateway === "slow" && fate < 0.7) return page(503);
    if (gateway === "slow" && fate < 0.8) return refused("InternalError", {}, 500);
    for (const reading of sent) reading.received++;
    if (gateway === "slow" && fate < 0.9) throw new NetworkError("CONNECTION_RESET", "read", "lost");
    return taken();
  }

  function start(): Life {
    let turnOff = () => {};
    const off = new Promise<void>((resolve) => {
      turnOff = resolve;
    });
    const life = {
      cut: false,
      closed: false,
      stopped: false,
      events: 0,
      late: 0,
      off,
      turnOff,
      connected: false,
      waiting: undefined,
      surplus: 0,
      responses: [],
    } as unknown as Life;
    lie = nextLie;
    mostOthers = others;
    life.operationsLeft = chance(0.3) ? 1 + Math.floor(random() * 60) : Number.POSITIVE_INFINITY;
    const host = virtualHost((request, _index, context) => throughProxy(life, request, context), {}, wallMs);
    const { timer, http } = host;
    life.nowMs = () => host.elapsedMs;
    life.isSet = chance(goesOn ? 0.4 : 0.7);
    // What is set before a life begins does not count from the power-on.
    const startMs = goesOn && !life.isSet ? wallMs - powerOnMs : 0;
    const id = (lives++).toString(36).padStart(5, "0");
    life.now = () => ({ takenMs: host.clock.nowMs(), isUndated: !life.isSet });
    life.sleep = (ms) =>
      new Promise((resolve) => {
        timer.set(resolve, ms);
      });
    const storage = storageOf(life);
    life.hasTime = true;
    const { nowMs, monotonicMs } = host.clock;
    Object.assign(host, {
      storage,
      http: {
        send: http.send,
        close: http.close,
        get surplus() {
          return life.surplus;
        },
      },
      clock: {
        nowMs: () => (life.hasTime ? nowMs() : Number.NaN),
        monotonicMs,
        get synchronized() {
          return life.isSet;
        },
        // The first reading comes later than the start.
        uptimeMs: () => startMs + 1 + monotonicMs(),
        ...(goesOn && { life: life.isSet ? { id } : { id, startMs } }),
      },
      timer: {
        set: (callback: () => void, delayMs: number) =>
          timer.set(() => {
            wallMs = Math.max(wallMs, nowMs());
            if (!life.cut) callback();
          }, delayMs),
        clear: (handle: unknown) => timer.clear(handle),
      },
    });
    life.device = new Device(
      {
        productId: "P",
        deviceName: "d",
        credential: { secret: "s" },
        rateLimit: false,
        clockCorrection: false,
        storageTimeoutMs: STORAGE_TIMEOUT_MS,
        retry: { baseDelayMs: 1, budget: 2 },
        onEvent: (event: DeviceEvent) => {
          if (event.type === "storage") life.events++;
        },
        log: { maxLines: 5, maxLineBytes: 64, intervalMs: HOUR_MS },
        outbox: {
          maxMessages: MAX_MESSAGES,
          maxBytes: MAX_BYTES,
          ...form,
          storeAfterMs,
          policy,
          flushIntervalMs: 0,
          onDelivered: ({ payload, payloadEncoding }) => {
            const [item] = itemsIn(payload, payloadEncoding);
            const reading = readings[numberOfItem(item)];
            if (reading.dropped.includes("evicted") && trouble !== "forgetful")
              wrong.push(`${reading.n} was evicted in flight`);
            if (reading.received === 0) wrong.push(`${reading.n} was called delivered`);
            // Until here a power cut may have kept it.
            reading.doubts--;
          },
          onDropped: (dropped) => {
            if (!life.cut) onDropped(life, dropped);
          },
        },
      },
      host,
    );
    return life;
  }

  function onDropped(life: Life, { reason, message, sequence }: DroppedMessage): void {
    if (reason === "corrupt") wrong.push(`${sequence} was called damaged`);
    // Without a message it could not be read, and is known by what was just deleted.
    const n = message === undefined ? numberOf(life.lastDeleted ?? "") : messageNumber(message);
    const reading = reason === "lost" ? undefined : readings[n];
    if (reading === undefined) return;
    reading.dropped.push(reason);
    if (reason === "rejected" && reading.rejected < 2)
      wrong.push(`${n} was given up, rejected ${reading.rejected} times`);
    if (reason !== "evicted") return;
    evictions++;
    const waitingLogs = [...values.values()].filter(isLog).length;
    // One may be in flight.
    if (waitingLogs > 1 && trouble === "none") wrong.push(`${reading.n} was evicted while ${waitingLogs} logs waited`);
  }

  /** Deletions in progress can no longer be reported. */
  function excuse(life: Life): void {
    const n = life.lastDeleted === undefined ? -1 : numberOf(life.lastDeleted);
    if (n >= 0) readings[n].excused = true;
    mustDelete = undefined;
    noRoom = undefined;
    evictions = 0;
  }

  function powerCut(life: Life): void {
    life.cut = true;
    excuse(life);
    life.turnOff();
  }

  const track = (life: Life, what: string, promise: Promise<unknown>): Promise<void> => {
    const entry = { what, life, settled: false };
    promises.push(entry);
    const done = () => {
      entry.settled = true;
    };
    return promise.then(done, done);
  };

  function enqueue(life: Life): Promise<void> {
    const n = readings.length;
    const { takenMs, isUndated } = life.now();
    const reading: Reading = {
      n,
      takenMs,
      isUndated,
      accepted: false,
      received: 0,
      doubts: 0,
      dropped: [],
      rejected: 0,
      excused: false,
    };
    readings.push(reading);
    const stored = life.device.enqueue({ topic: n % 3 === 0 ? "event" : "data", payload: payloadOf(n) }).then(
      () => {
        if (life.cut) return;
        reading.accepted = true;
        const isSafe = [...values.values()].some((text) => numberOf(text) === n);
        // Between writing and this it may have been sent or evicted.
        if (!isSafe && reading.received === 0 && reading.dropped.length === 0 && !reading.excused) {
          wrong.push(`${n} was accepted and is nowhere`);
        }
      },
      (error: IotHubError) => {
        reading.refusedWith = error.code;
        if (life.closed) return;
        if (policy === "dropOldest" && error.code === "OUTBOX_FULL") wrong.push(`${n} was refused as OUTBOX_FULL`);
        // An undated reading takes another value.
        const room = (isUndated ? 128 : 64) + 2 * lengthOf(n);
        if (policy === "dropOldest" && error.code === "STORAGE_FULL" && mostOthers <= CAPACITY - room) {
          wrong.push(`${n} was refused as STORAGE_FULL`);
        }
        if (error.code === "STORAGE_STOPPED" && !life.stopped) wrong.push(`${n}: the storage has not stopped`);
        if (error.code === "STORAGE_STOPPED" && error.cause === undefined) wrong.push(`${n} was not even sent`);
        if (trouble === "none" && error.code !== "QUEUE_FULL" && policy === "dropOldest") {
          wrong.push(`${n} was refused: ${error.code}`);
        }
      },
    );
    return track(life, `enqueue ${n}`, stored);
  }

  let life = start();
  const orEnd = (promise: Promise<unknown>) => Promise.race([promise, life.off]);
  const restart = () => {
    if (life.cut) powerOnMs = wallMs;
    if (!life.cut) {
      life.closed = true;
      life.device.close();
      // For the storage, it is a power cut: pending operations may still take effect.
      const old = life;
      excuse(old);
    }
    life = start();
  };
  for (let step = 0; step < 50; step++) {
    if (life.cut) restart();
    const fate = random();
    if (fate < 0.4) {
      const enqueued = enqueue(life);
      if (chance(0.6)) await orEnd(enqueued);
    } else if (fate < 0.47) {
      for (let i = 0, count = 1 + Math.floor(random() * 30); i < count; i++) enqueue(life);
      if (chance(0.5)) await orEnd(new Promise((resolve) => setImmediate(resolve)));
    } else if (fate < 0.67) {
      const flushed = track(life, "flush", life.device.flush({ deadlineMs: chance(0.5) ? 1000 : 100000 }));
      if (chance(0.6)) await orEnd(flushed);
    } else if (fate < 0.74) {
      life.hasTime = chance(0.8);
      for (let i = 0; i < 5; i++) life.device.log("info", "x".repeat(60));
      life.hasTime = true;
      const flushed = track(life, "flushLog", life.device.flushLog());
      if (chance(0.6)) await orEnd(flushed);
    } else if (fate < 0.78) {
      restart();
    } else if (fate < 0.82) {
      powerCut(life);
    } else if (fate < 0.87) {
      gateway = chance(0.4) ? "up" : chance(0.5) ? "down" : "slow";
      isProxyMad = chance(0.4);
    } else if (fate < 0.9) {
      poison = Math.floor(random() * Math.max(1, readings.length));
      poisonous = chance(0.7);
      rejection = rejections[Math.floor(random() * rejections.length)];
    } else if (fate < 0.96) {
      troubled = chance(0.6);
      nextLie = chance(0.5) ? "get" : chance(0.5) ? "keys" : "delete";
      others = 0;
      others = trouble === "full" ? Math.floor((random() * Math.max(0, CAPACITY - used())) / 32) * 32 : 0;
      mostOthers = Math.max(others, mostOthers);
    } else {
      life.isSet = true;
      await orEnd(life.sleep(chance(0.2) ? HOUR_MS + 1 : 100));
    }
    if (wrong.length > 0) return wrong;
  }
  // Everything that was begun ends by itself.
  gateway = "up";
  isProxyMad = false;
  for (let i = 0; i < 2000 && promises.some((one) => !one.settled && !one.life.cut); i++) {
    await Promise.race([life.sleep(1000), life.off]);
    if (life.cut) break;
  }
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
  for (const { what, life: of, settled } of promises) {
    if (!settled && !of.cut) wrong.push(`${what} never ended${of.closed ? " though closed" : ""}`);
  }
  if (!life.cut && life.events > 1) wrong.push("more than one event of a stopped storage");
  // Three wakes with a message that nobody takes: the others get past it.
  troubled = false;
  others = 0;
  if (trouble === "full") others = CAPACITY - used();
  const waited = () => [...values.values()].map(numberOf).filter((n) => n >= 0);
  const atFirst = waited();
  if (atFirst.length > 0 && chance(0.7)) {
    poison = atFirst[Math.floor(random() * atFirst.length)];
    poisonous = true;
    rejection = chance(0.5) ? () => page(400) : () => page(404);
  }
  for (let wake = 0; wake < 4; wake++) {
    restart();
    life.operationsLeft = Number.POSITIVE_INFINITY;
    await life.device.flush();
  }
  const stuck = waited().filter((n) => n !== poison && atFirst.includes(n));
  if (stuck.length > 0) wrong.push(`${stuck.join(" ")} did not get past ${poison}`);
  poisonous = false;
  restart();
  life.operationsLeft = Number.POSITIVE_INFINITY;
  const last = await life.device.flush();
  life.device.close();
  if (last.reason !== "empty") wrong.push(`not empty: ${last.reason} ${last.error?.message}`);
  if (values.size > 0) wrong.push(`left in storage: ${[...values.keys()].join(" ")}`);
  for (const { n, accepted, received, doubts, dropped, excused } of readings) {
    const isTold = dropped.length > 0 || excused;
    if (accepted && received === 0 && !isTold) wrong.push(`${n} is lost`);
    if (
      received > 1 + doubts &&
      !excused &&
      trouble !== "failing" &&
      trouble !== "forgetful" &&
      trouble !== "hanging"
    ) {
      wrong.push(`${n} was received ${received} times`);
    }
  }
  return wrong;
}

/** A payload by its number: short or long, text, text with NUL, bytes, or an object. */
function payloadOf(n: number): string | Uint8Array | { id: string } {
  const text = `${n} `.padEnd(n % 11 === 5 ? 900 : n % 17 === 7 ? 2400 : 12, "x");
  if (n % 5 === 1) return utf8(text);
  const special = n % 7 === 3 ? `${text}\0大` : n % 7 === 4 ? `${text}😀` : text;
  return n % 13 < 8 ? { id: special } : special;
}

/** What of it counts for the storage. */
function lengthOf(n: number): number {
  const payload = payloadOf(n);
  return typeof payload === "string" || payload instanceof Uint8Array ? payload.length : payload.id.length + 24;
}

type Item = string | Uint8Array | { readonly id: string; readonly time?: number | string | null };

/** What `encode` is given, as something that JSON can express. */
function payloadText(payload: unknown): unknown {
  return payload instanceof Uint8Array ? { bytes: [...payload] } : payload;
}

/** The readings of one message. */
function itemsIn(payload: string, encoding: string | undefined): Item[] {
  if (encoding === "Base64") return [new Uint8Array(base64Decode(payload))];
  if (!payload.startsWith("[") && !payload.startsWith("{")) return [payload];
  const value = JSON.parse(payload);
  const list: unknown[] = Array.isArray(value) ? value : Array.isArray(value.many) ? value.many : [value];
  return list.map((item) => {
    const { bytes } = item as { bytes?: number[] };
    return bytes === undefined ? (item as Item) : Uint8Array.from(bytes);
  });
}

/** -1 for log lines. */
function messageNumber({ endpoint, payload, payloadEncoding }: StoredMessage): number {
  return endpoint === 0 ? numberOfItem(itemsIn(payload, payloadEncoding)[0]) : -1;
}

/** The numbers of the readings in a request. */
function numbersIn({ body, path }: HttpRequest): number[] {
  if (path !== "/device/publish") return [];
  const { Payload, PayloadEncoding } = JSON.parse(new TextDecoder().decode(body));
  return itemsIn(Payload, PayloadEncoding).map(numberOfItem);
}

function numberOfItem(item: Item): number {
  return Number.parseInt(typeof item === "string" ? item : item instanceof Uint8Array ? utf8Decode(item) : item.id, 10);
}

/** The time that a reading was sent with; null for one that is not known, undefined for none. */
function timeOfItem(item: Item): number | null | undefined {
  if (typeof item === "string" || item instanceof Uint8Array) return undefined;
  return typeof item.time === "string" ? Date.parse(item.time) : item.time;
}

function isIntact(n: number, item: Item, form: OutboxOptions): boolean {
  const expected = payloadOf(n);
  if (typeof expected === "string") return item === expected;
  if (expected instanceof Uint8Array) return item instanceof Uint8Array && Buffer.from(item).equals(expected);
  if (typeof item === "string" || item instanceof Uint8Array || item.id !== expected.id) return false;
  const isDated = (form.timeField !== undefined || form.batch !== undefined) && form.batch?.encode === undefined;
  return isDated ? item.time !== undefined : form.batch !== undefined || !("time" in item);
}

/** Whether a key has no reading, but when readings of a power-on were taken. */
function isTime(key: string): boolean {
  return key.includes(".u-");
}
