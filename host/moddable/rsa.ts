import RSA from "rsa";
import { hexDecode } from "../../src/crypto/hex.js";
import { readRsaPrivateKey } from "../../src/crypto/key.js";
import { IotHubError } from "../../src/errors.js";
import type { NativeDigest, NativeRsa } from "../../src/host.js";

/** DigestInfo of SHA-256 up to the hash, RFC 8017 section 9.2 note 1. */
const DIGEST_INFO = "3031300d060960864801650304020105000420";

/**
 * EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) for a modulus of `length` bytes.
 * @param digestInfo what stands before the hash, in hex; that of SHA-256 unless given
 */
export function encodePkcs1(hash: Uint8Array, length: number, digestInfo = DIGEST_INFO): Uint8Array {
  const prefix = hexDecode(digestInfo);
  const encoded = new Uint8Array(length).fill(0xff);
  const start = length - hash.length - prefix.length;
  encoded[0] = encoded[start - 1] = 0;
  encoded[1] = 1;
  encoded.set(prefix, start);
  encoded.set(hash, length - hash.length);
  return encoded;
}

/** RSA of the SDK, which TLS brings along: CRT over native big integers. */
export class ArithmeticRsa implements NativeRsa {
  readonly #digest: NativeDigest;

  constructor(digest: NativeDigest) {
    this.#digest = digest;
  }

  sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array {
    const { n, d, p, q, dP, dQ, qInv, bytes } = readRsaPrivateKey(privateKey);
    if (!dP || !dQ || !qInv) throw new IotHubError("KEY_INCONSISTENT", "The private key lacks its CRT parameters.");
    const encoded = encodePkcs1(this.#digest.sha256(message), bytes);
    const signature = new RSA(d, n, p, q, dP, dQ, qInv).process(BigInt.fromArrayBuffer(encoded.buffer) as bigint);
    return new Uint8Array(ArrayBuffer.fromBigInt(signature, bytes));
  }
}
