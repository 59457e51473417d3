/** `net`: the state of the network, and its resolver. */

import { callFromNative } from "./machine.js";
import { network } from "./network.js";

const Net = {
  get(what: string): string | number | undefined {
    return network.values.get(what);
  },

  /** Calls back later, without an address if the name is not found. */
  resolve(name: string, callback: (name: string, address?: string) => void): void {
    if (network.resolverFull) throw new Error("resolve failed");
    if (network.silentNames.has(name)) return;
    setImmediate(() => callFromNative(() => callback(name, network.names.get(name))));
  },
};

export default Net;
