/** The library on Node: the portable core, and a Device that needs no host argument. */

import { type DeviceOptions, Device as PortableDevice } from "../../src/device.js";
import type { Host } from "../../src/host.js";
import { createClock } from "./clock.js";
import { createHttp, type NodeHttpOptions } from "./http.js";
import { createRandom } from "./random.js";
import { createStorage } from "./storage.js";
import { createTimer } from "./timer.js";

export * from "../../src/index.js";
export { createStorage, type NodeHttpOptions };

export interface NodeHostOptions extends NodeHttpOptions {
  /** Folder for what must survive a restart; without one the host has no storage. */
  readonly storageFolder?: string;
}

/**
 * A host over Node's own modules. It has neither a native digest nor native RSA: what runs in CI is the code that runs
 * on the device.
 * @throws {IotHubError} INVALID_OPTION
 */
export function createHost(options: NodeHostOptions = {}): Host {
  return {
    http: createHttp(options),
    clock: createClock(),
    random: createRandom(),
    timer: createTimer(),
    storage: options.storageFolder === undefined ? undefined : createStorage(options.storageFolder),
  };
}

/** A device on Node. Without a host argument it makes one, and closes its connections when it is closed. */
export class Device extends PortableDevice {
  readonly #ownHost: Host | undefined;

  constructor(options: DeviceOptions, host?: Host) {
    const used = host ?? createHost();
    super(options, used);
    this.#ownHost = host === undefined ? used : undefined;
  }

  override close(): void {
    super.close();
    this.#ownHost?.http.close();
  }
}
