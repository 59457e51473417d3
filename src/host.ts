/**
 * What the core needs of the machine it runs on. A host moves bytes, tells the time, gives randomness, waits and
 * remembers; it knows nothing of the gateway's protocol.
 */

import type { ConnectionPhase } from "./errors.js";

/** Cancels a request. An AbortSignal fits; so does the `signal` of {@link Aborter}, which needs no platform. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** A signed request, to be sent exactly as it is. */
export interface HttpRequest {
  readonly scheme: "http" | "https";
  /** Lower-case name or address without port; an IPv6 address stands in brackets. */
  readonly host: string;
  readonly port: number;
  readonly method: "POST";
  /** Path, beginning with a slash. */
  readonly path: string;
  /** Host, Content-Length and Connection are set by the host. */
  readonly headers: Readonly<Record<string, string>>;
  /** Sent exactly as it is: its hash has been signed. */
  readonly body: Uint8Array;
}

/** What a host gets with a request. It keeps no other limits and no timers. */
export interface HttpContext {
  /**
   * Aborted when the request is given up: by a limit, by the caller, or as the device is closed. The host then ends the
   * request's connection at once and rejects with the signal's `reason`.
   */
  readonly signal: AbortSignalLike;
  /** Bytes that the response's body may have. */
  readonly maxResponseBytes: number;
  /** True: close kept connections first, they may be out of sync. */
  readonly fresh: boolean;
  /** What the core allows for `connect`, in milliseconds: a limit of the machine's own must not be shorter. */
  readonly connectTimeoutMs: number;
  /** To be called as the request enters each phase after `connect`. */
  onPhase(phase: ConnectionPhase): void;
}

/** Where the time of one attempt went, in milliseconds, and how many bytes it moved. */
export interface HttpTiming {
  /** Name resolution and TCP; absent on a connection that was kept from an earlier request. */
  readonly connectMs?: number;
  /** The TLS handshake; absent over plain HTTP and on a kept connection. */
  readonly tlsMs?: number;
  /** Whether that handshake resumed a session; absent where it is, and where the host does not tell. */
  readonly resumed?: boolean;
  /** From the first to the last byte handed to the socket. */
  readonly writeMs?: number;
  /** From the last byte written to the first byte of the response. */
  readonly firstByteMs?: number;
  readonly totalMs: number;
  /** True if the connection was kept from an earlier request. */
  readonly reused: boolean;
  /** Bytes of the request's and the response's body. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** A complete response, whatever its status. */
export interface HttpResponse {
  readonly status: number;
  /** Names in lower case. A header that came more than once is joined by ", ", or the last one, as the machine has it. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** True if it came on a connection that an earlier request had opened. */
  readonly reused?: boolean;
  /** On a new TLS connection: whether its handshake resumed a session. Absent where the host does not tell. */
  readonly resumed?: boolean;
  /**
   * True if this response, the final one and not a 1xx, was complete before the request was written whole. The host
   * closes its connection. The core believes no such success, and takes no such rejection for evidence against a message.
   */
  readonly early?: boolean;
}

/** What an HTTP client has done since it was created, for all origins together. */
export interface HttpCounters {
  /** TCP connections that were established, those to a proxy included. */
  readonly connections: number;
  /** TLS handshakes with a certificate, as far as data could be sent. */
  readonly fullHandshakes: number;
  /** TLS handshakes that resumed an earlier session. */
  readonly resumedHandshakes: number;
}

/** Moves bytes. It knows no limits but those it is given, no retries, and nothing of the platform's protocol. */
export interface HttpClient {
  /**
   * Sends one request and reads its response, whatever its status. Connections are kept; where a kept one turns out
   * dead before any byte of the response, all kept ones are dropped and the error says `stale`: the core signs anew and
   * sends once more. A host may say so of a new connection that failed for what it leaves out of the next one.
   * @throws {NetworkError} NAME_RESOLUTION, CONNECTION_REFUSED, CONNECTION_RESET, PROXY_FAILED, CERTIFICATE_REJECTED,
   * TLS_FAILED, RESPONSE_TOO_LARGE, RESPONSE_MALFORMED, NETWORK_FAILED; the reason of `context.signal` once that is aborted
   */
  send(request: HttpRequest, context: HttpContext): Promise<HttpResponse>;
  /**
   * How often bytes came that no request had asked for: behind a complete response, in the same segment or later, or
   * while no request was under way. The host looks for such bytes once more right before it writes on a kept connection.
   * Each time it closes the connection, and they are nobody's response; the response before them stands. One burst counts
   * once, and a 408 on an idle connection not at all, since servers may send it before they close (RFC 9110 section
   * 15.5.9). When the number has changed, the core asks for new connections for a while. Counted for all origins together;
   * absent where the host cannot know.
   */
  readonly surplus?: number;
  /**
   * Checks, before anything is signed or stored, that this client can reach such an endpoint at all. Absent where it
   * can reach every one.
   * @throws {IotHubError} INVALID_OPTION, INVALID_URL
   */
  checkEndpoint?(endpoint: Pick<HttpRequest, "scheme" | "host" | "port">): void;
  /** For statistics. Absent where the host does not count. */
  counters?(): HttpCounters;
  /** Closes kept connections; a request under way is rejected with CANCELLED. */
  close(): void;
}

/** The machine's clocks: the time of day, and time that never goes back. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z; may jump. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /**
   * Resolves when `nowMs` can be trusted, synchronizing first where that is needed. Absent where the system keeps
   * the clock. All callers share one synchronization.
   * @returns undefined, or a promise that is resolved, if it can be trusted already
   * @throws {IotHubError} CLOCK_NOT_SET
   */
  ready?(): Promise<void> | undefined;
  /**
   * Whether `nowMs` is the real time, as far as the machine can know. Readings taken before get their time afterwards.
   * @default true once `nowMs` is later than the release of this library
   */
  readonly synchronized?: boolean;
  /**
   * Milliseconds since the power-on: goes on through restarts and deep sleep where the machine's clock does, does not jump
   * when the clock is set, and never goes back within a power-on.
   * @default monotonicMs
   */
  uptimeMs?(): number;
  /** What tells the lives of one power-on from those of another. Absent: each device is one by itself. */
  readonly life?: Life;
}

