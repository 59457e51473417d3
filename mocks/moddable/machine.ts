/**
 * Simulated device: engine, clock and network. An exception in a callback from the SDK's native code ends the virtual
 * machine; here it is recorded in {@link aborts}, and a test fails unless that stays empty.
 */

export const aborts: unknown[] = [];

/** Calls back like the SDK's native code. */
export function callFromNative(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    aborts.push(error);
  }
}

/** Ends the machine like a failed assertion in native code, even if the program catches the exception. */
export function abortMachine(reason: string): never {
  const error = new Error(reason);
  aborts.push(error);
  throw error;
}

interface Pending {
  readonly callback: () => void;
  dueMs: number;
  readonly order: number;
}

const realDateNow = Date.now;
const realTicks = () => Math.floor(performance.now());

let starts = 0;
const pending = new Set<Pending>();
let order = 0;
/** Milliseconds of the stopped clock; undefined while time passes. */
let virtualMs: number | undefined;
/** Offset of the system clock from the ticks, if it was set. */
let dateOffsetMs: number | undefined;
let timeSetWorks = true;

/** The machine's time. Passes normally; tests can stop and advance it. */
export const clock = {
  /** Real time in milliseconds since 1970, independent of the machine's clock. */
  realNow: (): number => realDateNow(),

  /** Milliseconds since the start. */
  ticks: (): number => virtualMs ?? realTicks(),

  /** Whether `Time.set` sets the clock, as on ESP32, or does nothing, as on the simulator. @default true */
  get settable(): boolean {
    return timeSetWorks;
  },
  set settable(value: boolean) {
    timeSetWorks = value;
  },

  /** Sets the system clock, which `Date.now()` returns. */
  setDate(ms: number): void {
    dateOffsetMs = ms - clock.ticks();
    Date.now = () => clock.ticks() + (dateOffsetMs as number);
  },

  /** Stops time: timers with a delay fire only in {@link clock.advance}, those without a delay at once. */
  stop(): void {
    virtualMs ??= realTicks();
  },

  /** Advances the stopped time and fires every timer that is due, each with its promise jobs. */
  async advance(ms: number): Promise<void> {
    clock.stop();
    const end = (virtualMs as number) + ms;
    for (;;) {
      const next = [...pending].sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0];
      if (next === undefined || next.dueMs > end) break;
      virtualMs = Math.max(virtualMs as number, next.dueMs);
      pending.delete(next);
      callFromNative(next.callback);
      await turn();
    }
    virtualMs = end;
    await turn();
  },

  /** Delays in milliseconds of the timers waiting for {@link clock.advance}, soonest first. */
  get waiting(): number[] {
    return [...pending].map(({ dueMs }) => dueMs - clock.ticks()).sort((a, b) => a - b);
  },

  /** For the module `timer`: calls back once; returns a function that cancels it. */
  schedule(callback: () => void, delayMs: number): () => void {
    if (delayMs <= 0) {
      const immediate = setImmediate(() => callFromNative(callback));
      return () => clearImmediate(immediate);
    }
    if (virtualMs === undefined) {
      const timeout = setTimeout(() => callFromNative(callback), delayMs);
      return () => clearTimeout(timeout);
    }
    const entry = { callback, dueMs: virtualMs + delayMs, order: order++ };
    pending.add(entry);
    return () => pending.delete(entry);
  },
};

/** Resolves after one turn of the event loop, with all promise jobs. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves when a condition holds. It waits for events, not for time. */
export async function until(condition: () => unknown): Promise<void> {
  const start = starts;
  while (!condition()) {
    await turn();
    // A test that has timed out must not continue in the background.
    if (start !== starts) throw new Error("The machine was restarted.");
  }
}

/** Resets the machine before each test. Preferences are kept, as in flash; see `flash.clear()`. */
export function restart(): void {
  starts++;
  aborts.length = 0;
  pending.clear();
  virtualMs = dateOffsetMs = undefined;
  timeSetWorks = true;
  Date.now = realDateNow;
}
