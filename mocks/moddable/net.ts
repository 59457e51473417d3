/** `net`: the state of the network, and its resolver. */

import { abortMachine, clock } from "./machine.js";
import { network } from "./network.js";

type Interface = "station" | "ap" | "ethernet";

const Net = {
  /** Returns undefined if the value is not available on the platform or in the network's state. */
  get(property: string, interfaceName?: string): string | number | string[] | undefined {
    return network.esp32 ? getOnEsp32(property, interfaceName) : network.values.get(property);
  },

  /** Calls back later; without an address if the name is not found. */
  resolve(name: string, callback: (name: string, address?: string) => void): void {
    if (network.resolverFull) throw new Error("resolve failed");
    if (network.silentNames.has(name)) return;
    network.resolved.push(name);
    network.mostResolving = Math.max(network.mostResolving, ++network.resolving);
    // lwIP finds no name without a DNS server, or before it is initialized.
    const address = network.isInitialized ? network.names.get(name) : undefined;
    const delayMs = network.resolveMs * network.resolving;
    clock.schedule(() => {
      network.resolving--;
      callback(name, address);
    }, delayMs);
  },
};

/** Behaves like the SDK's `modNet.c`. */
function getOnEsp32(property: string, interfaceName?: string): string | number | string[] | undefined {
  const { wifi } = network;
  switch (property) {
    case "IP":
    case "MAC": {
      const found = findInterface(interfaceName);
      if (found === undefined) return undefined;
      return property === "IP" ? network.values.get("IP") : network.macAddresses[found];
    }
    case "DNS":
      return network.isInitialized ? ["192.168.1.1"] : [];
    case "CHANNEL":
      return wifi === "off" ? undefined : 6;
    default:
      return wifi === "station" || wifi === "station+ap" ? network.values.get(property) : undefined;
  }
}

function findInterface(name?: string): Interface | undefined {
  const { wifi } = network;
  if (wifi === "off" || name === "ethernet") {
    // Without Wi-Fi, the SDK queries Ethernet for every property.
    if (!network.isInitialized)
      return abortMachine("assert failed: esp_netif_get_handle_from_ifkey before esp_netif_init");
    return network.ethernet ? "ethernet" : undefined;
  }
  const [isStation, isAp] = [wifi.includes("station"), wifi.includes("ap")];
  if (name === "station") return isStation ? "station" : undefined;
  if (name === "ap") return isAp ? "ap" : undefined;
  return isStation && isAp ? undefined : isStation ? "station" : "ap";
}

export default Net;
