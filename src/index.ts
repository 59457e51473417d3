/**
 * The root entry of the portable core: what an app uses. Lower-level parts have separate entries: see
 * entries/signing.ts, entries/crypto.ts, entries/host.ts and topics/topics.ts.
 */

export { Device, type DeviceOptions, type PublishResult, type Reading } from "./device.js";
export {
  type ErrorClass,
  type ErrorCode,
  IotHubError,
  type IotHubErrorOptions,
  NetworkError,
  ResponseError,
  ThrottledError,
} from "./errors.js";
export type { DeviceStats, HeartbeatOptions } from "./health.js";
export type { AbortSignalLike, Host, Storage } from "./host.js";
export type { LogLevel, LogOptions } from "./log.js";
export type { Message } from "./message.js";
export type {
  DroppedMessage,
  DropReason,
  EnqueueResult,
  FlushOptions,
  FlushReport,
  FlushResult,
  OutboxOptions,
  StoredMessage,
} from "./outbox/outbox.js";
export { type BatchOptions, type BatchReading, columns } from "./outbox/pack.js";
export {
  forget,
  type Provisioned,
  type ProvisionedDeviceOptions,
  type ProvisionOptions,
  provision,
} from "./provisioning/provision.js";
export { type RegisterOptions, type Registration, register } from "./provisioning/register.js";
export { Aborter } from "./request/abort.js";
export type { DeviceEvent, RequestOptions, RetryNotice } from "./request/client.js";
export type { Region } from "./request/endpoint.js";
export type { RetryOptions } from "./request/retry.js";
export type { Credential } from "./signing/signer.js";
export { createMemoryStorage } from "./storage/memory.js";
export { version } from "./version.js";
