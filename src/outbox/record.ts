/**
 * How a message lies in storage: cut into parts that fit a value, each with its own checksum.
 *
 * A part, all numbers big endian:
 *
 *     0  version, 1
 *     1  CRC-32 of everything else in the part, version first, 4 bytes
 *     5  sequence number of the message, 6 bytes
 *    11  number of the part, from 0
 *    12  content
 *
 * The parts' contents, joined:
 *
 *     0  flags: bit 0 is the QoS, bit 1 says that the payload is bytes, bits 4 to 7 are the kind
 *     1  the reading's time, milliseconds since 1970, 6 bytes
 *     7  length of the topic in bytes
 *     8  length of the payload in bytes, 4 bytes
 *    12  topic, payload
 *
 * Byte 0 and the checksum stay where they are in every later version.
 */

import { crc32 } from "../crypto/crc32.js";
import { utf8, utf8Decode } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import { storageLimits } from "../host.js";

/** What is kept for a message. */
export interface StoredMessage {
  /** Counts the messages of an outbox; it never goes back, but may skip numbers after a restart. */
  readonly sequence: number;
  /** When the reading was taken, in milliseconds since 1970. */
  readonly timeMs: number;
  /** As it was given: a name without a slash is completed when the message is sent. */
  readonly topic: string;
  /** Text goes as it is, bytes as Base64. */
  readonly payload: string | Uint8Array;
  readonly qos: 0 | 1;
  /** 0: published. Others are the device's own. */
  readonly kind: number;
}

/** What the first part of a message tells. */
export interface RecordHead {
  readonly timeMs: number;
  readonly parts: number;
  /** What the message takes of a storage, see {@link storedBytes}. */
  readonly bytes: number;
}

const VERSION = 1;
const PART_HEAD = 12;
const CONTENT_HEAD = 12;
const PART_CONTENT = storageLimits.valueBytes - PART_HEAD;
/** As many as one base-36 digit of a key counts. */
export const MAX_PARTS = 36;
/** As eight base-36 digits of a key count: 4000 years at 20 a second. */
export const MAX_SEQUENCE = 36 ** 8 - 1;
const MAX_TIME_MS = 2 ** 48 - 1;
/** An entry of NVS is 32 bytes; a value takes two for itself, or three where it crosses a page (ESP-IDF, "NVS"). */
const ENTRY = 32;
const VALUE_ENTRIES = 3;

/** What a value takes of a non-volatile storage on an ESP32, at most; other storages take less. */
export function valueCost(length: number): number {
  return ENTRY * (VALUE_ENTRIES + Math.ceil(length / ENTRY));
}

/** What a message takes of a storage: counted as NVS does, in whole entries, with those that a value needs for itself. */
function storedBytes(content: number): number {
  const whole = Math.floor(content / PART_CONTENT);
  const rest = content - whole * PART_CONTENT;
  return whole * valueCost(storageLimits.valueBytes) + (rest > 0 ? valueCost(PART_HEAD + rest) : 0);
}

/**
 * A message as the values of its parts.
 * @throws {IotHubError} INVALID_TOPIC if the topic has not 1 to 255 bytes
 */
export function encodeRecord(message: StoredMessage): { head: RecordHead; parts: Uint8Array[] } {
  const topic = utf8(message.topic);
  if (topic.length < 1 || topic.length > 255) {
    throw new IotHubError("INVALID_TOPIC", "The topic of a stored message must have 1 to 255 bytes.");
  }
  const text = typeof message.payload === "string";
  const payload = text ? utf8(message.payload as string) : (message.payload as Uint8Array);
  const length = CONTENT_HEAD + topic.length + payload.length;
  const count = Math.ceil(length / PART_CONTENT);
  const timeMs = Math.min(MAX_TIME_MS, Math.max(0, Math.floor(message.timeMs) || 0));
  const parts: Uint8Array[] = [];
  for (let part = 0; part < count; part++) {
    const begin = part * PART_CONTENT;
    const end = Math.min(length, begin + PART_CONTENT);
    const value = new Uint8Array(PART_HEAD + end - begin);
    const view = new DataView(value.buffer);
    value[0] = VERSION;
    setUint48(view, 5, message.sequence);
    value[11] = part;
    let topicAt = -begin;
    if (part === 0) {
      value[12] = message.qos | (text ? 0 : 2) | (message.kind << 4);
      setUint48(view, 13, timeMs);
      value[19] = topic.length;
      view.setUint32(20, payload.length);
    }
    topicAt += CONTENT_HEAD;
    copy(topic, value, topicAt);
    copy(payload, value, topicAt + topic.length);
    view.setInt32(1, checksum(value));
    parts.push(value);
  }
  return { head: { timeMs, parts: count, bytes: storedBytes(length) }, parts };
}

