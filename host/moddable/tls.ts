/** TLS 1.2 as a transport: the SDK's session, with a guard of our own over every record. */

import SSLAlert from "ssl/alert";
import CertificateManager from "ssl/cert";
import Session from "ssl/session";
import { NetworkError } from "../../src/errors.js";
import { HandshakeFault, HandshakeGuard, type HandshakeView } from "./handshake.js";
import type { SecureTransportOptions } from "./http.js";
import { isAddress } from "./resolver.js";
import { TcpTransport } from "./tcp.js";
import type { Certificate } from "./tls/certificate.js";
import { type Trust, verifyChain } from "./tls/chain.js";
import { sdkKey, sdkPrimitives } from "./tls/primitives.js";
import { Rejection } from "./tls/rejection.js";
import { AbruptEnd, type Transport, type TransportEvents } from "./transport.js";

export interface TlsSettings {
  readonly trust: Trust;
  readonly resumption: Resumption;
  /** DER of the client's certificate and those above it, for mutual TLS. */
  readonly clientCertificates?: readonly ArrayBuffer[];
  /** DER (PKCS#8) of the client's RSA key. */
  readonly clientKey?: ArrayBuffer;
}

/** Data in one record: small ones let the server begin early and keep the copies on the heap small. */
const MAX_RECORD_BYTES = 2048;
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

/** What the SDK's session reads records from and writes them to: the transport, with a queue for what it does not take. */
class RecordStream {
  readable = 0;
  /** The SDK counts here what may be written; the queue takes everything. */
  writable = MAX_RECORD_BYTES;
  readonly #transport: Transport;
  #received: Uint8Array = new Uint8Array(0);
  #queue: Uint8Array | undefined;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Whether everything that was written has been taken. */
  get isFlushed(): boolean {
    return this.#queue === undefined;
  }

  /** @param bytes what the session reads next; it leaves nothing */
  receive(bytes: Uint8Array): void {
    this.#received = bytes;
    this.readable = bytes.length;
  }

  /** The session counts `readable` down itself. */
  read(into: Uint8Array): void {
    const start = this.#received.length - this.readable;
    into.set(this.#received.subarray(start, start + into.length));
  }

  write(packet: Uint8Array): number {
    const queue = this.#queue;
    if (queue === undefined) {
      const count = this.#transport.write(packet);
      if (count < packet.length) this.#queue = packet.slice(count);
    } else {
      this.#queue = new Uint8Array(queue.length + packet.length);
      this.#queue.set(queue);
      this.#queue.set(packet, queue.length);
    }
    return MAX_RECORD_BYTES;
  }

  /** The transport has room: the queue goes first. */
  flush(): void {
    const queue = this.#queue;
    this.#queue = undefined;
    if (queue) this.write(queue);
  }
}

export class TlsTransport implements Transport, TransportEvents {
  readonly #events: TransportEvents;
  readonly #settings: TlsSettings;
  readonly #host: string;
  readonly #session: GuardedSession;
  readonly #tcp: Transport;
  readonly #stream: RecordStream;
  #state: "handshake" | "established" | "closed" = "handshake";
  /** Bytes that are in a record of which a part waits for room: they have not gone out. */
  #sealed = 0;
  /** Whether the peer has ended the connection, so that nothing is to be said to it any more. */
  #isPeerGone = false;

  constructor(
    { address, port, host, tls }: SecureTransportOptions & { readonly tls: TlsSettings },
    events: TransportEvents,
  ) {
    this.#events = events;
    this.#settings = tls;
    this.#host = host;
    this.#session = new GuardedSession(host, tls);
    this.#session.initiateHandshake();
    this.#tcp = new TcpTransport(address, port, this);
    this.#stream = new RecordStream(this.#tcp);
  }

  write(bytes: Uint8Array): number {
    if (this.#state !== "established" || !this.#stream.isFlushed) return 0;
    if (this.#sealed > 0) {
      const sealed = this.#sealed;
      this.#sealed = 0;
      return sealed;
    }
    const count = Math.min(bytes.length, MAX_RECORD_BYTES);
    this.#session.write(this.#stream, count === bytes.length ? bytes : bytes.subarray(0, count));
    if (this.#stream.isFlushed) return count;
    this.#sealed = count;
    return 0;
  }

  close(): void {
    this.#close(CLOSE_NOTIFY);
  }

  poll(): void {
    this.#tcp.poll();
  }

  onConnected(): void {
    this.#events.onConnected();
  }

  onWritable(): void {
    try {
      this.#stream.flush();
      if (this.#state === "handshake") this.#handshake();
      else if (this.#state === "established" && this.#stream.isFlushed) this.#events.onWritable();
    } catch (error) {
      this.#fail(error);
    }
  }

  onReadable(bytes: Uint8Array): void {
    const stream = this.#stream;
    try {
      stream.receive(bytes);
      if (this.#state === "handshake") this.#handshake();
      while (this.#state === "established" && stream.readable > 0) {
        const data = this.#session.read(stream);
        if (data === null) {
          // close_notify: the end in order.
          this.#isPeerGone = true;
          this.#end(undefined, CLOSE_NOTIFY);
        } else if (data && data.length > 0) {
          this.#events.onReadable(data);
        }
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  onClose(error: unknown): void {
    this.#isPeerGone = true;
    this.#fail(error ?? new AbruptEnd("The connection ended without close_notify."));
  }

  #handshake(): void {
    const session = this.#session;
    const stream = this.#stream;
    while (OUR_TURN.includes(session.handshakeProcess) || stream.readable > 0) {
      const through = session.handshake(stream);
      if (session.alert) {
        this.#isPeerGone = true;
        throw new Error("the server closed the connection");
      }
      if (through) {
        // The SDK must never take a session for finished that the guard has not seen to its end.
        if (!session.established) throw new HandshakeFault("the handshake ended too early", HANDSHAKE_FAILURE);
        session.remember();
        this.#state = "established";
        if (stream.isFlushed) this.#events.onWritable();
        return;
      }
    }
  }

  #fail(error: unknown): void {
    if (this.#state === "closed") return;
    const isHandshake = this.#state === "handshake";
    if (isHandshake) this.#settings.resumption.clear();
    let failure = error;
    let alert = CLOSE_NOTIFY;
    // What the SDK throws at an alert is "alert: 2, 40".
    const received = error instanceof Error && /^alert: \d+, (\d+)$/.exec(error.message)?.[1];
    if (error instanceof Rejection) {
      alert = error.alert;
      const message = `The certificate of ${this.#host} was refused: ${error.message}.`;
      failure = new NetworkError("CERTIFICATE_REJECTED", "tls", message, error);
    } else if (received) {
      this.#isPeerGone = true;
      failure = new Error(`the server sent the alert ${ALERTS[received] ?? "number"} (${received})`);
    } else if (isHandshake) {
      alert = error instanceof HandshakeFault ? error.alert : HANDSHAKE_FAILURE;
    }
    this.#end(failure, alert);
  }

  #end(error: unknown, alert: number): void {
    this.#close(alert);
    this.#events.onClose(error);
  }

  #close(alert: number): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    try {
      const level = alert === CLOSE_NOTIFY ? WARNING : FATAL;
      if (!this.#isPeerGone) this.#session.doProtocol(this.#stream, SSLAlert, level, alert);
    } catch {
      // A failed close_notify must not keep the socket open.
    }
    this.#tcp.close();
  }
}

function isSame(a: ArrayBuffer, b: ArrayBuffer): boolean {
  const x = new Uint8Array(a);
  const y = new Uint8Array(b);
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}
