/**
 * One attempt of a request, from the connection to the last byte of the response. All time limits are enforced here, so
 * that they work the same on every host; a host only transfers bytes, reports phases and obeys the signal.
 */

import { type ConnectionPhase, NetworkError } from "../errors.js";
import type { AbortSignalLike, Host, HttpContext, HttpRequest, HttpResponse, HttpTiming } from "../host.js";
import { Aborter } from "./abort.js";

/** Limits of an attempt in milliseconds. */
export interface AttemptLimits {
  /** Limit of all phases together. */
  readonly attemptTimeoutMs: number;
  /** Limits of single phases; the others are limited by the rest of the attempt. */
  readonly phaseTimeoutsMs?: PhaseTimeouts;
  /** Maximum size of the response body in bytes. */
  readonly maxResponseBytes: number;
  /** Whether a new connection is required. */
  readonly fresh: boolean;
}

/** Time limits of the phases of an attempt, in milliseconds. */
export type PhaseTimeouts = Readonly<Partial<Record<ConnectionPhase, number>>>;

/** Beginning of the timeout message of each phase. */
const unfinished: Readonly<Record<ConnectionPhase, string>> = Object.freeze({
  connect: "The connection was not established",
  tls: "The TLS handshake did not finish",
  write: "The request was not written",
  "first-byte": "No response came",
  read: "The response did not end",
});

/** One attempt, which is also the context that the host gets: saves an object. */
export class Attempt implements HttpContext {
  readonly #host: Pick<Host, "clock" | "http" | "timer">;
  readonly #limits: AttemptLimits;
  readonly #aborter = new Aborter();
  #spentMs: { -readonly [Phase in ConnectionPhase]?: number } | undefined;
  #startMs = 0;
  #phase: ConnectionPhase = "connect";
  #phaseStartMs = 0;
  #timer: unknown;
  #reject: ((reason: unknown) => void) | undefined;
  #over = false;

  constructor(host: Pick<Host, "clock" | "http" | "timer">, limits: AttemptLimits) {
    this.#host = host;
    this.#limits = limits;
  }

  get signal(): AbortSignalLike {
    return this.#aborter.signal;
  }

  get maxResponseBytes(): number {
    return this.#limits.maxResponseBytes;
  }

  get fresh(): boolean {
    return this.#limits.fresh;
  }

  get connectTimeoutMs(): number {
    const { phaseTimeoutsMs, attemptTimeoutMs } = this.#limits;
    return Math.min(phaseTimeoutsMs?.connect ?? attemptTimeoutMs, attemptTimeoutMs);
  }

  onPhase(phase: ConnectionPhase): void {
    if (this.#over || phase === this.#phase) return;
    this.#count();
    this.#phase = phase;
    if (this.#limits.phaseTimeoutsMs !== undefined) this.#limit();
  }

  /**
   * Sends the request and resolves with the response, whatever its status. Settles within the limits, even if the host
   * ignores the signal. Not an async function: each pending frame costs a device half a kilobyte.
   * @throws {NetworkError} TIMEOUT with the phase; the errors of {@link HttpClient.send}; the reason of {@link abort}
   */
  send(request: HttpRequest): Promise<HttpResponse> {
    const { clock, http } = this.#host;
    this.#startMs = this.#phaseStartMs = clock.monotonicMs();
    // The limits reject this promise directly: a listener on the signal would add a fifth to the cost.
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#limit();
      http.send(request, this).then(resolve, reject);
    });
  }

  /** Ends the limits. Must be called when `send` has settled. */
  end(): void {
    this.#over = true;
    this.#host.timer.clear(this.#timer);
  }

  /** Aborts the host's signal and rejects `send` with the reason. */
  abort(reason: unknown): void {
    this.#aborter.abort(reason);
    this.#reject?.(reason);
  }

  /** Adds the duration of the current phase. */
  #count(): void {
    const now = this.#host.clock.monotonicMs();
    this.#spentMs ??= {};
    this.#spentMs[this.#phase] = (this.#spentMs[this.#phase] ?? 0) + now - this.#phaseStartMs;
    this.#phaseStartMs = now;
  }

  /** Sets the timer to the end of the phase or of the attempt, whichever is first. */
  #limit(): void {
    const { timer } = this.#host;
    const { attemptTimeoutMs, phaseTimeoutsMs } = this.#limits;
    if (this.#timer !== undefined) timer.clear(this.#timer);
    const leftMs = Math.max(0, attemptTimeoutMs - (this.#phaseStartMs - this.#startMs));
    const phaseMs = phaseTimeoutsMs?.[this.#phase];
    const isPhase = phaseMs !== undefined && phaseMs < leftMs;
    this.#timer = timer.set(() => this.#timedOut(isPhase ? phaseMs : attemptTimeoutMs), isPhase ? phaseMs : leftMs);
  }

  #timedOut(limitMs: number): void {
    const message = `${unfinished[this.#phase]} within ${Math.round(limitMs)} ms.`;
    this.abort(new NetworkError("TIMEOUT", this.#phase, message));
  }

  /** Returns the durations of the phases. */
  timing(request: HttpRequest, { reused = false, resumed, body }: HttpResponse): HttpTiming {
    this.#count();
    const spent = this.#spentMs ?? {};
    return {
      connectMs: reused ? undefined : spent.connect,
      tlsMs: reused ? undefined : spent.tls,
      resumed,
      writeMs: spent.write,
      firstByteMs: spent["first-byte"],
      totalMs: this.#phaseStartMs - this.#startMs,
      reused,
      bytesSent: request.body.length,
      bytesReceived: body.length,
    };
  }
}
