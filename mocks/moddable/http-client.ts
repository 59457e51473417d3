/**
 * `embedded:network/http/client`: the HTTP client of ECMA-419 clause 15 as the SDK has it, its temper included. It
 * reads lines byte by byte through the socket's format, knows one framing at a time, reports failures as an Error
 * without a word, and throws into the socket's callback where an answer is not what it expects.
 */

import Timer from "./timer.js";

interface Socket {
  format: "number" | "buffer";
  read(target?: number | Uint8Array): number | ArrayBuffer | undefined;
  write(data: Uint8Array): number;
  close(): void;
}

type Constructor<T> = new (options: object) => T;

interface ClientOptions {
  readonly host: string;
  readonly port?: number;
  readonly socket: { readonly io: Constructor<Socket> };
  readonly dns: { readonly io: Constructor<{ resolve(query: object): void }> };
  readonly onError?: (error?: unknown) => void;
}

interface RequestOptions {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Map<string, string>;
  readonly onHeaders?: (this: Request, status: number, headers: Map<string, string>, text: string) => void;
  readonly onWritable?: (this: Request, count: number) => void;
  readonly onReadable?: (this: Request, count: number) => void;
  readonly onDone?: (this: Request, error: Error | null) => void;
}

type State =
  | "opening"
  | "idle"
  | "writing head"
  | "writing body"
  | "status"
  | "headers"
  | "body"
  | "chunk size"
  | "chunk"
  | "trailer"
  | "received"
  | "failed"
  | "closed";

interface Request {
  read(target?: number | Uint8Array): ArrayBuffer | number | undefined;
  write(data?: Uint8Array): number;
}

interface Entry {
  readonly options: RequestOptions;
  readonly handle: Request;
}

export default class HTTPClient {
  readonly #host: string;
  readonly #onError: ClientOptions["onError"];
  #socket: Socket | undefined;
  #state: State = "opening";
  readonly #queue: Entry[] = [];
  #current: Entry | undefined;
  #writable = 0;
  #readable = 0;
  /** What of the request's head is not written yet, header by header. */
  #head: Uint8Array[] = [];
  #bodyLeft = 0;
  #line = "";
  #status = 0;
  #statusText = "";
  #headers = new Map<string, string>();
  #length: number | undefined;
  #chunked = false;
  #left = 0;
  #timer: Timer | undefined;

