/** Encodes readings for sending: with their time, and several as one message. */

import { base64, base64Decode } from "../crypto/base64.js";
import { toBytes } from "../crypto/bytes.js";
import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { jsonText } from "../json.js";
import type { Message } from "../message.js";
import type { PowerOns } from "./power-on.js";
import type { OutboxMessage, StoredMessage } from "./record.js";

/** Format of a reading's time: milliseconds since 1970, or `"2026-11-29T12:00:00.000Z"`. */
export type TimeFormat = "milliseconds" | "iso8601";

/** A reading passed to {@link BatchOptions.encode}. */
export interface BatchReading {
  readonly sequence: number;
  /** Time of the reading, in milliseconds since 1970; undefined if it is not known. */
  readonly timeMs: number | undefined;
  /** For a reading taken before the clock was set: milliseconds since power-on. */
  readonly uptimeMs?: number;
  /** For such a reading: random id of its power-on. */
  readonly powerOn?: string;
  /** The enqueued payload: an object if its JSON is an object, otherwise text or bytes. */
  readonly payload: Readonly<Record<string, unknown>> | string | Uint8Array;
}

/** Options of batches: limits and encoding. */
export interface BatchOptions {
  /**
   * Maximum number of readings in one message, 1 to 1000.
   * @default 20
   */
  readonly maxReadings?: number;
  /**
   * Maximum payload of a batch in bytes, 64 to 1 048 576, and at most the device's `maxPayloadBytes`. 16 KB take about
   * 64 KB of heap.
   * @default the larger of 2048 and 64 × `maxReadings`
   */
  readonly maxBytes?: number;
  /**
   * Encodes one or more readings of one topic, oldest first, as one payload. With it, text, bytes and arrays are
   * batched as well. If it throws, or returns nothing or more than `maxBytes`, `onEvent` gets an event of type `batch`,
   * and the function is called for each of these readings alone; if that fails too, the reading is sent as it was
   * enqueued, with its time.
   * @default a JSON array of the objects, each with its time; readings that are not objects are sent alone
   */
  readonly encode?: (readings: readonly BatchReading[]) => Message["payload"];
}

/** Options of an outbox that determine how readings are encoded. */
export interface PackOptions {
  /**
   * Name of the payload member for the reading's time, 1 to 64 characters. An existing member of that name is not
   * changed. An unknown time is `null`. On topics that begin with `$`, thing model reports get `timestamp` instead, in
   * milliseconds, if the time is known; other payloads get no time.
   * @default none, or `"time"` with `batch`
   */
  readonly timeField?: string;
  /** Format of `timeField`. @default "milliseconds" */
  readonly timeFormat?: TimeFormat;
  /** Sends consecutive readings of one topic and QoS as one message; `{}` uses the defaults. @default none */
  readonly batch?: BatchOptions;
}

/** Encoded payload that is sent instead of the stored one. */
export interface Content {
  readonly payload: string;
  readonly payloadEncoding: "Base64" | undefined;
}

/** Readings sent as one message. */
export interface Batch {
  readonly messages: readonly StoredMessage[];
  readonly content: Content;
  /** Size of the payload before Base64. */
  readonly bytes: number;
}

const MAX_READINGS = 20;
const MAX_BYTES = 2048;
const MAX_MISFITS = 2;
const BYTES_A_READING = 64;
/** Prefix of thing model topics, and the member for the time in their reports, in milliseconds. */
const REPORT_TOPICS = "$thing/up/";
const REPORT_MEMBER = '"timestamp":';
/** Length in characters of a time that is not known yet: size checks count it. */
const UNKNOWN_LENGTH = Object.freeze({ milliseconds: 13, iso8601: 26 });

