/**
 * Storage format of a message: one string, since NVS writes a string atomically and needs only one entry more than its
 * bytes.
 *
 *     <version><flags><time>[,<field>…]#<topic>#<payload>
 *
 * - version: `1`. A record of a later version stays in storage for that version.
 * - flags: one base-36 digit. 1: QoS 1. 2: the payload is Base64 of bytes. 4: the payload is Base64 of text with
 *   U+0000, which an NVS string cannot contain. 8 and 16: the endpoint, 0 for readings; a later version may add more.
 * - time: time of the reading, milliseconds since 1970 in base 36. With the field `u`, milliseconds since power-on.
 * - fields: `o`: the payload is the JSON of an object, to which the time can be added. `u<id>`: the reading was taken
 *   before the clock was set, during the power-on with this id. Unknown fields are ignored: a later version may add
 *   optional ones.
 * - topic: not expanded. It has no `#`, which is a wildcard. Empty for endpoints other than 0.
 * - payload: as sent, apart from times and batches.
 *
 * No sequence number and no checksum: the key contains the former, and NVS adds the latter.
 */

import { base64, base64Decode } from "../crypto/base64.js";
import { utf8, utf8Decode } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";

/** A message in the outbox. */
export interface StoredMessage {
  /**
   * Sequence number: increases during a run, and is unique among queued messages. After a restart it continues above
   * the highest queued one, so the number of a deleted message may be reused.
   */
  readonly sequence: number;
  /** Time of the reading, in milliseconds since 1970. Absent while it is not known. */
  readonly timeMs?: number;
  /** For a reading taken before the clock was set: its time in milliseconds since power-on. */
  readonly uptimeMs?: number;
  /** For such a reading: random id of its power-on. */
  readonly powerOn?: string;
  /** Topic as given: a name without a slash is expanded when the message is sent. */
  readonly topic: string;
  /** Payload as sent, without the time that `timeField` or `batch` adds: text, or Base64 of bytes. */
  readonly payload: string;
  /** Whether `payload` is the JSON of an enqueued object; only stored if readings are sent with their time. */
  readonly isObject?: boolean;
  /** `"Base64"` if `payload` is Base64 of bytes. */
  readonly payloadEncoding?: "Base64";
  readonly qos: 0 | 1;
  /** Number of its endpoint: 0 for a reading, 1 for log lines, which have no topic. */
  readonly endpoint: number;
}

/** Input of `encodeRecord`. */
export interface OutboxMessage
  extends Pick<StoredMessage, "topic" | "qos" | "endpoint" | "isObject" | "uptimeMs" | "powerOn"> {
  readonly payload: string | Uint8Array;
  /** Milliseconds since 1970. @default the device's time */
  readonly timeMs?: number;
}

/** An encoded message. */
export interface StoredRecord {
  readonly text: string;
  /** Size in storage, see {@link storedBytes}. */
  readonly bytes: number;
  readonly payloadBytes: number;
  /** Milliseconds since 1970 or, with `powerOn`, since power-on. */
  readonly timeMs: number;
  readonly powerOn?: string;
  readonly endpoint: number;
}

const VERSION = "1";
const QOS_1 = 1;
const BYTES = 2;
const TEXT_WITH_NUL = 4;
const ENDPOINT_SHIFT = 3;
const MAX_ENDPOINT = 1;
const MAX_FLAGS = 31;
const MAX_TIME_MS = 2 ** 48 - 1;
/** Base-36 digits. Looked up, since XS takes ten times as long to format a number. */
export const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";
const MAX_DIGITS = 10;
/** Powers of 36. */
const POWERS: readonly number[] = Object.freeze(Array.from({ length: MAX_DIGITS + 1 }, (_, count) => 36 ** count));
const OBJECT_FIELD = ",o";
const POWER_ON_FIELD = ",u";
/** Length of a power-on id in base-36 digits. */
export const POWER_ON_LENGTH = 5;
/** An entry of NVS has 32 bytes; a string takes one for itself, and ends with NUL (ESP-IDF, "NVS"). */
const ENTRY = 32;

/** Returns the size of a string in the NVS of an ESP32, in bytes; other storages need less. */
export function storedBytes(length: number): number {
  return ENTRY * (1 + Math.ceil((length + 1) / ENTRY));
}

/**
 * Encodes a message as a record.
 * @param maxValueBytes maximum size of a stored value in bytes
 * @param maxBytes maximum size of the record, counted like {@link storedBytes}
 * @throws {IotHubError} INVALID_TOPIC if a reading's topic does not have 1 to 255 bytes, or contains `#` or NUL;
 * PAYLOAD_TOO_LARGE
 */
export function encodeRecord(message: OutboxMessage, maxValueBytes: number, maxBytes: number): StoredRecord {
  return encodeRecordAt(message, message.timeMs ?? message.uptimeMs ?? 0, maxValueBytes, maxBytes);
}

/**
 * Same as `encodeRecord` with a given time, which saves a copy of the message.
 * @throws {IotHubError} INVALID_TOPIC, PAYLOAD_TOO_LARGE
 */
