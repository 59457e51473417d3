/** Certification path validation (RFC 5280 section 6) and building (RFC 4158). */

import { Certificate, KEY_CERT_SIGN, subjectOf } from "./certificate.js";
import { DerFault, same } from "./der.js";
import { Comparisons, checkConstraints, checkSyntax, hostIdentity, isForHost, isSameName } from "./names.js";
import {
  BAD_CERTIFICATE,
  CERTIFICATE_EXPIRED,
  LimitExceeded,
  Rejection,
  UNKNOWN_CA,
  UNSUPPORTED_CERTIFICATE,
} from "./rejection.js";
import { isSignature, type SignaturePrimitives, signatureAlgorithm } from "./verify.js";

/** Trust configuration and time. */
export interface Trust {
  /**
   * Trust anchors in DER; no others are trusted. All rules for issuers apply to an anchor except for its signature; an
   * anchor that is the server's certificate itself is trusted directly.
   */
  readonly anchors: readonly Uint8Array[];
  /** SHA-256 of the accepted public keys of the server; empty to accept any key. */
  readonly pins: readonly Uint8Array[];
  /** Accepts any certificate, so that anyone on the network path can read and modify all traffic. */
  readonly acceptAnything: boolean;
  /** Milliseconds since 1970. */
  nowMs(): number;
}

/** Maximum number of certificates sent by a server; chains have two to four. */
export const MAX_CERTIFICATES = 10;
/** Maximum number of signatures checked for one chain. */
export const MAX_SIGNATURE_CHECKS = 8;
/** Maximum number of issuers tried for one chain: nine certificates that fit each other allow a million paths. */
export const MAX_ISSUERS_TRIED = 200;

/**
 * Verifies a chain and returns the server's certificate: a path to a trust anchor exists, and all checks have passed.
 * @param ders certificates sent by the server, its own first, the others in any order
 * @param host an ASCII hostname without trailing dot, or an IPv4 address in dotted decimal
 * @throws {Rejection}
 */
export function verifyChain(
  ders: readonly Uint8Array[],
  host: string,
  trust: Trust,
  primitives: SignaturePrimitives,
): Certificate {
  // Checks before and after have separate functions: here, their names would take stack while the path is built.
  const leaf = readLeaf(ders, host, trust);
  if (needsPath(ders, trust)) new PathBuilder(ders, trust, primitives).build(leaf);
  checkPins(leaf, trust, primitives);
  return leaf;
}

/** Reads the server's certificate and checks everything except its issuer. */
function readLeaf(ders: readonly Uint8Array[], host: string, trust: Trust): Certificate {
  if (ders.length === 0) throw new Rejection("no certificate was sent", BAD_CERTIFICATE);
  if (ders.length > MAX_CERTIFICATES) {
    throw new Rejection(`more than ${MAX_CERTIFICATES} certificates were sent`, BAD_CERTIFICATE);
  }
  const leaf = new Certificate(ders[0]);
  if (trust.acceptAnything) return leaf;
  checkLeaf(leaf, trust.nowMs());
  checkName(leaf, host);
  return leaf;
}

/** Whether a path is needed: not for a certificate that is a trust anchor itself. */
function needsPath(ders: readonly Uint8Array[], trust: Trust): boolean {
  return !trust.acceptAnything && !trust.anchors.some((anchor) => same(anchor, ders[0]));
}

function checkPins(leaf: Certificate, trust: Trust, primitives: SignaturePrimitives): void {
  if (trust.acceptAnything || trust.pins.length === 0) return;
  const pin = primitives.hash("SHA256", [leaf.spki]);
  if (!trust.pins.some((known) => same(known, pin))) {
    throw new Rejection("its public key does not match any pin", BAD_CERTIFICATE);
  }
}

/**
 * Checks a trust anchor in advance.
 * @throws {Rejection} if it is not a certificate, or cannot be the end of any path
 */
