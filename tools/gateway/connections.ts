import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls";
import { type Fault, type Faults, formatFault } from "./faults.js";
import type { ConnectionInfo, GatewayCounts } from "./received.js";
import type { ResponseContent } from "./responses.js";
import { alertOf, describeTlsFailure } from "./tls-reason.js";

/** One TCP connection. */
export interface Connection {
  readonly raw: Socket;
  info: ConnectionInfo;
  /** Set once the gateway silently stopped responding on it. */
  silent?: "ignore" | "reset";
  /** The last 16 responses that were sent correctly, oldest first. */
  readonly sent: ResponseContent[];
  /** State of TLS, if it is used. */
  tls?: "handshake" | "secured" | "failed";
  /** Whether a request's head was read on it. */
  used?: boolean;
  /** Why it ends without a complete request, if this is known before it ends. */
  reason?: string;
}

/** Why a TLS handshake failed. */
export interface TlsError {
  readonly connectionId: number;
  /**
   * OpenSSL's code, such as `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA`, `CLOSED` if the client closed without an alert, or
   * `TIMEOUT`.
   */
  readonly code: string;
  /** Name of the alert that the client sent, such as `unknown_ca`. */
  readonly alert?: string;
  /** One clause, such as `client refused the certificate: unknown_ca`. */
  readonly reason: string;
  /** Address of the client. */
  readonly remoteAddress: string;
  /** Milliseconds since 1970, by the gateway's clock. */
  readonly atMs: number;
}

/** What the gateway provides to its connections. */
export interface ConnectionsOptions {
  readonly faults: Faults;
  readonly counts: GatewayCounts;
  readonly tls: TlsOptions | undefined;
  readonly resumption: boolean;
  /** Maximum number of open connections. */
  readonly maxConnections: number;
  /** Maximum time of a TLS handshake, in milliseconds. */
  readonly handshakeTimeoutMs: number;
  readonly now: () => number;
  readonly passOn: (socket: Socket | TLSSocket) => void;
  readonly onTlsError: (error: TlsError) => void;
  readonly onDropped: (connection: Connection, reason: string) => void;
}

/** `hang`: connections are accepted and never read; `reset`: they are reset. */
export type Offline = "hang" | "reset";

/**
 * Accepts TCP connections, injects faults, runs TLS, and passes connections on to HTTP. Faults need the raw bytes
 * before any TLS or HTTP server, which is why the HTTP server itself does not listen.
 */
