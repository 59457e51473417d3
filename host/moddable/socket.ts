import Timer from "timer";

/** The TCP socket of ECMA-419 (clause 10, class pattern IO), as far as this host uses it. */
export interface TcpSocket {
  read(count: number): ArrayBuffer;
  read(into: Uint8Array): unknown;
  /** Returns the bytes that may be written next; undefined after a failure. */
  write(bytes: Uint8Array): number | undefined;
  close(): void;
}

export type TcpConstructor = new (options: {
  address: string;
  port: number;
  nodelay: boolean;
  onReadable: (count: number) => void;
  onWritable: (count: number) => void;
  onError: () => void;
}) => TcpSocket;

/** What a socket reports to the connection it serves. */
export interface SocketLink {
  /** The HTTP client has made its socket. */
  onSocket(socket: GuardedSocket): void;
  /** The TCP connection stands. */
  onConnected(): void;
  /** The request may be written: at once over plain TCP, after the handshake over TLS. */
  onSecured(): void;
  /** Plain bytes of a response have come. Throws if they are too many or nobody waits for them. */
  onReceived(count: number): void;
  /** Bytes follow a response that is complete. */
  onSurplus(): void;
  /** The first failure counts. */
  onFailure(reason: unknown): void;
  /** A response has come before the whole request was written. */
  onEarlyAnswer(): void;
  /** True while the request is being written. */
  readonly holding: boolean;
  /** True while header lines are written that the body follows. */
  readonly moreToCome: boolean;
  /** True when no byte of a response is expected any more. */
  readonly complete: boolean;
  /** In which portions the HTTP client is told of the bytes. */
  readonly framing: "line" | "byte" | "block";
  /** True until the response's first line has been delivered. */
  fresh: boolean;
}

export interface SocketOptions {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly link: SocketLink;
  readonly TCP: { readonly io: TcpConstructor };
  onReadable(count: number): void;
  onWritable(count: number): void;
  onError(): void;
}

const nothing = new Uint8Array(0);
/** More than any request has. */
const EVERYTHING = 0x7fffffff;

/** The socket does not take bytes any more. The SDK's sockets say so only by what `write` returns. */
export class WriteFailure extends Error {}

/**
 * The IO object that the HTTP client of the SDK sees in place of a socket. The SDK calls back from native code, where
 * an exception ends the virtual machine; and its HTTP client throws on responses that it does not expect, some of them
 * from timers of its own. So every callback of the socket is caught here, nothing that the client calls throws, and the
 * client is told of bytes in portions that leave it nothing to continue with from a timer.
 */
