/** TLS 1.2 as an IO class of ECMA-419: the SDK's session, with a guard of our own over every record. */

import SSLAlert from "ssl/alert";
import CertificateManager from "ssl/cert";
import Session from "ssl/session";
import { NetworkError } from "../../src/errors.js";
import { HandshakeFault, HandshakeGuard, type HandshakeView } from "./handshake.js";
import { isAddress } from "./resolver.js";
import { GuardedSocket, type SocketOptions, type TcpSocket, WriteFailure } from "./socket.js";
import type { Certificate } from "./tls/certificate.js";
import { type Trust, verifyChain } from "./tls/chain.js";
import { sdkKey, sdkPrimitives } from "./tls/primitives.js";
import { Rejection } from "./tls/rejection.js";

export interface TlsSettings {
  readonly trust: Trust;
  readonly resumption: Resumption;
  /** DER of the client's certificate and those above it, for mutual TLS. */
  readonly clientCertificates?: readonly ArrayBuffer[];
  /** DER (PKCS#8) of the client's RSA key. */
  readonly clientKey?: ArrayBuffer;
}

/** Bytes that a record adds to its data, in the worst of the SDK's cipher suites (AES-CBC with SHA-256). */
const RECORD_OVERHEAD_BYTES = 96;
/** Data in one record: small ones let the server begin early and keep the copies on the heap small. */
const MAX_RECORD_BYTES = 4096;
/** A session is not resumed after this; RFC 5246 section F.1.4 suggests a day at most. */
const RESUMPTION_MS = 86400000;

// Values of session.handshakeProcess with which it is this side's turn.
const OUR_TURN = Object.freeze([0, 14, 20]);

/** RFC 5246 section 7.2; those that a server has reason to send. */
const ALERTS: Readonly<Record<string, string>> = Object.freeze({
  "10": "unexpected_message",
  "20": "bad_record_mac",
  "40": "handshake_failure",
  "42": "bad_certificate",
  "43": "unsupported_certificate",
  "44": "certificate_revoked",
  "45": "certificate_expired",
  "46": "certificate_unknown",
  "47": "illegal_parameter",
  "48": "unknown_ca",
  "49": "access_denied",
  "51": "decrypt_error",
  "70": "protocol_version",
  "71": "insufficient_security",
  "80": "internal_error",
  "112": "unrecognized_name",
  "116": "certificate_required",
});

const CLOSE_NOTIFY = 0;
const HANDSHAKE_FAILURE = 40;
const WARNING = 1;
const FATAL = 2;

/**
 * The session to resume with one origin. The SDK keeps one for the whole program by the server's name, whatever was
 * trusted when it was made.
 */
export class Resumption {
  #id: ArrayBuffer | undefined;
  #secret: ArrayBuffer | undefined;
  #untilMs = 0;
  suite = 0;

  constructor(readonly nowMs: () => number) {}

  get id(): ArrayBuffer | undefined {
    return this.#id;
  }

