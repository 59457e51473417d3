/**
 * A recovery storm in virtual time: boards that take a reading at a fixed rhythm, a gateway that is down for a while and
 * comes back. Real devices with their outboxes, or a naive client for comparison; no sockets.
 */

import { utf8 } from "../../src/crypto/utf8.js";
import { NetworkError } from "../../src/errors.js";
import type { HttpRequest } from "../../src/host.js";
import { createMemoryStorage, Device, type DeviceOptions, type Host } from "../../src/index.js";
import type { Signer } from "../../src/signing/signer.js";
import { mulberry32 } from "../../tools/gateway/index.js";
import { VirtualTime } from "../support/virtual-time.js";

export interface StormOptions {
  readonly boards: number;
  readonly seed: number;
  /** Each board takes a reading so often, in milliseconds. @default 60000 */
  readonly readingEveryMs?: number;
  /** Time before the outage, of which the second half counts as steady, in seconds. */
  readonly steadySeconds: number;
  readonly outageSeconds: number;
  /** Time after the outage at which the run ends, in seconds. */
  readonly afterSeconds: number;
  /** Time at the end in which no more readings are taken, so that all can be delivered, in seconds. @default 0 */
  readonly quietSeconds?: number;
  /** Options of the boards' devices, or a client without an outbox that retries every second. */
  readonly client: Pick<DeviceOptions, "outbox" | "rateLimit" | "retry"> | "naive";
}

export interface StormResult {
  /** Requests that reached the gateway, in each second of the run. */
  readonly requests: readonly number[];
  /** Connections opened or, in the outage, refused, in each second of the run. */
  readonly connections: readonly number[];
  /** Seconds from the end of the outage until every reading taken before it was acknowledged; undefined if never. */
  readonly deliveredSeconds: number | undefined;
  readonly taken: number;
  readonly acknowledged: number;
  /** Readings not yet acknowledged at the end of the run. */
  readonly remaining: number;
}

/** Node's host closes idle connections after this time. */
const KEEP_ALIVE_MS = 30_000;
const NAIVE_RETRY_MS = 1000;
const START_MS = Date.UTC(2026, 11, 1);
const signer: Signer = { algorithm: "hmacsha256", hashBody: () => "", sign: () => "A".repeat(44), close: () => {} };

/** The network and the gateway: counts requests and connections by the second. */
class Gateway {
  readonly requests: number[];
  readonly connections: number[];
  readonly #time: VirtualTime;
  readonly #random: () => number;
  readonly downMs: number;
  readonly upMs: number;

  constructor(time: VirtualTime, random: () => number, { steadySeconds, outageSeconds, afterSeconds }: StormOptions) {
    const seconds = steadySeconds + outageSeconds + afterSeconds;
    // What is pending at the end comes to one second more.
    this.requests = new Array(seconds + 1).fill(0);
    this.connections = new Array(seconds + 1).fill(0);
    this.downMs = steadySeconds * 1000;
    this.upMs = this.downMs + outageSeconds * 1000;
    this.#time = time;
    this.#random = random;
  }

  get isDown(): boolean {
    return this.#time.nowMs >= this.downMs && this.#time.nowMs < this.upMs;
  }

  /** One way to the gateway for one board, which keeps its connection. */
  connect(): (done: (isUp: boolean, reused: boolean) => void) => void {
    let usedMs = Number.NEGATIVE_INFINITY;
    return (done) => {
      const { nowMs } = this.#time;
      const second = Math.floor(nowMs / 1000);
      const isCut = usedMs < this.downMs && nowMs >= this.downMs;
      const reused = nowMs - usedMs < KEEP_ALIVE_MS && !isCut;
      const isUp = !this.isDown;
      if (!reused) this.connections[second]++;
      if (isUp) this.requests[second]++;
      const responded = () => {
        usedMs = isUp ? this.#time.nowMs : Number.NEGATIVE_INFINITY;
        done(isUp, reused);
      };
      // A request takes 50 to 250 ms.
      this.#time.set(responded, 50 + 200 * this.#random());
    };
  }
}

