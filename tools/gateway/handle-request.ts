import { randomUUID } from "node:crypto";
import { diagnose } from "../diagnose/diagnose.js";
import { stringToSign } from "../diagnose/fields.js";
import type { OtherKey } from "../diagnose/mistakes.js";
import type {
  AccountState,
  Credential,
  DeviceRecord,
  DeviceRegistry,
  DeviceState,
  ProductRecord,
  ProductState,
} from "./devices.js";
import type { DiagnosisLimit } from "./diagnosis-limit.js";
import { checkContentType, type JsonObject, parseBody, readIdentity, readMessage } from "./publish.js";
import type { RateLimit } from "./ratelimit.js";
import type { ReceivedRequest } from "./received.js";
import { register } from "./registration.js";
import { readLogLines } from "./reportlog.js";
import {
  errorResponse,
  Refusal,
  type ResponseCode,
  type ResponseContent,
  type ResponseStyle,
  successResponse,
} from "./responses.js";
import { readTarget } from "./target.js";
import {
  checkAlgorithmFits,
  checkTimestamp,
  expectedFields,
  type NonceMemory,
  type RawRequest,
  readSignatureHeaders,
  signatureMatches,
} from "./verify.js";

/** State of the gateway used to process requests. */
export interface Rules {
  readonly registry: DeviceRegistry;
  readonly nonces: NonceMemory;
  readonly rateLimit: RateLimit | undefined;
  readonly style: ResponseStyle;
  readonly windowSeconds: number;
  readonly maxPayloadBytes: number;
  readonly signedHost: string | undefined;
  readonly diagnoses: DiagnosisLimit;
}

export type Endpoint = "publish" | "register" | "reportlog";

/** Processes a request with its body: records its details and returns the response. */
export function handleRequest(
  rules: Rules,
  endpoint: Endpoint,
  entry: ReceivedRequest,
  nowMs: number,
): ResponseContent {
  const requestId = randomUUID();
  entry.requestId = requestId;
  try {
    const members = accept(rules, endpoint, entry, nowMs);
    entry.accepted = true;
    return successResponse(rules.style, requestId, members);
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal("InternalError", "The gateway failed.");
    entry.error = { code: refusal.code, message: refusal.message };
    return errorResponse(rules.style, requestId, refusal.code, refusal.message);
  }
}

function accept(rules: Rules, endpoint: Endpoint, entry: ReceivedRequest, nowMs: number): Record<string, unknown> {
  checkContentType(entry.headers["content-type"]);
  const body = parseBody(entry.body);
  const { productId, deviceName } = readIdentity(body);
  Object.assign(entry, { productId, deviceName });
  const product = rules.registry.products.get(productId);
  if (product === undefined) {
    throw new Refusal("ResourceNotFound.ProductNotExist", `There is no product ${productId}.`);
  }
  const device = product.devices.get(deviceName);
  if (endpoint === "register") {
    checkSignature(rules, entry, secretOf(product, deviceName), product, nowMs, "productSecret");
    checkStates(rules.registry, product, device);
    const { members, state } = register(rules.registry, product, deviceName, body, nowMs);
    entry.registrationState = state;
    return { ...members };
  }
  if (device === undefined) {
    throw new Refusal("ResourceNotFound.DeviceNotExist", `The product ${productId} has no device ${deviceName}.`);
  }
  checkSignature(rules, entry, device, product, nowMs, device.credential.kind);
  // After the signature check: the state of an account or device is not revealed to others.
  checkStates(rules.registry, product, device);
  rules.rateLimit?.take(`${productId}/${deviceName}`, nowMs);
  deliverContent(rules, endpoint, entry, body, device);
  return {};
}

function deliverContent(
  rules: Rules,
  endpoint: "publish" | "reportlog",
  entry: ReceivedRequest,
  body: JsonObject,
  device: DeviceRecord,
): void {
  if (endpoint === "reportlog") {
    entry.messages = readLogLines(body);
    return;
  }
  // Recorded even if the message is rejected.
  if (typeof body.TopicName === "string") entry.topic = body.TopicName;
  Object.assign(entry, readMessage(body, device, rules.maxPayloadBytes));
}

