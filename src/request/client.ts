/** Sends signed requests one at a time: waits for its turn, signs, sends, reads the response, and retries. */

import {
  type ErrorClass,
  IotHubError,
  isTransient,
  NetworkError,
  type RequestPhase,
  ResponseError,
  ThrottledError,
} from "../errors.js";
import type { LastError, WaitReason } from "../health.js";
import type { AbortSignalLike, Host, HttpRequest, HttpResponse, HttpTiming } from "../host.js";
import { checkOptions, clockCorrectionRules, phaseTimeoutRules } from "../options.js";
import { type SignedRequest, type Signer, type SigningParameters, signWith } from "../signing/hmac-signer.js";
import { MAX_TIMESTAMP } from "../signing/string-to-sign.js";
import { buildDateMs } from "../version.js";
import { Aborter, AbortForwarder, unlessAborted } from "./abort.js";
import { backoffMs, nextRunMs, pauseMs, unit } from "./backoff.js";
import { type ClockCorrectionOptions, ClockOffset } from "./clock-offset.js";
import type { Endpoint } from "./endpoint.js";
import { roundsNeeded } from "./evidence.js";
import { Attempt, type PhaseTimeouts } from "./lifecycle.js";
import { NonceSource } from "./nonce.js";
import { OwnResponses } from "./own-response.js";
import { type RateLimit, TokenBucket } from "./rate-limit.js";
import { type GatewayResponse, readDate, readResponse } from "./response.js";
import {
  classifyBy,
  RetryBudget,
  type RetryOptions,
  type RetryPolicy,
  readRetryOptions,
  retryDefaults,
} from "./retry.js";

/** Details of a failure, for display. Contains no secret. */
export interface FailureDetails {
  /** Stable code of the error. */
  readonly code: string;
  /** One sentence for humans. */
  readonly message: string;
  /** Phase of the request; only for a {@link NetworkError}. */
  readonly requestPhase?: RequestPhase;
  /** HTTP status; only for a {@link ResponseError}. */
  readonly status?: number;
  /** Error code in the gateway's response, unchanged; only for a {@link ResponseError}. */
  readonly gatewayCode?: string | number;
}

/**
 * Events of a device, distinguished by `type`: the progress of requests, warnings and errors. Never contains a key, a
 * payload, or a complete signature.
 */
export type DeviceEvent =
  | { readonly type: "clock"; readonly path: string }
  | {
      readonly type: "sign";
      readonly path: string;
      readonly host: string;
      readonly algorithm: string;
      readonly timestampSeconds: number;
      readonly nonce: number;
      readonly bodyBytes: number;
      /** Hash of the body in lower-case hex: the last line of the string to sign. */
      readonly bodyHash: string;
      /** The first 12 characters of the signature: enough to recognize it in a log, useless for a replay. */
      readonly signature: string;
    }
  | { readonly type: "send"; readonly path: string; readonly host: string; readonly port: number }
  | {
      readonly type: "response";
      readonly path: string;
      readonly status: number;
      readonly bodyBytes: number;
      readonly timing?: HttpTiming;
    }
  | ({
      readonly type: "retry";
      readonly path: string;
      /** Number of the attempt that failed, from 1. */
      readonly attempt: number;
      /** Maximum number of further attempts. */
      readonly retriesLeft: number;
      /** Delay before the next attempt, in milliseconds. */
      readonly delayMs: number;
      readonly errorClass: ErrorClass;
    } & FailureDetails)
  | { readonly type: "clock-correction"; readonly path: string; readonly offsetMs: number }
  | {
      /** A proxy mixes up responses: for a while, each request uses a new connection. */
      readonly type: "new-connections";
      readonly path: string;
      /** `repeated`: a response came twice. `surplus`: unsolicited bytes arrived. */
      readonly reason: "repeated" | "surplus";
      /** Duration in milliseconds. */
      readonly durationMs: number;
    }
  | { readonly type: "done"; readonly path: string; readonly requestId: string }
  /**
   * A message that the platform may reject, but that is sent nevertheless. `TOPIC_LEVELS`: the topic has more slashes
   * than the platform allows: 6, or 10 in regions other than `ap-guangzhou`
   * (cloud.tencent.com/document/product/634/15241, tencentcloud.com/document/product/1105/41464). Not repeated for the
   * same topic.
   */
  | { readonly type: "warning"; readonly code: "TOPIC_LEVELS"; readonly message: string; readonly topic: string }
  /**
   * The storage accepts no more writes until a restart: emitted once, with the code STORAGE_STOPPED. Restart the board.
   */
  | { readonly type: "storage"; readonly code: string; readonly message: string }
  /** Readings could not be encoded as one message and are sent one by one: INVALID_PAYLOAD or PAYLOAD_TOO_LARGE. */
  | { readonly type: "batch"; readonly code: string; readonly message: string; readonly readings: number }
  | ({ readonly type: "error"; readonly path: string; readonly errorClass: ErrorClass } & FailureDetails);

