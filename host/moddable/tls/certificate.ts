/** X.509 certificates (RFC 5280), as far as a client has to understand them. */

import { hex } from "../../../src/crypto/hex.js";
import { type CurveName, isOnCurve } from "./curves.js";
import {
  BIT_STRING,
  BOOLEAN,
  DerCursor,
  DerFault,
  INTEGER,
  OBJECT_IDENTIFIER,
  OCTET_STRING,
  SEQUENCE,
  SET,
  same,
} from "./der.js";
import { BAD_CERTIFICATE, Rejection, UNSUPPORTED_CERTIFICATE } from "./rejection.js";

const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const VERSION = 0xa0;
const ISSUER_UNIQUE_ID = 0x81;
const SUBJECT_UNIQUE_ID = 0x82;
const EXTENSIONS = 0xa3;
const KEY_IDENTIFIER = 0x80;
const CERTIFICATE_ISSUER = 0xa1;
const CERTIFICATE_SERIAL_NUMBER = 0x82;

/** Longest certificate that is read, in bytes; public ones have 0.6 to 3 KB. */
export const MAX_CERTIFICATE_BYTES = 8192;
/** Extensions in a certificate; public ones have about ten. */
export const MAX_EXTENSIONS = 32;
/** Longest object identifier and serial number (RFC 5280 section 4.1.2.2), in bytes. */
export const MAX_IDENTIFIER_BYTES = 20;

/** Bits of keyUsage, RFC 5280 section 4.2.1.3, as the first octet has them. */
export const DIGITAL_SIGNATURE = 0x80;
export const KEY_ENCIPHERMENT = 0x20;
export const KEY_CERT_SIGN = 0x04;

// RFC 5280 section 4.2.1.12.
const SERVER_AUTH = "2b06010505070301";
const ANY_PURPOSE = "551d2500";

/** Fields are views of the DER that was read, which must not change as long as they are used. */
export class Certificate {
  /** 1 to 3. */
  readonly version: number;
  /** DER of what is signed. */
  readonly tbs: Uint8Array;
  /** Contents of the AlgorithmIdentifier of the signature. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
  /** Contents of the names. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** DER of the SubjectPublicKeyInfo: what a pin is the hash of. */
  readonly spki: Uint8Array;
  /** From basicConstraints; undefined where there are none. */
  readonly ca: boolean | undefined;
  readonly pathLength: number | undefined;
  readonly keyUsage: number | undefined;
  /** Whether extKeyUsage includes TLS servers; undefined where there is none, and so no limit. */
  readonly serverAuth: boolean | undefined;
  /** DER of the GeneralNames in subjectAltName. */
  readonly subjectAltName: Uint8Array | undefined;
  /** DER of the NameConstraints. */
  readonly nameConstraints: Uint8Array | undefined;
  readonly subjectKeyIdentifier: Uint8Array | undefined;
  readonly authorityKeyIdentifier: Uint8Array | undefined;
  /** An extension because of which the certificate must not be used, as a dotted object identifier. */
  readonly unknown: string | undefined;
  #publicKey: PublicKey | undefined;

