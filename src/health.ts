/** State of a device: statistics, what it is waiting for, and heartbeats. */

import type { ErrorClass, ErrorCode } from "./errors.js";
import type { AbortSignalLike, Clock, HttpCounters, Random, Timer, Vitals } from "./host.js";
import type { DropReason, FlushOptions, FlushResult } from "./outbox/outbox.js";
import { unit } from "./request/backoff.js";
import type { LimitedStorage } from "./storage/limits.js";

/**
 * What a device is waiting for; if several apply, the first of these:
 * - `closed`: the device is closed
 * - `storage`: the storage accepts no more writes until a restart; messages are sent directly. Restart the board
 * - `pause`: the gateway requested a pause
 * - `clock`: a request waits for the clock to be set
 * - `backoff`: a request or the outbox waits before a retry
 * - `rateLimit`: the rate limit is exhausted
 * - `request`: a request is pending
 * - `nothing`: the device is ready to send
 */
export type WaitReason = "closed" | "storage" | "pause" | "clock" | "backoff" | "rateLimit" | "request" | "nothing";

/** What a device is waiting for, and until when. */
export interface WaitState {
  readonly for: WaitReason;
  /** End of the wait, in milliseconds since 1970; absent if it is not known. */
  readonly untilMs?: number;
}

/** The last request that failed, of any kind, except for requests that were cancelled or never sent. */
export interface LastError {
  readonly code: ErrorCode;
  readonly errorClass: ErrorClass;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
}

/** Statistics of a device since it was created. */
export interface DeviceStats {
  /** Messages acknowledged by the gateway. Each reading of a batch counts; heartbeats do not. */
  readonly published: number;
  /** Number of retries. */
  readonly retried: number;
  /** Messages that left the outbox without being delivered, by reason. */
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  /** Time of the last acknowledged request of any kind, in milliseconds since 1970. */
  readonly lastSuccessTimeMs?: number;
  readonly lastError?: LastError;
  readonly waiting: WaitState;
  /** Absent if the device has no outbox. */
  readonly outbox?: OutboxStats;
  /**
   * Connections and handshakes of the host, including those for other devices; absent if the host does not count them.
   */
  readonly http?: HttpCounters;
}

/** Contents of an outbox. */
export interface OutboxStats {
  /** Queued messages. 0 until the storage has been read. */
  readonly size: number;
  /** Bytes that they take in storage. */
  readonly bytes: number;
  /** Age of the oldest message in milliseconds; 0 if there is none. */
  readonly oldestAgeMs: number;
}

/** Options of heartbeats: interval and topic. */
export interface HeartbeatOptions {
  /**
   * Interval between heartbeats in milliseconds, 1000 to 2147483647. The first one is sent after a random part of it.
   * @default 300_000
   */
  readonly intervalMs?: number;
  /** Topic of the heartbeats, as in {@link Message.topic}. */
  readonly topic: string;
}

/** Part of a device that may wait; times are monotonic. */
interface MayWait {
  waitingUntil(reason: WaitReason, nowMs: number): number | undefined;
}

/** Reasons in order of precedence. */
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
 * Combines what the requests (`reason`) and the outbox (`other`) wait for: the more important wins, then the longer.
 * @param offsetMs added to monotonic time, gives milliseconds since 1970
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
  // Rounded up, so that the wait is over by then.
  return last === undefined ? { for: counted } : { for: counted, untilMs: Math.ceil(last + offsetMs) };
}

/** Reads a host's vitals. Values of the wrong type are dropped, as JSON could not represent them. */
export function readVitals(vitals: (() => Vitals) | undefined): Vitals {
  let vital: Vitals | undefined;
  try {
    vital = vitals?.();
  } catch {
    // Heartbeats are sent even if the vitals cannot be read.
  }
  const { uptimeMs, resetReason, freeHeapBytes, rssiDbm } = vital ?? {};
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

/** Dependencies of heartbeats. */
export interface HeartbeatParts {
  readonly timer: Timer;
  readonly random: Random;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** The best known time, in milliseconds since 1970. */
  nowMs(): number;
  canPublish(): boolean;
  send(timeoutMs: number | undefined, signal?: AbortSignalLike): Promise<unknown>;
  /**
   * Storage for the time of the last heartbeat. If given, a due heartbeat is sent after a flush, and no timer runs: for
   * devices that sleep between flushes.
   */
  readonly storage?: LimitedStorage;
  readonly key: string;
}

/** Wake-ups are not precise: a heartbeat is due after this part of the interval. */
const DUE_PART = 0.9;

/** Sends heartbeats, and skips those that cannot be sent at once. */
export class Heartbeat {
  readonly #parts: HeartbeatParts;
  readonly #intervalMs: number;
  #timer: unknown;
  #isSending = false;

  constructor(parts: HeartbeatParts, intervalMs: number) {
    this.#parts = parts;
    this.#intervalMs = intervalMs;
    // Random, so that a fleet does not send at the same moment after a power cut.
    if (parts.storage === undefined) this.#schedule(unit(parts.random) * intervalMs);
  }

  /** Waits for a flush, sends a heartbeat if one is due, and returns the flush's result, no later than its deadline. */
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
    // If it cannot be read, a heartbeat may be due.
    const last = Number(await storage.get(key).catch(() => undefined));
    const age = this.#parts.nowMs() - last;
    const isDue = !(age >= 0 && age < this.#intervalMs * DUE_PART);
    if (!isDue || !this.#parts.canPublish()) return;
    await this.#send(timeoutMs, signal);
    await storage.set(key, String(Math.round(this.#parts.nowMs())));
  }

  /** An async function, so that an exception while encoding the payload becomes a rejection. */
  async #send(timeoutMs: number | undefined, signal?: AbortSignalLike): Promise<void> {
    await this.#parts.send(timeoutMs, signal);
  }

  /** Resolves when the work has settled, or after the limit. */
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
