/** The library on Node: the portable core, and a Device that needs no host argument. */

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
   * What must survive a restart: a folder for a {@link createStorage}, or a storage of the app's, which the app closes.
   * @default none
   */
  readonly storage?: Storage | string;
  /**
   * Whether node:crypto hashes and signs, which suits a program that publishes much. Otherwise the code runs that runs on
   * a device.
   * @default false
   */
  readonly native?: boolean;
}

/** A host over Node's own modules. */
export interface NodeHost extends Host {
  /** Closes connections, and gives the storage's folder back; resolves when another process can have it. */
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
 * A host over Node's own modules. Unless `native` is set it has neither a native digest nor native RSA: what runs in CI is
 * the code that runs on the device.
 * @throws {IotHubError} INVALID_OPTION
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
  throw new IotHubError("INVALID_OPTION", "storage must be a folder or a storage.");
}

/** Options of a device whose credential is found in storage, or registered on its first start. */
export interface ProvisionedDeviceOptions extends PortableProvisionedDeviceOptions {
  /** What keeps the credential, where no host is given: see {@link NodeHostOptions}. */
  readonly storage?: Storage | string;
}

/** A device on Node. Without a host argument it makes one, and closes it when it is closed. */
export class Device extends PortableDevice {
  readonly #host: Host;
  #ownHost: NodeHost | undefined;
  #storage: Storage | string | undefined;
  #isClosed = false;

  /**
   * A device with the credential that is stored; where there is none, it registers one and stores it first.
   * @throws {IotHubError} what {@link provision} and the constructor throw
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
   * Closes the device and wipes the credential that {@link Device.fromProvisioning} has stored.
   * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED
   */
  async forget(): Promise<void> {
    // The storage of a host that was closed has been closed with it.
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
