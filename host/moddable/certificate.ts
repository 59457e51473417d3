/** X.509 certificates (RFC 5280), as far as a client has to understand them. */

import { BIT_STRING, DerReader, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE } from "../../src/crypto/der.js";
import { hex } from "../../src/crypto/hex.js";

const BOOLEAN = 0x01;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const VERSION = 0xa0;
const ISSUER_UNIQUE_ID = 0x81;
const SUBJECT_UNIQUE_ID = 0x82;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

// RFC 8017 appendix A.1, RFC 5480 section 2.1.
const RSA_ENCRYPTION = "2a864886f70d010101";
const EC_PUBLIC_KEY = "2a8648ce3d0201";

/** RFC 5480 section 2.1.1.1; the curves that the SDK calculates with. */
const CURVES: Readonly<Record<string, "secp256r1" | "secp384r1">> = Object.freeze({
  "2a8648ce3d030107": "secp256r1",
  "2b81040022": "secp384r1",
});

/** Bits of keyUsage, RFC 5280 section 4.2.1.3, as the first octet has them. */
export const DIGITAL_SIGNATURE = 0x80;
export const KEY_ENCIPHERMENT = 0x20;
export const KEY_CERT_SIGN = 0x04;

export type PublicKey =
  | { readonly type: "rsa"; readonly modulus: Uint8Array; readonly exponent: Uint8Array }
  | { readonly type: "ec"; readonly curve: "secp256r1" | "secp384r1"; readonly point: Uint8Array };

/** What is wrong with a certificate, and the TLS alert that says so (RFC 5246 section 7.2.2). */
export class Rejection extends Error {
  readonly alert: number;

  constructor(reason: string, alert: number) {
    super(reason);
    this.alert = alert;
  }
}

export const BAD_CERTIFICATE = 42;
export const UNSUPPORTED_CERTIFICATE = 43;
export const CERTIFICATE_EXPIRED = 45;
export const UNKNOWN_CA = 48;

export class Certificate {
  /** DER of what is signed. */
  readonly tbs: Uint8Array;
  /** Object identifier of the signature's algorithm, in hex. */
  readonly signatureAlgorithm: string;
  readonly signature: Uint8Array;
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
  /** Object identifiers in hex. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly Uint8Array[];
  /** An extension without which the certificate must not be used, in hex. */
  readonly unknown: string | undefined;

  /** @throws {Rejection} if it is not a certificate in DER */
  constructor(der: Uint8Array) {
    try {
      const all = new DerReader(der);
      const outer = all.read(SEQUENCE);
      if (!all.done) throw new Error("bytes follow it");
      const parts = new DerReader(outer);
      const tbs = parts.read(SEQUENCE);
      this.tbs = outer.subarray(0, tbs.byteOffset + tbs.length - outer.byteOffset);
      const algorithm = parts.read(SEQUENCE);
      this.signatureAlgorithm = readAlgorithm(algorithm);
      this.signature = readBits(parts);
      if (!parts.done) throw new Error("bytes follow the signature");

      const fields = new DerReader(tbs);
      const version = fields.peek() === VERSION ? new DerReader(fields.read(VERSION)).unsigned()[0] : 0;
      fields.read(INTEGER);
      // RFC 5280 section 4.1.2.3: the same as outside, where it is not signed.
      if (!same(fields.read(SEQUENCE), algorithm)) throw new Error("its two signature algorithms differ");
      this.issuer = fields.read(SEQUENCE);
      const validity = fields.sequence();
      this.notBeforeMs = readTime(validity);
      this.notAfterMs = readTime(validity);
      this.subject = fields.read(SEQUENCE);
      const start = this.subject.byteOffset + this.subject.length - tbs.byteOffset;
      const spki = fields.read(SEQUENCE);
      this.spki = tbs.subarray(start, spki.byteOffset + spki.length - tbs.byteOffset);
      if (fields.peek() === ISSUER_UNIQUE_ID) fields.skip();
      if (fields.peek() === SUBJECT_UNIQUE_ID) fields.skip();

      let ca: boolean | undefined;
      let pathLength: number | undefined;
      let keyUsage: number | undefined;
      let extendedKeyUsage: string[] | undefined;
      let unknown: string | undefined;
      const dnsNames: string[] = [];
      const ipAddresses: Uint8Array[] = [];
      if (fields.peek() === EXTENSIONS) {
        if (version !== 2) throw new Error("it has extensions, but is not of version 3");
        const extensions = new DerReader(fields.read(EXTENSIONS)).sequence();
        const seen: string[] = [];
        while (!extensions.done) {
          const extension = extensions.sequence();
          const id = hex(extension.read(OBJECT_IDENTIFIER));
          const critical = extension.peek() === BOOLEAN && extension.read(BOOLEAN)[0] !== 0;
          const value = new DerReader(extension.read(OCTET_STRING));
          if (seen.includes(id)) throw new Error("it has an extension twice");
          seen.push(id);
          switch (id) {
            case "551d13": {
              // basicConstraints, RFC 5280 section 4.2.1.9
              const constraints = value.sequence();
              ca = constraints.peek() === BOOLEAN && constraints.read(BOOLEAN)[0] !== 0;
              if (constraints.peek() === INTEGER) {
                const octets = constraints.unsigned();
                pathLength = octets.length > 1 ? 255 : (octets[0] ?? 0);
              }
              break;
            }
            case "551d0f": {
              // keyUsage, RFC 5280 section 4.2.1.3
              const octets = value.read(BIT_STRING);
              keyUsage = octets.length > 1 ? octets[1] : 0;
              break;
            }
            case "551d25": {
              // extKeyUsage, RFC 5280 section 4.2.1.12
              const purposes = value.sequence();
              extendedKeyUsage = [];
              while (!purposes.done) extendedKeyUsage.push(hex(purposes.read(OBJECT_IDENTIFIER)));
              break;
            }
            case "551d11": {
              // subjectAltName, RFC 5280 section 4.2.1.6
              const names = value.sequence();
              while (!names.done) {
                if (names.peek() === DNS_NAME) dnsNames.push(ascii(names.read(DNS_NAME)).toLowerCase());
                else if (names.peek() === IP_ADDRESS) ipAddresses.push(names.read(IP_ADDRESS));
                else names.skip();
              }
              break;
            }
            case "551d20":
              // certificatePolicies: any policy will do here, so there is nothing to check.
              break;
            case "551d1e":
              // nameConstraints limit what an issuer may issue even where it forgot to call them critical.
              unknown = id;
              break;
            default:
              if (critical) unknown = id;
          }
        }
      }
      this.ca = ca;
      this.pathLength = pathLength;
      this.keyUsage = keyUsage;
      this.extendedKeyUsage = extendedKeyUsage;
      this.dnsNames = dnsNames;
      this.ipAddresses = ipAddresses;
      this.unknown = unknown;
    } catch (error) {
      throw unreadable("a certificate", error);
    }
  }

