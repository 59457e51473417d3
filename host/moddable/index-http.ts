/** The library on Moddable without TLS, for gateways on a trusted network: 78 KB of bytecode less. */

import { checkOptions } from "../../src/options.js";
import { HostDevice } from "./device.js";
import { createHostWith, type HttpHostOptions, httpHostRules, type ModdableHost } from "./host.js";

export * from "../../src/index.js";
export { ModdableClock } from "./clock.js";
export { readSettings } from "./config.js";
export { KeyValueStorage } from "./storage.js";
export type { HttpHostOptions, ModdableHost };

/**
 * Creates a host based on the Moddable SDK, without TLS.
 * @throws {IotHubError} INVALID_OPTION if an option is unknown or invalid
 * @example
 *   const host = createHost({ addresses: { "gateway.local": "192.168.1.10" } });
 *   const device = new Device(
 *     { productId: "ABCDE12345", deviceName: "sensor1", credential: { secret: psk }, url: "http://gateway.local:8080" },
 *     host,
 *   );
 */
export function createHost(options: HttpHostOptions = {}): ModdableHost {
  checkOptions("", options, httpHostRules);
  return createHostWith(options, () => ({}));
}

/**
 * A device. Missing options are read from the firmware's settings; without a host argument it creates one with {@link
 * createHost}.
 */
export class Device extends HostDevice {
  static override createHost(): ModdableHost {
    return createHost();
  }
}
