/** The one class that users meet. */

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
  /** The device's psk, its private key, or a custom signer. */
  readonly credential: Credential | Signer;
  /** `"ap-guangzhou"` unless a region or a url is given. */
  readonly region?: Region;
  /** Scheme, host and port of a private deployment or a local gateway. */
  readonly url?: string;
  /** Limit of a payload in bytes before Base64. @default 16384 */
  readonly maxPayloadBytes?: number;
  /** Limits of {@link Device.log}. */
  readonly log?: LogOptions;
  /** Keeps what {@link Device.enqueue} is given until it is delivered. Needs a host with storage. */
  readonly outbox?: OutboxOptions<PublishResult>;
  /**
   * Publishes {@link Device.stats} with {@link Host.vitals} from time to time, as the platform has no last will. Heartbeats
   * are never stored, not sent again, and left out while {@link Device.canPublish} says no; their QoS is 0. With an outbox
   * whose `flushIntervalMs` is 0, for deep sleep, one follows a flush when it is due.
   */
  readonly heartbeat?: HeartbeatOptions;
}

/** A message with the time of its reading. */
export interface Reading extends Message {
  /**
   * When the reading was taken, in milliseconds since 1970. `outbox.timeField` and `outbox.batch` send it along.
   * @default now; if the clock has not been set yet, what now turns out to have been
   */
  readonly timeMs?: number;
}

/** The gateway's acknowledgement of a message, and what it took to get it. */
export interface PublishResult {
  /** What the gateway calls this request; name it when asking the platform's support. */
  readonly requestId: string;
  /** HTTP status. */
  readonly status: number;
  /** The topic as it was sent. */
  readonly topic: string;
  /** Bytes of the request's body. */
  readonly bodyBytes: number;
  /** How often the request was sent. */
  readonly attempts: number;
  /** Where the time went. */
  readonly timing: RequestTiming;
}

const MAX_FLUSH_ATTEMPTS = 1000;
/** What a stored upload of the log has besides its lines, and a little more. */
const LOG_HEAD_BYTES = 64;

