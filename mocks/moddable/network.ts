/** Environment of the sockets: names, and the behavior of connections, set by tests. */

import { abortMachine } from "./machine.js";

type Wifi = "off" | "station" | "ap" | "station+ap";

interface Network {
  /** Whether the machine is an ESP32, where the network must not be used until Wi-Fi or Ethernet is started. */
  esp32: boolean;
  /** Mode of the Wi-Fi driver of an ESP32; `off` until it is initialised. */
  wifi: Wifi;
  /** Whether an ESP32's Ethernet is up. */
  ethernet: boolean;
  /** False before `esp_netif_init`. */
  readonly isInitialized: boolean;
  /** MAC addresses of an ESP32's interfaces. */
  readonly macAddresses: Readonly<Record<"station" | "ap" | "ethernet", string>>;
  /** Addresses by name, for `Net.resolve`; includes `localhost`. Other names are not found. */
  readonly names: Map<string, string>;
  /** Names whose resolution never ends. */
  readonly silentNames: Set<string>;
  /** Whether `Net.resolve` throws, as with too many pending queries. */
  resolverFull: boolean;
  /**
   * Duration of each lookup in milliseconds, one at a time, as on ESP32 with a silent server; the name is not found.
   */
  resolveMs: number;
  /** Names looked up, in order; the number of pending lookups, and its maximum. */
  readonly resolved: string[];
  resolving: number;
  mostResolving: number;
  /** Values of `Net.get`. */
  readonly values: Map<string, string | number>;
  /** Ports to which connections are never established. */
  readonly blackHoles: Set<number>;
  /** Send buffer of a socket in bytes: 1536 on the simulator. */
  sendBuffer: number;
  /** Receive buffer of a socket in bytes. */
  receiveBuffer: number;
  /** Bytes per connection that the peer acknowledges; all further ones are never acknowledged. */
  peerWindow: number;
  /** Order of simultaneous callbacks: `onWritable` first on the simulator, `onReadable` first with lwIP. */
  writableFirst: boolean;
  /** Withholds events of TCP sockets, like a full message queue. */
  holdEvents: boolean;
  /** Number of withheld events. */
  heldEvents: number;
  /** Size of each write to a TCP socket since the restart, in bytes. */
  readonly writes: number[];
  /** Number of TCP sockets created since the restart. */
  opened: number;
  /** Number of TCP sockets that the program has not closed. */
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
