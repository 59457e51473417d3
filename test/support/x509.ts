/** Custom certificates in DER: each part can be omitted, repeated or replaced by something invalid. */

import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export type Der = Uint8Array;

export function der(tag: number, ...parts: readonly Uint8Array[]): Der {
  const contents = Buffer.concat(parts);
  const { length } = contents;
  const header = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Uint8Array.from(Buffer.concat([Buffer.from([tag, ...header]), contents]));
}

export const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value));
export const sequence = (...parts: Der[]): Der => der(0x30, ...parts);
export const set = (...parts: Der[]): Der => der(0x31, ...parts);
export const integer = (...bytes: number[]): Der => der(2, Uint8Array.from(bytes));
export const boolean = (value: boolean): Der => der(1, Uint8Array.of(value ? 0xff : 0));
export const bits = (bytes: Uint8Array, unused = 0): Der => der(3, Uint8Array.of(unused), bytes);
export const NULL = Uint8Array.of(5, 0);

export function oid(dotted: string): Der {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  const bytes: number[] = [];
  for (const arc of [40 * first + second, ...rest]) {
    const digits = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) digits.unshift((high % 128) | 0x80);
    bytes.push(...digits);
  }
  return der(6, Uint8Array.from(bytes));
}

const UTF8_STRING = 0x0c;

/** Encodes a name with one attribute, the common name. */
export function commonName(value: string, tag = UTF8_STRING): Der {
  return sequence(set(sequence(oid("2.5.4.3"), der(tag, text(value)))));
}

export function extension(id: string, value: Der, critical = false): Der {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), der(4, value));
}

export const dnsName = (name: string): Der => der(0x82, text(name));
export const ipAddress = (...bytes: number[]): Der => der(0x87, Uint8Array.from(bytes));

export const extensions = {
  subjectAltName: (...names: Der[]) => extension("2.5.29.17", sequence(...names)),
  basicConstraints: (pathLength?: number) =>
    extension("2.5.29.19", sequence(boolean(true), ...(pathLength === undefined ? [] : [integer(pathLength)])), true),
  /** `certSign` is bit 5. */
  keyUsage: (octet: number) => extension("2.5.29.15", bits(Uint8Array.of(octet), trailingZeros(octet)), true),
  extKeyUsage: (...ids: string[]) => extension("2.5.29.37", sequence(...ids.map(oid))),
  /** Permitted subtrees, then excluded ones; each is a GeneralName. */
  nameConstraints: (permitted: Der[], excluded: Der[] = []) => {
    const lists = [permitted, excluded].map((list, at) =>
      list.length === 0 ? [] : [der(0xa0 + at, ...list.map((base) => sequence(base)))],
    );
    return extension("2.5.29.30", sequence(...lists.flat()), true);
  },
  subjectKeyIdentifier: (key: Uint8Array) => extension("2.5.29.14", der(4, key)),
  authorityKeyIdentifier: (key: Uint8Array) => extension("2.5.29.35", sequence(der(0x80, key))),
};

function trailingZeros(octet: number): number {
  let count = 0;
  while (count < 7 && !((octet >> count) & 1)) count++;
  return count;
}

export interface Key {
  readonly privateKey: KeyObject;
  readonly spki: Der;
  /** Signature algorithm. */
  readonly algorithm: Der;
  readonly hash: string;
}

const SIGNATURES = {
  ec: { SHA256: "1.2.840.10045.4.3.2", SHA384: "1.2.840.10045.4.3.3", SHA512: "1.2.840.10045.4.3.4" },
  rsa: { SHA256: "1.2.840.113549.1.1.11", SHA384: "1.2.840.113549.1.1.12", SHA512: "1.2.840.113549.1.1.13" },
};

