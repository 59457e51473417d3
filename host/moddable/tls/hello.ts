/** ClientHello and ServerHello (RFC 5246 sections 7.4.1.2 and 7.4.1.3) with the supported extensions. */

import { hexDecode } from "../../../src/crypto/hex.js";
import { HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, malformed, TlsFault, UNSUPPORTED_EXTENSION } from "./alerts.js";
import { same } from "./der.js";
import { hostIdentity } from "./names.js";
import { TLS_1_2, version, word } from "./records.js";
import type { HashName } from "./verify.js";

// Extensions.
const SERVER_NAME = 0;
const SUPPORTED_GROUPS = 10;
const EC_POINT_FORMATS = 11;
const APPLICATION_LAYER_PROTOCOL = 16;
const EXTENDED_MASTER_SECRET = 23;
const SESSION_TICKET = 35;
const RENEGOTIATION_INFO = 0xff01;

export const ECDHE_ECDSA_AES_128_GCM = 0xc02b;
const ECDHE_RSA_AES_128_GCM = 0xc02f;
/** ECDHE-RSA with AES-128-CBC; RSA with AES-128-CBC and AES-256-CBC, with SHA-256, then with SHA-1. */
const STATIC_RSA_AND_CBC = Object.freeze([0xc027, 0x003c, 0x003d, 0x002f, 0x0035]);

/** Returns the cipher suites to offer, in order of preference. */
export function cipherSuites(allowStaticRsaAndCbc: boolean): number[] {
  const suites = [ECDHE_ECDSA_AES_128_GCM, ECDHE_RSA_AES_128_GCM];
  return allowStaticRsaAndCbc ? [...suites, ...STATIC_RSA_AND_CBC] : suites;
}

/** Whether a suite uses ECDHE (RFC 8422, RFC 5289) rather than static RSA (RFC 5246 appendix A.5). */
export function isEcdhe(suite: number): boolean {
  return suite >> 8 === 0xc0;
}

const HASHES: readonly HashName[] = Object.freeze(["SHA256", "SHA384", "SHA512"] as const);

/**
 * Returns the hash of a SignatureAndHashAlgorithm (RFC 5246 section 7.4.1.4.1), or undefined if the
 * signature_algorithms extension below does not offer it for this type of key.
 */
export function signatureHash(hash: number, signature: number, key: "rsa" | "ec"): HashName | undefined {
  return signature === (key === "rsa" ? 1 : 3) ? HASHES[hash - 4] : undefined;
}

/**
 * All extensions except server_name and session_ticket, in hex: as parameters of a call, the bytes would take as much
 * stack as half a handshake. Each extension has type, length and contents.
 */
const EXTENSIONS =
  // extended_master_secret, RFC 7627.
  "0017" +
  "0000" +
  // renegotiation_info, RFC 5746: there was no handshake before.
  "ff01" +
  "0001" +
  "00" +
  // supported_groups, RFC 8422: secp256r1.
  "000a" +
  "0004" +
  "00020017" +
  // ec_point_formats: uncompressed.
  "000b" +
  "0002" +
  "0100" +
  // application_layer_protocol_negotiation, RFC 7301: http/1.1.
  "0010" +
  "000b" +
  "000908687474702f312e31" +
  // signature_algorithms: ECDSA, then RSA, each with SHA-256, SHA-384, SHA-512. Last, because old servers reject a
  // hello that ends with an empty extension.
  "000d" +
  "000e" +
  "000c040305030603040105010601";

/** ProtocolNameList that contains only "http/1.1". */
function HTTP_1_1(): Uint8Array {
  return Uint8Array.of(0, 9, 8, 0x68, 0x74, 0x74, 0x70, 0x2f, 0x31, 0x2e, 0x31);
}

export interface ClientHelloOptions {
  /** Hostname or IPv4 address. */
  readonly host: string;
  /** 32 random bytes, without the time in the first four: it is not needed, and would identify a board by its clock. */
  readonly random: Uint8Array;
  /** Identifier of the session to resume; empty for none. */
  readonly sessionId: Uint8Array;
  /**
   * Ticket of the session to resume (RFC 5077).
   * @default empty: requests a new ticket
   */
  readonly ticket?: Uint8Array;
  /**
   * Whether to send the session_ticket extension.
   * @default true
   */
  readonly asksForTicket?: boolean;
  readonly suites: readonly number[];
}

