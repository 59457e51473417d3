/**
 * Names in certificates: the host (RFC 9525), the issuer (RFC 5280 section 7.1), name constraints (section 4.2.1.10).
 */

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

/** Maximum number of comparisons of names with constraints for one chain. */
export const MAX_COMPARISONS = 4096;

/** Limits the number of comparisons for one chain. */
export class Comparisons {
  #left = MAX_COMPARISONS;

  /** @throws {LimitExceeded} */
  count(): void {
    if (this.#left-- <= 0) throw new LimitExceeded("it would take too many comparisons with name constraints");
  }
}

/** Identity that a certificate must match: the bytes of a hostname in lower case, or of an IPv4 address. */
export interface HostIdentity {
  readonly address: boolean;
  readonly bytes: Uint8Array;
}

/** @param host an ASCII hostname without trailing dot, or an IPv4 address in dotted decimal */
export function hostIdentity(host: string): HostIdentity {
  const parts = host.split(".");
  const address = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  if (address) return { address, bytes: Uint8Array.from(parts, Number) };
  const bytes = new Uint8Array(host.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = lower(Math.min(host.charCodeAt(i), 255));
  return { address, bytes };
}

/**
 * Whether a subjectAltName matches the host. The common name is never used (RFC 9525 section 6.3).
 * @param subjectAltName DER of the GeneralNames; all are parsed, including those after a match
 * @throws {DerFault} if it is malformed
 */
export function isForHost(subjectAltName: Uint8Array, host: HostIdentity): boolean {
  let found = false;
  const wanted = host.address ? IP_ADDRESS : DNS_NAME;
  const names = new DerCursor(subjectAltName);
  const outer = names.enter(SEQUENCE);
  do {
    const tag = names.peek();
    const value = readGeneralName(names, tag);
    if (found || tag !== wanted) continue;
    found = host.address ? same(value, host.bytes) : isDnsMatch(value, host.bytes);
  } while (!names.done);
  names.leave(outer);
  return found;
}

function readGeneralName(cursor: DerCursor, tag: number): Uint8Array {
  if (tag !== -1 && !GENERAL_NAMES.includes(tag)) throw new DerFault("a name is of an unknown type");
  const value = cursor.read(tag);
  if (tag === IP_ADDRESS && value.length !== 4 && value.length !== 16)
    throw new DerFault("an IP address has a wrong length");
  if (tag === DNS_NAME || tag === URI || tag === RFC822_NAME) {
    for (let i = 0; i < value.length; i++) if (value[i] >= 0x80) throw new DerFault("a name is not ASCII");
  }
  return value;
}

/** RFC 9525 section 6.3. A wildcard must be the complete first label, followed by at least two labels. */
function isDnsMatch(pattern: Uint8Array, host: Uint8Array): boolean {
  if (!isDnsName(pattern)) return false;
  if (!isWildcard(pattern)) return isSuffix(pattern, 0, host, 0);
  const dot = host.indexOf(DOT);
  return dot > 0 && pattern.indexOf(DOT, 2) > 0 && isSuffix(pattern, 1, host, dot);
}

function isWildcard(name: Uint8Array): boolean {
  return name.length > 2 && name[0] === ASTERISK && name[1] === DOT;
}

/** Whether a name has the preferred name syntax (RFC 5280 section 4.2.1.6), optionally after `*.`. */
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

/** Whether both are equal from the given indices on, ignoring case. */
function isSuffix(a: Uint8Array, start: number, b: Uint8Array, at: number): boolean {
  if (a.length - start !== b.length - at) return false;
  for (let i = start; i < a.length; i++) if (lower(a[i]) !== lower(b[at + i - start])) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/**
 * Whether two distinguished names match (RFC 5280 section 7.1). Values of PrintableString and UTF8String are compared
 * ignoring ASCII case and repeated spaces, all others byte by byte.
 * @param name contents of a Name
 * @param within true if the second name need only be a prefix of the first
 */
export function isSameName(name: Uint8Array, other: Uint8Array, within = false): boolean {
  if (same(name, other)) return true;
  const a = new DerCursor(name);
  const b = new DerCursor(other);
  try {
    while (!b.done) {
      if (a.done) return false;
      const set = a.enter(SET);
      const otherSet = b.enter(SET);
      while (!b.done) {
        if (a.done) return false;
        const attribute = a.enter(SEQUENCE);
        const otherAttribute = b.enter(SEQUENCE);
        if (!same(a.read(OBJECT_IDENTIFIER), b.read(OBJECT_IDENTIFIER))) return false;
        const folded = isFolded(a.peek()) && isFolded(b.peek());
        if (!folded && a.peek() !== b.peek()) return false;
        const value = a.read(a.peek());
        const otherValue = b.read(b.peek());
        if (!(folded ? isSameText(value, otherValue) : same(value, otherValue))) return false;
        a.leave(attribute);
        b.leave(otherAttribute);
      }
      a.leave(set);
      b.leave(otherSet);
    }
    return within || a.done;
  } catch {
    // One has more parts than the other, or is not a Name.
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
 * Checks the syntax of name constraints.
 * @param constraints DER of the NameConstraints
 * @throws {DerFault} if they are malformed
 */
export function checkSyntax(constraints: Uint8Array): void {
  const cursor = new DerCursor(constraints);
  const outer = cursor.enter(SEQUENCE);
  if (cursor.done) throw new DerFault("name constraints are empty");
  for (let list = PERMITTED; list <= EXCLUDED; list++) {
    if (cursor.peek() !== list) continue;
    const subtrees = cursor.enter(list);
    do {
      // No minimum and maximum: they must be 0 and absent (RFC 5280 section 4.2.1.10), and DER omits a default.
      const subtree = cursor.enter(SEQUENCE);
      const tag = cursor.peek();
      if (!GENERAL_NAMES.includes(tag)) throw new DerFault("a name constraint is of an unknown type");
      const base = cursor.read(tag);
      cursor.leave(subtree);
      // RFC 5280 section 4.2.1.10: the base has no leading dot.
      if (tag === DNS_NAME && base.length > 0 && (!isDnsName(base) || isWildcard(base))) {
        throw new DerFault("a name constraint is not a host name");
      }
      if (tag === IP_ADDRESS && !isNetwork(base)) throw new DerFault("a name constraint is not a network");
      if (tag === DIRECTORY_NAME) directoryName(base);
    } while (!cursor.done);
    cursor.leave(subtrees);
  }
  cursor.leave(outer);
}

/** Returns the contents of a Name within the explicit tag of a GeneralName. */
function directoryName(value: Uint8Array): Uint8Array {
  const cursor = new DerCursor(value);
  const contents = cursor.read(SEQUENCE);
  cursor.end();
  return contents;
}

/** Whether bytes are an address and its mask, RFC 4632. */
function isNetwork(base: Uint8Array): boolean {
  if (base.length !== 8 && base.length !== 32) return false;
  let ones = true;
  for (let i = base.length / 2; i < base.length; i++) {
    const byte = base[i];
    // The mask is contiguous if 255 minus its first byte other than 255 is one less than a power of two.
    if (ones ? byte !== 0xff && (0xff - byte) & (0x100 - byte) : byte !== 0) return false;
    if (byte !== 0xff) ones = false;
  }
  return true;
}

/**
 * Applies an issuer's name constraints to a certificate below it: to its subject and to all names of subjectAltName.
 * @param constraints DER of the NameConstraints, already checked by {@link checkSyntax}
 * @throws {Rejection} if a name is excluded, not permitted, or of a constrained type that is not supported
 * @throws {DerFault} if a name is malformed
 */
export function checkConstraints(constraints: Uint8Array, certificate: Certificate, comparisons: Comparisons): void {
  const { subject, subjectAltName } = certificate;
  if (subject.length > 0) checkName(constraints, DIRECTORY_NAME, subject, comparisons);
  if (!subjectAltName) return;
  const names = new DerCursor(subjectAltName);
  names.enter(SEQUENCE);
  do {
    const tag = names.peek();
    const value = readGeneralName(names, tag);
    checkName(constraints, tag, tag === DIRECTORY_NAME ? directoryName(value) : value, comparisons);
  } while (!names.done);
}

function checkName(constraints: Uint8Array, tag: number, name: Uint8Array, comparisons: Comparisons): void {
  const cursor = new DerCursor(constraints);
  cursor.enter(SEQUENCE);
  let limited = false;
  let permitted = false;
  while (!cursor.done) {
    const excluded = cursor.peek() === EXCLUDED;
    const subtrees = cursor.enter(cursor.peek());
    do {
      comparisons.count();
      const subtree = cursor.enter(SEQUENCE);
      const type = cursor.peek();
      const base = cursor.read(type);
      cursor.leave(subtree);
      if (type !== tag) continue;
      const within = isWithin(tag, name, base, excluded);
      if (excluded && within) throw new Rejection("a name constraint excludes one of its names", BAD_CERTIFICATE);
      limited ||= !excluded;
      permitted ||= !excluded && within;
    } while (!cursor.done);
    cursor.leave(subtrees);
  }
  if (limited && !permitted) {
    throw new Rejection("the name constraints of an issuer do not permit one of its names", BAD_CERTIFICATE);
  }
}

/** Whether a name is within a base; if that cannot be decided, returns the value that leads to a rejection. */
function isWithin(tag: number, name: Uint8Array, base: Uint8Array, excluded: boolean): boolean {
  if (tag === IP_ADDRESS) return isInNetwork(name, base);
  if (tag === DIRECTORY_NAME) return isSameName(name, directoryName(base), true);
  if (tag !== DNS_NAME || !isDnsName(name)) return excluded;
  if (!isWildcard(name)) return isSubdomain(name, base);
  // All names that a wildcard matches must be permitted, and none excluded, which includes the base itself.
  return isSubdomain(name.subarray(2), base) || (excluded && isDnsMatch(name, base));
}

/** Whether a name is the base or a subdomain of it. */
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
