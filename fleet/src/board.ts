/** A virtual board: one Device with its own host, its rhythm, and its outages. */

import { createHost, createMemoryStorage, Device, IotHubError, NetworkError, register } from "../../host/node/index.js";
import type { DeviceEvent, DeviceOptions, Host, NodeHost } from "./library.js";
import type { Row } from "./rows.js";
import type { Settings } from "./settings.js";

/** Artillery's metrics: counters, and histograms of milliseconds. */
export interface Metrics {
  emit(kind: "counter" | "histogram", name: string, value: number): void;
}

/**
 * - `online`: sends each reading at once on a connection that is kept alive
 * - `batch`: collects readings and sends them as one message
 * - `sleep`: deep sleep after each reading; each wake-up makes a new `Device` and a new connection, and resumes the TLS
 *   session
 */
export type Profile = "online" | "batch" | "sleep";

/** How long a board tries to deliver what is left when it is switched off, in milliseconds. */
const LAST_FLUSH_MS = 60_000;
/** How long a reading that was not sent at once waits until the outbox sends it by itself, in milliseconds. */
const FLUSH_INTERVAL_MS = 30_000;
/** How long a board that sleeps stays awake at most, in milliseconds. */
const AWAKE_MS = 20_000;

/** Codes of requests that were never sent; an outage is one of them. */
const UNSENT: ReadonlySet<string> = new Set(["NAME_RESOLUTION", "CONNECTION_REFUSED", "THROTTLED"]);

export class Board {
  readonly #row: Row;
  readonly #profile: Profile;
  readonly #settings: Settings;
  readonly #metrics: Metrics;
  readonly #host: NodeHost;
  /** What the device gets: the host, with the outages and the habits of the profile between. */
  readonly #network: Host;
  #credential: DeviceOptions["credential"] | undefined;
  #device: Device | undefined;
  #flushing: Promise<void> | undefined;
  #networkBackMs = 0;
  #readings = 0;

  constructor(row: Row, profile: Profile, settings: Settings, metrics: Metrics, trustAnchors: string | undefined) {
    this.#row = row;
    this.#profile = profile;
    this.#settings = settings;
    this.#metrics = metrics;
    this.#host = createHost({ native: settings.native, storage: createMemoryStorage(), trustAnchors });
    this.#network = { ...this.#host, http: this.#http() };
  }