  /** @throws {Rejection} if it cannot be read, or is of a kind that the SDK cannot calculate with */
  publicKey(): PublicKey {
    try {
      return readPublicKey(this.spki);
    } catch (error) {
      if (error instanceof Rejection) throw error;
      throw unreadable("the public key of a certificate", error);
    }
  }
}

function unreadable(what: string, error: unknown): Rejection {
  const reason = error instanceof Error ? error.message : "";
  return new Rejection(`${what} cannot be read${reason === "" ? "" : ` (${reason})`}`, BAD_CERTIFICATE);
}

function readPublicKey(spki: Uint8Array): PublicKey {
  const fields = new DerReader(spki).sequence();
  const algorithm = fields.sequence();
  const id = hex(algorithm.read(OBJECT_IDENTIFIER));
  const bits = readBits(fields);
  if (id === RSA_ENCRYPTION) {
    const key = new DerReader(bits).sequence();
    const modulus = key.unsigned();
    const exponent = key.unsigned();
    if (modulus.length < 256) throw new Rejection("an RSA key has fewer than 2048 bits", UNSUPPORTED_CERTIFICATE);
    if (modulus.length > 1024 || exponent.length > 4) {
      throw new Rejection("an RSA key is larger than can be checked", UNSUPPORTED_CERTIFICATE);
    }
    return { type: "rsa", modulus, exponent };
  }
  if (id !== EC_PUBLIC_KEY) {
    throw new Rejection(`a key is neither RSA nor EC (object identifier ${id})`, UNSUPPORTED_CERTIFICATE);
  }
  const curveId = hex(algorithm.read(OBJECT_IDENTIFIER));
  const curve = CURVES[curveId];
  if (curve === undefined) {
    throw new Rejection(
      `a key is on an elliptic curve other than P-256 and P-384 (object identifier ${curveId})`,
      UNSUPPORTED_CERTIFICATE,
    );
  }
  if (bits[0] !== 4 || bits.length !== (curve === "secp256r1" ? 65 : 97)) {
    throw new Rejection("a point of an elliptic curve is not given in full", UNSUPPORTED_CERTIFICATE);
  }
  return { type: "ec", curve, point: bits };
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The object identifier; parameters must be absent or NULL, which no algorithm that is accepted here goes beyond. */
function readAlgorithm(bytes: Uint8Array): string {
  const fields = new DerReader(bytes);
  const id = hex(fields.read(OBJECT_IDENTIFIER));
  if (!fields.done && (fields.peek() !== 0x05 || fields.read(0x05).length > 0)) return `${id} with parameters`;
  return id;
}

function readBits(reader: DerReader): Uint8Array {
  const octets = reader.read(BIT_STRING);
  if (octets.length < 1 || octets[0] !== 0) throw new Error("a bit string is not of whole bytes");
  return octets.subarray(1);
}

/** RFC 5280 section 4.1.2.5. */
function readTime(reader: DerReader): number {
  const tag = reader.peek() === UTC_TIME ? UTC_TIME : GENERALIZED_TIME;
  let text = ascii(reader.read(tag));
  if (tag === UTC_TIME) text = `${text.charCodeAt(0) >= 53 ? 19 : 20}${text}`;
  if (!/^\d{14}Z$/.test(text)) throw new Error("a date is not written as it should be");
  const part = (at: number, length = 2) => Number(text.slice(at, at + length));
  return Date.UTC(part(0, 4), part(4) - 1, part(6), part(8), part(10), part(12));
}

function ascii(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