/** Argument of {@link RequestOptions.onRetry}. */
export interface RetryNotice {
  /** Number of the attempt that failed, from 1. */
  readonly attempt: number;
  /** Maximum number of further attempts. */
  readonly retriesLeft: number;
  /** Delay before the next attempt, in milliseconds. */
  readonly delayMs: number;
  readonly errorClass: ErrorClass;
  readonly error: IotHubError;
}

/** Options of one request, which override the device's. */
export interface RequestOptions {
  /**
   * Time limit of the whole request, including queueing, the clock, all attempts and delays between them, in
   * milliseconds, 1 to 2147483647. @default the device's `timeoutMs`
   */
  readonly timeoutMs?: number;
  /** Cancels the request when aborted; the promise then rejects with CANCELLED. */
  readonly signal?: AbortSignalLike;
  /** Retry options, merged with the device's; `false` for a single attempt. `budget` has no effect here. */
  readonly retry?: RetryOptions | false;
  /** Called before each retry. Exceptions are ignored. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

/** Internal options of a request. */
export interface PostOptions extends RequestOptions {
  /** False: no retry after a response that is not from the gateway, so that other messages can be tried. */
  readonly retryUnreadable?: boolean;
  /** False: a pause requested by the gateway ends the request instead of delaying it. */
  readonly waitForPause?: boolean;
  /** Overrides `retry`: parsed once for many requests. */
  readonly policy?: RetryPolicy;
  /** True: uses a new connection, on which no response to an earlier request can arrive. */
  readonly fresh?: boolean;
  /**
   * Encodes the body again before each attempt, once the clock is ready, for readings whose time is not known yet. The
   * Date header of successful responses is then evaluated, too.
   */
  readonly renew?: () => Promise<Uint8Array>;
}

/** Options of a device's requests: limits, retries, rate limit and clock. */
export interface ClientOptions {
  /** Time limit of a request in milliseconds, 1 to 2147483647, including queueing and retries. @default 20000 */
  readonly timeoutMs?: number;
  /**
   * Time limits of the phases of an attempt in milliseconds, 1 to 2147483647: `connect` (name resolution and TCP),
   * `tls`, `write`, `first-byte`, `read`.
   * @default the rest of `retry.attemptTimeoutMs` for each
   */
  readonly phaseTimeoutsMs?: PhaseTimeouts;
  /** Maximum size of a response body in bytes, 1 to 2147483647. @default 16384 */
  readonly maxResponseBytes?: number;
  /** Content-Type of the requests. @default "application/json; charset=utf-8" */
  readonly contentType?: string;
  /** Retries; `false` for a single attempt. A message that is retried may arrive twice. */
  readonly retry?: RetryOptions | false;
  /** Rate limit of requests; `false` for none. */
  readonly rateLimit?: RateLimit | false;
  /** Correction of timestamps by the gateway's Date header when the local clock is wrong; `false` disables it. */
  readonly clockCorrection?: ClockCorrectionOptions | false;
  /**
   * Maximum number of requests that wait for the pending one, 0 to 1 000 000; further ones reject with QUEUE_FULL.
   * @default 32
   */
  readonly maxQueued?: number;
  /**
   * Timeout of a storage operation in milliseconds, 1 to 2147483647. Storing a credential has no timeout.
   * @default 10000
   */
  readonly storageTimeoutMs?: number;
  /** Called for each event. Exceptions are ignored. */
  readonly onEvent?: (event: DeviceEvent) => void;
}

/**
 * Duration of a request by phase, in milliseconds. The values of {@link HttpTiming}, except `totalMs`, are those of the
 * last attempt.
 */
export interface RequestTiming extends Partial<HttpTiming> {
  /** Waiting in the queue, for the rate limit, for the clock, and between attempts, in milliseconds. */
  readonly waitMs: number;
  /** Signing, in milliseconds. */
  readonly signMs: number;
  /** From the call to the response, in milliseconds. */
  readonly totalMs: number;
}

export interface PublishOutcome {
  readonly result: GatewayResponse;
  /** Number of times the request was sent. */
  readonly attempts: number;
  readonly timing: RequestTiming;
}

const DEFAULT_MAX_RESPONSE_BYTES = 16384;
/**
 * Minimum clock error in milliseconds that justifies signing again, when the gateway names the timestamp and when it
 * names the signature.
 */
const LEAST_STEP_MS = Object.freeze({ clock: 2000, credential: 60000 });
/**
 * Minimum delay before the next attempt to set the clock while the gateway's Date is used; also the limit of the random
 * addition.
 */
const CLOCK_PAUSE_MS = 3600000;
/** Time without keep-alive connections after responses were mixed up: a proxy that does it once does it again. */
const NEW_CONNECTIONS_MS = 600000;

/** Number of characters of a signature in an event. */
const SHOWN_SIGNATURE = 12;

const noOptions: PostOptions = Object.freeze({});

/** A pending request. One object instead of parameters and locals, which each pending frame would keep separately. */
interface PendingRequest {
  readonly path: string;
  body: Uint8Array;
  readonly timeoutMs: number;
  readonly policy: RetryPolicy;
  readonly options: PostOptions;
  readonly signal: AbortSignalLike;
  readonly aborter: RequestAborter;
  /** The timer of its limit. */
  late: unknown;
  /** The HTTP request of the current attempt. */
  sent: HttpRequest | undefined;
  readonly startMs: number;
  signMs: number;
  sendMs: number;
  /** Time of the current attempt's signature, in monotonic time. */
  signedMs: number;
  attempts: number;
  retries: number;
  /** Whether it was signed again with a corrected timestamp. */
  corrected: boolean;
  /** Whether it was resent because of its connection, or because its response was not accepted. */
  resent: boolean;
}

/** Cancels a request together with its current attempt. */
class RequestAborter extends Aborter {
  /** The current attempt, whose time limit ends no later than the request's. */
  attempt: Attempt | undefined;

