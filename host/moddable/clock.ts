import Time from "time";
import Timer from "timer";
import { IotHubError } from "../../src/errors.js";
import type { Clock, Storage } from "../../src/host.js";
import { nextRunMs } from "../../src/request/backoff.js";
import { querySntp } from "./sntp.js";

export interface ClockOptions {
  /** NTP servers, asked in this order, names or addresses, perhaps with `:port`. Default: {@link defaultTimeServers}. */
  readonly servers?: readonly string[];
  /**
   * Whether the system's clock counts as right once it stands at or after the date of the build: it has then been set
   * by somebody. True unless given.
   */
  readonly trustSystemClock?: boolean;
  /** Time for one server's reply in milliseconds, 3000 unless given; each server is asked twice. */
  readonly timeoutMs?: number;
  /** Milliseconds between synchronizations, one day unless given. */
  readonly refreshMs?: number;
  /** Where the time of the last synchronization is kept, so that it survives deep sleep. */
  readonly storage?: Storage;
}

/** Public servers; the first two respond well from China. */
export const defaultTimeServers: readonly string[] = Object.freeze([
  "ntp.tencent.com",
  "ntp.aliyun.com",
  "pool.ntp.org",
  "time.cloudflare.com",
]);

const RELEASED_MS = Date.UTC(2026, 10, 1);
// A module that is preloaded is evaluated while the app is built; elsewhere an unset clock yields the release's date.
const BUILT_MS = Math.max(RELEASED_MS, Date.now());
const DAY_MS = 86400000;
/** After a refresh that failed, at least; a backoff comes on top. */
const RETRY_MS = 900000;
const MAX_BACKOFF_MS = 14400000;

/** The earliest time that can be: nothing that a clock or a server says before it is believed. */
export const earliestMs: number = BUILT_MS;

/** Keeps the time of a device by SNTP. */
export class ModdableClock implements Clock {
  readonly #options: ClockOptions;
  #elapsed = 0;
  #ticks = Time.ticks;
  /** What the system's clock lacks, where it cannot be set. */
  #offsetMs = 0;
  #synchronized = false;
  /** Refreshes in a row that failed. */
  #failures = 0;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ClockOptions = {}) {
    this.#options = options;
  }

  nowMs(): number {
    return Date.now() + this.#offsetMs;
  }

  monotonicMs(): number {
    // Time.delta knows where the counter of the platform wraps.
    const ticks = Time.ticks;
    this.#elapsed += Math.max(0, Time.delta(this.#ticks, ticks));
    this.#ticks = ticks;
    return this.#elapsed;
  }

  ready(): Promise<void> {
    if (this.#synchronized) return Promise.resolve();
    if ((this.#options.trustSystemClock ?? true) && this.nowMs() >= earliestMs) {
      this.#synchronized = true;
      // Later, on a stack of its own: callers are deep in theirs.
      this.#timer ??= Timer.set(() => {
        this.#timer = undefined;
        this.#planRefresh();
      });
      return Promise.resolve();
    }
    return this.synchronize();
  }

  /**
   * Asks the servers now. Callers that come while it runs share the result.
   * @throws {IotHubError} CLOCK_NOT_SET if no server gives a credible time
   */
  synchronize(): Promise<void> {
    // Begins on a stack of its own: callers are deep in theirs.
    this.#running ??= Promise.resolve()
      .then(() => this.#synchronize())
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /** Ends the daily refresh. */
  close(): void {
    this.#closed = true;
    Timer.clear(this.#timer);
    this.#timer = undefined;
  }

  async #synchronize(): Promise<void> {
    const { servers = defaultTimeServers, timeoutMs = 3000 } = this.#options;
    const reasons: string[] = [];
    for (let round = 0; round < 2; round++) {
      for (const server of servers) {
        try {
          const { timeMs, at } = await querySntp(server, timeoutMs, earliestMs, () => this.monotonicMs());
          this.#set(timeMs + (this.monotonicMs() - at));
          return;
        } catch (error) {
          if (round === 0) reasons.push(`${server}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
    }
    throw new IotHubError(
      "CLOCK_NOT_SET",
      `No time server gave a credible time (${reasons.join("; ") || "none is configured"}).`,
    );
  }

  #set(timeMs: number): void {
    // Whole seconds are all it takes; on simulators it does nothing.
    Time.set(Math.floor(timeMs / 1000));
    this.#offsetMs = timeMs - Date.now();
    this.#synchronized = true;
    this.#failures = 0;
    this.#schedule(this.#options.refreshMs ?? DAY_MS);
    this.#remember(timeMs);
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    Timer.clear(this.#timer);
    this.#timer = Timer.set(() => {
      this.#timer = undefined;
      this.synchronize().catch(() => {
        // A fleet must not ask a time server that is back all at once.
        this.#schedule(nextRunMs(RETRY_MS, ++this.#failures, MAX_BACKOFF_MS, Math.random()));
      });
    }, delayMs);
  }

  async #remember(timeMs: number): Promise<void> {
    try {
      await this.#options.storage?.set(KEY, String(Math.round(timeMs)));
    } catch {
      // The clock is right; only the next start will not know since when.
    }
  }

  async #planRefresh(): Promise<void> {
    const refreshMs = this.#options.refreshMs ?? DAY_MS;
    let delayMs = refreshMs;
    try {
      const value = await this.#options.storage?.get(KEY);
      if (value !== undefined && /^[0-9]{1,15}$/.test(value)) {
        const age = this.nowMs() - Number(value);
        // Due, or from a clock that has been put back since.
        delayMs = age >= 0 && age < refreshMs ? refreshMs - age : 0;
      }
    } catch {
      // As if it had never been synchronized.
    }
    if (!this.#timer) this.#schedule(delayMs);
  }
}

const KEY = "clock.synced";
