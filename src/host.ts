/**
 * Interfaces between the core and the platform. A host provides HTTP, clocks, random bytes, timers and storage; it
 * knows nothing of the gateway's protocol.
 */

import type { ConnectionPhase } from "./errors.js";

/** Signal that cancels a request: an AbortSignal, or on engines without one the `signal` of an `Aborter`. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** A signed request, to be sent unchanged. */
export interface HttpRequest {
  readonly scheme: "http" | "https";
  /** Lower-case hostname or IP address without port; an IPv6 address is in brackets. */
  readonly host: string;
  readonly port: number;
  readonly method: "POST";
  /** Path with a leading slash, without query. */
  readonly path: string;
  /** All headers except Host, Content-Length and Connection, which the host sets. */
  readonly headers: Readonly<Record<string, string>>;
  /** Body, to be sent unchanged: its hash is signed. */
  readonly body: Uint8Array;
}

/** Limits and callbacks that a host gets with a request. The core enforces all timeouts; the host needs no timers. */
export interface HttpContext {
  /**
   * Aborted by a timeout, by the caller, or when the device is closed. The host must then close the request's
   * connection at once and reject with the signal's `reason`.
   */
  readonly signal: AbortSignalLike;
  /** Maximum size of the response body in bytes. */
  readonly maxResponseBytes: number;
  /** True: close pooled connections first, as they may be out of sync. */
  readonly fresh: boolean;
  /** Time limit of the phase `connect`, in milliseconds. A timeout of the platform must not be shorter. */
  readonly connectTimeoutMs: number;
  /** Must be called when the request enters each phase after `connect`. */
  onPhase(phase: ConnectionPhase): void;
}

/** Duration of one attempt by phase, in milliseconds, and the bytes transferred. */
export interface HttpTiming {
  /** Name resolution and TCP connect; absent on a keep-alive connection. */
  readonly connectMs?: number;
  /** TLS handshake; absent over HTTP and on a keep-alive connection. */
  readonly tlsMs?: number;
  /** Whether that handshake resumed a session; absent without a handshake, or if the host does not know. */
  readonly resumed?: boolean;
  /** From the first to the last byte written to the socket. */
  readonly writeMs?: number;
  /** From the last byte written to the first byte of the response. */
  readonly firstByteMs?: number;
  readonly totalMs: number;
  /** True if a keep-alive connection was reused. */
  readonly reused: boolean;
  /** Size of the request body in bytes. */
  readonly bytesSent: number;
  /** Size of the response body in bytes. */
  readonly bytesReceived: number;
}

/** A complete response, whatever its status. */
export interface HttpResponse {
  readonly status: number;
  /**
   * Names in lower case. The value of a repeated header is either joined by ", " or the last one, depending on the
   * platform.
   */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** True if it came on a keep-alive connection. */
  readonly reused?: boolean;
  /** On a new TLS connection: whether its handshake resumed a session. Absent if the host does not know. */
  readonly resumed?: boolean;
  /**
   * True if the final response (not a 1xx) was complete before the request was written completely. The host must close
   * the connection. The core neither accepts such a success nor counts such a rejection as evidence against a message.
   */
  readonly early?: boolean;
}

/** Counters of an HTTP client since it was created, for all origins together. */
export interface HttpCounters {
  /** TCP connections established, including those to a proxy. */
  readonly connections: number;
  /** Full TLS handshakes that reached the point where data can be sent. */
  readonly fullHandshakes: number;
  /** TLS handshakes that resumed a session. */
  readonly resumedHandshakes: number;
}

