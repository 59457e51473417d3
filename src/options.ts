/** Rules of all options. Those of a message are in message.ts, since sign-only firmware needs them. */

import type { Rules } from "./check-options.js";
import type { DeviceOptions } from "./device.js";
import type { HeartbeatOptions } from "./health.js";
import type { LogOptions } from "./log.js";
import type { FlushOptions, OutboxOptions } from "./outbox/outbox.js";
import type { BatchOptions } from "./outbox/pack.js";
import type { ProvisionedDeviceOptions, ProvisionOptions } from "./provisioning/provision.js";
import type { RegisterOptions } from "./provisioning/register.js";
import type { ClientOptions, RequestOptions } from "./request/client.js";
import type { ClockCorrectionOptions } from "./request/clock-offset.js";
import type { PhaseTimeouts } from "./request/lifecycle.js";
import type { RateLimit } from "./request/rate-limit.js";
import type { RetryOptions } from "./request/retry.js";
import type { ReportOptions, TopicsOptions } from "./topics/topics.js";

export { checkOptions, type Rule, type Rules } from "./check-options.js";

// Bounds are strings, since arrays would cost memory in a preloaded XS machine.

/** Milliseconds, up to the maximum delay of a timer. */
const TIMEOUT = "number 1 2147483647";
const DELAY = "number 0 2147483647";
const BYTES = "integer 1 2147483647";

const clientRules = {
  timeoutMs: TIMEOUT,
  phaseTimeoutsMs: "object",
  maxResponseBytes: BYTES,
  contentType: "string",
  retry: "switch",
  rateLimit: "switch",
  clockCorrection: "switch",
  maxQueued: "integer 0 1000000",
  storageTimeoutMs: "number 1 2147483647",
  onEvent: "function",
} satisfies Rules<ClientOptions>;

export const requestRules = Object.freeze({
  timeoutMs: TIMEOUT,
  signal: "signal",
  retry: "switch",
  onRetry: "function",
} satisfies Rules<RequestOptions>);

export const phaseTimeoutRules = Object.freeze({
  connect: TIMEOUT,
  tls: TIMEOUT,
  write: TIMEOUT,
  "first-byte": TIMEOUT,
  read: TIMEOUT,
} satisfies Rules<PhaseTimeouts>);

export const retryRules = Object.freeze({
  maxAttempts: "integer 1 1000",
  baseDelayMs: DELAY,
  maxDelayMs: DELAY,
  maxRetryAfterMs: DELAY,
  attemptTimeoutMs: TIMEOUT,
  budget: "number 0 1000000",
  classify: "function",
} satisfies Rules<RetryOptions>);

export const rateLimitRules = Object.freeze({
  perSecond: "number 0.001 1000000",
  burst: "number 1 1000000",
} satisfies Rules<RateLimit>);

export const clockCorrectionRules = Object.freeze({
  maxStepMs: "number 0 9007199254740991",
} satisfies Rules<ClockCorrectionOptions>);

/** Identity of the device, and its gateway. */
const identityRules = {
  productId: "any",
  deviceName: "any",
  region: "any",
  url: "any",
} satisfies Partial<Rules<RegisterOptions>>;

/** Options of a device apart from its identity and credential. */
const publishingRules = {
  maxPayloadBytes: BYTES,
  log: "object",
  outbox: "object",
  heartbeat: "object",
} satisfies Partial<Rules<DeviceOptions>>;

export const deviceRules = Object.freeze({
  ...clientRules,
  ...identityRules,
  credential: "any",
  ...publishingRules,
} satisfies Rules<DeviceOptions>);

export const outboxRules = Object.freeze({
  name: "string",
  maxMessages: "integer 1 1000000",
  maxBytes: "integer 256 9007199254740991",
  policy: "string",
  flushIntervalMs: "integer 0 2147483647",
  flushThreshold: "integer 1 1000000",
  storeAfterMs: "integer 0 2147483647",
  timeField: "string",
  timeFormat: "string",
  batch: "object",
  onDelivered: "function",
  onRetried: "function",
  onDropped: "function",
  onFlushed: "function",
} satisfies Rules<OutboxOptions>);

export const batchRules = Object.freeze({
  maxReadings: "integer 1 1000",
  maxBytes: "integer 64 1048576",
  encode: "function",
} satisfies Rules<BatchOptions>);

export const flushRules = Object.freeze({
  deadlineMs: DELAY,
  signal: "signal",
} satisfies Rules<FlushOptions>);

export const heartbeatRules = Object.freeze({
  intervalMs: "integer 1000 2147483647",
  topic: "any",
} satisfies Rules<HeartbeatOptions>);

export const logRules = Object.freeze({
  level: "any",
  intervalMs: "integer 100 3600000",
  maxLines: "integer 1 100",
  maxLineBytes: "integer 64 4096",
} satisfies Rules<LogOptions>);

export const registerRules = Object.freeze({
  ...clientRules,
  ...identityRules,
  productSecret: "any",
  algorithm: "any",
  clientCertificate: "any",
  clientKey: "any",
  clientCertificateMembers: "any",
  signal: "signal",
} satisfies Rules<RegisterOptions>);

export const provisionRules = Object.freeze({
  ...registerRules,
  force: "boolean",
} satisfies Rules<ProvisionOptions>);

export const provisionedDeviceRules = Object.freeze({
  ...provisionRules,
  ...publishingRules,
} satisfies Rules<ProvisionedDeviceOptions>);

export const topicsRules = Object.freeze({ token: "function" } satisfies Rules<TopicsOptions>);

export const reportRules = Object.freeze({ timeMs: "any" } satisfies Rules<ReportOptions>);
