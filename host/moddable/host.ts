import { IotHubError } from "../../src/errors.js";
import type { Host, NativeDigest, NativeRsa, Storage } from "../../src/host.js";
import { checkOptions, type Rules } from "../../src/options.js";
import { type ClockOptions, ModdableClock } from "./clock.js";
import { Http, type HttpOptions } from "./http.js";
import { macAddress, readVitals } from "./platform.js";
import { HashDrbg } from "./random.js";
import { Resolver } from "./resolver.js";
import { KeyValueStorage } from "./storage.js";
import { ModdableTimer } from "./timer.js";

/** Options of a host without TLS. */
export interface HttpHostOptions
  extends Pick<HttpOptions, "addresses" | "keepAliveMs" | "maxConnections" | "maxWaiting"> {
  /** Options of the clock: time servers and timeouts. */
  readonly clock?: Omit<ClockOptions, "storage">;
  /**
   * Persistent storage: the path of a {@link KeyValueStorage} (1 to 15 letters, digits and _ . -), or a custom storage,
   * which the app must close; false for none.
   * @default "tc-iothub"
   */
  readonly storage?: Storage | string | false;
}

/** A host based on the Moddable SDK. */
export interface ModdableHost extends Host {
  readonly http: Http;
  readonly clock: ModdableClock;
  /** Closes connections and the storage, and stops the clock's synchronization. Stored data is kept. */
  close(): void;
  /**
   * Deletes the TLS session and server address stored with `resumption: "storage"`, regardless of this host's setting,
   * and drops the sessions in memory. `Device.forget` calls it, too.
   * @throws {IotHubError} STORAGE_FAILED; STORAGE_FULL, STORAGE_STOPPED if the storage could not be opened
   */
  forget(): Promise<void>;
}

export const httpHostRules = Object.freeze({
  clock: "object",
  storage: "any",
  addresses: "object",
  keepAliveMs: "number 0 86400000",
  maxConnections: "integer 1 16",
  maxWaiting: "integer 0 1000",
} satisfies Rules<HttpHostOptions>);

const clockRules = Object.freeze({
  servers: "any",
  trustSystemClock: "boolean",
  timeoutMs: "number 1 2147483647",
  synchronizeTimeoutMs: "number 1 2147483647",
  refreshMs: "number 1000 2147483647",
} satisfies Rules<Omit<ClockOptions, "storage">>);

/**
 * Creates a host from the parts that all hosts of this platform share; the caller provides TLS and native code.
 * @throws {IotHubError} INVALID_OPTION if an option of the clock or the storage is invalid
 */
export function createHostWith(
  options: HttpHostOptions,
  parts: (
    clock: ModdableClock,
    random: HashDrbg,
    storage: Storage | undefined,
  ) => Pick<HttpOptions, "secure"> & {
    digest?: NativeDigest;
    rsa?: NativeRsa;
    /** Deletes stored TLS sessions. */
    forget?(): Promise<void>;
  },
): ModdableHost {
  if (options.clock !== undefined) checkOptions("clock", options.clock, clockRules);
  const own = openStorage(options.storage);
  const storage = own ?? appStorage(options.storage);
  const { addresses, keepAliveMs, maxConnections, maxWaiting } = options;
  const resolver = new Resolver(addresses);
  const clock = new ModdableClock({ ...options.clock, storage }, resolver);
  const random = new HashDrbg(storage);
  const { secure, digest, rsa, forget } = parts(clock, random, storage);
  const http = new Http({
    secure,
    resolver,
    keepAliveMs,
    maxConnections,
    maxWaiting,
    onDate: (date) => clock.compareDate(date),
  });
  return {
    http,
    clock,
    random,
    timer: new ModdableTimer(),
    storage,
    digest,
    rsa,
    deviceName: macDeviceName,
    vitals: () => ({ uptimeMs: Math.round(clock.monotonicMs()), ...readVitals() }),
    close() {
      http.close();
      clock.close();
      own?.close();
    },
    async forget() {
      http.forget();
      await forget?.();
    },
  };
}

function openStorage(storage: HttpHostOptions["storage"]): KeyValueStorage | undefined {
  return storage === undefined || typeof storage === "string" ? new KeyValueStorage(storage) : undefined;
}

function appStorage(storage: HttpHostOptions["storage"]): Storage | undefined {
  if (storage === false) return undefined;
  if (typeof storage === "object" && typeof storage?.get === "function") return storage;
  throw new IotHubError("INVALID_OPTION", "storage must be a path, a Storage object, or false.");
}

/**
 * Returns the MAC address in lower-case hex without colons.
 * @throws {IotHubError} INVALID_DEVICE_NAME while it is not available: on an ESP32 until Wi-Fi is started
 */
function macDeviceName(): string {
  const address = macAddress();
  if (!address) {
    throw new IotHubError(
      "INVALID_DEVICE_NAME",
      "The DeviceName defaults to the MAC address, which is not available yet: start Wi-Fi first, or set deviceName.",
    );
  }
  return address.replaceAll(":", "").toLowerCase();
}