  /** @throws {Rejection} if it is not a certificate in DER, or goes beyond a limit */
  constructor(der: Uint8Array) {
    if (der.length > MAX_CERTIFICATE_BYTES) {
      throw new Rejection(`a certificate is longer than ${MAX_CERTIFICATE_BYTES} bytes`, BAD_CERTIFICATE);
    }
    try {
      const cursor = new DerCursor(der);
      const whole = cursor.enter(SEQUENCE);
      this.tbs = cursor.element(SEQUENCE);
      this.signatureAlgorithm = cursor.read(SEQUENCE);
      this.signature = cursor.octetsOfBits();
      cursor.leave(whole);
      cursor.end();

      const fields = new DerCursor(this.tbs);
      const tbs = fields.enter(SEQUENCE);
      this.version = readVersion(fields);
      if (fields.integer().length > MAX_IDENTIFIER_BYTES) throw new DerFault("its serial number is too long");
      // RFC 5280 section 4.1.2.3: the same as outside, where it is not signed.
      if (!same(fields.read(SEQUENCE), this.signatureAlgorithm))
        throw new DerFault("its two signature algorithms differ");
      this.issuer = readName(fields);
      if (this.issuer.length === 0) throw new DerFault("its issuer has no name");
      const validity = fields.enter(SEQUENCE);
      this.notBeforeMs = readTime(fields);
      this.notAfterMs = readTime(fields);
      fields.leave(validity);
      this.subject = readName(fields);
      this.spki = fields.element(SEQUENCE);
      if (this.version > 1) {
        if (fields.peek() === ISSUER_UNIQUE_ID) fields.skip();
        if (fields.peek() === SUBJECT_UNIQUE_ID) fields.skip();
      }

      let ca: boolean | undefined;
      let pathLength: number | undefined;
      let keyUsage: number | undefined;
      let serverAuth: boolean | undefined;
      let subjectAltName: Uint8Array | undefined;
      let isNameCritical = false;
      let nameConstraints: Uint8Array | undefined;
      let subjectKeyIdentifier: Uint8Array | undefined;
      let authorityKeyIdentifier: Uint8Array | undefined;
      let unknown: string | undefined;
      if (this.version === 3 && fields.peek() === EXTENSIONS) {
        const explicit = fields.enter(EXTENSIONS);
        const extensions = fields.enter(SEQUENCE);
        const seen: string[] = [];
        do {
          const extension = fields.enter(SEQUENCE);
          const id = readIdentifier(fields);
          const critical = fields.peek() === BOOLEAN && fields.boolean();
          const value = fields.enter(OCTET_STRING);
          if (seen.includes(id)) throw new DerFault("it has an extension twice");
          if (seen.push(id) > MAX_EXTENSIONS) throw new DerFault(`it has more than ${MAX_EXTENSIONS} extensions`);
          switch (id) {
            case "551d13": {
              // basicConstraints, RFC 5280 section 4.2.1.9
              const constraints = fields.enter(SEQUENCE);
              ca = fields.peek() === BOOLEAN && fields.boolean();
              if (fields.peek() === INTEGER) {
                const octets = fields.integer();
                if (octets[0] >= 0x80) throw new DerFault("its path length is negative");
                pathLength = octets.length > 1 ? 255 : octets[0];
              }
              fields.leave(constraints);
              break;
            }
            case "551d0f": {
              // keyUsage, RFC 5280 section 4.2.1.3
              const octets = fields.read(BIT_STRING);
              const unused = octets[0];
              if (octets.length < 2 || unused > 7 || octets[octets.length - 1] & ((1 << unused) - 1)) {
                throw new DerFault("its key usage is not well-formed");
              }
              keyUsage = octets[1];
              break;
            }
            case "551d25": {
              // extKeyUsage, RFC 5280 section 4.2.1.12
              const purposes = fields.enter(SEQUENCE);
              serverAuth = false;
              do {
                const purpose = readIdentifier(fields);
                if (purpose === SERVER_AUTH || purpose === ANY_PURPOSE) serverAuth = true;
              } while (!fields.done);
              fields.leave(purposes);
              break;
            }
            case "551d11":
              // subjectAltName, RFC 5280 section 4.2.1.6
              subjectAltName = fields.element(SEQUENCE);
              isNameCritical = critical;
              break;
            case "551d1e":
              // nameConstraints limit what an issuer may issue even where it forgot to call them critical.
              nameConstraints = fields.element(SEQUENCE);
              break;
            case "551d0e":
              // subjectKeyIdentifier, RFC 5280 section 4.2.1.2: it helps to find issuers, and must not be critical.
              subjectKeyIdentifier = fields.read(OCTET_STRING);
              if (critical) unknown = id;
              break;
            case "551d23": {
              // authorityKeyIdentifier, RFC 5280 section 4.2.1.1
              const identifier = fields.enter(SEQUENCE);
              if (fields.peek() === KEY_IDENTIFIER) authorityKeyIdentifier = fields.read(KEY_IDENTIFIER);
              if (fields.peek() === CERTIFICATE_ISSUER) fields.skip();
              if (fields.peek() === CERTIFICATE_SERIAL_NUMBER) fields.skip();
              fields.leave(identifier);
              if (critical) unknown = id;
              break;
            }
            case "551d20":
              // certificatePolicies: any policy will do here, so there is nothing to check.
              fields.skipRest();
              break;
            case "551d24":
              // policyConstraints limit what an issuer may issue, like nameConstraints.
              fields.skipRest();
              unknown = id;
              break;
            default:
              fields.skipRest();
              if (critical) unknown = id;
          }
          fields.leave(value);
          fields.leave(extension);
        } while (!fields.done);
        fields.leave(extensions);
        fields.leave(explicit);
      }
      fields.leave(tbs);

      // RFC 5280 section 4.2.1.6.
      if (this.subject.length === 0 && ca !== true && !isNameCritical) {
        throw new DerFault("it has no subject, and a subjectAltName that is not critical");
      }
      this.ca = ca;
      this.pathLength = pathLength;
      this.keyUsage = keyUsage;
      this.serverAuth = serverAuth;
      this.subjectAltName = subjectAltName;
      this.nameConstraints = nameConstraints;
      this.subjectKeyIdentifier = subjectKeyIdentifier;
      this.authorityKeyIdentifier = authorityKeyIdentifier;
      this.unknown = unknown && dotted(unknown);
    } catch (error) {
      throw unreadable("a certificate", error);
    }
  }

