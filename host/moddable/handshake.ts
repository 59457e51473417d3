/** What the TLS of the SDK leaves unchecked in a handshake: RFC 5246 sections 6.2.1, 7.3 and 7.4. */

import { type Certificate, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT } from "./tls/certificate.js";
import { sdkPrimitives } from "./tls/primitives.js";
import { Rejection, UNSUPPORTED_CERTIFICATE } from "./tls/rejection.js";
import { isEcdsaInRange, isSignature } from "./tls/verify.js";

// Record types, section 6.2.1.
const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;

// Handshake types, section 7.4.
const SERVER_HELLO = 2;
const CERTIFICATE = 11;
const SERVER_KEY_EXCHANGE = 12;
const CERTIFICATE_REQUEST = 13;
const SERVER_HELLO_DONE = 14;

const TLS_1_2 = 0x0303;
const MAX_PLAINTEXT_BYTES = 16384;
const MAX_CIPHERTEXT_BYTES = MAX_PLAINTEXT_BYTES + 2048;

// Signature and hash algorithms that the SDK offers, section 7.4.1.4.1.
const HASH_SHA256 = 4;
const SIGNATURE_RSA = 1;
const SIGNATURE_ECDSA = 3;

const NAMED_CURVE = 3;
const SECP256R1 = 23;

/** Extensions that the SDK's ClientHello carries: server_name, groups, point formats, algorithms, ALPN. */
const OFFERED_EXTENSIONS = Object.freeze([0, 10, 11, 13, 16]);

/** As few bits as a Diffie-Hellman group may have: less has been broken (weakdh.org). */
const MIN_DH_BYTES = 256;

export type KeyExchange = "rsa" | "dhe" | "ecdhe";

/** What the guard has to know of the session. */
export interface HandshakeView {
  /** The session that this side asked to resume. */
  readonly offeredSession: Uint8Array | undefined;
  /** The cipher suite of that session. */
  readonly offeredSuite: number | undefined;
  readonly clientRandom: ArrayBuffer;
  readonly serverRandom: ArrayBuffer;
  /** The server's certificate, once its chain has been verified. */
  readonly leaf: Certificate | undefined;
}

type State =
  | "hello"
  | "certificate"
  | "key-exchange"
  | "request-or-done"
  | "done"
  | "change-cipher"
  | "finished"
  | "established";

/** The handshake is not as it has to be; `alert` says so to the server (RFC 5246 section 7.2.2). */
export class HandshakeFault extends Error {
  readonly alert: number;

  constructor(reason: string, alert: number) {
    super(reason);
    this.alert = alert;
  }
}

const UNEXPECTED_MESSAGE = 10;
const RECORD_OVERFLOW = 22;
const ILLEGAL_PARAMETER = 47;
const DECODE_ERROR = 50;
const DECRYPT_ERROR = 51;
const PROTOCOL_VERSION = 70;
const INSUFFICIENT_SECURITY = 71;
const UNSUPPORTED_EXTENSION = 110;

/** Looks at every record before the SDK does and lets pass only what may come next. */
export class HandshakeGuard {
  #state: State = "hello";
  #keyExchange: KeyExchange = "rsa";
  #suite = 0;
  #resumed = false;
  #signedExchange: Uint8Array | undefined;

  /** The cipher suite that the server chose. */
  get suite(): number {
    return this.#suite;
  }

  get resumed(): boolean {
    return this.#resumed;
  }

  get established(): boolean {
    return this.#state === "established";
  }

