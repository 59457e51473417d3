/** Signed requests and their answers, one at a time: waits, signs, sends, reads, perhaps again; always settles. */

import { type Answer, readAnswer } from "./answer.js";
import { Canceller } from "./cancel.js";
import type { Endpoint } from "./endpoint.js";
import { AnswerError, IotHubError, NetworkError, type RequestPhase } from "./errors.js";
import type { CancelSignal, Host, HttpResponse, HttpTiming, Random } from "./host.js";
import { NonceSource } from "./nonce.js";
import { type RateLimit, TokenBucket } from "./rate.js";
import {
  backoffMs,
  checkObject,
  classifyBy,
  type ErrorClass,
  isTransient,
  RetryBudget,
  type RetryOptions,
  type RetryPolicy,
  readRetryOptions,
  retryDefaults,
} from "./retry.js";
import { type Signer, signRequest } from "./signature.js";
import { type ClockCorrectionOptions, ClockSkew } from "./skew.js";

/** What is known of a failure, for an app that shows it. Contains no secret. */
export interface FailureDetails {
  /** Stable code of the error. */
  readonly code: string;
  /** One sentence for people. */
  readonly message: string;
  /** Where the request was; only of a {@link NetworkError}. */
  readonly requestPhase?: RequestPhase;
  /** HTTP status; only of an {@link AnswerError}. */
  readonly status?: number;
  /** Error code in the gateway's response, unchanged; only of an {@link AnswerError}. */
  readonly gatewayCode?: string | number;
}

/** What an app sees of a request while it happens. Never contains a key, a signature or a payload. */
export type ClientEvent =
  | { readonly phase: "clock"; readonly path: string }
  | {
      readonly phase: "sign";
      readonly path: string;
      readonly host: string;
      readonly algorithm: string;
      readonly timestampSeconds: number;
      readonly nonce: number;
      readonly bodyBytes: number;
    }
  | { readonly phase: "send"; readonly path: string; readonly host: string; readonly port: number }
  | {
      readonly phase: "answer";
      readonly path: string;
      readonly status: number;
      readonly bodyBytes: number;
      readonly timing?: HttpTiming;
    }
  | ({
      readonly phase: "retry";
      readonly path: string;
      /** Attempts so far. */
      readonly attempts: number;
      /** Delay before the next attempt, in milliseconds. */
      readonly delayMs: number;
      readonly errorClass: ErrorClass;
    } & FailureDetails)
  | { readonly phase: "clock-correction"; readonly path: string; readonly offsetMs: number }
  | { readonly phase: "done"; readonly path: string; readonly requestId: string }
  | ({ readonly phase: "error"; readonly path: string } & FailureDetails);

/** What {@link RequestOptions.onRetry} is told before each retry. */
export interface RetryNotice {
  /** Attempts so far. */
  readonly attempts: number;
  readonly delayMs: number;
  readonly errorClass: ErrorClass;
  readonly error: IotHubError;
}

export interface RequestOptions {
  /** For everything: its turn, the clock, all attempts and the time between them. Milliseconds. */
  readonly timeoutMs?: number;
  /** Gives up when it is aborted; the promise is then rejected with CANCELLED. */
  readonly signal?: CancelSignal;
  /** In place of the device's; `false` for a single attempt. Its `budget` has no effect here. */
  readonly retry?: RetryOptions | false;
  /** Called before each retry. What it throws is ignored. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

export interface ClientOptions {
  /** Default limit of a request in milliseconds, 1 to 2147483647; 20 000 unless given. */
  readonly timeoutMs?: number;
  /** Limit of an answer's body in bytes, 16 384 unless given. */
  readonly maxResponseBytes?: number;
  /** `application/json; charset=utf-8` unless given. */
  readonly contentType?: string;
  /** When a request is sent again; `false` for a single attempt. A message that is sent again may arrive twice. */
  readonly retry?: RetryOptions | false;
  /** How fast requests may follow each other; `false` for no limit. */
  readonly rateLimit?: RateLimit | false;
  /** Whether timestamps follow the gateway's Date header when the own clock is wrong; `false` never to. */
  readonly clockCorrection?: ClockCorrectionOptions | false;
  /** Requests that may wait for the one under way, 32 unless given. */
  readonly maxQueued?: number;
  /** Called as a request goes through its phases. What it throws is ignored. */
  readonly onEvent?: (event: ClientEvent) => void;
}

