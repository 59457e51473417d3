/** What a device tells of itself: its statistics, what it waits for, and heartbeats. */

import type { ErrorClass, ErrorCode } from "./errors.js";
import type { AbortSignalLike, Clock, HttpCounters, Random, Timer, Vitals } from "./host.js";
import type { DropReason, FlushOptions, FlushResult } from "./outbox/outbox.js";
import { unit } from "./request/backoff.js";
import type { LimitedStorage } from "./storage/limits.js";

/**
 * What holds a device up; where it is more than one thing, the first of these:
 * - `closed`: the device is closed
 * - `storage`: the storage takes no more writes in this life; messages go out directly. Restart the board
 * - `pause`: the gateway has asked for a pause
 * - `clock`: a request waits for the time
 * - `backoff`: a request, or the outbox, waits after a failure
 * - `rateLimit`: the limit of messages a second is used up
 * - `request`: a request is under way, and others wait for it
 * - `nothing`
 */
export type WaitReason = "closed" | "storage" | "pause" | "clock" | "backoff" | "rateLimit" | "request" | "nothing";

export interface WaitState {
  readonly for: WaitReason;
  /** When it ends, in milliseconds since 1970; absent where that is not known. */
  readonly untilMs?: number;
}

/** The last request that failed, of any kind. What was cancelled or not sent at all does not count. */
export interface LastError {
  readonly code: ErrorCode;
  readonly errorClass: ErrorClass;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
}

/** Counted since the device was created. */
export interface DeviceStats {
  /** Messages that the gateway has acknowledged, each reading of a batch counted, and heartbeats left out. */
  readonly published: number;
  /** How often a request was sent again. */
  readonly retried: number;
  /** Messages that left the outbox without being delivered, by reason. */
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  /** When the gateway last acknowledged a request of any kind, in milliseconds since 1970. */
  readonly lastSuccessTimeMs?: number;
  readonly lastError?: LastError;
  readonly waiting: WaitState;
  /** Absent if the device has no outbox. */
  readonly outbox?: OutboxStats;
  /** Connections and handshakes of the host, which may serve other devices, too; absent where it does not count. */
  readonly http?: HttpCounters;
}

export interface OutboxStats {
  /** Messages that wait. 0 until the storage has been read. */
  readonly size: number;
  /** What they take of the storage. */
  readonly bytes: number;
  /** Age of the oldest one in milliseconds; 0 if there is none. */
  readonly oldestAgeMs: number;
}

/** Options of heartbeats: how often, and to which topic. */
export interface HeartbeatOptions {
  /**
   * Milliseconds between heartbeats, 1000 to 2147483647. The first comes after a random part of it.
   * @default 300_000
   */
  readonly intervalMs?: number;
  /** As of a message. */
  readonly topic: string;
}

/** Something that may wait, in monotonic time. */
interface MayWait {
  waitingUntil(reason: WaitReason, nowMs: number): number | undefined;
}

/** The order in which reasons to wait count. */
const ORDER: readonly WaitReason[] = Object.freeze([
  "closed",
  "storage",
  "pause",
  "clock",
  "backoff",
  "rateLimit",
  "request",
  "nothing",
]);

/**
 * What a device waits for: its requests, for `reason`, and its outbox, for `other`; the more important, or longer, counts.
 * @param offsetMs from monotonic time to that since 1970
 */
export function waitState(
  client: MayWait,
  reason: WaitReason,
  outbox: MayWait | undefined,
  other: WaitReason,
  monotonicMs: number,
  offsetMs: number,
): WaitState {
  const until = reason === "nothing" ? undefined : client.waitingUntil(reason, monotonicMs);
  const otherUntil = other === "nothing" ? undefined : outbox?.waitingUntil(other, monotonicMs);
  const order = ORDER.indexOf(other) - ORDER.indexOf(reason);
  const isOther = order < 0 || (order === 0 && (otherUntil ?? 0) > (until ?? 0));
  const last = isOther ? otherUntil : until;
  const counted = isOther ? other : reason;
  // Rounded up: by then it is over.
  return last === undefined ? { for: counted } : { for: counted, untilMs: Math.ceil(last + offsetMs) };
}

