/**
 * What firmware needs that signs with a secret and sends by itself: the hash, the HMAC, the signature, the message. It
 * has neither RSA nor a device that sends.
 */

export { base64 } from "./crypto/base64.js";
export { hex } from "./crypto/hex.js";
export { Hmac } from "./crypto/hmac.js";
export { sha256, sha256Hex } from "./crypto/sha256.js";
export { utf8 } from "./crypto/utf8.js";
export { IotHubError } from "./errors.js";
export { publishBody } from "./message.js";
export { createSecretSigner as createSigner, signWith as signRequest } from "./signing/hmac-signer.js";
export { stringToSign } from "./signing/string-to-sign.js";
