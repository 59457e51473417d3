/** When an outbox sends without being asked: after an interval, at once when enough waits, later after failures. */

import { type IotHubError, ResponseError } from "../errors.js";
import type { WaitReason } from "../health.js";
import type { Clock, Random, Timer } from "../host.js";
import { flushPauseMs, MAX_BACKOFF_MS, nextRunMs, unit } from "../request/backoff.js";
import type { FlushReason } from "./delivery.js";

const MAX_MS = 2147483647;

export interface ScheduleOptions {
  /** 0: only an explicit flush sends. */
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
  /** Messages that wait; undefined until the storage has been read. */
  waiting(): number | undefined;
  /** Starts a flush; {@link Schedule.ended} has to be called at its end. */
  run(): void;
}

export class Schedule {
  readonly #parts: ScheduleParts;
  readonly #options: ScheduleOptions;
  #timer: unknown;
  #dueMs = 0;
  #running = false;
  #closed = false;
  /** Flushes in a row that delivered nothing. */
  #failures = 0;
  /** Flushes in a row that the gateway turned away with a pause. */
  #rejections = 0;
  /** When the pause ends that the gateway asked for, in monotonic time. */
  #notBeforeMs = 0;

  constructor(parts: ScheduleParts, options: ScheduleOptions) {
    this.#parts = parts;
    this.#options = options;
    // What an earlier start left is sent soon, but not by a whole fleet at once after a power cut.
    if (options.intervalMs > 0) this.#set(unit(parts.random) * options.intervalMs);
  }

  /** Milliseconds until the next flush; undefined if none is planned. */
  get nextMs(): number | undefined {
    if (this.#running) return 0;
    if (this.#timer === undefined) return undefined;
    return Math.max(0, Math.round(this.#dueMs - this.#parts.clock.monotonicMs()));
  }

  /** Whether neither a failure nor a pause has to be thought of. */
  isEven = true;

  /** What the outbox's own flushes wait for. */
  waitingFor(nowMs: number): WaitReason {
    if (this.#notBeforeMs > nowMs) return "pause";
    return this.#failures > 0 && this.#timer !== undefined ? "backoff" : "nothing";
  }

  /** Until when, in monotonic time. */
  waitingUntil(reason: WaitReason): number {
    return reason === "pause" ? this.#notBeforeMs : this.#dueMs;
  }

  /** Whether no flush is under way or backed off from, and no pause that the gateway asked for holds. */
  get isClear(): boolean {
    return !this.#running && this.#failures === 0 && this.#pauseMs() === 0;
  }

  /** Plans the next flush, or starts it, as what waits demands. It never gives up: every failure is backed off from. */
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

  /** Takes in how a flush ended. @param planned whether the schedule had started it */
  ended({ reason: ended, delivered, error }: Outcome, planned: boolean): void {
    const { retryAfterSeconds } = (error ?? {}) as { readonly retryAfterSeconds?: number };
    if (delivered > 0 || retryAfterSeconds === undefined) this.#rejections = 0;
    if (retryAfterSeconds !== undefined) {
      // Where nothing was sent because of a pause, the gateway has not refused again.
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