export class Connections {
  readonly tlsErrors: TlsError[] = [];
  readonly #options: ConnectionsOptions;
  readonly #open = new Set<Connection>();
  readonly #byClient = new Map<string, Connection>();
  readonly #bySocket = new WeakMap<object, Connection>();
  readonly #tlsServer: ReturnType<typeof createTlsServer> | undefined;
  readonly #listeners: NetServer[] = [];
  #offline: Offline | false = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    const { tls, resumption } = options;
    if (tls !== undefined) {
      this.#tlsServer = createTlsServer(tls);
      this.#tlsServer.on("secureConnection", (socket) => {
        const connection = this.#byClient.get(clientOf(socket));
        if (connection !== undefined) this.#secured(connection, socket);
        else socket.destroy();
      });
      this.#tlsServer.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
        // A closed socket no longer knows its address; the connection's end is handled elsewhere.
        const connection = this.#byClient.get(clientOf(socket));
        if (connection !== undefined) this.#tlsFailed(connection, error.code ?? error.message);
      });
      if (resumption) keepSessions(this.#tlsServer);
    }
  }

  /** Listens on an address. @returns the port */
  async listen(host: string, port: number): Promise<number> {
    const server = new NetServer({ noDelay: true }, (raw) => this.#accept(raw));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    server.removeAllListeners("error");
    this.#listeners.push(server);
    return (server.address() as AddressInfo).port;
  }

  /** Returns the connection of an HTTP request's socket. */
  of(socket: object): Connection {
    return this.#bySocket.get(socket) as Connection;
  }

  get offline(): Offline | false {
    return this.#offline;
  }

  /** Going offline resets all connections; so does coming back, for those that were left hanging. */
  set offline(offline: Offline | false) {
    if (offline === this.#offline) return;
    this.#offline = offline;
    const reason = offline === false ? "the gateway is online again" : "the gateway went offline";
    for (const connection of [...this.#open]) {
      if (!connection.used) connection.reason ??= reason;
      reset(connection);
    }
  }

  /** Closes all connections at once. */
  destroyAll(): void {
    for (const connection of this.#open) {
      if (!connection.used) connection.reason ??= "the gateway closed all connections";
      connection.raw.destroy();
    }
  }

  /** Stops listening and closes all connections; resolves when they are closed. */
  async close(): Promise<void> {
    const stopped = this.#listeners.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    const gone = [...this.#open].map(({ raw }) => new Promise<void>((resolve) => raw.once("close", () => resolve())));
    this.destroyAll();
    await Promise.all([...stopped, ...gone]);
  }

  #accept(raw: Socket): void {
    const { counts, faults, maxConnections } = this.#options;
    counts.connections++;
    counts.openConnections++;
    const info = { id: counts.connections, remoteAddress: plainAddress(raw.remoteAddress) };
    const connection: Connection = { raw, info, sent: [] };
    const client = clientOf(raw);
    this.#open.add(connection);
    this.#byClient.set(client, connection);
    this.#bySocket.set(raw, connection);
    // Resets are expected here; socket errors are handled where the socket is used.
    raw.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNRESET" && !connection.used) connection.reason ??= "the client reset the connection";
    });
    raw.on("close", () => {
      counts.openConnections--;
      this.#open.delete(connection);
      if (this.#byClient.get(client) === connection) this.#byClient.delete(client);
      this.#ended(connection);
    });
    if (this.#open.size > maxConnections) {
      connection.reason = `more than ${maxConnections} connections are open`;
      reset(connection);
      return;
    }
    if (this.#offline !== false) {
      connection.reason = "the gateway is offline";
      if (this.#offline === "reset") reset(connection);
      else raw.pause();
      return;
    }
    const fault = faults.ofConnection();
    if (fault === undefined) {
      if (this.#tlsServer === undefined) this.#options.passOn(raw);
      else {
        this.#beginHandshake(connection);
        this.#tlsServer.emit("connection", raw);
      }
      return;
    }
    counts.faults++;
    connection.reason = `injected fault ${formatFault(fault)}`;
    this.#strike(connection, fault);
  }

  /** Node's own timeout counts from the last byte, so a client could keep a handshake going for ever. */
  #beginHandshake(connection: Connection): void {
    connection.tls = "handshake";
    const timer = setTimeout(() => this.#tlsFailed(connection, "TIMEOUT"), this.#options.handshakeTimeoutMs);
    connection.raw.once("close", () => clearTimeout(timer));
  }

  #ended(connection: Connection): void {
    const { tls, used, reason } = connection;
    if (tls === "failed") return;
    if (tls === "handshake") this.#tlsFailed(connection, "CLOSED");
    else if (reason !== undefined) this.#options.onDropped(connection, reason);
    else if (!used) {
      const what =
        tls === "secured"
          ? "the client closed the connection right after the TLS handshake, without a request; some clients refuse a certificate this way"
          : connection.raw.bytesRead > 0
            ? "the client closed the connection within the head of its request"
            : "the client closed the connection without sending anything";
      this.#options.onDropped(connection, what);
    }
  }

  #strike(connection: Connection, fault: Fault): void {
    const { raw } = connection;
    switch (fault.kind) {
      case "hang":
        raw.pause();
        return;
      case "reset":
        reset(connection);
        return;
      case "close":
        // Drain first: closing a socket with unread bytes would send RST.
        raw.resume();
        raw.end();
        return;
      case "tls-hang":
        raw.resume();
        return;
      case "tls-alert":
        raw.once("data", () => {
          const level = 2; // fatal, RFC 5246 section 7.2
          raw.resume();
          raw.end(Buffer.from([21, 3, 3, 0, 2, level, fault.alert ?? 40]));
        });
        return;
      case "tls-close": {
        let left = fault.afterBytes ?? 0;
        if (left === 0) {
          raw.once("data", () => {
            raw.resume();
            raw.end();
          });
          return;
        }
        this.#tamper(connection, (bytes) => {
          const part = bytes.subarray(0, left);
          left -= part.length;
          return { bytes: part, end: left === 0 };
        });
        return;
      }
      case "tls-key-exchange": {
        const damage = damageKeyExchange();
        this.#tamper(connection, (bytes) => ({ bytes: damage(bytes), end: false }));
        return;
      }
    }
  }

  /** Runs TLS 1.2 and modifies the server's bytes, like an attacker on the network. */
  #tamper(connection: Connection, change: (bytes: Buffer) => { bytes: Buffer; end: boolean }): void {
    const { raw } = connection;
    this.#beginHandshake(connection);
    const between = new Duplex({
      read: () => raw.resume(),
      write: (chunk: Buffer, _encoding, done) => {
        const { bytes, end } = change(chunk);
        if (!raw.writable) return done();
        if (end) raw.end(bytes, () => done());
        else raw.write(bytes, () => done());
      },
      final: (done) => {
        raw.end();
        done();
      },
      destroy: (error, done) => {
        raw.destroySoon();
        done(error);
      },
    });
    raw.on("data", (chunk) => {
      if (!between.push(chunk)) raw.pause();
    });
    raw.on("end", () => between.push(null));
    raw.on("close", () => between.destroy());
    // A separate TLS server for this connection: no session can be resumed, which would skip the messages to be
    // modified, and the connection is known without looking at ports.
    const server = createTlsServer({ ...this.#options.tls, maxVersion: "TLSv1.2" });
    server.on("secureConnection", (socket) => this.#secured(connection, socket));
    server.on("tlsClientError", (error: NodeJS.ErrnoException) => {
      this.#tlsFailed(connection, error.code ?? error.message);
    });
    server.emit("connection", between);
  }

  #secured(connection: Connection, socket: TLSSocket): void {
    if (connection.tls !== "handshake") return;
    connection.tls = "secured";
    const { counts } = this.#options;
    counts.tlsHandshakes++;
    const resumed = socket.isSessionReused();
    if (resumed) counts.tlsResumptions++;
    const subject = socket.getPeerCertificate()?.subject;
    const clientName = Array.isArray(subject?.CN) ? subject.CN[0] : subject?.CN;
    connection.info = {
      ...connection.info,
      tls: {
        protocol: socket.getProtocol() ?? "",
        cipher: socket.getCipher().name,
        resumed,
        ...(clientName === undefined ? {} : { clientName, clientTrusted: socket.authorized }),
      },
    };
    this.#bySocket.set(socket, connection);
    socket.on("error", (error: NodeJS.ErrnoException) => {
      // With TLS 1.3, an alert about the certificate may come after the gateway's side of the handshake.
      if (!connection.used && alertOf(error.code ?? "") !== undefined) {
        connection.reason ??= describeTlsFailure(error.code as string);
      }
    });
    this.#options.passOn(socket);
  }

  #tlsFailed(connection: Connection, code: string): void {
    if (connection.tls !== "handshake") return;
    connection.tls = "failed";
    const { counts, now, onTlsError } = this.#options;
    counts.tlsFailures++;
    const alert = alertOf(code);
    const error: TlsError = {
      connectionId: connection.info.id,
      code,
      ...(alert === undefined ? {} : { alert }),
      reason: connection.reason ?? describeTlsFailure(code),
      remoteAddress: connection.info.remoteAddress,
      atMs: now(),
    };
    this.tlsErrors.push(error);
    if (this.tlsErrors.length > 100) this.tlsErrors.shift();
    connection.raw.destroySoon();
    onTlsError(error);
  }
}

