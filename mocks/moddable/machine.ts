/**
 * The stand-in for a device: its engine, its clock and its network. Where the SDK calls from native code, an exception
 * ends the virtual machine; here it is kept in {@link aborts}, and a test fails unless that stays empty.
 */

export const aborts: unknown[] = [];

/** Calls as the SDK's native code does. */
export function callFromNative(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    aborts.push(error);
  }
}

/** Ends the machine as a failed assertion in native code does; a program that catches it does not undo it. */
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
/** Milliseconds of the virtual clock; undefined while time passes by itself. */
let virtualMs: number | undefined;
/** What the system's clock is ahead of the ticks, if it was set. */
let dateOffsetMs: number | undefined;
let timeSetWorks = true;

/** The machine's time. By itself it passes as everywhere; a test can stop it and move it on. */
export const clock = {
  /** The real time, milliseconds since 1970, whatever the machine's clock says. */
  realNow: (): number => realDateNow(),

  /** Milliseconds since the start. */
  ticks: (): number => virtualMs ?? realTicks(),

  /** Whether `Time.set` sets the clock, as on ESP32, or does nothing, as on the simulator; true unless set. */
  get settable(): boolean {
    return timeSetWorks;
  },
  set settable(value: boolean) {
    timeSetWorks = value;
  },

  /** Sets the system's clock, which `Date.now()` tells. */
  setDate(ms: number): void {
    dateOffsetMs = ms - clock.ticks();
    Date.now = () => clock.ticks() + (dateOffsetMs as number);
  },

  /** From now on timers with a delay only fire in {@link clock.advance}; those without fire at once, as ever. */
  stop(): void {
    virtualMs ??= realTicks();
  },

  /** Moves the stopped time on and lets every timer fire that falls due, each with its jobs. */
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

  /** Delays in milliseconds of the timers that wait for {@link clock.advance}, soonest first. */
  get waiting(): number[] {
    return [...pending].map(({ dueMs }) => dueMs - clock.ticks()).sort((a, b) => a - b);
  },

  /** For the module `timer`: calls back once; returns what cancels it. */
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

/** One turn of the event loop, with all the jobs of promises. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits until a condition holds; what it waits for is an event, so it takes no longer than that. */
export async function until(condition: () => unknown): Promise<void> {
  const start = starts;
  while (!condition()) {
    await turn();
    // A test that has run out of time must not go on in the background.
    if (start !== starts) throw new Error("The machine was restarted.");
  }
}

/** For each test: everything as after switching on. The preferences stay, as in flash; see `flash.clear()`. */
export function restart(): void {
  starts++;
  aborts.length = 0;
  pending.clear();
  virtualMs = dateOffsetMs = undefined;
  timeSetWorks = true;
  Date.now = realDateNow;
}
