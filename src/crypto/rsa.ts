/** RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017 section 8.2. */

import { IotHubError } from "../errors.js";
import type { Random } from "../host.js";
import { bigIntBytes, bigIntOf } from "./big-int.js";
import { Hmac } from "./hmac.js";
import type { RsaPrivateKey } from "./key.js";
import { Montgomery } from "./montgomery.js";

// DigestInfo of SHA-256 up to the hash, RFC 8017 section 9.2 note 1.
const DIGEST_INFO = "3031300d060960864801650304020105000420";

/** One block of SHA-256. */
const HMAC_KEY_BYTES = 64;
const HASH_BYTES = 32;

/** Length in bits of the random multiple of p - 1 that is added to an exponent. */
const BLINDING_BITS = 64;

interface Prepared {
  readonly p: Montgomery;
  readonly q: Montgomery;
  readonly dP: bigint;
  readonly dQ: bigint;
  /** In Montgomery form modulo p. */
  readonly qInv: bigint;
  /** Keyed with a secret of the RSA key: the blinding must not be predictable. */
  readonly hmac: Hmac;
}

/**
 * Signs with an RSA private key that is prepared once: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2).
 * @example
 *   const signer = new RsaSigner(readRsaPrivateKey(pem));
 *   const signature = signer.sign(sha256(body));
 */
export class RsaSigner {
  #prepared: Prepared | undefined;
  readonly #bytes: number;
  readonly #n: Montgomery;
  readonly #e: bigint;
  /** Encoded message (RFC 8017 section 9.2) with a hash of all zeros. */
  readonly #encoding: bigint;
  readonly #random: Random | undefined;
  #count = 0;

  /**
   * @param random mixed into the blinding. Without it, the blinding still changes with each signature, but follows from
   * the key, the message and a counter
   * @throws {IotHubError} KEY_INCONSISTENT if the parameters of the key do not match
   */
  constructor(key: RsaPrivateKey, random?: Random) {
    if (key.n < 3n || (key.n & 1n) === 0n || key.e < 3n || (key.e & 1n) === 0n || key.e >= key.n) throw inconsistent();
    this.#bytes = key.bytes;
    this.#n = new Montgomery(key.n);
    this.#e = key.e;
    this.#random = random;
    const tail = `00${DIGEST_INFO}${"00".repeat(HASH_BYTES)}`;
    this.#encoding = BigInt(`0x0001${"ff".repeat(key.bytes - 2 - tail.length / 2)}${tail}`);
    this.#prepared = prepare(key, this.#n);
  }

