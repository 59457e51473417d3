/** What surrounds the sockets: names, and connections that do what a test wants of them. */

interface Network {
  /** Addresses by name, for `Net.resolve`; `localhost` is known. A name that is not there is not found. */
  readonly names: Map<string, string>;
  /** Names whose resolution never ends. */
  readonly silentNames: Set<string>;
  /** `Net.resolve` throws, as it does when too many queries are under way. */
  resolverFull: boolean;
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
  /** TCP sockets made since the restart. */
  opened: number;
  /** TCP sockets that the program has not closed. */
  open: number;
}

export const network: Network = {
  names: new Map(),
  silentNames: new Set(),
  resolverFull: false,
  values: new Map(),
  blackHoles: new Set(),
  sendBuffer: 0,
  receiveBuffer: 0,
  peerWindow: 0,
  writableFirst: true,
  opened: 0,
  open: 0,
};

export function resetNetwork(): void {
  for (const part of [network.names, network.silentNames, network.values, network.blackHoles]) part.clear();
  network.names.set("localhost", "127.0.0.1");
  network.values.set("MAC", "24:0a:c4:00:01:10");
  network.values.set("IP", "127.0.0.1");
  network.resolverFull = false;
  network.sendBuffer = network.receiveBuffer = 1536;
  network.peerWindow = Number.POSITIVE_INFINITY;
  network.writableFirst = true;
  network.opened = network.open = 0;
}

resetNetwork();
