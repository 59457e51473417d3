/**
 * Dynamic registration, POST /device/register (Tencent Cloud, 634/47225): a device that knows only its product's secret
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
  /** `[A-Za-z0-9_]+`, usually ten characters. */
  readonly productId: string;
  /** `[A-Za-z0-9:_-]`, 1 to 48 characters; {@link Host.deviceName} (on an ESP32 its MAC address) by default. */
  readonly deviceName?: string;
  /** The product's secret as it stands in the console, 16 to 256 printable ASCII characters. */
  readonly productSecret: string;
  /** HMAC of the registration's signature, and of the psk that it returns. @default "hmacsha256" */
  readonly algorithm?: "hmacsha256" | "hmacsha1";
  /** `"ap-guangzhou"` unless a region or a url is given. */
  readonly region?: Region;
  /** Scheme, host and port of a private deployment or a local gateway. */
  readonly url?: string;
  /**
   * For a product with a private CA: the device's certificate, as PEM text of at most 8192 characters or as DER bytes,
   * and, after it, those above it; one or a list. It is sent as PEM.
   */
  readonly clientCertificate?: PemOrDer | readonly PemOrDer[];
  /** The private key of `clientCertificate`: PEM text or DER bytes. It is not sent; it becomes the credential. */
  readonly clientKey?: PemOrDer;
  /**
   * How the certificate is sent: `"documented"`, the default, as `EncryptionType` and `ClientCert`; `"c-sdk"` as the
   * official C SDK does, `clientCert` alone.
   */
  readonly clientCertificateMembers?: "documented" | "c-sdk";
  /** Gives up when it is aborted; the promise is then rejected with CANCELLED. */
  readonly signal?: AbortSignalLike;
}

/** A psk of the device's own. */
export interface RegisteredSecret extends SecretCredential {
  readonly certificate?: undefined;
}

/** A private key of the device's own, and its certificate. */
export interface RegisteredKey extends KeyCredential {
  /** PEM. */
  readonly certificate: string;
}

/** What {@link register} resolves with: a credential for a device, and what the gateway said besides. */
export type Registration = (RegisteredSecret | RegisteredKey) & {
  /** What the gateway calls the request. */
  readonly requestId: string;
  /** 0: the device is new, 1: it has registered before. Absent where the gateway does not say. */
  readonly state?: 0 | 1;
};

/** The content of a registration's response: a psk, a certificate with its key, or nothing where the CA is one's own. */
export type RegistrationContent =
  | { readonly encryptionType: 2; readonly psk: string }
  | { readonly encryptionType: 1; readonly clientCert: string; readonly clientKey: string }
  | { readonly encryptionType: 1; readonly clientCert?: undefined; readonly clientKey?: undefined };

/**
 * Registers a device and resolves with its credential. **Registering again may invalidate the credential before**:
 * keep the result before doing anything else, as `provision` does.
 * @throws {IotHubError} before anything is sent: INVALID_PRODUCT_ID, INVALID_DEVICE_NAME, INVALID_PRODUCT_SECRET,
 * INVALID_REGION, INVALID_URL, INVALID_OPTION; afterwards what {@link Client.post} and
 * {@link openRegistrationPayload} throw
 */
export async function register(options: RegisterOptions, host: Host): Promise<Registration> {
  checkOptions("", options, registerRules);
  const identity = readIdentity(options, host);
  const { productSecret, algorithm, clientKey } = options;
  checkProductSecret(productSecret);
  const certificate = readOwnCertificate(options);
  const endpoint = reachableEndpoint(options, host.http);
  const signer = createSigner({ secret: productSecret, algorithm }, host);
  // Sent once: a registration that is repeated may invalidate the secret that the first one issued. What the clock is
  // off is not stored, as nothing is to be stored before the credential.
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
 * Opens what a registration brought: AES-128-CBC, the key is the first 16 characters of the ProductSecret,
 * the IV sixteen characters `0`, the padding NUL bytes.
 * @param payloadBase64 `Payload` of the response
 * @param length `Len` of the response: bytes of the content without padding
 * @throws {IotHubError} INVALID_PRODUCT_SECRET, INVALID_BASE64; REGISTRATION_LENGTH if the payload is not made of whole
 * blocks or the content has another length; WRONG_PRODUCT_SECRET if there is no JSON in it; REGISTRATION_TYPE for an
 * unknown `encryptionType`; REGISTRATION_INCOMPLETE if members are missing
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
    throw wrongLength(`its ${ciphertext.length} bytes are not whole blocks of ${BLOCK_BYTES}`);
  }
  if (!Number.isInteger(length) || padding < 0 || padding >= BLOCK_BYTES) {
    throw wrongLength(`${ciphertext.length} bytes cannot hold the length that was announced`);
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
      "The registration's response cannot be decrypted: the ProductSecret is another one, or the response was damaged.",
    );
  }
  if (end !== length) throw wrongLength("its content is not as long as was announced");
  return readContent(content);
}

/**
 * Who registers: the options' DeviceName, or the host's.
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

/** A psk as it came from the gateway. `algorithm` stands in it only where it was chosen. */
export function secretCredential(secret: string, algorithm: SecretCredential["algorithm"]): RegisteredSecret {
  return algorithm === undefined ? { secret, verbatim: true } : { secret, algorithm, verbatim: true };
}

/**
 * PEM of the certificate that the app brings for its device; undefined if it brings none.
 * @throws {IotHubError} INVALID_OPTION
 */
export function readOwnCertificate(options: Partial<RegisterOptions>): string | undefined {
  const { clientCertificate, clientKey, clientCertificateMembers } = options;
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new IotHubError("INVALID_OPTION", "clientCertificate and clientKey belong together.");
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
      `The ProductSecret was not copied as it is in the console: ${reason}.`,
    );
  }
  if (typeof productSecret !== "string" || !/^[!-~]{16,256}$/.test(productSecret)) {
    throw new IotHubError(
      "INVALID_PRODUCT_SECRET",
      "The ProductSecret must be 16 to 256 printable ASCII characters, as it stands in the console.",
    );
  }
}

// ProductId and DeviceName have been checked: nothing in them needs an escape.
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
  throw new IotHubError("REGISTRATION_TYPE", "The registration's response has an encryptionType other than 1 and 2.");
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function incomplete(members: string): IotHubError {
  return new IotHubError("REGISTRATION_INCOMPLETE", `The registration's response lacks ${members}.`);
}

function wrongLength(reason: string): IotHubError {
  return new IotHubError("REGISTRATION_LENGTH", `The registration's payload has a wrong length: ${reason}.`);
}
