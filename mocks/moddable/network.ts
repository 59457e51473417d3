/** What surrounds the sockets: names, and connections that do what a test wants of them. */

import { abortMachine } from "./machine.js";

type Wifi = "off" | "station" | "ap" | "station+ap";

interface Network {
  /** The machine is an ESP32: until Wi-Fi or Ethernet is started, the network must not be touched. */
  esp32: boolean;
  /** Mode of the Wi-Fi driver of an ESP32; `off` until it is initialised. */
  wifi: Wifi;
  /** True once an ESP32's Ethernet is up. */
  ethernet: boolean;
  /** False before `esp_netif_init`. */
  readonly isInitialized: boolean;
  /** MAC addresses of an ESP32's interfaces. */
  readonly macAddresses: Readonly<Record<"station" | "ap" | "ethernet", string>>;
  /** Addresses by name, for `Net.resolve`; `localhost` is known. A name that is not there is not found. */
  readonly names: Map<string, string>;
  /** Names whose resolution never ends. */
  readonly silentNames: Set<string>;
  /** `Net.resolve` throws, as it does when too many queries are pending. */
  resolverFull: boolean;
  /** Milliseconds that each name takes, one after the other, as on ESP32 where a server is silent; then it is not found. */
  resolveMs: number;
  /** Names that were asked for, in order; how many are being asked for, and how many were at most. */
  readonly resolved: string[];
  resolving: number;
  mostResolving: number;
  /** What `Net.get` tells. */
  readonly values: Map<string, string | number>;
  /** Ports to which connections are never established. */
  readonly blackHoles: Set<number>;
  /** Bytes that a socket takes before it must wait for acknowledgements: 1536 on the simulator. */
  sendBuffer: number;
  /** Bytes that a socket holds for its reader. */
  receiveBuffer: number;
  /** Bytes of one connection that the peer takes; what follows is never acknowledged. */
  peerWindow: number;
  /** Order of callbacks that come together: the simulator calls for writing first, lwIP for reading. */
  writableFirst: boolean;
  /** Keeps events of TCP sockets back, as a full message queue does. */
  holdEvents: boolean;
  /** Events that were kept back. */
  heldEvents: number;
  /** Bytes of each write to a TCP socket since the restart. */
  readonly writes: number[];
  /** TCP sockets made since the restart. */
  opened: number;
  /** TCP sockets that the program has not closed. */
  open: number;
}

export const network: Network = {
  esp32: false,
  wifi: "off",
  ethernet: false,
  get isInitialized() {
    return !this.esp32 || this.wifi !== "off" || this.ethernet;
  },
  macAddresses: { station: "24:0A:C4:00:01:20", ap: "24:0A:C4:00:01:21", ethernet: "24:0A:C4:00:01:23" },
  names: new Map(),
  silentNames: new Set(),
  resolverFull: false,
  resolveMs: 0,
  resolved: [],
  resolving: 0,
  mostResolving: 0,
  values: new Map(),
  blackHoles: new Set(),
  sendBuffer: 0,
  receiveBuffer: 0,
  peerWindow: 0,
  writableFirst: true,
  holdEvents: false,
  heldEvents: 0,
  writes: [],
  opened: 0,
  open: 0,
};

export function resetNetwork(): void {
  for (const part of [network.names, network.silentNames, network.values, network.blackHoles]) part.clear();
  network.names.set("localhost", "127.0.0.1");
  network.values.set("MAC", "24:0a:c4:00:01:10");
  network.values.set("IP", "127.0.0.1");
  network.esp32 = network.ethernet = false;
  network.wifi = "off";
  network.resolverFull = false;
  network.resolveMs = network.resolving = network.mostResolving = 0;
  network.resolved.length = 0;
  network.sendBuffer = network.receiveBuffer = 1536;
  network.peerWindow = Number.POSITIVE_INFINITY;
  network.writableFirst = true;
  network.holdEvents = false;
  network.heldEvents = 0;
  network.writes.length = 0;
  network.opened = network.open = 0;
}

resetNetwork();

/** For sockets: on an ESP32, lwIP asserts that its thread runs. */
export function checkInitialized(): void {
  if (!network.isInitialized) abortMachine("assert failed: tcpip_api_call (Invalid mbox)");
}
