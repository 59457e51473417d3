/**
 * A folder of files, one for each key. A value is written to a temporary file, synchronized, and renamed over its file.
 * Temporary files of writes that were cut off, which may hold a credential, are deleted at the next start.
 */

import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { IotHubError } from "../../src/errors.js";
import type { Storage } from "../../src/host.js";
import { defaultOutboxLimits } from "../../src/storage/limits.js";
import {
  describeFileError,
  type FileSystem,
  isMissing,
  nodeFileSystem,
  openFolder,
  syncFile,
  whileBusy,
  writeWhole,
} from "./file-system.js";

/**
 * Returns a storage in a folder. An operation that rejects may have taken effect; its message says so where it has, and
 * repeating it is safe.
 *
 * File names are the keys. What a file system that ignores case or Windows would confuse is written `%` and two hex
 * digits: capital letters, a dot at the end, the first letter of a device name such as `con` or `com1.log`. Other files
 * and folders are left alone.
 * @param folder created on the first write, readable by its owner alone, as credentials may be kept in it. Used by one
 * process at a time
 * @throws {IotHubError} each operation: INVALID_OPTION for a key or value outside the limits, STORAGE_FAILED
 */
export function createStorage(folder: string): Storage {
  return createStorageOn(nodeFileSystem, folder);
}

const MAX_VALUE_BYTES = 65536;

/** Tells the temporary files of this process from those that an earlier one has left. A process id may come again. */
const PROCESS = randomBytes(6).toString("hex");

/** @param self 12 hex digits, different in each process */
export function createStorageOn(fs: FileSystem, folder: string, self: string = PROCESS): Storage {
  /** Folders that got a new subfolder which may not be on the disk yet. */
  const unsyncedParents: string[] = [];
  /** A file was renamed or deleted, and that may not be on the disk yet. */
  let unsynced = false;

  async function makeFolder(): Promise<void> {
    const first = await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    if (first !== undefined) {
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
    const path = join(folder, `%tmp-${self}-${randomBytes(4).toString("hex")}`);
    const file = await fs.open(path, "wx", 0o600);
    try {
      try {
        await writeWhole(file, value);
        await syncFile(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      await discard(path);
      throw error;
    }
    return path;
  }

  /** The file may hold a credential; if it cannot be deleted now, the next start tries again. */
  const discard = (path: string) => whileBusy(fs, () => fs.unlink(path)).catch(() => {});

  async function set(path: string, value: Uint8Array): Promise<void> {
    await makeFolder();
    const parent = await openFolder(fs, folder);
    try {
      const temporary = await writeTemporary(value);
      try {
        await whileBusy(fs, () => fs.rename(temporary, path));
      } catch (error) {
        await discard(temporary);
        throw error;
      }
      unsynced = true;
      await synchronize(parent, `${path} was written, but may be lost in a power failure`);
    } finally {
      await parent.close();
    }
  }

  async function remove(path: string): Promise<void> {
    let parent: Awaited<ReturnType<typeof openFolder>>;
    try {
      parent = await openFolder(fs, folder);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    try {
      try {
        await whileBusy(fs, () => fs.unlink(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
        if (!unsynced) return;
      }
      unsynced = true;
      await synchronize(parent, `${path} was deleted, but may be back after a power failure`);
    } finally {
      await parent.close();
    }
  }

  async function synchronize(parent: { sync(): Promise<void> }, outcome: string): Promise<void> {
    try {
      await parent.sync();
    } catch (cause) {
      throw failed(`The storage file ${outcome}: its folder could not be synchronized`, cause);
    }
    unsynced = false;
  }

  /** Deletes what writes that were cut off have left. Whether that can be done shows when the folder is used. */
  async function clear(): Promise<void> {
    for (const entry of await fs.readdir(folder).catch(() => [])) {
      const [, owner] = /^%tmp-([0-9a-f]{12})-[0-9a-f]{8}$/.exec(entry.name) ?? [];
      if (owner !== undefined && owner !== self && entry.isFile()) await discard(join(folder, entry.name));
    }
  }

  // One operation after the other: a deletion must not overtake the write before it.
  let last: Promise<unknown> | undefined;
  const inTurn = <T>(doing: string, operation: () => Promise<T>): Promise<T> => {
    last ??= clear();
    const turn = last.then(operation).catch((cause) => {
      throw cause instanceof IotHubError ? cause : failed(doing, cause);
    });
    last = turn.catch(() => {});
    return turn;
  };
  const pathOf = (key: string) => join(folder, fileNameOf(key));
  const named = (key: string) => (isKey(key) ? pathOf(key) : folder);
  return {
    maxValueBytes: MAX_VALUE_BYTES,
    outboxLimits: defaultOutboxLimits,
    get: (key) =>
      inTurn(`The storage file ${named(key)} cannot be read`, async () => {
        const path = pathOf(checkKey(key));
        try {
          return utf8Decode(new Uint8Array(await whileBusy(fs, () => fs.readFile(path))));
        } catch (error) {
          if (isMissing(error)) return undefined;
          throw error;
        }
      }),
    set: (key, text) =>
      inTurn(`The storage file ${named(key)} cannot be written`, async () => {
        const path = pathOf(checkKey(key));
        const value = utf8(text);
        if (value.length > MAX_VALUE_BYTES) {
          throw new IotHubError("INVALID_OPTION", `A stored value must not exceed ${MAX_VALUE_BYTES} bytes.`);
        }
        await set(path, value);
      }),
    delete: (key) => inTurn(`The storage file ${named(key)} cannot be deleted`, () => remove(pathOf(checkKey(key)))),
    keys: () =>
      inTurn(`The storage folder ${folder} cannot be read`, async () => {
        try {
          // A folder that is named like a key is somebody else's.
          const files = (await fs.readdir(folder)).filter((entry) => entry.isFile());
          return files.map(({ name }) => keyOf(name)).filter((key) => key !== undefined);
        } catch (error) {
          if (isMissing(error)) return [];
          throw error;
        }
      }),
  };
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

function failed(what: string, cause: unknown): IotHubError {
  return new IotHubError("STORAGE_FAILED", `${what}: ${describeFileError(cause)}.`, cause);
}
