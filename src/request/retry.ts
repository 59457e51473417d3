/**
 * How often to send again: the options, and a budget for all requests of a device. What an error means stands in
 * errors.ts; who waits and sends is the client.
 */

import { classifyError, type ErrorClass, errorClasses, type IotHubError } from "../errors.js";
import { checkOptions, retryRules } from "../options.js";

/** Options of retries: how many, their backoff, and their budget. */
export interface RetryOptions {
  /** How often a request is sent at most, 1 to 1000. @default 3 */
  readonly maxAttempts?: number;
  /** Upper limit of the first delay, in milliseconds; it doubles with each retry. @default 500 */
  readonly baseDelayMs?: number;
  /** Upper limit of every delay, in milliseconds. @default 30000 */
  readonly maxDelayMs?: number;
  /** Upper limit of what a Retry-After header is obeyed for, in milliseconds. @default 300000 */
  readonly maxRetryAfterMs?: number;
  /** Limit of a single attempt, in milliseconds. The request's own limit holds for all attempts. @default 10000 */
  readonly attemptTimeoutMs?: number;
  /**
   * Retries that all requests of a device share, 10 by default. A retry costs one, a success brings half a one back,
   * so an outage does not multiply the requests.
   */
  readonly budget?: number;
  /**
   * Decides in place of {@link classifyError}, where it returns a class: the platform's codes are not all published.
   * Only the classes `message` and `unknown` let a message leave the outbox.
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

/** What a success brings back to the budget. */
const REFUND = 0.5;
const MAX_MS = 2147483647;

/** @throws {IotHubError} INVALID_OPTION */
export function readRetryOptions(options: RetryOptions | false | undefined, base: RetryPolicy): RetryPolicy {
  if (options === undefined) return base;
  if (options !== false) checkOptions("retry", options, retryRules);
  // A single attempt has all the time that the request has.
  if (options === false) return { ...base, maxAttempts: 1, attemptTimeoutMs: MAX_MS };
  const policy: { -readonly [Name in keyof RetryPolicy]: RetryPolicy[Name] } = { ...base };
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) (policy as Record<string, unknown>)[name] = value;
  }
  return policy;
}

/** The class that the app's own function gives, or else {@link classifyError}. */
export function classifyBy(classify: RetryOptions["classify"], error: IotHubError): ErrorClass {
  try {
    const errorClass = classify?.(error);
    if (errorClass !== undefined && Object.hasOwn(errorClasses, errorClass)) return errorClass;
  } catch {
    // A fault of the app's must not decide what becomes of a message.
  }
  return classifyError(error);
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
