/** TLS 1.2 as a transport, over TCP. */

import RNG from "rng";
import SSLAlert from "ssl/alert";
import { NetworkError } from "../../../src/errors.js";
import type { SecureTransportOptions } from "../http.js";
import { TcpTransport } from "../tcp.js";
import { AbruptEnd, type Transport, type TransportEvents } from "../transport.js";
import { CLOSE_NOTIFY, FATAL, INTERNAL_ERROR, PeerAlert, TlsFault, WARNING } from "./alerts.js";
import type { Trust } from "./chain.js";
import type { FalseStart } from "./false-start.js";
import { Handshake } from "./handshake.js";
import { sdkPrimitives } from "./primitives.js";
import { RecordReader } from "./records.js";
import { Rejection } from "./rejection.js";
import type { Resumption } from "./resumption.js";
import { type RecordSink, type SessionOptions, TlsSession } from "./session.js";

export interface TlsSettings extends SessionOptions {
  readonly trust: Trust;
  /** Absent if sessions are not resumed. */
  readonly resumption?: Resumption;
  /** Absent without False Start. */
  readonly falseStart?: FalseStart;
  readonly allowStaticRsaAndCbc?: boolean;
}

/** Maximum data per record: small records let the server start early, and keep copies on the heap small. */
const MAX_RECORD_BYTES = 2048;
const RANDOM_BYTES = 32;

/** Buffers records until a flight is complete, so that it is one write, and then the bytes not yet accepted by TCP. */
class RecordQueue implements RecordSink {
  /** Read by the SDK as the room for writing; the queue accepts everything. */
  writable = MAX_RECORD_BYTES;
  readonly #transport: Transport;
  readonly #records: Uint8Array[] = [];
  #isBlocked = false;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Whether bytes are waiting for room in the transport. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  write(record: Uint8Array): number {
    this.#records.push(record);
    return MAX_RECORD_BYTES;
  }

  flush(): void {
    const records = this.#records;
    if (records.length === 0) return;
    const bytes = records.length === 1 ? records[0] : join(records);
    records.length = 0;
    const count = this.#transport.write(bytes);
    this.#isBlocked = count < bytes.length;
    if (this.#isBlocked) records.push(bytes.slice(count));
  }
}

export class TlsTransport implements Transport, TransportEvents {
  readonly #events: TransportEvents;
  readonly #resumption: Resumption | undefined;
  readonly #falseStart: FalseStart | undefined;
  readonly #host: string;
  readonly #address: string;
  readonly #handshake: Handshake;
  readonly #session: TlsSession;
  readonly #tcp: Transport;
  readonly #queue: RecordQueue;
  readonly #reader = new RecordReader();
  /** `early`: data may be sent before the server's Finished has arrived. */
  #state: "connecting" | "handshake" | "early" | "established" | "closed" = "connecting";
  /** Bytes of data in a record that is not written completely: not yet reported as accepted. */
  #sealed = 0;
  /** Whether the peer has ended the connection, so that no alert is sent. */
  #isPeerGone = false;

