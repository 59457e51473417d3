/** Checks the server's handshake messages and their order: RFC 5246 sections 7.3 and 7.4. */

import {
  DECRYPT_ERROR,
  HANDSHAKE_FAILURE,
  ILLEGAL_PARAMETER,
  malformed,
  NO_RENEGOTIATION,
  TlsFault,
  UNSUPPORTED_EXTENSION,
  unexpected,
} from "./alerts.js";
import { type Certificate, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, type PublicKey } from "./certificate.js";
import { type Trust, verifyChain } from "./chain.js";
import { isOnCurve } from "./curves.js";
import { same } from "./der.js";
import { cipherSuites, ECDHE_ECDSA_AES_128_GCM, isEcdhe, readServerHello, signatureHash } from "./hello.js";
import {
  APPLICATION_DATA,
  CHANGE_CIPHER_SPEC,
  HANDSHAKE,
  MESSAGE_HEAD_BYTES,
  MessageReader,
  RECORD_HEAD_BYTES,
  word,
} from "./records.js";
import { Rejection, UNSUPPORTED_CERTIFICATE } from "./rejection.js";
import { type KeptSession, MAX_TICKET_BYTES, type Ticket } from "./resumption.js";
import { isSignature, type SignaturePrimitives } from "./verify.js";

// Handshake types, section 7.4.
export const SERVER_HELLO = 2;
const NEW_SESSION_TICKET = 4;
const CERTIFICATE = 11;
const SERVER_KEY_EXCHANGE = 12;
const CERTIFICATE_REQUEST = 13;
export const SERVER_HELLO_DONE = 14;

const NAMED_CURVE = 3;
const SECP256R1 = 23;
/** Size of ServerECDHParams with an uncompressed point of secp256r1, RFC 8422 section 5.4. */
const ECDH_PARAMETERS_BYTES = 69;
const POINT_BYTES = 65;
/** Size of a record that holds only Finished: with AES-GCM, explicit nonce and tag take 24 bytes. */
const GCM_FINISHED_BYTES = RECORD_HEAD_BYTES + 24 + 16;

/** Number of GCM suites, which are always offered first. */
const GCM_SUITES = 2;

const RSA_SIGN = 1;
/** RSA with SHA-256: the only algorithm with which the SDK signs CertificateVerify. */
const RSA_SHA256 = 0x0401;

type State =
  | "hello"
  | "certificate"
  | "key-exchange"
  | "request-or-done"
  | "done"
  | "ticket"
  | "change-cipher"
  | "finished"
  | "established";

export interface HandshakeOptions {
  /** Hostname or IPv4 address that the certificate must match. */
  readonly host: string;
  readonly trust: Trust;
  readonly primitives: SignaturePrimitives;
  /** 32 random bytes. */
  readonly clientRandom: Uint8Array;
  /** Session to resume; with a ticket, its identifier is random and new for each handshake. */
  readonly offered?: KeptSession;
  /**
   * Whether to request a session ticket (RFC 5077).
   * @default true
   */
  readonly asksForTicket?: boolean;
  /** @default false */
  readonly allowStaticRsaAndCbc?: boolean;
}

/** State machine of one handshake. Validates every record and message against the RFC before the SDK processes it. */
export class Handshake {
  readonly options: HandshakeOptions;
  readonly suites: readonly number[];
  readonly #messages = new MessageReader();
  #state: State = "hello";
  #serverRandom: Uint8Array | undefined;
  #sessionId: Uint8Array | undefined;
  #suite = 0;
  #isExtended = false;
  #isResumed = false;
  #announcesTicket = false;
  #ticket: Ticket | undefined;
  #notAfterMs = Number.POSITIVE_INFINITY;
  #leaf: Certificate | undefined;
  #key: PublicKey | undefined;
  #point: Uint8Array | undefined;
  #takesCertificate: boolean | undefined;

  constructor(options: HandshakeOptions) {
    this.options = options;
    this.suites = cipherSuites(options.allowStaticRsaAndCbc === true);
  }

  /** Cipher suite chosen by the server; 0 before ServerHello. */
  get suite(): number {
    return this.#suite;
  }

