import Time from "time";
import Timer from "timer";
import { IotHubError } from "../../src/errors.js";
import type { Clock, Life, Storage } from "../../src/host.js";
import { nextRunMs } from "../../src/request/backoff.js";
import { readDate } from "../../src/request/response.js";
import { Resolver } from "./resolver.js";
import { type NetworkTime, ntpEra, querySntp } from "./sntp.js";

/** Options of the board's clock, which is set over SNTP. */
export interface ClockOptions {
  /** NTP servers, asked in this order, names or addresses, perhaps with `:port`. Default: {@link defaultTimeServers}. */
  readonly servers?: readonly string[];
  /**
   * Whether the system's clock counts as right once it stands at or after the date of the build: it has then been set
   * by somebody. @default true
   */
  readonly trustSystemClock?: boolean;
  /**
   * Time for one server's name and reply in milliseconds; each server is asked twice.
   * @default 3000
   */
  readonly timeoutMs?: number;
  /**
   * Time for one synchronization in milliseconds, whatever the network does. ESP32's resolver asks for one name at a time
   * and spends 7 seconds on a server that is silent, so that more may pass than each server has.
   * @default 30_000
   */
  readonly synchronizeTimeoutMs?: number;
  /**
   * Milliseconds between synchronizations.
   * @default 86_400_000
   */
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
/** How far two sources may be apart that confirm each other. */
const AGREEMENT_MS = 10000;
/** Between synchronizations for which a `Date` is the reason. */
const DOUBT_INTERVAL_MS = 3600000;

/** The earliest time that can be: nothing that a clock or a server says before it is believed. */
export const earliestMs: number = BUILT_MS;

/** A server's time that needs another source to confirm it. */
interface Unconfirmed extends NetworkTime {
  readonly server: string;
}

/**
 * Keeps the time of a device by SNTP. The replies are not authenticated, and what an unsynchronized server sends
 * may look like a time after 2036: such a time counts only if a second server, or the clock that was synchronized before,
 * is within ten seconds of it.
 */
export class ModdableClock implements Clock {
  readonly #options: ClockOptions;
  #elapsed = 0;
  #ticks = Time.ticks;
  /** What the system's clock showed at first: on ESP32, while it is not set, the time since the power-on. */
  readonly #baseMs = Date.now();
  /** Since the reset, or the wake from deep sleep; the SDK's counter is signed. */
  readonly #startTicks = this.#ticks < 0 ? this.#ticks + 4294967296 : this.#ticks;
  #life: Life | undefined;
  /** What the system's clock lacks, where it cannot be set. */
  #offsetMs = 0;
  #synchronized = false;
  /** Refreshes in a row that failed. */
  #failures = 0;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #closed = false;
  readonly #resolver: Resolver;
  /** Index of the server to begin with. */
  #first = 0;
  /** Whether the time came from a server, in this life of the program. */
  #isFromServer = false;
  #doubtAfterMs = 0;

