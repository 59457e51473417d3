/** One signed request and its answer: waits for the clock, signs, sends, reads; always settles. */

import { type Answer, readAnswer } from "./answer.js";
import { Canceller } from "./cancel.js";
import type { Endpoint } from "./endpoint.js";
import { IotHubError, NetworkError } from "./errors.js";
import type { CancelSignal, Host, HttpResponse, HttpTiming } from "./host.js";
import { NonceSource } from "./nonce.js";
import { type Signer, signRequest } from "./signature.js";

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
  | { readonly phase: "done"; readonly path: string; readonly requestId: string }
  | { readonly phase: "error"; readonly path: string; readonly code: string; readonly message: string };

export interface RequestOptions {
  /** For everything: waiting for the clock, connecting, sending, reading. Milliseconds. */
  readonly timeoutMs?: number;
  /** Gives up when it is aborted; the promise is then rejected with CANCELLED. */
  readonly signal?: CancelSignal;
}

export interface ClientOptions {
  /** Default limit of a request in milliseconds, 1 to 2147483647; 20 000 unless given. */
  readonly timeoutMs?: number;
  /** Limit of an answer's body in bytes, 16 384 unless given. */
  readonly maxResponseBytes?: number;
  /** `application/json; charset=utf-8` unless given. */
  readonly contentType?: string;
  /** Called as a request goes through its phases. What it throws is ignored. */
  readonly onEvent?: (event: ClientEvent) => void;
}

/** Where the time of a request went. */
export interface RequestTiming extends Partial<HttpTiming> {
  /** Until the request could be signed: waiting for the clock. Milliseconds. */
  readonly waitMs: number;
  /** Signing, in milliseconds. */
  readonly signMs: number;
  /** From the call to the answer, in milliseconds. */
  readonly totalMs: number;
}

export interface Exchange {
  readonly answer: Answer;
  readonly timing: RequestTiming;
}

const MAX_TIMEOUT_MS = 2147483647;
/** What a host gets beyond the limit to report its own timeout, which names the phase. */
const GRACE_MS = 1000;

export class Client {
  readonly #endpoint: Endpoint;
  readonly #signer: Signer;
  readonly #host: Host;
  readonly #options: ClientOptions;
  readonly #nonces: NonceSource;
  readonly #pending = new Set<Canceller>();
  #closed = false;

  /** @throws {IotHubError} INVALID_OPTION */
  constructor(endpoint: Endpoint, signer: Signer, host: Host, options: ClientOptions) {
    checkTimeout(options.timeoutMs);
    const { maxResponseBytes, contentType } = options;
    if (maxResponseBytes !== undefined && !(Number.isInteger(maxResponseBytes) && maxResponseBytes > 0)) {
      throw new IotHubError("INVALID_OPTION", "maxResponseBytes must be a positive integer.");
    }
    if (contentType !== undefined && !/^[ -~]+$/.test(contentType)) {
      throw new IotHubError("INVALID_OPTION", "contentType must be printable ASCII.");
    }
    this.#endpoint = endpoint;
    this.#signer = signer;
    this.#host = host;
    this.#options = options;
    this.#nonces = new NonceSource(host.random);
  }

  /**
   * Signs and sends a body, and reads the answer.
   * @throws {IotHubError} what {@link HttpClient.send} and {@link readAnswer} throw; TIMEOUT, CLOCK_NOT_SET, CANCELLED,
   * DEVICE_CLOSED
   */
  async post(path: string, body: Uint8Array, options: RequestOptions = {}): Promise<Exchange> {
    if (this.#closed) throw deviceClosed();
    checkTimeout(options.timeoutMs);
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? 20000;
    const canceller = new Canceller();
    const forward = () => canceller.cancel(options.signal?.reason);
    if (options.signal?.aborted) forward();
    options.signal?.addEventListener("abort", forward);
    this.#pending.add(canceller);
    try {
      const exchange = await this.#settle(
        this.#exchange(path, body, timeoutMs, canceller.signal),
        timeoutMs,
        canceller,
      );
      this.#emit({ phase: "done", path, requestId: exchange.answer.requestId });
      return exchange;
    } catch (cause) {
      const error = this.#typed(cause);
      this.#emit({ phase: "error", path, code: error.code, message: error.message });
      throw error;
    } finally {
      this.#pending.delete(canceller);
      options.signal?.removeEventListener("abort", forward);
    }
  }