/** Where the time of a request went. What the host reports is that of the last attempt, except for the total. */
export interface RequestTiming extends Partial<HttpTiming> {
  /** For its turn, the rate limit, the clock, and between attempts. Milliseconds. */
  readonly waitMs: number;
  /** Signing, in milliseconds. */
  readonly signMs: number;
  /** From the call to the answer, in milliseconds. */
  readonly totalMs: number;
}

export interface Exchange {
  readonly answer: Answer;
  /** How often the request was sent. */
  readonly attempts: number;
  readonly timing: RequestTiming;
}

const MAX_TIMEOUT_MS = 2147483647;
/** What a host gets beyond the limit to report its own timeout, which names the phase. */
const GRACE_MS = 1000;
/** How far off the clock must be to be worth another signature: where the gateway named it, and where it did not. */
const LEAST_STEP_MS = Object.freeze({ clock: 2000, credential: 60000 });
/** How long a clock that could not be set is left alone while the gateway's serves. */
const CLOCK_PAUSE_MS = 3600000;

export class Client {
  readonly #endpoint: Endpoint;
  readonly #signer: Signer;
  readonly #host: Host;
  readonly #options: ClientOptions;
  readonly #nonces: NonceSource;
  readonly #policy: RetryPolicy;
  readonly #budget: RetryBudget;
  readonly #bucket: TokenBucket | undefined;
  readonly #skew: ClockSkew | undefined;
  readonly #pending = new Set<Canceller>();
  readonly #waiting: (() => void)[] = [];
  #busy = false;
  #closed = false;
  /** What the gateway asked to wait for, and until when a host's clock is not asked: in monotonic time. */
  #pausedUntil = 0;
  #clockPausedUntil = 0;
  /** Whether answers on kept connections may have lost their requests. */
  #fresh = false;
  #lastRequestId = "";
  #idsVary = false;

  /** @throws {IotHubError} INVALID_OPTION */
  constructor(endpoint: Endpoint, signer: Signer, host: Host, options: ClientOptions) {
    checkTimeout(options.timeoutMs);
    const { maxResponseBytes, contentType, rateLimit = {}, clockCorrection = {}, maxQueued } = options;
    if (maxResponseBytes !== undefined && !(Number.isInteger(maxResponseBytes) && maxResponseBytes > 0)) {
      throw new IotHubError("INVALID_OPTION", "maxResponseBytes must be a positive integer.");
    }
    if (contentType !== undefined && !/^[ -~]+$/.test(contentType)) {
      throw new IotHubError("INVALID_OPTION", "contentType must be printable ASCII.");
    }
    if (maxQueued !== undefined && !(Number.isInteger(maxQueued) && maxQueued >= 0)) {
      throw new IotHubError("INVALID_OPTION", "maxQueued must be an integer from 0.");
    }
    if (rateLimit !== false) checkObject("rateLimit", rateLimit);
    if (clockCorrection !== false) checkObject("clockCorrection", clockCorrection);
    if (clockCorrection !== false) {
      const { maxStepMs } = clockCorrection;
      if (maxStepMs !== undefined && !(Number.isFinite(maxStepMs) && maxStepMs >= 0)) {
        throw new IotHubError("INVALID_OPTION", "clockCorrection.maxStepMs must be a number from 0.");
      }
      this.#skew = new ClockSkew(host.clock, host.storage, maxStepMs);
    }
    this.#endpoint = endpoint;
    this.#signer = signer;
    this.#host = host;
    this.#options = options;
    this.#nonces = new NonceSource(host.random);
    this.#policy = readRetryOptions(options.retry, retryDefaults);
    this.#budget = new RetryBudget(this.#policy.budget);
    this.#bucket = rateLimit === false ? undefined : new TokenBucket(rateLimit);
  }