  /**
   * Signs a SHA-256 digest.
   * @param hash 32 bytes
   * @returns the signature, as long as the modulus
   * @throws {IotHubError} SIGNER_CLOSED; SIGNING_FAULT if the result does not verify; INVALID_OPTION if the digest does
   * not have 32 bytes
   */
  sign(hash: Uint8Array): Uint8Array {
    const prepared = this.#prepared;
    if (prepared === undefined) throw new IotHubError("SIGNER_CLOSED", "The signer has been closed.");
    if (hash.length !== HASH_BYTES) throw new IotHubError("INVALID_OPTION", "Expected a 32-byte SHA-256 digest.");
    const { p, q, qInv } = prepared;
    const m = this.#encode(hash);
    const blinding = this.#blinding(prepared.hmac, hash);
    const s1 = blindedPower(p, m, prepared.dP, blinding >> 128n);
    const s2 = blindedPower(q, m, prepared.dQ, blinding);
    // RFC 8017 section 5.1.2, step 2.b.
    const difference = s1 - (s2 % p.modulus);
    const h = p.rest(p.multiply(difference < 0n ? difference + p.modulus : difference, qInv));
    const s = s2 + h * q.modulus;
    // A fault in one CRT half would reveal the factors of n: never return a signature that was not verified.
    if (s >= this.#n.modulus || this.#n.publicPower(s, this.#e) !== m) throw fault();
    return bigIntBytes(s, this.#bytes);
  }

  /** Verifies a signature of a SHA-256 digest (RFC 8017 section 8.2.2, by comparing encodings). */
  verify(hash: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length !== this.#bytes || hash.length !== HASH_BYTES) return false;
    const s = bigIntOf(signature);
    return s < this.#n.modulus && this.#n.publicPower(s, this.#e) === this.#encode(hash);
  }

  /** Drops the private key. */
  close(): void {
    this.#prepared?.hmac.close();
    this.#prepared = undefined;
  }

  /** EMSA-PKCS1-v1_5, RFC 8017 section 9.2. */
  #encode(hash: Uint8Array): bigint {
    return this.#encoding + bigIntOf(hash);
  }

  /** Derives 256 bits from the key's secret, the digest, a counter, and the host's random source. */
  #blinding(hmac: Hmac, hash: Uint8Array): bigint {
    const random = this.#random?.bytes(16) ?? new Uint8Array(0);
    const input = new Uint8Array(hash.length + 4 + random.length);
    input.set(hash);
    new DataView(input.buffer).setUint32(hash.length, this.#count++);
    input.set(random, hash.length + 4);
    return bigIntOf(hmac.sign(input));
  }
}

/** Error for a signature that does not verify: a computation fault, or a native signer with another key. */
export function fault(): IotHubError {
  return new IotHubError("SIGNING_FAULT", "The RSA signature did not verify and was withheld.");
}

/** Returns m^d modulo a prime. Adding a multiple of prime - 1 to the exponent changes its bits, but not the result. */
function blindedPower(prime: Montgomery, m: bigint, d: bigint, blinding: bigint): bigint {
  const multiple = BigInt.asUintN(BLINDING_BITS, blinding) * (prime.modulus - 1n);
  return prime.power(m % prime.modulus, d + multiple, prime.bits + BLINDING_BITS);
}

/** Checks the numbers, and computes those that the key does not contain (RFC 8017 section 3.2). */
function prepare({ n, e, d, ...key }: RsaPrivateKey, modulus: Montgomery): Prepared {
  const [p, q] = key.p === 0n && key.q === 0n ? factors(modulus, e, d) : [key.p, key.q];
  if (p < 3n || q < 3n || p * q !== n) throw inconsistent();
  const dP = key.dP || d % (p - 1n);
  const dQ = key.dQ || d % (q - 1n);
  // Signing does not use d, but it must still match the key.
  for (const [exponent, prime] of [
    [d, p],
    [dP, p],
    [d, q],
    [dQ, q],
  ]) {
    if ((exponent * e) % (prime - 1n) !== 1n) throw inconsistent();
  }
  const montgomeryP = new Montgomery(p);
  const qInv = key.qInv || montgomeryP.power(q % p, p - 2n, montgomeryP.bits);
  if (dP >= p || dQ >= q || qInv >= p || (qInv * q) % p !== 1n) throw inconsistent();
  // 512 secret bits are more than enough for a key, and the longest that HMAC does not hash first.
  const secret = bigIntBytes(BigInt.asUintN(8 * HMAC_KEY_BYTES, dP), HMAC_KEY_BYTES);
  const hmac = new Hmac("sha256", secret);
  secret.fill(0);
  return { p: montgomeryP, q: new Montgomery(q), dP, dQ, qInv: montgomeryP.enter(qInv), hmac };
}

/** Finds the primes of a key that contains only n, e and d (NIST SP 800-56B appendix C.1). */
function factors(modulus: Montgomery, e: bigint, d: bigint): readonly [bigint, bigint] {
  const n = modulus.modulus;
  let odd = d * e - 1n;
  let halvings = 0;
  for (; odd > 0n && (odd & 1n) === 0n; odd >>= 1n) halvings++;
  // Each base fails with a probability of at most one half.
  for (let base = 2n; odd > 0n && d < n && e < 1n << 256n && base < 42n; base++) {
    let x = modulus.power(base, odd, modulus.bits + 256);
    let i = 0;
    for (; i < halvings && x !== 1n && x !== n - 1n; i++) {
      const square = modulus.publicPower(x, 2n);
      if (square === 1n) {
        const p = gcd(x - 1n, n);
        return [p, n / p];
      }
      x = square;
    }
    // base^(de - 1) is not 1: d does not match e.
    if (i === halvings) break;
  }
  throw inconsistent();
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y > 0n) [x, y] = [y, x % y];
  return x;
}

function inconsistent(): IotHubError {
  return new IotHubError("KEY_INCONSISTENT", "Inconsistent RSA key: the parameters do not match.");
}