  constructor(options: ClientOptions) {
    const { host, port, onError } = options;
    if (!host) throw new Error("host required");
    this.#host = host;
    this.#onError = onError;
    const resolver = new options.dns.io(options.dns);
    resolver.resolve({
      host,
      onResolved: (_host: string, address: string) => {
        try {
          this.#socket = new options.socket.io({
            ...options.socket,
            host,
            address,
            port: port ?? 80,
            onReadable: (count: number) => this.#onReadable(count),
            onWritable: (count: number) => this.#onWritable(count),
            onError: () => this.#fail(),
          });
        } catch (error) {
          this.#fail(error);
        }
      },
      onError: (error: unknown) => this.#fail(error),
    });
  }

  request(options: RequestOptions): Request {
    const entry: Entry = {
      options: { ...options },
      handle: {
        read: (target) => this.#read(entry, target),
        write: (data) => this.#write(entry, data),
      },
    };
    this.#queue.push(entry);
    if (this.#state === "idle" && this.#queue.length === 1) {
      this.#begin();
      this.#later(() => this.#onWritable(this.#writable));
    }
    return entry.handle;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
    Timer.clear(this.#timer);
    this.#timer = undefined;
    this.#current = undefined;
    this.#queue.length = 0;
    this.#state = "closed";
  }

  #later(callback: () => void): void {
    this.#timer = Timer.set(() => {
      this.#timer = undefined;
      callback();
    });
  }

  #begin(): void {
    this.#current = this.#queue.shift();
    if (!this.#current) return;
    const { method = "GET", path, headers = new Map<string, string>() } = this.#current.options;
    const lines = [`${method} ${path || "/"} HTTP/1.1`, `host: ${this.#host}`];
    this.#bodyLeft = 0;
    for (const [name, value] of headers) {
      lines.push(`${name}: ${value}`);
      if (name.toLowerCase() === "content-length") this.#bodyLeft = Number.parseInt(value, 10);
    }
    this.#head = [...lines, ""].map((line) => new TextEncoder().encode(`${line}\r\n`));
    this.#length = undefined;
    this.#chunked = false;
    this.#state = "writing head";
  }

  #onWritable(count: number): void {
    this.#writable = count;
    if (this.#state === "opening") {
      this.#state = "idle";
      this.#begin();
    }
    while (this.#state === "writing head") {
      const part = this.#head[0];
      const now = part.subarray(0, this.#writable);
      this.#send(now);
      if (now.length < part.length) {
        this.#head[0] = part.subarray(now.length);
        return;
      }
      this.#head.shift();
      if (this.#head.length === 0) this.#state = this.#bodyLeft > 0 ? "writing body" : "status";
    }
    if (this.#state === "writing body") {
      const { options, handle } = this.#current as Entry;
      options.onWritable?.call(handle, Math.min(this.#writable, this.#bodyLeft));
    }
  }

  #send(data: Uint8Array): void {
    this.#writable = (this.#socket as Socket).write(data);
  }

  #write(entry: Entry, data: Uint8Array | undefined): number {
    if (this.#current !== entry || this.#state !== "writing body") throw new Error("bad state");
    if (!data) throw new Error("bad data");
    if (data.byteLength > this.#writable || data.byteLength > this.#bodyLeft) throw new Error("would block");
    this.#send(data);
    this.#bodyLeft -= data.byteLength;
    if (this.#bodyLeft > 0) return Math.min(this.#writable, this.#bodyLeft);
    this.#line = "";
    this.#state = "status";
    return 0;
  }

  #onReadable(count: number): void {
    this.#readable = count;
    while (this.#readable > 0) {
      switch (this.#state) {
        case "status":
        case "headers":
        case "chunk size":
        case "trailer":
          if (!this.#readLine()) return;
          if (!this.#takeLine()) return;
          break;
        case "body":
        case "chunk":
          this.#announce();
          return;
        default:
          // An answer before the request is out, or bytes after it.
          throw new Error();
      }
    }
  }

  /** True once a whole line is there. One that ends without a carriage return goes on. */
  #readLine(): boolean {
    const socket = this.#socket as Socket;
    socket.format = "number";
    let byte: number | undefined;
    while (this.#readable > 0 && byte !== 10) {
      byte = socket.read() as number;
      this.#readable--;
      this.#line += String.fromCharCode(byte);
    }
    socket.format = "buffer";
    return this.#line.endsWith("\r\n");
  }

  /** False if nothing may be read after it for now. */
  #takeLine(): boolean {
    const line = this.#line.slice(0, -2);
    this.#line = "";
    switch (this.#state) {
      case "status": {
        const [, status, ...text] = line.split(" ");
        // It says so, closes, and stumbles over what it has closed.
        if (text.length === 0) {
          this.#fail(new Error("bad response"));
          throw new TypeError("no socket");
        }
        this.#status = Number.parseInt(status, 10);
        this.#statusText = text.join(" ");
        this.#headers = new Map();
        this.#state = "headers";
        return true;
      }
      case "headers":
        if (line !== "") {
          this.#takeHeader(line);
          return true;
        }
        return this.#endHeaders();
      case "chunk size":
        if (line === "") return true;
        this.#left = Number.parseInt(line.trim(), 16);
        this.#state = this.#left === 0 ? "trailer" : "chunk";
        return true;
      default:
        // It knows no trailers.
        if (line !== "") throw new Error();
        this.#done();
        return false;
    }
  }

  #takeHeader(line: string): void {
    const colon = line.indexOf(":");
    if (colon < 0) return;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    this.#headers.set(name, value);
    if (name === "content-length") this.#length = Number.parseInt(value, 10);
    if (name === "transfer-encoding" && value.toLowerCase() === "chunked") this.#chunked = true;
  }

  #endHeaders(): boolean {
    const { options, handle } = this.#current as Entry;
    const empty = this.#status === 204 || this.#status === 205;
    options.onHeaders?.call(handle, this.#status, this.#headers, this.#statusText);
    // Closed by the callback.
    if (!this.#current) return false;
    if (this.#chunked && !empty) {
      this.#state = "chunk size";
      return true;
    }
    this.#left = empty ? 0 : (this.#length ?? Number.POSITIVE_INFINITY);
    this.#state = "body";
    if (this.#left !== 0) return true;
    this.#done();
    return false;
  }

  #announce(): void {
    const { options, handle } = this.#current as Entry;
    const count = Math.min(this.#readable, this.#left);
    // Of a chunk whose size is no number it says nothing, and waits.
    if (this.#state === "body" || count > 0) options.onReadable?.call(handle, count);
  }

  #read(entry: Entry, target?: number | Uint8Array): ArrayBuffer | number | undefined {
    if (this.#current !== entry) throw new Error("bad state");
    if (this.#state !== "body" && this.#state !== "chunk") return undefined;
    const asked = typeof target === "object" ? target.byteLength : (target ?? this.#readable);
    const count = Math.min(asked, this.#readable, this.#left);
    this.#readable -= count;
    this.#left -= count;
    const result = (this.#socket as Socket).read(typeof target === "object" ? target.subarray(0, count) : count);
    if (this.#left === 0 && this.#state === "chunk") {
      this.#state = "chunk size";
      if (this.#readable > 0) this.#later(() => this.#onReadable(this.#readable));
    } else if (this.#left === 0) {
      this.#state = "received";
      this.#later(() => this.#done());
    }
    return result;
  }

  #done(): void {
    const { options, handle } = this.#current as Entry;
    this.#state = "received";
    options.onDone?.call(handle, null);
    this.#state = "idle";
    this.#begin();
    if (this.#current) this.#onWritable(this.#writable);
  }

  #fail(error?: unknown): void {
    if (this.#state === "received" && this.#timer) {
      Timer.clear(this.#timer);
      this.#timer = undefined;
      this.#done();
    }
    this.#state = "failed";
    try {
      const entries = [this.#current, ...this.#queue.splice(0)];
      this.#current = undefined;
      for (const entry of entries) entry?.options.onDone?.call(entry.handle, new Error());
      this.#onError?.(error);
    } catch {
      // What the program throws here is lost.
    }
    this.close();
  }
}