  /** The time as the gateway is told it, in milliseconds since 1970. */
  nowMs(): number {
    return this.#host.clock.nowMs() + (this.#skew?.offsetMs ?? 0);
  }

  /**
   * Signs and sends a body, and reads the answer; sends it again where that may help.
   * @throws {IotHubError} of the last attempt: what {@link HttpClient.send} and {@link readAnswer} throw; TIMEOUT,
   * CLOCK_NOT_SET, CANCELLED, QUEUE_FULL, DEVICE_CLOSED
   */
  async post(path: string, body: Uint8Array, options: RequestOptions = {}): Promise<Exchange> {
    checkObject("options", options);
    if (this.#closed) throw deviceClosed();
    checkTimeout(options.timeoutMs);
    const policy = readRetryOptions(options.retry, this.#policy);
    const { timer } = this.#host;
    const { signal } = options;
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? 20000;
    const canceller = new Canceller();
    const forward = () => canceller.cancel(cancelled(signal?.reason));
    if (signal?.aborted) forward();
    signal?.addEventListener("abort", forward);
    this.#pending.add(canceller);
    const late = timer.set(() => canceller.cancel(timedOut(timeoutMs)), Math.min(timeoutMs + GRACE_MS, MAX_TIMEOUT_MS));
    try {
      // Here and in #attempt the stack begins anew: with all callers below them, both would not fit into the 6 KB that
      // an ESP32 has by default.
      await undefined;
      const exchange = await this.#deliver(path, body, timeoutMs, policy, options.onRetry, canceller.signal);
      this.#emit({ phase: "done", path, requestId: exchange.answer.requestId });
      return exchange;
    } catch (cause) {
      const error = typed(canceller.signal.aborted ? canceller.signal.reason : cause);
      this.#emit({ phase: "error", path, ...detailsOf(error) });
      throw error;
    } finally {
      timer.clear(late);
      this.#pending.delete(canceller);
      signal?.removeEventListener("abort", forward);
    }
  }

  /** Rejects what is under way with DEVICE_CLOSED and drops the key. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const canceller of this.#pending) canceller.cancel(deviceClosed());
    this.#signer.close();
  }

  async #deliver(
    path: string,
    body: Uint8Array,
    timeoutMs: number,
    policy: RetryPolicy,
    onRetry: RequestOptions["onRetry"],
    signal: CancelSignal,
  ): Promise<Exchange> {
    const { clock, random } = this.#host;
    const start = clock.monotonicMs();
    const left = () => timeoutMs - (clock.monotonicMs() - start);
    const spent = { signMs: 0, sendMs: 0 };
    await this.#turn(signal);
    try {
      let corrected = false;
      let resent = false;
      for (let attempts = 1, retries = 0; ; attempts++) {
        await this.#ready(path, timeoutMs, left, signal);
        try {
          const limitMs = Math.max(1, Math.min(left(), policy.attemptTimeoutMs));
          const { answer, timing } = await this.#attempt(path, body, limitMs, spent, signal);
          this.#budget.refund();
          const totalMs = clock.monotonicMs() - start;
          const waitMs = Math.max(0, totalMs - spent.signMs - spent.sendMs);
          return { answer, attempts, timing: { ...timing, waitMs, signMs: spent.signMs, totalMs } };
        } catch (cause) {
          // Only an answer that made sense, a refusal or another's page, shows that the connection is in order.
          this.#fresh = !(cause instanceof AnswerError && /^(GATEWAY_REJECTED|HTTP_STATUS)$/.test(cause.code));
          if (signal.aborted) throw cause;
          const error = typed(cause);
          const errorClass = classifyBy(policy.classify, error);
          if (!corrected && (errorClass === "clock" || errorClass === "credential") && error instanceof AnswerError) {
            corrected = true;
            const skew = this.#skew;
            if (skew && (await unlessCancelled(skew.learn(error.dateMs, LEAST_STEP_MS[errorClass]), signal))) {
              this.#emit({ phase: "clock-correction", path, offsetMs: skew.offsetMs });
              continue;
            }
          }
          if (!resent && error instanceof NetworkError && error.stale) {
            resent = true;
            continue;
          }
          const delayMs = this.#retryAfter(error, policy, retries++, unit(random));
          // Better the true reason now than a timeout later.
          if (!isTransient(errorClass) || retries >= policy.maxAttempts || delayMs >= left()) throw error;
          if (!this.#budget.take()) throw error;
          this.#emit({ phase: "retry", path, attempts, delayMs, errorClass, ...detailsOf(error) });
          try {
            onRetry?.({ attempts, delayMs, errorClass, error });
          } catch {
            // As for onEvent.
          }
          await this.#sleep(delayMs, signal);
        }
      }
    } finally {
      this.#next();
    }
  }

  async #attempt(
    path: string,
    body: Uint8Array,
    timeoutMs: number,
    spent: { signMs: number; sendMs: number },
    signal: CancelSignal,
  ): Promise<{ answer: Answer; timing: HttpTiming | undefined }> {
    await undefined;
    const { clock, http } = this.#host;
    const { scheme, host, port } = this.#endpoint;
    const begun = clock.monotonicMs();
    const nonce = this.#nonces.next();
    const timestampSeconds = Math.floor(this.nowMs() / 1000);
    const signer = this.#signer;
    const time = { timestampSeconds, nonce, contentType: this.#options.contentType };
    const { headers } = signRequest({ host, path, body }, signer, time);
    const algorithm = signer.algorithm;
    this.#emit({ phase: "sign", path, host, algorithm, timestampSeconds, nonce, bodyBytes: body.length });
    const signed = clock.monotonicMs();
    spent.signMs += signed - begun;
    this.#emit({ phase: "send", path, host, port });
    let response: HttpResponse;
    try {
      const sent = http.send(
        { scheme, host, port, method: "POST", path, headers, body },
        {
          timeoutMs: Math.max(1, timeoutMs - (signed - begun)),
          maxResponseBytes: this.#options.maxResponseBytes,
          signal,
          fresh: this.#fresh,
        },
      );
      response = await unlessCancelled(sent, signal);
      this.#fresh = false;
    } finally {
      spent.sendMs += clock.monotonicMs() - signed;
    }
    const timing = response.timing;
    this.#emit({ phase: "answer", path, status: response.status, bodyBytes: response.body.length, timing });
    const answer = readAnswer(response);
    this.#checkOwn(answer, timing?.reused !== false);
    return { answer, timing };
  }

  /**
   * An answer says of the request it belongs to no more than its own id: one that came before belongs to an earlier
   * request. A gateway that gives the same id to all is left in peace, and on a connection of its own there is no
   * earlier answer to come.
   */
  #checkOwn({ requestId, status }: Answer, kept: boolean): void {
    const repeated = requestId !== "" && requestId === this.#lastRequestId;
    if (repeated && kept && this.#idsVary) {
      throw new AnswerError(
        "ANSWER_REPEATED",
        "The answer is that of an earlier request.",
        { status, requestId },
        true,
      );
    }
    if (this.#lastRequestId !== "" && !repeated) this.#idsVary = true;
    this.#lastRequestId = requestId;
  }

  /** Waits for the gateway's pause, the rate limit and the clock. */
  async #ready(path: string, timeoutMs: number, left: () => number, signal: CancelSignal): Promise<void> {
    const { clock } = this.#host;
    for (;;) {
      const now = clock.monotonicMs();
      const waitMs = this.#pausedUntil > now ? this.#pausedUntil - now : (this.#bucket?.take(now) ?? 0);
      if (waitMs === 0) break;
      if (waitMs >= left()) throw timedOut(timeoutMs);
      await this.#sleep(waitMs, signal);
    }
    if (this.#skew !== undefined) await unlessCancelled(this.#skew.load(), signal);
    if (clock.ready && clock.monotonicMs() >= this.#clockPausedUntil) {
      this.#emit({ phase: "clock", path });
      try {
        await unlessCancelled(clock.ready(), signal);
      } catch (error) {
        // Over plain HTTP the gateway's Date can stand in; over HTTPS the certificate could not be judged.
        if (signal.aborted || this.#skew === undefined || this.#endpoint.scheme === "https") throw error;
        this.#clockPausedUntil = clock.monotonicMs() + CLOCK_PAUSE_MS;
      }
    }
    if (signal.aborted) throw signal.reason;
  }

  /** The delay before the next retry; what the gateway asked for holds for all requests. */
  #retryAfter(error: IotHubError, policy: RetryPolicy, retry: number, random: number): number {
    const delayMs = backoffMs(retry, policy, random);
    if (!(error instanceof AnswerError) || error.retryAfterSeconds === undefined) return delayMs;
    const askedMs = Math.min(error.retryAfterSeconds * 1000, policy.maxRetryAfterMs);
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#host.clock.monotonicMs() + askedMs);
    return Math.max(delayMs, askedMs);
  }

  /** Waits until no other request is under way. */
  #turn(signal: CancelSignal): Promise<void> {
    if (!this.#busy && !signal.aborted) {
      this.#busy = true;
      return Promise.resolve();
    }
    const waiting = this.#waiting;
    return new Promise((resolve, reject) => {
      const give = () => {
        signal.removeEventListener("abort", abort);
        resolve();
      };
      const abort = () => {
        const at = waiting.indexOf(give);
        if (at >= 0) waiting.splice(at, 1);
        signal.removeEventListener("abort", abort);
        reject(signal.reason);
      };
      if (signal.aborted) return abort();
      if (waiting.length >= (this.#options.maxQueued ?? 32)) {
        reject(new IotHubError("QUEUE_FULL", "Too many requests are waiting already.", undefined, true));
        return;
      }
      waiting.push(give);
      signal.addEventListener("abort", abort);
    });
  }

  #next(): void {
    const give = this.#waiting.shift();
    if (give === undefined) this.#busy = false;
    else give();
  }

  #sleep(delayMs: number, signal: CancelSignal): Promise<void> {
    const { timer } = this.#host;
    let handle: unknown;
    const slept = new Promise<void>((resolve) => {
      handle = timer.set(resolve, delayMs);
    });
    return unlessCancelled(slept, signal).finally(() => timer.clear(handle));
  }

