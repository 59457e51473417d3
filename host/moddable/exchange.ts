import Timer from "timer";
import { IotHubError, NetworkError, type RequestPhase } from "../../src/errors.js";
import type { CancelSignal, HttpRequest, HttpResponse, HttpSendOptions } from "../../src/host.js";

type Phase = Exclude<RequestPhase, "total">;

const DEFAULT_MAX_RESPONSE_BYTES = 16384;

const waitingFor: Readonly<Record<Phase, string>> = Object.freeze({
  connect: "the connection was not established",
  tls: "the TLS handshake did not finish",
  write: "the request could not be written",
  "first-byte": "no answer came",
  read: "the answer did not end",
});

/** One request on its way: its limits, its marks of time, its answer, its promise. Settles once. */
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
  /** True once a byte of an answer came. */
  answered = false;
  /** True if it runs on a connection that an earlier request left open. */
  reused = false;
  status = 0;
  headers: Readonly<Record<string, string>> = Object.freeze({});

  readonly #options: HttpSendOptions;
  readonly #now: () => number;
  readonly #start: number;
  #phase: Phase = "connect";
  #phaseStart: number;
  readonly #spent: { -readonly [P in Phase]?: number } = {};
  #timer: Timer | undefined;
  #resolve: ((response: HttpResponse) => void) | undefined;
  #reject: ((error: IotHubError) => void) | undefined;
  #body = new Uint8Array(0);
  #received = 0;

  /** @param now milliseconds that never go back */
  constructor(request: HttpRequest, options: HttpSendOptions, now: () => number) {
    this.request = request;
    this.#options = options;
    this.maxResponseBytes = options.maxResponseBytes ?? DEFAULT_MAX_RESPONSE_BYTES;
    this.fresh = options.fresh === true;
    this.#now = now;
    this.#start = this.#phaseStart = now();
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    options.signal?.addEventListener("abort", this.#abort);
    if (options.signal?.aborted) this.#abort();
    else this.#arm();
  }

  get settled(): boolean {
    return this.#resolve === undefined;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Bytes of the answer's body so far. */
  get received(): number {
    return this.#received;
  }

  enter(phase: Phase): void {
    if (this.settled || phase === this.#phase) return;
    const now = this.#now();
    this.#spent[this.#phase] = (this.#spent[this.#phase] ?? 0) + now - this.#phaseStart;
    this.#phase = phase;
    this.#phaseStart = now;
    this.#arm();
  }

  /** Makes room for an answer of known length. */
  expect(bytes: number): void {
    this.#body = new Uint8Array(bytes);
  }

  /** Where the next `count` bytes of the answer belong. Throws RESPONSE_TOO_LARGE. */
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
    return new NetworkError("RESPONSE_TOO_LARGE", "read", `The answer is larger than ${this.maxResponseBytes} bytes.`);
  }

  succeed(): void {
    const resolve = this.#resolve;
    if (!resolve) return;
    this.enter("connect");
    const spent = this.#spent;
    const totalMs = this.#now() - this.#start;
    this.#settle();
    const body = this.#received === this.#body.length ? this.#body : this.#body.slice(0, this.#received);
    resolve({
      status: this.status,
      headers: this.headers,
      body,
      timing: {
        ...(this.reused ? undefined : { connectMs: spent.connect ?? 0 }),
        ...(this.reused || spent.tls === undefined ? undefined : { tlsMs: spent.tls }),
        writeMs: spent.write ?? 0,
        firstByteMs: spent["first-byte"] ?? 0,
        totalMs,
        reused: this.reused,
        bytesSent: this.sent,
        bytesReceived: this.#received,
      },
    });
  }

  fail(error: IotHubError): void {
    const reject = this.#reject;
    if (!reject) return;
    this.#settle();
    reject(error);
  }

  #settle(): void {
    this.#resolve = this.#reject = undefined;
    Timer.clear(this.#timer);
    this.#timer = undefined;
    const signal: CancelSignal | undefined = this.#options.signal;
    signal?.removeEventListener("abort", this.#abort);
    const onSettled = this.onSettled;
    this.onSettled = undefined;
    onSettled?.();
  }

  readonly #abort = (): void => {
    this.fail(new IotHubError("CANCELLED", "The request was cancelled.", this.#options.signal?.reason));
  };

  #arm(): void {
    const { timeoutMs, phaseTimeoutsMs } = this.#options;
    const rest = Math.max(0, this.#start + timeoutMs - this.#now());
    const limit = phaseTimeoutsMs?.[this.#phase] ?? timeoutMs;
    const whole = rest <= limit;
    Timer.clear(this.#timer);
    this.#timer = Timer.set(
      () => {
        this.#timer = undefined;
        const waited = waitingFor[this.#phase];
        this.fail(new NetworkError("TIMEOUT", this.#phase, `After ${whole ? timeoutMs : limit} ms ${waited}.`));
      },
      whole ? rest : limit,
    );
  }
}
