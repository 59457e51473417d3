/**
 * Minimal subset for firmware that signs with a secret and sends requests with its own HTTP code: hash, HMAC,
 * signature, message body. It contains neither RSA nor `Device`.
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
