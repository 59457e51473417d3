/** Signed requests and their responses, one at a time: waits, signs, sends, reads, perhaps again; always settles. */

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

/** What is known of a failure, for an app that shows it. Contains no secret. */
export interface FailureDetails {
  /** Stable code of the error. */
  readonly code: string;
  /** One sentence for people. */
  readonly message: string;
  /** Where the request was; only of a {@link NetworkError}. */
  readonly requestPhase?: RequestPhase;
  /** HTTP status; only of a {@link ResponseError}. */
  readonly status?: number;
  /** Error code in the gateway's response, unchanged; only of a {@link ResponseError}. */
  readonly gatewayCode?: string | number;
}

/**
 * What an app sees of a request while it happens; `type` says what. Never contains a key, a payload, or a signature that
 * could be sent again.
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
      /** Hash of the body as it was signed: the last line of the string to sign, in lower-case hex. */
      readonly bodyHash: string;
      /** The first 12 characters of the signature: enough to recognise it in a log, useless for a replay. */
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
      /** Attempts that may follow, at most. */
      readonly retriesLeft: number;
      /** Delay before the next attempt, in milliseconds. */
      readonly delayMs: number;
      readonly errorClass: ErrorClass;
    } & FailureDetails)
  | { readonly type: "clock-correction"; readonly path: string; readonly offsetMs: number }
  | {
      /** A proxy mixes up responses: for a while, each request takes a new connection. */
      readonly type: "new-connections";
      readonly path: string;
      /** `repeated`: a response came again. `surplus`: bytes came that no request had asked for. */
      readonly reason: "repeated" | "surplus";
      /** For how long, in milliseconds. */
      readonly durationMs: number;
    }
  | { readonly type: "done"; readonly path: string; readonly requestId: string }
  /**
   * Something that may go wrong, and is sent all the same. `TOPIC_LEVELS`: the topic has more than 6 slashes, the limit of
   * the platform, or more than 10 for a region other than `ap-guangzhou`, the limit of its international site
   * (cloud.tencent.com/document/product/634/15241, tencentcloud.com/document/product/1105/41464); once until another
   * topic has as many.
   */
  | { readonly type: "warning"; readonly code: "TOPIC_LEVELS"; readonly message: string; readonly topic: string }
  /** The storage takes no more writes in this life: once, with the code STORAGE_STOPPED. Restart the board. */
  | { readonly type: "storage"; readonly code: string; readonly message: string }
  /** Readings could not be encoded as one message and are sent one by one: INVALID_PAYLOAD or PAYLOAD_TOO_LARGE. */
  | { readonly type: "batch"; readonly code: string; readonly message: string; readonly readings: number }
  | ({ readonly type: "error"; readonly path: string; readonly errorClass: ErrorClass } & FailureDetails);

/** What {@link RequestOptions.onRetry} gets before each retry. */
export interface RetryNotice {
  /** Number of the attempt that failed, from 1. */
  readonly attempt: number;
  /** Attempts that may follow, at most. */
  readonly retriesLeft: number;
  /** Delay before the next attempt, in milliseconds. */
  readonly delayMs: number;
  readonly errorClass: ErrorClass;
  readonly error: IotHubError;
}