  /**
   * Checks a whole record, header included.
   * @throws {HandshakeFault}
   */
  inspect(record: Uint8Array, view: HandshakeView): void {
    const type = record[0];
    const encrypted = this.#state === "finished" || this.#state === "established";
    if (word(record, 1) !== TLS_1_2) throw version();
    if (record.length - 5 > (encrypted ? MAX_CIPHERTEXT_BYTES : MAX_PLAINTEXT_BYTES)) {
      throw new HandshakeFault("a record is longer than TLS allows", RECORD_OVERFLOW);
    }
    if (type === ALERT) return;
    switch (this.#state) {
      case "established":
        if (type !== APPLICATION_DATA) throw unexpected("a record other than data after the handshake");
        return;
      case "finished":
        // Encrypted, so the SDK looks into it.
        if (type !== HANDSHAKE) throw unexpected("no Finished after ChangeCipherSpec");
        this.#state = "established";
        return;
      case "change-cipher":
        if (type !== CHANGE_CIPHER_SPEC) throw unexpected("no ChangeCipherSpec where it has to come");
        if (record.length !== 6 || record[5] !== 1) throw decode("ChangeCipherSpec");
        this.#state = "finished";
        return;
      default:
        if (type !== HANDSHAKE) throw unexpected("a record other than of the handshake");
    }
    if (record.length === 5) throw decode("a record");
    let at = 5;
    while (at < record.length) {
      if (at + 4 > record.length) throw fragmented();
      const end = at + 4 + (record[at + 1] << 16) + word(record, at + 2);
      if (end > record.length) throw fragmented();
      this.#message(record[at], record.subarray(at + 4, end), view);
      at = end;
    }
  }

  #message(type: number, body: Uint8Array, view: HandshakeView): void {
    switch (this.#state) {
      case "hello":
        if (type !== SERVER_HELLO) break;
        this.#hello(body, view);
        return;
      case "certificate":
        if (type !== CERTIFICATE) break;
        // Its contents are the certificate manager's business.
        this.#state = this.#keyExchange === "rsa" ? "request-or-done" : "key-exchange";
        return;
      case "key-exchange":
        if (type !== SERVER_KEY_EXCHANGE) break;
        // Checked once the certificate has been: both may stand in one record.
        this.#signedExchange = body;
        this.#state = "request-or-done";
        return;
      case "request-or-done":
      case "done":
        if (type === CERTIFICATE_REQUEST && this.#state === "request-or-done") {
          this.#state = "done";
          return;
        }
        if (type !== SERVER_HELLO_DONE) break;
        if (body.length !== 0) throw decode("ServerHelloDone");
        this.#state = "change-cipher";
        return;
    }
    throw unexpected(`handshake message ${type} out of order`);
  }

  /** Section 7.4.1.3. */
  #hello(body: Uint8Array, view: HandshakeView): void {
    if (body.length < 38) throw decode("ServerHello");
    if (word(body, 0) !== TLS_1_2) throw version();
    const idLength = body[34];
    let at = 35 + idLength;
    if (idLength > 32 || at + 3 > body.length) throw decode("ServerHello");
    const id = body.subarray(35, at);
    this.#suite = word(body, at);
    this.#keyExchange = keyExchangeOf(this.#suite);
    if (body[at + 2] !== 0) throw new HandshakeFault("the server wants compression", ILLEGAL_PARAMETER);
    at += 3;
    if (at < body.length) {
      if (at + 2 > body.length || at + 2 + word(body, at) !== body.length) throw decode("ServerHello");
      at += 2;
      let seen = "";
      while (at < body.length) {
        if (at + 4 > body.length) throw decode("ServerHello");
        const extension = word(body, at);
        at += 4 + word(body, at + 2);
        if (at > body.length) throw decode("ServerHello");
        // Section 7.4.1.4: only what the client has offered, and nothing twice.
        if (!OFFERED_EXTENSIONS.includes(extension) || seen.includes(`,${extension},`)) {
          throw new HandshakeFault(`the server sent the unsolicited extension ${extension}`, UNSUPPORTED_EXTENSION);
        }
        seen += `,${extension},`;
      }
    }
    this.#resumed = idLength > 0 && view.offeredSession !== undefined && equal(id, view.offeredSession);
    if (this.#resumed && view.offeredSuite !== this.#suite) {
      throw new HandshakeFault("the server resumes with another cipher suite", ILLEGAL_PARAMETER);
    }
    this.#state = this.#resumed ? "change-cipher" : "certificate";
  }

  /**
   * Checks how the key exchange is signed; called when the SDK asks for the server's key, which it then uses.
   * @throws {HandshakeFault}
   * @throws {Rejection} if the key must not be used so
   */
  checkKeyExchange(view: HandshakeView): void {
    const { leaf } = view;
    const body = this.#signedExchange;
    this.#signedExchange = undefined;
    if (!leaf) throw unexpected("a key exchange before the certificate");
    const use = this.#keyExchange === "rsa" ? KEY_ENCIPHERMENT : DIGITAL_SIGNATURE;
    if (leaf.keyUsage !== undefined && !(leaf.keyUsage & use)) {
      throw new Rejection("its key is not meant for this key exchange", UNSUPPORTED_CERTIFICATE);
    }
    if (this.#keyExchange === "rsa") return;
    if (body === undefined) throw unexpected("no key exchange where one is needed");
    const length = this.#keyExchange === "ecdhe" ? ecdhParameters(body) : dhParameters(body);
    if (length + 4 > body.length || length + 4 + word(body, length + 2) !== body.length) {
      throw decode("ServerKeyExchange");
    }
    const hash = body[length];
    const algorithm = body[length + 1];
    const key = leaf.publicKey();
    if (hash !== HASH_SHA256 || algorithm !== (key.type === "rsa" ? SIGNATURE_RSA : SIGNATURE_ECDSA)) {
      throw new HandshakeFault("the key exchange is signed with an algorithm that was not offered", ILLEGAL_PARAMETER);
    }
    const signature = body.subarray(length + 4);
    // The SDK verifies ECDSA itself, well but for the range; doing it twice would double the handshake's time.
    const good =
      key.type === "ec"
        ? isEcdsaInRange(key.curve, signature)
        : isSignature(sdkPrimitives, key, { key: "rsa", hash: "SHA256" }, signature, [
            new Uint8Array(view.clientRandom),
            new Uint8Array(view.serverRandom),
            body.subarray(0, length),
          ]);
    if (!good) throw new HandshakeFault("the key exchange is not signed by the certificate's key", DECRYPT_ERROR);
  }
}