  constructor(
    { address, port, host, tls }: SecureTransportOptions & { readonly tls: TlsSettings },
    events: TransportEvents,
  ) {
    const { trust, resumption, random, allowStaticRsaAndCbc } = tls;
    this.#events = events;
    this.#resumption = resumption;
    this.#falseStart = tls.falseStart;
    this.#host = host;
    this.#address = address;
    // Connect first: the hello is prepared while TCP connects.
    this.#tcp = new TcpTransport(address, port, this);
    this.#queue = new RecordQueue(this.#tcp);
    try {
      // Without this seed, the SDK's generator repeats at every start of a simulator, and is biased.
      RNG.init(random.bytes(RANDOM_BYTES).buffer as ArrayBuffer);
      this.#handshake = new Handshake({
        host,
        trust,
        primitives: sdkPrimitives,
        clientRandom: random.bytes(RANDOM_BYTES),
        offered: resumption?.offer(random),
        asksForTicket: resumption !== undefined,
        allowStaticRsaAndCbc,
      });
      this.#session = new TlsSession(this.#handshake, tls);
    } catch (error) {
      this.#tcp.close();
      throw error;
    }
  }

  get isResumed(): boolean {
    return this.#handshake.isResumed;
  }

  write(bytes: Uint8Array): number {
    const queue = this.#queue;
    if (!this.#isOpen || queue.isBlocked) return 0;
    if (this.#sealed > 0) {
      const sealed = this.#sealed;
      this.#sealed = 0;
      return sealed;
    }
    const count = Math.min(bytes.length, MAX_RECORD_BYTES);
    try {
      this.#session.write(queue, count === bytes.length ? bytes : bytes.subarray(0, count));
    } catch (error) {
      throw describe(error);
    }
    queue.flush();
    if (!queue.isBlocked) return count;
    this.#sealed = count;
    return 0;
  }

  get #isOpen(): boolean {
    return this.#state === "early" || this.#state === "established";
  }

  close(isOverdue = false): void {
    this.#close(CLOSE_NOTIFY, isOverdue);
  }

  poll(): void {
    this.#tcp.poll();
  }

  onConnected(): void {
    this.#events.onConnected();
  }

  onWritable(): void {
    try {
      if (this.#state === "connecting") {
        this.#state = "handshake";
        this.#session.proceed(this.#queue);
      }
      this.#queue.flush();
      if (this.#isOpen && !this.#queue.isBlocked) this.#events.onWritable();
    } catch (error) {
      this.#fail(error);
    }
  }

  onReadable(bytes: Uint8Array): void {
    const reader = this.#reader;
    const session = this.#session;
    const handshake = this.#handshake;
    let isNew = false;
    try {
      reader.push(bytes);
      while (this.#state !== "closed") {
        const record = reader.next();
        if (record === undefined) break;
        const data = session.take(record);
        reader.isEncrypted = handshake.isEncrypted;
        if (session.isOurTurn) session.proceed(this.#queue);
        if (session.isEnded) {
          this.#isPeerGone = true;
          if (this.#state !== "established") throw new TlsFault("the server closed the connection", CLOSE_NOTIFY);
          this.#end(undefined, CLOSE_NOTIFY);
        } else if (this.#state !== "established" && handshake.state === "established") {
          isNew = this.#state === "handshake";
          this.#state = "established";
          if (handshake.isResumed) this.#resumption?.resumed(handshake.ticket);
          else this.#resumption?.keep(session.kept, handshake.notAfterMs, this.#address);
        } else if (this.#state === "handshake" && handshake.isReadyEarly && this.#falseStart?.isAllowed) {
          this.#state = "early";
          isNew = true;
        } else if (data && data.length > 0) {
          this.#events.onReadable(data);
        }
      }
      // Before the flush, so that the client's last flight and the start of the request share a segment.
      if (isNew && this.#isOpen && !this.#queue.isBlocked) this.#events.onWritable();
      if (this.#state !== "closed") this.#queue.flush();
    } catch (error) {
      this.#fail(error);
    }
  }

  onClose(error: unknown): void {
    this.#isPeerGone = true;
    this.#fail(error ?? new AbruptEnd("The connection ended without close_notify."));
  }

  #fail(error: unknown): void {
    if (this.#state === "closed") return;
    if (error instanceof Rejection) {
      const message = `The certificate of ${this.#host} was rejected: ${error.message}.`;
      this.#end(new NetworkError("CERTIFICATE_REJECTED", "tls", message, { cause: error }), error.alert);
      return;
    }
    if (error instanceof PeerAlert) this.#isPeerGone = true;
    const fault = describe(error);
    // RFC 5246 section 7.2.2: a session must not be resumed after a fatal alert of either side.
    const isAlert = error instanceof PeerAlert || error instanceof TlsFault;
    if (isAlert && this.#state === "established") this.#resumption?.clear();
    // Another attempt, without the offered session or without False Start, may succeed.
    const isWorthAnother = this.#state === "early" || (this.#state === "handshake" && this.#handshake.isResuming);
    this.#end(fault, fault instanceof TlsFault ? fault.alert : INTERNAL_ERROR, isWorthAnother);
  }

  #end(error: unknown, alert: number, isWorthAnother = false): void {
    this.#close(alert, true);
    this.#events.onClose(error, isWorthAnother);
  }

  /** @param isFault whether the server may be the cause, as for a timeout */
  #close(alert: number, isFault: boolean): void {
    if (this.#state === "closed") return;
    const isConnected = this.#state !== "connecting";
    // Also if the app aborts while the session is being resumed: it may do so, or switch the board off, because
    // resuming hangs, and would otherwise retry it for ever.
    const { isResuming, options } = this.#handshake;
    if (this.#state === "handshake" && (isResuming || (isFault && options.offered))) this.#resumption?.clear();
    if (isFault && this.#state === "early") this.#falseStart?.fail();
    this.#state = "closed";
    try {
      if (!this.#isPeerGone && isConnected) {
        this.#session.doProtocol(this.#queue, SSLAlert, alert === CLOSE_NOTIFY ? WARNING : FATAL, alert);
        this.#queue.flush();
      }
    } catch {
      // A failed close_notify must not keep the socket open.
    }
    this.#tcp.close();
  }
}

/** Replaces exceptions of the SDK, whose texts are not meant for users. */
function describe(error: unknown): unknown {
  const isOurs = error instanceof TlsFault || error instanceof PeerAlert || error instanceof AbruptEnd;
  return isOurs ? error : new TlsFault("an error within the TLS of the SDK", INTERNAL_ERROR, error);
}

function join(records: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const record of records) length += record.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const record of records) {
    bytes.set(record, at);
    at += record.length;
  }
  return bytes;
}
