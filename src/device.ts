/** The class that apps use. */

import {
  type DeviceEndpoint,
  deviceEndpoints,
  logEndpoint,
  PUBLISH,
  publishEndpoint,
  REPORT_LOG,
} from "./endpoints.js";
import { type ErrorClass, IotHubError, ResponseError } from "./errors.js";
import { type DeviceStats, Heartbeat, type HeartbeatOptions, readVitals, waitState } from "./health.js";
import type { Host, Storage } from "./host.js";
import { Log, type LogLevel, type LogOptions, MAX_LOG_BYTES } from "./log.js";
import {
  type CheckedMessage,
  checkIdentity,
  checkMessage,
  completeTopic,
  DEFAULT_MAX_PAYLOAD_BYTES,
  type Identity,
  type Message,
} from "./message.js";
import { checkOptions, deviceRules, heartbeatRules, outboxRules, requestRules } from "./options.js";
import {
  type EnqueueResult,
  type FlushOptions,
  type FlushResult,
  Outbox,
  type OutboxOptions,
} from "./outbox/outbox.js";
import {
  Client,
  type ClientOptions,
  type PostOptions,
  type RequestOptions,
  type RequestTiming,
} from "./request/client.js";
import { type Region, reachableEndpoint } from "./request/endpoint.js";
import { classifyBy, readRetryOptions, retryDefaults } from "./request/retry.js";
import { checkPsk } from "./signing/secret.js";
import { type Credential, createSigner, isSigner, type Signer } from "./signing/signer.js";
import { defaultOutboxLimits, LimitedStorage } from "./storage/limits.js";

/** Options of a {@link Device}: who it is, where it sends, and its limits. */
export interface DeviceOptions extends Identity, ClientOptions {
  /** The device's PSK, its private key, or a custom signer. The device closes it in {@link Device.close}. */
  readonly credential: Credential | Signer;
  /** Region of the public service. Give either `region` or `url`, not both. @default "ap-guangzhou" */
  readonly region?: Region;
  /** Scheme, host and port of a private deployment or a local gateway, such as `"http://192.168.1.10:8080"`. */
  readonly url?: string;
  /** Maximum payload in bytes before Base64, 1 to 2147483647. @default 16384 */
  readonly maxPayloadBytes?: number;
  /** Level, interval and limits of {@link Device.log}. */
  readonly log?: LogOptions;
  /**
   * Stores readings given to {@link Device.enqueue} until they are delivered. Needs a host with storage. @default none
   */
  readonly outbox?: OutboxOptions<PublishResult>;
  /**
   * Publishes {@link Device.stats} and {@link Host.vitals} at an interval, as the platform has no last will. Heartbeats
   * have QoS 0, are never stored or retried, and are skipped while {@link Device.canPublish} is false. With an outbox
   * whose `flushIntervalMs` is 0 (deep sleep), a due heartbeat is sent after a flush instead. @default none
   */
  readonly heartbeat?: HeartbeatOptions;
}

/** A message for the outbox, with the time at which its reading was taken. */
export interface Reading extends Message {
  /**
   * Time of the reading, in milliseconds since 1970, 0 to 2^48 - 1. It is sent only with `outbox.timeField` or
   * `outbox.batch`.
   * @default the time of the call; if the clock is not set yet, it is computed once the time is known
   */
  readonly timeMs?: number;
}

/** The gateway's acknowledgement of a message, with attempts and timing. */
export interface PublishResult {
  /** RequestId from the gateway; quote it when you contact the platform's support. */
  readonly requestId: string;
  /** HTTP status. */
  readonly status: number;
  /** Full topic that was sent. */
  readonly topic: string;
  /** Size of the request body in bytes. */
  readonly bodyBytes: number;
  /** Number of times the request was sent, retries included. */
  readonly attempts: number;
  /** Duration of each phase. */
  readonly timing: RequestTiming;
}

const MAX_FLUSH_ATTEMPTS = 1000;
/** Upper bound of a stored log upload's size beyond its lines. */
const LOG_HEAD_BYTES = 64;

/**
 * A device: publishes messages one at a time, stores readings in an outbox, and uploads its log.
 * @example
 * const device = new Device({ productId: "ABCDE12345", deviceName: "sensor1", credential: { secret: psk } });
 * const { requestId } = await device.publish({ topic: "data", payload: { temperature: 21.5 } });
 * device.close();
 */
