import { createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { GatewayError } from "./errors.js";

/** Permission of a device for a topic. Only `publish` and `both` allow publishing; `none`: the topic has no policy. */
export type TopicPermission = "publish" | "subscribe" | "both" | "none";

/** `isolated`: in arrears (`FailedOperation.AccountIsolated`). */
export type AccountState = "isolated";

/** `forbidden`: disabled (`UnauthorizedOperation.ProductIsForbidden`). */
export type ProductState = "forbidden";

/**
 * - `disabled`: in the console (`FailedOperation.DeviceAlreadyDisabled`)
 * - `notEnabled`: not yet (`UnauthorizedOperation.DeviceIsNotEnabled`)
 */
export type DeviceState = "disabled" | "notEnabled";

/** Type of the credentials of a product's devices. */
export type Authentication = "psk" | "certificate";

/** Description of a device, with exactly one of `psk`, `publicKey` and `certificate`. */
export interface DeviceDescription {
  /** PSK, 4 to 64 Base64 characters, used as text. */
  readonly psk?: string;
  /** The device's RSA public key, PEM. */
  readonly publicKey?: string;
  /** The device's certificate with an RSA key, PEM. */
  readonly certificate?: string;
  /** The only accepted algorithm. @default every algorithm for the credential */
  readonly algorithm?: SignatureAlgorithm;
  /**
   * Permissions in addition to the default topics, by the name after `<ProductId>/<DeviceName>/` or by full topic. They
   * override those of the default topics.
   */
  readonly topics?: Readonly<Record<string, TopicPermission>>;
  /** State in which every correctly signed request of the device is rejected. */
  readonly state?: DeviceState;
}

/** Response of a product to `/device/register`. */
export interface RegistrationDescription {
  /** Credential that a device gets: a PSK, or a certificate with its private key. @default "psk" */
  readonly credential?: "psk" | "certificate";
  /** Whether unknown devices are created. @default true */
  readonly open?: boolean;
  /**
   * Reaction to a repeated registration: `"same"` returns the same credential, `"renew"` issues a new one and revokes
   * the old one, `"refuse"` responds with `UnsupportedOperation.ClientCertAlreadyGot`. @default "same"
   */
  readonly again?: "same" | "renew" | "refuse";
  /** Maximum number of devices of the product, registered or described. @default no limit */
  readonly maxDevices?: number;
  /** PEM of the product's private CA: devices send a certificate signed by it and get no secret. */
  readonly ownCa?: string;
  /** Omits `State` from the response, as in older documentation. */
  readonly withoutState?: boolean;
}

export interface ProductDescription {
  /**
   * ProductSecret, which signs registrations; at least 16 characters, the first 16 of which are the AES key of the
   * response.
   */
  readonly productSecret?: string;
  readonly registration?: RegistrationDescription;
  /** State in which every correctly signed request of the product is rejected, including registrations. */
  readonly state?: ProductState;
  /**
   * Credential type of all its devices. With `certificate`, HMAC is rejected
   * (`UnauthorizedOperation.ProductNotSupportPSK`), with `psk`, RSA (`UnsupportedOperation.WrongProductAuthType`).
   * @default by each device's credential
   */
  readonly authentication?: Authentication;
  readonly devices?: Readonly<Record<string, DeviceDescription>>;
}

/** The content of a devices file. */
export interface DevicesDescription {
  /** State in which every correctly signed request is rejected. */
  readonly account?: AccountState;
  readonly products: Readonly<Record<string, ProductDescription>>;
}

export type SignatureAlgorithm = "hmacsha256" | "hmacsha1" | "rsa-sha256";

export const signatureAlgorithms: readonly SignatureAlgorithm[] = ["hmacsha256", "hmacsha1", "rsa-sha256"];

export type Credential =
  | { readonly kind: "psk"; readonly psk: string }
  | { readonly kind: "publicKey"; readonly publicKey: KeyObject };

export interface DeviceRecord {
  readonly productId: string;
  readonly deviceName: string;
  credential: Credential;
  readonly algorithm: SignatureAlgorithm | undefined;
  readonly topics: ReadonlyMap<string, TopicPermission>;
  /** Can be changed while the gateway runs. */
  state?: DeviceState;
  /** The issued credential, to return it again. */
  issued?: Readonly<Record<string, unknown>>;
}

/** A device that registered, as it is kept over restarts. */
export interface RegisteredDevice {
  /** What its requests are verified with. */
  readonly device: DeviceDescription;
  /** The issued credential. */
  readonly issued: Readonly<Record<string, unknown>>;
}

export interface ProductRecord {
  readonly productId: string;
  readonly productSecret: string | undefined;
  readonly registration: RegistrationDescription;
  readonly ownCa: X509Certificate | undefined;
  /** Can be changed while the gateway runs. */
  state?: ProductState;
  readonly authentication: Authentication | undefined;
  readonly devices: Map<string, DeviceRecord>;
}

export const productIdPattern = /^[A-Za-z0-9_]{1,32}$/;
export const deviceNamePattern = /^[A-Za-z0-9:_-]{1,48}$/;

const defaultTopics: readonly (readonly [string, TopicPermission])[] = [
  ["control", "subscribe"],
  ["event", "publish"],
  ["data", "both"],
];

/** Registry of products and devices. */
export class DeviceRegistry {
  readonly products = new Map<string, ProductRecord>();
  /** Can be changed while the gateway runs. */
  account: AccountState | undefined;
  /** Maximum number of devices of all products that registrations may reach. */
  readonly maxDevices: number;
  /** Called before a registered device is stored; if it throws, the registration is refused. */
  onRegistered: ((productId: string, deviceName: string, device: RegisteredDevice) => void) | undefined;

  /** @throws {GatewayError} INVALID_DEVICES with the path of the invalid member, such as `products.P.devices.D.psk` */
  constructor(description: DevicesDescription, maxDevices = 10_000) {
    this.maxDevices = maxDevices;
    const root = object(description, "devices", ["products", "account"]);
    oneOf(root.account, "account", ["isolated"]);
    this.account = root.account as AccountState | undefined;
    const products = object(root.products, "products");
    for (const [productId, product] of Object.entries(products)) {
      this.products.set(productId, readProduct(productId, product));
    }
  }

  /**
   * Adds or replaces a device while the gateway runs.
   * @throws {GatewayError} INVALID_DEVICES if the product is unknown or the description invalid
   */
  set(productId: string, deviceName: string, description: DeviceDescription): void {
    const product = this.products.get(productId);
    if (!product) throw invalid(`products.${productId}`, "is not a known product");
    const place = `products.${productId}.devices.${deviceName}`;
    product.devices.set(deviceName, readDevice(productId, deviceName, description, place));
  }

  /**
   * Changes the credential of a device and keeps its topics; adds the device if it is unknown.
   * @throws {GatewayError} INVALID_DEVICES if the product is unknown or the description invalid
   */
  setCredential(productId: string, deviceName: string, description: DeviceDescription): DeviceRecord {
    const product = this.products.get(productId);
    if (!product) throw invalid(`products.${productId}`, "is not a known product");
    const place = `products.${productId}.devices.${deviceName}`;
    const fresh = readDevice(productId, deviceName, description, place);
    const known = product.devices.get(deviceName);
    const device = known === undefined ? fresh : { ...known, algorithm: undefined, credential: fresh.credential };
    product.devices.set(deviceName, device);
    return device;
  }

  /** Stores a device with a newly issued credential. */
  register(productId: string, deviceName: string, registered: RegisteredDevice): void {
    this.onRegistered?.(productId, deviceName, registered);
    this.restore(productId, deviceName, registered);
  }

  /**
   * Stores a device that registered earlier.
   *
   * @throws {GatewayError} INVALID_DEVICES
   */
  restore(productId: string, deviceName: string, registered: RegisteredDevice): void {
    const { device, issued } = object(registered, `products.${productId}.devices.${deviceName}`, ["device", "issued"]);
    const place = `products.${productId}.devices.${deviceName}.issued`;
    this.setCredential(productId, deviceName, device as DeviceDescription).issued = object(issued, place);
  }

  /** Number of devices of all products. */
  get size(): number {
    let size = 0;
    for (const { devices } of this.products.values()) size += devices.size;
    return size;
  }

  find(productId: string, deviceName: string): DeviceRecord | undefined {
    return this.products.get(productId)?.devices.get(deviceName);
  }
}

/**
 * Reads a devices file: JSON in the format of {@link DevicesDescription}.
 * @throws {GatewayError} DEVICES_UNREADABLE, INVALID_DEVICES
 */
export function readDevicesFile(path: string): DevicesDescription {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new GatewayError("DEVICES_UNREADABLE", `The devices file ${path} cannot be read (${code}).`, error);
  }
  // JSON begins with ASCII, so in UTF-16 without a byte order mark one of the first two bytes is NUL.
  if (bytes.length > 1 && (bytes[0] >= 0xfe || bytes[0] === 0 || bytes[1] === 0)) {
    throw new GatewayError("INVALID_DEVICES", `The devices file ${path} is UTF-16, not UTF-8.`);
  }
  // Without the byte order mark that some editors add.
  const text = new TextDecoder().decode(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    // The parser's message quotes text near the error, which may be a key.
    const position = /position (\d+)/.exec(String(error))?.[1];
    const line = position === undefined ? "" : ` (line ${text.slice(0, Number(position)).split("\n").length})`;
    throw new GatewayError("INVALID_DEVICES", `The devices file ${path} is not valid JSON${line}.`);
  }
}

