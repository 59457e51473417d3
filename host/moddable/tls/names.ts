/** Names in certificates: the host (RFC 9525), the issuer (RFC 5280 section 7.1), name constraints (section 4.2.1.10). */

import type { Certificate } from "./certificate.js";
import { DerCursor, DerFault, OBJECT_IDENTIFIER, SEQUENCE, SET, same } from "./der.js";
import { BAD_CERTIFICATE, LimitExceeded, Rejection } from "./rejection.js";

// Tags of GeneralName, RFC 5280 section 4.2.1.6.
const OTHER_NAME = 0xa0;
const RFC822_NAME = 0x81;
const DNS_NAME = 0x82;
const X400_ADDRESS = 0xa3;
const DIRECTORY_NAME = 0xa4;
const EDI_PARTY_NAME = 0xa5;
const URI = 0x86;
const IP_ADDRESS = 0x87;
const REGISTERED_ID = 0x88;
const GENERAL_NAMES = Object.freeze([
  OTHER_NAME,
  RFC822_NAME,
  DNS_NAME,
  X400_ADDRESS,
  DIRECTORY_NAME,
  EDI_PARTY_NAME,
  URI,
  IP_ADDRESS,
  REGISTERED_ID,
]);

const PERMITTED = 0xa0;
const EXCLUDED = 0xa1;

const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;

const HYPHEN = 0x2d;
const DOT = 0x2e;
const ASTERISK = 0x2a;
const SPACE = 0x20;

const MAX_HOST_BYTES = 253;
const MAX_LABEL_BYTES = 63;

/** Names times constraints that are compared for one chain. */
export const MAX_COMPARISONS = 4096;

/** Counts down what a chain may cost. */
export class Comparisons {
  #left = MAX_COMPARISONS;