/** What a host tells of its machine, or nothing; what is of another type is left out, as it would not become JSON. */
export function readVitals(vitals: (() => Vitals) | undefined): Vitals {
  let told: Vitals | undefined;
  try {
    told = vitals?.();
  } catch {
    // What a machine cannot tell must not keep the rest back.
  }
  const { uptimeMs, resetReason, freeHeapBytes, rssiDbm } = told ?? {};
  return {
    uptimeMs: finite(uptimeMs),
    resetReason: typeof resetReason === "string" ? resetReason : undefined,
    freeHeapBytes: finite(freeHeapBytes),
    rssiDbm: finite(rssiDbm),
  };
}

function finite(value: number | undefined): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

/** What heartbeats need of their device. */
export interface HeartbeatParts {
  readonly timer: Timer;
  readonly random: Random;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** The best known time, in milliseconds since 1970. */
  nowMs(): number;
  canPublish(): boolean;
  send(timeoutMs: number | undefined, signal?: AbortSignalLike): Promise<unknown>;
  /**
   * Where the time of the last heartbeat is kept: then one follows a flush when it is due, and no timer runs. For devices
   * that sleep between flushes.
   */
  readonly storage?: LimitedStorage;
  readonly key: string;
}

/** Wakes do not come to the second: this part of the interval is enough. */
const DUE_PART = 0.9;

/** Sends heartbeats while that is possible, and leaves out those for which it is not. */
export class Heartbeat {
  readonly #parts: HeartbeatParts;
  readonly #intervalMs: number;
  #timer: unknown;
  #isSending = false;

  constructor(parts: HeartbeatParts, intervalMs: number) {
    this.#parts = parts;
    this.#intervalMs = intervalMs;
    // Not a whole fleet at once after a power cut.
    if (parts.storage === undefined) this.#schedule(unit(parts.random) * intervalMs);
  }

  /** The result of a flush, after a heartbeat if one is due, and no later than the flush's deadline. */
  async follow(flushed: Promise<FlushResult>, { deadlineMs = 300000, signal }: FlushOptions): Promise<FlushResult> {
    const { clock, storage } = this.#parts;
    const start = clock.monotonicMs();
    const result = await flushed;
    const leftMs = Math.floor(deadlineMs - (clock.monotonicMs() - start));
    if (storage === undefined || result.error !== undefined || leftMs < 1 || signal?.aborted) return result;
    await this.#within(leftMs, this.#sendIfDue(storage, leftMs, signal));
    return result;
  }

  close(): void {
    const { timer, storage } = this.#parts;
    timer.clear(this.#timer);
    if (storage !== undefined) storage.closed = true;
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#parts.timer.set(() => {
      this.#schedule(this.#intervalMs);
      if (this.#isSending || !this.#parts.canPublish()) return;
      this.#isSending = true;
      const end = () => {
        this.#isSending = false;
      };
      this.#send(undefined).then(end, end);
    }, delayMs);
  }

  async #sendIfDue(storage: LimitedStorage, timeoutMs: number, signal: AbortSignalLike | undefined): Promise<void> {
    const { key } = this.#parts;
    // What cannot be read may be due.
    const last = Number(await storage.get(key).catch(() => undefined));
    const age = this.#parts.nowMs() - last;
    const isDue = !(age >= 0 && age < this.#intervalMs * DUE_PART);
    if (!isDue || !this.#parts.canPublish()) return;
    await this.#send(timeoutMs, signal);
    await storage.set(key, String(Math.round(this.#parts.nowMs())));
  }

  /** Whatever goes wrong is a rejection: a payload is made on the way. */
  async #send(timeoutMs: number | undefined, signal?: AbortSignalLike): Promise<void> {
    await this.#parts.send(timeoutMs, signal);
  }

  /** Resolves when the work has ended, in whatever way, or the time is up. */
  #within(limitMs: number, work: Promise<void>): Promise<void> {
    const { timer } = this.#parts;
    return new Promise((resolve) => {
      const handle = timer.set(resolve, limitMs);
      const end = () => {
        timer.clear(handle);
        resolve();
      };
      work.then(end, end);
    });
  }
}
