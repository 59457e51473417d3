import { type DeviceRecord, deviceNamePattern, productIdPattern } from "./devices.js";
import { Refusal } from "./responses.js";
import { quote } from "./verify.js";

/** A validated message. */
export interface Message {
  readonly topic: string;
  readonly qos: 0 | 1;
  readonly payload: Buffer;
  readonly payloadEncoding: "Base64" | undefined;
}

export type JsonObject = Readonly<Record<string, unknown>>;

const maxTopicBytes = 255;

/**
 * Checks the Content-Type: `application/json`, with any parameters except a charset other than UTF-8.
 * @throws {Refusal} InvalidParameter
 */
export function checkContentType(value: string | undefined): void {
  const [type, ...parameters] = (value ?? "").split(";").map((part) => part.trim().toLowerCase());
  if (type !== "application/json") {
    throw new Refusal("InvalidParameter", `Content-Type is ${quote(value ?? "")}, not application/json.`);
  }
  const charset = parameters.find((parameter) => parameter.startsWith("charset="));
  if (charset !== undefined && !/^charset="?utf-?8"?$/.test(charset)) {
    throw new Refusal("InvalidParameter", `The body must be UTF-8, not ${quote(charset)}.`);
  }
}

/**
 * Parses a request body.
 * @throws {Refusal} InvalidParameterValue.InvalidJSON if it is not a JSON object in valid UTF-8
 */
export function parseBody(body: Buffer): JsonObject {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw new Refusal("InvalidParameterValue.InvalidJSON", "The body is not valid UTF-8.");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec(String(error))?.[1];
    const where = position === undefined ? "" : ` (character ${position})`;
    throw new Refusal("InvalidParameterValue.InvalidJSON", `The body is not valid JSON${where}.`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refusal("InvalidParameterValue.InvalidJSON", "The body is not a JSON object.");
  }
  return value as JsonObject;
}

/**
 * Reads ProductId and DeviceName from a body and checks only their format.
 * @throws {Refusal} InvalidParameterValue, InvalidParameterValue.ParamIncomplete
 */
export function readIdentity(body: JsonObject): { productId: string; deviceName: string } {
  const productId = text(body, "ProductId");
  const deviceName = text(body, "DeviceName");
  if (!productIdPattern.test(productId)) {
    throw new Refusal("InvalidParameterValue", "ProductId must consist of letters, digits and _.");
  }
  if (!deviceNamePattern.test(deviceName)) {
    throw new Refusal("InvalidParameterValue", "DeviceName must be 1 to 48 letters, digits, colons, _ and -.");
  }
  return { productId, deviceName };
}

/**
 * Reads and checks topic, permission, QoS, encoding and size of a message.
 * @throws {Refusal} InvalidParameterValue, InvalidParameterValue.ParamIncomplete,
 * InvalidParameterValue.PayloadOverLimit, FailedOperation.InvalidTopicName, UnauthorizedOperation.PermissionDenied,
 * ResourceNotFound.TopicPolicyNotExist
 */
export function readMessage(body: JsonObject, device: DeviceRecord, maxPayloadBytes: number): Message {
  const topic = text(body, "TopicName");
  checkTopic(topic, device);
  const payloadText = text(body, "Payload", "allow empty");
  const qos = body.Qos;
  if (qos === undefined) throw new Refusal("InvalidParameterValue.ParamIncomplete", "Qos is missing.");
  if (qos !== 0 && qos !== 1) {
    throw new Refusal("InvalidParameterValue", `Qos must be the number 0 or 1, not ${quote(JSON.stringify(qos))}.`);
  }
  const payloadEncoding = body.PayloadEncoding;
  let payload: Buffer;
  if (payloadEncoding === undefined) {
    payload = Buffer.from(payloadText);
  } else if (payloadEncoding === "Base64") {
    payload = Buffer.from(payloadText, "base64");
    if (payload.toString("base64") !== payloadText) {
      throw new Refusal("InvalidParameterValue", "Payload is not standard Base64 with padding.");
    }
  } else {
    throw new Refusal("InvalidParameterValue", "PayloadEncoding must be Base64 or absent.");
  }
  if (payload.length > maxPayloadBytes) {
    throw new Refusal(
      "InvalidParameterValue.PayloadOverLimit",
      `The payload has ${payload.length} bytes, at most ${maxPayloadBytes} are allowed.`,
    );
  }
  return { topic, qos, payload, payloadEncoding };
}

function checkTopic(topic: string, device: DeviceRecord): void {
  if (Buffer.byteLength(topic) > maxTopicBytes) {
    throw new Refusal("FailedOperation.InvalidTopicName", `TopicName is longer than ${maxTopicBytes} bytes.`);
  }
  if (/[+#\0]/.test(topic)) {
    throw new Refusal("FailedOperation.InvalidTopicName", "TopicName must not contain +, # or NUL.");
  }
  const permission = device.topics.get(topic);
  if (permission === "publish" || permission === "both") return;
  if (permission === "subscribe") {
    throw new Refusal("UnauthorizedOperation.PermissionDenied", `The device may only subscribe to ${quote(topic)}.`);
  }
  const { productId, deviceName } = device;
  if (topic.startsWith("$thing/up/") && topic.endsWith(`/${productId}/${deviceName}`)) {
    const kind = topic.slice("$thing/up/".length, -`/${productId}/${deviceName}`.length);
    if (/^[a-z_]+(\/[a-z_]+)?$/.test(kind)) return;
  }
  // System topics of the shadow and of over-the-air updates to which a device may publish.
  if (["$shadow/operation", "$ota/report"].some((kind) => topic === `${kind}/${productId}/${deviceName}`)) return;
  throw new Refusal("ResourceNotFound.TopicPolicyNotExist", `The device may not publish to ${quote(topic)}.`);
}

/**
 * Reads a member that must be a string.
 * @throws {Refusal} InvalidParameterValue.ParamIncomplete if it is missing or empty; InvalidParameterValue
 */
export function text(body: JsonObject, name: string, empty: "allow empty" | "refuse empty" = "refuse empty"): string {
  const value = body[name];
  if (value === undefined || value === null)
    throw new Refusal("InvalidParameterValue.ParamIncomplete", `${name} is missing.`);
  if (typeof value !== "string") throw new Refusal("InvalidParameterValue", `${name} must be a string.`);
  if (value === "" && empty === "refuse empty")
    throw new Refusal("InvalidParameterValue.ParamIncomplete", `${name} is empty.`);
  return value;
}
