/**
 * TLS 1.2 client on top of the SDK's session, which encrypts and decrypts records, derives the keys and sends the end
 * of the handshake. ClientHello and the key exchange are written here, and the server's messages are parsed here: the
 * SDK only processes ServerHello, ChangeCipherSpec, Finished and data, each after {@link Handshake} has validated it.
 */

import handshakeProtocol from "ssl/handshake";
import PRF from "ssl/prf";
import recordProtocol from "ssl/record";
import Session from "ssl/session";
import SSLStream from "ssl/stream";
import { bigIntOf } from "../../../src/crypto/big-int.js";
import type { Random } from "../../../src/host.js";
import {
  BAD_RECORD_MAC,
  CLOSE_NOTIFY,
  DECRYPT_ERROR,
  malformed,
  PeerAlert,
  TlsFault,
  unexpected,
  WARNING,
} from "./alerts.js";
import type { PublicKey } from "./certificate.js";
import { CURVES } from "./curves.js";
import { type Handshake, SERVER_HELLO, SERVER_HELLO_DONE } from "./handshake.js";
import { clientHello } from "./hello.js";
import { multiply, rsaEncrypt } from "./primitives.js";
import { ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, RECORD_HEAD_BYTES, TLS_1_2 } from "./records.js";
import type { KeptSession } from "./resumption.js";

const CLIENT_HELLO = 1;
const CLIENT_KEY_EXCHANGE = 16;
const FINISHED = 20;

const MASTER_SECRET_BYTES = 48;
/** Maximum number of warning alerts that are ignored: reading each takes time. */
const MAX_WARNINGS = 4;

export interface SessionOptions {
  readonly random: Random;
  /** For mutual TLS: DER of the client's certificate and its intermediate certificates. */
  readonly clientCertificates?: readonly ArrayBuffer[];
  /** For mutual TLS: DER (PKCS#8) of the client's RSA key. */
  readonly clientKey?: ArrayBuffer;
}

/** Output of the SDK's session. */
export interface RecordSink {
  write(record: Uint8Array): number;
}

export class TlsSession extends Session {
  readonly #handshake: Handshake;
  readonly #options: SessionOptions;
  #warnings = 0;
  #isEnded = false;

  constructor(handshake: Handshake, options: SessionOptions) {
    const { clientCertificates, clientKey } = options;
    super({ protocolVersion: TLS_1_2, cache: false, clientCertificates, clientKey });
    this.#handshake = handshake;
    this.#options = options;
    const { offered } = handshake.options;
    if (offered) {
      this.clientSessionID = bufferOf(offered.id);
      this.masterSecret = bufferOf(offered.secret);
    }
    this.initiateHandshake();
  }

  /** Whether the peer has sent close_notify. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /**
   * Parameters to resume this session, once established by a full handshake; undefined if the server does not keep it.
   */
  get kept(): KeptSession | undefined {
    const { sessionId, ticket, suite, isExtended } = this.#handshake;
    // RFC 5077 section 3.4: with a ticket, the identifier has no meaning.
    const id = ticket ? new Uint8Array(0) : sessionId;
    return id && { id, ticket, secret: new Uint8Array(this.masterSecret as ArrayBuffer).slice(), suite, isExtended };
  }

  /** Whether the client must send the next flight. */
  get isOurTurn(): boolean {
    const { handshakeProcess } = this;
    return handshakeProcess === SERVER_HELLO_DONE || handshakeProcess === FINISHED;
  }