/**
 * A device: publishes messages one at a time, keeps readings in an outbox, and sends its log.
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
  /** Whether readings are sent with their time. */
  readonly #isDated: boolean;
  /** What waits to be delivered; undefined unless the options have `outbox`. */
  readonly outbox: Outbox<PublishResult> | undefined;
  /** Warns of a topic with too many levels; undefined unless somebody listens. */
  readonly #warnOf: ((topic: string) => void) | undefined;
  readonly #heartbeat: Heartbeat | undefined;

  /**
   * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_REGION, INVALID_URL, INVALID_LOG_LEVEL,
   * INVALID_OPTION, what {@link createSigner} throws, and for the heartbeat's topic INVALID_TOPIC, TOPIC_WILDCARD,
   * TOPIC_TOO_LONG
   */
  constructor(options: DeviceOptions, host: Host) {
    if (typeof options !== "object" || options === null) {
      throw new IotHubError("INVALID_OPTION", "A device needs options with productId, deviceName and credential.");
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
    // The key is the signer's alone: nothing else refers to it any more once the signer is closed.
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
   * Publishes one message and resolves when the gateway has taken it.
   * @throws {IotHubError} before anything is sent: INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS,
   * INVALID_ENCODING, INVALID_PAYLOAD, PAYLOAD_TOO_LARGE, INVALID_OPTION; afterwards what {@link Client.post} throws
   */
  publish(message: Message, options?: RequestOptions): Promise<PublishResult> {
    // Not an async function: one of these costs a device half a kilobyte while it waits.
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
   * Puts a message into the outbox and resolves when it is safe in storage. Where the storage takes no more writes in this
   * life (STORAGE_STOPPED), it is sent at once and the promise resolves when the gateway has acknowledged it.
   *
   * A message is one value of the storage, so on a board the payload has at most about 3 900 bytes of text or 2 970 bytes.
   * @throws {IotHubError} INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS, INVALID_ENCODING, INVALID_PAYLOAD,
   * PAYLOAD_TOO_LARGE, INVALID_TIMESTAMP; what {@link Outbox.enqueue} rejects with; INVALID_OPTION if the device has no
   * outbox
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
    // Text is the app's, whatever it looks like.
    const isObject = typeof reading.payload === "object" && typeof payload === "string" && payload.startsWith("{");
    return this.outbox.enqueue({ topic: reading.topic, payload, qos, timeMs, isObject, endpoint: PUBLISH });
  }

  /**
   * Delivers what is in the outbox, in order, until it is empty, the time is up, or going on makes no sense.
   * @throws {IotHubError} STORAGE_FAILED, DEVICE_CLOSED; INVALID_OPTION, also if the device has no outbox
   */
  async flush(options?: FlushOptions): Promise<FlushResult> {
    if (this.outbox === undefined) throw noOutbox();
    const flushed = this.outbox.flush(options);
    return this.#heartbeat === undefined ? flushed : this.#heartbeat.follow(flushed, options ?? {});
  }

  /** What became of messages so far, and what the device waits for. Reads nothing but memory. */
  stats(): DeviceStats {
    const outbox = this.outbox;
    const client = this.#client;
    const host = this.#host;
    const monotonicMs = host.clock.monotonicMs();
    const nowMs = client.nowMs();
    // From monotonic time to the time as it is known by now: the clock may have been set since.
    const offsetMs = nowMs - monotonicMs;
    // No constant in place of the objects: XS makes no JSON of one that lies in read-only memory.
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
   * Whether a publish would go out now, or right after the request that is under way: false during a pause that the
   * gateway asked for, a backoff, the wait for the time, or while the rate limit is used up or others wait already.
   * Whether the network is there shows only when something is sent.
   */
  canPublish(): boolean {
    return this.#client.canSend;
  }

  /**
   * Logs a line to the platform: `info` becomes `INF|<time>|<message>`. Lines are gathered and sent together; what is
   * too much is dropped and counted. With an outbox, lines that cannot be sent wait there, while it is less than half full.
   * Never throws for what it is given as a message, and never reports its own failures.
   * @param message texts, errors, or values that are shown as JSON; joined by spaces, cut at `log.maxLineBytes`
   * @throws {IotHubError} INVALID_LOG_LEVEL
   */
  log(level: LogLevel, ...message: unknown[]): void {
    this.#log.add(level, message);
  }

  /**
   * Sends the log lines that have been gathered, or puts them into the outbox, for instance before deep sleep.
   * @throws {IotHubError} what {@link Client.post} throws; lines stay if a later upload may succeed
   */
  async flushLog(): Promise<void> {
    await this.#log.flush();
  }

  /** Rejects what is under way with DEVICE_CLOSED and drops the key. The host stays open: it may serve other devices. */
  close(): void {
    this.outbox?.close();
    this.#heartbeat?.close();
    this.#log.close();
    this.#client.close();
  }

  /** Past the outbox while nothing waits there: its storage is written only while the gateway is out of reach. */
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
        // What cannot be sent at all is not kept. A rejection may pass, or needs evidence, as that of a reading does.
        if (errorClass === "cancelled" || (errorClass === "message" && !(error instanceof ResponseError))) throw error;
      }
    }
    if (!outbox.isHalfEmpty) {
      throw new IotHubError("OUTBOX_FULL", "The outbox is more than half full; log lines are not queued.");
    }
    await outbox.enqueue({ ...logContent(lines), endpoint: REPORT_LOG });
  }

  /** Not an async function: each frame that waits costs a device half a kilobyte. */
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
    // What holds messages up is known where this arrives.
    const { waiting: _, ...stats } = this.stats();
    const payload = { ...readVitals(() => this.#host.vitals?.() ?? {}), ...stats };
    const { path, encode } = publishEndpoint;
    const content = checkMessage(this, { topic, payload, qos: 0 }, this.#maxPayloadBytes);
    return this.#client.post(path, encode(this, content), options);
  }

  #createOutbox(options: DeviceOptions, outbox: OutboxOptions<PublishResult>, host: Host): Outbox<PublishResult> {
    const { storage, timer, random, clock } = host;
    if (storage === undefined) throw new IotHubError("INVALID_OPTION", "An outbox needs a host with storage.");
    // The deadline of a flush and the budget are what limits its attempts.
    const given = readRetryOptions(options.retry, retryDefaults);
    const policy = options.retry === false ? given : { ...given, maxAttempts: MAX_FLUSH_ATTEMPTS };
    // A response that is not the gateway's may be about this message alone: others are tried in its place.
    const retryUnreadable = false;
    return new Outbox(
      {
        storage,
        timer,
        random,
        clock,
        nowMs: () => this.#client.nowMs(),
        // A function costs a device as much as five members.
        ...(this.#isDated && {
          isTimeKnown: () => this.#client.isTimeKnown,
          maxPayloadBytes: this.#maxPayloadBytes,
        }),
        // Not an async function: each promise that waits costs a device memory.
        send: (message, request, renew) => {
          try {
            // Nothing else has a topic.
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

/** @param lines a JSON array of texts */
function logContent(lines: string): CheckedMessage {
  return { topic: "", payload: lines, qos: 0 };
}

/** Of an outbox, one upload of the log takes at most a quarter; and it is one value of the storage. */
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
    const message = `The topic has ${slashes} slashes; the platform takes ${most}.`;
    try {
      onEvent({ type: "warning", code: "TOPIC_LEVELS", message, topic });
    } catch {
      // A throwing callback must not affect delivery.
    }
  };
}

function noOutbox(): IotHubError {
  return new IotHubError("INVALID_OPTION", "The device has no outbox; give it the option outbox.");
}