  constructor(options: ClockOptions = {}, resolver = new Resolver()) {
    this.#options = options;
    this.#resolver = resolver;
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

  get synchronized(): boolean {
    return this.#synchronized || ((this.#options.trustSystemClock ?? true) && this.nowMs() >= earliestMs);
  }

  /** On ESP32, the system's clock goes on through restarts and deep sleep; until it is set, it counts from the power-on. */
  uptimeMs(): number {
    return (this.#baseMs < earliestMs ? this.#baseMs : 0) + this.monotonicMs();
  }

  get life(): Life {
    if (this.#life === undefined) {
      const id = Math.floor(Math.random() * 36 ** 5)
        .toString(36)
        .padStart(5, "0");
      // A clock that was set before this life counts from another start than the lives before.
      const isGoingOn = this.#baseMs < earliestMs;
      this.#life = isGoingOn ? { id, startMs: Math.max(0, this.#baseMs - this.#startTicks) } : { id };
    }
    return this.#life;
  }

  ready(): Promise<void> | undefined {
    if (this.#synchronized) return undefined;
    if ((this.#options.trustSystemClock ?? true) && this.nowMs() >= earliestMs) {
      this.#synchronized = true;
      // On a fresh stack: the caller's is nearly full.
      this.#timer ??= Timer.set(() => {
        this.#timer = undefined;
        this.#planRefresh();
      });
      return undefined;
    }
    return this.synchronize();
  }

  /**
   * Asks the servers now. Callers that come while it runs share the result.
   * @throws {IotHubError} CLOCK_NOT_SET if no server gives a credible time
   */
  synchronize(): Promise<void> {
    // On a fresh stack: the caller's is nearly full.
    this.#running ??= Promise.resolve()
      .then(() => this.#synchronize())
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  /**
   * Compares the clock with the `Date` header of a response. If they are more than a day apart, another server than last
   * time is asked, once an hour at most. The date itself is not used: anybody can say one.
   */
  compareDate(date: string): void {
    // "Fri, 27 Dec 2024": to read a date costs a device as much as to sign, and almost always it is today's.
    if (new Date(this.nowMs()).toUTCString().startsWith(date.slice(0, 16))) return;
    const now = this.monotonicMs();
    if (!this.#synchronized || this.#closed || now < this.#doubtAfterMs) return;
    const timeMs = readDate(date);
    if (timeMs === undefined || Math.abs(timeMs - this.nowMs()) <= DAY_MS) return;
    this.#doubtAfterMs = now + DOUBT_INTERVAL_MS;
    this.#isFromServer = false;
    this.synchronize().catch(() => this.#schedule(RETRY_MS));
  }

  /** Ends the daily refresh. */
  close(): void {
    this.#closed = true;
    Timer.clear(this.#timer);
    this.#timer = undefined;
  }

  async #synchronize(): Promise<void> {
    const { servers = defaultTimeServers, timeoutMs = 3000, synchronizeTimeoutMs = 30000 } = this.#options;
    const reasons: string[] = [];
    const unconfirmed: Unconfirmed[] = [];
    const end = this.monotonicMs() + synchronizeTimeoutMs;
    const first = this.#first;
    for (let i = 0; i < 2 * servers.length; i++) {
      const limitMs = end - this.monotonicMs();
      if (limitMs <= 0) break;
      const at = (first + i) % servers.length;
      const server = servers[at];
      let reason = "a time after 2036, which no other server confirms";
      try {
        const time = await querySntp({
          server,
          resolver: this.#resolver,
          timeoutMs,
          limitMs,
          earliestMs,
          now: () => this.monotonicMs(),
        });
        if (this.#isConfirmed(time, server, unconfirmed)) {
          // Should this one be doubted, the next is asked.
          this.#first = (at + 1) % servers.length;
          this.#set(this.#current(time));
          return;
        }
        unconfirmed.push({ ...time, server });
      } catch (error) {
        reason = error instanceof Error ? error.message : String(error);
      }
      if (i < servers.length) reasons.push(`${server}: ${reason}`);
    }
    throw new IotHubError(
      "CLOCK_NOT_SET",
      `No time server gave a credible time (${reasons.join("; ") || "none is configured"}).`,
    );
  }

  /** What a time that was received has become. */
  #current({ timeMs, at }: NetworkTime): number {
    return timeMs + (this.monotonicMs() - at);
  }

  #isConfirmed(time: NetworkTime, server: string, others: readonly Unconfirmed[]): boolean {
    if (ntpEra(time.timeMs) === ntpEra(earliestMs)) return true;
    const timeMs = this.#current(time);
    const agrees = (otherMs: number) => Math.abs(timeMs - otherMs) <= AGREEMENT_MS;
    if (this.#isFromServer && agrees(this.nowMs())) return true;
    return others.some((other) => other.server !== server && agrees(this.#current(other)));
  }

  #set(timeMs: number): void {
    // Whole seconds are all it takes; on simulators it does nothing.
    Time.set(Math.floor(timeMs / 1000));
    this.#offsetMs = timeMs - Date.now();
    this.#synchronized = this.#isFromServer = true;
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
