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
  /**
   * NTP servers in the order in which they are queried: hostnames or IPv4 addresses, optionally with `:port`. @default
   * {@link defaultTimeServers}
   */
  readonly servers?: readonly string[];
  /**
   * Whether to trust the system clock if it shows a time after the build date, because something else must have set it.
   * @default true
   */
  readonly trustSystemClock?: boolean;
  /**
   * Timeout for the name resolution and reply of one server in milliseconds. Each server is queried twice.
   * @default 3000
   */
  readonly timeoutMs?: number;
  /**
   * Timeout of a whole synchronization in milliseconds. It can exceed the sum of the servers' timeouts, since the
   * ESP32's resolver handles one name at a time and waits 7 seconds for a silent DNS server.
   * @default 30_000
   */
  readonly synchronizeTimeoutMs?: number;
  /**
   * Interval between synchronizations in milliseconds.
   * @default 86_400_000
   */
  readonly refreshMs?: number;
  /** Storage for the time of the last synchronization, so that it survives deep sleep. */
  readonly storage?: Storage;
}

/** Public NTP servers; the first two are reliable in China. */
export const defaultTimeServers: readonly string[] = Object.freeze([
  "ntp.tencent.com",
  "ntp.aliyun.com",
  "pool.ntp.org",
  "time.cloudflare.com",
]);

const RELEASED_MS = Date.UTC(2026, 10, 1);
// Preloaded modules are evaluated when the app is built, which gives its build date; otherwise an unset clock gives the
// library's.
const BUILT_MS = Math.max(RELEASED_MS, Date.now());
const DAY_MS = 86400000;
/** Minimum delay after a failed refresh in milliseconds; a backoff is added. */
const RETRY_MS = 900000;
const MAX_BACKOFF_MS = 14400000;
/** Maximum difference between two time sources that confirm each other, in milliseconds. */
const AGREEMENT_MS = 10000;
/** Minimum interval between synchronizations caused by a `Date` header, in milliseconds. */
const DOUBT_INTERVAL_MS = 3600000;

/** Earliest credible time, in milliseconds since 1970: the build date. */
export const earliestMs: number = BUILT_MS;

/** A server's time that needs confirmation from a second source. */
interface Unconfirmed extends NetworkTime {
  readonly server: string;
}

/**
 * Clock of a device, set over SNTP. Replies are not authenticated, and the reply of an unsynchronized server may look
 * like a time after 2036: such a time is accepted only if a second server, or the previously synchronized clock, agrees
 * within ten seconds.
 */
export class ModdableClock implements Clock {
  readonly #options: ClockOptions;
  #elapsed = 0;
  #ticks = Time.ticks;
  /** Initial value of the system clock: on an ESP32 whose clock is not set, the time since power-on. */
  readonly #baseMs = Date.now();
  /** Ticks since the reset or wake-up; the SDK's counter is signed. */
  readonly #startTicks = this.#ticks < 0 ? this.#ticks + 4294967296 : this.#ticks;
  #life: Life | undefined;
  /** Offset of the system clock, for platforms where it cannot be set. */
  #offsetMs = 0;
  #synchronized = false;
  /** Number of consecutive failed refreshes. */
  #failures = 0;
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #closed = false;
  readonly #resolver: Resolver;
  /** Index of the server to query first. */
  #first = 0;
  /** Whether the time came from a server during this run. */
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
    // Time.delta handles the platform's counter wrap.
    const ticks = Time.ticks;
    this.#elapsed += Math.max(0, Time.delta(this.#ticks, ticks));
    this.#ticks = ticks;
    return this.#elapsed;
  }

  get synchronized(): boolean {
    return this.#synchronized || ((this.#options.trustSystemClock ?? true) && this.nowMs() >= earliestMs);
  }

  /**
   * On an ESP32, the system clock continues across restarts and deep sleep; until it is set, it counts from power-on.
   */
  uptimeMs(): number {
    return (this.#baseMs < earliestMs ? this.#baseMs : 0) + this.monotonicMs();
  }

  get life(): Life {
    if (this.#life === undefined) {
      const id = Math.floor(Math.random() * 36 ** 5)
        .toString(36)
        .padStart(5, "0");
      // A clock that was set in an earlier run has another origin than before.
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
   * Queries the servers now. Concurrent callers share the result.
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
   * Compares the clock with the `Date` header of a response. If they differ by more than a day, a different NTP server
   * is queried, at most once an hour. The date itself is not used, since it is not authenticated.
   */
  compareDate(date: string): void {
    // "Fri, 27 Dec 2024": parsing a date costs a device as much as signing, and it is almost always today's.
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
      let reason = "a time after 2036 that no other server confirms";
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
          // If this time is doubtful, query the next server.
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

  /** Returns the current value of a received time. */
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
    // Only whole seconds can be set; does nothing on simulators.
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
        // Randomized, so that a fleet does not query a recovered server at once.
        this.#schedule(nextRunMs(RETRY_MS, ++this.#failures, MAX_BACKOFF_MS, Math.random()));
      });
    }, delayMs);
  }

  async #remember(timeMs: number): Promise<void> {
    try {
      await this.#options.storage?.set(KEY, String(Math.round(timeMs)));
    } catch {
      // The clock is set; only the next run will not know when.
    }
  }

  async #planRefresh(): Promise<void> {
    const refreshMs = this.#options.refreshMs ?? DAY_MS;
    let delayMs = refreshMs;
    try {
      const value = await this.#options.storage?.get(KEY);
      if (value !== undefined && /^[0-9]{1,15}$/.test(value)) {
        const age = this.nowMs() - Number(value);
        // Due, or the clock has been set back since.
        delayMs = age >= 0 && age < refreshMs ? refreshMs - age : 0;
      }
    } catch {
      // Treat the clock as never synchronized.
    }
    if (!this.#timer) this.#schedule(delayMs);
  }
}

const KEY = "clock.synced";
