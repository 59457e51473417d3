/** What readings are sent as: with their time, and many as one message. */

import { base64, base64Decode } from "../crypto/base64.js";
import { toBytes } from "../crypto/bytes.js";
import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { jsonText } from "../json.js";
import type { Message } from "../message.js";
import type { PowerOns } from "./power-on.js";
import type { OutboxMessage, StoredMessage } from "./record.js";

/** How a reading's time is written: milliseconds since 1970, or as in `"2026-11-29T12:00:00.000Z"`. */
export type TimeFormat = "milliseconds" | "iso8601";

/** A reading as {@link BatchOptions.encode} gets it. */
export interface BatchReading {
  readonly sequence: number;
  /** When it was taken, in milliseconds since 1970; undefined if that is not known and will not be. */
  readonly timeMs: number | undefined;
  /** Of a reading that was taken before the clock was set: milliseconds since the power-on. */
  readonly uptimeMs?: number;
  /** Of such a reading: the random id of its power-on. */
  readonly powerOn?: string;
  /** What was enqueued: an object for an object that JSON shows as one, else text or bytes. */
  readonly payload: Readonly<Record<string, unknown>> | string | Uint8Array;
}

/** Options of batches: how many readings become one message, and how they are encoded. */
export interface BatchOptions {
  /**
   * Readings of one message, 1 to 1000.
   * @default 20
   */
  readonly maxReadings?: number;
  /**
   * Bytes of its payload, 64 to 1 048 576, at most the device's `maxPayloadBytes`. 16 KB take about 64 KB of heap.
   * @default 2048, or 64 for each of `maxReadings` if that is more
   */
  readonly maxBytes?: number;
  /**
   * Makes the payload of one or more readings of one topic, oldest first. Text, bytes and arrays, too, then go out in
   * batches. If it throws, or gives nothing or more than `maxBytes`, `onEvent` gets an event of the type `batch`, and it is called for
   * each of these readings alone; where that fails, too, the reading is sent as it was enqueued, with its time.
   * @default a JSON array of the objects, each with its time; anything but an object is sent alone
   */
  readonly encode?: (readings: readonly BatchReading[]) => Message["payload"];
}

export interface PackOptions {
  /**
   * Member of the payload that gets the time of the reading, 1 to 64 characters. A member of that name that is there
   * already is left as it is. A reading whose time is not known has `null`. On topics that begin with `$`, the reports of
   * the thing model get `timestamp` in its place, in milliseconds, if their time is known, and all others nothing.
   * @default none; `"time"` with `batch`
   */
  readonly timeField?: string;
  /** @default "milliseconds" */
  readonly timeFormat?: TimeFormat;
  /** Sends consecutive readings of one topic and QoS as one message. `{}` for the defaults. */
  readonly batch?: BatchOptions;
}

/** What is sent in place of a stored payload. */
export interface Content {
  readonly payload: string;
  readonly payloadEncoding: "Base64" | undefined;
}

/** Readings that go out as one message. */
export interface Batch {
  readonly messages: readonly StoredMessage[];
  readonly content: Content;
  /** Of the payload, before Base64. */
  readonly bytes: number;
}

const MAX_READINGS = 20;
const MAX_BYTES = 2048;
const MAX_MISFITS = 2;
const BYTES_A_READING = 64;
/** What begins the topics of the thing model, and the member that their reports have for the time, in milliseconds. */
const REPORT_TOPICS = "$thing/up/";
const REPORT_MEMBER = '"timestamp":';
/** Characters of a time that is not known yet, in each format: the size is checked as if it were. */
const UNKNOWN_LENGTH = Object.freeze({ milliseconds: 13, iso8601: 26 });

export class Packer {
  readonly #name: string | undefined;
  /** The name as it stands in JSON, with its colon. */
  readonly #member: string;
  readonly #format: TimeFormat;
  readonly #encode: BatchOptions["encode"];
  readonly #powerOns: PowerOns;
  readonly #maxPayloadBytes: number;
  #accepted = 0;
  /** How often in a row one or two readings were rejected as a list and acknowledged as they are. */
  #misfits = 0;
  #joined = 0;
  /** Readings of one message; 0 without batches, and once the gateway has shown that it takes none. */
  maxReadings: number;
  /** Bytes of one message's payload. */
  readonly mostBytes: number;
  /** The same, as long as the gateway takes as many. */
  maxBytes: number;

  /**
   * @param maxPayloadBytes what the device allows
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

  /** Whether `encode` decides what a payload looks like, be it of one reading. */
  get isEncoding(): boolean {
    return this.#encode !== undefined;
  }

  /** Readings that were acknowledged together with another one before them. */
  get joined(): number {
    return this.#joined;
  }

