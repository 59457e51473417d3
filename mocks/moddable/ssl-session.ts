/**
 * `ssl/session`: the client side of TLS 1.2 (RFC 5246) like the SDK's session for ECMA-419 sockets, as far as the host
 * uses it. It checks as little as possible, so that tests show that the host does.
 */

import type { Digest } from "./crypt.js";
import handshakeProtocol from "./ssl-handshake.js";
import { Cipher, sealRecord } from "./ssl-record.js";

interface Sink {
  writable: number;
  write(packet: Uint8Array): number;
}

/** A record to send. */
interface Protocol {
  packetize(session: Session, ...parameters: unknown[]): Uint8Array | undefined;
}

const CHANGE_CIPHER_SPEC = 20;
const DATA = 23;

const HELLO_REQUEST = 0;
const SERVER_HELLO_DONE = 14;
const FINISHED = 20;

const changeCipherSpec: Protocol = Object.freeze({
  packetize(session: Session) {
    const record = sealRecord(session, CHANGE_CIPHER_SPEC, Uint8Array.of(1));
    session.clientCipher = new Cipher(session, true);
    return record;
  },
});

export default class Session {
  readonly options: object;
  handshakeProcess = -1;
  alert: { level: number; description: number } | undefined;
  clientSessionID: ArrayBuffer | undefined;
  serverSessionID: ArrayBuffer | undefined;
  masterSecret: ArrayBuffer | undefined;
  clientRandom: ArrayBuffer = new ArrayBuffer(0);
  serverRandom: ArrayBuffer = new ArrayBuffer(0);
  handshakeDigests: { readonly SHA256: Digest } | undefined;
  /** Messages sent before the hash function was known. */
  messages: Uint8Array[] = [];
  clientCerts: readonly ArrayBuffer[] | undefined;
  myCert: ArrayBuffer | undefined;
  readSeqNum: bigint | undefined;
  applicationData: Uint8Array | undefined;
  suite = 0;
  clientCipher: Cipher | undefined;
  serverCipher: Cipher | undefined;

  constructor(options: object) {
    if ((options as { cache?: boolean }).cache !== false) throw new Error("The stand-in has no cache of sessions.");
    this.options = options;
  }

  initiateHandshake(): void {
    this.handshakeProcess = HELLO_REQUEST;
  }

  handshake(sink: Sink): boolean {
    switch (this.handshakeProcess) {
      case HELLO_REQUEST:
        this.doProtocol(sink, handshakeProtocol.clientHello as Protocol);
        break;
      case SERVER_HELLO_DONE:
        if (this.clientCerts !== undefined) {
          this.doProtocol(sink, handshakeProtocol.certificate as Protocol, this.clientCerts);
        }
        this.doProtocol(sink, handshakeProtocol.clientKeyExchange as Protocol);
        if (this.myCert) this.doProtocol(sink, handshakeProtocol.certificateVerify as Protocol, this.myCert);
        this.doProtocol(sink, changeCipherSpec);
        this.doProtocol(sink, handshakeProtocol.finished as Protocol);
        break;
      case FINISHED:
        if (this.#isResumed) {
          this.doProtocol(sink, changeCipherSpec);
          this.doProtocol(sink, handshakeProtocol.finished as Protocol);
        }
        return true;
    }
    this.handshakeProcess = -1;
    return false;
  }

  write(sink: Sink, data: Uint8Array): number {
    sink.writable = sink.write(sealRecord(this, DATA, data));
    return Math.max(0, sink.writable - 32);
  }

  doProtocol(sink: Sink, protocol: object, ...parameters: unknown[]): void {
    const record = (protocol as Protocol).packetize(this, ...parameters);
    if (!record) return;
    sink.write(record);
    sink.writable -= record.length;
  }

  /** Whether the server resumes the session: the SDK throws if a declined session was not cleared. */
  get #isResumed(): boolean {
    const [offered, chosen] = [this.clientSessionID, this.serverSessionID];
    if (offered === undefined) return false;
    if (chosen === undefined) throw new TypeError("invalid buffer");
    return Buffer.from(offered).equals(Buffer.from(chosen));
  }
}