  getByHost(): { id: ArrayBuffer; secret: ArrayBuffer } | undefined {
    const id = this.#id;
    const secret = this.#secret;
    if (!id || !secret) return undefined;
    const now = this.nowMs();
    if (now < this.#untilMs && now > this.#untilMs - RESUMPTION_MS) return { id, secret };
    this.clear();
    return undefined;
  }

  saveSession(_host: string, id: ArrayBuffer, secret: ArrayBuffer): void {
    // A resumed session is not a fresh look at the certificate.
    if (this.#id === undefined || !isSame(this.#id, id)) this.#untilMs = this.nowMs() + RESUMPTION_MS;
    this.#id = id;
    this.#secret = secret;
  }

  deleteSessionID(id: ArrayBuffer): void {
    if (this.#id && isSame(this.#id, id)) this.clear();
  }

  clear(): void {
    this.#id = this.#secret = undefined;
  }
}

class CertificateGuard extends CertificateManager {
  readonly #host: string;
  readonly #trust: Trust;
  readonly #onKey: () => void;
  #peer: ArrayBuffer | undefined;
  #leaf: Certificate | undefined;

  constructor(options: object, host: string, trust: Trust, onKey: () => void) {
    super(options);
    this.#host = host;
    this.#trust = trust;
    this.#onKey = onKey;
  }

  get leaf(): Certificate | undefined {
    return this.#leaf;
  }

  override verify(certificates: Uint8Array[]): boolean {
    this.#leaf = verifyChain(certificates, this.#host, this.#trust, sdkPrimitives);
    return true;
  }

  /** The SDK keeps the server's certificate here to find the key in it later. */
  override register(certificate: ArrayBuffer): void {
    this.#peer = certificate;
  }

  override getKey(certificate: ArrayBuffer): object | undefined {
    if (certificate !== this.#peer || !this.#leaf) return super.getKey(certificate);
    this.#onKey();
    return sdkKey(this.#leaf.publicKey());
  }
}

/** The SDK's session; what the guard refuses never reaches it. */
class GuardedSession extends Session implements HandshakeView {
  readonly #guard = new HandshakeGuard();
  readonly #certificates: CertificateGuard;
  readonly #resumption: Resumption;

  constructor(host: string, { trust, resumption, clientCertificates, clientKey }: TlsSettings) {
    const options = {
      protocolVersion: 0x303,
      applicationLayerProtocolNegotiation: "http/1.1",
      // RFC 6066 section 3: a name, never an address.
      ...(isAddress(host) ? undefined : { serverName: host }),
      ...(clientCertificates && clientKey ? { clientCertificates, clientKey } : undefined),
    };
    super(options);
    this.#certificates = new CertificateGuard(options, host, trust, () => this.#guard.checkKeyExchange(this));
    this.#resumption = resumption;
    this.certificateManager = this.#certificates;
    this.cacheManager = resumption;
  }

  get leaf(): Certificate | undefined {
    return this.#certificates.leaf;
  }

  get offeredSession(): Uint8Array | undefined {
    return this.clientSessionID && new Uint8Array(this.clientSessionID);
  }

  get offeredSuite(): number {
    return this.#resumption.suite;
  }

  get established(): boolean {
    return this.#guard.established;
  }

  get resumed(): boolean {
    return this.#guard.resumed;
  }

  /** To be called when the handshake is through. */
  remember(): void {
    this.#resumption.suite = this.#guard.suite;
  }

  override readPacket(stream: RecordStream): ArrayBuffer | undefined {
    const packet = super.readPacket(stream);
    if (packet) this.#guard.inspect(new Uint8Array(packet), this);
    return packet;
  }
}

/** What the SDK's session reads records from and writes them to: the socket, with a queue for what it does not take. */
class RecordStream {
  readable = 0;
  writable = 0;
  readonly #tcp: TcpSocket;
  #queue: Uint8Array | undefined;
  #free = 0;

  constructor(tcp: TcpSocket) {
    this.#tcp = tcp;
  }

  read(into: Uint8Array): void {
    this.#tcp.read(into);
  }

  /** Returns how much the socket takes beyond what is queued. The SDK keeps the value in `writable`. */
  write(packet: Uint8Array): number {
    if (this.#queue) {
      const joined = new Uint8Array(this.#queue.length + packet.length);
      joined.set(this.#queue);
      joined.set(packet, this.#queue.length);
      this.#queue = joined;
      return 0;
    }
    const count = Math.min(packet.length, this.#free);
    if (count > 0) {
      const free = this.#tcp.write(packet.subarray(0, count));
      if (free === undefined) throw new WriteFailure();
      this.#free = free;
    }
    if (count < packet.length) this.#queue = packet.slice(count);
    this.writable = this.#queue ? 0 : this.#free;
    return this.writable;
  }

  /** The socket takes `count` bytes: the queue goes first. */
  flush(count: number): void {
    this.#free = count;
    const queue = this.#queue;
    this.#queue = undefined;
    if (queue) this.write(queue);
    this.writable = this.#queue ? 0 : this.#free;
  }
}

/** HTTP over TLS. */
export class TlsSocket extends GuardedSocket {
  readonly #session: GuardedSession;
  readonly #settings: TlsSettings;
  readonly #host: string;
  #stream: RecordStream | undefined;
  #ready = false;
  #alert = CLOSE_NOTIFY;
  #peerGone = false;
  /** Header lines that wait for the body, so that they share a record. */
  #pending: Uint8Array | undefined;

  constructor(options: SocketOptions & { readonly tls: TlsSettings }) {
    super(options);
    this.#settings = options.tls;
    this.#host = options.host;
    this.#session = new GuardedSession(options.host, options.tls);
    this.#session.initiateHandshake();
  }

  protected override tcpWritable(tcp: TcpSocket, count: number): void {
    this.#stream ??= new RecordStream(tcp);
    const stream = this.#stream;
    stream.flush(count);
    if (!this.#ready) this.#handshake(stream);
    else if (stream.writable > RECORD_OVERHEAD_BYTES) this.ready(stream.writable - RECORD_OVERHEAD_BYTES);
  }

  protected override tcpReadable(tcp: TcpSocket, count: number): void {
    this.#stream ??= new RecordStream(tcp);
    const stream = this.#stream;
    stream.readable = count;
    if (!this.#ready) this.#handshake(stream);
    while (this.#ready && stream.readable > 0 && !this.closed) {
      const data = this.#session.read(stream);
      if (data === null) {
        this.#peerGone = true;
        this.fail(undefined);
      } else if (data && data.length > 0) {
        this.feed(data);
      }
    }
  }

  protected override tcpClosed(): void {
    this.#peerGone = true;
    super.tcpClosed();
  }

  protected override send(_tcp: TcpSocket, bytes: Uint8Array): number {
    const stream = this.#stream;
    if (!stream) return 0;
    const pending = this.#pending;
    this.#pending = undefined;
    let data = bytes;
    if (pending) {
      data = new Uint8Array(pending.length + bytes.length);
      data.set(pending);
      data.set(bytes, pending.length);
    }
    const room = stream.writable - RECORD_OVERHEAD_BYTES;
    // The client writes line by line; as one record they cost one cipher run and one overhead.
    if (this.link.moreToCome && data.length + 256 < room) {
      this.#pending = data;
      return room - data.length;
    }
    for (let at = 0; at < data.length; at += MAX_RECORD_BYTES) {
      this.#session.write(stream, data.subarray(at, Math.min(data.length, at + MAX_RECORD_BYTES)));
    }
    return Math.max(0, stream.writable - RECORD_OVERHEAD_BYTES);
  }

  protected override fail(reason: unknown): void {
    if (!this.#ready) this.#settings.resumption.clear();
    if (reason instanceof Rejection) {
      this.#alert = reason.alert;
      super.fail(
        new NetworkError(
          "CERTIFICATE_REJECTED",
          "tls",
          `The certificate of ${this.#host} was refused: ${reason.message}.`,
          reason,
        ),
      );
      return;
    }
    if (reason !== undefined && !this.#ready) {
      this.#alert = reason instanceof HandshakeFault ? reason.alert : HANDSHAKE_FAILURE;
    }
    // What the SDK throws at an alert is "alert: 2, 40".
    const alert = reason instanceof Error && /^alert: \d+, (\d+)$/.exec(reason.message)?.[1];
    if (alert) {
      this.#peerGone = true;
      super.fail(new Error(`the server sent the alert ${ALERTS[alert] ?? "number"} (${alert})`));
    } else {
      super.fail(reason);
    }
  }

  protected override farewell(): void {
    const stream = this.#stream;
    if (!stream || this.#peerGone) return;
    const level = this.#alert === CLOSE_NOTIFY ? WARNING : FATAL;
    this.#session.doProtocol(stream, SSLAlert, level, this.#alert);
  }

  #handshake(stream: RecordStream): void {
    const session = this.#session;
    while (OUR_TURN.includes(session.handshakeProcess) || stream.readable > 0) {
      const through = session.handshake(stream);
      if (session.alert) {
        this.#peerGone = true;
        throw new Error("the server closed the connection");
      }
      if (through) {
        // The SDK must never take a session for finished that the guard has not seen to its end.
        if (!session.established) throw new HandshakeFault("the handshake ended too early", HANDSHAKE_FAILURE);
        session.remember();
        this.#ready = true;
        this.link.onSecured();
        this.ready(Math.max(0, stream.writable - RECORD_OVERHEAD_BYTES));
        return;
      }
    }
  }
}

function isSame(a: ArrayBuffer, b: ArrayBuffer): boolean {
  const x = new Uint8Array(a);
  const y = new Uint8Array(b);
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}
