/**
 * A fleet of boards and a gateway that serves so many requests a second and turns the rest away with a pause, in
 * virtual time: real devices with their outboxes, no sockets, one queue of events for all of them.
 */

import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpResponse } from "../../src/host.js";
import { createMemoryStorage, Device, type Host } from "../../src/index.js";
import type { Signer } from "../../src/signing/signer.js";
import { mulberry32 } from "../../tools/gateway/index.js";
import { VirtualTime } from "../support/virtual-time.js";

export interface FleetOptions {
  readonly boards: number;
  readonly seed: number;
  /** Requests a second that the gateway serves. */
  readonly capacity: number;
  /** Of the others, in seconds. */
  readonly retryAfter: number;
  readonly flushIntervalMs: number;
  /** Each board takes a reading so often, in milliseconds; undefined for the one that it begins with. */
  readonly readingEveryMs?: number;
  /** Virtual time after which to stop at the latest. */
  readonly maxSeconds: number;
}

export interface FleetResult {
  /** Requests in each second. */
  readonly perSecond: readonly number[];
  readonly delivered: number;
  /** The shortest time between a refusal and the next request of the same board, in milliseconds. */
  readonly shortestPauseMs: number;
}

const signer: Signer = { algorithm: "hmacsha256", hashBody: () => "", sign: () => "A".repeat(44), close: () => {} };

/** All boards have power at once, after an outage in which each has kept one reading. */
export async function runFleet(options: FleetOptions): Promise<FleetResult> {
  const { boards, seed, capacity, retryAfter, flushIntervalMs, readingEveryMs, maxSeconds } = options;
  const time = new VirtualTime();
  const random = mulberry32(seed);
  const perSecond: number[] = [];
  const refusedAt = new Map<string, number>();
  let shortestPauseMs = Number.POSITIVE_INFINITY;
  let delivered = 0;
  let tokens = capacity;
  let refilledAt = 0;

  const respond = (deviceName: string): HttpResponse => {
    const second = Math.floor(time.nowMs / 1000);
    while (perSecond.length <= second) perSecond.push(0);
    perSecond[second]++;
    shortestPauseMs = Math.min(shortestPauseMs, time.nowMs - (refusedAt.get(deviceName) ?? Number.NEGATIVE_INFINITY));
    refusedAt.delete(deviceName);
    tokens = Math.min(capacity, tokens + ((time.nowMs - refilledAt) * capacity) / 1000);
    refilledAt = time.nowMs;
    if (tokens >= 1) {
      tokens--;
      delivered++;
      return { status: 200, headers: {}, body: utf8(`{"Response":{"RequestId":"${delivered}"}}`), reused: false };
    }
    refusedAt.set(deviceName, time.nowMs);
    return { status: 429, headers: { "retry-after": String(retryAfter) }, body: new Uint8Array(0), reused: false };
  };

  const devices: Device[] = [];
  for (let n = 0; n < boards; n++) {
    const deviceName = `board${n}`;
    const host: Host = {
      http: {
        // A response takes 50 to 250 ms.
        send: () => {
          const latencyMs = 50 + 200 * random();
          return new Promise((resolve) => time.set(() => resolve(respond(deviceName)), latencyMs));
        },
        close: () => {},
      },
      clock: { nowMs: () => Date.UTC(2026, 11, 1) + time.nowMs, monotonicMs: () => time.nowMs },
      random: { bytes: (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256)) },
      timer: time,
      storage: createMemoryStorage(),
    };
    const device = new Device(
      { productId: "P", deviceName, credential: signer, rateLimit: false, outbox: { flushIntervalMs } },
      host,
    );
    devices.push(device);
    const enqueue = () => device.enqueue({ topic: "data", payload: "1" });
    if (readingEveryMs === undefined) {
      await enqueue();
    } else {
      const read = () => {
        enqueue();
        time.set(read, readingEveryMs);
      };
      time.set(read, random() * readingEveryMs);
    }
  }
  await time.run(maxSeconds * 1000, () => readingEveryMs !== undefined || delivered < boards);
  for (const device of devices) device.close();
  return { perSecond, delivered, shortestPauseMs };
}