  /** @throws {Rejection} if it cannot be read, or is of a kind that signatures cannot be checked with */
  publicKey(): PublicKey {
    try {
      this.#publicKey ??= readPublicKey(this.spki);
      return this.#publicKey;
    } catch (error) {
      if (error instanceof Rejection) throw error;
      throw unreadable("the public key of a certificate", error);
    }
  }
}

/**
 * The subject's name, to find a certificate by without reading all of it.
 * @returns its contents, a view; undefined if the bytes are no certificate
 */
export function subjectOf(der: Uint8Array): Uint8Array | undefined {
  try {
    const fields = new DerCursor(der);
    fields.enter(SEQUENCE);
    fields.enter(SEQUENCE);
    if (fields.peek() === VERSION) fields.skip();
    fields.skip(INTEGER);
    fields.skip(SEQUENCE);
    fields.skip(SEQUENCE);
    fields.skip(SEQUENCE);
    return fields.read(SEQUENCE);
  } catch {
    return undefined;
  }
}

function unreadable(what: string, error: unknown): Rejection {
  // An engine's own text, of an error that nobody foresaw, is not for users.
  const reason = error instanceof DerFault ? ` (${error.message})` : "";
  return new Rejection(`${what} cannot be read${reason}`, BAD_CERTIFICATE);
}

// AlgorithmIdentifiers of keys: RFC 3279 section 2.3.1, with NULL; RFC 5480 section 2.1.1, with a named curve.
const RSA_KEY = "06092a864886f70d0101010500";
const EC_KEYS: Readonly<Record<string, CurveName>> = Object.freeze({
  "06072a8648ce3d020106082a8648ce3d030107": "secp256r1",
  "06072a8648ce3d020106052b81040022": "secp384r1",
});
const EC_PUBLIC_KEY = "06072a8648ce3d0201";

/** A key of 2048 to 4096 bits, the exponent odd, from 3 and below 2^32. */
const MIN_MODULUS_BYTES = 256;
const MAX_MODULUS_BYTES = 512;

export type PublicKey =
  | { readonly type: "rsa"; readonly modulus: Uint8Array; readonly exponent: Uint8Array }
  | { readonly type: "ec"; readonly curve: CurveName; readonly point: Uint8Array };

function readPublicKey(spki: Uint8Array): PublicKey {
  const fields = new DerCursor(spki);
  const outer = fields.enter(SEQUENCE);
  const algorithm = fields.read(SEQUENCE);
  const bits = fields.octetsOfBits();
  fields.leave(outer);
  fields.end();
  const id = hex(algorithm.subarray(0, MAX_IDENTIFIER_BYTES));
  if (id === RSA_KEY) {
    const key = new DerCursor(bits);
    const numbers = key.enter(SEQUENCE);
    const modulus = key.positive();
    const exponent = key.positive();
    key.leave(numbers);
    key.end();
    const bytes = modulus.length;
    if (bytes < MIN_MODULUS_BYTES || (bytes === MIN_MODULUS_BYTES && modulus[0] < 0x80)) {
      throw new Rejection("an RSA key has fewer than 2048 bits", UNSUPPORTED_CERTIFICATE);
    }
    if (bytes > MAX_MODULUS_BYTES) {
      throw new Rejection("an RSA key has more than 4096 bits", UNSUPPORTED_CERTIFICATE);
    }
    const last = exponent[exponent.length - 1];
    if (!(modulus[bytes - 1] & last & 1) || exponent.length > 4 || (exponent.length === 1 && last < 3)) {
      throw new Rejection("an RSA key is even, or its exponent is not odd, from 3 and below 2^32", BAD_CERTIFICATE);
    }
    return { type: "rsa", modulus, exponent };
  }
  const curve = EC_KEYS[id];
  if (curve === undefined) {
    const kind = id.startsWith(EC_PUBLIC_KEY)
      ? "a key is on an elliptic curve other than P-256 and P-384"
      : `a key is neither RSA nor EC (object identifier ${algorithmName(algorithm)})`;
    throw new Rejection(kind, UNSUPPORTED_CERTIFICATE);
  }
  if (bits[0] === 2 || bits[0] === 3) {
    throw new Rejection("compressed EC points are not supported", UNSUPPORTED_CERTIFICATE);
  }
  if (!isOnCurve(curve, bits)) throw new Rejection("a key is not a point of its elliptic curve", BAD_CERTIFICATE);
  return { type: "ec", curve, point: bits };
}

