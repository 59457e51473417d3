import { Server as NetServer, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls";
import type { Fault, Faults } from "./faults.js";
import type { ConnectionInfo, GatewayCounts } from "./received.js";
import type { ResponseContent } from "./responses.js";

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
}

/** Why a TLS handshake failed. */
export interface TlsError {
  readonly connectionId: number;
  /** OpenSSL's code, such as `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA`, or `CLOSED` if the client closed without an alert. */
  readonly code: string;
}

/**
 * Accepts TCP connections, injects faults, runs TLS, and passes connections on to HTTP. Faults need the raw bytes
 * before any TLS or HTTP server, which is why the HTTP server itself does not listen.
 */
export class Connections {
  readonly server: NetServer;
  readonly tlsErrors: TlsError[] = [];
  readonly #counts: GatewayCounts;
  readonly #faults: Faults;
  readonly #tls: TlsOptions | undefined;
  readonly #passOn: (socket: Socket) => void;
  readonly #open = new Set<Connection>();
  readonly #byPort = new Map<number, Connection>();
  readonly #bySocket = new WeakMap<object, Connection>();
  readonly #tlsServer: ReturnType<typeof createTlsServer> | undefined;

  constructor(
    faults: Faults,
    counts: GatewayCounts,
    tls: TlsOptions | undefined,
    resumption: boolean,
    passOn: (socket: Socket | TLSSocket) => void,
  ) {
    this.#faults = faults;
    this.#counts = counts;
    this.#tls = tls;
    this.#passOn = passOn;
    if (tls !== undefined) {
      this.#tlsServer = createTlsServer(tls);
      this.#tlsServer.on("secureConnection", (socket) => {
        const connection = this.#byPort.get(socket.remotePort ?? -1);
        if (connection !== undefined) this.#secured(connection, socket);
        else socket.destroy();
      });
      this.#tlsServer.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
        // A closed socket no longer knows its port; the connection's end is handled elsewhere.
        const connection = this.#byPort.get(socket.remotePort ?? -1);
        if (connection !== undefined) this.#tlsFailed(connection, error.code ?? error.message);
      });
      if (resumption) keepSessions(this.#tlsServer);
    }
    this.server = new NetServer({ noDelay: true }, (raw) => this.#accept(raw));
  }

  /** Returns the connection of an HTTP request's socket. */
  of(socket: object): Connection {
    return this.#bySocket.get(socket) as Connection;
  }

  /** Closes all connections at once. */
  destroyAll(): void {
    for (const connection of this.#open) connection.raw.destroy();
  }

  /** Stops listening and closes all connections; resolves when they are closed. */
  async close(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const gone = [...this.#open].map(({ raw }) => new Promise<void>((resolve) => raw.once("close", () => resolve())));
    this.destroyAll();
    await Promise.all([stopped, ...gone]);
  }

  #accept(raw: Socket): void {
    const counts = this.#counts;
    counts.connections++;
    counts.openConnections++;
    const connection: Connection = { raw, info: { id: counts.connections }, sent: [] };
    const port = raw.remotePort ?? -1;
    this.#open.add(connection);
    this.#byPort.set(port, connection);
    this.#bySocket.set(raw, connection);
    // Resets are expected here; socket errors are handled where the socket is used.
    raw.on("error", () => {});
    raw.on("close", () => {
      counts.openConnections--;
      this.#open.delete(connection);
      if (this.#byPort.get(port) === connection) this.#byPort.delete(port);
      if (connection.tls === "handshake") this.#tlsFailed(connection, "CLOSED");
    });
    const fault = this.#faults.ofConnection();
    if (fault === undefined) {
      if (this.#tlsServer === undefined) this.#passOn(raw);
      else {
        connection.tls = "handshake";
        this.#tlsServer.emit("connection", raw);
      }
      return;
    }
    counts.faults++;
    this.#strike(connection, fault);
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
    connection.tls = "handshake";
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
    const server = createTlsServer({ ...this.#tls, maxVersion: "TLSv1.2" });
    server.on("secureConnection", (socket) => this.#secured(connection, socket));
    server.on("tlsClientError", (error: NodeJS.ErrnoException) => {
      this.#tlsFailed(connection, error.code ?? error.message);
    });
    server.emit("connection", between);
  }

  #secured(connection: Connection, socket: TLSSocket): void {
    connection.tls = "secured";
    this.#counts.tlsHandshakes++;
    const resumed = socket.isSessionReused();
    if (resumed) this.#counts.tlsResumptions++;
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
    socket.on("error", () => {});
    this.#passOn(socket);
  }

  #tlsFailed(connection: Connection, code: string): void {
    if (connection.tls !== "handshake") return;
    connection.tls = "failed";
    this.#counts.tlsFailures++;
    this.tlsErrors.push({ connectionId: connection.info.id, code });
    if (this.tlsErrors.length > 100) this.tlsErrors.shift();
    connection.raw.destroySoon();
  }
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
