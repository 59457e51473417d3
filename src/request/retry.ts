/**
 * When to send again: classes of errors, exponential backoff with full jitter, and a budget for all requests of a
 * device. Pure functions and small counters; who waits and sends is the client.
 */

import { AnswerError, IotHubError, NetworkError } from "../errors.js";
import { checkOptions, retryRules } from "../options.js";

/**
 * What an error means for sending again:
 * - `network`: the way to the gateway is broken
 * - `timeout`: it took too long
 * - `throttled`: too much at once
 * - `server`: the gateway, or something before it, has a problem of its own
 * - `clock`: the timestamp was refused, or the clock is not set
 * - `credential`: the signature, the device's identity or the gateway's certificate was refused; waiting does not help,
 *   yet the message itself may be fine
 * - `permanent`: this message will never be taken
 * - `cancelled`: the caller gave up, or the device was closed
 */
export type ErrorClass =
  | "network"
  | "timeout"
  | "throttled"
  | "server"
  | "clock"
  | "credential"
  | "permanent"
  | "cancelled";

export interface RetryOptions {
  /** How often a request is sent at most, 1 to 1000; 3 unless given. */
  readonly maxAttempts?: number;
  /** Upper limit of the first delay, in milliseconds; it doubles with each retry. 500 unless given. */
  readonly baseDelayMs?: number;
  /** Upper limit of every delay, in milliseconds; 30 000 unless given. */
  readonly maxDelayMs?: number;
  /** Upper limit of what a Retry-After header is obeyed for, in milliseconds; 300 000 unless given. */
  readonly maxRetryAfterMs?: number;
  /** Limit of a single attempt, in milliseconds; 10 000 unless given. The request's own limit holds for all attempts. */
  readonly attemptTimeoutMs?: number;
  /**
   * Retries that all requests of a device share; 10 unless given. A retry costs one, a success brings half a one back,
   * so an outage does not multiply the requests.
   */
  readonly budget?: number;
  /** Decides in place of {@link classifyError}, where it returns a class: the platform's codes are not all published. */
  readonly classify?: (error: IotHubError) => ErrorClass | undefined;
}

export interface RetryPolicy extends Required<Omit<RetryOptions, "classify">> {
  readonly classify?: RetryOptions["classify"];
}

export const retryDefaults: RetryPolicy = Object.freeze({
  maxAttempts: 3,
  baseDelayMs: 500,
  maxDelayMs: 30000,
  maxRetryAfterMs: 300000,
  attemptTimeoutMs: 10000,
  budget: 10,
});

/** What a success brings back to the budget. */
const REFUND = 0.5;
const MAX_MS = 2147483647;

/** @throws {IotHubError} INVALID_OPTION */
export function readRetryOptions(options: RetryOptions | false | undefined, base: RetryPolicy): RetryPolicy {
  if (options === undefined) return base;
  if (options !== false) checkOptions("retry", options, retryRules);
  // A single attempt has all the time that the request has.
  if (options === false) return { ...base, maxAttempts: 1, attemptTimeoutMs: MAX_MS };
  const policy = { ...base };
  const check = (name: keyof typeof retryDefaults & keyof RetryOptions, min: number, max: number, integer: boolean) => {
    const value = options[name] as unknown;
    if (value === undefined) return;
    if (!(typeof value === "number" && value >= min && value <= max) || (integer && !Number.isInteger(value))) {
      throw new IotHubError("INVALID_OPTION", `retry.${name} must be a number from ${min} to ${max}.`);
    }
    (policy as Record<string, unknown>)[name] = value;
  };
  check("maxAttempts", 1, 1000, true);
  check("baseDelayMs", 0, MAX_MS, false);
  check("maxDelayMs", 0, MAX_MS, false);
  check("maxRetryAfterMs", 0, MAX_MS, false);
  check("attemptTimeoutMs", 1, MAX_MS, false);
  check("budget", 0, 1000000, false);
  if (options.classify !== undefined) {
    if (typeof options.classify !== "function") {
      throw new IotHubError("INVALID_OPTION", "retry.classify must be a function.");
    }
    return { ...policy, classify: options.classify };
  }
  return policy;
}

/** The class of anything that {@link Client.post} rejects with. */
export function classifyError(error: unknown): ErrorClass {
  if (error instanceof NetworkError) {
    if (error.code === "TIMEOUT") return "timeout";
    if (error.code === "CERTIFICATE_REJECTED") return "credential";
    if (error.code === "RESPONSE_TOO_LARGE" || error.code === "RESPONSE_MALFORMED") return "server";
    return "network";
  }
  if (error instanceof AnswerError) return classifyAnswer(error);
  if (!(error instanceof IotHubError)) return "network";
  switch (error.code) {
    case "CANCELLED":
    case "DEVICE_CLOSED":
      return "cancelled";
    // A clock that shows no time that can be signed says nothing about the message.
    case "CLOCK_NOT_SET":
    case "INVALID_TIMESTAMP":
      return "clock";
    case "QUEUE_FULL":
      return "throttled";
    case "SIGNER_CLOSED":
    case "SIGNING_FAULT":
    case "INVALID_CREDENTIAL":
      return "credential";
    default:
      return error.code.startsWith("KEY_") ? "credential" : "permanent";
  }
}

/** The class that the app's own function gives, or else {@link classifyError}. */
export function classifyBy(classify: RetryOptions["classify"], error: IotHubError): ErrorClass {
  try {
    return classify?.(error) ?? classifyError(error);
  } catch {
    // A fault of the app's must not decide what becomes of a message.
    return classifyError(error);
  }
}

// Codes follow Tencent Cloud's API 3.0 as far as is known (`Group.Detail`); 1010 is the retired API's "Check signature
// failed". A code that says neither is this message's own refusal.
function classifyAnswer({ code, status, gatewayCode, retryable }: AnswerError): ErrorClass {
  const text = String(gatewayCode ?? "");
  if (status === 429 || text.includes("LimitExceeded.") || /^(Request)?LimitExceeded$/.test(text)) return "throttled";
  if (code === "GATEWAY_REJECTED") {
    if (/nonce/i.test(text)) return "server";
    if (/expire|timestamp/i.test(text)) return "clock";
    if (/^AuthFailure|^1010$|^ResourceNotFound\.(Product|Device)|\.(ProductId|DeviceName|Algorithm)$/.test(text)) {
      return "credential";
    }
    if (status === 401 || status === 407) return "credential";
    return status === 408 ? "timeout" : retryable ? "server" : "permanent";
  }
  if (status === 401 || status === 407) return "credential";
  if (status === 408) return "timeout";
  // Statuses that speak of this request. Others may come from a proxy or a captive portal, and pass.
  if (code === "HTTP_STATUS" && [400, 413, 414, 415, 422, 431].includes(status)) return "permanent";
  return "server";
}

/** Whether the same request may be sent again after a while within one call. */
export function isTransient(errorClass: ErrorClass): boolean {
  return errorClass === "network" || errorClass === "timeout" || errorClass === "throttled" || errorClass === "server";
}

/** How many retries all requests of a device have left. */
export class RetryBudget {
  readonly #size: number;
  #left: number;

  constructor(size: number) {
    this.#size = size;
    this.#left = size;
  }

  /** Takes one retry, if there is one. */
  take(): boolean {
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** After a success. */
  refund(): void {
    this.#left = Math.min(this.#size, this.#left + REFUND);
  }
}