export async function runStorm(options: StormOptions): Promise<StormResult> {
  const { boards, seed, readingEveryMs = 60_000, client } = options;
  const time = new VirtualTime();
  const random = mulberry32(seed);
  const gateway = new Gateway(time, random, options);
  const endMs = gateway.upMs + options.afterSeconds * 1000;
  let taken = 0;
  let acknowledged = 0;
  /** Readings taken before the end of the outage that are not yet acknowledged. */
  let old = 0;
  let deliveredSeconds: number | undefined;
  const take = () => {
    taken++;
    if (time.nowMs < gateway.upMs) old++;
  };
  const acknowledge = (takenMs: number) => {
    acknowledged++;
    if (takenMs >= gateway.upMs) return;
    old--;
    if (old === 0 && time.nowMs >= gateway.upMs) deliveredSeconds = (time.nowMs - gateway.upMs) / 1000;
  };
  const board = client === "naive" ? naive : withOutbox;
  const closes: (() => void)[] = [];
  for (let n = 0; n < boards; n++) {
    const { read, close } = board(n);
    closes.push(close);
    const each = () => {
      if (time.nowMs >= endMs - 1000 * (options.quietSeconds ?? 0)) return;
      take();
      read();
      time.set(each, readingEveryMs);
    };
    time.set(each, random() * readingEveryMs);
  }
  if (client === "naive") while (time.nowMs < endMs && time.next());
  else await time.run(endMs);
  for (const close of closes) close();
  const [requests, connections] = [gateway.requests, gateway.connections].map((counts) => counts.slice(0, -1));
  return { requests, connections, deliveredSeconds, taken, acknowledged, remaining: taken - acknowledged };

  function withOutbox(n: number): { read(): void; close(): void } {
    const request = gateway.connect();
    const send = (_request: HttpRequest) =>
      new Promise<{ status: number; headers: Record<string, string>; body: Uint8Array; reused: boolean }>(
        (resolve, reject) =>
          request((isUp, reused) => {
            if (isUp)
              resolve({ status: 200, headers: {}, body: utf8(`{"Response":{"RequestId":"${acknowledged}"}}`), reused });
            else reject(new NetworkError("CONNECTION_REFUSED", "connect", "The gateway is down."));
          }),
      );
    const host: Host = {
      http: { send, close: () => {} },
      clock: { nowMs: () => START_MS + time.nowMs, monotonicMs: () => time.nowMs },
      random: { bytes: (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256)) },
      timer: time,
      storage: createMemoryStorage(),
    };
    const onDelivered = ({ timeMs = 0 }: { readonly timeMs?: number }) => acknowledge(timeMs - START_MS);
    const options = client as Exclude<StormOptions["client"], "naive">;
    const outbox = { ...options.outbox, onDelivered };
    const device = new Device(
      { ...options, productId: "P", deviceName: `board${n}`, credential: signer, outbox },
      host,
    );
    return {
      read: () => {
        device.enqueue({ topic: "data", payload: { temperature: 21.5 } });
      },
      close: () => device.close(),
    };
  }

  /** Sends each reading at once; what fails is sent again every second, and then all that has piled up. */
  function naive(): { read(): void; close(): void } {
    const request = gateway.connect();
    const queue: number[] = [];
    let busy = false;
    const send = () => {
      busy = true;
      request((isUp) => {
        if (!isUp) {
          time.set(send, NAIVE_RETRY_MS);
          return;
        }
        acknowledge(queue.shift() as number);
        if (queue.length > 0) send();
        else busy = false;
      });
    };
    return {
      read: () => {
        queue.push(time.nowMs);
        if (!busy) send();
      },
      close: () => {},
    };
  }
}

/** The largest average over a window, and the average of the second half of the steady time, both per second. */
export function peakOf(perSecond: readonly number[], from: number, windowSeconds = 1): number {
  let sum = 0;
  let peak = 0;
  for (let second = from; second < perSecond.length; second++) {
    sum += perSecond[second];
    if (second - from >= windowSeconds) sum -= perSecond[second - windowSeconds];
    if (second - from >= windowSeconds - 1) peak = Math.max(peak, sum / windowSeconds);
  }
  return peak;
}

export function steadyOf(perSecond: readonly number[], steadySeconds: number): number {
  const part = perSecond.slice(Math.floor(steadySeconds / 2), steadySeconds);
  return part.reduce((sum, count) => sum + count, 0) / part.length;
}
