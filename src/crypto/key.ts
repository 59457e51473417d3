/** Reads RSA private keys: PKCS#1 (RFC 8017 appendix A.1.2) and PKCS#8 (RFC 5958), as PEM (RFC 7468) or DER. */

import { IotHubError } from "../errors.js";
import { base64DecodeLines } from "./base64.js";
import { bigIntOf } from "./big-int.js";
import { BIT_STRING, DerError, DerReader, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE } from "./der.js";
import { hex } from "./hex.js";

/** Numbers of an RSA private key (RFC 8017 section 3.2). The CRT parameters are 0 if the key does not contain them. */
export interface RsaPrivateKey {
  readonly n: bigint;
  readonly e: bigint;
  readonly d: bigint;
  readonly p: bigint;
  readonly q: bigint;
  readonly dP: bigint;
  readonly dQ: bigint;
  readonly qInv: bigint;
  /** Length of the modulus, and of a signature, in bytes: 256 to 512. */
  readonly bytes: number;
  /** RSAPrivateKey (PKCS#1) in DER, for native implementations. */
  readonly der: Uint8Array;
}

// rsaEncryption, RFC 8017 appendix A.1: 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION = "2a864886f70d010101";
// pkcs-7, RFC 2315 section 14: follows the version, 3, at the start of a PFX (RFC 7292 section 4).
const PKCS7 = "06092a864886f70d0107";
// A 4096-bit key in PEM has 3.3 KB. Anything far larger is not a key and would only cost memory.
const MAX_PEM_LENGTH = 16384;
const BEGIN = "-----BEGIN ";

/**
 * Reads an RSA private key of 2048 to 4096 bits.
 * @param key PEM, as a string or bytes, possibly with other text and certificates around the key; or DER
 * @throws {IotHubError} KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED, KEY_SIZE
 */
export function readRsaPrivateKey(key: string | Uint8Array): RsaPrivateKey {
  let der: Uint8Array;
  if (typeof key === "string") der = readPem(key);
  else if (isDer(key)) der = key;
  else if (includes(key, BEGIN)) der = readPem(latin1(key));
  else if (key[0] === 0xff || key[0] === 0xfe || (key[0] === 0x2d && key[1] === 0)) {
    throw malformed("its file is UTF-16 text; save it as UTF-8");
  } else der = key;
  if (isPkcs12(der)) {
    throw malformed("this is a PKCS#12 file; convert it with: openssl pkcs12 -in key.p12 -nodes -nocerts -out key.pem");
  }
  try {
    return readDer(der);
  } catch (cause) {
    if (cause instanceof DerError) throw malformed(cause.message, cause);
    throw cause;
  }
}

/** Whether bytes begin with a DER SEQUENCE, or one of indefinite length, as some programs write PKCS#12. */
function isDer(bytes: Uint8Array): boolean {
  // Not ambiguous with PEM: text that begins with the character "0" has neither an octet from 0x80 nor such a length
  // next.
  return bytes[0] === SEQUENCE && bytes.length > 1 && (bytes[1] >= 0x80 || bytes[1] === bytes.length - 2);
}

function isPkcs12(der: Uint8Array): boolean {
  const start = hex(der.subarray(0, 40));
  return start.startsWith("30") && start.includes("020103") && start.includes(PKCS7);
}

function includes(bytes: Uint8Array, ascii: string): boolean {
  const first = ascii.charCodeAt(0);
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    let i = 1;
    while (i < ascii.length && bytes[at + i] === ascii.charCodeAt(i)) i++;
    if (i === ascii.length) return true;
  }
  return false;
}

/** Decodes bytes as Latin-1. PEM itself is ASCII, whatever the encoding of the text around it. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  // Each argument takes one slot of XS's stack, and a small device has only a few hundred.
  for (let at = 0; at < bytes.length; at += 32) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 32) as unknown as number[]);
  }
  return text;
}

/**
 * Returns the DER of the first private key in a text. A marker without a key, as in instructions that mention it, is
 * reported only if no key follows.
 */