  /** @throws {LimitExceeded} */
  count(): void {
    if (this.#left-- <= 0) throw new LimitExceeded("it would take too many comparisons with name constraints");
  }
}

/** What a certificate is asked for: the bytes of a name in lower case, or of an IPv4 address. */
export interface HostIdentity {
  readonly address: boolean;
  readonly bytes: Uint8Array;
}

/** @param host a name in ASCII, without a dot at its end, or an IPv4 address in dotted decimal */
export function hostIdentity(host: string): HostIdentity {
  const parts = host.split(".");
  const address = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  if (address) return { address, bytes: Uint8Array.from(parts, Number) };
  const bytes = new Uint8Array(host.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = lower(Math.min(host.charCodeAt(i), 255));
  return { address, bytes };
}

/**
 * Whether a subjectAltName is for the host. The common name is never looked at (RFC 9525 section 6.3).
 * @param subjectAltName DER of the GeneralNames, all of which are read, and none kept
 * @throws {DerFault} if it is malformed
 */
export function isForHost(subjectAltName: Uint8Array, host: HostIdentity): boolean {
  let found = false;
  const tag = host.address ? IP_ADDRESS : DNS_NAME;
  eachName(subjectAltName, (type, value) => {
    if (found || type !== tag) return;
    found = host.address ? same(value, host.bytes) : isDnsMatch(value, host.bytes);
  });
  return found;
}

function eachName(subjectAltName: Uint8Array, visit: (tag: number, value: Uint8Array) => void): void {
  const names = new DerCursor(subjectAltName);
  const outer = names.enter(SEQUENCE);
  do {
    const tag = names.peek();
    visit(tag, readGeneralName(names, tag));
  } while (!names.done);
  names.leave(outer);
}

function readGeneralName(cursor: DerCursor, tag: number): Uint8Array {
  if (tag !== -1 && !GENERAL_NAMES.includes(tag)) throw new DerFault("a name is of an unknown type");
  const value = cursor.read(tag);
  if (tag === IP_ADDRESS && value.length !== 4 && value.length !== 16)
    throw new DerFault("an IP address has a wrong length");
  if ((tag === DNS_NAME || tag === URI || tag === RFC822_NAME) && value.some((byte) => byte >= 0x80)) {
    throw new DerFault("a name is not ASCII");
  }
  return value;
}

/** RFC 9525 section 6.3, with a wildcard only as the whole first label, above at least two others. */
function isDnsMatch(pattern: Uint8Array, host: Uint8Array): boolean {
  if (!isDnsName(pattern)) return false;
  if (!isWildcard(pattern)) return isSuffix(pattern, 0, host, 0);
  const dot = host.indexOf(DOT);
  return dot > 0 && pattern.indexOf(DOT, 2) > 0 && isSuffix(pattern, 1, host, dot);
}

function isWildcard(name: Uint8Array): boolean {
  return name.length > 2 && name[0] === ASTERISK && name[1] === DOT;
}

/** The preferred name syntax (RFC 5280 section 4.2.1.6), or that after `*.`. */
function isDnsName(name: Uint8Array): boolean {
  const { length } = name;
  if (length === 0 || length > MAX_HOST_BYTES) return false;
  let label = 0;
  for (let i = isWildcard(name) ? 2 : 0; i < length; i++) {
    const byte = lower(name[i]);
    if (byte === DOT) {
      if (label === 0 || name[i - 1] === HYPHEN) return false;
      label = 0;
      continue;
    }
    const isAlphanumeric = (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39);
    if (!isAlphanumeric && (byte !== HYPHEN || label === 0)) return false;
    if (++label > MAX_LABEL_BYTES) return false;
  }
  return label > 0 && name[length - 1] !== HYPHEN;
}

/** Whether both, from these places on, are equal but for the case of letters. */
function isSuffix(a: Uint8Array, start: number, b: Uint8Array, at: number): boolean {
  if (a.length - start !== b.length - at) return false;
  for (let i = start; i < a.length; i++) if (lower(a[i]) !== lower(b[at + i - start])) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/**
 * Whether two distinguished names are the same (RFC 5280 section 7.1): letters of ASCII in either case, white space
 * folded, where the values are PrintableString or UTF8String, and byte by byte where they are not.
 * @param a contents of a Name
 */
export function isSameName(a: Uint8Array, b: Uint8Array): boolean {
  return same(a, b) || isNameIn(a, b, false);
}

/** Whether a name is, or with `within` begins with, another. */
function isNameIn(name: Uint8Array, other: Uint8Array, within: boolean): boolean {
  const [a, b] = [new DerCursor(name), new DerCursor(other)];
  try {
    while (!b.done) {
      if (a.done) return false;
      const sets = [a.enter(SET), b.enter(SET)];
      while (!b.done) {
        if (a.done) return false;
        const attributes = [a.enter(SEQUENCE), b.enter(SEQUENCE)];
        if (!same(a.read(OBJECT_IDENTIFIER), b.read(OBJECT_IDENTIFIER))) return false;
        const [tag, otherTag] = [a.peek(), b.peek()];
        const [value, otherValue] = [a.read(tag), b.read(otherTag)];
        const equal =
          isFolded(tag) && isFolded(otherTag)
            ? isSameText(value, otherValue)
            : tag === otherTag && same(value, otherValue);
        if (!equal) return false;
        a.leave(attributes[0]);
        b.leave(attributes[1]);
      }
      a.leave(sets[0]);
      b.leave(sets[1]);
    }
    return within || a.done;
  } catch {
    // More parts in one of them than in the other, or no name at all.
    return false;
  }
}

function isFolded(tag: number): boolean {
  return tag === PRINTABLE_STRING || tag === UTF8_STRING;
}

function isSameText(a: Uint8Array, b: Uint8Array): boolean {
  if (same(a, b)) return true;
  let [i, j] = [skipSpaces(a, 0), skipSpaces(b, 0)];
  while (i < a.length && j < b.length) {
    const byte = lower(a[i]);
    if (byte !== lower(b[j])) return false;
    i = byte === SPACE ? skipSpaces(a, i) : i + 1;
    j = byte === SPACE ? skipSpaces(b, j) : j + 1;
  }
  return skipSpaces(a, i) === a.length && skipSpaces(b, j) === b.length;
}

function skipSpaces(text: Uint8Array, from: number): number {
  let at = from;
  while (at < text.length && text[at] === SPACE) at++;
  return at;
}

/**
 * Reads name constraints through.
 * @param constraints DER of the NameConstraints
 * @throws {DerFault} if they are malformed
 */
export function checkSyntax(constraints: Uint8Array): void {
  eachSubtree(constraints, (_excluded, tag, base) => {
    // RFC 5280 section 4.2.1.10: a name without a dot in front, or an address and a mask of leading ones.
    if (tag === DNS_NAME && base.length > 0 && (!isDnsName(base) || isWildcard(base))) {
      throw new DerFault("a name constraint is not a host name");
    }
    if (tag === IP_ADDRESS && !isNetwork(base)) throw new DerFault("a name constraint is not a network");
    if (tag === DIRECTORY_NAME) {
      const name = new DerCursor(base);
      name.skip(SEQUENCE);
      name.end();
    }
  });
}

function eachSubtree(constraints: Uint8Array, visit: (excluded: boolean, tag: number, base: Uint8Array) => void): void {
  const cursor = new DerCursor(constraints);
  const outer = cursor.enter(SEQUENCE);
  if (cursor.done) throw new DerFault("name constraints are empty");
  for (const list of [PERMITTED, EXCLUDED]) {
    if (cursor.peek() !== list) continue;
    const subtrees = cursor.enter(list);
    do {
      const subtree = cursor.enter(SEQUENCE);
      const tag = cursor.peek();
      if (!GENERAL_NAMES.includes(tag)) throw new DerFault("a name constraint is of an unknown type");
      visit(list === EXCLUDED, tag, cursor.read(tag));
      // No minimum or maximum: they are 0 and absent, and DER leaves out a default.
      cursor.leave(subtree);
    } while (!cursor.done);
    cursor.leave(subtrees);
  }
  cursor.leave(outer);
}

/** An address and its mask, RFC 4632. */
function isNetwork(base: Uint8Array): boolean {
  if (base.length !== 8 && base.length !== 32) return false;
  let ones = true;
  for (let i = base.length / 2; i < base.length; i++) {
    const byte = base[i];
    // Ones from the left: what is left out of 255 is one less than a power of two.
    if (ones ? byte !== 0xff && (0xff - byte) & (0x100 - byte) : byte !== 0) return false;
    if (byte !== 0xff) ones = false;
  }
  return true;
}

/**
 * Applies an issuer's name constraints to a certificate below it: to its subject and to all names of subjectAltName.
 * @param constraints DER of the NameConstraints, which {@link checkSyntax} has read
 * @throws {Rejection} if a name is excluded, not permitted, or of a kind that is constrained and not understood
 * @throws {DerFault} if a name is malformed
 */
export function checkConstraints(constraints: Uint8Array, certificate: Certificate, comparisons: Comparisons): void {
  const { subject, subjectAltName } = certificate;
  if (subject.length > 0) checkConstrained(constraints, DIRECTORY_NAME, subject, comparisons);
  if (!subjectAltName) return;
  eachName(subjectAltName, (tag, value) => {
    if (tag !== DIRECTORY_NAME) checkConstrained(constraints, tag, value, comparisons);
    else checkConstrained(constraints, tag, new DerCursor(value).read(SEQUENCE), comparisons);
  });
}

function checkConstrained(constraints: Uint8Array, tag: number, name: Uint8Array, comparisons: Comparisons): void {
  let limited = false;
  let permitted = false;
  eachSubtree(constraints, (excluded, type, base) => {
    comparisons.count();
    if (type !== tag) return;
    if (excluded) {
      if (isExcluded(tag, name, base))
        throw new Rejection("a name constraint excludes one of its names", BAD_CERTIFICATE);
    } else {
      limited = true;
      permitted ||= isPermitted(tag, name, base);
    }
  });
  if (limited && !permitted) {
    throw new Rejection("the name constraints of an issuer do not permit one of its names", BAD_CERTIFICATE);
  }
}

function isPermitted(tag: number, name: Uint8Array, base: Uint8Array): boolean {
  switch (tag) {
    case DNS_NAME:
      // All names that a wildcard stands for have to be within.
      return isDnsName(name) && isSubdomain(isWildcard(name) ? name.subarray(2) : name, base);
    case IP_ADDRESS:
      return isInNetwork(name, base);
    case DIRECTORY_NAME:
      return isNameIn(name, new DerCursor(base).read(SEQUENCE), true);
    default:
      return false;
  }
}

function isExcluded(tag: number, name: Uint8Array, base: Uint8Array): boolean {
  switch (tag) {
    case DNS_NAME:
      if (!isDnsName(name)) return true;
      if (!isWildcard(name)) return isSubdomain(name, base);
      // Or one of the names that it stands for is the base.
      return isSubdomain(name.subarray(2), base) || isDnsMatch(name, base);
    case IP_ADDRESS:
      return isInNetwork(name, base);
    case DIRECTORY_NAME:
      return isNameIn(name, new DerCursor(base).read(SEQUENCE), true);
    default:
      return true;
  }
}

/** Whether labels can be added to the left of the base to get the name. */
function isSubdomain(name: Uint8Array, base: Uint8Array): boolean {
  const at = name.length - base.length;
  if (base.length === 0) return true;
  return at >= 0 && (at === 0 || name[at - 1] === DOT) && isSuffix(base, 0, name, at);
}

function isInNetwork(address: Uint8Array, network: Uint8Array): boolean {
  const { length } = address;
  if (network.length !== 2 * length) return false;
  for (let i = 0; i < length; i++) if ((address[i] ^ network[i]) & network[length + i]) return false;
  return true;
}
