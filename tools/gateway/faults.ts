import { GatewayError } from "./errors.js";

/**
 * Where in a request a fault is injected:
 * - `connect`: the TCP connection was accepted, nothing was read, no TLS was spoken
 * - `read`: the request's headers were read, its body was not
 * - `headers`: the request was read and processed, no byte of the response was sent
 * - `body`: the response's headers and half of its body were sent
 */
export type FaultPhase = "connect" | "read" | "headers" | "body";

/**
 * A fault to inject.
 *
 * With a fault in the *response*, the request is processed normally first, so its message counts as received. A request
 * that is rejected (`status`, `html`, `error`), gets an early response, or whose body is never read, does not count.
 */
export type Fault =
  /** Waits before the response's headers, or between its headers and its body. */
  | { readonly kind: "delay"; readonly ms: number; readonly phase?: "headers" | "body" }
  /** Hangs forever. In the phase `body`, the response's headers were sent and nothing of its body. */
  | { readonly kind: "hang"; readonly phase: FaultPhase }
  /** Sends RST. */
  | { readonly kind: "reset"; readonly phase: FaultPhase }
  /** Sends FIN without the (rest of the) response. */
  | { readonly kind: "close"; readonly phase: FaultPhase }
  /** An HTTP status with a JSON body; `retryAfter` is seconds or an HTTP date. */
  | { readonly kind: "status"; readonly status: number; readonly retryAfter?: number | string }
  /** A gateway error with any code, such as `InternalError`; by default with the usual HTTP status of errors. */
  | { readonly kind: "error"; readonly code: string; readonly status?: number; readonly message?: string }
  /** A proxy's error page, by default with status 502. */
  | { readonly kind: "html"; readonly status?: number }
  /** An empty body, by default with status 200. */
  | { readonly kind: "empty"; readonly status?: number }
  /** Sends half of the announced Content-Length, then closes the connection. */
  | { readonly kind: "truncated" }
  /** The JSON is truncated, but Content-Length is correct. */
  | { readonly kind: "malformed-json" }
  /** The correct body with another Content-Type, by default text/plain. */
  | { readonly kind: "content-type"; readonly contentType?: string }
  /** A correct response padded to `bytes` bytes, by default 1048576. */
  | { readonly kind: "too-large"; readonly bytes?: number }
  /** The correct body in small pieces, by default one byte every 20 ms. */
  | { readonly kind: "slow-drip"; readonly bytes?: number; readonly intervalMs?: number }
  /** A wrong Content-Length. `less` and `more` keep the connection open, like a faulty server. */
  | { readonly kind: "wrong-length"; readonly length: "less" | "more" | "negative" | "text" | "twice" }
  /** Chunked, with a chunk size that is not a number. */
  | { readonly kind: "bad-chunk" }
  /** Non-HTTP bytes. */
  | { readonly kind: "garbage" }
  /** An interim response (103) before the real one. */
  | { readonly kind: "interim" }
  /**
   * The response to the previous request, including its RequestId; for the first request, a response with a random
   * RequestId.
   */
  | { readonly kind: "other-response" }
  /**
   * Repeats a response sent `ago` requests earlier on this connection, instead of processing the request, like a faulty
   * proxy. Without such a response, the request is processed normally. By default, `ago` is 1.
   */
  | { readonly kind: "repeated"; readonly ago?: number }
  /** The correct response, followed immediately by an unsolicited one. */
  | { readonly kind: "two-responses" }
  /** Responds after reading the headers, without the body; then closes (default) or continues. */
  | { readonly kind: "early"; readonly status?: number; readonly keepOpen?: boolean }
  /**
   * Responds as if the connection were kept alive; then silently: `ignore` never reads from it again, `close` sends
   * FIN, `reset` sends RST when the next request arrives.
   */
  | { readonly kind: "half-open"; readonly afterwards: "ignore" | "close" | "reset" }
  /** Shifts the Date header and the timestamp window by a number of seconds. */
  | { readonly kind: "skew"; readonly seconds: number }
  /** TLS: a fatal alert instead of a ServerHello, by default handshake_failure (40). */
  | { readonly kind: "tls-alert"; readonly alert?: number }
  /** TLS: FIN after `afterBytes` bytes of the server's handshake, by default 0. */
  | { readonly kind: "tls-close"; readonly afterBytes?: number }
  /** TLS: reads the ClientHello and never responds. */
  | { readonly kind: "tls-hang" }
  /** TLS 1.2: corrupts the signature of the ServerKeyExchange. */
  | { readonly kind: "tls-key-exchange" };