/** Options of one request, in place of the device's. */
export interface RequestOptions {
  /** For everything: its turn, the clock, all attempts and the time between them. Milliseconds. */
  readonly timeoutMs?: number;
  /** Gives up when it is aborted; the promise is then rejected with CANCELLED. */
  readonly signal?: AbortSignalLike;
  /** In place of the device's; `false` for a single attempt. Its `budget` has no effect here. */
  readonly retry?: RetryOptions | false;
  /** Called before each retry. What it throws is ignored. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

/** What the library itself asks of a request. */
export interface PostOptions extends RequestOptions {
  /** False: a response that is not the gateway's ends the request, so that others can be tried in its place. */
  readonly retryUnreadable?: boolean;
  /** False: a pause that the gateway asks for, or has asked for, ends the request in place of being waited for. */
  readonly waitForPause?: boolean;
  /** In place of what `retry` says: made once for many requests. */
  readonly policy?: RetryPolicy;
  /** True: takes a new connection, where no response to an earlier request can come. */
  readonly fresh?: boolean;
  /**
   * Makes the body anew before each attempt, once the clock is ready: it has readings whose time is not known yet. The
   * gateway's Date is then read from successes, too.
   */
  readonly renew?: () => Promise<Uint8Array>;
}

/** Options of a device's requests: limits, retries, the rate, and the clock. */
export interface ClientOptions {
  /** Default limit of a request in milliseconds, 1 to 2147483647. @default 20000 */
  readonly timeoutMs?: number;
  /**
   * Limits of the phases of an attempt, in milliseconds, 1 to 2147483647: `connect` (name resolution and TCP), `tls`,
   * `write`, `first-byte`, `read`.
   * @default each may take what is left of `retry.attemptTimeoutMs`
   */
  readonly phaseTimeoutsMs?: PhaseTimeouts;
  /** Limit of a response's body in bytes. @default 16384 */
  readonly maxResponseBytes?: number;
  /** Content-Type of the requests. @default "application/json; charset=utf-8" */
  readonly contentType?: string;
  /** When a request is sent again; `false` for a single attempt. A message that is sent again may arrive twice. */
  readonly retry?: RetryOptions | false;
  /** How fast requests may follow each other; `false` for no limit. */
  readonly rateLimit?: RateLimit | false;
  /** Whether timestamps follow the gateway's Date header when the own clock is wrong; `false` never to. */
  readonly clockCorrection?: ClockCorrectionOptions | false;
  /** Requests that may wait for the one under way. @default 32 */
  readonly maxQueued?: number;
  /**
   * Limit of one operation of the host's storage in milliseconds, 1 to 2147483647. What is given a credential to keep is
   * waited for without limit.
   * @default 10000
   */
  readonly storageTimeoutMs?: number;
  /** Called as a request goes through its phases. What it throws is ignored. */
  readonly onEvent?: (event: DeviceEvent) => void;
}

/** Where the time of a request went. What the host reports is that of the last attempt, except for the total. */
export interface RequestTiming extends Partial<HttpTiming> {
  /** For its turn, the rate limit, the clock, and between attempts. Milliseconds. */
  readonly waitMs: number;
  /** Signing, in milliseconds. */
  readonly signMs: number;
  /** From the call to the response, in milliseconds. */
  readonly totalMs: number;
}

export interface PublishOutcome {
  readonly result: GatewayResponse;
  /** How often the request was sent. */
  readonly attempts: number;
  readonly timing: RequestTiming;
}

const DEFAULT_MAX_RESPONSE_BYTES = 16384;
/** How far off the clock must be to be worth another signature: where the gateway named it, and where it did not. */
const LEAST_STEP_MS = Object.freeze({ clock: 2000, credential: 60000 });
/** How long a clock that could not be set is left alone at least while the gateway's serves, and how much more. */
const CLOCK_PAUSE_MS = 3600000;
/** How long kept connections are not used after responses were mixed up: one proxy that does it once does it again. */
const NEW_CONNECTIONS_MS = 600000;

/** Characters of a signature that an event shows. */
const SHOWN_SIGNATURE = 12;

const noOptions: PostOptions = Object.freeze({});

/** A request on its way. One object in place of parameters and locals: each frame that waits keeps its own. */
interface PendingRequest {
  readonly path: string;
  body: Uint8Array;
  readonly timeoutMs: number;
  readonly policy: RetryPolicy;
  readonly options: PostOptions;
  readonly signal: AbortSignalLike;
  readonly aborter: RequestAborter;
  /** Timer of its limit. */
  late: unknown;
  /** What the attempt sends. */
  sent: HttpRequest | undefined;
  readonly startMs: number;
  signMs: number;
  sendMs: number;
  /** When the attempt's request was signed, in monotonic time. */
  signedMs: number;
  attempts: number;
  retries: number;
  /** Whether it was signed again with a corrected clock. */
  corrected: boolean;
  /** Whether it was sent again because its connection was to blame or its response was not believed. */
  resent: boolean;
}

/** Cancels a request and, with it, the attempt that is under way. */
class RequestAborter extends Aborter {
  /** The attempt that is under way: its limit ends no later than the request's. */
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
  // Asked for before an event is made: most devices want none.
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
  /** What the gateway asked to wait for, and until when a host's clock is not asked: in monotonic time. */
  #pausedUntil = 0;
  #clockPausedUntil = 0;
  /** Whether responses on kept connections may have lost their requests. */
  #fresh = false;
  /** Until when no kept connection is used: in monotonic time. */
  #freshUntil = 0;
  #isRandomReady = false;
  readonly #own = new OwnResponses();
  /** What the host had counted. */
  #surplus: number | undefined;
  // Statistics stand last: XS looks for a private field among those before it. They are public, as a getter for each would
  // cost a device more than all else that asks for them.
  /** How often a request was sent again. */
  retried = 0;
  /** When a response was last a success, in monotonic time. */
  succeededMs: number | undefined;
  /** Its time is monotonic. */
  lastError: LastError | undefined;
  /** Until when a request backs off before it is sent again: in monotonic time. */
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