/** One run of the program, from a reset or a wake to the next. */
export interface Life {
  /** Random: 5 digits of base 36. */
  readonly id: string;
  /**
   * `uptimeMs` when this life began. Absent where `uptimeMs` does not go on from earlier lives, or counts from another
   * start than theirs, for instance as the clock had been set between them.
   */
  readonly startMs?: number;
}

/** Source of random bytes, for nonces and backoff. */
export interface Random {
  /** Cryptographically secure bytes, as far as the machine has them. */
  bytes(length: number): Uint8Array;
  /**
   * Resolves when `bytes` is as good as it gets. Awaited before the first nonce; absent where nothing has to be read or
   * collected first. It never rejects: a seed that cannot be read is done without.
   */
  ready?(): Promise<void>;
}

/** Calls back after a delay, as setTimeout does. */
export interface Timer {
  /** Calls back once, not before `delayMs` milliseconds. */
  set(callback: () => void, delayMs: number): unknown;
  clear(handle: unknown): void;
}

/**
 * Small texts by key that survive a restart. Each operation is atomic: after a power cut the key has its old or its new
 * value. Keys are 1 to 15 characters of `[A-Za-z0-9_.-]`; values are well-formed text without U+0000.
 *
 * Operations take effect in the order in which they were begun: one that was given up may end late, but never after one
 * that was begun later.
 *
 * Operations reject with an {@link IotHubError}: STORAGE_FAILED, STORAGE_FULL if there was no room, STORAGE_STOPPED if
 * nothing more can be written before a restart, STORAGE_IN_USE if another process owns the storage.
 */
export interface Storage {
  /** Largest value, in bytes of UTF-8: 3 999 on boards, 65 536 on Node and in memory. */
  readonly maxValueBytes: number;
  /** What the outbox may use unless the app says otherwise. */
  readonly outboxLimits?: { readonly maxBytes: number; readonly maxQueued: number };
  /** `undefined` means known to be absent; if that cannot be determined, the promise rejects. */
  get(key: string): Promise<string | undefined>;
  set(key: string, text: string): Promise<void>;
  delete(key: string): Promise<void>;
  /** In no particular order. */
  keys(): Promise<string[]>;
  close?(): void | Promise<void>;
}

/** Limits that every user of a storage may rely on: the longest key, and the least that `maxValueBytes` may be. */
export const storageLimits = Object.freeze({ keyLength: 15, valueBytes: 3999 });

/** A hash in native code. */
export interface NativeDigest {
  /** SHA-256 (FIPS 180-4) of the parts, one after the other; 32 bytes. */
  sha256(...parts: Uint8Array[]): Uint8Array;
}

/** RSA in native code. */
export interface NativeRsa {
  /**
   * RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2.1) of a message. What comes back is verified by the core
   * before it is used.
   * @param privateKey DER of an RSAPrivateKey (PKCS#1, RFC 8017 appendix A.1.2)
   */
  sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array;
}

/** State of the machine; what it does not know is absent. */
export interface Vitals {
  /** Milliseconds since the program, or the board, was started. */
  readonly uptimeMs?: number;
  /** Why the board was started, such as `"Power-On"`, `"Panic"`, `"Task WDT"`, `"Brownout"`. */
  readonly resetReason?: string;
  /** Bytes of memory that can still be allocated. */
  readonly freeHeapBytes?: number;
  /** Strength of the Wi-Fi signal, in dBm. */
  readonly rssiDbm?: number;
}

/** What the core needs of the machine that it runs on. */
export interface Host {
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly timer: Timer;
  readonly storage?: Storage;
  readonly digest?: NativeDigest;
  readonly rsa?: NativeRsa;
  /**
   * A name that this machine alone has and keeps, such as its MAC address: the DeviceName of a device that is
   * provisioned without one. `[A-Za-z0-9:_-]`, 1 to 48 characters.
   * @throws {IotHubError} INVALID_DEVICE_NAME while the machine does not know it
   */
  deviceName?(): string;
  /** For heartbeats. Absent where the machine has nothing to tell. */
  vitals?(): Vitals;
  /** Closes what the host keeps open: connections, timers. */
  close?(): void;
}
