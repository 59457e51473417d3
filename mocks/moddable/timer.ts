/** `timer`: timers of the engine, on the machine's clock. */

import { clock } from "./machine.js";

type Callback = (timer: Timer) => void;

export default class Timer {
  #cancel: (() => void) | undefined;
  #callback: Callback;
  #repeatMs = 0;

  private constructor(callback: Callback) {
    this.#callback = callback;
  }

  static set(callback: Callback, delayMs = 0, repeatMs = 0): Timer {
    if (typeof callback !== "function") throw new TypeError("no function");
    const timer = new Timer(callback);
    timer.#start(delayMs, repeatMs);
    return timer;
  }

  static repeat(callback: Callback, delayMs: number): Timer {
    return Timer.set(callback, delayMs, delayMs);
  }

  static schedule(timer: Timer, delayMs?: number, repeatMs = 0): void {
    if (!timer.#cancel) throw new Error("invalid: the timer has ended");
    timer.#cancel();
    if (delayMs === undefined) timer.#cancel = () => {};
    else timer.#start(delayMs, repeatMs);
  }

  /** Ignores anything but a running timer. */
  static clear(timer?: Timer | null): void {
    if (!timer || !(#cancel in timer)) return;
    timer.#cancel?.();
    timer.#cancel = undefined;
  }

  #start(delayMs: number, repeatMs: number): void {
    this.#repeatMs = Math.trunc(repeatMs);
    this.#cancel = clock.schedule(() => this.#fire(), Math.trunc(delayMs));
  }

  #fire(): void {
    const once = this.#repeatMs <= 0;
    if (!once) this.#start(this.#repeatMs, this.#repeatMs);
    try {
      this.#callback(this);
    } finally {
      if (once) this.#cancel = undefined;
    }
  }
}
