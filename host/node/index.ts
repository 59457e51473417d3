/** The library for Node: the portable core, and a Device with a default host. */

import type { PemOrDer } from "../../src/crypto/pem.js";
import { type DeviceOptions, Device as PortableDevice } from "../../src/device.js";
import { IotHubError } from "../../src/errors.js";
import type { Host, Storage } from "../../src/host.js";
import { checkOptions, type Rules } from "../../src/options.js";
import {
  forget,
  type ProvisionedDeviceOptions as PortableProvisionedDeviceOptions,
  provisionOptions,
} from "../../src/provisioning/provision.js";
import { createClock } from "./clock.js";
import { createHttp, type NodeHttpOptions } from "./http.js";
import { nodeDigest, nodeRsa } from "./native.js";
import { createRandom } from "./random.js";
import { createStorage } from "./storage.js";
import { createTimer } from "./timer.js";
import { readVitals } from "./vitals.js";

export * from "../../src/index.js";
export { createStorage, type NodeHttpOptions, type PemOrDer };

/** Options of {@link createHost}. */
export interface NodeHostOptions extends NodeHttpOptions {
  /**
   * Persistent storage: a folder for {@link createStorage}, or a custom storage, which the app must close.
   * @default none
   */
  readonly storage?: Storage | string;
  /**
   * Uses node:crypto for hashes and signatures, for programs that publish a lot. Otherwise the same JavaScript runs as
   * on a device.
   * @default false
   */
  readonly native?: boolean;
}

/** A host based on Node's modules. */
export interface NodeHost extends Host {
  /** Closes connections and unlocks the storage folder; resolves when another process can use it. */
  close(): Promise<void>;
}

const hostRules = {
  trustAnchors: "any",
  systemTrustAnchors: "boolean",
  clientCertificate: "any",
  clientKey: "any",
  lookup: "function",
  proxy: "any",
  storage: "any",
  native: "boolean",
} satisfies Rules<NodeHostOptions>;

/**
 * Creates a host based on Node's modules. Without `native`, it has neither a native digest nor native RSA, so that CI
 * runs the same code as the device.
 * @example
 *   const host = createHost({ storage: "/var/lib/sensor" });
 *   const device = new Device({ productId, deviceName, credential: { secret: psk }, outbox: {} }, host);
 *   // At the end:
 *   device.close();
 *   await host.close();
 * @throws {IotHubError} INVALID_OPTION if an option is unknown or invalid, a certificate or the key cannot be read, or
 * the proxy is not the URL of an HTTP proxy, also in the environment
 */
export function createHost(options: NodeHostOptions = {}): NodeHost {
  checkOptions("", options, hostRules);
  const own = typeof options.storage === "string" ? createStorage(options.storage) : undefined;
  const http = createHttp(options);
  return {
    http,
    clock: createClock(),
    random: createRandom(),
    timer: createTimer(),
    storage: own ?? checkStorage(options.storage),
    digest: options.native ? nodeDigest : undefined,
    rsa: options.native ? nodeRsa : undefined,
    vitals: readVitals,
    async close() {
      http.close();
      await own?.close();
    },
  };
}

function checkStorage(storage: NodeHostOptions["storage"]): Storage | undefined {
  if (storage === undefined || (typeof storage === "object" && typeof storage?.get === "function")) return storage;
  throw new IotHubError("INVALID_OPTION", "storage must be the path of a folder, or a Storage object.");
}

/** Options of a device whose credential is stored, or registered on the first start. */
export interface ProvisionedDeviceOptions extends PortableProvisionedDeviceOptions {
  /** Storage of the default host, used if no host is passed: see {@link NodeHostOptions.storage}. */
  readonly storage?: Storage | string;
}

/** A device on Node. Without a host argument it creates one, and closes it with the device. */
export class Device extends PortableDevice {
  readonly #host: Host;
  #ownHost: NodeHost | undefined;
  #storage: Storage | string | undefined;
  #isClosed = false;

  /**
   * Creates a device with the stored credential or, if there is none, registers it and stores the credential first.
   * @throws {IotHubError} the errors of {@link provision} and of the constructor
   * @example
   *   const device = await Device.fromProvisioning({ productId, deviceName, productSecret, storage: "/var/lib/sensor" });
   */
  static async fromProvisioning(options: ProvisionedDeviceOptions, host?: Host): Promise<Device> {
    const { storage, ...rest } = options;
    const own = host ? undefined : createHost({ storage });
    const used = host ?? (own as NodeHost);
    try {
      const device = new this(await provisionOptions(rest, used), used);
      device.#ownHost = own;
      device.#storage = storage;
      return device;
    } catch (error) {
      await own?.close();
      throw error;
    }
  }

  /**
   * Creates a device. Sends nothing yet.
   * @param host the device does not close it @default a new host, which the device closes
   * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_REGION, INVALID_URL, INVALID_LOG_LEVEL,
   * INVALID_OPTION; for the credential INVALID_CREDENTIAL, KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED,
   * KEY_SIZE, KEY_INCONSISTENT; for the heartbeat's topic INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG
   * @example
   *   const device = new Device({ productId: "ABCDE12345", deviceName: "sensor1", credential: { secret: psk } });
   *   await device.publish({ topic: "data", payload: { temperature: 21.5 } });
   *   device.close();
   */
  constructor(options: DeviceOptions, host?: Host) {
    const own = host ? undefined : createHost();
    const used = host ?? (own as NodeHost);
    super(options, used);
    this.#host = used;
    this.#ownHost = own;
  }

  override close(): void {
    super.close();
    this.#isClosed = true;
    this.#ownHost?.close();
  }

  /**
   * Closes the device and deletes the credential stored by {@link Device.fromProvisioning}.
   * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED, STORAGE_IN_USE
   */
  async forget(): Promise<void> {
    // A closed host has closed its storage, too.
    const another = this.#ownHost && this.#isClosed ? createHost({ storage: this.#storage }) : undefined;
    super.close();
    try {
      await forget(another ?? this.#host);
    } finally {
      await another?.close();
      this.#isClosed = true;
      await this.#ownHost?.close();
    }
  }
}
