/** The library on Moddable without TLS, for gateways on a trusted network: 78 KB of bytecode less. */

import { checkOptions } from "../../src/options.js";
import { HostedDevice } from "./device.js";
import { assembleHost, type ModdableHost, type PlainHostOptions, plainHostRules } from "./host.js";

export * from "../../src/index.js";
export { ModdableClock } from "./clock.js";
export { readSettings } from "./config.js";
export { KeyValueStorage } from "./storage.js";
export type { ModdableHost, PlainHostOptions };

/** @throws {IotHubError} INVALID_OPTION */
export function createHost(options: PlainHostOptions = {}): ModdableHost {
  checkOptions("", options, plainHostRules);
  return assembleHost(options, () => ({}));
}

/** A device; what its options leave out comes from the firmware's settings, a host from {@link createHost}. */
export class Device extends HostedDevice {
  static override createHost(): ModdableHost {
    return createHost();
  }
}
