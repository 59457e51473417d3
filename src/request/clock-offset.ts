/**
 * Offset of the host's clock, learned from the gateway's Date header. It is used only for timestamps in signatures and
 * never for certificates, so a forged Date can only cause a rejected request, or a signature for another time within
 * the limits below.
 */

import type { Clock, Storage } from "../host.js";
import { buildDateMs } from "../version.js";

/** Options of the clock correction. */
export interface ClockCorrectionOptions {
  /**
   * Maximum correction of a clock that is set, in either direction, in milliseconds. A clock before the release date of
   * this version counts as not set: it may be moved to any time from that date to twenty years later.
   * @default 86_400_000 (one day)
   */
  readonly maxStepMs?: number;
}

/**
 * Storage key. The value is the version, `s` or `u` for a host clock that was set or unset, and the offset in whole
 * milliseconds: `1u-5000`.
 */
const KEY = "clock";
/** Minimum interval between writes, so that forged dates cannot wear out the flash. */
const SAVE_INTERVAL_MS = 3600000;
/** Tolerance for a Date header, which has a resolution of one second and some latency. */
const CONFIRMED_MS = 2000;
const LIFETIME_MS = 20 * 365.25 * 86400000;

export class ClockOffset {
  readonly #clock: Clock;
  readonly #storage: Storage | undefined;
  readonly #maxStepMs: number;
  /** The learned offset, valid or not. A field, since every signature reads it. */
  learnedMs = 0;
  /** Whether the offset was learned while the host's clock was not set. */
  #unset = false;
  #loaded: boolean;
  /** Whether a Date header of this run agrees with the offset: a stored one may be from another power-on. */
  #confirmed = false;
  #saveAfterMs = 0;

  constructor(clock: Clock, storage: Storage | undefined, maxStepMs = 86400000) {
    this.#clock = clock;
    this.#storage = storage;
    this.#loaded = storage === undefined;
    this.#maxStepMs = maxStepMs;
  }

  /** Whether {@link load} was called: its value applies as soon as it is read. */
  get isLoaded(): boolean {
    return this.#loaded;
  }

  /** Valid offset to add to the host's clock, in milliseconds. */
  get offsetMs(): number {
    if (this.learnedMs === 0) return 0;
    const { nowMs } = this.#read();
    return this.#holds(nowMs, this.learnedMs, this.#unset) ? this.learnedMs : 0;
  }

  /** Whether a Date header of this run has confirmed the host's clock with the offset. */
  get isConfirmed(): boolean {
    return this.#confirmed && (this.learnedMs === 0 || this.offsetMs !== 0);
  }

  /** Confirms or corrects the time with a Date header. @param dateMs milliseconds since 1970 */
  async confirm(dateMs: number | undefined): Promise<void> {
    if (dateMs === undefined) return;
    const { nowMs } = this.#read();
    const isRight = Math.abs(dateMs - nowMs - this.offsetMs) < CONFIRMED_MS && nowMs + this.offsetMs >= buildDateMs;
    if (isRight) this.#confirmed = true;
    else await this.update(dateMs, 0);
  }

  /** Reads the stored offset, once. A storage error counts as no offset. */
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
   * @param leastMs smallest change that is worth a correction, in milliseconds
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
    // Not awaited: a slow storage must not delay the request.
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
    // An offset learned before the host's clock was set does not apply afterwards.
    return nowMs < buildDateMs ? unset : !unset && Math.abs(offsetMs) <= this.#maxStepMs;
  }

  async #save(): Promise<void> {
    const now = this.#clock.monotonicMs();
    if (now < this.#saveAfterMs) return;
    this.#saveAfterMs = now + SAVE_INTERVAL_MS;
    try {
      await this.#storage?.set(KEY, `1${this.#unset ? "u" : "s"}${Math.round(this.learnedMs)}`);
    } catch {
      // The correction then applies until the next restart only.
    }
  }
}
