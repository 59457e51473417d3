/**
 * Dynamic registration, POST /device/register (Tencent Cloud, 634/47225): a device that knows only the ProductSecret
 * gets its credential.
 */

import { aes128CbcDecrypt } from "../crypto/aes.js";
import { base64Decode } from "../crypto/base64.js";
import { toBytes } from "../crypto/bytes.js";
import { certificatePem, type PemOrDer, readCertificates } from "../crypto/pem.js";
import { utf8 } from "../crypto/utf8.js";
import { IotHubError } from "../errors.js";
import type { AbortSignalLike, Host } from "../host.js";
import { checkIdentity, type Identity } from "../message.js";
import { checkOptions, registerRules } from "../options.js";
import { Client, type ClientOptions } from "../request/client.js";
import { type Region, reachableEndpoint } from "../request/endpoint.js";
import { parseObject } from "../request/response.js";
import { secretMistake } from "../signing/secret.js";
import { createSigner, type KeyCredential, type SecretCredential } from "../signing/signer.js";

const BLOCK_BYTES = 16;

/** Options of {@link register}. */
export interface RegisterOptions extends ClientOptions {
  /** ProductId, 1 to 64 characters of `[A-Za-z0-9_]`, usually ten. */
  readonly productId: string;
  /**
   * DeviceName, 1 to 48 characters of `[A-Za-z0-9:_-]`. @default {@link Host.deviceName}: on an ESP32 its MAC address
   */
  readonly deviceName?: string;
  /** ProductSecret, exactly as shown in the console: 16 to 256 printable ASCII characters. */
  readonly productSecret: string;
  /** HMAC of the registration's signature, and of later requests with the returned PSK. @default "hmacsha256" */
  readonly algorithm?: "hmacsha256" | "hmacsha1";
  /** Region of the public service. Give either `region` or `url`, not both. @default "ap-guangzhou" */
  readonly region?: Region;
  /** Scheme, host and port of a private deployment or a local gateway. */
  readonly url?: string;
  /**
   * For a product with a private CA: the device's certificate, followed by its intermediate certificates. PEM text of
   * at most 8192 characters or DER bytes, one or a list. Sent as PEM.
   */
  readonly clientCertificate?: PemOrDer | readonly PemOrDer[];
  /** Private key of `clientCertificate`: PEM text or DER bytes. Never sent; it becomes the credential. */
  readonly clientKey?: PemOrDer;
  /**
   * Members that carry the certificate: `"documented"` sends `EncryptionType` and `ClientCert`, `"c-sdk"` sends only
   * `clientCert`, like the official C SDK.
   * @default "documented"
   */
  readonly clientCertificateMembers?: "documented" | "c-sdk";
  /** Cancels the registration when aborted; the promise then rejects with CANCELLED. */
  readonly signal?: AbortSignalLike;
}

/** The PSK of a registered device. */
export interface RegisteredSecret extends SecretCredential {
  readonly certificate?: undefined;
}

/** The private key and certificate of a registered device. */
export interface RegisteredKey extends KeyCredential {
  /** Certificate in PEM. */
  readonly certificate: string;
}

/** Result of {@link register}: the device's credential, and details of the response. */
export type Registration = (RegisteredSecret | RegisteredKey) & {
  /** RequestId of the gateway. */
  readonly requestId: string;
  /** 0 if the device is new, 1 if it has registered before; absent if the response does not contain it. */
  readonly state?: 0 | 1;
};

/** Decrypted content of a registration response: a PSK, a certificate with its key, or neither with a private CA. */
export type RegistrationContent =
  | { readonly encryptionType: 2; readonly psk: string }
  | { readonly encryptionType: 1; readonly clientCert: string; readonly clientKey: string }
  | { readonly encryptionType: 1; readonly clientCert?: undefined; readonly clientKey?: undefined };