  /** Session identifier assigned by the server; undefined if it does not keep the session. */
  get sessionId(): Uint8Array | undefined {
    return this.#sessionId;
  }

  /** Whether the server agreed to the extended master secret (RFC 7627). */
  get isExtended(): boolean {
    return this.#isExtended;
  }

  get isResumed(): boolean {
    return this.#isResumed;
  }

  /** Whether the server resumes the offered session, or has not yet declined it. */
  get isResuming(): boolean {
    return this.options.offered !== undefined && (this.#state === "hello" || this.#isResumed);
  }

  /**
   * Whether the client's Finished was sent in a full handshake with forward secrecy and AES-GCM (RFC 7918 section 5),
   * so that only the server's Finished is missing. False if the server requested a client certificate.
   */
  get isReadyEarly(): boolean {
    const isTurnOver = this.#state === "ticket" || this.#state === "change-cipher";
    return isTurnOver && !this.#isResumed && this.#isGcm && this.#takesCertificate === undefined;
  }

  /** Session ticket sent by the server; undefined without one, or if it is too long. */
  get ticket(): Ticket | undefined {
    return this.#ticket;
  }

  /** Expiry of the server's certificate in milliseconds since 1970; infinite if certificates are not verified. */
  get notAfterMs(): number {
    return this.#notAfterMs;
  }

  /** Message expected next. */
  get state(): State {
    return this.#state;
  }

  /** Whether the server's next record must be encrypted. */
  get isEncrypted(): boolean {
    return this.#state === "finished" || this.#state === "established";
  }

  /** Whether an incomplete message is buffered. */
  get isAmid(): boolean {
    return this.#messages.isAmid;
  }

  /** The server's ephemeral public key for ECDHE: an uncompressed point of secp256r1, 65 bytes. */
  get point(): Uint8Array | undefined {
    return this.#point;
  }

  /** Public key of the server's certificate, once its chain has been verified. */
  get key(): PublicKey | undefined {
    return this.#key;
  }

  /** Whether the server accepts an RSA client certificate; undefined if it requests none. */
  get takesCertificate(): boolean | undefined {
    return this.#takesCertificate;
  }

  /**
   * Processes a record. After an unencrypted handshake record, {@link next} returns the messages that it completes.
   * @param record including its header; not an alert
   * @throws {TlsFault} if the record is not allowed in this state
   */
  record(record: Uint8Array): void {
    const type = record[0];
    if (this.isAmid && type !== HANDSHAKE) throw unexpected("another record amid a handshake message");
    switch (this.#state) {
      case "established":
        if (type === HANDSHAKE) throw new TlsFault("the server wants to renegotiate", NO_RENEGOTIATION);
        if (type !== APPLICATION_DATA) throw unexpected("a record other than data after the handshake");
        return;
      case "finished":
        // The SDK parses this record and accepts any number of messages in it: it must not have room for more than one.
        if (type !== HANDSHAKE || (this.#isGcm && record.length !== GCM_FINISHED_BYTES)) {
          throw unexpected("no Finished after ChangeCipherSpec");
        }
        return;
      case "change-cipher":
        if (type !== CHANGE_CIPHER_SPEC) throw unexpected("missing ChangeCipherSpec");
        if (record.length !== RECORD_HEAD_BYTES + 1 || record[RECORD_HEAD_BYTES] !== 1) {
          throw malformed("ChangeCipherSpec");
        }
        this.#state = "finished";
        return;
      default:
        if (type !== HANDSHAKE) throw unexpected("a record of another type within the handshake");
        if (record.length === RECORD_HEAD_BYTES) throw malformed("a record");
        this.#messages.push(record.subarray(RECORD_HEAD_BYTES));
    }
  }

  /** Must be called once the SDK has verified the server's Finished. */
  finish(): void {
    this.#state = "established";
    this.#key = this.#point = this.#serverRandom = undefined;
  }

  /**
   * Returns the next complete handshake message, including its header, after all checks; undefined if another record is
   * needed.
   * @throws {TlsFault}
   * @throws {Rejection} if the certificate is not accepted
   */
  next(): Uint8Array | undefined {
    const message = this.#messages.next();
    if (message === undefined) {
      // It is the client's turn: the server must not have begun another message.
      if (this.#state === "change-cipher" && this.isAmid) throw unexpected("a message after the server's last");
      return undefined;
    }
    const body = message.subarray(MESSAGE_HEAD_BYTES);
    if (this.#state === "certificate" && message[0] === CERTIFICATE) {
      // The deepest call chain starts here. On XS, each outer name that a function uses takes a slot of its stack
      // frame, so everything else is done in other functions.
      const { host, trust, primitives } = this.options;
      this.#leaf = verifyChain(readCertificates(body), host, trust, primitives);
      checkUse(this.#leaf, this.#suite);
      this.#takeLeaf(this.#leaf);
    } else {
      this.#take(message[0], body);
    }
    return message;
  }

  #takeLeaf(leaf: Certificate): void {
    this.#key = leaf.publicKey();
    if (!this.options.trust.acceptAnything) this.#notAfterMs = leaf.notAfterMs;
    // It references the whole message.
    this.#leaf = undefined;
    this.#state = isEcdhe(this.#suite) ? "key-exchange" : "request-or-done";
  }

  /** Processes a message other than Certificate. */
  #take(type: number, body: Uint8Array): void {
    switch (this.#state) {
      case "hello":
        if (type !== SERVER_HELLO) break;
        this.#hello(body);
        return;
      case "key-exchange":
        if (type !== SERVER_KEY_EXCHANGE) break;
        this.#point = readKeyExchange(body, this.#key as PublicKey, this.#serverRandom as Uint8Array, this.options);
        this.#state = "request-or-done";
        return;
      case "request-or-done":
      case "done":
        if (type === CERTIFICATE_REQUEST && this.#state === "request-or-done") {
          this.#takesCertificate = takesRsa(body);
          this.#state = "done";
          return;
        }
        if (type !== SERVER_HELLO_DONE) break;
        if (body.length !== 0) throw malformed("ServerHelloDone");
        if (!this.#messages.isDrained) throw unexpected("a message after the server's last");
        this.#state = this.#announcesTicket ? "ticket" : "change-cipher";
        return;
      case "ticket":
        if (type !== NEW_SESSION_TICKET) break;
        this.#ticket = readTicket(body);
        this.#state = "change-cipher";
        return;
    }
    throw unexpected(`handshake message ${type} out of order`);
  }

  get #isGcm(): boolean {
    return this.suites.indexOf(this.#suite) < GCM_SUITES;
  }

  /** Section 7.4.1.3. */
  #hello(body: Uint8Array): void {
    const { suites, options } = this;
    const { random, sessionId, suite, extendedMasterSecret, announcesTicket } = readServerHello(body, suites);
    if (announcesTicket && options.asksForTicket === false) {
      throw new TlsFault("the server sent an unsolicited session ticket", UNSUPPORTED_EXTENSION);
    }
    this.#serverRandom = random;
    this.#sessionId = sessionId.length > 0 ? sessionId : undefined;
    this.#suite = suite;
    this.#isExtended = extendedMasterSecret;
    this.#announcesTicket = announcesTicket;
    const { offered } = options;
    if (offered === undefined || !same(sessionId, offered.id)) {
      this.#state = "certificate";
      return;
    }
    if (offered.suite !== suite) {
      throw new TlsFault("the server resumes with another cipher suite", ILLEGAL_PARAMETER);
    }
    // RFC 7627 section 5.3.
    if (offered.isExtended !== extendedMasterSecret) {
      throw new TlsFault("the server resumes with another kind of master secret", HANDSHAKE_FAILURE);
    }
    this.#isResumed = true;
    this.#state = announcesTicket ? "ticket" : "change-cipher";
  }
}

/**
 * Parses Certificate, section 7.4.2.
 * @returns the certificates in DER, the server's first
 */
function readCertificates(body: Uint8Array): Uint8Array[] {
  if (body.length < 3 || 3 + triple(body, 0) !== body.length) throw malformed("the list of certificates");
  const chain: Uint8Array[] = [];
  for (let at = 3; at < body.length; ) {
    const start = at + 3;
    at = start + triple(body, at);
    if (at > body.length) throw malformed("the list of certificates");
    chain.push(body.subarray(start, at));
  }
  return chain;
}

/** Checks that the server's key fits the cipher suite, and that its certificate permits this use. */
function checkUse(leaf: Certificate, suite: number): void {
  const use = isEcdhe(suite) ? DIGITAL_SIGNATURE : KEY_ENCIPHERMENT;
  if (leaf.keyUsage !== undefined && !(leaf.keyUsage & use)) {
    throw new Rejection("its key is not meant for this key exchange", UNSUPPORTED_CERTIFICATE);
  }
  if (leaf.publicKey().type !== (suite === ECDHE_ECDSA_AES_128_GCM ? "ec" : "rsa")) {
    throw new TlsFault("the key of the certificate does not fit the cipher suite", ILLEGAL_PARAMETER);
  }
}

/**
 * Verifies ServerKeyExchange, section 7.4.3 and RFC 8422 section 5.4.
 * @returns the server's ephemeral public key
 */
function readKeyExchange(
  body: Uint8Array,
  key: PublicKey,
  serverRandom: Uint8Array,
  { clientRandom, primitives }: HandshakeOptions,
): Uint8Array {
  if (body.length < 4) throw malformed("ServerKeyExchange");
  if (body[0] !== NAMED_CURVE || word(body, 1) !== SECP256R1) {
    throw new TlsFault("the key exchange uses a curve other than P-256", ILLEGAL_PARAMETER);
  }
  const length = ECDH_PARAMETERS_BYTES;
  if (body[3] !== POINT_BYTES || body.length < length + 4 || length + 4 + word(body, length + 2) !== body.length) {
    throw malformed("ServerKeyExchange");
  }
  const hash = signatureHash(body[length], body[length + 1], key.type);
  if (hash === undefined) {
    throw new TlsFault("the key exchange is signed with an algorithm that was not offered", ILLEGAL_PARAMETER);
  }
  const point = body.slice(4, length);
  if (!isOnCurve("secp256r1", point)) {
    throw new TlsFault("the key exchange has a point that is not on its curve", ILLEGAL_PARAMETER);
  }
  const parts = [clientRandom, serverRandom, body.subarray(0, length)];
  if (!isSignature(primitives, key, { key: key.type, hash }, body.subarray(length + 4), parts)) {
    throw new TlsFault("the key exchange is not signed by the certificate's key", DECRYPT_ERROR);
  }
  return point;
}

/** Whether a CertificateRequest (section 7.4.4) accepts an RSA certificate and a signature with SHA-256. */
function takesRsa(body: Uint8Array): boolean {
  const algorithmsAt = 1 + body[0];
  // A truncated length leads beyond the end.
  const authoritiesAt = algorithmsAt + 2 + word(body, algorithmsAt);
  if (
    !(body[0] > 0 && authoritiesAt + 2 <= body.length && authoritiesAt + 2 + word(body, authoritiesAt) === body.length)
  ) {
    throw malformed("CertificateRequest");
  }
  let takes = false;
  for (let at = algorithmsAt + 2; at + 1 < authoritiesAt; at += 2) takes ||= word(body, at) === RSA_SHA256;
  return takes && body.subarray(1, algorithmsAt).includes(RSA_SIGN);
}

/**
 * Parses NewSessionTicket, RFC 5077 section 3.3.
 * @returns undefined if the ticket is empty, which means that the server issues none after all, or is too long
 */
function readTicket(body: Uint8Array): Ticket | undefined {
  if (body.length < 6 || 6 + word(body, 4) !== body.length) throw malformed("NewSessionTicket");
  const length = body.length - 6;
  if (length === 0 || length > MAX_TICKET_BYTES) return undefined;
  return { bytes: body.slice(6), lifetimeSeconds: word(body, 0) * 0x10000 + word(body, 2) };
}

function triple(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 16) | word(bytes, at + 1);
}
