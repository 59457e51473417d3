/** Time that passes when nothing else is to be done, for many devices at once: no sockets, no waiting. */

import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../../src/host.js";

interface Event {
  readonly atMs: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** A timer and the monotonic clock that belongs to it; events are a binary heap by time, then by order. */
export class VirtualTime implements Timer, Pick<Clock, "monotonicMs"> {
  nowMs = 0;
  readonly #events: Event[] = [];
  #orders = 0;

  monotonicMs(): number {
    return this.nowMs;
  }

  set(callback: () => void, delayMs: number): object {
    const event: Event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#orders++, callback };
    const heap = this.#events;
    heap.push(event);
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!isBefore(heap[i], heap[parent])) break;
      [heap[i], heap[parent]] = [heap[parent], heap[i]];
      i = parent;
    }
    return event;
  }

  clear(handle: unknown): void {
    if (handle !== undefined) (handle as Event).callback = undefined;
  }

  /** Moves on to the next event. @returns false if there is none */
  next(): boolean {
    for (;;) {
      const event = this.#take();
      if (event === undefined) return false;
      if (event.callback === undefined) continue;
      this.nowMs = event.atMs;
      event.callback();
      return true;
    }
  }

  /** Runs events, and everything that follows from each without a timer, while `isOn` and until `untilMs` at most. */
  async run(untilMs: number, isOn: () => boolean = () => true): Promise<void> {
    while (isOn()) {
      while (this.#events[0] !== undefined && this.#events[0].callback === undefined) this.#take();
      const [first] = this.#events;
      if (first === undefined || first.atMs > untilMs) return;
      this.next();
      // All microtasks are done before this is called.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #take(): Event | undefined {
    const heap = this.#events;
    const [first] = heap;
    const last = heap.pop();
    if (heap.length > 0 && last !== undefined) {
      heap[0] = last;
      for (let i = 0; ; ) {
        let least = i;
        for (let child = 2 * i + 1; child <= 2 * i + 2 && child < heap.length; child++) {
          if (isBefore(heap[child], heap[least])) least = child;
        }
        if (least === i) break;
        [heap[i], heap[least]] = [heap[least], heap[i]];
        i = least;
      }
    }
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