/** Both ends of a connection: with several addresses and clients, the client's port alone is not unique. */
function clientOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
}

function plainAddress(address: string | undefined): string {
  return (address ?? "").replace(/^::ffff:/, "");
}

/**
 * Enables resumption by session identifiers (RFC 5246 section 7.3) in addition to Node's tickets, for small devices.
 */
function keepSessions(server: ReturnType<typeof createTlsServer>): void {
  const maxSessions = 100;
  const sessions = new Map<string, Buffer>();
  server.on("newSession", (id: Buffer, data: Buffer, done: () => void) => {
    sessions.set(id.toString("hex"), data);
    if (sessions.size > maxSessions) sessions.delete(sessions.keys().next().value as string);
    done();
  });
  server.on("resumeSession", (id: Buffer, done: (error: null, data: Buffer | null) => void) => {
    done(null, sessions.get(id.toString("hex")) ?? null);
  });
}

/** Sends RST on the TCP connection, whatever runs on top of it. */
export function reset({ raw }: Connection): void {
  // Node would end the stream first, and FIN would precede RST.
  raw.destroySoon = () => {
    raw.destroy();
  };
  raw.resetAndDestroy();
}

/**
 * Changes the last byte of the ServerKeyExchange, which belongs to its signature (RFC 5246 section 7.4.3), and passes
 * on everything else. Tracks records and messages, so the stream may be split anywhere.
 */
function damageKeyExchange(): (bytes: Buffer) => Buffer {
  const handshake = 22;
  const serverKeyExchange = 12;
  let recordHeader: number[] = [];
  let recordLeft = 0;
  let messageHeader: number[] = [];
  let messageLeft = 0;
  let done = false;
  return (bytes) => {
    if (done) return bytes;
    const out = Buffer.from(bytes);
    for (let i = 0; i < out.length && !done; i++) {
      if (recordLeft === 0) {
        recordHeader.push(out[i]);
        if (recordHeader.length === 5) recordLeft = recordHeader[3] * 256 + recordHeader[4];
        continue;
      }
      const type = recordHeader[0];
      recordLeft--;
      if (recordLeft === 0) recordHeader = [];
      if (type !== handshake) continue;
      if (messageHeader.length < 4) {
        messageHeader.push(out[i]);
        if (messageHeader.length === 4) {
          messageLeft = (messageHeader[1] << 16) | (messageHeader[2] << 8) | messageHeader[3];
          if (messageLeft === 0) messageHeader = [];
        }
        continue;
      }
      messageLeft--;
      if (messageLeft > 0) continue;
      if (messageHeader[0] === serverKeyExchange) {
        out[i] ^= 1;
        done = true;
      }
      messageHeader = [];
    }
    return out;
  };
}
