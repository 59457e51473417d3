/** Certification paths: RFC 5280 section 6, RFC 9525 for the name. */

import { sha256 } from "../../src/crypto/sha256.js";
import {
  BAD_CERTIFICATE,
  CERTIFICATE_EXPIRED,
  Certificate,
  KEY_CERT_SIGN,
  Rejection,
  same,
  UNKNOWN_CA,
  UNSUPPORTED_CERTIFICATE,
} from "./certificate.js";
import { isAddress } from "./resolver.js";
import { isSignature, signatureAlgorithm } from "./verify.js";

/** Whom to trust, and at what time. */
export interface Trust {
  /** DER of the trust anchors: nothing else is trusted. Of an anchor, only name, key and dates count. */
  readonly anchors: readonly Uint8Array[];
  /** SHA-256 of the public keys of which the server's must be one; any if there is none. */
  readonly pins: readonly Uint8Array[];
  /** Takes any certificate: whoever is on the way can read and change everything. */
  readonly acceptAnything: boolean;
  /** Milliseconds since 1970. */
  nowMs(): number;
}

/** Certificates that a server may send; chains have two to four. */
const MAX_CERTIFICATES = 10;

// RFC 5280 section 4.2.1.12.
const SERVER_AUTH = "2b06010505070301";
const ANY_PURPOSE = "551d2500";

/**
 * The server's certificate, once a path from it to a trust anchor has been found and every check on it has passed.
 * @param ders what the server sent, its own certificate first
 * @throws {Rejection}
 */
export function verifyChain(ders: readonly Uint8Array[], host: string, trust: Trust): Certificate {
  if (ders.length === 0) throw new Rejection("it sent none", BAD_CERTIFICATE);
  if (ders.length > MAX_CERTIFICATES) throw new Rejection("it sent too many certificates", BAD_CERTIFICATE);
  const leaf = new Certificate(ders[0]);
  if (trust.acceptAnything) return leaf;
  const now = trust.nowMs();
  checkUse(leaf, now, "the certificate");
  checkName(leaf, host);
  checkPath(leaf, ders, trust, now);
  if (trust.pins.length > 0) {
    const pin = sha256(leaf.spki);
    if (!trust.pins.some((known) => same(known, pin))) {
      throw new Rejection("its public key is not one that is pinned", BAD_CERTIFICATE);
    }
  }
  return leaf;
}

function checkPath(leaf: Certificate, ders: readonly Uint8Array[], trust: Trust, now: number): void {
  const unused = ders.slice(1);
  let current = leaf;
  /** Certificates between the current one and the leaf that count for path lengths. */
  let below = 0;
  for (;;) {
    const anchor = findIssuer(current, trust.anchors);
    if (anchor) {
      checkDates(anchor.certificate, now, "the trust anchor");
      checkPathLength(anchor.certificate, below);
      return;
    }
    const issuer = findIssuer(current, unused);
    if (!issuer) throw noIssuer(current, unused, trust.anchors);
    unused.splice(issuer.index, 1);
    current = issuer.certificate;
    checkUse(current, now, "the certificate of an issuer");
    if (current.ca !== true) throw new Rejection("an issuer is not a certification authority", BAD_CERTIFICATE);
    if (current.keyUsage !== undefined && !(current.keyUsage & KEY_CERT_SIGN)) {
      throw new Rejection("an issuer's key is not meant to sign certificates", BAD_CERTIFICATE);
    }
    checkPathLength(current, below);
    // RFC 5280 section 6.1.4 (l): a self-issued certificate does not count.
    if (!same(current.subject, current.issuer)) below++;
  }
}

/** The certificate among these that signed the current one. */
function findIssuer(
  current: Certificate,
  ders: readonly Uint8Array[],
): { certificate: Certificate; index: number } | undefined {
  const algorithm = signatureAlgorithm(current.signatureAlgorithm);
  for (let index = 0; index < ders.length; index++) {
    const certificate = new Certificate(ders[index]);
    if (!same(certificate.subject, current.issuer)) continue;
    if (isSignature(certificate.publicKey(), algorithm, current.signature, current.tbs)) return { certificate, index };
  }
  return undefined;
}

function noIssuer(current: Certificate, sent: readonly Uint8Array[], anchors: readonly Uint8Array[]): Rejection {
  const named = [...anchors, ...sent].some((der) => same(new Certificate(der).subject, current.issuer));
  if (named) return new Rejection("a certificate is not signed by the issuer that it names", BAD_CERTIFICATE);
  if (same(current.subject, current.issuer)) {
    return new Rejection("it ends in a self-signed certificate that is not a trust anchor", UNKNOWN_CA);
  }
  return new Rejection("it leads to no trust anchor", UNKNOWN_CA);
}

function checkUse(certificate: Certificate, now: number, which: string): void {
  checkDates(certificate, now, which);
  if (certificate.unknown !== undefined) {
    throw new Rejection(
      `${which} has an extension that is not understood (object identifier ${certificate.unknown})`,
      UNSUPPORTED_CERTIFICATE,
    );
  }
  const purposes = certificate.extendedKeyUsage;
  if (purposes && !purposes.includes(SERVER_AUTH) && !purposes.includes(ANY_PURPOSE)) {
    throw new Rejection(`${which} is not meant for servers`, BAD_CERTIFICATE);
  }
}

function checkDates(certificate: Certificate, now: number, which: string): void {
  if (now < certificate.notBeforeMs) {
    throw new Rejection(`${which} is not valid before ${day(certificate.notBeforeMs)}`, CERTIFICATE_EXPIRED);
  }
  if (now > certificate.notAfterMs + 999) {
    throw new Rejection(`${which} expired on ${day(certificate.notAfterMs)}`, CERTIFICATE_EXPIRED);
  }
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

function checkPathLength({ pathLength }: Certificate, below: number): void {
  if (pathLength !== undefined && below > pathLength) {
    throw new Rejection("there are more issuers below one than it allows", BAD_CERTIFICATE);
  }
}

function checkName(leaf: Certificate, host: string): void {
  if (isAddress(host)) {
    const address = Uint8Array.from(host.split("."), Number);
    if (leaf.ipAddresses.some((known) => same(known, address))) return;
  } else if (leaf.dnsNames.some((pattern) => isMatch(pattern, host))) {
    return;
  }
  throw new Rejection(`it is not for the name ${host}`, BAD_CERTIFICATE);
}

/** RFC 9525 section 6.3, with a wildcard only as the whole first label, above at least two others. */
export function isMatch(pattern: string, host: string): boolean {
  if (!pattern.startsWith("*.")) return pattern === host;
  const suffix = pattern.slice(1);
  if (suffix.includes("*") || suffix.indexOf(".", 1) < 0 || suffix.endsWith(".")) return false;
  const dot = host.indexOf(".");
  return dot > 0 && host.slice(dot) === suffix;
}