  #emit(event: ClientEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch {
      // A listener's fault must not become the message's.
    }
  }
}

/** @throws {IotHubError} INVALID_OPTION */
export function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new IotHubError("INVALID_OPTION", `timeoutMs must be a number from 1 to ${MAX_TIMEOUT_MS}.`);
  }
}

/** Settles as the promise does, or at once with the signal's reason. */
function unlessCancelled<T>(promise: Promise<T>, signal: CancelSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      signal.removeEventListener("abort", abort);
      reject(signal.reason);
    };
    if (signal.aborted) {
      promise.catch(() => {});
      return abort();
    }
    signal.addEventListener("abort", abort);
    promise.then(
      (value) => {
        signal.removeEventListener("abort", abort);
        resolve(value);
      },
      (error) => {
        signal.removeEventListener("abort", abort);
        reject(error);
      },
    );
  });
}

/** A random number from 0 to 1. */
export function unit(random: Random): number {
  const bytes = random.bytes(2);
  return ((bytes[0] << 8) | bytes[1]) / 65536;
}

function detailsOf(error: IotHubError): FailureDetails {
  const { code, message } = error;
  if (error instanceof NetworkError) return { code, message, requestPhase: error.phase };
  if (!(error instanceof AnswerError)) return { code, message };
  const { status, gatewayCode } = error;
  return gatewayCode === undefined ? { code, message, status } : { code, message, status, gatewayCode };
}

function typed(error: unknown): IotHubError {
  if (error instanceof IotHubError) return error;
  const message = "The request failed for a reason that the host did not name.";
  return new NetworkError("NETWORK_FAILED", "total", message, error);
}

function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}

function cancelled(reason: unknown): IotHubError {
  return new IotHubError("CANCELLED", "The request was cancelled.", reason);
}

function timedOut(timeoutMs: number): NetworkError {
  return new NetworkError("TIMEOUT", "total", `The request took longer than ${Math.round(timeoutMs)} ms.`);
}
