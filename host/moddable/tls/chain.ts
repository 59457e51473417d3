/** Certification paths: RFC 5280 section 6 for what one must be, RFC 4158 for how one is found. */

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

/** Whom to trust, and at what time. */
export interface Trust {
  /**
   * DER of the trust anchors: nothing else is trusted. To an anchor that issued a certificate, all rules for issuers apply
   * but for its signature; one that is the server's own certificate is trusted as it is.
   */
  readonly anchors: readonly Uint8Array[];
  /** SHA-256 of the public keys of which the server's must be one; any if there is none. */
  readonly pins: readonly Uint8Array[];
  /** Takes any certificate: whoever is on the way can read and change everything. */
  readonly acceptAnything: boolean;
  /** Milliseconds since 1970. */
  nowMs(): number;
}

/** Certificates that a server may send; chains have two to four. */
export const MAX_CERTIFICATES = 10;
/** Signatures that are checked for one chain. */
export const MAX_SIGNATURE_CHECKS = 8;
/** Issuers that are tried for one chain, signatures aside: with nine that fit one another there are a million paths. */
export const MAX_ISSUERS_TRIED = 200;

/**
 * The server's certificate, once a path from it to a trust anchor has been found and every check on it has passed.
 * @param ders what the server sent, its own certificate first, the others in any order
 * @param host a name in ASCII without a dot at its end, or an IPv4 address in dotted decimal
 * @throws {Rejection}
 */
export function verifyChain(
  ders: readonly Uint8Array[],
  host: string,
  trust: Trust,
  primitives: SignaturePrimitives,
): Certificate {
  if (ders.length === 0) throw new Rejection("no certificate was sent", BAD_CERTIFICATE);
  if (ders.length > MAX_CERTIFICATES) {
    throw new Rejection(`more than ${MAX_CERTIFICATES} certificates were sent`, BAD_CERTIFICATE);
  }
  const leaf = new Certificate(ders[0]);
  if (trust.acceptAnything) return leaf;
  const now = trust.nowMs();
  checkLeaf(leaf, now);
  checkName(leaf, host);
  if (!trust.anchors.some((anchor) => same(anchor, ders[0]))) {
    new PathBuilder(leaf, ders, trust.anchors, now, primitives).build();
  }
  if (trust.pins.length > 0) {
    const pin = primitives.hash("SHA256", [leaf.spki]);
    if (!trust.pins.some((known) => same(known, pin))) {
      throw new Rejection("its public key does not match any pin", BAD_CERTIFICATE);
    }
  }
  return leaf;
}

/**
 * What can be said of a trust anchor before it is needed.
 * @throws {Rejection} if it is not a certificate, or one that can never be the end of a path
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

/** A certificate that may be an issuer; it is read when it is first tried. */
class Candidate {
  readonly der: Uint8Array;
  readonly anchor: boolean;
  #certificate: Certificate | undefined;

  constructor(der: Uint8Array, anchor: boolean) {
    this.der = der;
    this.anchor = anchor;
  }

  /** @throws {Rejection} */
  get certificate(): Certificate {
    this.#certificate ??= new Certificate(this.der);
    return this.#certificate;
  }

  /** 2 if its key identifier is the one that the certificate names, 0 if it is another, 1 if one of them has none. */
  fit({ authorityKeyIdentifier }: Certificate): number {
    try {
      const { subjectKeyIdentifier } = this.certificate;
      if (!subjectKeyIdentifier || !authorityKeyIdentifier) return 1;
      return same(subjectKeyIdentifier, authorityKeyIdentifier) ? 2 : 0;
    } catch {
      // What is wrong with it is said when it is its turn.
      return 0;
    }
  }
}

interface Step {
  readonly certificate: Certificate;
  /** Issuers that are still to be tried, the likeliest last. */
  readonly issuers: Candidate[];
}

/** What has been found of one signature. */
interface Judgement {
  readonly certificate: Certificate;
  readonly issuer: Certificate;
  readonly signed: boolean;
}

