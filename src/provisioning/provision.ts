/**
 * A board's credential from its first start on: use what is stored, else register and store before anything else.
 *
 * In storage, `credential` holds the version, a generation (0 or 1), the number of further parts, a SHA-256 of these three
 * bytes and the content, then the content's first 3965 bytes; `credential.G.N` hold what does not fit. The parts of a new
 * generation are written first, `credential` last and at once: a power cut leaves the old or the new credential, never
 * half of one. `registering` stands there from before a registration until its credential is stored, since a response
 * that got lost may have invalidated what is stored.
 */

import { Sha256 } from "../crypto/sha256.js";
import { utf8 } from "../crypto/utf8.js";
import type { DeviceOptions } from "../device.js";
import { AnswerError, IotHubError, isTransient } from "../errors.js";
import { type Host, type NativeDigest, type Storage, storageLimits } from "../host.js";
import type { Identity } from "../message.js";
import { checkOptions, provisionedDeviceRules, provisionRules } from "../options.js";
import { reachableEndpoint } from "../request/endpoint.js";
import { parseObject } from "../request/response.js";
import type { Credential } from "../signing/signer.js";
import {
  type RegisterOptions,
  type Registration,
  readIdentity,
  readOwnCertificate,
  register,
  secretCredential,
} from "./register.js";

export interface ProvisionOptions extends Omit<RegisterOptions, "productSecret"> {
  /** Needed to register; a device that has its credential does without. */
  readonly productSecret?: string;
  /** Registers even if a credential is stored; what is stored is replaced once the new one has come. */
  readonly force?: boolean;
}

export interface Provisioned extends Identity {
  readonly credential: Credential;
  /** The certificate that belongs to a private key, PEM. */
  readonly certificate?: string;
  /** Where the credential comes from. */
  readonly origin: "stored" | "registered";
  /** After a registration: what the gateway calls it, and whether the device was new (0) or known (1). */
  readonly requestId?: string;
  readonly state?: 0 | 1;
}

const VERSION = 1;
const HEAD = "credential";
const PART = "credential.";
const MARK = "registering";
const HASH_BYTES = 32;
/** Version, generation, parts, hash. */
const HEAD_BYTES = 3 + HASH_BYTES;
/** 64 000 bytes: more than any chain of certificates that a device can use. */
const MAX_PARTS = 15;
const NO_GENERATION = 2;

/**
 * Resolves with the device's credential: the stored one, or, where there is none, one that is registered and stored
 * before anything else is done with it. A stored credential is never replaced unless `force` is given or an earlier
 * registration was cut short. Call it once at a time for one storage.
 * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED; NOT_PROVISIONED and
 * STORED_CREDENTIAL_DAMAGED without a `productSecret`; STORED_CREDENTIAL_OTHER if what is stored belongs to another
 * ProductId or DeviceName (`force` or {@link forget} helps); and what {@link register} throws
 */
export async function provision(options: ProvisionOptions, host: Host): Promise<Provisioned> {
  checkOptions("", options, provisionRules);
  const identity = readIdentity(options, host);
  readOwnCertificate(options);
  const store = new CredentialStore(host);
  const stored = await store.load();
  const mark = await store.readMark();
  // A registration whose credential was stored ended well, even if the mark is still there.
  const cutShort = mark !== undefined && mark === stored.generation;
  const { productSecret, force = false } = options;

  if (stored.record !== undefined && !force) {
    checkOwner(stored.record, identity);
    if (!cutShort || productSecret === undefined) {
      // What cannot be tidied up now does no harm: the credential is good.
      if (mark !== undefined && !cutShort) await store.clean(stored).catch(() => {});
      return provisioned(stored.record, identity, options);
    }
  }
  if (productSecret === undefined) throw stored.damaged ? damaged() : notProvisioned();

  // Before the mark: a registration that cannot be sent has not been cut short.
  reachableEndpoint(options, host.http);
  // Writing it first also shows, before the gateway issues a secret, that the storage takes one.
  if (!cutShort) await store.writeMark(stored.generation);
  const { force: _, ...registering } = options;
  let registration: Registration;
  try {
    registration = await register({ ...registering, ...identity, productSecret }, host);
  } catch (error) {
    // The gateway has said no for good. A refusal that follows a lost response proves nothing about what is stored.
    if (error instanceof AnswerError && error.code === "GATEWAY_REJECTED" && !isTransient(error.errorClass)) {
      if (!cutShort) await store.deleteMark();
      else if (stored.record !== undefined && !force) return provisioned(stored.record, identity, options);
    }
    throw error;
  }
  const record = makeRecord(identity, registration, options);
  await store.save(record, stored);
  const { requestId, state } = registration;
  return { ...provisioned(record, identity, options), origin: "registered", requestId, state };
}