/** HTTP client of a platform: sends requests over pooled connections. The core enforces timeouts and does retries. */
export interface HttpClient {
  /**
   * Sends one request and resolves with the response, whatever its status. Connections are kept alive. If a keep-alive
   * connection is found closed before the first byte of the response, the host closes all of them and rejects with
   * `stale`: the core signs again and resends once. A host may also set `stale` when a new connection failed because of
   * something that it will do without on the next one.
   * @throws {NetworkError} NAME_RESOLUTION, CONNECTION_REFUSED, CONNECTION_RESET, PROXY_FAILED, CERTIFICATE_REJECTED,
   * TLS_FAILED, RESPONSE_TOO_LARGE, RESPONSE_MALFORMED, RESPONSE_TRUNCATED, NETWORK_FAILED; the `reason` of
   * `context.signal` once it is aborted
   */
  send(request: HttpRequest, context: HttpContext): Promise<HttpResponse>;
  /**
   * Number of times that unsolicited bytes arrived: after a complete response, in the same segment or later, or on an
   * idle connection. The host checks for them again right before it writes on a keep-alive connection. Each time it
   * discards them and closes the connection; the response before them is valid. One burst counts once. A 408 on an idle
   * connection does not count, since servers may send it before they close (RFC 9110 section 15.5.9). When the number
   * changes, the core requests new connections for a while. Counts all origins together; absent if the host cannot
   * detect such bytes.
   */
  readonly surplus?: number;
  /**
   * Checks, before anything is signed or stored, that this client supports an endpoint. Absent if it supports every
   * one.
   * @throws {IotHubError} INVALID_OPTION, INVALID_URL
   */
  checkEndpoint?(endpoint: Pick<HttpRequest, "scheme" | "host" | "port">): void;
  /** Returns counters for statistics. Absent if the host does not count. */
  counters?(): HttpCounters;
  /** Closes pooled connections. A pending request rejects with CANCELLED. */
  close(): void;
}

/** Clocks of a platform: wall-clock time and monotonic time. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970-01-01T00:00:00Z; may jump. */
  nowMs(): number;
  /** Monotonic time in milliseconds, from an arbitrary start. */
  monotonicMs(): number;
  /**
   * Resolves when `nowMs` can be trusted, after a synchronization if necessary. Concurrent callers share one
   * synchronization. Absent if the system keeps the clock set.
   * @returns undefined or a resolved promise if the clock can be trusted already
   * @throws {IotHubError} CLOCK_NOT_SET
   */
  ready?(): Promise<void> | undefined;
  /**
   * Whether `nowMs` is the real time, as far as the platform knows. Readings taken before are dated once it is.
   * @default true once `nowMs` is later than the release of this library
   */
  readonly synchronized?: boolean;
  /**
   * Milliseconds since power-on. Continues across restarts and deep sleep if the hardware's clock does, does not jump
   * when the clock is set, and never goes back until the next power-on.
   * @default monotonicMs
   */
  uptimeMs?(): number;
  /**
   * Identifies this run of the program among the runs since power-on. Absent: each `Device` counts as a new power-on.
   */
  readonly life?: Life;
}

/** One run of the program, from a reset or wake-up to the next. */
export interface Life {
  /** Random identifier: 5 base-36 digits. */
  readonly id: string;
  /**
   * `uptimeMs` at the start of this run. Absent if `uptimeMs` does not continue from earlier runs, or has another
   * origin, for instance because the clock was set in between.
   */
  readonly startMs?: number;
}

/** Source of random bytes, for nonces, backoff and RSA blinding. */
export interface Random {
  /** Returns random bytes, cryptographically secure if the platform has such a source. */
  bytes(length: number): Uint8Array;
  /**
   * Resolves when `bytes` is fully seeded. Awaited before the first nonce. Never rejects: if a seed cannot be read,
   * `bytes` works without it. Absent if no seeding is necessary.
   */
  ready?(): Promise<void>;
}

/** Timers of a platform, like setTimeout. */
export interface Timer {
  /** Calls `callback` once, after at least `delayMs` milliseconds. @returns a handle for `clear` */
  set(callback: () => void, delayMs: number): unknown;
  /** Cancels a timer; undefined and the handle of an expired timer are ignored. */
  clear(handle: unknown): void;
}