/**
 * Searches in depth for a path from the server's certificate to an anchor. All that is cheap is checked on the way;
 * signatures only of a path that is whole, and none twice. A candidate that does not do never ends the search, but the
 * limits do.
 */
class PathBuilder {
  readonly #path: Step[] = [];
  readonly #ders: readonly Uint8Array[];
  readonly #anchors: readonly Uint8Array[];
  readonly #now: number;
  readonly #primitives: SignaturePrimitives;
  readonly #comparisons = new Comparisons();
  readonly #candidates: Candidate[] = [];
  readonly #judgements: Judgement[] = [];
  #tried = 0;
  /** Why the first candidate did not do: the likeliest one, so of all reasons the best. */
  #reason: Rejection | undefined;
  #deadEnd: Rejection | undefined;

  constructor(
    leaf: Certificate,
    ders: readonly Uint8Array[],
    anchors: readonly Uint8Array[],
    now: number,
    primitives: SignaturePrimitives,
  ) {
    this.#ders = ders;
    this.#anchors = anchors;
    this.#now = now;
    this.#primitives = primitives;
    this.#push(leaf);
  }

  /** @throws {Rejection} if there is no path, or a limit is reached */
  build(): void {
    const path = this.#path;
    for (let step = path.at(-1); step !== undefined; step = path.at(-1)) {
      const candidate = step.issuers.pop();
      if (candidate === undefined) {
        path.pop();
        continue;
      }
      if (++this.#tried > MAX_ISSUERS_TRIED) throw new LimitExceeded("there are too many paths to try");
      try {
        const issuer = candidate.certificate;
        this.#checkIssuer(issuer, candidate.anchor);
        if (candidate.anchor) {
          this.#checkSignatures(issuer);
          return;
        }
        this.#push(issuer);
      } catch (error) {
        this.#note(error);
      }
    }
    throw this.#reason ?? this.#deadEnd ?? noPath();
  }

  #note(error: unknown): void {
    if (error instanceof LimitExceeded) throw error;
    this.#reason ??= asRejection(error);
  }