  /** The time that requests are signed with, in milliseconds since 1970. */
  nowMs(): number {
    const clockOffset = this.#clockOffset;
    const nowMs = this.#host.clock.nowMs();
    return clockOffset === undefined || clockOffset.learnedMs === 0 ? nowMs : nowMs + clockOffset.offsetMs;
  }

  /** Whether {@link nowMs} is the real time, as far as is known. */
  get isTimeKnown(): boolean {
    const { clock } = this.#host;
    return (clock.synchronized !== false && clock.nowMs() >= buildDateMs) || this.#clockOffset?.isConfirmed === true;
  }

  /**
   * Signs and sends a body, and reads the response; sends it again where that may help.
   * @throws {IotHubError} of the last attempt: what {@link HttpClient.send} and {@link readResponse} throw; TIMEOUT,
   * THROTTLED, CLOCK_NOT_SET, CANCELLED, QUEUE_FULL, DEVICE_CLOSED
   */
  post(path: string, body: Uint8Array, options: PostOptions = noOptions): Promise<PublishOutcome> {
    // What waits is one function with little in its frame, which a device keeps in its heap meanwhile.
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
      // An attempt has a limit that ends no later, and names the phase.
      if (aborter.attempt === undefined) aborter.abort(timedOut(request.timeoutMs));
    }, request.timeoutMs);
    return this.#perform(request);
  }

  async #perform(request: PendingRequest): Promise<PublishOutcome> {
    try {
      // Here the stack begins anew: with all callers below, it would not fit into the 6 KB that an ESP32 has by default.
      // Attempts are made in this very function, as a second one that waits would cost half a kilobyte more, and a tenth
      // of what a publish costs beside its hashes.
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

  /** What a request made now would wait for. */
  waitingFor(nowMs: number): WaitReason {
    if (this.#closed) return "closed";
    if (this.#pausedUntil > nowMs) return "pause";
    if (this.#isClockAwaited) return "clock";
    if (this.#backoffUntil > nowMs) return "backoff";
    if (this.#bucket !== undefined && this.#bucket.peek(nowMs) > 0) return "rateLimit";
    return this.#busy ? "request" : "nothing";
  }

  /** Until when, in monotonic time; undefined where that is not known. */
  waitingUntil(reason: WaitReason, nowMs: number): number | undefined {
    if (reason === "pause") return this.#pausedUntil;
    if (reason === "backoff") return this.#backoffUntil;
    return reason === "rateLimit" ? nowMs + (this.#bucket?.peek(nowMs) ?? 0) : undefined;
  }

  /** Whether a request made now would be sent at once, or right after the one that is under way. */
  get canSend(): boolean {
    const reason = this.waitingFor(this.#host.clock.monotonicMs());
    return reason === "nothing" || (reason === "request" && this.#waiting.length === 0);
  }

  /** Rejects what is under way with DEVICE_CLOSED and drops the key. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const aborter of this.#pending) aborter.abort(deviceClosed());
    this.#signer.close();
  }

  /** What was given up by the app, or not sent, says nothing of the gateway or the way to it. */
  #remember({ code, errorClass }: IotHubError): void {
    if (errorClass === "cancelled" || code === "THROTTLED" || code === "QUEUE_FULL") return;
    this.lastError = { code, errorClass, timeMs: this.#host.clock.monotonicMs() };
  }

  #follow(signal: AbortSignalLike, aborter: Aborter): void {
    this.#aborts ??= new AbortForwarder();
    this.#aborts.add(signal, aborter);
  }

  /** What a failed attempt means: rejects with its error, or gives the delay before the next one in milliseconds. */
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
    // Better the true reason now than a timeout later.
    if (!again || retriesLeft <= 0 || delayMs >= this.#leftMs(request) || !this.#budget.take()) throw error;
    this.#emit({ type: "retry", path, attempt, retriesLeft, delayMs, errorClass, ...detailsOf(error) });
    try {
      onRetry?.({ attempt, retriesLeft, delayMs, errorClass, error });
    } catch {
      // As for onEvent.
    }
    return delayMs;
  }

  #leftMs({ timeoutMs, startMs }: PendingRequest): number {
    return timeoutMs - (this.#host.clock.monotonicMs() - startMs);
  }

  /**
   * Signs with the current time and a new nonce, and makes the attempt that is to send; a promise where a
   * secure element takes its time.
   */
  #begin(request: PendingRequest): Attempt | Promise<Attempt> {
    const { path, body } = request;
    const begunMs = this.#host.clock.monotonicMs();
    this.#lookForSurplus(path);
    const nonce = this.#nonces.next();
    const timestampSeconds = Math.floor(this.nowMs() / 1000);
    const time = { timestampSeconds, nonce, contentType: this.#options.contentType };
    // An invalid timestamp would say nothing of the message.
    if (!(timestampSeconds >= 0 && timestampSeconds <= MAX_TIMESTAMP)) {
      throw new IotHubError("CLOCK_NOT_SET", "The clock shows no time that can be signed.");
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
    // No host unpacks a compressed body. The headers were made for this request.
    (headers as Record<string, string>)["Accept-Encoding"] = "identity";
    const attempt = new Attempt(this.#host, limits);
    request.sent = { scheme, host, port, method: "POST", path, headers, body };
    request.aborter.attempt = attempt;
    // An app may have given up while it was asked for the time, or handled an event.
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

  /** Ends the limits of an attempt, if one was made. */
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

  /** Reads a response, once it is known to be the request's own. */
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
      throw new ResponseError("RESPONSE_REPEATED", "The response is that of an earlier request.", {
        status,
        requestId,
      });
    }
    if (whose === "after repeated") this.#distrust("repeated", path);
    if (result instanceof ResponseError) throw result;
    if (response.early) {
      const message = "The response came before the request was written.";
      throw new ResponseError("RESPONSE_EARLY", message, { status, requestId, early: true });
    }
    return result;
  }

  /** Not in #attempt, whose frame waits: each of its constants costs a device memory meanwhile. */
  #lookForSurplus(path: string): void {
    const { surplus } = this.#host.http;
    if (surplus !== this.#surplus) this.#distrust("surplus", path);
    this.#surplus = surplus;
  }

  /** Takes new connections for a while. */
  #distrust(reason: "repeated" | "surplus", path: string): void {
    const now = this.#host.clock.monotonicMs();
    const isNew = now >= this.#freshUntil;
    this.#freshUntil = now + NEW_CONNECTIONS_MS;
    if (isNew) this.#emit({ type: "new-connections", path, reason, durationMs: NEW_CONNECTIONS_MS });
  }

  /**
   * Waits for the gateway's pause, the rate limit and the clock; undefined where there is nothing to wait for, as a
   * promise costs as much as all that is asked here.
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
      // Over plain HTTP the gateway's Date can stand in; over HTTPS the certificate could not be judged.
      if (signal.aborted || this.#clockOffset === undefined || this.#endpoint.scheme === "https") throw error;
      this.#clockPausedUntil = clock.monotonicMs() + nextRunMs(CLOCK_PAUSE_MS, 1, CLOCK_PAUSE_MS, unit(random));
    }
    if (signal.aborted) throw signal.reason;
  }

  /** The delay before the next retry; what the gateway asked for holds for all requests. */
  #retryAfter(error: IotHubError, policy: RetryPolicy, retry: number, random: number): number {
    const delayMs = backoffMs(retry, policy, random);
    if (!(error instanceof ResponseError) || error.retryAfterSeconds === undefined) return delayMs;
    const pause = pauseMs(error.retryAfterSeconds * 1000, policy.maxRetryAfterMs, unit(this.#host.random));
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#host.clock.monotonicMs() + pause);
    return Math.max(delayMs, pause);
  }

  /** Waits until no other request is under way; undefined if there is none. */
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
 * Whether a failure shows that its connection is in order: only a response that made sense does, a rejection or another's
 * page. One that may cost a message needs an id, or else a connection on which no earlier response can come.
 */
function isInOrder(error: IotHubError, errorClass: ErrorClass): boolean {
  if (!(error instanceof ResponseError) || error.early) return false;
  if ((error.code !== "GATEWAY_REJECTED" && error.code !== "HTTP_STATUS") || isIdleTimeout(error)) return false;
  return error.requestId !== undefined || roundsNeeded(error, errorClass) === undefined;
}

/** Its connection was dead or being given up as the request came, or failed for a reason that another one will not have. */
function isStale(error: IotHubError): boolean {
  return (error instanceof NetworkError && error.stale) || isIdleTimeout(error);
}

/** RFC 9110 section 15.5.9: the server had waited too long, and has not read the request; it may be sent again. */
function isIdleTimeout(error: IotHubError): boolean {
  return error.code === "HTTP_STATUS" && (error as ResponseError).status === 408;
}

/** The response was not the request's own, or may not have been. */
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
    ? `The gateway asked for a pause, of which ${seconds} s are left.`
    : `The rate limit allows the next request in ${Math.round(waitMs)} ms.`;
  return new ThrottledError(message, seconds);
}