function readPem(text: string): Uint8Array {
  let failure: IotHubError | undefined;
  let labels = "";
  let next = text.indexOf(BEGIN);
  while (next >= 0) {
    const start = next + BEGIN.length;
    next = text.indexOf(BEGIN, start);
    // Only up to the next marker, so that the text is scanned once.
    const part = text.slice(start, Math.min(next < 0 ? text.length : next, start + MAX_PEM_LENGTH));
    const labelEnd = part.indexOf("-----");
    if (labelEnd < 0) continue;
    const label = part.slice(0, labelEnd);
    if (label === "PRIVATE KEY" || label === "RSA PRIVATE KEY") {
      const body = part.slice(labelEnd + 5);
      try {
        return readBlock(body, label);
      } catch (error) {
        failure ??= error as IotHubError;
      }
    } else if (label === "ENCRYPTED PRIVATE KEY") failure ??= encrypted();
    else if (labels.length < 200) labels += ` ${label}`;
  }
  if (failure !== undefined) throw failure;
  if (labels.includes("EC PRIVATE") || labels.includes("DSA PRIVATE")) throw notRsa();
  if (labels.includes("OPENSSH")) {
    throw malformed("it is in OpenSSH's format; convert it to PKCS#8 with: ssh-keygen -p -m PKCS8");
  }
  if (labels.includes("PUBLIC KEY") || labels.includes("CERTIFICATE")) throw notPrivate();
  throw malformed("there is no PEM private key in the text");
}

/** @param body text after the BEGIN marker, up to the next one */
function readBlock(body: string, label: string): Uint8Array {
  const end = body.indexOf(`-----END ${label}-----`);
  if (end < 0) {
    throw malformed(body.length > MAX_PEM_LENGTH - 100 ? "its PEM text is too long" : "the PEM text has no END line");
  }
  const content = body.slice(0, end);
  // RFC 1421 section 4.6.1.1: OpenSSL still writes this format.
  if (content.includes("ENCRYPTED")) throw encrypted();
  if (content.includes("\\n"))
    throw malformed("its line breaks are the two characters \\ and n instead of real line breaks");
  try {
    const der = base64DecodeLines(content);
    if (der.length > 0) return der;
  } catch (cause) {
    throw malformed("its PEM text is not Base64", cause);
  }
  throw malformed("there is no data between the BEGIN and END lines");
}

function readDer(der: Uint8Array): RsaPrivateKey {
  const file = new DerReader(der);
  const outer = file.sequence();
  if (!file.done) throw malformed("bytes follow after its end");
  if (outer.peek() === SEQUENCE) {
    outer.skip();
    // SubjectPublicKeyInfo, a certificate (a third element), or EncryptedPrivateKeyInfo (RFC 5958 section 3).
    if (outer.peek() === OCTET_STRING) throw encrypted();
    if (outer.peek() === BIT_STRING || outer.peek() === SEQUENCE) throw notPrivate();
    throw malformed("it is not a private key");
  }
  const version = outer.unsigned();
  if (outer.peek() === OCTET_STRING) throw notRsa(); // ECPrivateKey, RFC 5915
  if (outer.peek() === SEQUENCE) {
    const algorithm = outer.sequence();
    if (hex(algorithm.read(OBJECT_IDENTIFIER)) !== RSA_ENCRYPTION) throw notRsa();
    const inner = outer.read(OCTET_STRING);
    const nested = new DerReader(inner);
    const numbers = nested.sequence();
    if (!nested.done) throw malformed("bytes follow after its end");
    return readNumbers(numbers.unsigned(), numbers, inner);
  }
  return readNumbers(version, outer, der);
}

function readNumbers(version: Uint8Array, numbers: DerReader, der: Uint8Array): RsaPrivateKey {
  if (version.length > 1) throw notPrivate(); // RSAPublicKey: the first number is the modulus
  if (version.length === 1) throw malformed("it has more than two primes");
  const modulus = numbers.unsigned();
  const next = () => {
    if (numbers.peek() !== INTEGER) throw malformed("a number is missing");
    const octets = numbers.unsigned();
    if (octets.length > modulus.length) throw malformed("a number is larger than the modulus");
    return bigIntOf(octets);
  };
  const bits = modulus.length * 8 - (modulus.length ? Math.clz32(modulus[0]) - 24 : 0);
  if (bits < 2048 || bits > 4096) {
    throw new IotHubError("KEY_SIZE", `The RSA key has ${bits} bits; 2048 to 4096 are supported.`);
  }
  return Object.freeze({
    n: bigIntOf(modulus),
    e: next(),
    d: next(),
    p: next(),
    q: next(),
    dP: next(),
    dQ: next(),
    qInv: next(),
    bytes: modulus.length,
    der,
  });
}

function malformed(reason: string, cause?: unknown): IotHubError {
  return new IotHubError("KEY_MALFORMED", `The private key cannot be read: ${reason}.`, { cause });
}

function encrypted(): IotHubError {
  return new IotHubError(
    "KEY_ENCRYPTED",
    "The private key is encrypted; decrypt it first, for example with openssl pkey.",
  );
}

function notRsa(): IotHubError {
  return new IotHubError("KEY_NOT_RSA", "The private key is not an RSA key.");
}

function notPrivate(): IotHubError {
  return new IotHubError("KEY_NOT_PRIVATE", "This is a public key or a certificate, not a private key.");
}