/** Length of the ServerECDHParams, RFC 8422 section 5.4. */
function ecdhParameters(body: Uint8Array): number {
  if (body.length < 4) throw decode("ServerKeyExchange");
  if (body[0] !== NAMED_CURVE || word(body, 1) !== SECP256R1) {
    throw new HandshakeFault("the key exchange uses a curve other than P-256", ILLEGAL_PARAMETER);
  }
  if (body[3] !== 65 || body.length < 69 || body[4] !== 4) throw decode("ServerKeyExchange");
  return 69;
}

/** Length of the ServerDHParams, RFC 5246 section 7.4.3. */
function dhParameters(body: Uint8Array): number {
  let at = 0;
  for (let i = 0; i < 3; i++) {
    if (at + 2 > body.length) throw decode("ServerKeyExchange");
    const length = word(body, at);
    at += 2 + length;
    if (i === 0 && (length < MIN_DH_BYTES || body[2] === 0)) {
      throw new HandshakeFault("the Diffie-Hellman group is smaller than 2048 bits", INSUFFICIENT_SECURITY);
    }
  }
  return at;
}

/** RFC 5246 appendix A.5, RFC 5288, RFC 5289: of the suites that the SDK offers. */
function keyExchangeOf(suite: number): KeyExchange {
  if (suite >> 8 === 0xc0) return "ecdhe";
  return suite === 0x67 || suite === 0x6b || suite === 0x9e || suite === 0x9f ? "dhe" : "rsa";
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function version(): HandshakeFault {
  return new HandshakeFault("the server does not speak TLS 1.2", PROTOCOL_VERSION);
}

function unexpected(what: string): HandshakeFault {
  return new HandshakeFault(what, UNEXPECTED_MESSAGE);
}

function decode(what: string): HandshakeFault {
  return new HandshakeFault(`${what} is not well-formed`, DECODE_ERROR);
}

function fragmented(): HandshakeFault {
  return new HandshakeFault("a handshake message goes over several records, which the SDK cannot read", DECODE_ERROR);
}
