/** RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017 section 8.2. */

import { IotHubError } from "../errors.js";
import { hex, hexDecode } from "./hex.js";
import type { RsaPrivateKey } from "./key.js";

// DigestInfo of SHA-256 up to the hash, RFC 8017 section 9.2 note 1.
const DIGEST_INFO = "3031300d060960864801650304020105000420";

/** A private key made ready for signing. */
export class RsaSigner {
  #key: RsaPrivateKey | undefined;
  readonly #bytes: number;
  readonly #n: bigint;
  readonly #e: bigint;

  /** @throws {IotHubError} KEY_INCONSISTENT if the numbers of the key do not belong together */
  constructor(key: RsaPrivateKey) {
    this.#key = complete(key);
    this.#bytes = key.bytes;
    this.#n = key.n;
    this.#e = key.e;
  }

  /**
   * The signature of a message whose SHA-256 is given: as many bytes as the modulus has.
   * @throws {IotHubError} SIGNER_CLOSED; SIGNING_FAULT if the result does not verify
   */
  sign(hash: Uint8Array): Uint8Array {
    const key = this.#key;
    if (key === undefined) throw new IotHubError("SIGNER_CLOSED", "The signer has been closed.");
    const m = this.#encode(hash);
    const s1 = modPow(m % key.p, key.dP, key.p);
    const s2 = modPow(m % key.q, key.dQ, key.q);
    // RFC 8017 section 5.1.2, step 2.b.
    const h = (((s1 - s2) % key.p) + key.p) * key.qInv;
    const s = s2 + (h % key.p) * key.q;
    // A fault in one half would reveal the factors of n: nothing leaves that has not been verified.
    if (modPow(s, this.#e, this.#n) !== m) throw fault();
    return hexDecode(s.toString(16).padStart(2 * this.#bytes, "0"));
  }

  /** Whether a signature is that of a message whose SHA-256 is given (RFC 8017 section 8.2.2, by comparing encodings). */
  verify(hash: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length !== this.#bytes) return false;
    const s = BigInt(`0x${hex(signature)}`);
    return s < this.#n && modPow(s, this.#e, this.#n) === this.#encode(hash);
  }

  /** Lets go of the private numbers. */
  close(): void {
    this.#key = undefined;
  }

  /** EMSA-PKCS1-v1_5, RFC 8017 section 9.2. */
  #encode(hash: Uint8Array): bigint {
    const tail = `00${DIGEST_INFO}${hex(hash)}`;
    return BigInt(`0x0001${"ff".repeat(this.#bytes - 2 - tail.length / 2)}${tail}`);
  }
}

/** A result that does not verify: a computation went wrong, or the native signer used another key. */
export function fault(): IotHubError {
  return new IotHubError("SIGNING_FAULT", "The RSA signature did not verify and was withheld.");
}

function complete(key: RsaPrivateKey): RsaPrivateKey {
  const { n, e, d, p, q } = key;
  const dP = key.dP || d % (p - 1n || 1n);
  const dQ = key.dQ || d % (q - 1n || 1n);
  const qInv = key.qInv || (p > 2n ? modPow(q % p, p - 2n, p) : 0n);
  if (
    p < 3n ||
    q < 3n ||
    p * q !== n ||
    e < 3n ||
    (e & 1n) === 0n ||
    (dP * e) % (p - 1n) !== 1n ||
    (dQ * e) % (q - 1n) !== 1n ||
    (qInv * q) % p !== 1n
  ) {
    throw new IotHubError("KEY_INCONSISTENT", "The numbers of the RSA key do not belong together.");
  }
  return { ...key, dP, dQ, qInv };
}

function modPow(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = (result * result) % modulus;
    if (bit === "1") result = (result * base) % modulus;
  }
  return result;
}