function readProduct(productId: string, value: unknown): ProductRecord {
  const place = `products.${productId}`;
  if (!productIdPattern.test(productId)) throw invalid(place, "is not a ProductId (letters, digits and _)");
  const product = object(value, place, ["productSecret", "registration", "state", "authentication", "devices"]);
  const productSecret = optionalText(product.productSecret, `${place}.productSecret`);
  if (productSecret !== undefined && productSecret.length < 16) {
    throw invalid(`${place}.productSecret`, "must have at least 16 characters");
  }
  const registration = readRegistration(product.registration, `${place}.registration`);
  let ownCa: X509Certificate | undefined;
  if (registration.ownCa !== undefined) {
    try {
      ownCa = new X509Certificate(registration.ownCa);
    } catch {
      throw invalid(`${place}.registration.ownCa`, "is not a certificate in PEM");
    }
  }
  const devices = new Map<string, DeviceRecord>();
  const described = product.devices === undefined ? {} : object(product.devices, `${place}.devices`);
  for (const [deviceName, device] of Object.entries(described)) {
    devices.set(deviceName, readDevice(productId, deviceName, device, `${place}.devices.${deviceName}`));
  }
  oneOf(product.state, `${place}.state`, ["forbidden"]);
  const state = product.state as ProductState | undefined;
  oneOf(product.authentication, `${place}.authentication`, ["psk", "certificate"]);
  const authentication = product.authentication as Authentication | undefined;
  return { productId, productSecret, registration, ownCa, state, authentication, devices };
}

