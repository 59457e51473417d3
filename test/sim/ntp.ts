/** A time server on loopback (RFC 4330, the server's side). */
import { createSocket, type RemoteInfo } from "node:dgram";
import { once } from "node:events";

const EPOCH_SECONDS = 2208988800;

export type NtpFault = "silent" | "unsynchronized" | "kiss-of-death" | "stranger" | "short" | "zero";

export class NtpServer {
  readonly #socket = createSocket("udp4");
  /** The time that it tells, milliseconds since 1970. */
  now: () => number = Date.now;
  fault: NtpFault | undefined;
  requests = 0;

  async open(): Promise<string> {
    this.#socket.on("message", (message, sender) => this.#reply(message, sender));
    this.#socket.bind(0, "127.0.0.1");
    await once(this.#socket, "listening");
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await once(this.#socket, "close");
  }

  #reply(request: Buffer, { address, port }: RemoteInfo): void {
    this.requests++;
    if (this.fault === "silent") return;
    const reply = Buffer.alloc(this.fault === "short" ? 20 : 48);
    reply[0] = (this.fault === "unsynchronized" ? 3 << 6 : 0) | (4 << 3) | 4;
    reply[1] = this.fault === "kiss-of-death" ? 0 : 2;
    if (reply.length === 48) {
      request.copy(reply, 24, 40, 48);
      if (this.fault === "stranger") reply[24] ^= 1;
      const timeMs = this.now();
      if (this.fault !== "zero") {
        // The seconds wrap in 2036, as they do in the protocol.
        reply.writeUInt32BE((Math.floor(timeMs / 1000) + EPOCH_SECONDS) % 2 ** 32, 40);
        reply.writeUInt32BE(Math.floor(((timeMs % 1000) / 1000) * 2 ** 32), 44);
      }
    }
    this.#socket.send(reply, port, address);
  }
}
