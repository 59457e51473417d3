import { expect, test } from "@jest/globals";
import { createMemoryStorage, Device, NetworkError, type Storage } from "../../src/index.js";
import { page, refused, taken, virtualHost } from "../support/virtual-host.js";

/** A small generator (mulberry32): each seed is one story, the same each time. */
function generator(seed: number): () => number {
  let a = seed | 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Fails at any operation, before or after it has taken effect. */
function faulty(storage: Storage, random: () => number, fails: () => number): Storage {
  const operate = async <T>(operation: () => Promise<T>): Promise<T> => {
    await Promise.resolve();
    const fate = random();
    if (fate < fails() / 2) throw new Error("before");
    const result = await operation();
    if (fate < fails()) throw new Error("after");
    return result;
  };
  return {
    ...storage,
    get: (key) => operate(() => storage.get(key)),
    set: (key, text) => operate(() => storage.set(key, text)),
    delete: (key) => operate(() => storage.delete(key)),
    keys: () => operate(() => storage.keys()),
  };
}

async function story(seed: number): Promise<string[]> {
  const random = generator(seed);
  // In every other story the gateway rejects messages, and those are passed over by others.
  const picky = seed % 2 === 0;
  let fails = 0.15;
  let healthy = false;
  const wrong: string[] = [];
  const arrived: number[] = [];
  const gone = new Set<number>();
  const told: number[] = [];
  const accepted: number[] = [];
  const refusedOnce = new Set<number>();
  const memory = createMemoryStorage();
  const host = virtualHost(
    ({ body }) => {
      const n = Number.parseInt(JSON.parse(new TextDecoder().decode(body)).Payload, 10);
      const fate = healthy ? 1 : random();
      if (fate < 0.1) throw new NetworkError("CONNECTION_RESET", "read", "The connection was closed.");
      if (fate < 0.15) return page(503);
      if (picky && fate < 0.2) {
        refusedOnce.add(n);
        return refused("InvalidParameterValue.PayloadOverLimit");
      }
      arrived.push(n);
      return taken();
    },
    { storage: faulty(memory, random, () => fails) },
  );
  const start = () =>
    new Device(
      {
        productId: "P",
        deviceName: "d",
        credential: { secret: "s" },
        rateLimit: false,
        retry: { baseDelayMs: 1, budget: 2 },
        outbox: {
          maxMessages: 1000,
          maxBytes: 10000000,
          flushIntervalMs: random() < 0.5 ? 0 : 50,
          flushThreshold: 3,
          onDelivered: ({ payload }) => told.push(Number.parseInt(String(payload), 10)),
          onDropped: ({ reason, sequence, message }) => {
            if (reason === "rejected") gone.add(Number.parseInt(String(message?.payload), 10));
            else if (message !== undefined) wrong.push(`${sequence} dropped: ${reason}`);
          },
        },
      },
      host,
    );
  let device = start();
  let next = 0;
  const running: Promise<unknown>[] = [];
  for (let step = 0; step < 60; step++) {
    const fate = random();
    if (fate < 0.6) {
      const n = next++;
      const payload = `${n} `.padEnd(random() < 0.2 ? 9000 : 10);
      const enqueued = device.enqueue({ topic: "data", payload }).then(
        () => accepted.push(n),
        () => {},
      );
      running.push(enqueued);
      if (random() < 0.5) await enqueued;
    } else if (fate < 0.85) {
      const flushed = device.flush({ deadlineMs: 1000 }).catch(() => {});
      running.push(flushed);
      if (random() < 0.5) await flushed;
    } else if (fate < 0.93) {
      await new Promise<void>((resolve) => host.timer.set(resolve, 100));
    } else {
      device.close();
      device = start();
    }
  }
  await Promise.all(running);
  device.close();
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
  if (host.timers > 0) wrong.push(`${host.timers} timers are left`);
  healthy = true;
  fails = 0;
  device = start();
  const last = await device.flush();
  if (last.reason !== "empty") wrong.push(`not empty: ${last.reason}`);
  device.close();
  const came = new Set(arrived);
  // A rejected message that is deleted while the device closes is not reported.
  for (const n of accepted) if (!came.has(n) && !refusedOnce.has(n)) wrong.push(`${n} is lost`);
  for (const n of gone) if (!refusedOnce.has(n)) wrong.push(`${n} was not refused`);
  const firsts = [...came].filter((n) => accepted.includes(n));
  if (!picky && firsts.some((n, i) => i > 0 && n < firsts[i - 1])) wrong.push(`out of order: ${firsts.join(" ")}`);
  if (new Set(told).size !== told.length) wrong.push(`reported twice: ${told.join(" ")}`);
  const left = await memory.keys();
  if (left.length > 0) wrong.push(`left in storage: ${left.join(" ")}`);
  return wrong;
}

test("outbox loses nothing and keeps the order with random storage errors, rejections, outages and restarts", async () => {
  const stories = Number(process.env.STORIES ?? 60);
  const first = Number(process.env.SEED ?? 1);
  for (let seed = first; seed < first + stories; seed++)
    expect({ seed, wrong: await story(seed) }).toEqual({ seed, wrong: [] });
});
