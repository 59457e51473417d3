/** The entry `tencent-iothub-xs/crypto`: hashes, RSA and encodings in portable code. */

export { aes128CbcDecrypt } from "../crypto/aes.js";
export { base64, base64Decode } from "../crypto/base64.js";
export { hex, hexDecode } from "../crypto/hex.js";
export { Hmac, type HmacHash, hmac } from "../crypto/hmac.js";
export { type RsaPrivateKey, readRsaPrivateKey } from "../crypto/key.js";
export { RsaSigner } from "../crypto/rsa.js";
export { Sha1, sha1 } from "../crypto/sha1.js";
export { Sha256, sha256, sha256Hex } from "../crypto/sha256.js";
export { utf8, utf8Decode } from "../crypto/utf8.js";