  override abort(reason: unknown): void {
    super.abort(reason);
    this.attempt?.abort(reason);
  }
}

export class Client {
  readonly #endpoint: Endpoint;
  readonly #signer: Signer;
  readonly #host: Host;
  readonly #options: ClientOptions;
  // Checked before an event is created: most devices do not listen.
  readonly #onEvent: ClientOptions["onEvent"];
  readonly #nonces: NonceSource;
  readonly #policy: RetryPolicy;
  readonly #budget: RetryBudget;
  readonly #bucket: TokenBucket | undefined;
  readonly #clockOffset: ClockOffset | undefined;
  readonly #pending = new Set<Aborter>();
  readonly #waiting: (() => void)[] = [];
  #aborts: AbortForwarder | undefined;
  #busy = false;
  #closed = false;
  /**
   * End of the pause requested by the gateway, and of the time without attempts to set the clock, in monotonic time.
   */
  #pausedUntil = 0;
  #clockPausedUntil = 0;
  /** Whether keep-alive connections may be out of sync. */
  #fresh = false;
  /** End of the time without keep-alive connections, in monotonic time. */
  #freshUntil = 0;
  #isRandomReady = false;
  readonly #own = new OwnResponses();
  /** Last value of the host's counter. */
  #surplus: number | undefined;
  // Statistics come last: XS searches private fields in order. They are public, since getters would cost a device more
  // than their users.
  /** Number of retries. */
  retried = 0;
  /** Time of the last success, in monotonic time. */
  succeededMs: number | undefined;
  /** The last error, with a monotonic time. */
  lastError: LastError | undefined;
  /** End of the current backoff, in monotonic time. */
  #backoffUntil = 0;
  #isClockAwaited = false;

