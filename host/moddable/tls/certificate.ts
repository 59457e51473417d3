/** X.509 certificates (RFC 5280), as far as a TLS client needs them. */

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
  type Span,
  same,
  viewOf,
  wordAt,
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

/** Maximum certificate size in bytes; public ones have 0.6 to 3 KB. */
export const MAX_CERTIFICATE_BYTES = 8192;
/** Maximum number of extensions; public certificates have about ten. */
export const MAX_EXTENSIONS = 32;
/** Maximum size of an object identifier and of a serial number (RFC 5280 section 4.1.2.2), in bytes. */
export const MAX_IDENTIFIER_BYTES = 20;

/** Bits of keyUsage in its first octet, RFC 5280 section 4.2.1.3. */
export const DIGITAL_SIGNATURE = 0x80;
export const KEY_ENCIPHERMENT = 0x20;
export const KEY_CERT_SIGN = 0x04;

// Extensions are identified by the last byte of 2.5.29.x, RFC 5280 section 4.2.1.
const SUBJECT_KEY_IDENTIFIER = 14;
const KEY_USAGE = 15;
const SUBJECT_ALT_NAME = 17;
const BASIC_CONSTRAINTS = 19;
const NAME_CONSTRAINTS = 30;
const CERTIFICATE_POLICIES = 32;
const AUTHORITY_KEY_IDENTIFIER = 35;
const POLICY_CONSTRAINTS = 36;
const EXT_KEY_USAGE = 37;
const OTHER = 0;

/** A parsed certificate. Keeps the DER, which must not change, and the positions of its fields. */
export class Certificate {
  readonly der: Uint8Array;
  /** 1 to 3. */
  readonly version: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** CA flag of basicConstraints; undefined without them. */
  ca: boolean | undefined;
  pathLength: number | undefined;
  keyUsage: number | undefined;
  /** Whether extKeyUsage includes TLS servers; undefined without extKeyUsage, which means no restriction. */
  serverAuth: boolean | undefined;
  /** Unknown critical extension, because of which the certificate must not be used, as a dotted object identifier. */
  unknown: string | undefined;
  readonly #tbs: Span;
  readonly #signatureAlgorithm: Span;
  readonly #signature: Span;
  readonly #issuer: Span;
  readonly #subject: Span;
  readonly #spki: Span;
  #subjectAltName: Span = 0;
  #isNameCritical = false;
  #nameConstraints: Span = 0;
  #subjectKeyIdentifier: Span = 0;
  #authorityKeyIdentifier: Span = 0;
  #publicKey: PublicKey | undefined;

