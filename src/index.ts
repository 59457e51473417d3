/** Everything public of the portable core. */

export { type Answer, readAnswer } from "./answer.js";
export { Canceller } from "./cancel.js";
export type {
  ClientEvent,
  ClientOptions,
  FailureDetails,
  RequestOptions,
  RequestTiming,
  RetryNotice,
} from "./client.js";
export { aes128CbcDecrypt } from "./crypto/aes.js";
export { base64, base64Decode } from "./crypto/base64.js";
export { hex, hexDecode } from "./crypto/hex.js";
export { Hmac, type HmacHash, hmac } from "./crypto/hmac.js";
export { type RsaPrivateKey, readRsaPrivateKey } from "./crypto/key.js";
export { RsaSigner } from "./crypto/rsa.js";
export { Sha1, sha1 } from "./crypto/sha1.js";
export { Sha256, sha256, sha256Hex } from "./crypto/sha256.js";
export { utf8, utf8Decode } from "./crypto/utf8.js";
export { Device, type DeviceOptions, type PublishResult, type Reading } from "./device.js";
export type { Endpoint, Region } from "./endpoint.js";
export * from "./errors.js";
export * from "./host.js";
export type { LogLevel, LogOptions } from "./log.js";
export { createMemoryStorage } from "./memory.js";
export { type Identity, type Message, publishBody } from "./message.js";
export {
  type DroppedMessage,
  type DropReason,
  type EnqueueResult,
  type FlushOptions,
  type FlushReport,
  type FlushResult,
  Outbox,
  type OutboxContext,
  type OutboxOptions,
  type StoredMessage,
} from "./outbox.js";
export {
  forget,
  type Provisioned,
  type ProvisionedDeviceOptions,
  type ProvisionOptions,
  provision,
  provisionOptions,
} from "./provisioning.js";
export { type RateLimit, TokenBucket } from "./rate.js";
export {
  openRegistrationPayload,
  type RegisteredKey,
  type RegisteredSecret,
  type RegisterOptions,
  type Registration,
  type RegistrationContent,
  register,
} from "./register.js";
export { backoffMs, classifyError, type ErrorClass, type RetryOptions, retryDefaults } from "./retry.js";
export {
  type Algorithm,
  type Credential,
  createSigner,
  type KeyCredential,
  type SecretCredential,
  type SignatureTime,
  type SignedRequest,
  type Signer,
  type SignerOptions,
  type StringToSignParts,
  signedHost,
  signRequest,
  stringToSign,
} from "./signature.js";
export type { ClockCorrectionOptions } from "./skew.js";
export { buildDateMs, version } from "./version.js";
