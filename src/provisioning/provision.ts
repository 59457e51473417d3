/**
 * Provisioning: uses the stored credential, or registers the device and stores the new credential before using it.
 *
 * Storage format: `cred` holds the version, a generation (0 or 1), the number of further parts as a base-36 digit, the
 * first 16 bytes of the SHA-256 of these three characters and the content, in hex, and the beginning of the content;
 * `cred.G.N` hold the rest. The content is ASCII-only JSON, so that it can be split anywhere. The parts of a new
 * generation are written first and `cred` last, atomically: a power loss leaves either the old or the new credential.
 * The marker `registering` is written before a registration and deleted once its credential is stored, since a
 * registration whose response was lost may have revoked the stored credential.
 */

import { hex } from "../crypto/hex.js";
import { Sha256 } from "../crypto/sha256.js";
import { utf8 } from "../crypto/utf8.js";
import type { DeviceOptions } from "../device.js";
import { classifyError, IotHubError, isTransient, ResponseError } from "../errors.js";
import type { Host, NativeDigest, Storage } from "../host.js";
import type { Identity } from "../message.js";
import { checkOptions, provisionedDeviceRules, provisionRules } from "../options.js";
import { reachableEndpoint } from "../request/endpoint.js";
import { parseObject } from "../request/response.js";
import type { Credential } from "../signing/signer.js";
import { LimitedStorage, storageError } from "../storage/limits.js";
import {
  type RegisterOptions,
  type Registration,
  readIdentity,
  readOwnCertificate,
  register,
  secretCredential,
} from "./register.js";

/** Options of {@link provision}. */
export interface ProvisionOptions extends Omit<RegisterOptions, "productSecret"> {
  /** The product's secret, needed only to register; see {@link RegisterOptions.productSecret}. */
  readonly productSecret?: string;
  /**
   * Registers even if a credential is stored. The stored one is replaced when the new one has been received. @default
   * false
   */
  readonly force?: boolean;
}

/** A device's identity and stored credential. */
export interface Provisioned extends Identity {
  readonly credential: Credential;
  /** Certificate of a private key, in PEM. */
  readonly certificate?: string;
  /** Whether the credential was stored already or was just registered. */
  readonly origin: "stored" | "registered";
  /** After a registration: RequestId of the gateway. */
  readonly requestId?: string;
  /** After a registration: 0 if the device was new, 1 if it had registered before. */
  readonly state?: 0 | 1;
}

const VERSION = "1";
const HEAD = "cred";
const PART = "cred.";
const PENDING = "registering";
const HASH_BYTES = 16;
/** Version, generation, parts, hash. */
const HEAD_LENGTH = 3 + 2 * HASH_BYTES;
/** At least 60 000 bytes, more than any certificate chain that a device can use. */
const MAX_PARTS = 15;
const NO_GENERATION = 2;
/** Marker of another version, about a registration that this version cannot interpret. */
const OTHER_PENDING = -1;

/**
 * Resolves with the device's credential: the stored one or, if there is none, a new one, which is registered and stored
 * first. A stored credential is only replaced with `force`, or if an earlier registration was interrupted. Do not call
 * it concurrently for one storage.
 * @throws {IotHubError} INVALID_OPTION, also if the host has no storage; STORAGE_FAILED, STORAGE_FULL, STORAGE_STOPPED,
 * STORAGE_IN_USE; without a `productSecret` NOT_PROVISIONED if no credential is stored, STORED_CREDENTIAL_DAMAGED if it
 * is corrupt; STORED_CREDENTIAL_OTHER if it belongs to another ProductId or DeviceName (use `force` or {@link forget});
 * and the errors of {@link register}
 * @example
 *   const host = createHost();
 *   const { deviceName, credential } = await provision({ productId: "ABCDE12345", productSecret }, host);
 *   const device = new Device({ productId: "ABCDE12345", deviceName, credential }, host);
 */