/** Encodes the body of a ClientHello. */
export function clientHello(options: ClientHelloOptions): Uint8Array {
  const { host, random, sessionId, ticket = new Uint8Array(0), asksForTicket = true, suites } = options;
  // RFC 6066 section 3: a hostname without trailing dot, never an address.
  const { address, bytes: name } = hostIdentity(host.endsWith(".") ? host.slice(0, -1) : host);
  const fixed = hexDecode(EXTENSIONS);
  const nameBytes = address ? 0 : 9 + name.length;
  const head = 35 + sessionId.length + 2 + 2 * suites.length + 2;
  const body = new Uint8Array(head + 2 + nameBytes + (asksForTicket ? 4 + ticket.length : 0) + fixed.length);
  let at = 0;
  const put = (value: number) => {
    body[at++] = value >> 8;
    body[at++] = value;
  };
  const add = (bytes: Uint8Array) => {
    body.set(bytes, at);
    at += bytes.length;
  };
  put(TLS_1_2);
  add(random);
  body[at++] = sessionId.length;
  add(sessionId);
  put(2 * suites.length);
  for (const suite of suites) put(suite);
  // One compression method: none.
  put(0x0100);
  put(body.length - at - 2);
  if (!address) {
    put(SERVER_NAME);
    put(name.length + 5);
    put(name.length + 3);
    // A host_name.
    body[at++] = 0;
    put(name.length);
    add(name);
  }
  if (asksForTicket) {
    put(SESSION_TICKET);
    put(ticket.length);
    add(ticket);
  }
  add(fixed);
  return body;
}

/** Contents of a ServerHello. */
export interface ServerHello {
  /** 32 bytes. */
  readonly random: Uint8Array;
  /** Session identifier; empty if the server does not keep the session. */
  readonly sessionId: Uint8Array;
  readonly suite: number;
  readonly extendedMasterSecret: boolean;
  /** Whether a NewSessionTicket message will follow (RFC 5077). */
  readonly announcesTicket: boolean;
}

/**
 * Parses the body of a ServerHello and checks it against what was offered.
 * @param suites offered cipher suites
 * @throws {TlsFault}
 */
export function readServerHello(body: Uint8Array, suites: readonly number[]): ServerHello {
  if (body.length < 38) throw malformed("ServerHello");
  if (word(body, 0) !== TLS_1_2) throw version();
  let at = 35 + body[34];
  if (body[34] > 32 || at + 3 > body.length) throw malformed("ServerHello");
  const sessionId = body.slice(35, at);
  const suite = word(body, at);
  if (!suites.includes(suite)) {
    throw new TlsFault("the server chose a cipher suite that was not offered", ILLEGAL_PARAMETER);
  }
  if (body[at + 2] !== 0) throw new TlsFault("the server chose compression", ILLEGAL_PARAMETER);
  at += 3;
  const seen: number[] = [];
  if (at < body.length) {
    if (at + 2 > body.length || at + 2 + word(body, at) !== body.length) throw malformed("ServerHello");
    at += 2;
    while (at < body.length) {
      if (at + 4 > body.length) throw malformed("ServerHello");
      const type = word(body, at);
      const start = at + 4;
      at = start + word(body, at + 2);
      if (at > body.length) throw malformed("ServerHello");
      if (seen.includes(type)) throw new TlsFault(`the server sent the extension ${type} twice`, ILLEGAL_PARAMETER);
      checkExtension(type, body.subarray(start, at));
      seen.push(type);
    }
  }
  return {
    random: body.slice(2, 34),
    sessionId,
    suite,
    extendedMasterSecret: seen.includes(EXTENDED_MASTER_SECRET),
    announcesTicket: seen.includes(SESSION_TICKET),
  };
}

/** Section 7.4.1.4: a server may send only extensions that the client offered. */
function checkExtension(type: number, contents: Uint8Array): void {
  switch (type) {
    case SERVER_NAME:
    case EXTENDED_MASTER_SECRET:
    case SESSION_TICKET:
      if (contents.length > 0) throw malformed("an extension of ServerHello");
      return;
    case SUPPORTED_GROUPS:
      // Some servers send it although it has no meaning there.
      return;
    case EC_POINT_FORMATS:
      // RFC 8422 section 5.2.
      if (contents.length < 2 || contents[0] !== contents.length - 1) throw malformed("an extension of ServerHello");
      if (!contents.includes(0, 1))
        throw new TlsFault("the server does not accept uncompressed points", ILLEGAL_PARAMETER);
      return;
    case APPLICATION_LAYER_PROTOCOL:
      if (!same(contents, HTTP_1_1())) {
        throw new TlsFault("the server chose a protocol other than HTTP/1.1", ILLEGAL_PARAMETER);
      }
      return;
    case RENEGOTIATION_INFO:
      // RFC 5746 section 3.4.
      if (!same(contents, Uint8Array.of(0))) {
        throw new TlsFault("the server sent renegotiation_info of another handshake", HANDSHAKE_FAILURE);
      }
      return;
    default:
      throw new TlsFault(`the server sent the unsolicited extension ${type}`, UNSUPPORTED_EXTENSION);
  }
}
