/**
 * How a message lies in storage: one text, since a string of NVS is one entry more than its bytes and has its old or its
 * new value after a power cut.
 *
 *     <version><flags><time>[,<field>…]#<topic>#<payload>
 *
 * - version: `1`. A later one is left in storage for the version that wrote it.
 * - flags: a digit of base 36. 1: QoS 1. 2: the payload is Base64 of bytes. 4: the payload is Base64 of text that has
 *   U+0000, which no NVS string can have. 8 and 16: the endpoint, 0 for readings; a later version may have more of them.
 * - time: of the reading, milliseconds since 1970 in base 36. With the field `u`, milliseconds since the power-on.
 * - fields: `o`: the payload is the JSON of an object, which may take the time as a member. `u<id>`: the reading was taken
 *   before the clock was set, in the power-on with this id. Others are of later versions, which this one can do without,
 *   as earlier versions can do without these; they are passed over.
 * - topic: as it was given. It has no `#`, which is a wildcard; at other endpoints it is empty.
 * - payload: as it will be sent.
 *
 * Neither number nor checksum: the key has the one, NVS the other.
 */

import { base64, base64Decode } from "../crypto/base64.js";
import { utf8, utf8Decode } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";

/** What is kept for a message. */
export interface StoredMessage {
  /**
   * Rises with each message of one life, and is different for all that wait. After a restart it goes on above the highest
   * that waits, so the number of a message that is gone may come again.
   */
  readonly sequence: number;
  /** When the reading was taken, in milliseconds since 1970. Absent while that is not known. */
  readonly timeMs?: number;
  /** Of a reading that was taken before the clock was set: when, in milliseconds since the power-on. */
  readonly uptimeMs?: number;
  /** Of such a reading: the random id of its power-on. */
  readonly powerOn?: string;
  /** As it was given: a name without a slash is completed when the message is sent. */
  readonly topic: string;
  /** As it is sent, but for the time that `timeField` and a batch add: text, or Base64 of bytes. */
  readonly payload: string;
  /** Whether `payload` is the JSON of an object that was enqueued; only kept where readings are sent with their time. */
  readonly isObject?: boolean;
  /** `"Base64"` if `payload` is Base64 of bytes. */
  readonly payloadEncoding?: "Base64";
  readonly qos: 0 | 1;
  /** Number of the endpoint that it goes to: 0 for a reading, which has a topic, 1 for lines of the log, which have none. */
  readonly endpoint: number;
}

/** What {@link encodeRecord} makes a record of. */
export interface OutboxMessage
  extends Pick<StoredMessage, "topic" | "qos" | "endpoint" | "isObject" | "uptimeMs" | "powerOn"> {
  readonly payload: string | Uint8Array;
  /** Milliseconds since 1970; the device's time by default. */
  readonly timeMs?: number;
}

/** A message on its way to the storage. */
export interface StoredRecord {
  readonly text: string;
  /** What it takes of a storage, see {@link storedBytes}. */
  readonly bytes: number;
  readonly payloadBytes: number;
  /** With `powerOn`, since then. */
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
/** Of base 36. One at a time, as XS takes ten times as long for the text of a number. */
export const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";
const MAX_DIGITS = 10;
/** 36 to the power of the index. */
const POWERS: readonly number[] = Object.freeze(Array.from({ length: MAX_DIGITS + 1 }, (_, count) => 36 ** count));
const OBJECT_FIELD = ",o";
const POWER_ON_FIELD = ",u";
/** Characters of the id of a power-on, which are digits of base 36. */
export const POWER_ON_LENGTH = 5;
/** An entry of NVS has 32 bytes; a string takes one for itself, and ends with NUL (ESP-IDF, "NVS"). */
const ENTRY = 32;

/** What a text of so many bytes takes of the NVS of an ESP32; other storages take less. */
export function storedBytes(length: number): number {
  return ENTRY * (1 + Math.ceil((length + 1) / ENTRY));
}

/**
 * The record of a message.
 * @param maxValueBytes what a value may have
 * @param maxBytes what the record may take, counted as {@link storedBytes} does
 * @throws {IotHubError} INVALID_TOPIC if the topic of a reading has not 1 to 255 bytes, or has `#` or NUL; PAYLOAD_TOO_LARGE
 */
export function encodeRecord(message: OutboxMessage, maxValueBytes: number, maxBytes: number): StoredRecord {
  return encodeRecordAt(message, message.timeMs ?? message.uptimeMs ?? 0, maxValueBytes, maxBytes);
}

/** The same with a time in place of the message's own, so that no device has to copy the message. */
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
  // On XS one call costs half of what a template does.
  let head = VERSION.concat(DIGITS[flags], timeMs.toString(36));
  if (isObject) head += OBJECT_FIELD;
  if (powerOn !== undefined) head += POWER_ON_FIELD + powerOn;
  const room =
    Math.min(maxValueBytes, (Math.floor(maxBytes / ENTRY) - 1) * ENTRY - 1) - head.length - topicBytes.length - 2;
  const limit = Math.max(0, isBase64 ? Math.floor(room / 4) * 3 : room);
  if (room < 0 || bytes.length > limit) {
    const what = isText ? "text" : "bytes";
    throw new IotHubError(
      "PAYLOAD_TOO_LARGE",
      `The payload has ${bytes.length} bytes; with this topic the outbox takes ${limit} bytes of ${what} at most.`,
    );
  }
  const content = isBase64 ? Math.ceil(bytes.length / 3) * 4 : bytes.length;
  const body = isBase64 ? base64(bytes) : wellFormed(payload, bytes);
  const text = head.concat("#", wellFormed(given, topicBytes), "#", body);
  const length = head.length + topicBytes.length + 2 + content;
  return { text, bytes: storedBytes(length), payloadBytes: bytes.length, timeMs, powerOn, endpoint };
}

/** The text of `bytes`, its UTF-8: a half of a character has become U+FFFD, or one with its other half. */
function wellFormed(text: string, bytes: Uint8Array): string {
  return bytes.length === text.length || !/[\ud800-\udfff]/.test(text) ? text : utf8Decode(bytes);
}

/**
 * The number that up to ten lower-case digits of base 36 make, with zeros before it or not; NaN for any other text. The
 * digit that is put before them shows whether all of them were read, for less than a regular expression costs XS.
 */
export function readDigits(digits: string): number {
  const { length } = digits;
  if (length === 0 || length > MAX_DIGITS || digits.toLowerCase() !== digits) return Number.NaN;
  const value = Number.parseInt("1".concat(digits), 36) - POWERS[length];
  return value >= 0 ? value : Number.NaN;
}

/** What a record says of its message; `"newer"` if a later version wrote it, undefined if it makes no sense. */
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
  // Whatever is not exactly what it was written as makes no sense.
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

/** Whether a text may be the id of a power-on. */
export function isPowerOn(id: string): boolean {
  return id.length === POWER_ON_LENGTH && /^[0-9a-z]+$/.test(id);
}