  /** Bytes that the time adds to a payload that is about to be stored. */
  addedBytes({ topic, payload, isObject, timeMs }: OutboxMessage): number {
    if (!isObject || this.#name === undefined) return 0;
    const member = this.#memberOf(topic, payload as string);
    if (member === "" || hasMember(payload as string, member)) return 0;
    const format = this.#formatOf(topic);
    const time = timeMs === undefined ? UNKNOWN_LENGTH[format] : timeText(timeMs, format).length;
    return utf8(member).length + time + ((payload as string).length > 2 ? 1 : 0);
  }

  /** Whether a reading may become known to have another time before it is sent. */
  isUndated({ powerOn, uptimeMs = 0 }: StoredMessage): boolean {
    return powerOn !== undefined && this.#powerOns.timeOf(powerOn, uptimeMs) === undefined;
  }

  /** A reading by itself. */
  single(message: StoredMessage): Content {
    const { topic, payload, payloadEncoding, isObject } = message;
    if (!isObject || this.#name === undefined) return { payload, payloadEncoding };
    const member = this.#memberOf(topic, payload);
    const timeMs = this.timeOf(message);
    // A report that is not dated is dated by the platform; null is no time to it.
    const isLeftOut = member === "" || (timeMs === undefined && topic.startsWith("$"));
    if (isLeftOut || hasMember(payload, member)) return { payload, payloadEncoding };
    // What jsonText made of an object has no space in it, and ends with a brace.
    const separator = payload.length > 2 ? "," : "";
    const time = timeText(timeMs, this.#formatOf(topic));
    return { payload: payload.slice(0, -1).concat(separator, member, time, "}"), payloadEncoding: undefined };
  }

  /**
   * A reading's part of a batch in the default encoding, and its bytes once its time is known.
   * @returns undefined if it may not be in a batch
   */
  part(message: StoredMessage): { readonly text: string; readonly bytes: number } | undefined {
    if (!this.#takes(message)) return undefined;
    const text = this.single(message).payload;
    const later = this.isUndated(message) ? UNKNOWN_LENGTH[this.#format] : 0;
    return { text, bytes: utf8(text).length + later };
  }

  /** Whether a reading may be a message in the form of a batch. What `encode` makes of it shows only then. */
  fits(part: { readonly bytes: number } | undefined): boolean {
    return part !== undefined && (this.#encode !== undefined || part.bytes + 2 <= this.maxBytes);
  }

  /**
   * Readings as one message.
   * @param maxBytes what `encode` may give
   * @param texts their parts in the default encoding
   * @throws whatever `encode` throws; {IotHubError} INVALID_PAYLOAD, PAYLOAD_TOO_LARGE
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
      // In place of the first reading's, which may be bytes.
      const text = typeof given === "string" ? given : jsonText(given as object, this.#maxPayloadBytes);
      content = { payload: text, payloadEncoding: undefined };
      bytes = utf8(content.payload).length;
    } else {
      throw new IotHubError("INVALID_PAYLOAD", "outbox.batch.encode must return text, bytes or an object.");
    }
    if (bytes === 0) throw new IotHubError("INVALID_PAYLOAD", "outbox.batch.encode gave an empty payload.");
    if (bytes <= maxBytes) return { messages, content, bytes };
    throw new IotHubError("PAYLOAD_TOO_LARGE", `outbox.batch.encode gave ${bytes} bytes; the limit is ${maxBytes}.`);
  }

  /** Takes in that the gateway has acknowledged a batch. */
  accept({ messages, bytes }: Batch): void {
    this.#joined += messages.length - 1;
    if (messages.length > 1) this.#misfits = 0;
    if (bytes > this.#accepted) this.#accepted = bytes;
  }

  /** Takes in that so many bytes were too large for the gateway, unless it has acknowledged as many. */
  lower(bytes: number): void {
    if (bytes > this.#accepted) this.maxBytes = Math.min(this.maxBytes, Math.max(this.#accepted, bytes >> 1));
  }

  /**
   * Takes in that one or two readings were rejected as a list and acknowledged as they are.
   * @throws {IotHubError} INVALID_PAYLOAD once that is certain
   */
  misfit(): void {
    if (++this.#misfits < MAX_MISFITS) return;
    this.maxReadings = 0;
    throw new IotHubError(
      "INVALID_PAYLOAD",
      "The gateway rejects lists of readings, which are sent one by one from now on.",
    );
  }

  /** Takes in that one reading was too large by itself: then it was not the number that made a batch too large. */
  restore(): void {
    this.maxBytes = this.mostBytes;
  }

  /** When a reading was taken, in milliseconds since 1970; undefined if nobody knows. */
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

  /** The member for the time, with its colon; empty where the payload takes none: of the platform's forms, reports do. */
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

/** Whether the JSON of an object has a member, or is none that a member could be added to. It is parsed only where it may. */
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
 * For {@link BatchOptions.encode}: `{"t0":1796000000000,"dt":[0,10000],"temperature":[21.5,21.6]}`. `dt` are milliseconds
 * since `t0`, the time of the first reading that has one; what a reading lacks is null.
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
  return new IotHubError("INVALID_PAYLOAD", "Columns are made of objects without members t0 and dt.");
}
