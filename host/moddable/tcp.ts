import TCP from "embedded:io/socket/tcp";
import Timer from "timer";
import { AbruptEnd, type Transport, type TransportEvents } from "./transport.js";

/** TCP socket of ECMA-419 (clause 10, class pattern IO), as used here. */
interface TcpSocket {
  /** Undefined if there is nothing to read. */
  read(count?: number): ArrayBuffer | undefined;
  /** Returns the number of bytes that may be written next; undefined after a failure. */
  write(bytes: Uint8Array): number | undefined;
  close(): void;
}

type TcpConstructor = new (options: {
  address: string;
  port: number;
  nodelay: boolean;
  onReadable: (count: number) => void;
  onWritable: (count: number) => void;
  onError: () => void;
}) => TcpSocket;

/** Bytes read at once: they stay on the heap while a TLS record that they complete is processed. */
const READ_BYTES = 512;

/**
 * TCP with the SDK's socket. The SDK calls back from native code, where an exception aborts the virtual machine and
 * restarts the device: all exceptions are caught.
 */
export class TcpTransport implements Transport {
  readonly #events: TransportEvents;
  #socket: TcpSocket | undefined;
  #isConnected = false;
  #room = 0;
  #failing: Timer | undefined;

  /**
   * @param address IPv4 address
   * @throws {Error} if the SDK has no free socket
   */
  constructor(address: string, port: number, events: TransportEvents) {
    this.#events = events;
    this.#socket = new (TCP as unknown as TcpConstructor)({
      address,
      port,
      // No Nagle delay: the last segment of a write must not wait for an acknowledgement.
      nodelay: true,
      onReadable: (count) => this.#guard(() => this.#onReadable(count)),
      onWritable: (count) => this.#guard(() => this.#onWritable(count)),
      // Does not tell whether the peer closed or reset the connection, or whether it was ever established.
      onError: () => this.#end(undefined),
    });
  }

  write(bytes: Uint8Array): number {
    const count = Math.min(this.#room, bytes.length);
    if (this.#socket === undefined || count === 0) return 0;
    let room: number | undefined;
    try {
      room = this.#socket.write(count === bytes.length ? bytes : bytes.subarray(0, count));
    } catch {
      // Handled like a failure signalled by the return value.
    }
    if (room === undefined) {
      this.#room = 0;
      this.#failLater();
      return 0;
    }
    this.#room = room;
    return count;
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    Timer.clear(this.#failing);
    this.#failing = undefined;
    try {
      socket?.close();
    } catch {
      // Closing anyway: ignore the error.
    }
  }

  poll(): void {
    const bytes = this.#socket?.read();
    if (bytes !== undefined) this.#events.onReadable(new Uint8Array(bytes));
  }

  #onReadable(count: number): void {
    for (let left = count; left > 0; ) {
      const bytes = this.#socket?.read(Math.min(left, READ_BYTES));
      if (bytes === undefined) return;
      left -= bytes.byteLength;
      this.#events.onReadable(new Uint8Array(bytes));
    }
  }

  #onWritable(count: number): void {
    this.#room = count;
    if (!this.#isConnected) {
      this.#isConnected = true;
      this.#events.onConnected();
    }
    if (this.#socket !== undefined) this.#events.onWritable();
  }

  /** The simulator's socket reports nothing after a failed write. Received bytes may still be a response. */
  #failLater(): void {
    this.#failing ??= Timer.set(() => {
      this.#failing = undefined;
      this.#guard(() => this.poll());
      this.#end(new AbruptEnd("Writing to the connection failed."));
    });
  }

  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#end(error);
    }
  }

  #end(error: unknown): void {
    if (this.#socket === undefined) return;
    this.close();
    try {
      this.#events.onClose(error);
    } catch {
      // The limits of the request end it.
    }
  }
}
