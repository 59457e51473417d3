/**
 * The library for platforms with `fetch`: the portable core, and a Device with a default host that uses web standards
 * only: `fetch`, AbortController, `crypto.getRandomValues`, `performance.now` and timers.
 */

import { type DeviceOptions, Device as PortableDevice } from "../../src/device.js";
import { IotHubError } from "../../src/errors.js";
import type { Clock, Host, Random, Storage, Timer } from "../../src/host.js";
import { checkOptions, type Rules } from "../../src/options.js";
import { type ProvisionedDeviceOptions, provisionOptions } from "../../src/provisioning/provision.js";
import { createHttp } from "./http.js";
import { type FetchLike, platform } from "./platform.js";

export * from "../../src/index.js";
export type { FetchBody, FetchInit, FetchLike, FetchReader, FetchResponse } from "./platform.js";

/** Options of {@link createHost}. */
export interface FetchHostOptions {
  /**
   * Function to send requests with, for instance one with a platform's own options: a dispatcher, a client with trust
   * anchors, a service binding. It must pass on `redirect` and `signal`.
   * @default the global `fetch`, looked up at each request
   * @example
   *   // Deno: trust a private CA.
   *   const client = Deno.createHttpClient({ caCerts: [pem] });
   *   const host = createHost({ fetch: (url, init) => fetch(url, { ...init, client }) });
   */
  readonly fetch?: FetchLike;
  /**
   * Storage for an outbox and for provisioning: `createMemoryStorage()`, or one that keeps its values.
   * @default none
   */
  readonly storage?: Storage;
}

/** A host based on web standards. */
export interface FetchHost extends Host {
  /** Cancels pending requests; later ones reject with CANCELLED. The platform closes its keep-alive connections. */
  close(): void;
}

const hostRules = {
  fetch: "function",
  storage: "any",
} satisfies Rules<FetchHostOptions>;

/** Maximum number of bytes of one call of `getRandomValues`. */
const RANDOM_QUOTA = 65536;

/**
 * Creates a host based on web standards. Nothing is sent, and no random bytes are drawn, before the first request, so it
 * can be created in a module's scope. On workerd, create host and device in the handler of a request: what waits for one
 * request cannot be used by another.
 * @example
 *   const host = createHost();
 *   const device = new Device({ productId, deviceName, credential: { secret: psk } }, host);
 *   await device.publish({ topic: "data", payload: { temperature: 21.5 } });
 *   device.close();
 *   host.close();
 * @throws {IotHubError} INVALID_OPTION if an option is invalid, or if the platform lacks `fetch`, AbortController or
 * `crypto.getRandomValues`
 */
export function createHost(options: FetchHostOptions = {}): FetchHost {
  checkOptions("", options, hostRules);
  const { fetch, storage } = options;
  if (storage !== undefined && typeof storage?.get !== "function") {
    throw new IotHubError("INVALID_OPTION", "storage must be a Storage object.");
  }
  if (fetch === undefined && typeof platform.fetch !== "function") {
    throw new IotHubError("INVALID_OPTION", "This platform has no fetch; pass one as the option fetch.");
  }
  for (const [name, found] of [
    ["AbortController", platform.AbortController],
    ["crypto.getRandomValues", platform.crypto?.getRandomValues],
  ] as const) {
    if (typeof found !== "function") throw new IotHubError("INVALID_OPTION", `This platform has no ${name}.`);
  }
  const http = createHttp(fetch);
  return { http, clock, random, timer, storage, close: () => http.close() };
}

const clock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: monotonic(),
};

/** Captured, like the timers: a test framework may replace them, and requests would never end. */
function monotonic(): () => number {
  const { performance } = platform;
  return performance?.now?.bind(performance) ?? neverBack();
}

/** Returns a clock of wall-clock time that stands still when the time goes back. */
function neverBack(): () => number {
  let last = 0;
  return () => {
    last = Math.max(last, Date.now());
    return last;
  };
}

const random: Random = {
  bytes(length) {
    const bytes = new Uint8Array(length);
    for (let from = 0; from < length; from += RANDOM_QUOTA) {
      platform.crypto?.getRandomValues?.(bytes.subarray(from, from + RANDOM_QUOTA));
    }
    return bytes;
  },
};

const { setTimeout, clearTimeout } = platform;

const timer: Timer = {
  set: (callback, delayMs) => setTimeout(callback, delayMs),
  clear: (handle) => clearTimeout(handle),
};

/** A device over `fetch`. Without a host argument it creates one, and closes it with the device. */
export class Device extends PortableDevice {
  readonly #ownHost: FetchHost | undefined;

  /**
   * Creates a device with the stored credential or, if there is none, registers it and stores the credential first.
   * @param host a host with `storage`
   * @throws {IotHubError} INVALID_OPTION if the host has no storage; the errors of {@link provision} and of the
   * constructor
   */
  static async fromProvisioning(options: ProvisionedDeviceOptions, host: Host): Promise<Device> {
    return new this(await provisionOptions(options, host), host);
  }

  /** @throws {IotHubError} the errors of {@link createHost}, if no host is passed, and of the portable `Device` */
  constructor(options: DeviceOptions, host?: Host) {
    const own = host ? undefined : createHost();
    super(options, host ?? (own as FetchHost));
    this.#ownHost = own;
  }

  override close(): void {
    super.close();
    this.#ownHost?.close();
  }
}