export function checkAnchor(der: Uint8Array): void {
  const anchor = new Certificate(der);
  checkExtensions(anchor, "the trust anchor");
  checkKeyUsage(anchor, "the trust anchor");
  try {
    if (anchor.nameConstraints !== undefined) checkSyntax(anchor.nameConstraints);
  } catch (error) {
    throw asRejection(error);
  }
}

interface Step {
  readonly certificate: Certificate;
  /** Index among the certificates sent by the server. */
  readonly index: number;
  /** Issuers still to be tried, the likeliest last: anchors have indices from -1 down, sent certificates from 1 up. */
  readonly issuers: number[];
}

/**
 * Depth-first search for a path from the server's certificate to an anchor. Cheap checks are done during the search;
 * signatures only on complete paths, and none twice. An unsuitable candidate never ends the search; exceeding a limit
 * does. Calls are shallow, since this runs deep in a device's small stack on untrusted input.
 */
class PathBuilder {
  readonly #path: Step[] = [];
  readonly #sent: readonly Uint8Array[];
  readonly #anchors: readonly Uint8Array[];
  readonly #now: number;
  readonly #primitives: SignaturePrimitives;
  readonly #comparisons = new Comparisons();
  /** Pairs of a certificate and an issuer whose signature has been verified. */
  readonly #signed: number[] = [];
  readonly #forged: number[] = [];
  /** Why the first candidate was rejected: it was the most likely one, so its reason is the most useful. */
  #reason: Rejection | undefined;
  #deadEnd: Rejection | undefined;

  constructor(sent: readonly Uint8Array[], trust: Trust, primitives: SignaturePrimitives) {
    this.#sent = sent;
    this.#anchors = trust.anchors;
    this.#now = trust.nowMs();
    this.#primitives = primitives;
  }