export class Packer {
  readonly #name: string | undefined;
  /** The JSON-encoded name with a colon. */
  readonly #member: string;
  readonly #format: TimeFormat;
  readonly #encode: BatchOptions["encode"];
  readonly #powerOns: PowerOns;
  readonly #maxPayloadBytes: number;
  #accepted = 0;
  /** Number of consecutive times that one or two readings were rejected as an array but acknowledged alone. */
  #misfits = 0;
  #joined = 0;
  /** Maximum readings per message; 0 without batches, or once the gateway is known to reject them. */
  maxReadings: number;
  /** Configured maximum payload in bytes. */
  readonly mostBytes: number;
  /** Current maximum payload in bytes, lowered when the gateway rejects the size. */
  maxBytes: number;

  /**
   * @param maxPayloadBytes limit of the device
   * @throws {IotHubError} INVALID_OPTION
   */
  constructor({ timeField, timeFormat, batch }: PackOptions, powerOns: PowerOns, maxPayloadBytes: number) {
    const name = timeField ?? (batch === undefined ? undefined : "time");
    if (name !== undefined && (name === "" || name.length > 64)) {
      throw new IotHubError("INVALID_OPTION", "outbox.timeField must have 1 to 64 characters.");
    }
    if (timeFormat !== undefined && timeFormat !== "milliseconds" && timeFormat !== "iso8601") {
      throw new IotHubError("INVALID_OPTION", 'outbox.timeFormat must be "milliseconds" or "iso8601".');
    }
    const { maxReadings = MAX_READINGS, maxBytes, encode } = batch ?? {};
    if (maxBytes !== undefined && maxBytes > maxPayloadBytes) {
      throw new IotHubError(
        "INVALID_OPTION",
        `outbox.batch.maxBytes must not exceed maxPayloadBytes, ${maxPayloadBytes}.`,
      );
    }
    this.#name = name;
    this.#member = name === undefined ? "" : `${JSON.stringify(name)}:`;
    this.#format = timeFormat ?? "milliseconds";
    this.#encode = encode;
    this.#powerOns = powerOns;
    this.#maxPayloadBytes = maxPayloadBytes;
    this.maxReadings = batch === undefined ? 0 : maxReadings;
    this.mostBytes = maxBytes ?? Math.min(maxPayloadBytes, Math.max(MAX_BYTES, maxReadings * BYTES_A_READING));
    this.maxBytes = this.mostBytes;
  }

  /** Whether payloads are encoded by `encode`, also those of single readings. */
  get isEncoding(): boolean {
    return this.#encode !== undefined;
  }

  /** Readings acknowledged in batches, without the first of each batch. */
  get joined(): number {
    return this.#joined;
  }

