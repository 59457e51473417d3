import { type ConnectionPhase, IotHubError } from "../../src/errors.js";
import type { HttpContext, HttpRequest, HttpResponse } from "../../src/host.js";

/** A request, from `send` until its promise has settled. */
export class PendingRequest {
  readonly request: HttpRequest;
  readonly promise: Promise<HttpResponse>;
  /** Called once when the promise has settled, for any reason. */
  onSettled: (() => void) | undefined;

  readonly #context: HttpContext;
  #phase: ConnectionPhase = "connect";
  #isOverdue = false;
  #resolve: ((response: HttpResponse) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(request: HttpRequest, context: HttpContext) {
    this.request = request;
    this.#context = context;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    context.signal.addEventListener("abort", this.#abort);
    if (context.signal.aborted) this.#abort();
  }

  /** Whether it was aborted by a timeout. */
  get isOverdue(): boolean {
    return this.#isOverdue;
  }

  get settled(): boolean {
    return this.#resolve === undefined;
  }

  get maxResponseBytes(): number {
    return this.#context.maxResponseBytes;
  }

  /** Whether it needs a new connection. */
  get fresh(): boolean {
    return this.#context.fresh;
  }

  get phase(): ConnectionPhase {
    return this.#phase;
  }

  enter(phase: ConnectionPhase): void {
    if (this.settled || phase === this.#phase) return;
    this.#phase = phase;
    this.#context.onPhase(phase);
  }

  succeed(response: HttpResponse): void {
    const resolve = this.#resolve;
    if (!resolve) return;
    this.#settle();
    resolve(response);
  }

  fail(error: unknown): void {
    const reject = this.#reject;
    if (!reject) return;
    this.#settle();
    reject(error);
  }

  #settle(): void {
    this.#resolve = this.#reject = undefined;
    this.#context.signal.removeEventListener("abort", this.#abort);
    const onSettled = this.onSettled;
    this.onSettled = undefined;
    onSettled?.();
  }

  readonly #abort = (): void => {
    const { reason } = this.#context.signal;
    this.#isOverdue = reason instanceof IotHubError && reason.code === "TIMEOUT";
    this.fail(reason);
  };
}