export class Device {
  readonly productId: string;
  readonly deviceName: string;
  readonly #client: Client;
  readonly #host: Host;
  #published = 0;
  readonly #maxPayloadBytes: number;
  readonly #log: Log;
  readonly #classify: (error: IotHubError) => ErrorClass;
  /** Whether readings are sent with a time. */
  readonly #isDated: boolean;
  /** The outbox; undefined if the options have no `outbox`. */
  readonly outbox: Outbox<PublishResult> | undefined;
  /** Warns of a topic with too many levels; undefined without `onEvent`. */
  readonly #warnOf: ((topic: string) => void) | undefined;
  readonly #heartbeat: Heartbeat | undefined;

  /**
   * Creates a device. Sends nothing yet.
   * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_REGION, INVALID_URL, INVALID_LOG_LEVEL,
   * INVALID_OPTION; for the credential INVALID_CREDENTIAL, KEY_ENCRYPTED, KEY_NOT_RSA, KEY_NOT_PRIVATE, KEY_MALFORMED,
   * KEY_SIZE, KEY_INCONSISTENT; for the heartbeat's topic INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG
   */
  constructor(options: DeviceOptions, host: Host) {
    if (typeof options !== "object" || options === null) {
      throw new IotHubError(
        "INVALID_OPTION",
        "A device needs options: an object with productId, deviceName and credential.",
      );
    }
    checkOptions("", options, deviceRules);
    if (options.outbox !== undefined) checkOptions("outbox", options.outbox, outboxRules);
    checkIdentity(options);
    const { maxPayloadBytes = DEFAULT_MAX_PAYLOAD_BYTES, credential } = options;
    const endpoint = reachableEndpoint(options, host.http);
    const signer = isSigner(credential) ? credential : createSigner(credential, host);
    if ("secret" in credential && credential.verbatim !== true) checkPsk(credential.secret);
    this.productId = options.productId;
    this.deviceName = options.deviceName;
    this.#maxPayloadBytes = maxPayloadBytes;
    this.#isDated = options.outbox?.timeField !== undefined || options.outbox?.batch !== undefined;
    const { storage, timer } = host;
    const classify = options.retry ? options.retry.classify : undefined;
    this.#classify = (error) => classifyBy(classify, error);
    const parts = {
      timer,
      random: host.random,
      nowMs: () => this.#client.nowMs(),
      maxBytes: options.outbox === undefined ? MAX_LOG_BYTES : outboxShare(options.outbox, storage),
      send: (lines: string, fresh: boolean) => this.#sendLog(lines, fresh),
      classify: this.#classify,
    };
    const log = new Log(parts, options.log);
    this.#log = log;
    // Only the signer keeps the key, so that nothing refers to it once the signer is closed.
    const { credential: _, onEvent, ...rest } = options;
    const guarded: typeof onEvent =
      onEvent &&
      ((event) =>
        "path" in event && event.path === logEndpoint.path ? log.silently(() => onEvent(event)) : onEvent(event));
    this.#warnOf = onEvent && levelWarnings(onEvent, options.region);
    this.#client = new Client(endpoint, signer, host, { ...rest, onEvent: guarded });
    this.#host = host;
    if (options.heartbeat !== undefined) checkOptions("heartbeat", options.heartbeat, heartbeatRules);
    this.outbox = options.outbox === undefined ? undefined : this.#createOutbox(options, options.outbox, host);
    this.#heartbeat = options.heartbeat && this.#createHeartbeat(options, options.heartbeat);
  }