  /** Returns the number of bytes that the time will add to a payload. */
  addedBytes({ topic, payload, isObject, timeMs }: OutboxMessage): number {
    if (!isObject || this.#name === undefined) return 0;
    const member = this.#memberOf(topic, payload as string);
    if (member === "" || hasMember(payload as string, member)) return 0;
    const format = this.#formatOf(topic);
    const time = timeMs === undefined ? UNKNOWN_LENGTH[format] : timeText(timeMs, format).length;
    return utf8(member).length + time + ((payload as string).length > 2 ? 1 : 0);
  }

  /** Whether the time of a reading may still become known before it is sent. */
  isUndated({ powerOn, uptimeMs = 0 }: StoredMessage): boolean {
    return powerOn !== undefined && this.#powerOns.timeOf(powerOn, uptimeMs) === undefined;
  }

  /** Encodes a single reading. */
  single(message: StoredMessage): Content {
    const { topic, payload, payloadEncoding, isObject } = message;
    if (!isObject || this.#name === undefined) return { payload, payloadEncoding };
    const member = this.#memberOf(topic, payload);
    const timeMs = this.timeOf(message);
    // The platform dates a report without a time, and does not accept null.
    const isLeftOut = member === "" || (timeMs === undefined && topic.startsWith("$"));
    if (isLeftOut || hasMember(payload, member)) return { payload, payloadEncoding };
    // The JSON of an object ends with a brace, and has no spaces.
    const separator = payload.length > 2 ? "," : "";
    const time = timeText(timeMs, this.#formatOf(topic));
    return { payload: payload.slice(0, -1).concat(separator, member, time, "}"), payloadEncoding: undefined };
  }

  /**
   * Returns a reading's element of a batch in the default encoding, and its size once its time is known.
   * @returns undefined if it cannot be in a batch
   */
  part(message: StoredMessage): { readonly text: string; readonly bytes: number } | undefined {
    if (!this.#takes(message)) return undefined;
    const text = this.single(message).payload;
    const later = this.isUndated(message) ? UNKNOWN_LENGTH[this.#format] : 0;
    return { text, bytes: utf8(text).length + later };
  }

  /** Whether a reading fits into a batch of one. With `encode`, the size is known only after encoding. */
  fits(part: { readonly bytes: number } | undefined): boolean {
    return part !== undefined && (this.#encode !== undefined || part.bytes + 2 <= this.maxBytes);
  }

  /**
   * Encodes readings as one message.
   * @param maxBytes limit of what `encode` may return
   * @param texts their elements in the default encoding
   * @throws {IotHubError} INVALID_PAYLOAD, PAYLOAD_TOO_LARGE; and the errors of `encode`
   */
  batch(
    messages: readonly StoredMessage[],
    maxBytes: number,
    texts: readonly string[] = messages.map((message) => this.single(message).payload),
  ): Batch {
    const encode = this.#encode;
    if (encode === undefined) {
      const payload = `[${texts.join(",")}]`;
      return { messages, content: { payload, payloadEncoding: undefined }, bytes: utf8(payload).length };
    }
    const given: unknown = encode(messages.map((message) => this.#reading(message)));
    const isObject = typeof given === "object" && given !== null;
    const binary = isObject && !Array.isArray(given) ? toBytes(given) : undefined;
    let content: Content;
    let bytes: number;
    if (binary !== undefined) {
      content = { payload: base64(binary), payloadEncoding: "Base64" };
      bytes = binary.length;
    } else if (typeof given === "string" || isObject) {
      // Replaces the first reading's encoding, which may be Base64.
      const text = typeof given === "string" ? given : jsonText(given as object, this.#maxPayloadBytes);
      content = { payload: text, payloadEncoding: undefined };
      bytes = utf8(content.payload).length;
    } else {
      throw new IotHubError("INVALID_PAYLOAD", "outbox.batch.encode must return text, bytes or an object.");
    }
    if (bytes === 0) throw new IotHubError("INVALID_PAYLOAD", "outbox.batch.encode returned an empty payload.");
    if (bytes <= maxBytes) return { messages, content, bytes };
    throw new IotHubError(
      "PAYLOAD_TOO_LARGE",
      `outbox.batch.encode returned ${bytes} bytes; the limit is ${maxBytes}.`,
    );
  }

  /** Notes that the gateway acknowledged a batch. */
  accept({ messages, bytes }: Batch): void {
    this.#joined += messages.length - 1;
    if (messages.length > 1) this.#misfits = 0;
    if (bytes > this.#accepted) this.#accepted = bytes;
  }

  /** Lowers the limit after the gateway rejected a batch for its size, unless it has acknowledged one as large. */
  lower(bytes: number): void {
    if (bytes > this.#accepted) this.maxBytes = Math.min(this.maxBytes, Math.max(this.#accepted, bytes >> 1));
  }

  /**
   * Notes that one or two readings were rejected as an array but acknowledged alone.
   * @throws {IotHubError} INVALID_PAYLOAD when batches are given up
   */
  misfit(): void {
    if (++this.#misfits < MAX_MISFITS) return;
    this.maxReadings = 0;
    throw new IotHubError(
      "INVALID_PAYLOAD",
      "The gateway rejects arrays of readings; they are sent one by one from now on.",
    );
  }

  /** Restores the limit after a single reading was too large: the batch was not rejected for its number of readings. */
  restore(): void {
    this.maxBytes = this.mostBytes;
  }

  /** Returns the time of a reading, in milliseconds since 1970; undefined if it is not known. */
  timeOf({ timeMs, powerOn, uptimeMs = 0 }: StoredMessage): number | undefined {
    return powerOn === undefined ? timeMs : this.#powerOns.timeOf(powerOn, uptimeMs);
  }

  #reading(message: StoredMessage): BatchReading {
    const { sequence, uptimeMs, powerOn, payload, payloadEncoding, isObject } = message;
    const value = isObject ? JSON.parse(payload) : payloadEncoding === undefined ? payload : base64Decode(payload);
    return { sequence, timeMs: this.timeOf(message), uptimeMs, powerOn, payload: value };
  }

  #takes({ endpoint, topic, isObject }: StoredMessage): boolean {
    if (endpoint !== 0 || topic.startsWith("$")) return false;
    return isObject === true || (this.#encode !== undefined && this.#encode !== columns);
  }

  /**
   * Returns the member for the time, with a colon; empty if the payload gets no time. Of the `$` topics, only reports
   * do.
   */
  #memberOf(topic: string, payload: string): string {
    if (!topic.startsWith("$")) return this.#member;
    const isReport =
      topic.startsWith(REPORT_TOPICS) &&
      (payload.includes('"method":"report"') || payload.includes('"method":"event_post"'));
    return isReport ? REPORT_MEMBER : "";
  }

  #formatOf(topic: string): TimeFormat {
    return topic.startsWith("$") ? "milliseconds" : this.#format;
  }
}

/** Whether the JSON of an object already has a member, or cannot take one. Parses only if the name occurs in it. */
function hasMember(json: string, member: string): boolean {
  if (!json.includes(member)) return false;
  try {
    return Object.hasOwn(JSON.parse(json), JSON.parse(member.slice(0, -1)));
  } catch {
    return true;
  }
}

function timeText(timeMs: number | undefined, format: TimeFormat): string {
  if (timeMs === undefined) return "null";
  return format === "iso8601" ? `"${new Date(timeMs).toISOString()}"` : String(Math.floor(timeMs));
}

/**
 * Encodes readings by column, for {@link BatchOptions.encode}:
 * `{"t0":1796000000000,"dt":[0,10000],"temperature":[21.5,21.6]}`. `t0` is the time of the first dated reading, `dt`
 * are milliseconds since `t0`; missing values are null.
 * @example
 *   const device = new Device({ productId, deviceName, credential, outbox: { batch: { encode: columns } } });
 * @throws {IotHubError} INVALID_PAYLOAD for members `t0` and `dt`, and for anything but an object
 */
export function columns(readings: readonly BatchReading[]): string {
  const lists = new Map<string, unknown[]>();
  const t0 = readings.find(({ timeMs }) => timeMs !== undefined)?.timeMs;
  const dt: (number | null)[] = [];
  for (let i = 0; i < readings.length; i++) {
    const { timeMs, payload } = readings[i];
    if (typeof payload !== "object" || payload instanceof Uint8Array) throw notColumns();
    dt.push(timeMs === undefined || t0 === undefined ? null : timeMs - t0);
    for (const name of Object.keys(payload)) {
      if (name === "t0" || name === "dt") throw notColumns();
      let list = lists.get(name);
      if (list === undefined) {
        list = [];
        lists.set(name, list);
      }
      while (list.length < i) list.push(null);
      list.push(payload[name]);
    }
  }
  let text = `{"t0":${t0 ?? null},"dt":${JSON.stringify(dt)}`;
  for (const [name, list] of lists) {
    while (list.length < readings.length) list.push(null);
    text += `,${JSON.stringify(name)}:${JSON.stringify(list)}`;
  }
  return `${text}}`;
}

function notColumns(): IotHubError {
  return new IotHubError("INVALID_PAYLOAD", "Columns need payloads that are objects without members t0 and dt.");
}