export async function provision(options: ProvisionOptions, host: Host): Promise<Provisioned> {
  checkOptions("", options, provisionRules);
  const identity = readIdentity(options, host);
  readOwnCertificate(options);
  const store = new CredentialStore(host, options.storageTimeoutMs);
  let stored = await store.load();
  const pending = await store.readPending();
  // If the generation has changed since the marker was written, the registration was completed.
  let cutShort = pending !== undefined && pending === stored.generation;
  const { productSecret, force = false } = options;

  if (stored.record !== undefined && !force) {
    checkOwner(stored.record, identity);
    if (!cutShort || productSecret === undefined) {
      // Leftovers that cannot be deleted now are harmless: the credential is valid.
      if (pending !== undefined && !cutShort) await store.clean(stored).catch(() => {});
      return provisioned(stored.record, identity, options);
    }
  }
  await store.checkAbsent(stored, pending);
  if (productSecret === undefined) throw stored.isCorrupt ? corruptCredential() : notProvisioned();

  // Before the marker: a registration that cannot be sent was not interrupted.
  reachableEndpoint(options, host.http);
  // A corrupt credential may be the one that the marker refers to: keep the marker's generation.
  const replaced = stored.record === undefined && (pending === 0 || pending === 1) ? pending : stored.generation;
  // Writing the marker first also shows that the storage works before the gateway issues a secret.
  if (pending !== replaced) await store.writePending(replaced);
  if (stored.record === undefined) {
    // Read again: a storage that is short of memory may have reported the credential as absent.
    stored = await store.load();
    await store.checkAbsent(stored, replaced);
    if (stored.record !== undefined) {
      if (!force) checkOwner(stored.record, identity);
      cutShort = pending === stored.generation;
      if (!force && !cutShort) {
        await store.deletePending().catch(() => {});
        return provisioned(stored.record, identity, options);
      }
      if (!cutShort) await store.writePending(stored.generation);
    }
  }
  const { force: _, ...registering } = options;
  let registration: Registration;
  try {
    registration = await register({ ...registering, ...identity, productSecret }, host);
  } catch (error) {
    // A failure after an interrupted registration proves nothing about the stored credential, which may still be valid.
    if (cutShort && stored.record !== undefined && !force && !isOwnFault(error)) {
      return provisioned(stored.record, identity, options);
    }
    // A permanent rejection issued no credential: the marker is not needed.
    const isFinal =
      error instanceof ResponseError && error.code === "GATEWAY_REJECTED" && !isTransient(error.errorClass);
    if (isFinal && !cutShort) await store.deletePending();
    throw error;
  }
  const record = makeRecord(identity, registration, options);
  await store.save(record, stored.record === undefined ? replaced : stored.generation);
  const { requestId, state } = registration;
  return { ...provisioned(record, identity, options), origin: "registered", requestId, state };
}

/** Options of a device whose credential is stored, or registered on the first start. */
export interface ProvisionedDeviceOptions extends Omit<DeviceOptions, "credential" | "deviceName">, ProvisionOptions {}

/**
 * Calls {@link provision} and returns the options of a device with the credential, without the secrets of the
 * registration.
 * @throws {IotHubError} the errors of {@link provision}
 */
export async function provisionOptions(options: ProvisionedDeviceOptions, host: Host): Promise<DeviceOptions> {
  checkOptions("", options, provisionedDeviceRules);
  const { maxPayloadBytes, log, outbox, heartbeat, ...provisioning } = options;
  const { deviceName, credential } = await provision(provisioning, host);
  const {
    productSecret: _s,
    clientKey: _k,
    clientCertificate: _c,
    clientCertificateMembers: _m,
    algorithm: _a,
    signal: _g,
    force: _f,
    ...rest
  } = options;
  return { ...rest, deviceName, credential };
}

/**
 * Deletes the stored credential. Wear-levelled flash may keep the old bytes until it reuses them: use flash encryption.
 * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED, STORAGE_IN_USE; STORAGE_FULL,
 * STORAGE_STOPPED if the storage could not be opened
 */
export async function forget(host: Pick<Host, "storage">): Promise<void> {
  await new CredentialStore(host).wipe();
}

/** The stored content, as JSON. */
interface CredentialRecord {
  readonly productId: string;
  readonly deviceName: string;
  readonly psk?: string;
  /** PEM. */
  readonly privateKey?: string;
  readonly certificate?: string;
  /** With a private CA, the app keeps key and certificate; true records that they were registered. */
  readonly ownCertificate?: true;
}

function makeRecord(identity: Identity, registration: Registration, own: ProvisionOptions): CredentialRecord {
  if (registration.certificate === undefined) return { ...identity, psk: registration.secret };
  const { privateKey, certificate } = registration;
  if (privateKey === own.clientKey || typeof privateKey !== "string") return { ...identity, ownCertificate: true };
  return { ...identity, privateKey, certificate };
}