const stateRefusals: Readonly<
  Record<AccountState | ProductState | DeviceState, readonly [code: ResponseCode, message: string]>
> = {
  isolated: ["FailedOperation.AccountIsolated", "The account is in arrears."],
  forbidden: ["UnauthorizedOperation.ProductIsForbidden", "The product is disabled."],
  disabled: ["FailedOperation.DeviceAlreadyDisabled", "The device was disabled in the console."],
  notEnabled: ["UnauthorizedOperation.DeviceIsNotEnabled", "The device is not enabled."],
};

/** @throws {Refusal} if the state of the account, the product or the device prevents all requests */
function checkStates(registry: DeviceRegistry, product: ProductRecord, device: DeviceRecord | undefined): void {
  const state = registry.account ?? product.state ?? device?.state;
  if (state !== undefined) throw new Refusal(...stateRefusals[state]);
}

/** Returns a record with the ProductSecret as the device's key. */
function secretOf(product: ProductRecord, deviceName: string): DeviceRecord {
  const { productId, productSecret } = product;
  if (productSecret === undefined) {
    throw new Refusal(
      "UnauthorizedOperation.ProductIsForbidden",
      `The product ${productId} does not allow registration.`,
    );
  }
  const credential: Credential = { kind: "psk", psk: productSecret };
  return { productId, deviceName, credential, algorithm: undefined, topics: new Map() };
}

function checkSignature(
  rules: Rules,
  entry: ReceivedRequest,
  device: DeviceRecord,
  product: ProductRecord,
  nowMs: number,
  verifiedBy: "psk" | "publicKey" | "productSecret",
): void {
  const request: RawRequest = {
    method: entry.method,
    ...readTarget(entry.url, entry.headers.host ?? ""),
    headers: entry.headers,
    body: entry.body,
  };
  const signed = readSignatureHeaders(request);
  entry.algorithm = signed.algorithm;
  // The ProductSecret is an HMAC key even if the product's devices have certificates.
  checkAlgorithmFits(device, signed.algorithm, verifiedBy === "productSecret" ? undefined : product.authentication);
  const nowSeconds = nowMs / 1000;
  checkTimestamp(signed.timestampSeconds, nowSeconds, rules.windowSeconds);
  const expected = expectedFields(request, signed, rules.signedHost);
  if (!signatureMatches(device.credential, signed.algorithm, stringToSign(expected), signed.signature)) {
    if (rules.diagnoses.take()) {
      const { credential } = device;
      const key =
        credential.kind === "psk"
          ? { secret: credential.psk, others: otherKeys(product, device) }
          : { rsaKey: credential.publicKey };
      const { method, url: target, hostHeader: host, headers, body } = request;
      entry.diagnosis = diagnose({ method, target, host, headers, body }, key, { expected, maxHashes: MAX_HASHES });
    } else entry.undiagnosed = true;
    throw new Refusal("AuthFailure.SignatureFailure", "The signature is wrong.");
  }
  entry.verifiedBy = verifiedBy;
  // Only after the signature check: a forged request must not use up a nonce of the device.
  rules.nonces.use(`${device.productId}/${device.deviceName}`, signed.nonce, nowSeconds, rules.windowSeconds);
}

/** Enough for every mistake alone and the common ones in pairs, without blocking the gateway for long. */
const MAX_HASHES = 5000;

const maxOtherKeys = 50;

function otherKeys(product: ProductRecord, device: DeviceRecord): OtherKey[] {
  const keys: OtherKey[] = [];
  if (product.productSecret !== undefined) keys.push({ name: "the ProductSecret", secret: product.productSecret });
  for (const other of product.devices.values()) {
    if (keys.length >= maxOtherKeys) break;
    if (other.credential.kind !== "psk" || other.credential === device.credential) continue;
    keys.push({ name: `that of the device ${other.deviceName}`, secret: other.credential.psk });
  }
  return keys;
}