/**
 * Registers a device and resolves with its credential. **Registering again may revoke the previous credential**: store
 * the result before using it, as {@link provision} does. Sends the request only once, without retries.
 * @throws {IotHubError} before anything is sent INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_PRODUCT_SECRET,
 * INVALID_REGION, INVALID_URL, INVALID_OPTION; INVALID_CREDENTIAL if `algorithm` is unknown; CANCELLED, CLOCK_NOT_SET,
 * SIGNING_FAULT; for the response's content INVALID_BASE64, REGISTRATION_LENGTH, REGISTRATION_TYPE,
 * REGISTRATION_INCOMPLETE, WRONG_PRODUCT_SECRET
 * @throws {ThrottledError} THROTTLED
 * @throws {NetworkError} NAME_RESOLUTION, CONNECTION_REFUSED, CONNECTION_RESET, PROXY_FAILED, CERTIFICATE_REJECTED,
 * TLS_FAILED, TIMEOUT, RESPONSE_TOO_LARGE, RESPONSE_MALFORMED, RESPONSE_TRUNCATED, NETWORK_FAILED
 * @throws {ResponseError} GATEWAY_REJECTED, HTTP_STATUS, RESPONSE_EMPTY, RESPONSE_NOT_JSON, RESPONSE_UNEXPECTED,
 * RESPONSE_EARLY
 * @example
 *   const options = { productId: "ABCDE12345", deviceName: "sensor1", productSecret };
 *   const { requestId, state, ...credential } = await register(options, host);
 *   await host.storage?.set("credential", JSON.stringify(credential));
 */
export async function register(options: RegisterOptions, host: Host): Promise<Registration> {
  checkOptions("", options, registerRules);
  const identity = readIdentity(options, host);
  const { productSecret, algorithm, clientKey } = options;
  checkProductSecret(productSecret);
  const certificate = readOwnCertificate(options);
  const endpoint = reachableEndpoint(options, host.http);
  const signer = createSigner({ secret: productSecret, algorithm }, host);
  // No retries: a repeated registration may revoke the secret that the first one issued. No storage for the clock
  // offset: nothing may be stored before the credential.
  const { http, clock, random, timer } = host;
  const client = new Client(endpoint, signer, { http, clock, random, timer }, { ...options, retry: false });
  try {
    const { result } = await client.post("/device/register", registerBody(identity, certificate, options), {
      signal: options.signal,
    });
    const { Payload: payload, Len: length, State: state } = result.content;
    if (typeof payload !== "string" || typeof length !== "number") throw incomplete("Payload and Len");
    const content = openRegistrationPayload(productSecret, payload, length);
    const said: { requestId: string; state?: 0 | 1 } = { requestId: result.requestId };
    if (state === 0 || state === 1) said.state = state;
    if (content.encryptionType === 2) return { ...secretCredential(content.psk, algorithm), ...said };
    if (content.clientKey !== undefined) {
      return { privateKey: content.clientKey, certificate: content.clientCert, ...said };
    }
    if (certificate === undefined || clientKey === undefined) throw incomplete("clientCert and clientKey");
    return { privateKey: clientKey, certificate, ...said };
  } finally {
    client.close();
  }
}

/**
 * Decrypts the payload of a registration response: AES-128-CBC with the first 16 characters of the ProductSecret as the
 * key, sixteen characters `0` as the IV, and zero padding.
 * @param payloadBase64 `Payload` of the response
 * @param length `Len` of the response: size of the content in bytes, without padding
 * @throws {IotHubError} INVALID_PRODUCT_SECRET, INVALID_BASE64; REGISTRATION_LENGTH if the payload is not a multiple of
 * 16 bytes or the content has another length; WRONG_PRODUCT_SECRET if the decrypted content is not a JSON object;
 * REGISTRATION_TYPE for an unknown `encryptionType`; REGISTRATION_INCOMPLETE if members are missing
 */
export function openRegistrationPayload(
  productSecret: string,
  payloadBase64: string,
  length: number,
): RegistrationContent {
  checkProductSecret(productSecret);
  if (typeof payloadBase64 !== "string") {
    throw new IotHubError("INVALID_BASE64", "The payload of a registration must be Base64 text.");
  }
  const ciphertext = base64Decode(payloadBase64);
  const padding = ciphertext.length - length;
  if (ciphertext.length === 0 || ciphertext.length % BLOCK_BYTES !== 0) {
    throw wrongLength(`its ${ciphertext.length} bytes are not a multiple of ${BLOCK_BYTES}`);
  }
  if (!Number.isInteger(length) || padding < 0 || padding >= BLOCK_BYTES) {
    throw wrongLength(`${ciphertext.length} bytes cannot hold content of the announced length`);
  }
  const key = utf8(productSecret.slice(0, BLOCK_BYTES));
  const plain = aes128CbcDecrypt(key, new Uint8Array(BLOCK_BYTES).fill(0x30), ciphertext);
  let end = plain.length;
  while (end > 0 && plain[end - 1] === 0) end--;
  const content = parseObject(plain.subarray(0, end));
  key.fill(0);
  plain.fill(0);
  if (content === undefined) {
    throw new IotHubError(
      "WRONG_PRODUCT_SECRET",
      "The registration response could not be decrypted: wrong ProductSecret, or corrupt response.",
    );
  }
  if (end !== length) throw wrongLength("its content does not have the announced length");
  return readContent(content);
}