function provisioned(record: CredentialRecord, identity: Identity, own: ProvisionOptions): Provisioned {
  const { psk, privateKey = own.clientKey, certificate = readOwnCertificate(own) } = record;
  const found = { ...identity, origin: "stored" as const };
  if (psk !== undefined) return { ...found, credential: secretCredential(psk, own.algorithm) };
  if (privateKey === undefined) {
    throw new IotHubError(
      "INVALID_OPTION",
      "The device was registered with its own certificate: clientCertificate and clientKey are required.",
    );
  }
  return { ...found, credential: { privateKey }, certificate };
}

/** Whether the caller aborted, or must change its input. */
function isOwnFault(error: unknown): boolean {
  const errorClass = classifyError(error);
  return errorClass === "cancelled" || errorClass === "input" || errorClass === "state";
}

interface Stored {
  readonly record?: CredentialRecord;
  /** 0 or 1; 2 if no credential can be read. */
  readonly generation: number;
  /** Number of parts beyond the head. */
  readonly parts: number;
  /** Whether a credential is stored that cannot be read. */
  readonly isCorrupt: boolean;
  /** Key that reads as absent. */
  readonly absent?: string;
}

class CredentialStore {
  readonly #storage: Storage;
  /** Without a timeout, for saving a credential: there is no other copy of it. */
  readonly #unlimited: Storage;
  readonly #digest: NativeDigest | undefined;

  constructor(host: Pick<Host, "storage" | "digest"> & Partial<Pick<Host, "timer">>, timeoutMs?: number) {
    const { storage, timer, digest } = host;
    if (storage === undefined) {
      throw new IotHubError("INVALID_OPTION", "Provisioning needs a host with storage for the credential.");
    }
    this.#unlimited = storage;
    this.#storage = timer === undefined ? storage : new LimitedStorage(storage, timer, timeoutMs);
    this.#digest = digest;
  }

  /** Reads the stored credential. It is corrupt only if it is invalid twice. */
  async load(from: Storage = this.#storage): Promise<Stored> {
    const first = await this.#load(from);
    return first.isCorrupt ? this.#load(from) : first;
  }

  /** Rejects if the storage lists a key that it reports as absent, as may happen when memory is short. */
  async checkAbsent({ absent }: Stored, pending: number | undefined): Promise<void> {
    const keys = await attempt(() => this.#storage.keys());
    if ((absent !== undefined && keys.includes(absent)) || (pending === undefined && keys.includes(PENDING))) {
      throw new IotHubError("STORAGE_FAILED", "The storage has a credential that cannot be read.");
    }
  }

  async #load(from: Storage): Promise<Stored> {
    const none = { generation: NO_GENERATION, parts: 0 };
    const head = await attempt(() => from.get(HEAD));
    if (head === undefined) return { ...none, isCorrupt: false, absent: HEAD };
    const corruptRecord = { ...none, isCorrupt: true };
    if (!/^1[01][0-9a-f][0-9a-f]{32}/.test(head)) return corruptRecord;
    const generation = Number(head[1]);
    const parts = Number.parseInt(head[2], 36);
    const pieces = [head.slice(HEAD_LENGTH)];
    for (let n = 0; n < parts; n++) {
      const part = await attempt(() => from.get(partKey(generation, n)));
      if (part === undefined) return { ...corruptRecord, absent: partKey(generation, n) };
      pieces.push(part);
    }
    const content = utf8(pieces.join(""));
    const isWhole = this.#hash(head.slice(0, 3), content) === head.slice(3, HEAD_LENGTH);
    const record = isWhole ? (parseObject(content) as CredentialRecord | undefined) : undefined;
    content.fill(0);
    return record === undefined ? corruptRecord : { record, generation, parts, isCorrupt: false };
  }

  /** Returns the generation that was stored when a registration began. Another version's marker is read twice. */
  async readPending(): Promise<number | undefined> {
    const pending = await this.#readPending();
    return pending === OTHER_PENDING ? this.#readPending() : pending;
  }

  async #readPending(): Promise<number | undefined> {
    const pending = await attempt(() => this.#storage.get(PENDING));
    if (pending === undefined) return undefined;
    return /^1[012]$/.test(pending) ? Number(pending[1]) : OTHER_PENDING;
  }

