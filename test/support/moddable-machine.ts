/** The Moddable host under jest: a simulated device for each test, and hosts on it. */

import { readdirSync, readFileSync } from "node:fs";
import { afterAll, afterEach, beforeEach, expect } from "@jest/globals";
import type { HttpHostOptions, ModdableHost } from "../../host/moddable/host.js";
import { createHost, type ModdableHostOptions } from "../../host/moddable/index.js";
import { createHost as createHttpHost } from "../../host/moddable/index-http.js";
import { aborts, flash, network, removeGlobals, resources, restart, turn } from "../../mocks/moddable/index.js";

export {
  aborts,
  board,
  clock,
  config,
  Digest,
  flash,
  network,
  RSA,
  restart,
  turn,
  until,
} from "../../mocks/moddable/index.js";

const hosts: ModdableHost[] = [];

/**
 * A host on the simulated device, closed after the test. The modules of the SDK are replaced by the transform in
 * jest.config.mjs; {@link useMachine} belongs at the top of the test file.
 */
export function createModdableHost(options: ModdableHostOptions = {}): ModdableHost {
  const host = createHost(options);
  hosts.push(host);
  return host;
}

/** The same for the build without TLS. */
export function createHttpModdableHost(options: HttpHostOptions = {}): ModdableHost {
  const host = createHttpHost(options);
  hosts.push(host);
  return host;
}

// Resources that the manifest adds to the firmware.
const anchors = new URL("../../host/moddable/anchors/", import.meta.url);
for (const name of readdirSync(anchors)) {
  resources.set(name, readFileSync(new URL(name, anchors)));
}

/** Each test of the file starts with a new device, and fails if the virtual machine was aborted. */
export function useMachine(): void {
  beforeEach(() => {
    restart();
    flash.clear();
  });
  afterEach(async () => {
    for (const host of hosts.splice(0)) host.close();
    await turn();
    const [aborted, left] = [[...aborts], network.open];
    restart();
    expect(aborted).toEqual([]);
    // On a device, a socket that is never closed is leaked.
    expect(left).toBe(0);
  });
  afterAll(removeGlobals);
}