/**
 * Key-value storage of short strings that survives restarts. Each operation is atomic: after a power loss a key has its
 * old or its new value. Keys are 1 to 15 characters of `[A-Za-z0-9_.-]`; values are well-formed Unicode without U+0000.
 *
 * Operations must take effect in the order in which they were started: one that timed out may finish late, but not
 * after one that was started later.
 *
 * Operations reject with an `IotHubError`. Reading, too, may reject with STORAGE_FULL or STORAGE_STOPPED, if the
 * storage could not be opened for that reason.
 */
export interface Storage {
  /** Maximum size of a value in bytes of UTF-8: 3 999 on boards, 65 536 on Node and in memory. */
  readonly maxValueBytes: number;
  /** Default limits of an outbox in this storage. @default 1 048 576 bytes, 10 000 messages */
  readonly outboxLimits?: { readonly maxBytes: number; readonly maxQueued: number };
  /**
   * Resolves with the value, or with undefined if the key is absent; rejects if that cannot be determined.
   * @throws {IotHubError} STORAGE_FAILED; STORAGE_IN_USE if another process uses the storage; INVALID_OPTION if the key
   * is invalid
   */
  get(key: string): Promise<string | undefined>;
  /**
   * Stores a value, and resolves when it would survive a power loss.
   * @throws {IotHubError} STORAGE_FULL if there is no room; STORAGE_STOPPED if nothing more can be written until a
   * restart; STORAGE_FAILED; STORAGE_IN_USE if another process uses the storage; INVALID_OPTION if the key or the value
   * is invalid
   */
  set(key: string, text: string): Promise<void>;
  /**
   * Deletes a key, if it exists.
   * @throws {IotHubError} STORAGE_FAILED; STORAGE_IN_USE if another process uses the storage; INVALID_OPTION if the key
   * is invalid
   */
  delete(key: string): Promise<void>;
  /**
   * Resolves with all keys, in no particular order.
   * @throws {IotHubError} STORAGE_FAILED; STORAGE_IN_USE if another process uses the storage
   */
  keys(): Promise<string[]>;
  close?(): void | Promise<void>;
}

/** Limits that every storage must support: key length in characters, and the minimum of `maxValueBytes`. */
export const storageLimits = Object.freeze({ keyLength: 15, valueBytes: 3999 });

/** SHA-256 in native code. */
export interface NativeDigest {
  /** Returns the SHA-256 (FIPS 180-4) of the concatenated parts: 32 bytes. */
  sha256(...parts: Uint8Array[]): Uint8Array;
}

/** RSA in native code. */
export interface NativeRsa {
  /**
   * Signs a message: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 section 8.2.1). The core verifies the result.
   * @param privateKey RSAPrivateKey in DER (PKCS#1, RFC 8017 appendix A.1.2)
   */
  sign(privateKey: Uint8Array, message: Uint8Array): Uint8Array;
}

/** State of the hardware; unknown values are absent. */
export interface Vitals {
  /** Milliseconds since the program or the board started. */
  readonly uptimeMs?: number;
  /** Reset reason, such as `"Power-On"`, `"Panic"`, `"Task WDT"`, `"Brownout"`. */
  readonly resetReason?: string;
  /** Free heap in bytes. */
  readonly freeHeapBytes?: number;
  /** Wi-Fi signal strength in dBm. */
  readonly rssiDbm?: number;
}

/** The platform that a device runs on. The package has hosts for Node and Moddable; see docs/porting.md for others. */
export interface Host {
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly timer: Timer;
  readonly storage?: Storage;
  readonly digest?: NativeDigest;
  readonly rsa?: NativeRsa;
  /**
   * Returns a unique and permanent name of this machine, such as its MAC address: the default DeviceName in
   * provisioning. 1 to 48 characters of `[A-Za-z0-9:_-]`.
   * @throws {IotHubError} INVALID_DEVICE_NAME while the name is not available
   */
  deviceName?(): string;
  /** Returns the state of the hardware, for heartbeats. */
  vitals?(): Vitals;
  /** Closes connections and timers of the host. */
  close?(): void;
}