  /** Goes on with a certificate, to which the issuers are looked for. */
  #push(certificate: Certificate): void {
    let issuers: Candidate[] = [];
    try {
      // An algorithm that is not accepted makes all of them vain.
      signatureAlgorithm(certificate.signatureAlgorithm);
      issuers = this.#issuersOf(certificate);
    } catch (error) {
      this.#note(error);
    }
    this.#path.push({ certificate, issuers });
  }

  /** Certificates that bear the issuer's name; last the anchors, and those whose key identifier fits. */
  #issuersOf(certificate: Certificate): Candidate[] {
    const found: { candidate: Candidate; rank: number }[] = [];
    const add = (der: Uint8Array, anchor: boolean) => {
      const subject = subjectOf(der);
      if (subject === undefined || !isSameName(subject, certificate.issuer)) return;
      let candidate = this.#candidates.find((known) => same(known.der, der));
      if (candidate === undefined) {
        candidate = new Candidate(der, anchor);
        this.#candidates.push(candidate);
      } else if (found.some((other) => other.candidate === candidate)) {
        return;
      }
      found.push({ candidate, rank: 2 * candidate.fit(certificate) + (candidate.anchor ? 1 : 0) });
    };
    // Backwards, as they are taken from the end.
    for (let i = this.#anchors.length - 1; i >= 0; i--) add(this.#anchors[i], true);
    for (let i = this.#ders.length - 1; i > 0; i--) add(this.#ders[i], false);
    if (found.length === 0) {
      this.#deadEnd ??= isSelfIssued(certificate)
        ? new Rejection("it ends in a self-signed certificate that is not a trust anchor", UNKNOWN_CA)
        : noPath();
    }
    return found.sort((a, b) => a.rank - b.rank).map(({ candidate }) => candidate);
  }

  /**
   * All that an issuer of the path's last certificate has to be, but for the signatures.
   * @throws {Rejection}
   */
  #checkIssuer(issuer: Certificate, anchor: boolean): void {
    const path = this.#path;
    const which = anchor ? "the trust anchor" : "the certificate of an issuer";
    // RFC 4158 section 2.4.2: a path that comes back to a name and key leads nowhere new.
    if (
      path.some(
        ({ certificate }) => isSameName(certificate.subject, issuer.subject) && same(certificate.spki, issuer.spki),
      )
    ) {
      throw noPath();
    }
    const child = path[path.length - 1].certificate;
    if (this.#judgement(child, issuer)?.signed === false) throw notSigned();
    checkDates(issuer, this.#now, which);
    checkExtensions(issuer, which);
    // Certificates of version 1 and 2, which old roots are of, cannot say what they are for.
    if (issuer.ca !== true && !(anchor && issuer.version < 3)) {
      throw new Rejection("an issuer is not a certification authority", BAD_CERTIFICATE);
    }
    checkKeyUsage(issuer, which);
    checkPurpose(issuer, which);
    // RFC 5280 section 6.1.4 (l): a self-issued certificate does not count, nor does the server's.
    const below = path.filter(({ certificate }, i) => i > 0 && !isSelfIssued(certificate)).length;
    if (issuer.pathLength !== undefined && below > issuer.pathLength) {
      throw new Rejection("path length constraint exceeded", BAD_CERTIFICATE);
    }
    if (issuer.publicKey().type !== signatureAlgorithm(child.signatureAlgorithm).key) throw notSigned();
    const { nameConstraints } = issuer;
    if (nameConstraints === undefined) return;
    checkSyntax(nameConstraints);
    path.forEach(({ certificate }, i) => {
      // RFC 5280 section 6.1.3 (b).
      if (i === 0 || !isSelfIssued(certificate)) checkConstraints(nameConstraints, certificate, this.#comparisons);
    });
  }

  /**
   * Checks the signatures from end to end; at one that is not the issuer's, the path is cut back to its certificate.
   * @throws {Rejection}
   */
  #checkSignatures(anchor: Certificate): void {
    const path = this.#path;
    for (let i = 0; i < path.length; i++) {
      const { certificate } = path[i];
      const issuer = path[i + 1]?.certificate ?? anchor;
      if (this.#judgement(certificate, issuer)) continue;
      if (this.#judgements.length >= MAX_SIGNATURE_CHECKS) {
        throw new LimitExceeded("there are too many signatures to check");
      }
      const { signature, signatureAlgorithm: identifier, tbs } = certificate;
      const algorithm = signatureAlgorithm(identifier);
      const signed = isSignature(this.#primitives, issuer.publicKey(), algorithm, signature, [tbs]);
      this.#judgements.push({ certificate, issuer, signed });
      if (!signed) {
        path.length = i + 1;
        throw notSigned();
      }
    }
  }

  #judgement(certificate: Certificate, issuer: Certificate): Judgement | undefined {
    return this.#judgements.find((past) => past.certificate === certificate && past.issuer === issuer);
  }
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
  throw new Rejection(`the key of ${which} is not meant to sign certificates`, BAD_CERTIFICATE);
}

function checkPurpose({ serverAuth }: Certificate, which: string): void {
  if (serverAuth === false) throw new Rejection(`${which} is not meant for servers`, BAD_CERTIFICATE);
}

function checkDates({ notBeforeMs, notAfterMs }: Certificate, now: number, which: string): void {
  if (now < notBeforeMs) {
    throw new Rejection(`${which} is not valid before ${day(notBeforeMs)}`, CERTIFICATE_EXPIRED);
  }
  // The last second counts to its end.
  if (now > notAfterMs + 999) {
    throw new Rejection(`${which} expired on ${day(notAfterMs)}`, CERTIFICATE_EXPIRED);
  }
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

/** RFC 5280 section 3.2. */
function isSelfIssued({ subject, issuer }: Certificate): boolean {
  return isSameName(subject, issuer);
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

function noPath(): Rejection {
  return new Rejection("there is no path to a trust anchor", UNKNOWN_CA);
}
