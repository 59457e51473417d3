/** Validates messages and encodes them as bodies of publish requests. */

import { checkOptions, type Rules } from "./check-options.js";
import { base64Bytes } from "./crypto/base64.js";
import { joinBytes, toBytes } from "./crypto/bytes.js";
import { utf8 } from "./crypto/utf8.js";
import type { Reading } from "./device.js";
import { IotHubError } from "./errors.js";
import { jsonText } from "./json.js";

/** Identity of a device. */
export interface Identity {
  /** ProductId, 1 to 64 characters of `[A-Za-z0-9_]`, usually ten. */
  readonly productId: string;
  /** DeviceName, 1 to 48 characters of `[A-Za-z0-9:_-]`. */
  readonly deviceName: string;
}

/** A message to publish: topic, payload and QoS. */
export interface Message {
  /**
   * Topic. A name without a slash, such as `"data"`, is expanded to `<ProductId>/<DeviceName>/<name>`; a topic with a
   * slash is sent unchanged. At most 255 bytes after expansion, no wildcards.
   */
  readonly topic: string;
  /**
   * Payload, at most `maxPayloadBytes`:
   * - A string is sent unchanged.
   * - Bytes are sent as Base64 with PayloadEncoding: an ArrayBuffer, a SharedArrayBuffer, or any view. The elements of
   *   a view such as `Float32Array` are sent in the machine's byte order. Shared memory is copied first.
   * - A plain object, an array, a class instance with properties, or an object with `toJSON` is sent as JSON, with at
   *   most 16 levels. Values that JSON cannot represent are rejected with their path: NaN, Infinity, a BigInt, a Date,
   *   a Map, a Set, a Promise, bytes inside an object, a circular reference. As in JSON.stringify, members that are
   *   undefined or functions are omitted, and undefined in an array becomes null.
   */
  readonly payload: string | ArrayBuffer | ArrayBufferView | object;
  /** QoS, 0 or 1. The platform has no QoS 2. @default 1 */
  readonly qos?: 0 | 1;
  /** `"Base64"` sends text as Base64 of its UTF-8 bytes, too. @default Base64 for bytes only */
  readonly encoding?: "Base64";
}

/** Maximum payload of the platform, in bytes after decoding Base64. */
export const DEFAULT_MAX_PAYLOAD_BYTES = 16384;

/** Rules of a message to publish, where `timeMs` has no effect, and of a reading for the outbox. */
export const messageRules = Object.freeze({
  topic: "any",
  payload: "any",
  qos: "any",
  encoding: "any",
  timeMs: "any",
} satisfies Rules<Reading>);

/** @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME */
export function checkIdentity({ productId, deviceName }: Identity): void {
  if (typeof productId !== "string" || !/^[A-Za-z0-9_]{1,64}$/.test(productId)) {
    throw new IotHubError("INVALID_PRODUCT_ID", "The ProductId must be letters, digits and underscores.");
  }
  if (typeof deviceName !== "string" || !/^[A-Za-z0-9:_-]{1,48}$/.test(deviceName)) {
    throw new IotHubError("INVALID_DEVICE_NAME", "The DeviceName must be 1 to 48 letters, digits and : _ -.");
  }
}

/**
 * Expands and checks a topic.
 * @throws {IotHubError} INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG
 */
export function completeTopic({ productId, deviceName }: Identity, topic: string): string {
  if (typeof topic !== "string" || topic === "" || topic.includes("\0")) {
    throw new IotHubError("INVALID_TOPIC", "The topic must be a non-empty string without NUL.");
  }
  if (topic.includes("+") || topic.includes("#")) {
    throw new IotHubError("TOPIC_WILDCARD", "The topic must not contain the wildcards + and #.");
  }
  const full = topic.includes("/") ? topic : `${productId}/${deviceName}/${topic}`;
  // UTF-8 takes at most four bytes per character on any engine, so most topics need no conversion.
  if (full.length > 255 || (full.length > 63 && utf8(full).length > 255)) {
    throw new IotHubError("TOPIC_TOO_LONG", "The topic must have at most 255 bytes.");
  }
  return full;
}

/** A validated message. */
export interface CheckedMessage {
  /** Full topic. */
  readonly topic: string;
  /** Text is sent unchanged, bytes as Base64. */
  readonly payload: string | Uint8Array;
  /** `"Base64"` if the payload is Base64 already. */
  readonly payloadEncoding?: "Base64";
  readonly qos: 0 | 1;
}

/**
 * Validates a message.
 * @param maxPayloadBytes limit of the payload in bytes, before Base64
 * @throws {IotHubError} INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS, INVALID_ENCODING, INVALID_PAYLOAD,
 * PAYLOAD_TOO_LARGE; INVALID_OPTION for an unknown member
 */