export function makeKey(
  type: "P-256" | "P-384" | number = "P-256",
  hash: "SHA256" | "SHA384" | "SHA512" = "SHA256",
): Key {
  const { privateKey, publicKey } =
    typeof type === "number"
      ? generateKeyPairSync("rsa", { modulusLength: type })
      : generateKeyPairSync("ec", { namedCurve: type });
  const algorithm =
    typeof type === "number" ? sequence(oid(SIGNATURES.rsa[hash]), NULL) : sequence(oid(SIGNATURES.ec[hash]));
  return { privateKey, spki: Uint8Array.from(publicKey.export({ type: "spki", format: "der" })), algorithm, hash };
}

export const keyIdentifier = (key: Key): Uint8Array => Uint8Array.from(createHash("sha1").update(key.spki).digest());

export interface CertificateParts {
  readonly subject: Der;
  readonly issuer: Der;
  /** Whose key is certified. */
  readonly spki: Der;
  readonly extensions?: readonly Der[];
  /** `YYMMDDHHMMSSZ`; `YYYYMMDDHHMMSSZ` from 2050 on. */
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly serial?: Der;
  readonly version?: Der | undefined;
}

/** Returns the TBSCertificate. */
export function toBeSigned(parts: CertificateParts, algorithm: Der): Der {
  const time = (value: string) => der(value.length === 13 ? 0x17 : 0x18, text(value));
  const { version = der(0xa0, integer(2)), serial = integer(0x12, 0x34), extensions: list = [] } = parts;
  return sequence(
    version,
    serial,
    algorithm,
    parts.issuer,
    sequence(time(parts.notBefore ?? "250101000000Z"), time(parts.notAfter ?? "351231235959Z")),
    parts.subject,
    parts.spki,
    ...(list.length === 0 ? [] : [der(0xa3, sequence(...list))]),
  );
}

export function makeCertificate(parts: CertificateParts, signer: Key): Der {
  const tbs = toBeSigned(parts, signer.algorithm);
  return sequence(tbs, signer.algorithm, bits(Uint8Array.from(sign(signer.hash, tbs, signer.privateKey))));
}

/** A certification authority: its name, its key, and what it issues. */
export class Authority {
  readonly subject: Der;
  readonly key: Key;

  constructor(name: string, key: Key = makeKey()) {
    this.subject = commonName(name);
    this.key = key;
  }

  /** Of itself. */
  root(changes: Partial<CertificateParts> = {}): Der {
    return this.certify(this, changes);
  }

  /** Of another authority. */
  certify(other: Authority, changes: Partial<CertificateParts> = {}, ...more: Der[]): Der {
    const list = [
      extensions.basicConstraints(),
      extensions.keyUsage(0x06),
      extensions.subjectKeyIdentifier(keyIdentifier(other.key)),
      extensions.authorityKeyIdentifier(keyIdentifier(this.key)),
      ...more,
    ];
    const parts = { subject: other.subject, issuer: this.subject, spki: other.key.spki, extensions: list, ...changes };
    return makeCertificate(parts, this.key);
  }

  /** Of a server. */
  leaf(names: readonly Der[] = [dnsName("gateway.test")], changes: Partial<CertificateParts> = {}, key = SERVER): Der {
    const list = [
      extensions.keyUsage(0x80),
      extensions.extKeyUsage("1.3.6.1.5.5.7.3.1"),
      extensions.authorityKeyIdentifier(keyIdentifier(this.key)),
      extensions.subjectAltName(...names),
    ];
    const subject = commonName("a server");
    return makeCertificate({ subject, issuer: this.subject, spki: key.spki, extensions: list, ...changes }, this.key);
  }
}

const SERVER = makeKey();

/** One element of DER, taken apart as far as its tags say. */
export interface Element {
  readonly tag: number;
  readonly contents: Uint8Array;
  readonly children: Element[];
}

export function parse(bytes: Uint8Array): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at++];
    let length = bytes[at++];
    if (length >= 0x80) {
      const octets = length & 0x7f;
      length = 0;
      for (let i = 0; i < octets; i++) length = (length << 8) | bytes[at++];
    }
    const contents = bytes.subarray(at, at + length);
    elements.push({ tag, contents, children: tag & 0x20 ? parse(contents) : [] });
    at += length;
  }
  return elements;
}