/** Options of a device whose credential is found in storage, or registered on its first start. */
export interface ProvisionedDeviceOptions extends Omit<DeviceOptions, "credential" | "deviceName">, ProvisionOptions {}

/**
 * {@link provision}, and the options of a device that has the credential. No secret of the registration stays in them.
 * @throws {IotHubError} what {@link provision} and {@link createSigner} throw
 */
export async function provisionOptions(options: ProvisionedDeviceOptions, host: Host): Promise<DeviceOptions> {
  checkOptions("", options, provisionedDeviceRules);
  const { maxPayloadBytes, log, outbox, ...provisioning } = options;
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
 * Wipes what {@link provision} has stored. Flash that levels its wear may keep old bytes until it reuses them: encrypt it.
 * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED
 */
export async function forget(host: Pick<Host, "storage">): Promise<void> {
  await new CredentialStore(host).wipe();
}

/** What is stored, as JSON. */
interface CredentialRecord {
  readonly productId: string;
  readonly deviceName: string;
  readonly psk?: string;
  /** PEM. */
  readonly privateKey?: string;
  readonly certificate?: string;
  /** With a CA of one's own, the app keeps the key and the certificate; this says that they were registered. */
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
      "The device was registered with its own certificate: its clientCertificate and clientKey are needed.",
    );
  }
  return { ...found, credential: { privateKey }, certificate };
}

interface Stored {
  readonly record?: CredentialRecord;
  /** 0 or 1; 2 where no credential can be read. */
  readonly generation: number;
  /** Number of parts beyond the head. */
  readonly parts: number;
  /** Something is stored, and it cannot be read. */
  readonly damaged: boolean;
}

class CredentialStore {
  readonly #storage: Storage;
  readonly #digest: NativeDigest | undefined;

  constructor(host: Pick<Host, "storage" | "digest">) {
    if (host.storage === undefined) {
      throw new IotHubError("INVALID_OPTION", "Provisioning needs a host with storage to keep the credential in.");
    }
    this.#storage = host.storage;
    this.#digest = host.digest;
  }