export abstract class GuardedSocket {
  readonly #options: SocketOptions;
  readonly #tcp: TcpSocket;
  #data: Uint8Array = nothing;
  #position = 0;
  /** End of what the client was told of. */
  #limit = 0;
  #numbers = false;
  #interim = false;
  #connected = false;
  #delivering = false;
  /** True once the response has come early: what is still to be written goes nowhere. */
  #discarding = false;
  #closed = false;
  #timer: Timer | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
    this.#tcp = new options.TCP.io({
      address: options.address,
      port: options.port,
      // The request is written in portions that belong together; the last must not wait for an acknowledgement.
      nodelay: true,
      onReadable: (count) => this.#guard(() => this.tcpReadable(this.#tcp, count)),
      onWritable: (count) =>
        this.#guard(() => {
          if (!this.#connected) {
            this.#connected = true;
            options.link.onConnected();
          }
          this.tcpWritable(this.#tcp, count);
        }),
      onError: () => this.#guard(() => this.tcpClosed()),
    });
    options.link.onSocket(this);
  }

  /** The socket has `count` bytes; all of them are read now. */
  protected abstract tcpReadable(tcp: TcpSocket, count: number): void;
  /** The socket takes `count` bytes. */
  protected abstract tcpWritable(tcp: TcpSocket, count: number): void;
  /** Writes bytes of the request, returns how many more may be written. */
  protected abstract send(tcp: TcpSocket, bytes: Uint8Array): number;
  /** Before the socket is closed from this side. */
  protected farewell(_tcp: TcpSocket): void {}

  /** The peer closed or reset the connection, or it never stood: the SDK does not tell which. */
  protected tcpClosed(): void {
    this.fail(undefined);
  }

  protected get link(): SocketLink {
    return this.#options.link;
  }

  protected get closed(): boolean {
    return this.#closed;
  }

  /** Tells the HTTP client that it may write. */
  protected ready(count: number): void {
    this.#options.onWritable(count);
  }

  /** Plain bytes of the response, in a buffer that nobody else uses. */
  protected feed(bytes: Uint8Array): void {
    this.link.onReceived(bytes.length);
    if (this.#position === this.#data.length) {
      this.#data = bytes;
    } else {
      const joined = new Uint8Array(this.#data.length - this.#position + bytes.length);
      joined.set(this.#data.subarray(this.#position));
      joined.set(bytes, joined.length - bytes.length);
      this.#data = joined;
    }
    this.#position = 0;
    this.#deliver();
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      const link = this.link;
      while (!this.#closed && this.#position < this.#data.length) {
        if (link.complete) {
          this.#data = nothing;
          this.#position = 0;
          link.onSurplus();
          return;
        }
        let end = this.#data.length;
        if (link.framing === "byte") {
          end = this.#position + 1;
        } else if (link.framing === "line") {
          // Whole lines only; the connection limits how long one can be.
          end = this.#data.indexOf(10, this.#position) + 1;
          if (end === 0) return;
          if (link.fresh && this.#isInterim(end)) {
            this.#position = end;
            continue;
          }
        }
        if (link.holding) {
          // RFC 9112 section 9.5: a client that gets a response before it has written its request stops writing. The
          // client of the SDK takes no response before it has written everything.
          this.#discarding = true;
          link.onEarlyAnswer();
          this.#options.onWritable(EVERYTHING);
          if (link.holding) throw new Error("the response came before the request was written");
        }
        this.#limit = end;
        const before = this.#position;
        this.#options.onReadable(end - before);
        // The client leaves bytes only where the response ends before them.
        if (this.#position === before && !this.#closed && !link.complete) throw new Error("response not understood");
      }
    } finally {
      this.#delivering = false;
    }
  }

  /** Whether this line belongs to an interim response (RFC 9110 section 15.2), which the client takes for the response. */
  #isInterim(end: number): boolean {
    const data = this.#data;
    const start = this.#position;
    if (this.#interim) {
      this.#interim = end - start > 2;
      return true;
    }
    // "HTTP/1.1 1xx", but for 101, after which no HTTP follows.
    this.#interim =
      end - start > 12 &&
      data[start + 8] === 0x20 &&
      data[start + 9] === 0x31 &&
      (data[start + 10] !== 0x30 || data[start + 11] !== 0x31);
    if (!this.#interim) this.link.fresh = false;
    return this.#interim;
  }

  #guard(callback: () => void): void {
    if (this.#closed) return;
    try {
      callback();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Never from within a call of the HTTP client. */
  protected fail(reason: unknown): void {
    if (this.#closed) return;
    this.link.onFailure(reason instanceof WriteFailure ? undefined : reason);
    this.close();
    try {
      this.#options.onError();
    } catch (error) {
      this.link.onFailure(error);
    }
  }

  get format(): "number" | "buffer" {
    return this.#numbers ? "number" : "buffer";
  }

  set format(format: "number" | "buffer") {
    this.#numbers = format === "number";
  }

  read(target?: number | Uint8Array | ArrayBuffer): number | ArrayBuffer | undefined {
    const rest = this.#limit - this.#position;
    if (rest <= 0) return undefined;
    if (this.#numbers) return this.#data[this.#position++];
    const start = this.#position;
    if (typeof target === "object") {
      const into = target instanceof Uint8Array ? target : new Uint8Array(target);
      const count = Math.min(into.length, rest);
      into.set(this.#data.subarray(start, start + count));
      this.#position += count;
      return count;
    }
    this.#position += Math.min(target ?? rest, rest);
    return this.#data.slice(start, this.#position).buffer as ArrayBuffer;
  }

  write(data: Uint8Array | ArrayBuffer): number {
    if (this.#discarding) return EVERYTHING;
    if (this.#closed) return 0;
    try {
      return this.send(this.#tcp, data instanceof Uint8Array ? data : new Uint8Array(data));
    } catch (error) {
      this.#timer ??= Timer.set(() => {
        this.#timer = undefined;
        this.fail(error);
      });
      return 0;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    Timer.clear(this.#timer);
    this.#timer = undefined;
    this.#data = nothing;
    this.#position = this.#limit = 0;
    try {
      this.farewell(this.#tcp);
    } catch {
      // The peer may be gone; closing must not fail for it.
    }
    try {
      this.#tcp.close();
    } catch (error) {
      this.link.onFailure(error);
    }
  }
}

/** HTTP over TCP alone. */
export class PlainSocket extends GuardedSocket {
  #secured = false;

  protected override tcpReadable(tcp: TcpSocket, count: number): void {
    this.feed(new Uint8Array(tcp.read(count)));
  }

  protected override tcpWritable(_tcp: TcpSocket, count: number): void {
    if (!this.#secured) {
      this.#secured = true;
      this.link.onSecured();
    }
    this.ready(count);
  }

  protected override send(tcp: TcpSocket, bytes: Uint8Array): number {
    const room = tcp.write(bytes);
    if (room === undefined) throw new WriteFailure();
    return room;
  }
}
