/** Reads RSA private keys: PKCS#1 (RFC 8017 appendix A.1.2) and PKCS#8 (RFC 5958), as PEM (RFC 7468) or DER. */

import { IotHubError } from "../errors.js";
import { base64Decode } from "./base64.js";
import { BIT_STRING, DerReader, INTEGER, malformed, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE } from "./der.js";
import { hex } from "./hex.js";

/** The numbers of RFC 8017 section 3.2, as the key states them; the CRT's are 0 where it leaves them out. */
export interface RsaPrivateKey {
  readonly n: bigint;
  readonly e: bigint;
  readonly d: bigint;
  readonly p: bigint;
  readonly q: bigint;
  readonly dP: bigint;
  readonly dQ: bigint;
  readonly qInv: bigint;
  /** Length of the modulus, and so of a signature, in bytes: 256 to 512. */
  readonly bytes: number;
  /** DER of the RSAPrivateKey (PKCS#1), for native implementations. */
  readonly der: Uint8Array;
}

// rsaEncryption, RFC 8017 appendix A.1: 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION = "2a864886f70d010101";
// A 4096-bit key in PEM has 3.3 KB; what is far larger is no key, and reading it would only cost memory.
const MAX_PEM_LENGTH = 16384;

/**
 * Reads an RSA private key of 2048 to 4096 bits.
 * @param key PEM text, in which other text may stand around the key, or DER bytes
 * @throws {IotHubError} KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED, KEY_SIZE
 */
export function readRsaPrivateKey(key: string | Uint8Array): RsaPrivateKey {
  return readDer(typeof key === "string" ? readPem(key) : key);
}

function readPem(text: string): Uint8Array {
  if (text.length > MAX_PEM_LENGTH) throw malformed("the PEM text is longer than 16384 characters");
  const begin = "-----BEGIN ";
  let labels = "";
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at + 1)) {
    const start = at + begin.length;
    const labelEnd = text.indexOf("-----", start);
    if (labelEnd < 0) break;
    const label = text.slice(start, labelEnd);
    if (label === "ENCRYPTED PRIVATE KEY") throw encrypted();
    if (label === "PRIVATE KEY" || label === "RSA PRIVATE KEY") {
      const end = text.indexOf(`-----END ${label}-----`, labelEnd);
      if (end < 0) throw malformed("the PEM text has no END line");
      const body = text.slice(labelEnd + 5, end);
      // RFC 1421 section 4.6.1.1, as OpenSSL still writes it.
      if (body.includes("ENCRYPTED")) throw encrypted();
      try {
        return base64Decode(body.replace(/\s+/g, ""));
      } catch (cause) {
        throw new IotHubError("KEY_MALFORMED", "The private key cannot be read: its PEM text is not Base64.", cause);
      }
    }
    labels += ` ${label}`;
  }
  if (labels.includes("EC PRIVATE") || labels.includes("DSA PRIVATE")) throw notRsa();
  if (labels.includes("OPENSSH")) {
    throw malformed("it is in OpenSSH's format; convert it to PKCS#8 with: ssh-keygen -p -m PKCS8");
  }
  if (labels.includes("PUBLIC KEY") || labels.includes("CERTIFICATE")) throw notPrivate();
  throw malformed("there is no PEM private key in the text");
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
    throw malformed("it is no private key");
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
    return toBigInt(octets);
  };
  const bits = modulus.length * 8 - (modulus.length ? Math.clz32(modulus[0]) - 24 : 0);
  if (bits < 2048 || bits > 4096) {
    throw new IotHubError("KEY_SIZE", `The RSA key has ${bits} bits; 2048 to 4096 are supported.`);
  }
  return Object.freeze({
    n: toBigInt(modulus),
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

function toBigInt(octets: Uint8Array): bigint {
  return octets.length ? BigInt(`0x${hex(octets)}`) : 0n;
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
