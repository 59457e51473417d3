/**
 * Storage in a folder with one text file per key. A value is written to a temporary file, synchronized, and renamed.
 * Temporary files of interrupted writes, which may contain a credential, are deleted at the next start.
 */

import { randomBytes } from "node:crypto";
import { realpath } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { IotHubError } from "../../src/errors.js";
import type { Storage } from "../../src/host.js";
import {
  codeOf,
  describeFileError,
  type FileSystem,
  isMissing,
  nodeFileSystem,
  openFolder,
  syncFile,
  whileBusy,
  writeWhole,
} from "./file-system.js";
import { type FolderLock, lockFolder } from "./folder-lock.js";

const MAX_VALUE_BYTES = 65536;

/** A folder shared by all storages of one process: one lock, and serialized operations. */
class SharedFolder {
  /** Number of storages that use it. */
  users = 0;
  /** Whether a rename or deletion may not be on the disk yet. */
  unsynced = false;
  readonly #path: string;
  readonly #lock: Locker;
  #held: { lock: FolderLock | undefined } | undefined;
  /** A deletion must not overtake the write before it. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string, lock: Locker) {
    this.#path = path;
    this.#lock = lock;
  }

  run<T>(fs: FileSystem, operation: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      if (!this.#held) {
        this.#held = { lock: await this.#acquire() };
        await this.#clear(fs);
      }
      return operation();
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Called when the folder was deleted, and the lock with it. */
  async lost(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.lock?.release();
  }

  /** Releases the folder after all pending operations. */
  async release(): Promise<void> {
    await this.#last;
    await this.lost();
  }