  async load(): Promise<Stored> {
    const none = { generation: NO_GENERATION, parts: 0 };
    const head = await attempt(() => this.#storage.get(HEAD));
    if (head === undefined) return { ...none, damaged: false };
    const damagedRecord = { ...none, damaged: true };
    const [version, generation, parts] = head;
    if (head.length < HEAD_BYTES || version !== VERSION || generation > 1 || parts > MAX_PARTS) return damagedRecord;
    const pieces = [head.subarray(HEAD_BYTES)];
    for (let n = 0; n < parts; n++) {
      const part = await attempt(() => this.#storage.get(partKey(generation, n)));
      if (part === undefined) return damagedRecord;
      pieces.push(part);
    }
    const content = concatenate(pieces);
    const sum = this.#hash(head.subarray(0, 3), content);
    const record = sum.every((byte, i) => byte === head[3 + i])
      ? (parseObject(content) as CredentialRecord | undefined)
      : undefined;
    content.fill(0);
    return record === undefined ? damagedRecord : { record, generation, parts, damaged: false };
  }

  /** The generation that was stored when a registration began. */
  async readMark(): Promise<number | undefined> {
    const mark = await attempt(() => this.#storage.get(MARK));
    if (mark === undefined) return undefined;
    // One that is torn was cut off while it was written, before anything was sent: as good as one that is done with.
    return mark.length === 2 && mark[0] === VERSION ? mark[1] : -1;
  }

  async writeMark(generation: number): Promise<void> {
    await attempt(() => this.#storage.set(MARK, Uint8Array.of(VERSION, generation)));
  }

  async deleteMark(): Promise<void> {
    await attempt(() => this.#storage.delete(MARK));
  }

  async save(record: CredentialRecord, before: Stored): Promise<void> {
    const content = utf8(JSON.stringify(record));
    const generation = before.generation === 0 ? 1 : 0;
    const first = storageLimits.valueBytes - HEAD_BYTES;
    const parts = Math.ceil(Math.max(0, content.length - first) / storageLimits.valueBytes);
    if (parts > MAX_PARTS) throw new IotHubError("STORAGE_FAILED", "The credential is too large to be stored.");
    const lead = Uint8Array.of(VERSION, generation, parts);
    const head = concatenate([lead, this.#hash(lead, content), content.subarray(0, first)]);
    for (let n = 0; n < parts; n++) {
      const from = first + n * storageLimits.valueBytes;
      const part = content.slice(from, from + storageLimits.valueBytes);
      await attempt(() => this.#storage.set(partKey(generation, n), part));
    }
    await attempt(() => this.#storage.set(HEAD, head));
    head.fill(0);
    content.fill(0);
    // There is no second chance to find out that a storage is full or worn.
    if ((await this.load()).generation !== generation) {
      throw new IotHubError("STORAGE_FAILED", "The storage did not keep the credential.");
    }
    // From here on the credential is safe. What is left over goes at the next start if it cannot go now.
    await this.clean({ generation, parts }).catch(() => {});
  }

  /** Deletes the parts of other credentials, then the mark. */
  async clean({ generation, parts }: Pick<Stored, "generation" | "parts">): Promise<void> {
    const used = Array.from({ length: parts }, (_, n) => partKey(generation, n));
    for (const key of await attempt(() => this.#storage.keys())) {
      if (key.startsWith(PART) && !used.includes(key)) await attempt(() => this.#storage.delete(key));
    }
    await this.deleteMark();
  }

  async wipe(): Promise<void> {
    await attempt(() => this.#storage.delete(HEAD));
    await this.clean({ generation: NO_GENERATION, parts: 0 });
  }

  #hash(lead: Uint8Array, content: Uint8Array): Uint8Array {
    return this.#digest?.sha256(lead, content) ?? new Sha256().update(lead).update(content).digest();
  }
}

function partKey(generation: number, n: number): string {
  return `${PART}${generation}.${n}`;
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function checkOwner(record: CredentialRecord, { productId, deviceName }: Identity): void {
  if (record.productId !== productId || record.deviceName !== deviceName) {
    throw new IotHubError(
      "STORED_CREDENTIAL_OTHER",
      "The stored credential belongs to another ProductId or DeviceName; forget it, or register with force.",
    );
  }
}

/** Whatever a storage throws becomes STORAGE_FAILED. */
async function attempt<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    if (cause instanceof IotHubError) throw cause;
    throw new IotHubError("STORAGE_FAILED", "The storage for the credential cannot be used.", cause);
  }
}

function notProvisioned(): IotHubError {
  return new IotHubError(
    "NOT_PROVISIONED",
    "The device has no credential yet, and registering one needs the productSecret.",
  );
}

function damaged(): IotHubError {
  return new IotHubError(
    "STORED_CREDENTIAL_DAMAGED",
    "The stored credential does not match its checksum, and registering another needs the productSecret.",
  );
}