  /** @throws {IotHubError} INVALID_OPTION */
  constructor(endpoint: Endpoint, signer: Signer, host: Host, options: ClientOptions) {
    const { contentType, phaseTimeoutsMs, rateLimit = {}, clockCorrection = {} } = options;
    if (contentType !== undefined && !/^[ -~]+$/.test(contentType)) {
      throw new IotHubError("INVALID_OPTION", "contentType must be printable ASCII.");
    }
    if (phaseTimeoutsMs !== undefined) checkOptions("phaseTimeoutsMs", phaseTimeoutsMs, phaseTimeoutRules);
    if (clockCorrection !== false) {
      checkOptions("clockCorrection", clockCorrection, clockCorrectionRules);
      this.#clockOffset = new ClockOffset(host.clock, host.storage, clockCorrection.maxStepMs);
    }
    this.#endpoint = endpoint;
    this.#signer = signer;
    this.#host = host;
    this.#options = options;
    this.#onEvent = options.onEvent;
    this.#nonces = new NonceSource(host.random);
    this.#policy = readRetryOptions(options.retry, retryDefaults);
    this.#budget = new RetryBudget(this.#policy.budget);
    this.#bucket = rateLimit === false ? undefined : new TokenBucket(rateLimit);
    this.#surplus = host.http.surplus;
  }

  /** Returns the time used in signatures, in milliseconds since 1970. */
  nowMs(): number {
    const clockOffset = this.#clockOffset;
    const nowMs = this.#host.clock.nowMs();
    return clockOffset === undefined || clockOffset.learnedMs === 0 ? nowMs : nowMs + clockOffset.offsetMs;
  }

  /** Whether {@link nowMs} is known to be the real time. */
  get isTimeKnown(): boolean {
    const { clock } = this.#host;
    return (clock.synchronized !== false && clock.nowMs() >= buildDateMs) || this.#clockOffset?.isConfirmed === true;
  }

  /**
   * Signs and sends a body, reads the response, and retries.
   * @throws {IotHubError} the error of the last attempt: the errors of {@link HttpClient.send} and {@link
   * readResponse}; TIMEOUT, THROTTLED, CLOCK_NOT_SET, CANCELLED, QUEUE_FULL, DEVICE_CLOSED, RESPONSE_REPEATED,
   * RESPONSE_EARLY, SIGNING_FAULT, SIGNER_CLOSED; INVALID_OPTION for invalid retry options
   */
  post(path: string, body: Uint8Array, options: PostOptions = noOptions): Promise<PublishOutcome> {
    // Not an async function: its frame would be kept in the heap until the response is there.
    if (this.#closed) return Promise.reject(deviceClosed());
    let policy = options.policy ?? this.#policy;
    if (options.retry !== undefined && options.policy === undefined) {
      try {
        policy = readRetryOptions(options.retry, policy);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    const aborter = new RequestAborter();
    const request: PendingRequest = {
      path,
      body,
      timeoutMs: options.timeoutMs ?? this.#options.timeoutMs ?? 20000,
      policy,
      options,
      signal: aborter.signal,
      aborter,
      late: undefined,
      sent: undefined,
      startMs: this.#host.clock.monotonicMs(),
      signMs: 0,
      sendMs: 0,
      signedMs: 0,
      attempts: 0,
      retries: 0,
      corrected: false,
      resent: false,
    };
    if (options.signal !== undefined) this.#follow(options.signal, aborter);
    this.#pending.add(aborter);
    request.late = this.#host.timer.set(() => {
      // An attempt has its own limit, which ends no later and names the phase.
      if (aborter.attempt === undefined) aborter.abort(timedOut(request.timeoutMs));
    }, request.timeoutMs);
    return this.#perform(request);
  }

  async #perform(request: PendingRequest): Promise<PublishOutcome> {
    try {
      // Continue on a fresh stack: together with the callers' frames it would not fit into the ESP32's default of 6 KB.
      // Attempts are made in this function, since another pending frame would cost half a kilobyte, and a tenth of the
      // instructions of a publish apart from its hashes.
      await undefined;
      const turn = this.#turn(request.signal);
      if (turn !== undefined) await turn;
      try {
        for (;;) {
          request.attempts++;
          const ready = this.#ready(request);
          if (ready !== undefined) await ready;
          try {
            const { renew } = request.options;
            if (renew !== undefined) request.body = await unlessAborted(renew(), request.signal);
            const signing = this.#begin(request);
            const attempt = signing instanceof Promise ? await signing : signing;
            const response = await attempt.send(request.sent as HttpRequest);
            const outcome = this.#end(request, attempt, response);
            if (renew !== undefined && !this.isTimeKnown) {
              await this.#clockOffset?.confirm(readDate(response.headers.date));
            }
            this.#over(request);
            if (this.#onEvent) this.#emit({ type: "done", path: request.path, requestId: outcome.result.requestId });
            return outcome;
          } catch (cause) {
            this.#over(request);
            if (request.signal.aborted) throw cause;
            const delayMs = await this.#delayAfter(request, typed(cause));
            this.retried++;
            if (delayMs > 0) await this.#backOff(delayMs, request.signal);
          }
        }
      } finally {
        this.#next();
      }
    } catch (cause) {
      throw this.#failed(request, cause);
    } finally {
      const { aborter, late, options } = request;
      this.#host.timer.clear(late);
      this.#pending.delete(aborter);
      if (options.signal !== undefined) this.#aborts?.remove(options.signal, aborter);
    }
  }

  #failed({ path, signal }: PendingRequest, cause: unknown): IotHubError {
    const error = typed(signal.aborted ? signal.reason : cause);
    this.#remember(error);
    this.#emit({ type: "error", path, errorClass: error.errorClass, ...detailsOf(error) });
    return error;
  }