  /** @throws {Rejection} if there is no path, or a limit is reached */
  build(leaf: Certificate): void {
    const path = this.#path;
    let current: Certificate | undefined = leaf;
    let index: number | undefined = 0;
    let tried = 0;
    for (;;) {
      try {
        if (current !== undefined && index !== undefined) {
          // No issuer can help if the algorithm is not supported.
          signatureAlgorithm(current.signatureAlgorithm);
          const issuers = this.#issuersOf(current);
          if (issuers.length > 1) {
            const ranks: number[] = [];
            // Parsed here, where the stack has more room, and again when needed: keeping all parsed certificates would
            // take too much heap.
            for (let i = 0; i < issuers.length; i++) ranks.push(rank(this.#der(issuers[i]), current));
            sort(issuers, ranks);
          }
          path.push({ certificate: current, index, issuers });
          current = undefined;
        }
        if (path.length === 0) break;
        index = path[path.length - 1].issuers.pop();
        if (index === undefined) {
          path.length--;
          continue;
        }
        if (++tried > MAX_ISSUERS_TRIED) throw new LimitExceeded("there are too many paths to try");
        const issuer = new Certificate(this.#der(index));
        this.#checkIssuer(issuer, index);
        if (index > 0) {
          current = issuer;
          continue;
        }
        this.#checkSignatures(issuer, index);
        return;
      } catch (error) {
        if (error instanceof LimitExceeded) throw error;
        const rejection = asRejection(error);
        if (rejection.alert === UNKNOWN_CA) this.#deadEnd ??= rejection;
        else this.#reason ??= rejection;
        current = undefined;
      }
    }
    throw this.#reason ?? this.#deadEnd ?? noPath(leaf);
  }

  /** Returns the DER for an index: anchors from -1 down. */
  #der(index: number): Uint8Array {
    return index < 0 ? this.#anchors[-1 - index] : this.#sent[index];
  }

  /**
   * Returns the indices of certificates with the issuer's name, the likeliest last; anchors are likelier than others.
   */
  #issuersOf(certificate: Certificate): number[] {
    const { issuer } = certificate;
    const found: number[] = [];
    const sent = this.#sent.length;
    for (let index = sent - 1; index >= -this.#anchors.length; index--) {
      // Skips the server's certificate, which cannot be an issuer.
      if (index === 0) continue;
      const subject = subjectOf(this.#der(index));
      if (subject !== undefined && isSameName(subject, issuer)) found.push(index);
    }
    if (found.length === 0) this.#deadEnd ??= noPath(certificate);
    return found;
  }

  /**
   * Checks an issuer of the path's last certificate, except for signatures.
   * @throws {Rejection}
   * @throws {DerFault}
   */
  #checkIssuer(issuer: Certificate, index: number): void {
    const path = this.#path;
    const child = path[path.length - 1];
    const anchor = index < 0;
    const which = anchor ? "the trust anchor" : "an issuer's certificate";
    // RFC 5280 section 6.1.4 (l): a self-issued certificate does not count for path lengths, nor does the server's.
    let below = 0;
    for (let i = 0; i < path.length; i++) {
      const { certificate } = path[i];
      // RFC 4158 section 2.4.2: a repeated name and key is a loop.
      if (same(certificate.spki, issuer.spki) && isSameName(certificate.subject, issuer.subject)) {
        throw noPath(child.certificate);
      }
      if (i > 0 && !isSameName(certificate.subject, certificate.issuer)) below++;
    }
    if (this.#forged.includes(pair(child.index, index))) throw notSigned();
    checkDates(issuer, this.#now, which);
    checkExtensions(issuer, which);
    // Certificates of versions 1 and 2, such as old roots, have no basicConstraints.
    if (issuer.ca !== true && !(anchor && issuer.version < 3)) {
      throw new Rejection("an issuer is not a certification authority", BAD_CERTIFICATE);
    }
    checkKeyUsage(issuer, which);
    checkPurpose(issuer, which);
    if (issuer.pathLength !== undefined && below > issuer.pathLength) {
      throw new Rejection("path length constraint exceeded", BAD_CERTIFICATE);
    }
    if (issuer.publicKey().type !== signatureAlgorithm(child.certificate.signatureAlgorithm).key) throw notSigned();
    const { nameConstraints } = issuer;
    if (nameConstraints === undefined) return;
    checkSyntax(nameConstraints);
    for (let i = 0; i < path.length; i++) {
      const { certificate } = path[i];
      // RFC 5280 section 6.1.3 (b).
      const isExempt = i > 0 && isSameName(certificate.subject, certificate.issuer);
      if (!isExempt) checkConstraints(nameConstraints, certificate, this.#comparisons);
    }
  }

  /**
   * Checks all signatures of the path; at an invalid one, the path is cut back to that certificate.
   * @throws {Rejection}
   */
  #checkSignatures(anchor: Certificate, index: number): void {
    const path = this.#path;
    for (let i = 0; i < path.length; i++) {
      const above = i + 1 < path.length;
      const edge = pair(path[i].index, above ? path[i + 1].index : index);
      if (this.#signed.includes(edge)) continue;
      if (this.#signed.length + this.#forged.length >= MAX_SIGNATURE_CHECKS) {
        throw new LimitExceeded("there are too many signatures to check");
      }
      const { signature, signatureAlgorithm: identifier, tbs } = path[i].certificate;
      const algorithm = signatureAlgorithm(identifier);
      const key = (above ? path[i + 1].certificate : anchor).publicKey();
      if (isSignature(this.#primitives, key, algorithm, signature, [tbs])) {
        this.#signed.push(edge);
        continue;
      }
      this.#forged.push(edge);
      path.length = i + 1;
      throw notSigned();
    }
  }
}

/** Returns one number for the indices of a certificate and an issuer. */
function pair(index: number, issuer: number): number {
  return MAX_CERTIFICATES * issuer + index;
}

/**
 * Returns 2 if the issuer's key identifier is that named by the certificate, 0 if it differs, 1 if either is absent.
 */
function rank(der: Uint8Array, { authorityKeyIdentifier }: Certificate): number {
  if (authorityKeyIdentifier === undefined) return 1;
  try {
    const identifier = new Certificate(der).subjectKeyIdentifier;
    if (identifier === undefined) return 1;
    return same(identifier, authorityKeyIdentifier) ? 2 : 0;
  } catch {
    // The error is reported when this issuer is tried.
    return 0;
  }
}

/** Stable sort by rank, the highest last. */
function sort(issuers: number[], ranks: readonly number[]): void {
  const sorted: number[] = [];
  for (let wanted = 0; wanted <= 2; wanted++) {
    for (let i = 0; i < ranks.length; i++) if (ranks[i] === wanted) sorted.push(issuers[i]);
  }
  for (let i = 0; i < sorted.length; i++) issuers[i] = sorted[i];
}

function checkLeaf(leaf: Certificate, now: number): void {
  const which = "the certificate";
  checkDates(leaf, now, which);
  checkExtensions(leaf, which);
  checkPurpose(leaf, which);
  // RFC 5280 sections 4.2.1.3 and 4.2.1.10.
  if (leaf.ca !== true && leaf.keyUsage !== undefined && leaf.keyUsage & KEY_CERT_SIGN) {
    throw new Rejection("it may sign certificates without being a certification authority", BAD_CERTIFICATE);
  }
  if (leaf.ca !== true && leaf.nameConstraints !== undefined) {
    throw new Rejection("it has name constraints without being a certification authority", BAD_CERTIFICATE);
  }
  leaf.publicKey();
}

function checkName(leaf: Certificate, host: string): void {
  try {
    if (leaf.subjectAltName !== undefined && isForHost(leaf.subjectAltName, hostIdentity(host))) return;
  } catch (error) {
    throw asRejection(error);
  }
  throw new Rejection(`it is not for the name ${host}`, BAD_CERTIFICATE);
}

function checkExtensions({ unknown }: Certificate, which: string): void {
  if (unknown === undefined) return;
  throw new Rejection(
    `${which} has an extension that is not understood (object identifier ${unknown})`,
    UNSUPPORTED_CERTIFICATE,
  );
}

function checkKeyUsage({ keyUsage }: Certificate, which: string): void {
  if (keyUsage === undefined || keyUsage & KEY_CERT_SIGN) return;
  throw new Rejection(`${which} is not meant to sign certificates`, BAD_CERTIFICATE);
}

function checkPurpose({ serverAuth }: Certificate, which: string): void {
  if (serverAuth === false) throw new Rejection(`${which} is not meant for servers`, BAD_CERTIFICATE);
}

function checkDates({ notBeforeMs, notAfterMs }: Certificate, now: number, which: string): void {
  if (now < notBeforeMs) {
    throw new Rejection(`${which} is not valid before ${day(notBeforeMs)}`, CERTIFICATE_EXPIRED);
  }
  // RFC 5280 section 4.1.2.5: the validity includes notAfter, here to the end of that second.
  if (now > notAfterMs + 999) {
    throw new Rejection(`${which} expired on ${day(notAfterMs)}`, CERTIFICATE_EXPIRED);
  }
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

function asRejection(error: unknown): Rejection {
  if (error instanceof Rejection) return error;
  if (error instanceof DerFault) {
    return new Rejection(`names in a certificate cannot be read (${error.message})`, BAD_CERTIFICATE);
  }
  throw error;
}

function notSigned(): Rejection {
  return new Rejection("a certificate is not signed by the issuer that it names", BAD_CERTIFICATE);
}

/** Returns the error of a search that found no issuer of this certificate. */
function noPath({ subject, issuer }: Certificate): Rejection {
  return isSameName(subject, issuer)
    ? new Rejection("it ends in a self-signed certificate that is not a trust anchor", UNKNOWN_CA)
    : new Rejection("there is no path to a trust anchor", UNKNOWN_CA);
}
