/** Storages of the Node host for tests: closed after each test, optionally opened like by another process. */

import { afterEach } from "@jest/globals";
import { type FileSystem, nodeFileSystem } from "../../host/node/file-system.js";
import { createStorageOn, StorageProcess } from "../../host/node/storage.js";

type NodeStorage = ReturnType<typeof createStorageOn>;

const opened: NodeStorage[] = [];
afterEach(async () => {
  for (const storage of opened.splice(0)) await storage.close();
});

/** A process without locks, for tests of the files in the folder. */
export function unlockedProcess(): StorageProcess {
  return new StorageProcess(async () => undefined);
}

/** A storage that is closed after the test; without a `process`, one of this process, with its lock. */
export function openStorage(folder: string, fs: FileSystem = nodeFileSystem, process?: StorageProcess): NodeStorage {
  const storage = createStorageOn(fs, folder, process);
  opened.push(storage);
  return storage;
}