  /** Rejects what is under way with DEVICE_CLOSED and drops the key. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const canceller of this.#pending) canceller.cancel();
    this.#signer.close();
  }

  async #exchange(path: string, body: Uint8Array, timeoutMs: number, signal: CancelSignal): Promise<Exchange> {
    const { clock, http } = this.#host;
    const { scheme, host, port } = this.#endpoint;
    const start = clock.monotonicMs();
    if (clock.ready) {
      this.#emit({ phase: "clock", path });
      await clock.ready();
    }
    const waited = clock.monotonicMs();
    let signMs = 0;
    const attempt = (): Promise<HttpResponse> => {
      // The signer may have been closed meanwhile, or the caller may have given up.
      if (signal.aborted) throw cancelled();
      const begun = clock.monotonicMs();
      const nonce = this.#nonces.next();
      const timestampSeconds = Math.floor(clock.nowMs() / 1000);
      const signer = this.#signer;
      const time = { timestampSeconds, nonce, contentType: this.#options.contentType };
      const { headers } = signRequest({ host, path, body }, signer, time);
      const algorithm = signer.algorithm;
      this.#emit({ phase: "sign", path, host, algorithm, timestampSeconds, nonce, bodyBytes: body.length });
      const signed = clock.monotonicMs();
      signMs += signed - begun;
      this.#emit({ phase: "send", path, host, port });
      return http.send(
        { scheme, host, port, method: "POST", path, headers, body },
        {
          timeoutMs: Math.max(1, timeoutMs - (signed - start)),
          maxResponseBytes: this.#options.maxResponseBytes,
          signal,
        },
      );
    };
    let response: HttpResponse;
    try {
      response = await attempt();
    } catch (error) {
      if (!(error instanceof NetworkError && error.stale)) throw error;
      response = await attempt();
    }
    const timing = response.timing;
    this.#emit({ phase: "answer", path, status: response.status, bodyBytes: response.body.length, timing });
    const answer = readAnswer(response);
    return { answer, timing: { ...timing, waitMs: waited - start, signMs, totalMs: clock.monotonicMs() - start } };
  }

  /** Settles in any case, even if a clock or a socket never calls back. */
  #settle<T>(work: Promise<T>, timeoutMs: number, canceller: Canceller): Promise<T> {
    const { timer } = this.#host;
    const { signal } = canceller;
    return new Promise<T>((resolve, reject) => {
      const late = () => {
        reject(new NetworkError("TIMEOUT", "total", `The request took longer than ${timeoutMs} ms.`));
        canceller.cancel();
      };
      const handle = timer.set(late, Math.min(timeoutMs + GRACE_MS, MAX_TIMEOUT_MS));
      const abort = () => finish(() => reject(cancelled()));
      const finish = (settle: () => void) => {
        timer.clear(handle);
        signal.removeEventListener("abort", abort);
        settle();
      };
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort);
      work.then(
        (value) => finish(() => resolve(value)),
        (error) => finish(() => reject(error)),
      );
    });
  }

  #typed(error: unknown): IotHubError {
    if (this.#closed) return deviceClosed();
    if (error instanceof IotHubError) return error;
    return new NetworkError(
      "NETWORK_FAILED",
      "total",
      "The request failed for a reason that the host did not name.",
      error,
    );
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

function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}

function cancelled(): IotHubError {
  return new IotHubError("CANCELLED", "The request was cancelled.");
}
