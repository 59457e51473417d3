/**
 * One attempt of a request, from the connection to the last byte of the response. All limits are kept here: a host moves
 * bytes, reports phases and obeys an abort, so that a limit means the same on every machine and there is one sentence
 * for each.
 */

import { type ConnectionPhase, NetworkError } from "../errors.js";
import type { AbortSignalLike, Host, HttpContext, HttpRequest, HttpResponse, HttpTiming } from "../host.js";
import { Aborter } from "./abort.js";

/** Limits of an attempt in milliseconds. */
export interface AttemptLimits {
  /** For all phases together. */
  readonly attemptTimeoutMs: number;
  /** For single phases; a phase that is left out has what is left of the attempt. */
  readonly phaseTimeoutsMs?: PhaseTimeouts;
  /** Bytes of the response's body. */
  readonly maxResponseBytes: number;
  /** Whether kept connections must not be used. */
  readonly fresh: boolean;
}

export type PhaseTimeouts = Readonly<Partial<Record<ConnectionPhase, number>>>;

/** What had not happened when a phase's time was over. */
const unfinished: Readonly<Record<ConnectionPhase, string>> = Object.freeze({
  connect: "The connection was not established",
  tls: "The TLS handshake did not finish",
  write: "The request was not written",
  "first-byte": "No response came",
  read: "The response did not end",
});

/** Follows one attempt through its phases. It is itself what the host gets with the request: one object less. */
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
   * Sends the request and reads the response, whatever its status. Settles no later than the limits, even if the host
   * does not obey. Not an async function: each frame that waits costs a device half a kilobyte.
   * @throws what the host rejects with; TIMEOUT as {@link NetworkError} with the phase; the reason of {@link abort}
   */
  send(request: HttpRequest): Promise<HttpResponse> {
    const { clock, http } = this.#host;
    this.#startMs = this.#phaseStartMs = clock.monotonicMs();
    // One promise that the limits reject themselves: to listen to the own signal would cost a fifth of it all.
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#limit();
      http.send(request, this).then(resolve, reject);
    });
  }

  /** Ends the limits; to be called when `send` has settled. */
  end(): void {
    this.#over = true;
    this.#host.timer.clear(this.#timer);
  }

  /** Gives up: aborts the signal that the host has, and rejects `send` with the reason. */
  abort(reason: unknown): void {
    this.#aborter.abort(reason);
    this.#reject?.(reason);
  }

  /** Adds what the phase has taken. */
  #count(): void {
    const now = this.#host.clock.monotonicMs();
    this.#spentMs ??= {};
    this.#spentMs[this.#phase] = (this.#spentMs[this.#phase] ?? 0) + now - this.#phaseStartMs;
    this.#phaseStartMs = now;
  }

  /** Sets the timer for what ends first: the phase or the attempt. */
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

  /** Where the time went. */
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
