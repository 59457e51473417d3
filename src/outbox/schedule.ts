/** Schedule of automatic flushes: at an interval, at once when enough messages are queued, later after failures. */

import { type IotHubError, ResponseError } from "../errors.js";
import type { WaitReason } from "../health.js";
import type { Clock, Random, Timer } from "../host.js";
import { flushPauseMs, MAX_BACKOFF_MS, nextRunMs, unit } from "../request/backoff.js";
import type { FlushReason } from "./delivery.js";

const MAX_MS = 2147483647;

export interface ScheduleOptions {
  /** 0: no automatic flushes. */
  readonly intervalMs: number;
  readonly threshold: number;
}

interface Outcome {
  readonly reason: FlushReason;
  readonly delivered: number;
  readonly error?: IotHubError;
}

export interface ScheduleParts {
  readonly timer: Timer;
  readonly random: Random;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Number of queued messages; undefined until the storage has been read. */
  waiting(): number | undefined;
  /** Starts a flush; {@link Schedule.ended} must be called at its end. */
  run(): void;
}

export class Schedule {
  readonly #parts: ScheduleParts;
  readonly #options: ScheduleOptions;
  #timer: unknown;
  #dueMs = 0;
  #running = false;
  #closed = false;
  /** Consecutive flushes that delivered nothing. */
  #failures = 0;
  /** Consecutive flushes that the gateway rejected with a Retry-After. */
  #rejections = 0;
  /** End of the pause requested by the gateway, in monotonic time. */
  #notBeforeMs = 0;

  constructor(parts: ScheduleParts, options: ScheduleOptions) {
    this.#parts = parts;
    this.#options = options;
    // Messages from earlier runs are sent soon, after a random delay so that a fleet does not send at once after a
    // power cut.
    if (options.intervalMs > 0) this.#set(unit(parts.random) * options.intervalMs);
  }

  /** Milliseconds until the next flush; undefined if none is planned. */
  get nextMs(): number | undefined {
    if (this.#running) return 0;
    if (this.#timer === undefined) return undefined;
    return Math.max(0, Math.round(this.#dueMs - this.#parts.clock.monotonicMs()));
  }

  /** Whether there is neither a failure nor a pause to consider. */
  isEven = true;

  /** Returns what automatic flushes wait for. */
  waitingFor(nowMs: number): WaitReason {
    if (this.#notBeforeMs > nowMs) return "pause";
    return this.#failures > 0 && this.#timer !== undefined ? "backoff" : "nothing";
  }

  /** Returns the end of the wait in monotonic time. */
  waitingUntil(reason: WaitReason): number {
    return reason === "pause" ? this.#notBeforeMs : this.#dueMs;
  }

  /** Whether there is no running flush, no backoff, and no pause requested by the gateway. */
  get isClear(): boolean {
    return !this.#running && this.#failures === 0 && this.#pauseMs() === 0;
  }

  /**
   * Plans the next flush, or starts it if enough messages are queued. Never gives up: every failure is followed by a
   * backoff.
   */
  update(): void {
    const { intervalMs, threshold } = this.#options;
    if (this.#closed || intervalMs === 0 || this.#running) return;
    const waiting = this.#parts.waiting();
    if (waiting === 0) {
      this.#clear();
    } else if (this.#failures === 0 && waiting !== undefined && waiting >= threshold && this.#pauseMs() === 0) {
      this.#run();
    } else if (this.#timer === undefined) {
      const maxMs = Math.max(MAX_BACKOFF_MS, intervalMs);
      const delayMs = nextRunMs(intervalMs, this.#failures, maxMs, unit(this.#parts.random));
      this.#set(Math.min(MAX_MS, Math.max(this.#pauseMs(), delayMs)));
    }
  }

  /** Updates the schedule at the end of a flush. @param planned whether the schedule had started it */
  ended({ reason: ended, delivered, error }: Outcome, planned: boolean): void {
    const { retryAfterSeconds } = (error ?? {}) as { readonly retryAfterSeconds?: number };
    if (delivered > 0 || retryAfterSeconds === undefined) this.#rejections = 0;
    if (retryAfterSeconds !== undefined) {
      // If nothing was sent because of a pause, the gateway has not rejected again.
      if (error instanceof ResponseError) this.#rejections++;
      const pause = flushPauseMs(retryAfterSeconds * 1000, this.#rejections, unit(this.#parts.random));
      this.#notBeforeMs = this.#parts.clock.monotonicMs() + pause;
    }
    if (delivered > 0 || ended === "empty") this.#failures = 0;
    else if (planned) this.#failures++;
    this.isEven = this.#failures === 0 && this.#notBeforeMs === 0;
    if (planned) this.#running = false;
    if (planned || delivered > 0) this.update();
  }

  close(): void {
    this.#closed = true;
    this.#clear();
  }

  #pauseMs(): number {
    return Math.max(0, this.#notBeforeMs - this.#parts.clock.monotonicMs());
  }

  #run(): void {
    this.#clear();
    this.#running = true;
    this.#parts.run();
  }

  #set(delayMs: number): void {
    const { timer, clock } = this.#parts;
    this.#dueMs = clock.monotonicMs() + delayMs;
    this.#timer = timer.set(() => {
      this.#timer = undefined;
      this.#run();
    }, delayMs);
  }

  #clear(): void {
    if (this.#timer !== undefined) this.#parts.timer.clear(this.#timer);
    this.#timer = undefined;
  }
}