  /** Registers if there is no credential, and starts. Never rejects. @returns whether the board runs */
  async powerOn(): Promise<boolean> {
    const { productId, deviceName, psk } = this.#row;
    const { url, region, productSecret = "" } = this.#settings;
    try {
      if (psk === undefined) {
        const { requestId: _, ...credential } = await register(
          { productId, deviceName, productSecret, url, region: region as DeviceOptions["region"] },
          this.#network,
        );
        this.#credential = credential as DeviceOptions["credential"];
        this.#count("fleet.registered");
      } else this.#credential = { secret: psk };
      if (this.#profile !== "sleep") this.#device = this.#boot();
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  /** Time until the next reading in milliseconds. @param random 0 to 1 */
  nextMs(random: number): number {
    const { intervalSeconds, jitter } = this.#settings;
    return 1000 * intervalSeconds * (1 + jitter * (2 * random - 1));
  }

  /** Takes a reading, and sends what the profile sends now. Never rejects. @param random 0 to 1, decides on an outage */
  async read(random: number): Promise<void> {
    const { batch, outage, outageSeconds } = this.#settings;
    try {
      const device = this.#device ?? this.#boot();
      this.#readings++;
      this.#count("fleet.readings");
      await device.enqueue({ topic: "data", payload: { temperature: 20 + (this.#readings % 10), n: this.#readings } });
      if (this.#profile === "sleep") {
        await device.flush({ deadlineMs: AWAKE_MS });
        device.close();
      } else if (this.#profile === "online" || this.#readings % batch === 0) this.#flush(device);
    } catch (error) {
      this.#failed(error);
    }
    if (random < outage) {
      this.#count("fleet.outages");
      this.#networkBackMs = performance.now() + outageSeconds * 1000;
    }
  }

  /** Delivers in the background: the next reading does not wait for it, and the flush sends that one, too. */
  #flush(device: Device): void {
    this.#flushing ??= device.flush({ deadlineMs: LAST_FLUSH_MS }).then(
      () => {
        this.#flushing = undefined;
      },
      (error) => {
        this.#flushing = undefined;
        this.#failed(error);
      },
    );
  }

  /** Sends what is left, and closes device and host. Never rejects. */
  async powerOff(): Promise<void> {
    try {
      this.#networkBackMs = 0;
      const device = this.#device ?? this.#boot();
      const { remaining } = await device.flush({ deadlineMs: LAST_FLUSH_MS });
      this.#count("fleet.remaining", remaining);
      device.close();
    } catch (error) {
      this.#failed(error);
    }
    const { connections = 0, fullHandshakes = 0, resumedHandshakes = 0 } = this.#host.http.counters?.() ?? {};
    this.#count("fleet.connections", connections);
    this.#count("fleet.tls.full", fullHandshakes);
    this.#count("fleet.tls.resumed", resumedHandshakes);
    await this.#host.close();
  }

  #boot(): Device {
    const { productId, deviceName } = this.#row;
    const { url, region, batch, intervalSeconds } = this.#settings;
    const flushIntervalMs = {
      online: FLUSH_INTERVAL_MS,
      // Only if its batch does not come about.
      batch: Math.max(FLUSH_INTERVAL_MS, 2000 * batch * intervalSeconds),
      // It waits for its next reading.
      sleep: 0,
    };
    const onDelivered = () => this.#count("fleet.delivered");
    const onDropped = ({ reason }: { readonly reason: string }) => this.#count(`fleet.dropped.${reason}`);
    return new Device(
      {
        productId,
        deviceName,
        url,
        region: region as DeviceOptions["region"],
        credential: this.#credential as DeviceOptions["credential"],
        onEvent: (event) => this.#event(event),
        outbox: {
          onDelivered,
          onDropped,
          flushIntervalMs: Math.floor(flushIntervalMs[this.#profile]),
          flushThreshold: 1_000_000,
          batch: this.#profile === "batch" ? { maxReadings: batch } : undefined,
        },
      },
      this.#network,
    );
  }

  /** The host's client during an outage refuses; a board that sleeps closes its connection after each response. */
  #http(): Host["http"] {
    const { http } = this.#host;
    const sleeps = this.#profile === "sleep";
    return {
      get surplus() {
        return http.surplus;
      },
      send: (request, context) => {
        if (performance.now() < this.#networkBackMs) {
          return Promise.reject(new NetworkError("NAME_RESOLUTION", "connect", "The board has no network."));
        }
        if (!sleeps) return http.send(request, context);
        return http.send({ ...request, headers: { ...request.headers, Connection: "close" } }, context);
      },
      close: () => http.close(),
    };
  }

  #event(event: DeviceEvent): void {
    switch (event.type) {
      case "sign":
        this.#count("fleet.signatures");
        break;
      case "response": {
        this.#count(`fleet.http.${event.status}`);
        const { totalMs } = event.timing ?? {};
        if (totalMs !== undefined) this.#metrics.emit("histogram", "fleet.response_ms", totalMs);
        break;
      }
      case "done":
        this.#count("fleet.acknowledged");
        break;
      case "retry":
      case "error":
        this.#count(`fleet.errors.${event.gatewayCode ?? event.code}`);
        // A request that was sent may have arrived all the same.
        if (event.status === undefined && !UNSENT.has(event.code)) this.#count("fleet.lost_responses");
        break;
    }
  }

  /** What the device did not report as an event. */
  #failed(error: unknown): void {
    this.#count(`fleet.failed.${error instanceof IotHubError ? error.code : "UNEXPECTED"}`);
  }

  #count(name: string, value = 1): void {
    this.#metrics.emit("counter", name, value);
  }
}
