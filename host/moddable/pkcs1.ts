import { hexDecode } from "../../src/crypto/hex.js";

/** DigestInfo of SHA-256 up to the hash, RFC 8017 section 9.2 note 1. */
const DIGEST_INFO = "3031300d060960864801650304020105000420";

/**
 * EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) for a modulus of `length` bytes.
 * @param digestInfo DigestInfo prefix in hex
 * @default digestInfo that of SHA-256
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
