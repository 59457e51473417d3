import Clock from "timer";
import type { Timer } from "../../src/host.js";

/** Timers of the Moddable SDK. */
export class ModdableTimer implements Timer {
  set(callback: () => void, delayMs: number): unknown {
    const handle: { timer: Clock | undefined } = { timer: undefined };
    handle.timer = Clock.set(() => {
      // A fired timer must not be cleared: its native object is gone.
      handle.timer = undefined;
      try {
        callback();
      } catch {
        // Called from native code, where an exception would abort the virtual machine.
      }
    }, delayMs);
    return handle;
  }

  clear(handle: unknown): void {
    const timer = handle as { timer: Clock | undefined } | undefined;
    if (!timer?.timer) return;
    Clock.clear(timer.timer);
    timer.timer = undefined;
  }
}
