/**
 * A board across restarts: a clock that continues in deep sleep and starts at 0 at each power-on, like that of
 * an ESP32, and a storage that keeps.
 */

import type { Clock } from "../../src/host.js";
import {
  Device,
  type DeviceOptions,
  type DroppedMessage,
  type Host,
  type OutboxOptions,
  type StoredMessage,
} from "../../src/index.js";
import { cleanups } from "./cleanups.js";
import { Flash } from "./storage.js";
import { type Reply, type VirtualHost, virtualHost } from "./virtual-host.js";

/** Real time of the first power-on. */
export const WORLD_MS = Date.UTC(2026, 11, 1);
/** Milliseconds from the reset to the first line of the program. */
const BOOT_MS = 400;

export interface BoardLife {
  readonly host: VirtualHost;
  readonly device: Device;
  readonly delivered: StoredMessage[];
  readonly dropped: DroppedMessage[];
  /** Returns the payloads that were sent. */
  payloads(): string[];
  /** Advances time while the program runs. */
  wait(ms: number): void;
  /** Sets the clock to the real time plus an error. */
  setClock(offMs?: number): void;
}

export class Board {
  readonly flash = new Flash();
  /** Current real time. */
  worldMs = WORLD_MS;
  /** Origin of the board's clock: the power-on until it is set. */
  #shiftMs = 0;
  #powerOnMs = WORLD_MS;
  #lives = 0;
  #life: BoardLife | undefined;
  #hasClock = true;

  /** @param hasClock whether the machine distinguishes its runs; otherwise each device counts from 0 */
  constructor(hasClock = true) {
    this.#hasClock = hasClock;
    this.powerOn(0);
  }

  /** Powers the board on after a time without power. */
  powerOn(afterMs: number): void {
    this.#end();
    this.worldMs += afterMs;
    this.#powerOnMs = this.worldMs;
    this.#shiftMs = -this.worldMs;
  }

  sleep(ms: number): void {
    this.#end();
    this.worldMs += ms;
  }

  /** Starts the next run. */
  start(reply: Reply, outbox: OutboxOptions = {}, options: Partial<DeviceOptions> = {}): BoardLife {
    this.#end();
    const startedMs = this.worldMs;
    this.worldMs += BOOT_MS;
    let isSet = this.#clockMs() >= WORLD_MS - 86400000;
    const wasSet = isSet;
    const uptime = () => Math.floor(this.worldMs - this.#powerOnMs);
    const clock: Clock = {
      nowMs: () => this.#clockMs(),
      monotonicMs: () => host.elapsedMs,
      get synchronized() {
        return isSet;
      },
      ...(this.#hasClock && {
        uptimeMs: uptime,
        life: { id: `life${this.#lives++ % 10}`, ...(!wasSet && { startMs: startedMs - this.#powerOnMs }) },
      }),
    };
    const { storage } = this.flash.start();
    const host = virtualHost(reply, {}, WORLD_MS) as VirtualHost & { -readonly [Name in keyof Host]: Host[Name] };
    Object.assign(host, { clock, storage });
    const delivered: StoredMessage[] = [];
    const dropped: DroppedMessage[] = [];
    const device = new Device(
      {
        productId: "P",
        deviceName: "d",
        credential: { secret: "secret" },
        rateLimit: false,
        outbox: {
          flushIntervalMs: 0,
          onDelivered: (message) => delivered.push(message),
          onDropped: (one) => dropped.push(one),
          ...outbox,
        },
        ...options,
      },
      host,
    );
    cleanups.push(() => device.close());
    this.#life = {
      host,
      device,
      delivered,
      dropped,
      payloads: () =>
        host.sent.map(({ request }) => JSON.parse(new TextDecoder().decode(request.body)).Payload as string),
      wait: (ms) => {
        this.worldMs += ms;
        host.advance(ms);
      },
      setClock: (offMs = 0) => {
        this.#shiftMs = offMs;
        isSet = true;
      },
    };
    return this.#life;
  }

  #end(): void {
    this.#life?.device.close();
    this.#life = undefined;
  }

  #clockMs(): number {
    return this.worldMs + this.#shiftMs;
  }
}