export type FaultKind = Fault["kind"];

/** Whether a fault applies to a connection, not a request: it is injected into the next new connection. */
export function concernsConnection(fault: Fault): boolean {
  return fault.kind.startsWith("tls-") || ("phase" in fault && fault.phase === "connect");
}

/** Whether the request is not processed, so that its message is not received. */
export function refusesRequest(fault: Fault | undefined): boolean {
  if (fault === undefined) return false;
  if ("phase" in fault && fault.phase === "read") return true;
  return fault.kind === "status" || fault.kind === "error" || fault.kind === "html" || fault.kind === "early";
}

/** Reproducible random faults. */
export interface RandomFaults {
  /** Probability of a fault per request (or, for connection faults, per connection), 0 to 1. */
  readonly probability: number;
  /** Faults to choose from, with equal probability. */
  readonly among: readonly Fault[];
  /** 0 to 4 294 967 295; the same seed gives the same faults for the same order of requests. */
  readonly seed: number;
}

/** Fault injector: queued faults come first, then the permanent fault, then random faults. */
export class Faults {
  #connections: Fault[] = [];
  #requests: Fault[] = [];
  #always: Fault | undefined;
  #random: (RandomFaults & { readonly draw: () => number }) | undefined;
  readonly #secure: boolean;
  readonly #onChange: () => void;

  /**
   * @param secure whether the gateway uses TLS; otherwise TLS faults are rejected
   * @param onChange called after the permanent fault was set or removed
   * @throws {GatewayError} INVALID_OPTION if a fault is invalid, or the probability is not from 0 to 1
   */
  constructor(
    secure: boolean,
    permanent: Fault | undefined,
    random: RandomFaults | undefined,
    onChange: () => void = () => {},
  ) {
    this.#secure = secure;
    if (permanent !== undefined) this.#check(permanent);
    this.#always = permanent;
    this.random(random);
    this.#onChange = onChange;
  }

  /**
   * The fault of everything that is not queued; undefined for none. Can be set while the gateway runs: it applies from
   * the next request or connection on.
   */
  get permanent(): Fault | undefined {
    return this.#always;
  }

  /** @throws {GatewayError} INVALID_OPTION */
  set permanent(fault: Fault | undefined) {
    if (fault !== undefined) this.#check(fault);
    this.#always = fault;
    this.#onChange();
  }

  /**
   * Queues a fault for the next request or, for connection faults, for the next connection.
   * @param times number of injections @default times 1
   * @throws {GatewayError} INVALID_OPTION if the fault is invalid, or needs HTTPS
   */
  next(fault: Fault, times = 1): void {
    this.#check(fault);
    const queue = concernsConnection(fault) ? this.#connections : this.#requests;
    for (let i = 0; i < times; i++) queue.push(fault);
  }

  /**
   * Sets {@link permanent}.
   * @throws {GatewayError} INVALID_OPTION if the fault is invalid, or needs HTTPS
   */
  always(fault: Fault | undefined): void {
    this.permanent = fault;
  }

  /**
   * Sets random faults; undefined removes them.
   * @throws {GatewayError} INVALID_OPTION if a fault is invalid, or the probability is not from 0 to 1
   */
  random(random: RandomFaults | undefined): void {
    if (random !== undefined) {
      if (!(random.probability >= 0 && random.probability <= 1)) {
        throw new GatewayError("INVALID_OPTION", "The probability of faults must be from 0 to 1.");
      }
      for (const fault of random.among) this.#check(fault);
      this.#random = { ...random, draw: mulberry32(random.seed) };
    } else {
      this.#random = undefined;
    }
  }

