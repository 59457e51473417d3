/** The outbox over the storages that keep no flash: in memory, in Node's folder, in a simulator's preferences. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "@jest/globals";
import { KeyValueStorage } from "../../host/moddable/index.js";
import { createStorage } from "../../host/node/index.js";
import { createMemoryStorage, type Storage } from "../../src/index.js";
import { cleanups } from "../support/cleanups.js";
import { useMachine } from "../support/moddable-machine.js";
import { survivesRestarts } from "../support/outbox-storages.js";

useMachine();

const storages: [string, () => Promise<() => Storage>][] = [
  [
    "memory",
    async () => {
      const storage = createMemoryStorage();
      return () => storage;
    },
  ],
  [
    "Node's folder",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "outbox-"));
      cleanups.push(() => rm(folder, { recursive: true }));
      return () => createStorage(folder);
    },
  ],
  ["a simulator's preferences", async () => () => new KeyValueStorage()],
];

describe.each(storages)("%s", (_name, create) => {
  survivesRestarts(create);
});