  /** @throws {Rejection} if it is not a certificate in DER, or exceeds a limit */
  constructor(der: Uint8Array) {
    if (der.length > MAX_CERTIFICATE_BYTES) {
      throw new Rejection(`a certificate is longer than ${MAX_CERTIFICATE_BYTES} bytes`, BAD_CERTIFICATE);
    }
    this.der = der;
    try {
      // Two passes: the inner signature algorithm, which is signed, must equal the outer one, which is not.
      const outside = new DerCursor(der);
      const whole = outside.enter(SEQUENCE);
      this.#tbs = outside.whole(SEQUENCE);
      this.#signatureAlgorithm = outside.span(SEQUENCE);
      this.#signature = outside.span(BIT_STRING);
      outside.leave(whole);
      outside.end();
      if (viewOf(der, this.#signature)[0] !== 0) throw new DerFault("a bit string is not of whole bytes");

      const fields = new DerCursor(der);
      fields.enter(SEQUENCE);
      const tbs = fields.enter(SEQUENCE);
      this.version = readVersion(fields);
      if (fields.integer().length > MAX_IDENTIFIER_BYTES) throw new DerFault("its serial number is too long");
      // RFC 5280 section 4.1.2.3.
      if (!same(fields.read(SEQUENCE), this.signatureAlgorithm)) {
        throw new DerFault("its two signature algorithms differ");
      }
      this.#issuer = readName(fields);
      if (this.issuer.length === 0) throw new DerFault("its issuer has no name");
      const validity = fields.enter(SEQUENCE);
      this.notBeforeMs = readTime(fields);
      this.notAfterMs = readTime(fields);
      fields.leave(validity);
      this.#subject = readName(fields);
      this.#spki = fields.whole(SEQUENCE);
      if (this.version > 1) {
        if (fields.peek() === ISSUER_UNIQUE_ID) fields.skip();
        if (fields.peek() === SUBJECT_UNIQUE_ID) fields.skip();
      }

      if (this.version === 3 && fields.peek() === EXTENSIONS) {
        const explicit = fields.enter(EXTENSIONS);
        const extensions = fields.enter(SEQUENCE);
        this.#readExtensions(fields);
        fields.leave(extensions);
        fields.leave(explicit);
      }
      fields.leave(tbs);
      // Section 4.2.1.6.
      if (this.subject.length === 0 && this.ca !== true && !this.#isNameCritical) {
        throw new DerFault("it has no subject, and a subjectAltName that is not critical");
      }
    } catch (error) {
      throw unreadable("a certificate", error);
    }
  }

  #readExtensions(fields: DerCursor): void {
    const { der } = this;
    const seen: Span[] = [];
    do {
      const extension = fields.enter(SEQUENCE);
      const span = fields.span(OBJECT_IDENTIFIER);
      const id = viewOf(der, span);
      checkIdentifier(id);
      for (let i = 0; i < seen.length; i++) {
        if (same(viewOf(der, seen[i]), id)) throw new DerFault("it has an extension twice");
      }
      if (seen.push(span) > MAX_EXTENSIONS) throw new DerFault(`it has more than ${MAX_EXTENSIONS} extensions`);
      const critical = fields.peek() === BOOLEAN && fields.boolean();
      const value = fields.enter(OCTET_STRING);
      let understood = true;
      switch (id.length === 3 && id[0] === 0x55 && id[1] === 0x1d ? id[2] : OTHER) {
        case BASIC_CONSTRAINTS: {
          // Section 4.2.1.9.
          const constraints = fields.enter(SEQUENCE);
          this.ca = fields.peek() === BOOLEAN && fields.boolean();
          if (fields.peek() === INTEGER) {
            const octets = fields.integer();
            if (octets[0] >= 0x80) throw new DerFault("its path length is negative");
            this.pathLength = octets.length > 1 ? 255 : octets[0];
          }
          fields.leave(constraints);
          break;
        }
        case KEY_USAGE: {
          // Section 4.2.1.3: unused bits are zero, and at least one bit is set.
          const octets = fields.read(BIT_STRING);
          const beyond = (1 << octets[0]) - 1;
          if (octets.length < 2 || octets[0] > 7 || octets[octets.length - 1] & beyond) {
            throw new DerFault("its key usage is not well-formed");
          }
          this.keyUsage = octets[1];
          break;
        }
        case EXT_KEY_USAGE: {
          // Section 4.2.1.12.
          const purposes = fields.enter(SEQUENCE);
          let serverAuth = false;
          do {
            const purpose = fields.read(OBJECT_IDENTIFIER);
            checkIdentifier(purpose);
            serverAuth ||= isForServers(purpose);
          } while (!fields.done);
          this.serverAuth = serverAuth;
          fields.leave(purposes);
          break;
        }
        case SUBJECT_ALT_NAME:
          // Section 4.2.1.6.
          this.#subjectAltName = fields.whole(SEQUENCE);
          this.#isNameCritical = critical;
          break;
        case NAME_CONSTRAINTS:
          // Section 4.2.1.10 requires them to be critical; they are enforced even if they are not.
          this.#nameConstraints = fields.whole(SEQUENCE);
          break;
        case SUBJECT_KEY_IDENTIFIER:
          // Section 4.2.1.2: used to find issuers; must not be critical.
          this.#subjectKeyIdentifier = fields.span(OCTET_STRING);
          understood = !critical;
          break;
        case AUTHORITY_KEY_IDENTIFIER: {
          // Section 4.2.1.1.
          const identifier = fields.enter(SEQUENCE);
          if (fields.peek() === KEY_IDENTIFIER) this.#authorityKeyIdentifier = fields.span(KEY_IDENTIFIER);
          if (fields.peek() === CERTIFICATE_ISSUER) fields.skip();
          if (fields.peek() === CERTIFICATE_SERIAL_NUMBER) fields.skip();
          fields.leave(identifier);
          understood = !critical;
          break;
        }
        case CERTIFICATE_POLICIES:
          // Any policy is accepted.
          fields.skipRest();
          break;
        case POLICY_CONSTRAINTS:
          // Not supported, and they restrict what an issuer may issue: treated as critical.
          fields.skipRest();
          understood = false;
          break;
        default:
          fields.skipRest();
          understood = !critical;
      }
      if (!understood) this.unknown = dotted(id);
      fields.leave(value);
      fields.leave(extension);
    } while (!fields.done);
  }

  /** DER of the TBSCertificate: the signed bytes. */
  get tbs(): Uint8Array {
    return viewOf(this.der, this.#tbs);
  }

  /** Contents of the AlgorithmIdentifier of the signature. */
  get signatureAlgorithm(): Uint8Array {
    return viewOf(this.der, this.#signatureAlgorithm);
  }

  get signature(): Uint8Array {
    // Skips the number of unused bits.
    return viewOf(this.der, this.#signature).subarray(1);
  }

  /** Contents of the Name. */
  get issuer(): Uint8Array {
    return viewOf(this.der, this.#issuer);
  }

  /** Contents of the Name. */
  get subject(): Uint8Array {
    return viewOf(this.der, this.#subject);
  }

  /** DER of the SubjectPublicKeyInfo: the input of a pin's hash. */
  get spki(): Uint8Array {
    return viewOf(this.der, this.#spki);
  }

  /** DER of the GeneralNames. */
  get subjectAltName(): Uint8Array | undefined {
    return this.#subjectAltName === 0 ? undefined : viewOf(this.der, this.#subjectAltName);
  }

  /** DER of the NameConstraints. */
  get nameConstraints(): Uint8Array | undefined {
    return this.#nameConstraints === 0 ? undefined : viewOf(this.der, this.#nameConstraints);
  }

  get subjectKeyIdentifier(): Uint8Array | undefined {
    return this.#subjectKeyIdentifier === 0 ? undefined : viewOf(this.der, this.#subjectKeyIdentifier);
  }

  get authorityKeyIdentifier(): Uint8Array | undefined {
    return this.#authorityKeyIdentifier === 0 ? undefined : viewOf(this.der, this.#authorityKeyIdentifier);
  }

  /** @throws {Rejection} if it is malformed, or of an unsupported type */
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
 * Returns the contents of the subject without parsing the rest of the certificate, as a view; undefined if the bytes
 * are not a certificate.
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
  // Texts of the engine's own exceptions are not meant for users.
  const reason = error instanceof DerFault ? ` (${error.message})` : "";
  return new Rejection(`${what} cannot be read${reason}`, BAD_CERTIFICATE);
}

/** RSA keys must have 2048 to 4096 bits, and an odd exponent of at least 3 and less than 2^32. */
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
  if (isRsaKey(algorithm)) {
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
      throw new Rejection(
        "an RSA key has an even modulus, or its exponent is not odd, at least 3 and less than 2^32",
        BAD_CERTIFICATE,
      );
    }
    return { type: "rsa", modulus, exponent };
  }
  const curve = curveOf(algorithm);
  if (curve === undefined) {
    const kind = isEcKey(algorithm)
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

/** 1.2.840.113549.1.1.1 with NULL, RFC 3279 section 2.3.1. */
function isRsaKey(algorithm: Uint8Array): boolean {
  return (
    algorithm.length === 13 &&
    wordAt(algorithm, 0) === 0x06092a86 &&
    wordAt(algorithm, 4) === 0x4886f70d &&
    wordAt(algorithm, 8) === 0x01010105 &&
    algorithm[12] === 0
  );
}

/** 1.2.840.10045.2.1, RFC 5480 section 2.1.1. */
function isEcKey(algorithm: Uint8Array): boolean {
  return wordAt(algorithm, 0) === 0x06072a86 && wordAt(algorithm, 4) === 0x48ce3d02 && algorithm[8] === 1;
}

/** Returns the curve of an EC key: 1.2.840.10045.3.1.7 or 1.3.132.0.34. */
function curveOf(algorithm: Uint8Array): CurveName | undefined {
  if (!isEcKey(algorithm)) return undefined;
  const { length } = algorithm;
  const [middle, last] = [wordAt(algorithm, 8), wordAt(algorithm, length - 4)];
  if (length === 16) return middle === 0x0106052b && last === (0x81040022 | 0) ? "secp384r1" : undefined;
  const isP256 = length === 19 && middle === 0x0106082a && wordAt(algorithm, 12) === (0x8648ce3d | 0);
  return isP256 && last === 0x3d030107 ? "secp256r1" : undefined;
}

/** serverAuth, 1.3.6.1.5.5.7.3.1, or any purpose, 2.5.29.37.0. */
function isForServers(purpose: Uint8Array): boolean {
  if (purpose.length === 4) return wordAt(purpose, 0) === 0x551d2500;
  return purpose.length === 8 && wordAt(purpose, 0) === 0x2b060105 && wordAt(purpose, 4) === 0x05070301;
}

/** RFC 5280 section 4.1.2.1; DER omits the default. */
function readVersion(fields: DerCursor): number {
  if (fields.peek() !== VERSION) return 1;
  const explicit = fields.enter(VERSION);
  const octets = fields.integer();
  fields.leave(explicit);
  if (octets.length !== 1 || (octets[0] !== 1 && octets[0] !== 2)) throw new DerFault("its version is unknown");
  return octets[0] + 1;
}

/** Returns the position of a Name (RFC 5280 section 4.1.2.4), after checking its syntax: comparisons rely on it. */
function readName(fields: DerCursor): Span {
  const ahead = fields.copy();
  const name = ahead.enter(SEQUENCE);
  while (!ahead.done) {
    const set = ahead.enter(SET);
    do {
      const attribute = ahead.enter(SEQUENCE);
      ahead.skip(OBJECT_IDENTIFIER);
      ahead.skip();
      ahead.leave(attribute);
    } while (!ahead.done);
    ahead.leave(set);
  }
  ahead.leave(name);
  return fields.span(SEQUENCE);
}

/** Checks an OBJECT IDENTIFIER: it must not exceed the limit, and its last number must be complete. */
function checkIdentifier(id: Uint8Array): void {
  const { length } = id;
  if (length === 0 || id[length - 1] >= 0x80) throw new DerFault("an object identifier is not DER");
  if (length > MAX_IDENTIFIER_BYTES) throw new DerFault("an object identifier is too long");
}

/** Returns the dotted object identifier of an AlgorithmIdentifier, for error messages. */
export function algorithmName(contents: Uint8Array): string {
  try {
    const id = new DerCursor(contents).read(OBJECT_IDENTIFIER);
    checkIdentifier(id);
    return dotted(id);
  } catch {
    return "unknown";
  }
}

/** Formats an object identifier, such as 2.5.29.30; in hex if a number in it exceeds 2^53. */
function dotted(id: Uint8Array): string {
  let text = "";
  let arc = 0;
  for (const octet of id) {
    arc = arc * 128 + (octet & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) return `0x${hex(id)}`;
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

/** Reads a time (RFC 5280 section 4.1.2.5): with seconds, in UTC. */
function readTime(fields: DerCursor): number {
  const isShort = fields.peek() === UTC_TIME;
  const octets = fields.read(isShort ? UTC_TIME : GENERALIZED_TIME);
  const at = isShort ? 2 : 4;
  if (octets.length !== at + 11 || octets[at + 10] !== 0x5a) throw malformedDate();
  let year = digits(octets, 0);
  if (isShort) year += year >= 50 ? 1900 : 2000;
  else year = 100 * year + digits(octets, 2);
  const month = digits(octets, at);
  const day = digits(octets, at + 2);
  const seconds = 3600 * upTo(digits(octets, at + 4), 23) + 60 * upTo(digits(octets, at + 6), 59);
  const time = Date.UTC(year, month - 1, day, 0, 0, seconds + upTo(digits(octets, at + 8), 59));
  // Date.UTC normalizes invalid days such as February 30, and maps years below 100 to the 20th century.
  if (year < 100 || month < 1 || month > 12 || new Date(time).getUTCDate() !== day) throw malformedDate();
  return time;
}

/** Reads a two-digit number. */
function digits(octets: Uint8Array, at: number): number {
  return 10 * upTo(octets[at] - 0x30, 9) + upTo(octets[at + 1] - 0x30, 9);
}

function upTo(value: number, limit: number): number {
  if (value < 0 || value > limit) throw malformedDate();
  return value;
}

function malformedDate(): DerFault {
  return new DerFault("a date is malformed");
}