  /** Clears the queue and removes all faults. */
  clear(): void {
    this.#connections = [];
    this.#requests = [];
    this.#random = undefined;
    if (this.#always !== undefined) this.permanent = undefined;
  }

  /** Number of queued faults. */
  get pending(): number {
    return this.#connections.length + this.#requests.length;
  }

  /** For the server: returns the fault of a new connection. */
  ofConnection(): Fault | undefined {
    return this.#connections.shift() ?? this.#standing(true);
  }

  /** For the server: returns the fault of a new request. */
  ofRequest(): Fault | undefined {
    return this.#requests.shift() ?? this.#standing(false);
  }

  #check(fault: Fault): void {
    checkFault(fault);
    if (!this.#secure && fault.kind.startsWith("tls-")) throw invalid(`The fault ${fault.kind} needs HTTPS.`);
  }

  #standing(connection: boolean): Fault | undefined {
    if (this.#always !== undefined && concernsConnection(this.#always) === connection) return this.#always;
    const random = this.#random;
    const among = random?.among.filter((fault) => concernsConnection(fault) === connection) ?? [];
    if (random === undefined || among.length === 0) return undefined;
    // Two draws each time, so that changing the probability does not change the sequence of faults.
    const isInjected = random.draw() < random.probability;
    const which = Math.floor(random.draw() * among.length);
    return isInjected ? among[which] : undefined;
  }
}

/** Small random generator with 32 bits of state: reproducible, and sufficient to choose faults. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

type Check = (value: unknown) => boolean;
const milliseconds: Check = (value) => typeof value === "number" && value >= 0 && value < 2 ** 31;
const status: Check = (value) => Number.isInteger(value) && (value as number) >= 200 && (value as number) <= 599;
const count: Check = (value) => Number.isInteger(value) && (value as number) > 0 && (value as number) <= 2 ** 28;
const isText: Check = (value) => typeof value === "string";
const isBoolean: Check = (value) => typeof value === "boolean";
const oneOf =
  (...values: string[]): Check =>
  (value) =>
    values.includes(value as string);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const phase = oneOf("connect", "read", "headers", "body");

/** The members of each kind, in the order in which `kind:value:value` sets them. */
const members: Readonly<Record<FaultKind, Readonly<Record<string, Check>>>> = {
  delay: { ms: milliseconds, phase: optional(oneOf("headers", "body")) },
  hang: { phase },
  reset: { phase },
  close: { phase },
  status: { status, retryAfter: optional((value) => milliseconds(value) || isText(value)) },
  error: { code: isText, status: optional(status), message: optional(isText) },
  html: { status: optional(status) },
  empty: { status: optional(status) },
  truncated: {},
  "malformed-json": {},
  "content-type": { contentType: optional(isText) },
  "too-large": { bytes: optional(count) },
  "slow-drip": { bytes: optional(count), intervalMs: optional(milliseconds) },
  "wrong-length": { length: oneOf("less", "more", "negative", "text", "twice") },
  "bad-chunk": {},
  garbage: {},
  interim: {},
  "other-response": {},
  repeated: { ago: optional((value) => Number.isInteger(value) && (value as number) > 0 && (value as number) <= 16) },
  "two-responses": {},
  early: { status: optional(status), keepOpen: optional(isBoolean) },
  "half-open": { afterwards: oneOf("ignore", "close", "reset") },
  skew: { seconds: (value) => typeof value === "number" && Math.abs(value) < 1e11 },
  "tls-alert": {
    alert: optional((value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 256),
  },
  "tls-close": { afterBytes: optional((value) => value === 0 || count(value)) },
  "tls-hang": {},
  "tls-key-exchange": {},
};

/**
 * Each kind as it is written for {@link parseFault}: optional parts in brackets, values in capitals. PHASE is connect,
 * read, headers or body.
 */
export const faultForms: Readonly<Record<FaultKind, readonly [form: string, what: string]>> = Object.freeze({
  delay: ["delay:MS[:headers|body]", "wait MS milliseconds before the response, or before its body"],
  hang: ["hang:PHASE", "never go on"],
  reset: ["reset:PHASE", "reset the connection (RST)"],
  close: ["close:PHASE", "close the connection (FIN)"],
  status: ["status:CODE[:RETRY-AFTER]", "HTTP status 200 to 599; Retry-After in seconds or as an HTTP date"],
  error: ["error:CODE[:STATUS[:MESSAGE]]", "gateway error, such as error:InternalError"],
  html: ["html[:STATUS]", "a proxy's error page, status 502 by default"],
  empty: ["empty[:STATUS]", "an empty body, status 200 by default"],
  truncated: ["truncated", "half of the body that Content-Length announces, then close"],
  "malformed-json": ["malformed-json", "half of the JSON, with a Content-Length that fits"],
  "content-type": ["content-type[:TYPE]", "another Content-Type, text/plain by default"],
  "too-large": ["too-large[:BYTES]", "a response padded to BYTES bytes, 1048576 by default"],
  "slow-drip": ["slow-drip[:BYTES[:MS]]", "BYTES bytes every MS milliseconds, 1 every 20 ms by default"],
  "wrong-length": ["wrong-length:HOW", "a wrong Content-Length; HOW is less, more, negative, text or twice"],
  "bad-chunk": ["bad-chunk", "a chunk size that is not a number"],
  garbage: ["garbage", "bytes that are not HTTP"],
  interim: ["interim", "an interim response (103) before the real one"],
  "other-response": ["other-response", "the response to the request before"],
  repeated: ["repeated[:AGO]", "the response of AGO requests earlier on the connection, 1 to 16, 1 by default"],
  "two-responses": ["two-responses", "the response, and an unsolicited one"],
  early: ["early[:STATUS[:true]]", "respond before the body is read, then close; true keeps the connection open"],
  "half-open": ["half-open:HOW", "respond, then do nothing more; HOW is ignore, close or reset"],
  skew: ["skew:SECONDS", "a clock that is SECONDS ahead, or behind if negative"],
  "tls-alert": ["tls-alert[:ALERT]", "TLS alert number 0 to 255 for a ServerHello, 40 by default (HTTPS)"],
  "tls-close": ["tls-close[:BYTES]", "close after BYTES bytes of the handshake, 0 by default (HTTPS)"],
  "tls-hang": ["tls-hang", "never respond to the ClientHello (HTTPS)"],
  "tls-key-exchange": ["tls-key-exchange", "a wrong signature in the key exchange of TLS 1.2 (HTTPS)"],
});

/** Returns the forms of all faults as lines of two columns, for a help text. */
export function describeFaults(): string[] {
  const forms = Object.values(faultForms);
  const width = Math.max(...forms.map(([form]) => form.length));
  return forms.map(([form, what]) => `${form.padEnd(width)}  ${what}`);
}

/** All kinds of faults. */
export const faultKinds = Object.keys(members) as readonly FaultKind[];

/** Validates a fault. @throws {GatewayError} INVALID_OPTION if the fault is invalid */
export function checkFault(fault: unknown): asserts fault is Fault {
  if (typeof fault !== "object" || fault === null) throw invalid("A fault must be an object with a kind.");
  const { kind, ...rest } = fault as Record<string, unknown>;
  if (!Object.hasOwn(members, String(kind))) {
    throw invalid(`Unknown fault ${JSON.stringify(kind)}; the known ones are ${faultKinds.join(", ")}.`);
  }
  const known = members[kind as FaultKind];
  for (const name of Object.keys(rest)) {
    if (!Object.hasOwn(known, name)) throw invalid(`The fault ${kind} has no ${name}.`);
  }
  for (const [name, check] of Object.entries(known)) {
    if (!check(rest[name])) throw invalid(`The fault ${kind} has an invalid ${name}.`);
  }
}

/**
 * Reads a fault from text, for command lines and headers: `truncated`, `hang:body`, `status:503:120`, `delay:200`,
 * `error:FailedOperation.AccountIsolated:403`, or JSON. The last value may contain colons.
 * @throws {GatewayError} INVALID_OPTION if the text is not a valid fault
 */
export function parseFault(text: string): Fault {
  let fault: unknown;
  if (text.trimStart().startsWith("{")) {
    try {
      fault = JSON.parse(text);
    } catch {
      throw invalid("The fault is not valid JSON.");
    }
  } else {
    const [kind, ...values] = text.trim().split(":");
    const names = Object.hasOwn(members, kind) ? Object.keys(members[kind as FaultKind]) : [];
    if (values.length > 0 && names.length === 0 && Object.hasOwn(members, kind)) {
      throw invalid(`The fault ${kind} takes no value.`);
    }
    if (values.length > names.length) values.push(values.splice(names.length - 1).join(":"));
    const given = values.map((value, i) => [names[i], readValue(kind, names[i], value)] as const);
    fault = { kind, ...Object.fromEntries(given.filter(([, value]) => value !== "")) };
  }
  checkFault(fault);
  return fault;
}

/** Formats a fault as text that {@link parseFault} reads, such as `status:503:120`. */
export function formatFault(fault: Fault): string {
  const { kind, ...given } = fault as Fault & Record<string, unknown>;
  const values = Object.keys(members[kind]).map((name) => String(given[name] ?? ""));
  while (values.at(-1) === "") values.pop();
  return [kind, ...values].join(":");
}

/**
 * Converts a value to a number or `true` if the member requires it; otherwise it stays text, since codes of retired
 * APIs are digits, too.
 */
function readValue(kind: string, name: string, value: string): unknown {
  const number = /^-?\d+$/.test(value) ? Number(value) : undefined;
  const check = members[kind as FaultKind]?.[name];
  if (number !== undefined && check?.(number)) return number;
  if (value === "true" && check?.(true)) return true;
  return check?.(value) === false && number !== undefined ? number : value;
}

function invalid(message: string): GatewayError {
  return new GatewayError("INVALID_OPTION", message);
}