  /**
   * Publishes one message and resolves when the gateway has acknowledged it.
   * @param options limits and retries of this request, which override the device's
   * @throws {IotHubError} INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS, INVALID_ENCODING,
   * INVALID_PAYLOAD, PAYLOAD_TOO_LARGE, INVALID_OPTION; CANCELLED, DEVICE_CLOSED, QUEUE_FULL, CLOCK_NOT_SET,
   * SIGNING_FAULT, SIGNER_CLOSED
   * @throws {ThrottledError} THROTTLED
   * @throws {NetworkError} NAME_RESOLUTION, CONNECTION_REFUSED, CONNECTION_RESET, PROXY_FAILED, CERTIFICATE_REJECTED,
   * TLS_FAILED, TIMEOUT, RESPONSE_TOO_LARGE, RESPONSE_MALFORMED, RESPONSE_TRUNCATED, NETWORK_FAILED
   * @throws {ResponseError} GATEWAY_REJECTED, HTTP_STATUS, RESPONSE_EMPTY, RESPONSE_NOT_JSON, RESPONSE_UNEXPECTED,
   * RESPONSE_REPEATED, RESPONSE_EARLY
   * @example
   *   try {
   *     const { requestId } = await device.publish({ topic: "data", payload: { temperature: 21.5 } });
   *   } catch (error) {
   *     if (error instanceof IotHubError && !error.retryable) console.error(error.code, error.message);
   *   }
   */
  publish(message: Message, options?: RequestOptions): Promise<PublishResult> {
    // Not an async function: a pending one costs a device half a kilobyte.
    try {
      if (options !== undefined) checkOptions("", options, requestRules);
      const checked = checkMessage(this, message, this.#maxPayloadBytes);
      this.#warnOf?.(checked.topic);
      return this.#post(publishEndpoint, checked, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Adds a message to the outbox and resolves when it is stored. If the storage accepts no more writes until a restart
   * (STORAGE_STOPPED), the message is sent at once, and the promise resolves when the gateway has acknowledged it.
   *
   * A message is stored as one value, so on a board a payload is limited to about 3 900 bytes of text or 2 970 bytes of
   * binary data.
   * @throws {IotHubError} INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS, INVALID_ENCODING,
   * INVALID_PAYLOAD, PAYLOAD_TOO_LARGE, INVALID_TIMESTAMP; INVALID_OPTION for an unknown member, or if the device has
   * no outbox; OUTBOX_FULL; QUEUE_FULL if 256 messages or 16 KB are waiting to be stored; STORAGE_FAILED, STORAGE_FULL,
   * STORAGE_STOPPED, STORAGE_IN_USE, DEVICE_CLOSED
   * @example
   *   const device = new Device({ productId, deviceName, credential, outbox: { flushIntervalMs: 60_000 } }, host);
   *   await device.enqueue({ topic: "data", payload: { temperature: 21.5 }, timeMs: Date.now() });
   *   const { delivered, remaining, reason } = await device.flush({ deadlineMs: 20000 });
   */
  enqueue(reading: Reading): Promise<EnqueueResult> {
    try {
      return this.#enqueue(reading);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #enqueue(reading: Reading): Promise<EnqueueResult> {
    if (this.outbox === undefined) throw noOutbox();
    const { topic, payload, qos } = checkMessage(this, reading, this.#maxPayloadBytes);
    const { timeMs } = reading;
    if (timeMs !== undefined && !(timeMs >= 0 && timeMs < 2 ** 48)) {
      throw new IotHubError("INVALID_TIMESTAMP", "timeMs must be a number of milliseconds since 1970.");
    }
    this.#warnOf?.(topic);
    if (!this.#isDated) return this.outbox.enqueue({ topic: reading.topic, payload, qos, timeMs, endpoint: PUBLISH });
    // A payload given as text is never changed, even if it looks like JSON.
    const isObject = typeof reading.payload === "object" && typeof payload === "string" && payload.startsWith("{");
    return this.outbox.enqueue({ topic: reading.topic, payload, qos, timeMs, isObject, endpoint: PUBLISH });
  }

  /**
   * Delivers the messages in the outbox, in order, until it is empty, the deadline has passed, or an error makes
   * further attempts pointless. Resolves with the outcome, also if nothing could be delivered.
   * @throws {IotHubError} STORAGE_FAILED, STORAGE_IN_USE, DEVICE_CLOSED; QUEUE_FULL if 16 flushes are waiting already;
   * INVALID_OPTION, also if the device has no outbox; STORAGE_FULL, STORAGE_STOPPED if the storage could not be opened
   */
  async flush(options?: FlushOptions): Promise<FlushResult> {
    if (this.outbox === undefined) throw noOutbox();
    const flushed = this.outbox.flush(options);
    return this.#heartbeat === undefined ? flushed : this.#heartbeat.follow(flushed, options ?? {});
  }

  /** Returns counters of messages and requests, and what the device is waiting for. Reads only memory. */
  stats(): DeviceStats {
    const outbox = this.outbox;
    const client = this.#client;
    const host = this.#host;
    const monotonicMs = host.clock.monotonicMs();
    const nowMs = client.nowMs();
    // Converts monotonic times with the current clock, which may have been set since they were taken.
    const offsetMs = nowMs - monotonicMs;
    // Not a shared constant: XS cannot stringify an object in read-only memory.
    const reason = client.waitingFor(monotonicMs);
    const other = outbox === undefined ? "nothing" : outbox.waitingFor(monotonicMs);
    return {
      published: this.#isDated && outbox !== undefined ? this.#published + outbox.joined : this.#published,
      retried: client.retried,
      dropped: outbox?.drops === undefined ? {} : { ...outbox.drops },
      lastSuccessTimeMs: client.succeededMs === undefined ? undefined : Math.round(client.succeededMs + offsetMs),
      lastError: client.lastError && {
        ...client.lastError,
        timeMs: Math.round(client.lastError.timeMs + offsetMs),
      },
      waiting:
        reason === other && reason === "nothing"
          ? { for: reason }
          : waitState(client, reason, outbox, other, monotonicMs, offsetMs),
      outbox: outbox?.stats(nowMs),
      http: host.http.counters?.(),
    };
  }

  /**
   * Returns whether a publish would be sent now, or right after the pending request. False during a pause requested by
   * the gateway, a backoff, or the wait for the clock, and while the rate limit is exhausted or other requests are
   * queued. Does not check the network.
   */
  canPublish(): boolean {
    return this.#client.canSend;
  }

  /**
   * Logs a line to the platform: `info` becomes `INF|<time>|<message>`. Lines are collected and uploaded together;
   * lines beyond the limits are dropped and counted. With an outbox, lines that cannot be uploaded are queued there
   * while it is less than half full. Accepts any value as a message, and never logs its own failures.
   * @param message strings, errors, or values that are written as JSON; joined by spaces, truncated to
   * `log.maxLineBytes`
   * @throws {IotHubError} INVALID_LOG_LEVEL
   */
  log(level: LogLevel, ...message: unknown[]): void {
    this.#log.add(level, message);
  }

  /**
   * Uploads the collected log lines, or queues them in the outbox, for instance before deep sleep.
   * @throws {IotHubError} the errors of {@link Device.publish} after its checks and, with an outbox, those of {@link
   * Device.enqueue}; the lines are kept if a later upload may succeed
   */
  async flushLog(): Promise<void> {
    await this.#log.flush();
  }

  /**
   * Closes the device: pending promises reject with DEVICE_CLOSED (a flush resolves with the reason `closed`), and the
   * key is dropped. Messages in storage stay there. The host stays open, since it may serve other devices.
   */
  close(): void {
    this.outbox?.close();
    this.#heartbeat?.close();
    this.#log.close();
    this.#client.close();
  }

  /** Bypasses an empty outbox, so that the storage is written only while the gateway is unreachable. */
  async #sendLog(lines: string, fresh: boolean): Promise<void> {
    const { outbox } = this;
    if (outbox === undefined) {
      await this.#post(logEndpoint, logContent(lines), { fresh });
      return;
    }
    await outbox.open().catch(() => {});
    if (outbox.size === 0) {
      try {
        await this.#post(logEndpoint, logContent(lines), { retry: false });
        return;
      } catch (error) {
        const errorClass = this.#classify(error as IotHubError);
        // Lines that cannot be sent at all are not kept. A rejection may be temporary, or needs evidence, as for
        // readings.
        if (errorClass === "cancelled" || (errorClass === "message" && !(error instanceof ResponseError))) throw error;
      }
    }
    if (!outbox.isHalfEmpty) {
      throw new IotHubError("OUTBOX_FULL", "The outbox is more than half full; log lines are not queued.");
    }
    await outbox.enqueue({ ...logContent(lines), endpoint: REPORT_LOG });
  }

  /** Not an async function: each pending frame costs a device half a kilobyte. */
  #post({ path, encode }: DeviceEndpoint, content: CheckedMessage, options?: PostOptions): Promise<PublishResult> {
    const { topic } = content;
    const body = encode(this, content);
    const bodyBytes = body.length;
    return this.#client.post(path, body, options).then(({ result: { requestId, status }, attempts, timing }) => {
      // Log lines have no topic.
      if (topic !== "") this.#published++;
      return { requestId, status, topic, bodyBytes, attempts, timing };
    });
  }

  #createHeartbeat(options: DeviceOptions, { intervalMs = 300000, topic: name }: HeartbeatOptions): Heartbeat {
    const topic = completeTopic(this, name);
    const { outbox } = options;
    const { storage, timer, random, clock } = this.#host;
    return new Heartbeat(
      {
        timer,
        random,
        clock,
        nowMs: () => this.#client.nowMs(),
        canPublish: () => this.canPublish(),
        send: (timeoutMs, signal) =>
          this.#sendHeartbeat(topic, { timeoutMs, signal, retry: false, waitForPause: false }),
        storage:
          outbox?.flushIntervalMs === 0 && storage !== undefined
            ? new LimitedStorage(storage, timer, options.storageTimeoutMs)
            : undefined,
        key: `${outbox?.name ?? "out"}.beat`,
      },
      intervalMs,
    );
  }

  #sendHeartbeat(topic: string, options: PostOptions): Promise<unknown> {
    // A heartbeat that arrives shows that nothing blocks messages.
    const { waiting: _, ...stats } = this.stats();
    const payload = { ...readVitals(() => this.#host.vitals?.() ?? {}), ...stats };
    const { path, encode } = publishEndpoint;
    const content = checkMessage(this, { topic, payload, qos: 0 }, this.#maxPayloadBytes);
    return this.#client.post(path, encode(this, content), options);
  }

  #createOutbox(options: DeviceOptions, outbox: OutboxOptions<PublishResult>, host: Host): Outbox<PublishResult> {
    const { storage, timer, random, clock } = host;
    if (storage === undefined) throw new IotHubError("INVALID_OPTION", "outbox needs a host with storage.");
    // The deadline of a flush and the retry budget limit its attempts.
    const given = readRetryOptions(options.retry, retryDefaults);
    const policy = options.retry === false ? given : { ...given, maxAttempts: MAX_FLUSH_ATTEMPTS };
    // A response that is not from the gateway may concern only this message: try other messages instead.
    const retryUnreadable = false;
    return new Outbox(
      {
        storage,
        timer,
        random,
        clock,
        nowMs: () => this.#client.nowMs(),
        // A closure costs a device as much as five properties.
        ...(this.#isDated && {
          isTimeKnown: () => this.#client.isTimeKnown,
          maxPayloadBytes: this.#maxPayloadBytes,
        }),
        // Not an async function: each pending promise costs a device memory.
        send: (message, request, renew) => {
          try {
            // Only readings have a topic.
            const topic = message.topic && completeTopic(this, message.topic);
            const endpoint = deviceEndpoints[message.endpoint];
            const kept = request.retry === undefined ? policy : undefined;
            const post: PostOptions =
              renew === undefined
                ? { ...request, policy: kept, retryUnreadable }
                : {
                    ...request,
                    policy: kept,
                    retryUnreadable,
                    renew: () => renew().then((content) => endpoint.encode(this, { ...content, topic })),
                  };
            return this.#post(endpoint, { ...message, topic }, post);
          } catch (error) {
            return Promise.reject(error);
          }
        },
        classify: this.#classify,
        onLogDropped: (lines) => this.#log.lost(lines),
        storageTimeoutMs: options.storageTimeoutMs,
        onEvent: options.onEvent,
      },
      outbox,
    );
  }
}

/** @param lines JSON array of strings */
function logContent(lines: string): CheckedMessage {
  return { topic: "", payload: lines, qos: 0 };
}

/** Returns the maximum bytes of a log upload: a quarter of the outbox, and not more than one stored value. */
function outboxShare(outbox: Pick<OutboxOptions, "maxBytes"> | null, storage: Storage | undefined): number {
  const { maxBytes } = storage?.outboxLimits ?? defaultOutboxLimits;
  const most = Math.min(MAX_LOG_BYTES, (storage?.maxValueBytes ?? MAX_LOG_BYTES) - LOG_HEAD_BYTES);
  return Math.max(512, Math.min(most, (outbox?.maxBytes ?? maxBytes) / 4));
}

function levelWarnings(onEvent: NonNullable<ClientOptions["onEvent"]>, region: Region | undefined) {
  const most = region === undefined || region === "ap-guangzhou" ? 6 : 10;
  let last: string | undefined;
  return (topic: string): void => {
    if (topic === last) return;
    const slashes = topic.split("/").length - 1;
    if (slashes <= most) return;
    last = topic;
    const message = `The topic has ${slashes} slashes; the platform allows ${most}.`;
    try {
      onEvent({ type: "warning", code: "TOPIC_LEVELS", message, topic });
    } catch {
      // A throwing callback must not affect delivery.
    }
  };
}

function noOutbox(): IotHubError {
  return new IotHubError("INVALID_OPTION", "The device has no outbox; set the outbox option.");
}