export function checkMessage(
  identity: Identity,
  message: Message,
  maxPayloadBytes: number = DEFAULT_MAX_PAYLOAD_BYTES,
): CheckedMessage {
  if (typeof message !== "object" || message === null) {
    throw new IotHubError("INVALID_PAYLOAD", "A message must be an object with topic and payload.");
  }
  const { qos = 1, encoding } = message;
  if (hasMore(message)) checkOptions("", message, messageRules);
  const topic = completeTopic(identity, message.topic);
  if (qos !== 0 && qos !== 1)
    throw new IotHubError("INVALID_QOS", "The QoS must be 0 or 1; the platform has no QoS 2.");
  if (encoding !== undefined && encoding !== "Base64") {
    throw new IotHubError("INVALID_ENCODING", 'The encoding must be "Base64" or left out.');
  }
  let payload = readPayload(message.payload, maxPayloadBytes);
  if (typeof payload === "string" && encoding === undefined) {
    // As for the topic: convert only text that could be too long.
    if (payload.length * 4 > maxPayloadBytes) checkSize(utf8(payload).length, maxPayloadBytes);
  } else {
    if (typeof payload === "string") payload = utf8(payload);
    checkSize(payload.length, maxPayloadBytes);
  }
  return { topic, payload, qos };
}

/** Whether a message has unknown members. Compares only their number, since comparing names costs more. */
function hasMore(message: Reading): boolean {
  const { topic, payload, qos, encoding, timeMs } = message;
  let known = 0;
  if (topic !== undefined) known++;
  if (payload !== undefined) known++;
  if (qos !== undefined) known++;
  if (encoding !== undefined) known++;
  if (timeMs !== undefined) known++;
  return Object.keys(message).length !== known;
}

/** Encodes a validated message as the body of POST /device/publish. */
export function encodeMessage(
  identity: Identity,
  { topic, payload, payloadEncoding, qos }: CheckedMessage,
): Uint8Array {
  // Members are in the order of the official SDKs. ProductId and DeviceName are validated: no character of theirs needs
  // escaping. On XS, one concat call costs half as much as a template.
  const head = '{"ProductId":"'.concat(
    identity.productId,
    '","DeviceName":"',
    identity.deviceName,
    '","TopicName":',
    JSON.stringify(topic),
    ',"Payload":',
  );
  if (typeof payload === "string") {
    const encoding = payloadEncoding === undefined ? ',"Qos":' : ',"PayloadEncoding":"Base64","Qos":';
    return utf8(head.concat(JSON.stringify(payload), encoding, qos === 0 ? "0}" : "1}"));
  }
  // Bytes are never converted to a string: as a string, as JSON and as UTF-8 again, 16 KB would take 85 KB.
  const tail = `","PayloadEncoding":"Base64","Qos":${qos}}`;
  return joinBytes(utf8(`${head}"`), base64Bytes(payload), utf8(tail));
}

/**
 * Returns the body of POST /device/publish and the expanded topic.
 * @param maxPayloadBytes limit of the payload in bytes, before Base64
 * @throws {IotHubError} INVALID_TOPIC, TOPIC_WILDCARD, TOPIC_TOO_LONG, INVALID_QOS, INVALID_ENCODING, INVALID_PAYLOAD,
 * PAYLOAD_TOO_LARGE; INVALID_OPTION for an unknown member
 */
export function publishBody(
  identity: Identity,
  message: Message,
  maxPayloadBytes: number = DEFAULT_MAX_PAYLOAD_BYTES,
): { topic: string; body: Uint8Array } {
  const checked = checkMessage(identity, message, maxPayloadBytes);
  return { topic: checked.topic, body: encodeMessage(identity, checked) };
}

function readPayload(payload: unknown, maxPayloadBytes: number): string | Uint8Array {
  if (typeof payload === "string") return payload;
  if (typeof payload === "object" && payload !== null) {
    const prototype = Object.getPrototypeOf(payload);
    if (prototype === Object.prototype || Array.isArray(payload)) return jsonText(payload, maxPayloadBytes);
    const bytes = toBytes(payload);
    if (bytes !== undefined) return bytes;
    if (ArrayBuffer.isView(payload) || payload instanceof ArrayBuffer) {
      throw new IotHubError("INVALID_PAYLOAD", "The payload's buffer is detached.");
    }
    return jsonText(payload, maxPayloadBytes);
  }
  const kind = payload === null || payload === undefined ? String(payload) : `a ${typeof payload}`;
  throw new IotHubError("INVALID_PAYLOAD", `The payload must be text, bytes or an object; it is ${kind}.`);
}

function checkSize(bytes: number, limit: number): void {
  if (bytes > limit) {
    throw new IotHubError("PAYLOAD_TOO_LARGE", `The payload has ${bytes} bytes; the limit is ${limit}.`);
  }
}
