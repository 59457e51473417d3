/** The library on Moddable without TLS, for gateways on a trusted network: some 60 KB less of flash. */

import { type DeviceOptions, type Host, Device as PortableDevice } from "../../src/index.js";
import { completeOptions } from "./config.js";
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
  readonly #own: ModdableHost | undefined;

  constructor(options?: Partial<DeviceOptions>, host?: Host) {
    const own = host ? undefined : createHost();
    super(completeOptions(options), host ?? (own as ModdableHost));
    this.#own = own;
  }

  override close(): void {
    super.close();
    this.#own?.close();
  }
}
