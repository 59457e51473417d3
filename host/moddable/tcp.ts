import TCP from "embedded:io/socket/tcp";
import Timer from "timer";
import { AbruptEnd, type Transport, type TransportEvents } from "./transport.js";

/** The TCP socket of ECMA-419 (clause 10, class pattern IO), as far as this host uses it. */
interface TcpSocket {
  /** Undefined if there is nothing to read. */
  read(count?: number): ArrayBuffer | undefined;
  /** Returns the bytes that may be written next; undefined after a failure. */
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

/** Bytes read at once: they stay on the heap while a record of TLS that they complete is checked. */
const READ_BYTES = 512;

/**
 * TCP over the SDK's socket. The SDK calls back from native code, where an exception ends the virtual machine and with
 * it, on a device, everything until the restart: none gets there.
 */
export class TcpTransport implements Transport {
  readonly #events: TransportEvents;
  #socket: TcpSocket | undefined;
  #isConnected = false;
  #room = 0;
  #failing: Timer | undefined;

  /**
   * @param address IPv4 address
   * @throws {Error} where the SDK has no socket
   */
  constructor(address: string, port: number, events: TransportEvents) {
    this.#events = events;
    this.#socket = new (TCP as unknown as TcpConstructor)({
      address,
      port,
      // What is written at once belongs together; its last segment must not wait for an acknowledgement.
      nodelay: true,
      onReadable: (count) => this.#guard(() => this.#onReadable(count)),
      onWritable: (count) => this.#guard(() => this.#onWritable(count)),
      // Says neither whether the peer ended or reset the connection, nor whether it ever stood.
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
      // As a failure that the return value signals.
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
      // It is of no use any more, whatever it says.
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

  /** The simulator's socket reports nothing after a write that failed. What came before may be a response. */
  #failLater(): void {
    this.#failing ??= Timer.set(() => {
      this.#failing = undefined;
      this.#guard(() => this.poll());
      this.#end(new AbruptEnd("The connection does not take any more bytes."));
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