  /** Returns what a request made now would wait for. */
  waitingFor(nowMs: number): WaitReason {
    if (this.#closed) return "closed";
    if (this.#pausedUntil > nowMs) return "pause";
    if (this.#isClockAwaited) return "clock";
    if (this.#backoffUntil > nowMs) return "backoff";
    if (this.#bucket !== undefined && this.#bucket.peek(nowMs) > 0) return "rateLimit";
    return this.#busy ? "request" : "nothing";
  }

  /** Returns the end of the wait in monotonic time; undefined if it is not known. */
  waitingUntil(reason: WaitReason, nowMs: number): number | undefined {
    if (reason === "pause") return this.#pausedUntil;
    if (reason === "backoff") return this.#backoffUntil;
    return reason === "rateLimit" ? nowMs + (this.#bucket?.peek(nowMs) ?? 0) : undefined;
  }

  /** Whether a request made now would be sent at once, or right after the pending one. */
  get canSend(): boolean {
    const reason = this.waitingFor(this.#host.clock.monotonicMs());
    return reason === "nothing" || (reason === "request" && this.#waiting.length === 0);
  }

  /** Rejects pending requests with DEVICE_CLOSED and drops the key. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const aborter of this.#pending) aborter.abort(deviceClosed());
    this.#signer.close();
  }

  /** Records an error, unless the app cancelled the request or it was not sent. */
  #remember({ code, errorClass }: IotHubError): void {
    if (errorClass === "cancelled" || code === "THROTTLED" || code === "QUEUE_FULL") return;
    this.lastError = { code, errorClass, timeMs: this.#host.clock.monotonicMs() };
  }

  #follow(signal: AbortSignalLike, aborter: Aborter): void {
    this.#aborts ??= new AbortForwarder();
    this.#aborts.add(signal, aborter);
  }

  /**
   * Handles a failed attempt: resolves with the delay before the next one in milliseconds, or rejects with the error.
   */
  async #delayAfter(request: PendingRequest, error: IotHubError): Promise<number> {
    const { path, policy, signal, attempts: attempt } = request;
    const errorClass = classifyBy(policy.classify, error);
    this.#fresh = !isInOrder(error, errorClass);
    if (
      !request.corrected &&
      (errorClass === "clock" || errorClass === "credential") &&
      error instanceof ResponseError
    ) {
      request.corrected = true;
      const clockOffset = this.#clockOffset;
      if (clockOffset && (await unlessAborted(clockOffset.update(error.dateMs, LEAST_STEP_MS[errorClass]), signal))) {
        this.#emit({ type: "clock-correction", path, offsetMs: clockOffset.offsetMs });
        return 0;
      }
    }
    if (!request.resent && (isStale(error) || isAnothers(error))) {
      request.resent = true;
      return 0;
    }
    const delayMs = this.#retryAfter(error, policy, request.retries++, unit(this.#host.random));
    const { onRetry, retryUnreadable = true, waitForPause = true } = request.options;
    const again =
      isTransient(errorClass) &&
      (retryUnreadable || errorClass !== "unreadable") &&
      (waitForPause || (error as ResponseError).retryAfterSeconds === undefined);
    const retriesLeft = policy.maxAttempts - request.retries;
    // Report the actual error now instead of a timeout later.
    if (!again || retriesLeft <= 0 || delayMs >= this.#leftMs(request) || !this.#budget.take()) throw error;
    this.#emit({ type: "retry", path, attempt, retriesLeft, delayMs, errorClass, ...detailsOf(error) });
    try {
      onRetry?.({ attempt, retriesLeft, delayMs, errorClass, error });
    } catch {
      // A throwing callback must not affect delivery.
    }
    return delayMs;
  }

  #leftMs({ timeoutMs, startMs }: PendingRequest): number {
    return timeoutMs - (this.#host.clock.monotonicMs() - startMs);
  }

  /**
   * Signs with the current time and a new nonce, and creates the attempt. @returns a promise if the signer is
   * asynchronous
   */
  #begin(request: PendingRequest): Attempt | Promise<Attempt> {
    const { path, body } = request;
    const begunMs = this.#host.clock.monotonicMs();
    this.#lookForSurplus(path);
    const nonce = this.#nonces.next();
    const timestampSeconds = Math.floor(this.nowMs() / 1000);
    const time = { timestampSeconds, nonce, contentType: this.#options.contentType };
    // Not the signer's INVALID_TIMESTAMP: the message is not at fault.
    if (!(timestampSeconds >= 0 && timestampSeconds <= MAX_TIMESTAMP)) {
      throw new IotHubError("CLOCK_NOT_SET", "The clock is outside of the range that can be signed.");
    }
    const signed = signWith({ host: this.#endpoint.host, path, body }, this.#signer, time);
    return signed instanceof Promise
      ? unlessAborted(signed, request.signal).then((later) => this.#signed(request, later, time, begunMs))
      : this.#signed(request, signed, time, begunMs);
  }

  #signed(
    request: PendingRequest,
    { headers, stringToSign, signature }: SignedRequest,
    { timestampSeconds, nonce }: SigningParameters,
    begunMs: number,
  ): Attempt {
    const { path, body, signal, options, policy } = request;
    const { scheme, host, port } = this.#endpoint;
    const { phaseTimeoutsMs, maxResponseBytes = DEFAULT_MAX_RESPONSE_BYTES } = this.#options;
    const signedMs = this.#host.clock.monotonicMs();
    request.signMs += signedMs - begunMs;
    request.signedMs = signedMs;
    const leftMs = Math.min(this.#leftMs(request), policy.attemptTimeoutMs - (signedMs - begunMs));
    const limits = {
      attemptTimeoutMs: Math.max(1, leftMs),
      phaseTimeoutsMs,
      maxResponseBytes,
      fresh: this.#fresh || options.fresh === true || begunMs < this.#freshUntil,
    };
    if (this.#onEvent) {
      const { algorithm } = this.#signer;
      this.#emit({
        type: "sign",
        path,
        host,
        algorithm,
        timestampSeconds,
        nonce,
        bodyBytes: body.length,
        bodyHash: stringToSign.slice(stringToSign.lastIndexOf("\n") + 1),
        signature: signature.slice(0, SHOWN_SIGNATURE),
      });
      this.#emit({ type: "send", path, host, port });
    }
    // No host decompresses a body. The headers object belongs to this request.
    (headers as Record<string, string>)["Accept-Encoding"] = "identity";
    const attempt = new Attempt(this.#host, limits);
    request.sent = { scheme, host, port, method: "POST", path, headers, body };
    request.aborter.attempt = attempt;
    // The app may have aborted in its clock or an event handler.
    if (signal.aborted) throw signal.reason;
    return attempt;
  }

  /** Reads the response to an attempt. */
  #end(request: PendingRequest, attempt: Attempt, response: HttpResponse): PublishOutcome {
    const { path, sent, signedMs, attempts } = request;
    const timing = attempt.timing(sent as HttpRequest, response);
    this.#fresh = false;
    if (this.#onEvent) {
      this.#emit({ type: "response", path, status: response.status, bodyBytes: response.body.length, timing });
    }
    const result = this.#read(path, response, response.reused ?? !attempt.fresh);
    this.#budget.refund();
    const endedMs = this.#host.clock.monotonicMs();
    this.succeededMs = endedMs;
    return { result, attempts, timing: this.#timing(request, timing, endedMs - signedMs) };
  }

  /** Ends the time limits of the current attempt, if there is one. */
  #over(request: PendingRequest): void {
    const { attempt } = request.aborter;
    if (attempt === undefined) return;
    attempt.end();
    request.aborter.attempt = undefined;
    request.sendMs += this.#host.clock.monotonicMs() - request.signedMs;
  }

  #timing({ startMs, signMs, sendMs }: PendingRequest, timing: HttpTiming, lastMs: number): RequestTiming {
    const totalMs = this.#host.clock.monotonicMs() - startMs;
    return { ...timing, waitMs: Math.max(0, totalMs - signMs - sendMs - lastMs), signMs, totalMs };
  }

  /** Reads a response, and rejects one that belongs to another request. */
  #read(path: string, response: HttpResponse, kept: boolean): GatewayResponse {
    let result: GatewayResponse | ResponseError;
    try {
      result = readResponse(response, response.headers["retry-after"] === undefined ? undefined : this.nowMs());
    } catch (error) {
      if (!(error instanceof ResponseError)) throw error;
      result = error;
    }
    const { status, requestId = "" } = result;
    const whose = this.#own.take(requestId, kept);
    if (whose === "repeated") {
      throw new ResponseError("RESPONSE_REPEATED", "The response belongs to an earlier request.", {
        status,
        requestId,
      });
    }
    if (whose === "after repeated") this.#distrust("repeated", path);
    if (result instanceof ResponseError) throw result;
    if (response.early) {
      const message = "The response came before the request was written completely.";
      throw new ResponseError("RESPONSE_EARLY", message, { status, requestId, early: true });
    }
    return result;
  }

  /** A separate function, since constants in a pending frame cost a device memory. */
  #lookForSurplus(path: string): void {
    const { surplus } = this.#host.http;
    if (surplus !== this.#surplus) this.#distrust("surplus", path);
    this.#surplus = surplus;
  }

  /** Uses new connections for a while. */
  #distrust(reason: "repeated" | "surplus", path: string): void {
    const now = this.#host.clock.monotonicMs();
    const isNew = now >= this.#freshUntil;
    this.#freshUntil = now + NEW_CONNECTIONS_MS;
    if (isNew) this.#emit({ type: "new-connections", path, reason, durationMs: NEW_CONNECTIONS_MS });
  }

  /**
   * Waits for the gateway's pause, the rate limit and the clock. Returns undefined if there is nothing to wait for, as
   * a promise costs as much as all these checks.
   */
  #ready(request: PendingRequest): Promise<void> | undefined {
    const { clock, random } = this.#host;
    const now = clock.monotonicMs();
    const isPrepared = (random.ready === undefined || this.#isRandomReady) && this.#clockOffset?.isLoaded !== false;
    if (!isPrepared || this.#pausedUntil > now || (this.#bucket?.take(now) ?? 0) > 0) return this.#becomeReady(request);
    return this.#clockReady(request);
  }

  async #becomeReady(request: PendingRequest): Promise<void> {
    const { signal } = request;
    const { clock, random } = this.#host;
    for (;;) {
      const now = clock.monotonicMs();
      const paused = this.#pausedUntil > now;
      const waitMs = paused ? this.#pausedUntil - now : (this.#bucket?.take(now) ?? 0);
      if (waitMs === 0) break;
      if (waitMs >= this.#leftMs(request) || (paused && request.options.waitForPause === false)) {
        throw throttled(paused, waitMs);
      }
      await this.#sleep(waitMs, signal);
    }
    if (random.ready && !this.#isRandomReady) {
      await unlessAborted(random.ready(), signal);
      this.#isRandomReady = true;
    }
    if (this.#clockOffset !== undefined) await unlessAborted(this.#clockOffset.load(), signal);
    await this.#clockReady(request);
  }

  #clockReady(request: PendingRequest): Promise<void> | undefined {
    const { clock } = this.#host;
    const waiting = clock.monotonicMs() < this.#clockPausedUntil ? undefined : clock.ready?.();
    if (waiting !== undefined) return this.#waitForClock(request, waiting);
    if (request.signal.aborted) throw request.signal.reason;
    return undefined;
  }

  async #waitForClock({ path, signal }: PendingRequest, waiting: Promise<void>): Promise<void> {
    const { clock, random } = this.#host;
    this.#emit({ type: "clock", path });
    this.#isClockAwaited = true;
    try {
      await unlessAborted(waiting, signal).finally(() => {
        this.#isClockAwaited = false;
      });
    } catch (error) {
      // Over HTTP, use the gateway's Date instead. Over HTTPS the certificate could not be verified.
      if (signal.aborted || this.#clockOffset === undefined || this.#endpoint.scheme === "https") throw error;
      this.#clockPausedUntil = clock.monotonicMs() + nextRunMs(CLOCK_PAUSE_MS, 1, CLOCK_PAUSE_MS, unit(random));
    }
    if (signal.aborted) throw signal.reason;
  }

  /** Returns the delay before the next retry. A pause requested by the gateway applies to all requests. */
  #retryAfter(error: IotHubError, policy: RetryPolicy, retry: number, random: number): number {
    const delayMs = backoffMs(retry, policy, random);
    if (!(error instanceof ResponseError) || error.retryAfterSeconds === undefined) return delayMs;
    const pause = pauseMs(error.retryAfterSeconds * 1000, policy.maxRetryAfterMs, unit(this.#host.random));
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#host.clock.monotonicMs() + pause);
    return Math.max(delayMs, pause);
  }

  /** Waits until no other request is pending; undefined if there is none. */
  #turn(signal: AbortSignalLike): Promise<void> | undefined {
    if (!this.#busy && !signal.aborted) {
      this.#busy = true;
      return undefined;
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
        reject(new IotHubError("QUEUE_FULL", "Too many requests are waiting already."));
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

  #backOff(delayMs: number, signal: AbortSignalLike): Promise<void> {
    this.#backoffUntil = this.#host.clock.monotonicMs() + delayMs;
    return this.#sleep(delayMs, signal).finally(() => {
      this.#backoffUntil = 0;
    });
  }

  #sleep(delayMs: number, signal: AbortSignalLike): Promise<void> {
    const { timer } = this.#host;
    let handle: unknown;
    const slept = new Promise<void>((resolve) => {
      handle = timer.set(resolve, delayMs);
    });
    return unlessAborted(slept, signal).finally(() => timer.clear(handle));
  }

  #emit(event: DeviceEvent): void {
    try {
      this.#onEvent?.(event);
    } catch {
      // A throwing callback must not affect delivery.
    }
  }
}

/**
 * Whether a failed attempt leaves its connection usable: only after a readable response, from the gateway or another
 * server. If the rejection counts as evidence against a message, it also needs a RequestId; otherwise the next attempt
 * uses a new connection.
 */
function isInOrder(error: IotHubError, errorClass: ErrorClass): boolean {
  if (!(error instanceof ResponseError) || error.early) return false;
  if ((error.code !== "GATEWAY_REJECTED" && error.code !== "HTTP_STATUS") || isIdleTimeout(error)) return false;
  return error.requestId !== undefined || roundsNeeded(error, errorClass) === undefined;
}

/**
 * Whether the connection was closed or closing when the request was sent, or failed for a reason that does not apply to
 * the next.
 */
function isStale(error: IotHubError): boolean {
  return (error instanceof NetworkError && error.stale) || isIdleTimeout(error);
}

/**
 * RFC 9110 section 15.5.9: the server timed out an idle connection without reading the request, which may be resent.
 */
function isIdleTimeout(error: IotHubError): boolean {
  return error.code === "HTTP_STATUS" && (error as ResponseError).status === 408;
}

/** Whether the response belongs, or may belong, to another request. */
function isAnothers({ code }: IotHubError): boolean {
  return code === "RESPONSE_REPEATED" || code === "RESPONSE_EARLY";
}

function detailsOf(error: IotHubError): FailureDetails {
  const { code, message } = error;
  if (error instanceof NetworkError) return { code, message, requestPhase: error.phase };
  if (!(error instanceof ResponseError)) return { code, message };
  const { status, gatewayCode } = error;
  return gatewayCode === undefined ? { code, message, status } : { code, message, status, gatewayCode };
}

function typed(error: unknown): IotHubError {
  if (error instanceof IotHubError) return error;
  const message = "The request failed for an unknown reason.";
  return new NetworkError("NETWORK_FAILED", "total", message, { cause: error });
}

function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}

function timedOut(timeoutMs: number): NetworkError {
  return new NetworkError("TIMEOUT", "total", `The request took longer than ${Math.round(timeoutMs)} ms.`);
}

function throttled(paused: boolean, waitMs: number): ThrottledError {
  const seconds = Math.ceil(waitMs / 1000);
  const message = paused
    ? `The gateway requested a pause; ${seconds} s are left.`
    : `The rate limit allows the next request in ${Math.round(waitMs)} ms.`;
  return new ThrottledError(message, seconds);
}
