/**
 * How far the host's clock is off, learned from the gateway's Date header. The offset serves timestamps of signatures
 * only: it never reaches the host, so no certificate is ever judged by it, and a forged Date can do no more than have
 * a request refused, or signed for another time within the bounds below.
 */

import type { Clock, Storage } from "../host.js";
import { buildDateMs } from "../version.js";

export interface ClockCorrectionOptions {
  /**
   * How far a clock that has been set may be corrected in either direction, in milliseconds; 86 400 000 (a day) unless
   * given. A clock that shows a time before this version was made has not been set: it is moved to any time from then
   * on to twenty years later.
   */
  readonly maxStepMs?: number;
}

/**
 * In its storage; 1 to 15 characters. The value is the version, `s` or `u` for a host's clock that was or was not set, and
 * the offset in whole milliseconds: `1u-5000`.
 */
const KEY = "clock";
/** Whoever forges dates must not be able to wear out a flash memory: what is learned sooner is kept in memory only. */
const SAVE_INTERVAL_MS = 3600000;
/** How far a clock may be from a Date, which has whole seconds and was some time on its way. */
const CONFIRMED_MS = 2000;
const LIFETIME_MS = 20 * 365.25 * 86400000;

export class ClockOffset {
  readonly #clock: Clock;
  readonly #storage: Storage | undefined;
  readonly #maxStepMs: number;
  /** What was learned, whether or not it holds. A field, as every signature asks for it. */
  learnedMs = 0;
  /** Whether the offset was learned while the host's clock had not been set. */
  #unset = false;
  #loaded: boolean;
  /** Whether a Date of this life agrees with the offset: one that was loaded may be of another power-on. */
  #confirmed = false;
  #saveAfterMs = 0;

  constructor(clock: Clock, storage: Storage | undefined, maxStepMs = 86400000) {
    this.#clock = clock;
    this.#storage = storage;
    this.#loaded = storage === undefined;
    this.#maxStepMs = maxStepMs;
  }

  /** Whether {@link load} has begun: what it reads counts as soon as it is there. */
  get isLoaded(): boolean {
    return this.#loaded;
  }

  /** What to add to the host's clock, in milliseconds. */
  get offsetMs(): number {
    if (this.learnedMs === 0) return 0;
    const { nowMs } = this.#read();
    return this.#holds(nowMs, this.learnedMs, this.#unset) ? this.learnedMs : 0;
  }

  /** Whether the host's clock and the offset together are known to be right, from a Date header of this life. */
  get isConfirmed(): boolean {
    return this.#confirmed && (this.learnedMs === 0 || this.offsetMs !== 0);
  }

  /** Takes in a Date header in order to know the time. @param dateMs milliseconds since 1970 */
  async confirm(dateMs: number | undefined): Promise<void> {
    if (dateMs === undefined) return;
    const { nowMs } = this.#read();
    const isRight = Math.abs(dateMs - nowMs - this.offsetMs) < CONFIRMED_MS && nowMs + this.offsetMs >= buildDateMs;
    if (isRight) this.#confirmed = true;
    else await this.update(dateMs, 0);
  }

  /** Reads what an earlier start has learned, once. A storage that fails counts as empty. */
  async load(): Promise<void> {
    if (this.#loaded) return;
    this.#loaded = true;
    let text: string | undefined;
    try {
      text = await this.#storage?.get(KEY);
    } catch {}
    if (text === undefined || !/^1[su]-?[0-9]{1,15}$/.test(text)) return;
    this.learnedMs = Number(text.slice(2));
    this.#unset = text.startsWith("u", 1);
  }

  /**
   * Learns the offset from a Date header.
   * @param dateMs milliseconds since 1970
   * @param leastMs what is not worth a correction
   * @returns whether there is a new offset to sign with
   */
  async update(dateMs: number | undefined, leastMs: number): Promise<boolean> {
    if (dateMs === undefined) return false;
    const { nowMs, unset } = this.#read();
    const offsetMs = dateMs - nowMs;
    if (Math.abs(offsetMs - this.offsetMs) < leastMs || !this.#holds(nowMs, offsetMs, unset)) return false;
    this.learnedMs = offsetMs;
    this.#unset = unset;
    this.#confirmed = true;
    // A storage that takes its time, or never ends, must not keep the request from being signed again.
    this.#save();
    return true;
  }

  #read(): { nowMs: number; unset: boolean } {
    const nowMs = this.#clock.nowMs();
    return { nowMs, unset: nowMs < buildDateMs };
  }

  #holds(nowMs: number, offsetMs: number, unset: boolean): boolean {
    const time = nowMs + offsetMs;
    if (time < buildDateMs || time > buildDateMs + LIFETIME_MS) return false;
    // Once the host has set its clock, what was learned before is about another clock.
    return nowMs < buildDateMs ? unset : !unset && Math.abs(offsetMs) <= this.#maxStepMs;
  }

  async #save(): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (now < this.#saveAfterMs) return;
    this.#saveAfterMs = now + SAVE_INTERVAL_MS;
    try {
      await this.#storage?.set(KEY, `1${this.#unset ? "u" : "s"}${Math.round(this.learnedMs)}`);
    } catch {
      // The correction holds without it until the next start.
    }
  }
}
