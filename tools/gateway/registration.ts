import { createCipheriv, randomBytes, X509Certificate } from "node:crypto";
import { makeDeviceCertificate } from "./certificates.js";
import type { DeviceDescription, DeviceRecord, DeviceRegistry, ProductRecord } from "./devices.js";
import { type JsonObject, text } from "./publish.js";
import { Refusal } from "./responses.js";

/** Result of a registration: members of the response, and whether the device was known. */
export interface Registration {
  readonly members: Readonly<Record<string, unknown>>;
  readonly state: 0 | 1;
}

/**
 * Handles `POST /device/register` after its signature was verified with the ProductSecret.
 * @throws {Refusal} ResourceNotFound.DeviceNotExist, LimitExceeded.DeviceExceedLimit,
 * UnsupportedOperation.ClientCertAlreadyGot, UnsupportedOperation.WrongProductAuthType, InvalidParameterValue,
 * InvalidParameterValue.ParamIncomplete, InvalidParameterValue.CACertNotMatch
 */
export function register(
  registry: DeviceRegistry,
  product: ProductRecord,
  deviceName: string,
  body: JsonObject,
  nowMs: number,
): Registration {
  const { productId, registration, ownCa } = product;
  const known = product.devices.get(deviceName);
  if (known === undefined && registration.open === false) {
    throw new Refusal("ResourceNotFound.DeviceNotExist", `The product ${productId} has no device ${deviceName}.`);
  }
  if (known === undefined && product.devices.size >= (registration.maxDevices ?? Number.POSITIVE_INFINITY)) {
    throw new Refusal(
      "LimitExceeded.DeviceExceedLimit",
      `The product ${productId} has reached its maximum number of devices.`,
    );
  }
  if (known === undefined && registry.size >= registry.maxDevices) {
    throw new Refusal(
      "LimitExceeded.DeviceExceedLimit",
      `The gateway has reached its maximum of ${registry.maxDevices} devices.`,
    );
  }
  const state = known === undefined ? 0 : 1;
  if (known?.issued !== undefined && registration.again === "refuse") {
    throw new Refusal("UnsupportedOperation.ClientCertAlreadyGot", "The device was registered before.");
  }

  const kind = body.EncryptionType;
  if (kind !== undefined && kind !== 1) {
    throw new Refusal("InvalidParameterValue", "EncryptionType must be the number 1 or absent.");
  }
  const issue = (credential: DeviceDescription, content: Readonly<Record<string, unknown>>): Registration => {
    registry.register(productId, deviceName, { device: credential, issued: content });
    return { members: seal(product, content, state), state };
  };
  if (ownCa !== undefined) {
    if (kind !== 1) {
      const message = "EncryptionType is missing: the product has a private CA.";
      throw new Refusal("InvalidParameterValue.ParamIncomplete", message);
    }
    const certificate = readCertificate(text(body, "ClientCert"), ownCa, nowMs);
    return issue({ certificate }, { encryptionType: 1 });
  }
  if (kind !== undefined) {
    throw new Refusal("UnsupportedOperation.WrongProductAuthType", "The product has no private CA.");
  }

  const kept = registration.again === "renew" ? undefined : (known?.issued ?? issuedBefore(known));
  if (known !== undefined && kept !== undefined) {
    known.issued = kept;
    return { members: seal(product, kept, state), state };
  }
  if (registration.credential === "certificate") {
    const made = makeDeviceCertificate(`${productId}${deviceName}`, nowMs);
    const content = { encryptionType: 1, clientCert: made.chain, clientKey: made.key };
    return issue({ certificate: made.chain }, content);
  }
  const psk = randomBytes(16).toString("base64");
  return issue({ psk }, { encryptionType: 2, psk });
}

/** Returns the PSK of a device in the devices file. */
function issuedBefore(device: DeviceRecord | undefined): Readonly<Record<string, unknown>> | undefined {
  return device?.credential.kind === "psk" ? { encryptionType: 2, psk: device.credential.psk } : undefined;
}

function seal(product: ProductRecord, content: object, state: 0 | 1): Readonly<Record<string, unknown>> {
  const { payload, length } = sealRegistrationPayload(product.productSecret as string, JSON.stringify(content));
  return { Len: length, Payload: payload, ...(product.registration.withoutState ? {} : { State: state }) };
}

/**
 * Encrypts the content of a registration response like the service: AES-128-CBC with the first 16 characters of the
 * ProductSecret as the key, sixteen characters `0` as the IV, and zero padding to a multiple of 16 bytes.
 */
export function sealRegistrationPayload(productSecret: string, content: string): { payload: string; length: number } {
  const plain = Buffer.from(content);
  const padded = Buffer.alloc(Math.ceil(plain.length / 16) * 16);
  plain.copy(padded);
  const cipher = createCipheriv("aes-128-cbc", Buffer.from(productSecret).subarray(0, 16), Buffer.alloc(16, "0"));
  cipher.setAutoPadding(false);
  return { payload: Buffer.concat([cipher.update(padded), cipher.final()]).toString("base64"), length: plain.length };
}

function readCertificate(pem: string, ca: X509Certificate, nowMs: number): string {
  const bad = (message: string): Refusal => new Refusal("InvalidParameterValue", message);
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch {
    throw bad("ClientCert is not a certificate in PEM.");
  }
  if (certificate.issuer !== ca.subject || !certificate.verify(ca.publicKey)) {
    throw new Refusal("InvalidParameterValue.CACertNotMatch", "ClientCert is not signed by the product's CA.");
  }
  if (nowMs < Date.parse(certificate.validFrom) || nowMs > Date.parse(certificate.validTo)) {
    throw bad("ClientCert is not valid today.");
  }
  if (certificate.publicKey.asymmetricKeyType !== "rsa") throw bad("ClientCert has no RSA key.");
  return certificate.toString();
}
