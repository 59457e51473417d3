/** The library on Node: the portable core, and a Device that needs no host argument. */

import type { PemOrDer } from "../../src/crypto/pem.js";
import { type DeviceOptions, Device as PortableDevice } from "../../src/device.js";
import type { Host } from "../../src/host.js";
import { checkOptions, type Rules } from "../../src/options.js";
import {
  forget,
  type ProvisionedDeviceOptions as PortableProvisionedDeviceOptions,
  provisionOptions,
} from "../../src/provisioning/provision.js";
import { createClock } from "./clock.js";
import { createHttp, type NodeHttpOptions } from "./http.js";
import { createRandom } from "./random.js";
import { createStorage } from "./storage.js";
import { createTimer } from "./timer.js";

export * from "../../src/index.js";
export { createStorage, type NodeHttpOptions, type PemOrDer };

export interface NodeHostOptions extends NodeHttpOptions {
  /** Folder for what must survive a restart; without one the host has no storage. */
  readonly storageFolder?: string;
}

const hostRules = {
  trustAnchors: "any",
  systemTrustAnchors: "boolean",
  clientCertificate: "any",
  clientKey: "any",
  lookup: "function",
  proxy: "any",
  storageFolder: "string",
} satisfies Rules<NodeHostOptions>;

/**
 * A host over Node's own modules. It has neither a native digest nor native RSA: what runs in CI is the code that runs
 * on the device.
 * @throws {IotHubError} INVALID_OPTION
 */
export function createHost(options: NodeHostOptions = {}): Host {
  checkOptions("", options, hostRules);
  return {
    http: createHttp(options),
    clock: createClock(),
    random: createRandom(),
    timer: createTimer(),
    storage: options.storageFolder === undefined ? undefined : createStorage(options.storageFolder),
  };
}

/** Options of a device whose credential is found in storage, or registered on its first start. */
export interface ProvisionedDeviceOptions extends PortableProvisionedDeviceOptions {
  /** Folder for the credential, where no host is given. */
  readonly storageFolder?: string;
}

/** A device on Node. Without a host argument it makes one, and closes its connections when it is closed. */
export class Device extends PortableDevice {
  readonly #host: Host;
  #ownHost: Host | undefined;

  /**
   * A device with the credential that is stored; where there is none, it registers one and stores it first.
   * @throws {IotHubError} what {@link provision} and the constructor throw
   */
  static async fromProvisioning(options: ProvisionedDeviceOptions, host?: Host): Promise<Device> {
    const { storageFolder, ...rest } = options;
    const used = host ?? createHost({ storageFolder });
    try {
      const device = new this(await provisionOptions(rest, used), used);
      if (host === undefined) device.#ownHost = used;
      return device;
    } catch (error) {
      if (host === undefined) used.http.close();
      throw error;
    }
  }

  constructor(options: DeviceOptions, host?: Host) {
    const used = host ?? createHost();
    super(options, used);
    this.#host = used;
    this.#ownHost = host === undefined ? used : undefined;
  }

  override close(): void {
    super.close();
    this.#ownHost?.http.close();
  }

  /**
   * Closes the device and wipes the credential that {@link Device.fromProvisioning} has stored.
   * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED
   */
  async forget(): Promise<void> {
    this.close();
    await forget(this.#host);
  }
}