  /** Writes the client's next flight. */
  proceed(sink: RecordSink): void {
    this.handshake(sink);
    this.handshakeProcess = -1;
    // No longer needed, and as large as the rest of the session.
    if (this.#handshake.state === "established") this.handshakeDigests = undefined;
  }

  /**
   * Processes a record.
   * @param record including its header; it is decrypted in place
   * @returns its application data, if any
   * @throws {TlsFault}
   * @throws {PeerAlert}
   * @throws {Rejection}
   */
  take(record: Uint8Array): Uint8Array | undefined {
    const handshake = this.#handshake;
    const type = record[0];
    if (type === ALERT) {
      this.#takeAlert(record);
      return undefined;
    }
    handshake.record(record);
    if (type !== HANDSHAKE || handshake.isEncrypted) {
      open(this, record);
      if (type === HANDSHAKE) {
        if (this.handshakeProcess !== FINISHED) throw unexpected("no Finished after ChangeCipherSpec");
        handshake.finish();
      }
      const data = this.applicationData;
      this.applicationData = undefined;
      return type === APPLICATION_DATA ? data : undefined;
    }
    for (;;) {
      const message = handshake.next();
      if (message === undefined) return undefined;
      if (message[0] === SERVER_HELLO) {
        handshakeProtocol.unpacketize(this, new SSLStream(message));
        if (!handshake.isResumed) this.clientSessionID = undefined;
        continue;
      }
      this.handshakeDigests?.SHA256.write(message as unknown as ArrayBuffer);
      if (message[0] !== SERVER_HELLO_DONE) continue;
      this.handshakeProcess = SERVER_HELLO_DONE;
      const { takesCertificate } = handshake;
      if (takesCertificate !== undefined) {
        this.clientCerts = takesCertificate ? (this.#options.clientCertificates ?? []) : [];
      }
    }
  }

  /** Called by the SDK to send a message. Replaces its hello and key exchange, which also use more stack. */
  override doProtocol(sink: RecordSink, protocol: object, ...parameters: number[]): void {
    if (protocol === handshakeProtocol.clientHello) {
      const { options, suites } = this.#handshake;
      const { host, clientRandom: random, offered, asksForTicket } = options;
      this.clientRandom = random.buffer as ArrayBuffer;
      const sessionId = offered?.id ?? new Uint8Array(0);
      const hello = clientHello({ host, random, sessionId, ticket: offered?.ticket?.bytes, asksForTicket, suites });
      sink.write(handshakeProtocol.packetize(this, CLIENT_HELLO, new SSLStream(hello)));
    } else if (protocol === handshakeProtocol.clientKeyExchange) {
      const { point, key, isExtended } = this.#handshake;
      const { random } = this.#options;
      const { premaster, exchange } = point ? ecdhe(point, random) : staticRsa(key, random);
      sink.write(handshakeProtocol.packetize(this, CLIENT_KEY_EXCHANGE, new SSLStream(exchange)));
      const seed = isExtended
        ? (this.handshakeDigests?.SHA256.close(true) as ArrayBuffer)
        : concat(this.clientRandom, this.serverRandom);
      const label = isExtended ? "extended master secret" : "master secret";
      this.masterSecret = PRF(this, premaster, label, seed, MASTER_SECRET_BYTES);
    } else {
      super.doProtocol(sink, protocol, ...parameters);
    }
  }

  #takeAlert(record: Uint8Array): void {
    let alert = { level: record[RECORD_HEAD_BYTES], description: record[RECORD_HEAD_BYTES + 1] };
    if (this.#handshake.isEncrypted) {
      open(this, record);
      alert = this.alert as typeof alert;
      this.alert = undefined;
    } else if (record.length !== RECORD_HEAD_BYTES + 2) {
      throw malformed("an alert");
    }
    const { level, description } = alert;
    if (description === CLOSE_NOTIFY) {
      this.#isEnded = true;
      return;
    }
    if (level !== WARNING || ++this.#warnings > MAX_WARNINGS) throw new PeerAlert(description);
    if (this.#handshake.isAmid) throw unexpected("another record amid a handshake message");
  }
}

/** Lets the SDK decrypt and process a record, and replaces its exceptions by {@link TlsFault}s. */
function open(session: Session, record: Uint8Array): void {
  const sequence = session.readSeqNum;
  try {
    recordProtocol.unpacketize(session, record as unknown as ArrayBuffer);
  } catch (error) {
    // For an alert, the SDK throws its numbers.
    if (session.alert) return;
    const type = record[0];
    if (type === CHANGE_CIPHER_SPEC) throw error;
    if (type === HANDSHAKE && session.readSeqNum !== sequence) {
      throw new TlsFault("the server's Finished is wrong", DECRYPT_ERROR, error);
    }
    throw new TlsFault("a record cannot be decrypted", BAD_RECORD_MAC, error);
  }
}

/** RFC 8422 sections 5.7 and 5.10. */
function ecdhe(point: Uint8Array, random: Random): { premaster: ArrayBuffer; exchange: Uint8Array } {
  const { n, size } = CURVES.secp256r1;
  let scalar = 0n;
  // The first value is out of range with a probability of 2^-32.
  while (scalar === 0n || scalar >= n) scalar = bigIntOf(random.bytes(size));
  const own = multiply(scalar);
  const exchange = new Uint8Array(2 + 2 * size);
  exchange[0] = 1 + 2 * size;
  exchange[1] = 4;
  exchange.set(new Uint8Array(ArrayBuffer.fromBigInt(own.X, size)), 2);
  exchange.set(new Uint8Array(ArrayBuffer.fromBigInt(own.Y, size)), 2 + size);
  return { premaster: ArrayBuffer.fromBigInt(multiply(scalar, point).X, size), exchange };
}

/** RFC 5246 section 7.4.7.1. */
function staticRsa(key: PublicKey | undefined, random: Random): { premaster: ArrayBuffer; exchange: Uint8Array } {
  const premaster = random.bytes(MASTER_SECRET_BYTES);
  premaster[0] = TLS_1_2 >> 8;
  premaster[1] = TLS_1_2 & 0xff;
  if (key?.type !== "rsa") throw new Error("no RSA key");
  const encrypted = rsaEncrypt(key, premaster, random);
  const exchange = new Uint8Array(2 + encrypted.length);
  exchange[0] = encrypted.length >> 8;
  exchange[1] = encrypted.length;
  exchange.set(encrypted, 2);
  return { premaster: premaster.buffer as ArrayBuffer, exchange };
}

/** Copies bytes into a separate buffer. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

function concat(a: ArrayBuffer, b: ArrayBuffer): ArrayBuffer {
  const whole = new Uint8Array(a.byteLength + b.byteLength);
  whole.set(new Uint8Array(a));
  whole.set(new Uint8Array(b), a.byteLength);
  return whole.buffer;
}
