import { type DeviceOptions, Device as PortableDevice } from "../../src/device.js";
import type { Host } from "../../src/host.js";
import { forget, type ProvisionedDeviceOptions, provisionOptions } from "../../src/provisioning/provision.js";
import { completeOptions, completeProvisioning } from "./config.js";
import type { ModdableHost } from "./host.js";

/** A device that completes its options with the firmware's settings, and creates a host if none is passed. */
export abstract class HostDevice extends PortableDevice {
  /** Creates the default host of a device. */
  static createHost(): ModdableHost {
    throw new Error("The device needs a host.");
  }

  readonly #host: Host;
  #own: ModdableHost | undefined;
  #isClosed = false;

  /**
   * Creates a device with the stored credential or, if there is none, registers it and stores the credential first.
   * Missing options are read from the firmware's settings.
   * @param host the device does not close it @default a new host, which the device closes
   * @throws {IotHubError} the errors of `provision` and of the constructor
   * @example
   *   const device = await Device.fromProvisioning({ productId: "ABCDE12345", productSecret });
   */
  static async fromProvisioning(options?: Partial<ProvisionedDeviceOptions>, host?: Host): Promise<HostDevice> {
    // biome-ignore-start lint/complexity/noThisInStatic: the subclass that is called makes the host and the device
    const own = host ? undefined : this.createHost();
    const used = host ?? (own as ModdableHost);
    try {
      const device = new (this as unknown as new (options: Partial<DeviceOptions>, host: Host) => HostDevice)(
        await provisionOptions(completeProvisioning(options), used),
        used,
      );
      // biome-ignore-end lint/complexity/noThisInStatic: see above
      device.#own = own;
      return device;
    } catch (error) {
      own?.close();
      throw error;
    }
  }

  /**
   * Creates a device. Sends nothing yet. Missing options are read from the firmware's settings.
   * @param host the device does not close it @default a new host, which the device closes
   * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_REGION, INVALID_URL, INVALID_LOG_LEVEL,
   * INVALID_OPTION; INVALID_CREDENTIAL, also if there is neither a credential nor a PSK; for a private key
   * KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED, KEY_SIZE, KEY_INCONSISTENT; for the heartbeat's topic
   * INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG
   * @example
   *   const device = new Device({ productId: "ABCDE12345", deviceName: "sensor1", credential: { secret: psk } });
   *   await device.publish({ topic: "data", payload: { temperature: 21.5 } });
   */
  constructor(options?: Partial<DeviceOptions>, host?: Host) {
    const own = host ? undefined : new.target.createHost();
    const used = host ?? (own as ModdableHost);
    super(completeOptions(options), used);
    this.#host = used;
    this.#own = own;
  }

  override close(): void {
    super.close();
    this.#isClosed = true;
    this.#own?.close();
  }

  /**
   * Closes the device and deletes the credential stored by {@link Device.fromProvisioning} and a stored TLS session.
   * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED; STORAGE_FULL, STORAGE_STOPPED if
   * the storage could not be opened
   */
  async forget(): Promise<void> {
    // A closed host has closed its storage, too.
    const another = this.#own && this.#isClosed ? (this.constructor as typeof HostDevice).createHost() : undefined;
    super.close();
    try {
      const host = another ?? this.#host;
      await forget(host);
      await (host as Partial<ModdableHost>).forget?.();
    } finally {
      another?.close();
      this.close();
    }
  }
}