  async #acquire(): Promise<FolderLock | undefined> {
    try {
      return await this.#lock(this.#path);
    } catch (error) {
      if (error instanceof IotHubError || isMissing(error) || codeOf(error) === "ENOTDIR") throw error;
      throw failed(`The storage folder ${this.#path} cannot be locked`, error);
    }
  }

  /**
   * Deletes the files of interrupted writes: since the folder is locked, these are all temporary files. Errors are
   * ignored here; they show when the folder is used.
   */
  async #clear(fs: FileSystem): Promise<void> {
    for (const entry of await fs.readdir(this.#path).catch(() => [])) {
      if (TEMPORARY.test(entry.name) && entry.isFile()) await discard(fs, join(this.#path, entry.name));
    }
  }
}

export type Locker = (folder: string) => Promise<FolderLock | undefined>;

/** Folders in use by a process. Tests create several to simulate several processes. */
export class StorageProcess {
  readonly #folders = new Map<string, SharedFolder>();
  readonly #releasing = new Map<string, Promise<void>>();
  readonly #lock: Locker;

  constructor(lock: Locker) {
    this.#lock = async (path) => {
      await this.#releasing.get(path);
      return lock(path);
    };
  }

  /** @param path real path of the folder */
  join(path: string): SharedFolder {
    let folder = this.#folders.get(path);
    if (!folder) {
      folder = new SharedFolder(path, this.#lock);
      this.#folders.set(path, folder);
    }
    folder.users++;
    return folder;
  }

  async leave(path: string, folder: SharedFolder): Promise<void> {
    if (--folder.users > 0) return;
    this.#folders.delete(path);
    const released = folder.release();
    this.#releasing.set(path, released);
    await released;
    if (this.#releasing.get(path) === released) this.#releasing.delete(path);
  }
}

const thisProcess = new StorageProcess(lockFolder);

/**
 * Creates a storage in a folder. An operation that rejects may have taken effect; its message says so if it has.
 * Repeating it is safe.
 *
 * File names are the keys. Characters that Windows or a case-insensitive file system would confuse are written as `%`
 * and two hex digits: capital letters, a trailing dot, the first letter of a device name such as `con` or `com1.log`.
 * Other files and folders are not touched.
 *
 * Only one process at a time can use the folder, from its first operation until `close()` or its end; several storages
 * in it can share the folder. Processes on different machines are not excluded on a network share.
 * @param folder created on the first write; readable only by its owner, as it may contain credentials
 * @returns a storage whose operations reject with INVALID_OPTION if a key or value is invalid, STORAGE_IN_USE if
 * another process uses the folder, STORAGE_FULL if the disk or the quota is full, or STORAGE_FAILED
 */
export function createStorage(folder: string): Storage & { close(): Promise<void> } {
  return createStorageOn(nodeFileSystem, folder);
}

const LIMITS = Object.freeze({ maxBytes: 1024 * 1024, maxQueued: 10_000 });

export function createStorageOn(
  fs: FileSystem,
  folder: string,
  owner: StorageProcess = thisProcess,
): Storage & { close(): Promise<void> } {
  /** Folders with a new subfolder that may not be on the disk yet. */
  const unsyncedParents: string[] = [];
  let joined: { path: string; shared: SharedFolder } | undefined;
  let isClosed = false;

  /** Returns the folder shared by all storages of this process. Rejects with ENOENT if it does not exist. */
  async function shared(): Promise<SharedFolder> {
    if (!joined) {
      const path = await realpath(folder);
      joined = { path, shared: owner.join(path) };
    }
    return joined.shared;
  }

  async function makeFolder(): Promise<void> {
    const first = await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    if (first !== undefined) {
      await joined?.shared.lost();
      const top = dirname(resolve(first));
      for (let path = resolve(folder); path !== top && path !== dirname(path); ) {
        path = dirname(path);
        unsyncedParents.push(path);
      }
    }
    while (unsyncedParents.length > 0) {
      const parent = await openFolder(fs, unsyncedParents[0]);
      try {
        await parent.sync();
      } finally {
        await parent.close();
      }
      unsyncedParents.shift();
    }
  }

  async function writeTemporary(value: Uint8Array): Promise<string> {
    const path = join(folder, `%tmp-${randomBytes(8).toString("hex")}`);
    const file = await fs.open(path, "wx", 0o600);
    try {
      try {
        await writeWhole(file, value);
        await syncFile(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      await discard(fs, path);
      throw error;
    }
    return path;
  }

  async function set(on: SharedFolder, path: string, value: Uint8Array): Promise<void> {
    const parent = await openFolder(fs, folder);
    try {
      const temporary = await writeTemporary(value);
      try {
        await whileBusy(fs, () => fs.rename(temporary, path));
      } catch (error) {
        await discard(fs, temporary);
        throw error;
      }
      on.unsynced = true;
      await synchronize(on, parent, `${path} was written, but may be lost in a power failure`);
    } finally {
      await parent.close();
    }
  }

  async function remove(on: SharedFolder, path: string): Promise<void> {
    const parent = await openFolder(fs, folder);
    try {
      try {
        await whileBusy(fs, () => fs.unlink(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
        if (!on.unsynced) return;
      }
      on.unsynced = true;
      await synchronize(on, parent, `${path} was deleted, but may be back after a power failure`);
    } finally {
      await parent.close();
    }
  }

  async function synchronize(on: SharedFolder, parent: { sync(): Promise<void> }, outcome: string): Promise<void> {
    try {
      await parent.sync();
    } catch (cause) {
      throw failed(`The storage file ${outcome}: its folder could not be synchronized`, cause);
    }
    on.unsynced = false;
  }

  let last: Promise<unknown> = Promise.resolve();
  /** Serializes the operations of this storage: the first may have to open the folder. */
  const inTurn = <T>(operation: () => Promise<T>, failure: (cause: unknown) => IotHubError): Promise<T> => {
    if (isClosed) return Promise.reject(new IotHubError("STORAGE_FAILED", `The storage in ${folder} was closed.`));
    const turn = last.then(operation).catch((cause) => {
      throw cause instanceof IotHubError ? cause : failure(cause);
    });
    last = turn.catch(() => {});
    return turn;
  };
  /** Treats a missing folder as an empty one. */
  const unlessMissing = async <T>(operation: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await operation();
    } catch (error) {
      if (isMissing(error)) return otherwise;
      throw error;
    }
  };
  const pathOf = (key: string) => join(folder, fileNameOf(key));
  const named = (key: string) => (isKey(key) ? pathOf(key) : folder);
  return {
    maxValueBytes: MAX_VALUE_BYTES,
    outboxLimits: LIMITS,
    get: (key) =>
      inTurn(
        async () => {
          const path = pathOf(checkKey(key));
          const bytes = await unlessMissing(
            async () => (await shared()).run(fs, () => whileBusy(fs, () => fs.readFile(path))),
            undefined,
          );
          // Not fatal: the reader detects a corrupt value.
          return bytes && Buffer.from(bytes).toString();
        },
        (cause) => failed(`The storage file ${named(key)} cannot be read`, cause),
      ),
    set: (key, text) =>
      inTurn(
        async () => {
          const path = pathOf(checkKey(key));
          const value = checkText(text);
          await makeFolder();
          const on = await shared();
          await on.run(fs, () => set(on, path, value));
        },
        (cause) => {
          const isFull = ["ENOSPC", "EDQUOT"].includes(codeOf(cause) ?? "");
          return failed(`The storage file ${named(key)} cannot be written`, cause, isFull ? "STORAGE_FULL" : undefined);
        },
      ),
    delete: (key) =>
      inTurn(
        async () => {
          const path = pathOf(checkKey(key));
          await unlessMissing(async () => {
            const on = await shared();
            await on.run(fs, () => remove(on, path));
          }, undefined);
        },
        (cause) => failed(`The storage file ${named(key)} cannot be deleted`, cause),
      ),
    keys: () =>
      inTurn(
        async () => {
          const entries = await unlessMissing(async () => (await shared()).run(fs, () => fs.readdir(folder)), []);
          // A folder named like a key is not ours.
          const files = entries.filter((entry) => entry.isFile());
          return files.map(({ name }) => keyOf(name)).filter((key) => key !== undefined);
        },
        (cause) => failed(`The storage folder ${folder} cannot be read`, cause),
      ),
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      await last;
      if (joined) await owner.leave(joined.path, joined.shared);
    },
  };
}

const TEMPORARY = /^%tmp-[0-9a-f]{16}$/;

/** The file may contain a credential; if it cannot be deleted now, the next start tries again. */
async function discard(fs: FileSystem, path: string): Promise<void> {
  await whileBusy(fs, () => fs.unlink(path)).catch(() => {});
}

/**
 * First letter of Windows device names with any extension (Microsoft, Naming Files, Paths, and Namespaces); capital
 * letters; a trailing dot, which Windows drops.
 */
const UNSAFE = /^(?=(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z]|[A-Z]|\.$/g;

/** @internal Returns the file name of a key: no two names differ only in case. */
export function fileNameOf(key: string): string {
  return key.replace(UNSAFE, (character) => `%${character.charCodeAt(0).toString(16)}`);
}

/** @internal Returns the key of a file name; undefined if {@link fileNameOf} never returns this name. */
export function keyOf(name: string): string | undefined {
  const key = name.replace(/%([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return isKey(key) && fileNameOf(key) === name ? key : undefined;
}

function isKey(key: unknown): key is string {
  return typeof key === "string" && /^[A-Za-z0-9_.-]{1,15}$/.test(key) && !/^\.+$/.test(key);
}

function checkKey(key: string): string {
  if (!isKey(key)) throw new IotHubError("INVALID_OPTION", "A storage key must be 1 to 15 letters, digits and _ . -.");
  return key;
}

function checkText(text: string): Uint8Array {
  if (typeof text !== "string") throw new IotHubError("INVALID_OPTION", "A stored value must be text.");
  const bytes = Buffer.from(text);
  if (bytes.length > MAX_VALUE_BYTES) {
    throw new IotHubError("INVALID_OPTION", `A stored value must not exceed ${MAX_VALUE_BYTES} bytes.`);
  }
  return bytes;
}

function failed(what: string, cause: unknown, code: "STORAGE_FAILED" | "STORAGE_FULL" = "STORAGE_FAILED"): IotHubError {
  return new IotHubError(code, `${what}: ${describeFileError(cause)}.`, { cause });
}