/**
 * Returns the identity to register: the DeviceName of the options, or else of the host.
 * @throws {IotHubError} INVALID_PRODUCT_ID, INVALID_DEVICE_NAME
 */
export function readIdentity(
  { productId, deviceName }: { readonly productId: string; readonly deviceName?: string },
  host: Host,
): Identity {
  const identity = { productId, deviceName: deviceName ?? host.deviceName?.() ?? "" };
  checkIdentity(identity);
  return identity;
}

/** Returns a PSK from the gateway as a credential. `algorithm` is set only if it was chosen explicitly. */
export function secretCredential(secret: string, algorithm: SecretCredential["algorithm"]): RegisteredSecret {
  return algorithm === undefined ? { secret, verbatim: true } : { secret, algorithm, verbatim: true };
}

/**
 * Returns the PEM of `clientCertificate`; undefined without one.
 * @throws {IotHubError} INVALID_OPTION
 */
export function readOwnCertificate(options: Partial<RegisterOptions>): string | undefined {
  const { clientCertificate, clientKey, clientCertificateMembers } = options;
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate and clientKey must be given together.");
  }
  if (
    clientCertificateMembers !== undefined &&
    clientCertificateMembers !== "documented" &&
    clientCertificateMembers !== "c-sdk"
  ) {
    throw new IotHubError("INVALID_OPTION", 'clientCertificateMembers must be "documented" or "c-sdk".');
  }
  if (clientCertificate === undefined) return undefined;
  const pem =
    typeof clientCertificate === "string"
      ? clientCertificate
      : readCertificates("clientCertificate", clientCertificate, toBytes).map(certificatePem).join("");
  if (!pem.startsWith("-----BEGIN ") || pem.length > 8192) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate must be PEM of at most 8192 characters, or DER bytes.");
  }
  return pem;
}

function checkProductSecret(productSecret: unknown): void {
  const reason = typeof productSecret === "string" ? secretMistake(productSecret, false) : undefined;
  if (reason !== undefined) {
    throw new IotHubError(
      "INVALID_PRODUCT_SECRET",
      `The ProductSecret differs from what the console shows: ${reason}.`,
    );
  }
  if (typeof productSecret !== "string" || !/^[!-~]{16,256}$/.test(productSecret)) {
    throw new IotHubError(
      "INVALID_PRODUCT_SECRET",
      "The ProductSecret must be 16 to 256 printable ASCII characters, as shown in the console.",
    );
  }
}

// ProductId and DeviceName are validated: no character of theirs needs escaping.
function registerBody(
  identity: Identity,
  certificate: string | undefined,
  { clientCertificateMembers }: RegisterOptions,
): Uint8Array {
  const members =
    certificate === undefined
      ? ""
      : clientCertificateMembers === "c-sdk"
        ? `,"clientCert":${JSON.stringify(certificate)}`
        : `,"EncryptionType":1,"ClientCert":${JSON.stringify(certificate)}`;
  return utf8(`{"ProductId":"${identity.productId}","DeviceName":"${identity.deviceName}"${members}}`);
}

function readContent(content: Record<string, unknown>): RegistrationContent {
  const { encryptionType, psk, clientCert, clientKey } = content;
  if (encryptionType === undefined) throw incomplete("encryptionType");
  if (encryptionType === 2) {
    if (!isText(psk)) throw incomplete("psk");
    return { encryptionType, psk };
  }
  if (encryptionType === 1) {
    if (clientCert === undefined && clientKey === undefined) return { encryptionType };
    if (!isText(clientCert)) throw incomplete("clientCert");
    if (!isText(clientKey)) throw incomplete("clientKey");
    return { encryptionType, clientCert, clientKey };
  }
  throw new IotHubError(
    "REGISTRATION_TYPE",
    "The registration response has an unknown encryptionType; 1 and 2 are supported.",
  );
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function incomplete(members: string): IotHubError {
  return new IotHubError("REGISTRATION_INCOMPLETE", `The registration response lacks ${members}.`);
}

function wrongLength(reason: string): IotHubError {
  return new IotHubError(
    "REGISTRATION_LENGTH",
    `The payload of the registration response has a wrong length: ${reason}.`,
  );
}