/** RFC 5280 section 4.1.2.1; DER leaves out the default. */
function readVersion(fields: DerCursor): number {
  if (fields.peek() !== VERSION) return 1;
  const explicit = fields.enter(VERSION);
  const octets = fields.integer();
  fields.leave(explicit);
  if (octets.length !== 1 || (octets[0] !== 1 && octets[0] !== 2)) throw new DerFault("its version is unknown");
  return octets[0] + 1;
}

/** The contents of a Name (RFC 5280 section 4.1.2.4), read through, as names are compared as they are. */
function readName(fields: DerCursor): Uint8Array {
  const contents = fields.read(SEQUENCE);
  const name = new DerCursor(contents);
  while (!name.done) {
    const set = name.enter(SET);
    do {
      const attribute = name.enter(SEQUENCE);
      name.skip(OBJECT_IDENTIFIER);
      name.skip();
      name.leave(attribute);
    } while (!name.done);
    name.leave(set);
  }
  return contents;
}

/** An object identifier in hex. */
function readIdentifier(fields: DerCursor): string {
  const octets = fields.read(OBJECT_IDENTIFIER);
  const { length } = octets;
  if (length === 0 || octets[length - 1] >= 0x80) throw new DerFault("an object identifier is not DER");
  if (length > MAX_IDENTIFIER_BYTES) throw new DerFault("an object identifier is too long");
  return hex(octets);
}

/** The object identifier of an AlgorithmIdentifier, for an error message. */
export function algorithmName(contents: Uint8Array): string {
  try {
    return dotted(readIdentifier(new DerCursor(contents)));
  } catch {
    return "unknown";
  }
}

/** An object identifier as people know it: 2.5.29.30. Arcs are UUIDs at the longest, which stay in hex. */
function dotted(id: string): string {
  let text = "";
  let arc = 0;
  for (let i = 0; i < id.length; i += 2) {
    const octet = Number.parseInt(id.slice(i, i + 2), 16);
    arc = arc * 128 + (octet & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) return `0x${id}`;
    if (octet >= 0x80) continue;
    if (text === "") {
      const root = Math.min(2, Math.floor(arc / 40));
      text = `${root}.${arc - 40 * root}`;
    } else {
      text += `.${arc}`;
    }
    arc = 0;
  }
  return text;
}

/** RFC 5280 section 4.1.2.5: to the second, in UTC. */
function readTime(fields: DerCursor): number {
  const isShort = fields.peek() === UTC_TIME;
  const octets = fields.read(isShort ? UTC_TIME : GENERALIZED_TIME);
  const years = isShort ? 2 : 4;
  if (octets.length !== years + 11 || octets[years + 10] !== 0x5a) throw malformedDate();
  const number = (at: number, digits = 2) => {
    let value = 0;
    for (let i = at; i < at + digits; i++) {
      const digit = octets[i] - 0x30;
      if (digit < 0 || digit > 9) throw malformedDate();
      value = 10 * value + digit;
    }
    return value;
  };
  let year = number(0, years);
  if (isShort) year += year >= 50 ? 1900 : 2000;
  const month = number(years);
  const day = number(years + 2);
  const [hour, minute, second] = [number(years + 4), number(years + 6), number(years + 8)];
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  // Date.UTC makes another day of a 30th of February, and takes years below 100 for the 20th century.
  const isDay = year >= 100 && month >= 1 && month <= 12 && new Date(time).getUTCDate() === day;
  if (!isDay || hour > 23 || minute > 59 || second > 59) throw malformedDate();
  return time;
}

function malformedDate(): DerFault {
  return new DerFault("a date is not written as it should be");
}
