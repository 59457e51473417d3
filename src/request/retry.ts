/**
 * Retry options, and the retry budget shared by all requests of a device. errors.ts defines which errors are retried;
 * the client waits and sends.
 */

import { classifyError, type ErrorClass, errorClasses, type IotHubError } from "../errors.js";
import { checkOptions, retryRules } from "../options.js";

/** Options of retries: number, backoff and budget. */
export interface RetryOptions {
  /** Maximum number of attempts, including the first, 1 to 1000. @default 3 */
  readonly maxAttempts?: number;
  /**
   * Upper limit of the first delay in milliseconds, 0 to 2147483647; doubles with each retry. Each delay is random
   * below its limit. @default 500
   */
  readonly baseDelayMs?: number;
  /** Upper limit of every delay in milliseconds, 0 to 2147483647. @default 30000 */
  readonly maxDelayMs?: number;
  /** Maximum pause for a Retry-After header in milliseconds, 0 to 2147483647. @default 300000 */
  readonly maxRetryAfterMs?: number;
  /**
   * Time limit of a single attempt in milliseconds, 1 to 2147483647. The request's `timeoutMs` limits all attempts
   * together. @default 10000
   */
  readonly attemptTimeoutMs?: number;
  /**
   * Retry budget shared by all requests of a device, 0 to 1 000 000. A retry takes 1, a success returns 0.5, so that an
   * outage does not multiply the requests.
   * @default 10
   */
  readonly budget?: number;
  /**
   * Overrides the class of an error, unless it returns undefined: not all codes of the platform are published. Only the
   * classes `message`, `unknown` and `unreadable` can remove a message from the outbox.
   */
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

/** Budget returned by a success. */
const REFUND = 0.5;
const MAX_MS = 2147483647;

/** @throws {IotHubError} INVALID_OPTION */
export function readRetryOptions(options: RetryOptions | false | undefined, base: RetryPolicy): RetryPolicy {
  if (options === undefined) return base;
  if (options !== false) checkOptions("retry", options, retryRules);
  // A single attempt is limited only by the request.
  if (options === false) return { ...base, maxAttempts: 1, attemptTimeoutMs: MAX_MS };
  const policy: { -readonly [Name in keyof RetryPolicy]: RetryPolicy[Name] } = { ...base };
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) (policy as Record<string, unknown>)[name] = value;
  }
  return policy;
}

/** Returns the class given by the app's function, or else by {@link classifyError}. */
export function classifyBy(classify: RetryOptions["classify"], error: IotHubError): ErrorClass {
  try {
    const errorClass = classify?.(error);
    if (errorClass !== undefined && Object.hasOwn(errorClasses, errorClass)) return errorClass;
  } catch {
    // A throwing callback must not affect delivery.
  }
  return classifyError(error);
}

/** Retry budget of all requests of a device. */
export class RetryBudget {
  readonly #size: number;
  #left: number;

  constructor(size: number) {
    this.#size = size;
    this.#left = size;
  }

  /** Takes one retry from the budget. @returns false if it is exhausted */
  take(): boolean {
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  /** Returns part of a retry to the budget after a success. */
  refund(): void {
    this.#left = Math.min(this.#size, this.#left + REFUND);
  }
}