/** Copies what of `from`, which begins at `at` of the part's content, falls into the part. */
function copy(from: Uint8Array, value: Uint8Array, at: number): void {
  const begin = Math.max(0, -at);
  const end = Math.min(from.length, value.length - PART_HEAD - at);
  if (begin < end) value.set(from.subarray(begin, end), PART_HEAD + at + begin);
}

/** The content of a part; `"newer"` if a later version wrote it, undefined if it is damaged or belongs elsewhere. */
export function readPart(value: Uint8Array, sequence: number, part: number): Uint8Array | "newer" | undefined {
  if (value.length < 5) return undefined;
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  if (view.getInt32(1) !== checksum(value)) return undefined;
  if (value[0] !== VERSION) return value[0] > VERSION ? "newer" : undefined;
  if (value.length <= PART_HEAD || getUint48(view, 5) !== sequence || value[11] !== part) return undefined;
  return value.subarray(PART_HEAD);
}

/** What the content of part 0 says of the whole; undefined if it makes no sense. */
export function readHead(content: Uint8Array): RecordHead | undefined {
  if (content.length < CONTENT_HEAD) return undefined;
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const length = CONTENT_HEAD + content[7] + view.getUint32(8);
  const parts = Math.ceil(length / PART_CONTENT);
  if (content[7] === 0 || parts > MAX_PARTS || content.length !== Math.min(length, PART_CONTENT)) return undefined;
  return { timeMs: getUint48(view, 1), parts, bytes: storedBytes(length) };
}

/** The message of its parts' contents; undefined if it makes no sense. */
export function decodeRecord(sequence: number, contents: readonly Uint8Array[]): StoredMessage | undefined {
  const head = contents.length > 0 ? readHead(contents[0]) : undefined;
  if (head === undefined || head.parts !== contents.length) return undefined;
  let all = contents[0];
  if (contents.length > 1) {
    let length = 0;
    for (const content of contents) length += content.length;
    all = new Uint8Array(length);
    length = 0;
    for (const content of contents) {
      all.set(content, length);
      length += content.length;
    }
  }
  const flags = all[0];
  const payloadAt = CONTENT_HEAD + all[7];
  const payloadLength = new DataView(all.buffer, all.byteOffset, all.length).getUint32(8);
  if (all.length !== payloadAt + payloadLength || (flags & 0x0c) !== 0) return undefined;
  try {
    return {
      sequence,
      timeMs: head.timeMs,
      topic: utf8Decode(all.subarray(CONTENT_HEAD, payloadAt)),
      payload: flags & 2 ? all.slice(payloadAt) : utf8Decode(all.subarray(payloadAt)),
      qos: flags & 1 ? 1 : 0,
      kind: flags >> 4,
    };
  } catch {
    return undefined;
  }
}

const MARK_BYTES = 11;

/** The value that keeps the numbers from going back: all below `mark` may have been used. */
export function encodeMark(mark: number): Uint8Array {
  const value = new Uint8Array(MARK_BYTES);
  const view = new DataView(value.buffer);
  value[0] = VERSION;
  setUint48(view, 5, mark);
  view.setInt32(1, checksum(value));
  return value;
}

/** 0 if it is damaged or was never written. */
export function readMark(value: Uint8Array | undefined): number {
  if (value === undefined || value.length !== MARK_BYTES || value[0] !== VERSION) return 0;
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const mark = getUint48(view, 5);
  return view.getInt32(1) === checksum(value) && mark <= MAX_SEQUENCE ? mark : 0;
}

function checksum(value: Uint8Array): number {
  return crc32(value, 5, crc32(value.subarray(0, 1)));
}

function setUint48(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / 0x100000000));
  view.setUint32(at + 2, value % 0x100000000);
}

function getUint48(view: DataView, at: number): number {
  return view.getUint16(at) * 0x100000000 + view.getUint32(at + 2);
}
