/** The library on Moddable without TLS, for gateways on a trusted network: some 60 KB less of flash. */

import {
  type DeviceOptions,
  forget,
  type Host,
  Device as PortableDevice,
  type ProvisionedDeviceOptions,
  provisionOptions,
} from "../../src/index.js";
import { completeOptions, completeProvisioning } from "./config.js";
import { assembleHost, type ModdableHost, type PlainHostOptions } from "./host.js";

export * from "../../src/index.js";
export { ModdableClock } from "./clock.js";
export { readSettings } from "./config.js";
export type { ModdableHost, PlainHostOptions };

export function createHost(options: PlainHostOptions = {}): ModdableHost {
  return assembleHost(options, () => ({}));
}

/** A device; what its options leave out comes from the firmware's settings, a host from {@link createHost}. */
export class Device extends PortableDevice {
  readonly #host: Host;
  #own: ModdableHost | undefined;

  /**
   * A device with the credential that is stored; where there is none, it registers one and stores it first. What the
   * options leave out comes from the firmware's settings.
   * @throws {IotHubError} what `provision` and the constructor throw
   */
  static async fromProvisioning(options?: Partial<ProvisionedDeviceOptions>, host?: Host): Promise<Device> {
    const own = host ? undefined : createHost();
    const used = host ?? (own as ModdableHost);
    try {
      const device = new this(await provisionOptions(completeProvisioning(options), used), used);
      device.#own = own;
      return device;
    } catch (error) {
      own?.close();
      throw error;
    }
  }

  constructor(options?: Partial<DeviceOptions>, host?: Host) {
    const own = host ? undefined : createHost();
    const used = host ?? (own as ModdableHost);
    super(completeOptions(options), used);
    this.#host = used;
    this.#own = own;
  }

  override close(): void {
    super.close();
    this.#own?.close();
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
