/** Everything public of the portable core. */

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
export * from "./errors.js";
export type { DeviceStats, HeartbeatOptions, LastError, OutboxStats, WaitReason, WaitState } from "./health.js";
export * from "./host.js";
export type { LogLevel, LogOptions } from "./log.js";
export { type Identity, type Message, publishBody } from "./message.js";
export {
  type BatchEvent,
  type DroppedMessage,
  type DropReason,
  type EnqueueResult,
  type FlushOptions,
  type FlushReason,
  type FlushReport,
  type FlushResult,
  Outbox,
  type OutboxContext,
  type OutboxMessage,
  type OutboxOptions,
  type StorageEvent,
  type StoredMessage,
} from "./outbox/outbox.js";
export { type BatchOptions, type BatchReading, columns, type TimeFormat } from "./outbox/pack.js";
export {
  forget,
  type Provisioned,
  type ProvisionedDeviceOptions,
  type ProvisionOptions,
  provision,
  provisionOptions,
} from "./provisioning/provision.js";
export {
  openRegistrationPayload,
  type RegisteredKey,
  type RegisteredSecret,
  type RegisterOptions,
  type Registration,
  type RegistrationContent,
  register,
} from "./provisioning/register.js";
export { Aborter } from "./request/abort.js";
export { backoffMs } from "./request/backoff.js";
export type {
  ClientOptions,
  DeviceEvent,
  FailureDetails,
  RequestOptions,
  RequestTiming,
  RetryNotice,
} from "./request/client.js";
export type { ClockCorrectionOptions } from "./request/clock-offset.js";
export type { Endpoint, Region } from "./request/endpoint.js";
export { type RateLimit, TokenBucket } from "./request/rate-limit.js";
export { type GatewayResponse, readResponse } from "./request/response.js";
export { type RetryOptions, retryDefaults } from "./request/retry.js";
export {
  type Algorithm,
  type Credential,
  createSigner,
  type KeyCredential,
  type RequestToSign,
  type SecretCredential,
  type SignedRequest,
  type Signer,
  type SignerOptions,
  type SigningParameters,
  type StringToSignParts,
  type SyncSigner,
  signedHost,
  signRequest,
  stringToSign,
} from "./signing/signer.js";
export { createMemoryStorage } from "./storage/memory.js";
export { buildDateMs, version } from "./version.js";