export function encodeRecordAt(
  { topic: given, payload, qos, endpoint, isObject, powerOn }: OutboxMessage,
  time: number,
  maxValueBytes: number,
  maxBytes: number,
): StoredRecord {
  const topicBytes = utf8(given);
  if (
    topicBytes.length < (endpoint === 0 ? 1 : 0) ||
    topicBytes.length > 255 ||
    given.includes("#") ||
    given.includes("\0")
  ) {
    throw new IotHubError(
      "INVALID_TOPIC",
      "The topic of a stored message must have 1 to 255 bytes, without # and NUL.",
    );
  }
  const timeMs = Math.min(MAX_TIME_MS, Math.max(0, Math.floor(time) || 0));
  const isText = typeof payload === "string";
  const bytes = isText ? utf8(payload) : payload;
  const hasNul = isText && payload.includes("\0");
  const isBase64 = !isText || hasNul;
  const flags =
    (qos === 1 ? QOS_1 : 0) | (isText ? 0 : BYTES) | (hasNul ? TEXT_WITH_NUL : 0) | (endpoint << ENDPOINT_SHIFT);
  // On XS, one concat call costs half as much as a template.
  let head = VERSION.concat(DIGITS[flags], timeMs.toString(36));
  if (isObject) head += OBJECT_FIELD;
  if (powerOn !== undefined) head += POWER_ON_FIELD + powerOn;
  const room =
    Math.min(maxValueBytes, (Math.floor(maxBytes / ENTRY) - 1) * ENTRY - 1) - head.length - topicBytes.length - 2;
  const limit = Math.max(0, isBase64 ? Math.floor(room / 4) * 3 : room);
  if (room < 0 || bytes.length > limit) {
    const what = isText ? "text" : "binary data";
    throw new IotHubError(
      "PAYLOAD_TOO_LARGE",
      `The payload has ${bytes.length} bytes; with this topic the outbox can store ${limit} bytes of ${what}.`,
    );
  }
  const content = isBase64 ? Math.ceil(bytes.length / 3) * 4 : bytes.length;
  const body = isBase64 ? base64(bytes) : wellFormed(payload, bytes);
  const text = head.concat("#", wellFormed(given, topicBytes), "#", body);
  const length = head.length + topicBytes.length + 2 + content;
  return { text, bytes: storedBytes(length), payloadBytes: bytes.length, timeMs, powerOn, endpoint };
}

/** Returns well-formed text from its UTF-8 `bytes`, in which lone surrogates are U+FFFD and pairs are combined. */
function wellFormed(text: string, bytes: Uint8Array): string {
  return bytes.length === text.length || !/[\ud800-\udfff]/.test(text) ? text : utf8Decode(bytes);
}

/**
 * Parses up to ten lower-case base-36 digits, leading zeros allowed; NaN for any other text. A digit put in front shows
 * whether all of them were parsed, which costs XS less than a regular expression.
 */
export function readDigits(digits: string): number {
  const { length } = digits;
  if (length === 0 || length > MAX_DIGITS || digits.toLowerCase() !== digits) return Number.NaN;
  const value = Number.parseInt("1".concat(digits), 36) - POWERS[length];
  return value >= 0 ? value : Number.NaN;
}

/** Decodes a record. @returns `"newer"` if a later version wrote it, undefined if it is invalid */
export function decodeRecord(sequence: number, text: string): StoredMessage | "newer" | undefined {
  const headEnd = text.indexOf("#");
  const topicEnd = text.indexOf("#", headEnd + 1);
  if (text.slice(0, 1) !== VERSION) return /^[2-9][^#]*#/.test(text) ? "newer" : undefined;
  if (headEnd < 3 || topicEnd < 0) return undefined;
  const comma = text.indexOf(",");
  const fieldsAt = comma > 0 && comma < headEnd ? comma : headEnd;
  const flags = DIGITS.indexOf(text.charAt(1));
  const digits = text.slice(2, fieldsAt);
  const timeMs = readDigits(digits);
  // Anything that the encoder does not write is invalid.
  if (flags < 0 || flags > MAX_FLAGS || !(timeMs <= MAX_TIME_MS) || (digits.startsWith("0") && digits !== "0")) {
    return undefined;
  }
  const endpoint = flags >> ENDPOINT_SHIFT;
  if (endpoint > MAX_ENDPOINT) return "newer";
  if (endpoint === 0 && topicEnd === headEnd + 1) return undefined;
  let payload = text.slice(topicEnd + 1);
  const isBytes = (flags & BYTES) !== 0;
  const hasNul = (flags & TEXT_WITH_NUL) !== 0;
  if (isBytes && (hasNul || !/^[A-Za-z0-9+/]*={0,2}$/.test(payload))) return undefined;
  if (hasNul) {
    try {
      payload = utf8Decode(base64Decode(payload));
    } catch {
      return undefined;
    }
  }
  const message: StoredMessage = {
    sequence,
    timeMs,
    topic: text.slice(headEnd + 1, topicEnd),
    payload,
    payloadEncoding: isBytes ? "Base64" : undefined,
    qos: (flags & QOS_1) === 0 ? 0 : 1,
    endpoint,
  };
  return fieldsAt === headEnd ? message : withFields(message, text.slice(fieldsAt + 1, headEnd));
}

function withFields(message: StoredMessage, fields: string): StoredMessage {
  let { timeMs, uptimeMs, powerOn, isObject, payload } = message as StoredMessage & { payload: string };
  for (const field of fields.split(",")) {
    if (field === "o") {
      isObject = payload.startsWith("{") && payload.endsWith("}");
    } else if (field.startsWith("u") && isPowerOn(field.slice(1))) {
      powerOn = field.slice(1);
      uptimeMs = timeMs;
      timeMs = undefined;
    }
  }
  return { ...message, timeMs, uptimeMs, powerOn, isObject };
}

/** Whether a string is a valid power-on id. */
export function isPowerOn(id: string): boolean {
  return id.length === POWER_ON_LENGTH && /^[0-9a-z]+$/.test(id);
}
