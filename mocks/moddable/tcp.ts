/** `embedded:io/socket/tcp`: ECMA-419's TCP socket over a real one. */

import net from "node:net";
import { callFromNative } from "./machine.js";
import { checkInitialized, network } from "./network.js";

interface TcpOptions {
  readonly address: string;
  readonly port: number;
  readonly nodelay?: boolean;
  readonly format?: "number" | "buffer";
  readonly onReadable?: (this: TCP, count: number) => void;
  readonly onWritable?: (this: TCP, count: number) => void;
  readonly onError?: (this: TCP) => void;
}

/**
 * Reproduces the SDK's pitfalls: callbacks are asynchronous and sequential, never within a call; `onError` has no
 * details, is called once, and only after everything received was read; a write that exceeds the room throws; after
 * `close`, every call except `close` throws.
 */
export default class TCP {
  #socket: net.Socket | undefined;
  readonly #options: TcpOptions;
  #format: "number" | "buffer";
  /** Received bytes that the program can read: those within the receive buffer. */
  #readable: Buffer = Buffer.alloc(0);
  /** Received bytes waiting for room in the receive buffer. */
  #backlog: Buffer = Buffer.alloc(0);
  #connected = false;
  #ended = false;
  #failed = false;
  #sent = 0;
  #unacknowledged = 0;
  #due = { readable: false, writable: false, error: false };
  #delivery: NodeJS.Immediate | undefined;

  constructor(options: TcpOptions) {
    const { address, port, format = "buffer", nodelay } = options;
    if (!net.isIPv4(address)) throw new Error("invalid address");
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new RangeError("invalid port");
    checkInitialized();
    this.#options = options;
    this.#format = checkFormat(format);
    network.opened++;
    network.open++;
    this.#socket = new net.Socket({ allowHalfOpen: true }).setNoDelay(nodelay === true);
    if (network.blackHoles.has(port)) return;
    this.#socket
      .on("connect", () => {
        this.#connected = true;
        this.#trigger("writable");
      })
      .on("data", (bytes) => {
        this.#backlog = Buffer.concat([this.#backlog, bytes]);
        this.#fill();
      })
      .on("end", () => this.#end())
      .on("error", () => this.#end())
      .connect({ host: address, port });
  }

  read(target?: number | ArrayBufferLike | ArrayBufferView): ArrayBuffer | number | undefined {
    this.#check();
    if (this.#readable.length === 0) return undefined;
    if (this.#format === "number") return this.#take(1)[0];
    if (typeof target === "object") {
      const into = bytesOf(target);
      into.set(this.#take(into.length));
      return into.length;
    }
    const bytes = this.#take(target ?? this.#readable.length);
    return Uint8Array.from(bytes).buffer;
  }

  write(data: number | ArrayBufferLike | ArrayBufferView): number | undefined {
    const socket = this.#check();
    if (this.#ended) return undefined;
    if (!this.#connected) throw new Error("not ready");
    const bytes = Buffer.from(typeof data === "number" ? [data] : bytesOf(data));
    if (bytes.length > this.#writable) throw new Error("would block");
    network.writes.push(bytes.length);
    this.#unacknowledged += bytes.length;
    const count = Math.max(0, Math.min(bytes.length, network.peerWindow - this.#sent));
    this.#sent += bytes.length;
    if (count > 0) {
      socket.write(bytes.subarray(0, count), (error) => {
        if (error) return;
        this.#unacknowledged -= count;
        this.#trigger("writable");
      });
    }
    return this.#writable;
  }

  close(): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    network.open--;
    clearImmediate(this.#delivery);
    // Written bytes are still sent, like those in a kernel's buffer.
    if (this.#connected && !this.#ended) socket.destroySoon();
    else socket.destroy();
  }

  get remoteAddress(): string | undefined {
    return this.#check().remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#check().remotePort;
  }

  get format(): "number" | "buffer" {
    this.#check();
    return this.#format;
  }

  set format(format: "number" | "buffer") {
    this.#check();
    this.#format = checkFormat(format);
  }

  get #writable(): number {
    return Math.max(0, network.sendBuffer - this.#unacknowledged);
  }

  #check(): net.Socket {
    if (!this.#socket) throw new Error("invalid: the socket is closed");
    return this.#socket;
  }

  #take(count: number): Buffer {
    if (!(count > 0 && count <= this.#readable.length)) throw new Error("invalid");
    const bytes = this.#readable.subarray(0, count);
    this.#readable = this.#readable.subarray(count);
    this.#fill();
    return bytes;
  }

  #fill(): void {
    const room = network.receiveBuffer - this.#readable.length;
    if (room > 0 && this.#backlog.length > 0) {
      this.#readable = Buffer.concat([this.#readable, this.#backlog.subarray(0, room)]);
      this.#backlog = this.#backlog.subarray(room);
      this.#trigger("readable");
    }
    if (this.#backlog.length > 0) this.#socket?.pause();
    else this.#socket?.resume();
    if (this.#ended && this.#readable.length === 0) this.#trigger("error");
  }

  #end(): void {
    this.#ended = true;
    this.#fill();
  }

  #trigger(what: "readable" | "writable" | "error"): void {
    if (this.#failed) return;
    this.#due[what] = true;
    this.#delivery ??= setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#delivery = undefined;
    if (network.holdEvents) {
      network.heldEvents++;
      return;
    }
    const due = this.#due;
    this.#due = { readable: false, writable: false, error: false };
    const { onReadable, onWritable, onError } = this.#options;
    const readable = () => {
      const count = this.#readable.length;
      if (this.#socket && due.readable && count > 0) callFromNative(() => onReadable?.call(this, count));
    };
    const writable = () => {
      const count = this.#writable;
      if (this.#socket && due.writable && count > 0 && !this.#ended) {
        callFromNative(() => onWritable?.call(this, count));
      }
    };
    for (const call of network.writableFirst ? [writable, readable] : [readable, writable]) call();
    if (this.#socket && due.error && !this.#failed) {
      this.#failed = true;
      callFromNative(() => onError?.call(this));
    }
  }
}

function checkFormat(format: "number" | "buffer"): "number" | "buffer" {
  if (format !== "number" && format !== "buffer") throw new RangeError("unimplemented");
  return format;
}

function bytesOf(data: ArrayBufferLike | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data as ArrayBuffer);
}
