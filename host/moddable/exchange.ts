import { type ConnectionPhase, NetworkError } from "../../src/errors.js";
import type { HttpContext, HttpRequest, HttpResponse } from "../../src/host.js";

/** One request on its way: its phase, its response, its promise. Settles once. */
export class Exchange {
  readonly request: HttpRequest;
  readonly maxResponseBytes: number;
  /** True if it must not run on a kept connection. */
  readonly fresh: boolean;
  readonly promise: Promise<HttpResponse>;
  /** Runs once when the exchange has settled for whatever reason. */
  onSettled: (() => void) | undefined;
  /** Bytes of the body that the socket has taken. */
  sent = 0;
  /** True once a byte of a response came. */
  answered = false;
  /** True if it runs on a connection that an earlier request left open. */
  reused = false;
  status = 0;
  headers: Readonly<Record<string, string>> = Object.freeze({});

  readonly #context: HttpContext;
  #phase: ConnectionPhase = "connect";
  #resolve: ((response: HttpResponse) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #body = new Uint8Array(0);
  #received = 0;

  constructor(request: HttpRequest, context: HttpContext) {
    this.request = request;
    this.#context = context;
    this.maxResponseBytes = context.maxResponseBytes;
    this.fresh = context.fresh;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    context.signal.addEventListener("abort", this.#abort);
    if (context.signal.aborted) this.#abort();
  }

  get settled(): boolean {
    return this.#resolve === undefined;
  }

  get phase(): ConnectionPhase {
    return this.#phase;
  }

  /** Bytes of the response's body so far. */
  get received(): number {
    return this.#received;
  }

  enter(phase: ConnectionPhase): void {
    if (this.settled || phase === this.#phase) return;
    this.#phase = phase;
    this.#context.onPhase(phase);
  }

  /** Makes room for a response of known length. */
  expect(bytes: number): void {
    this.#body = new Uint8Array(bytes);
  }

  /** Where the next `count` bytes of the response belong. Throws RESPONSE_TOO_LARGE. */
  room(count: number): Uint8Array {
    const end = this.#received + count;
    if (end > this.maxResponseBytes) throw this.tooLarge();
    if (end > this.#body.length) {
      const grown = new Uint8Array(Math.min(this.maxResponseBytes, Math.max(256, end, 2 * this.#body.length)));
      grown.set(this.#body.subarray(0, this.#received));
      this.#body = grown;
    }
    const room = this.#body.subarray(this.#received, end);
    this.#received = end;
    return room;
  }

  tooLarge(): NetworkError {
    return new NetworkError(
      "RESPONSE_TOO_LARGE",
      "read",
      `The response is larger than ${this.maxResponseBytes} bytes.`,
    );
  }

  succeed(): void {
    const resolve = this.#resolve;
    if (!resolve) return;
    this.#settle();
    const body = this.#received === this.#body.length ? this.#body : this.#body.slice(0, this.#received);
    resolve({ status: this.status, headers: this.headers, body, reused: this.reused });
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

  readonly #abort = (): void => this.fail(this.#context.signal.reason);
}
