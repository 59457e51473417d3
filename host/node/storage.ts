/**
 * A folder of text files, one for each key. A value is written to a temporary file, synchronized, and renamed over its
 * file. Temporary files of writes that were cut off, which may hold a credential, are deleted at the next start.
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

/** What a folder is to all storages of one process: one lock, and one operation after the other. */
class SharedFolder {
  /** Storages that use it. */
  users = 0;
  /** A file was renamed or deleted, and that may not be on the disk yet. */
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

  /** The folder was deleted, and the lock with it. */
  async lost(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.lock?.release();
  }

  /** After the operations that were begun. */
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
   * Deletes what writes that were cut off have left: as nobody else uses the folder, that is every temporary file.
   * Whether it can be done shows when the folder is used.
   */
  async #clear(fs: FileSystem): Promise<void> {
    for (const entry of await fs.readdir(this.#path).catch(() => [])) {
      if (TEMPORARY.test(entry.name) && entry.isFile()) await discard(fs, join(this.#path, entry.name));
    }
  }
}

export type Locker = (folder: string) => Promise<FolderLock | undefined>;

/** The folders that a process uses. Tests make further ones to be further processes. */
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
 * Returns a storage in a folder. An operation that rejects may have taken effect; its message says so where it has, and
 * repeating it is safe.
 *
 * File names are the keys. What a file system that ignores case or Windows would confuse is written `%` and two hex
 * digits: capital letters, a dot at the end, the first letter of a device name such as `con` or `com1.log`. Other files
 * and folders are left alone.
 *
 * One process at a time uses the folder, from its first operation until `close()` or its end; any number of storages in
 * it share the folder. Processes on different machines that use one network share are not kept apart.
 * @param folder created on the first write, readable by its owner alone, as credentials may be kept in it
 * @throws {IotHubError} each operation: INVALID_OPTION for a key or value outside the limits, STORAGE_IN_USE if another
 * process uses the folder, STORAGE_FULL if the disk or the quota is full, STORAGE_FAILED
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
  /** Folders that got a new subfolder which may not be on the disk yet. */
  const unsyncedParents: string[] = [];
  let joined: { path: string; shared: SharedFolder } | undefined;
  let isClosed = false;

  /** The folder as all storages of this process have it. Rejects with ENOENT if there is none. */
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
  /** One operation of this storage after the other: the first may have to find the folder. */
  const inTurn = <T>(operation: () => Promise<T>, failure: (cause: unknown) => IotHubError): Promise<T> => {
    if (isClosed) return Promise.reject(new IotHubError("STORAGE_FAILED", `The storage in ${folder} was closed.`));
    const turn = last.then(operation).catch((cause) => {
      throw cause instanceof IotHubError ? cause : failure(cause);
    });
    last = turn.catch(() => {});
    return turn;
  };
  /** What a folder without files gives where there is none. */
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
          // What a disk has spoiled is still text, and its reader finds out.
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
          // A folder that is named like a key is somebody else's.
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

/** The file may hold a credential; if it cannot be deleted now, the next start tries again. */
async function discard(fs: FileSystem, path: string): Promise<void> {
  await whileBusy(fs, () => fs.unlink(path)).catch(() => {});
}

/**
 * Device names of Windows, with any extension (Microsoft, Naming Files, Paths, and Namespaces), where their first letter
 * stands; capital letters; a dot at the end, which Windows drops.
 */
const UNSAFE = /^(?=(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z]|[A-Z]|\.$/g;

/** @internal The file of a key: no two keys have files that differ in case alone. */
export function fileNameOf(key: string): string {
  return key.replace(UNSAFE, (character) => `%${character.charCodeAt(0).toString(16)}`);
}

/** @internal The key of a file, undefined for a name that {@link fileNameOf} gives to no key. */
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