function readRegistration(value: unknown, place: string): RegistrationDescription {
  if (value === undefined) return {};
  const registration = object(value, place, ["credential", "open", "again", "maxDevices", "ownCa", "withoutState"]);
  oneOf(registration.credential, `${place}.credential`, ["psk", "certificate"]);
  oneOf(registration.again, `${place}.again`, ["same", "renew", "refuse"]);
  for (const name of ["open", "withoutState"]) {
    if (registration[name] !== undefined && typeof registration[name] !== "boolean") {
      throw invalid(`${place}.${name}`, "must be true or false");
    }
  }
  const { maxDevices } = registration;
  if (maxDevices !== undefined && !(Number.isInteger(maxDevices) && (maxDevices as number) >= 0)) {
    throw invalid(`${place}.maxDevices`, "must be a non-negative integer");
  }
  optionalText(registration.ownCa, `${place}.ownCa`);
  return registration as RegistrationDescription;
}

function readDevice(productId: string, deviceName: string, value: unknown, place: string): DeviceRecord {
  if (!deviceNamePattern.test(deviceName)) {
    throw invalid(place, "is not a DeviceName (1 to 48 letters, digits, colons, _ and -)");
  }
  const device = object(value, place, ["psk", "publicKey", "certificate", "algorithm", "topics", "state"]);
  const given = ["psk", "publicKey", "certificate"].filter((name) => device[name] !== undefined);
  if (given.length !== 1) throw invalid(place, "needs exactly one of psk, publicKey and certificate");
  const text = optionalText(device[given[0]], `${place}.${given[0]}`) as string;
  const credential: Credential =
    given[0] === "psk"
      ? { kind: "psk", psk: text }
      : { kind: "publicKey", publicKey: readPublicKey(text, given[0] === "certificate", `${place}.${given[0]}`) };
  oneOf(device.algorithm, `${place}.algorithm`, signatureAlgorithms);
  const algorithm = device.algorithm as SignatureAlgorithm | undefined;
  if (algorithm !== undefined && (algorithm === "rsa-sha256") !== (credential.kind === "publicKey")) {
    throw invalid(`${place}.algorithm`, `does not fit a device with a ${given[0]}`);
  }
  const topics = new Map<string, TopicPermission>();
  for (const [name, permission] of defaultTopics) topics.set(`${productId}/${deviceName}/${name}`, permission);
  if (device.topics !== undefined) {
    for (const [name, permission] of Object.entries(object(device.topics, `${place}.topics`))) {
      oneOf(permission, `${place}.topics.${name}`, ["publish", "subscribe", "both", "none"]);
      const topic = name.includes("/") ? name : `${productId}/${deviceName}/${name}`;
      topics.set(topic, permission as TopicPermission);
    }
  }
  oneOf(device.state, `${place}.state`, ["disabled", "notEnabled"]);
  return { productId, deviceName, credential, algorithm, topics, state: device.state as DeviceState | undefined };
}

function readPublicKey(pem: string, isCertificate: boolean, place: string): KeyObject {
  if (/PRIVATE KEY/.test(pem)) throw invalid(place, "contains a private key: the gateway needs only the public key");
  let key: KeyObject;
  try {
    key = isCertificate ? new X509Certificate(pem).publicKey : createPublicKey(pem);
  } catch {
    throw invalid(place, isCertificate ? "is not a certificate in PEM" : "is not a public key in PEM");
  }
  if (key.asymmetricKeyType !== "rsa")
    throw invalid(place, `is a key of type ${key.asymmetricKeyType}; only RSA is supported`);
  return key;
}

function object(value: unknown, place: string, known?: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(place, "must be an object");
  const unknown = known && Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw invalid(`${place}.${unknown}`, `is unknown; the known members are ${known?.join(", ")}`);
  return value as Record<string, unknown>;
}

function optionalText(value: unknown, place: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") throw invalid(place, "must be a non-empty string");
  return value;
}

function oneOf(value: unknown, place: string, values: readonly string[]): void {
  if (value !== undefined && !values.includes(value as string)) {
    throw invalid(place, `must be one of ${values.join(", ")}`);
  }
}

function invalid(place: string, what: string): GatewayError {
  return new GatewayError("INVALID_DEVICES", `${place} ${what}.`);
}
