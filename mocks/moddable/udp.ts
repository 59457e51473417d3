/** `embedded:io/socket/udp`: ECMA-419's UDP socket over a real one. */

import dgram from "node:dgram";
import { isIPv4 } from "node:net";
import { callFromNative } from "./machine.js";
import { checkInitialized } from "./network.js";

interface UdpOptions {
  readonly port?: number;
  readonly onReadable?: (this: UDP, packets: number) => void;
}

const MAX_PACKETS = 100;

export default class UDP {
  #socket: dgram.Socket | undefined;
  readonly #packets: (ArrayBuffer & { address: string; port: number })[] = [];

  constructor(options: UdpOptions) {
    checkInitialized();
    const { port = 0, onReadable } = options;
    this.#socket = dgram
      .createSocket("udp4")
      // The SDK's socket does not report ICMP errors.
      .on("error", () => {})
      .on("message", (bytes, from) => {
        const packet = Object.assign(Uint8Array.from(bytes).buffer, { address: from.address, port: from.port });
        if (this.#packets.push(packet) > MAX_PACKETS) this.#packets.shift();
        setImmediate(() => {
          if (this.#socket) callFromNative(() => onReadable?.call(this, this.#packets.length));
        });
      })
      .bind(port);
  }

  /** Returns the oldest packet, or undefined. */
  read(): (ArrayBuffer & { address: string; port: number }) | undefined {
    this.#check();
    return this.#packets.shift();
  }

  write(data: ArrayBuffer | Uint8Array, address: string, port: number): void {
    const socket = this.#check();
    if (!isIPv4(address) || !(port > 0 && port < 65536)) throw new Error("sendto failed");
    socket.send(Buffer.from(data instanceof Uint8Array ? data : new Uint8Array(data)), port, address, () => {});
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #check(): dgram.Socket {
    if (!this.#socket) throw new Error("invalid: the socket is closed");
    return this.#socket;
  }
}