  async writePending(generation: number): Promise<void> {
    const pending = `${VERSION}${generation}`;
    await attempt(() => this.#storage.set(PENDING, pending));
    if ((await attempt(() => this.#storage.get(PENDING))) !== pending) {
      throw new IotHubError(
        "STORAGE_FAILED",
        "The storage did not keep a value that was written; a credential would not be safe there.",
      );
    }
  }

  async deletePending(): Promise<void> {
    await attempt(() => this.#storage.delete(PENDING));
  }

  /** Stores a credential. @param replaced generation of the stored one, which stays until the new one is complete */
  async save(record: CredentialRecord, replaced: number): Promise<void> {
    const storage = this.#unlimited;
    const text = asciiJson(record);
    const content = utf8(text);
    const generation = replaced === 0 ? 1 : 0;
    const { maxValueBytes } = storage;
    const first = maxValueBytes - HEAD_LENGTH;
    const parts = Math.ceil(Math.max(0, text.length - first) / maxValueBytes);
    if (parts > MAX_PARTS) throw new IotHubError("STORAGE_FAILED", "The credential is too large to be stored.");
    const lead = `${VERSION}${generation}${parts.toString(36)}`;
    const head = `${lead}${this.#hash(lead, content)}${text.slice(0, first)}`;
    content.fill(0);
    for (let n = 0; n < parts; n++) {
      const from = first + n * maxValueBytes;
      await attempt(() => storage.set(partKey(generation, n), text.slice(from, from + maxValueBytes)));
    }
    await attempt(() => storage.set(HEAD, head));
    // Verify now, while the credential is still in memory: the storage may be full or worn out.
    if ((await this.load(storage)).generation !== generation) {
      throw new IotHubError("STORAGE_FAILED", "The storage did not keep the credential.");
    }
    // The credential is safe now. Leftovers that cannot be deleted are deleted at the next start.
    await this.clean({ generation, parts }).catch(() => {});
  }

  /** Deletes the parts of other credentials, then the marker. */
  async clean({ generation, parts }: Pick<Stored, "generation" | "parts">): Promise<void> {
    const used = Array.from({ length: parts }, (_, n) => partKey(generation, n));
    for (const key of await attempt(() => this.#storage.keys())) {
      if (key.startsWith(PART) && !used.includes(key)) await attempt(() => this.#storage.delete(key));
    }
    await this.deletePending();
  }

  async wipe(): Promise<void> {
    await attempt(() => this.#storage.delete(HEAD));
    await this.clean({ generation: NO_GENERATION, parts: 0 });
  }

  #hash(lead: string, content: Uint8Array): string {
    const first = utf8(lead);
    const hash = this.#digest?.sha256(first, content) ?? new Sha256().update(first).update(content).digest();
    return hex(hash.subarray(0, HASH_BYTES));
  }
}

function partKey(generation: number, n: number): string {
  return `${PART}${generation}.${n}`;
}

/** Encodes JSON with all non-ASCII characters escaped: text around a PEM certificate may contain any. */
function asciiJson(value: object): string {
  const json = JSON.stringify(value);
  if (utf8(json).length === json.length) return json;
  const escaped = (unit: number): string => `\\u${unit.toString(16).padStart(4, "0")}`;
  let text = "";
  for (const character of json) {
    const code = character.codePointAt(0) as number;
    if (code < 0x80) text += character;
    else if (code < 0x10000) text += escaped(code);
    else text += escaped(0xd800 + ((code - 0x10000) >> 10)) + escaped(0xdc00 + (code & 0x3ff));
  }
  return text;
}

function checkOwner(record: CredentialRecord, { productId, deviceName }: Identity): void {
  if (record.productId !== productId || record.deviceName !== deviceName) {
    throw new IotHubError(
      "STORED_CREDENTIAL_OTHER",
      "The stored credential belongs to another ProductId or DeviceName; delete it with forget(), or register with force.",
    );
  }
}

/** Turns errors of a storage into STORAGE_FAILED, unless they have a code. */
async function attempt<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    throw storageError(cause);
  }
}

function notProvisioned(): IotHubError {
  return new IotHubError(
    "NOT_PROVISIONED",
    "The device has no credential yet, and registering one needs the productSecret.",
  );
}

function corruptCredential(): IotHubError {
  return new IotHubError(
    "STORED_CREDENTIAL_DAMAGED",
    "The stored credential does not match its checksum, and registering another needs the productSecret.",
  );
}
