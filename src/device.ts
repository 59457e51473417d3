/** The one class that users meet. */

import { Client, type ClientOptions, type RequestOptions, type RequestTiming } from "./client.js";
import { type Region, readEndpoint } from "./endpoint.js";
import { IotHubError } from "./errors.js";
import type { Host } from "./host.js";
import { LOG_PATH, Log, type LogLevel, type LogOptions, logBody } from "./log.js";
import { checkIdentity, DEFAULT_MAX_PAYLOAD_BYTES, type Identity, type Message, publishBody } from "./message.js";
import { type Credential, createSigner, isSigner, type Signer } from "./signature.js";

export interface DeviceOptions extends Identity, ClientOptions {
  /** The device's psk, its private key, or a signer of one's own. */
  readonly credential: Credential | Signer;
  /** `"ap-guangzhou"` unless a region or a url is given. */
  readonly region?: Region;
  /** Scheme, host and port of a deployment of one's own, or of a local gateway. */
  readonly url?: string;
  /** Limit of a payload in bytes before Base64; 16 384 unless given. */
  readonly maxPayloadBytes?: number;
  /** Limits of {@link Device.log}. */
  readonly log?: LogOptions;
}

export interface PublishResult {
  /** What the gateway calls this request; name it when asking the platform's support. */
  readonly requestId: string;
  /** HTTP status. */
  readonly status: number;
  /** The topic as it was sent. */
  readonly topic: string;
  /** Bytes of the request's body. */
  readonly bodyBytes: number;
  /** Where the time went. */
  readonly timing: RequestTiming;
}

export class Device {
  readonly productId: string;
  readonly deviceName: string;
  readonly #client: Client;
  readonly #maxPayloadBytes: number;
  readonly #log: Log;

  /**
   * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_REGION, INVALID_URL, INVALID_LOG_LEVEL,
   * INVALID_OPTION, and what {@link createSigner} throws
   */
  constructor(options: DeviceOptions, host: Host) {
    if (typeof options !== "object" || options === null) {
      throw new IotHubError("INVALID_OPTION", "A device needs options with productId, deviceName and credential.");
    }
    checkIdentity(options);
    const { maxPayloadBytes = DEFAULT_MAX_PAYLOAD_BYTES, credential } = options;
    if (!Number.isInteger(maxPayloadBytes) || maxPayloadBytes < 1) {
      throw new IotHubError("INVALID_OPTION", "maxPayloadBytes must be a positive integer.");
    }
    const endpoint = readEndpoint(options.region, options.url);
    if (credential !== null && typeof credential === "object" && "secret" in credential) checkPsk(credential.secret);
    const signer = isSigner(credential) ? credential : createSigner(credential, host);
    this.productId = options.productId;
    this.deviceName = options.deviceName;
    this.#maxPayloadBytes = maxPayloadBytes;
    const log = new Log({ clock: host.clock, timer: host.timer, send: (lines) => this.#sendLog(lines) }, options.log);
    this.#log = log;
    const { onEvent } = options;
    const guarded: typeof onEvent =
      onEvent && ((event) => (event.path === LOG_PATH ? log.silently(() => onEvent(event)) : onEvent(event)));
    this.#client = new Client(endpoint, signer, host, { ...options, onEvent: guarded });
  }

  /**
   * Publishes one message and resolves when the gateway has taken it.
   * @throws {IotHubError} before anything is sent: INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS,
   * INVALID_ENCODING, INVALID_PAYLOAD, PAYLOAD_TOO_LARGE, INVALID_OPTION; afterwards what {@link Client.post} throws
   */
  async publish(message: Message, options?: RequestOptions): Promise<PublishResult> {
    const { topic, body } = publishBody(this, message, this.#maxPayloadBytes);
    const { answer, timing } = await this.#client.post("/device/publish", body, options);
    return { requestId: answer.requestId, status: answer.status, topic, bodyBytes: body.length, timing };
  }

  /**
   * Logs a line to the platform: `info` becomes `INF|<time>|<message>`. Lines are gathered and sent together; what is
   * too much is dropped and counted. Never throws for what it is given as a message, and never reports its own failures.
   * @param message texts, errors, or values that are shown as JSON; joined by spaces, cut at `log.maxLineBytes`
   * @throws {IotHubError} INVALID_LOG_LEVEL
   */
  log(level: LogLevel, ...message: unknown[]): void {
    this.#log.add(level, message);
  }

  /**
   * Sends the log lines that have been gathered, for instance before deep sleep.
   * @throws {IotHubError} what {@link Client.post} throws; lines stay if a later upload may succeed
   */
  async flushLog(): Promise<void> {
    await this.#log.flush();
  }

  /** Rejects what is under way with DEVICE_CLOSED and drops the key. The host stays open: it may serve other devices. */
  close(): void {
    this.#log.close();
    this.#client.close();
  }

  async #sendLog(lines: readonly string[]): Promise<void> {
    await this.#client.post(LOG_PATH, logBody(this, lines));
  }
}

/**
 * A psk of the platform is Base64 of whole bytes, and its text is the key: one that lost its padding on the way from
 * the console signs well and is always refused. Short texts are left alone, as a deployment of one's own may use any.
 */
function checkPsk(secret: unknown): void {
  if (typeof secret === "string" && secret.length >= 16 && secret.length % 4 !== 0 && /^[A-Za-z0-9+/]+$/.test(secret)) {
    throw new IotHubError(
      "INVALID_CREDENTIAL",
      "The psk seems to have lost its trailing = signs; copy it again from the console, all of it.",
    );
  }
}
