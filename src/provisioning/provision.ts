/**
 * A board's credential from its first start on: use what is stored, else register and store before anything else.
 *
 * In storage, `cred` holds the version, a generation (0 or 1), the number of further parts as a digit of base 36, the first
 * 16 bytes of a SHA-256 of these three characters and the content, in hex, then as much of the content as fits; `cred.G.N`
 * hold what does not. The content is JSON without any character beyond ASCII, so that it can be cut anywhere. The parts of
 * a new generation are written first, `cred` last and at once: a power cut leaves the old or the new credential, never
 * half of one. `registering` stands there from before a registration until its credential is stored, since a response
 * that got lost may have invalidated what is stored.
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
  /** Needed to register; not needed by a device that has its credential. */
  readonly productSecret?: string;
  /** Registers even if a credential is stored; what is stored is replaced once the new one has come. */
  readonly force?: boolean;
}

/** A device's identity with the credential that is stored. */
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

const VERSION = "1";
const HEAD = "cred";
const PART = "cred.";
const PENDING = "registering";
const HASH_BYTES = 16;
/** Version, generation, parts, hash. */
const HEAD_LENGTH = 3 + 2 * HASH_BYTES;
/** 60 000 bytes and more: more than any chain of certificates that a device can use. */
const MAX_PARTS = 15;
const NO_GENERATION = 2;
/** Another version's marker: of a registration that this one knows nothing of. */
const OTHER_PENDING = -1;

/**
 * Resolves with the device's credential: the stored one, or, where there is none, one that is registered and stored
 * before anything else is done with it. A stored credential is never replaced unless `force` is given or an earlier
 * registration was cut short. Call it once at a time for one storage.
 * @throws {IotHubError} INVALID_OPTION if the host has no storage; STORAGE_FAILED, STORAGE_FULL, STORAGE_STOPPED,
 * STORAGE_IN_USE; NOT_PROVISIONED and STORED_CREDENTIAL_DAMAGED without a `productSecret`; STORED_CREDENTIAL_OTHER if what is stored belongs to another
 * ProductId or DeviceName (`force` or {@link forget} helps); and what {@link register} throws
 */
export async function provision(options: ProvisionOptions, host: Host): Promise<Provisioned> {
  checkOptions("", options, provisionRules);
  const identity = readIdentity(options, host);
  readOwnCertificate(options);
  const store = new CredentialStore(host, options.storageTimeoutMs);
  let stored = await store.load();
  const pending = await store.readPending();
  // A registration whose credential was stored ended well, even if the marker is still there.
  let cutShort = pending !== undefined && pending === stored.generation;
  const { productSecret, force = false } = options;

  if (stored.record !== undefined && !force) {
    checkOwner(stored.record, identity);
    if (!cutShort || productSecret === undefined) {
      // What cannot be tidied up now does no harm: the credential is good.
      if (pending !== undefined && !cutShort) await store.clean(stored).catch(() => {});
      return provisioned(stored.record, identity, options);
    }
  }
  await store.checkAbsent(stored, pending);
  if (productSecret === undefined) throw stored.isCorrupt ? corruptCredential() : notProvisioned();

  // Before the marker: a registration that cannot be sent has not been cut short.
  reachableEndpoint(options, host.http);
  // What cannot be read may be the credential that the marker speaks of, and must not go on without it.
  const replaced = stored.record === undefined && (pending === 0 || pending === 1) ? pending : stored.generation;
  // Writing it first also shows, before the gateway issues a secret, that the storage takes one.
  if (pending !== replaced) await store.writePending(replaced);
  if (stored.record === undefined) {
    // A storage that is short of memory may have said that nothing is stored.
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
    // What follows a registration that was cut short proves nothing about what is stored, which may still be good.
    if (cutShort && stored.record !== undefined && !force && !isOwnFault(error)) {
      return provisioned(stored.record, identity, options);
    }
    // The gateway has said no for good.
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

/** Options of a device whose credential is found in storage, or registered on its first start. */
export interface ProvisionedDeviceOptions extends Omit<DeviceOptions, "credential" | "deviceName">, ProvisionOptions {}

/**
 * {@link provision}, and the options of a device that has the credential. No secret of the registration stays in them.
 * @throws {IotHubError} what {@link provision} and {@link createSigner} throw
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
  /** With a private CA, the app keeps the key and the certificate; this says that they were registered. */
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

/** Whether the caller gave up, or has to change something. */
function isOwnFault(error: unknown): boolean {
  const errorClass = classifyError(error);
  return errorClass === "cancelled" || errorClass === "input" || errorClass === "state";
}

interface Stored {
  readonly record?: CredentialRecord;
  /** 0 or 1; 2 where no credential can be read. */
  readonly generation: number;
  /** Number of parts beyond the head. */
  readonly parts: number;
  /** Something is stored, and it cannot be read. */
  readonly isCorrupt: boolean;
  /** The key that reads as absent where there should be a credential. */
  readonly absent?: string;
}

class CredentialStore {
  readonly #storage: Storage;
  /** Where a credential is saved, which is waited for without limit: there is no other copy of it. */
  readonly #unlimited: Storage;
  readonly #digest: NativeDigest | undefined;

  constructor(host: Pick<Host, "storage" | "digest"> & Partial<Pick<Host, "timer">>, timeoutMs?: number) {
    const { storage, timer, digest } = host;
    if (storage === undefined) {
      throw new IotHubError("INVALID_OPTION", "Provisioning needs a host with storage to keep the credential in.");
    }
    this.#unlimited = storage;
    this.#storage = timer === undefined ? storage : new LimitedStorage(storage, timer, timeoutMs);
    this.#digest = digest;
  }

  /** What is stored. It is damaged only if that is read twice. */
  async load(from: Storage = this.#storage): Promise<Stored> {
    const first = await this.#load(from);
    return first.isCorrupt ? this.#load(from) : first;
  }

  /** Rejects if the storage lists what it says is absent, as one may that is short of memory. */
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

  /** The generation that was stored when a registration began. It is another's only if that is read twice. */
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
        "The storage did not keep what it was given; no credential is safe there.",
      );
    }
  }

  async deletePending(): Promise<void> {
    await attempt(() => this.#storage.delete(PENDING));
  }

  /** @param replaced generation of what is stored, which stays until the new one is whole */
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
    // There is no second chance to find out that a storage is full or worn.
    if ((await this.load(storage)).generation !== generation) {
      throw new IotHubError("STORAGE_FAILED", "The storage did not keep the credential.");
    }
    // From here on the credential is safe. What is left over goes at the next start if it cannot go now.
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

/** JSON with escapes for all that is not ASCII: a comment in a certificate may have anything. */
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
      "The stored credential belongs to another ProductId or DeviceName; forget it, or register with force.",
    );
  }
}

/** Whatever a storage throws becomes STORAGE_FAILED, unless it says more. */
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
