/**
 * A folder of files, one a key. A value is written beside its file, synchronized, and renamed over it. What a write that
 * was cut off left beside it, perhaps a credential, goes at the next start.
 */

import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { IotHubError } from "../../src/errors.js";
import { type Storage, storageLimits } from "../../src/host.js";

const TEMPORARY = ".tmp~";

/**
 * @param folder made if it is not there; readable by its owner alone, as credentials may be kept in it. It is for one
 * storage at a time
 * @throws {IotHubError} each operation: INVALID_OPTION for a key or value outside the limits, STORAGE_FAILED
 */
export function createStorage(folder: string): Storage {
  // One operation after the other: two writes of one key must not share a temporary file.
  let last: Promise<unknown> | undefined;
  const inTurn = <T>(operation: () => Promise<T>): Promise<T> => {
    last ??= clear(folder);
    const turn = last.then(operation).catch((cause) => {
      if (cause instanceof IotHubError) throw cause;
      throw new IotHubError(
        "STORAGE_FAILED",
        `The storage folder cannot be used (${cause?.code ?? "unknown"}).`,
        cause,
        true,
      );
    });
    last = turn.catch(() => {});
    return turn;
  };
  return {
    get: (key) =>
      inTurn(async () => {
        try {
          return new Uint8Array(await readFile(join(folder, checkKey(key))));
        } catch (error) {
          if (isMissing(error)) return undefined;
          throw error;
        }
      }),
    set: (key, value) =>
      inTurn(async () => {
        checkKey(key);
        if (value.length > storageLimits.valueBytes) {
          throw new IotHubError("INVALID_OPTION", `A stored value must not exceed ${storageLimits.valueBytes} bytes.`);
        }
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const path = join(folder, key);
        try {
          const file = await open(path + TEMPORARY, "w", 0o600);
          try {
            await file.writeFile(value);
            await file.sync();
          } finally {
            await file.close();
          }
          await rename(path + TEMPORARY, path);
        } catch (error) {
          await rm(path + TEMPORARY, { force: true }).catch(() => {});
          throw error;
        }
        await syncFolder(folder);
      }),
    delete: (key) =>
      inTurn(async () => {
        try {
          await rm(join(folder, checkKey(key)));
        } catch (error) {
          if (isMissing(error)) return;
          throw error;
        }
        await syncFolder(folder);
      }),
    keys: () =>
      inTurn(async () => {
        try {
          const names = await readdir(folder);
          // What a process was writing when it was killed; nothing is being written now.
          for (const name of names) if (name.endsWith(TEMPORARY)) await rm(join(folder, name), { force: true });
          return names.filter((name) => isKey(name));
        } catch (error) {
          if (isMissing(error)) return [];
          throw error;
        }
      }),
  };
}

/** Deletes what writes that were cut off have left. Whether that can be done shows when the folder is used. */
async function clear(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    if (name.endsWith(TEMPORARY) && isKey(name.slice(0, -TEMPORARY.length))) {
      await rm(join(folder, name), { force: true }).catch(() => {});
    }
  }
}

function isKey(key: unknown): key is string {
  return typeof key === "string" && /^[A-Za-z0-9_.-]{1,15}$/.test(key) && !/^\.+$/.test(key);
}

function checkKey(key: string): string {
  if (!isKey(key)) throw new IotHubError("INVALID_OPTION", "A storage key must be 1 to 15 letters, digits and _ . -.");
  return key;
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** The name of a renamed file is safe only when its folder has been written (fsync(2), NOTES). */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
