/** One process at a time uses a storage folder, however the one before it ended. */

import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, test } from "@jest/globals";
import { nodeFileSystem } from "../../host/node/file-system.js";
import { type FolderLock, type LockMachine, lockFolder, thisMachine } from "../../host/node/folder-lock.js";
import { createHost } from "../../host/node/index.js";
import { StorageProcess } from "../../host/node/storage.js";
import { cleanups } from "../support/cleanups.js";
import { fileError } from "../support/file-systems.js";
import { openStorage } from "../support/node-storage.js";

const typescript = fileURLToPath(new URL("../support/typescript.mjs", import.meta.url));
const taker = fileURLToPath(new URL("../support/lock-taker.ts", import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "folder-lock-")));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
});

/** Locks the folder like a separate process, which shares only the folder. */
async function take(machine?: LockMachine, path = folder): Promise<FolderLock> {
  const lock = await lockFolder(path, machine);
  if (!lock) throw new Error("no lock");
  cleanups.push(() => lock.release());
  return lock;
}

const inUse = { code: "STORAGE_IN_USE", retryable: true };
const locks = async (path = folder) => (await readdir(path)).filter((name) => name.startsWith("%"));
const listen = (server: Server, path: string) => once(server.listen(path), "listening");

/** What a process leaves that is killed: a socket that refuses connections. */
async function leaveDead(name: string): Promise<void> {
  const server = createServer();
  await listen(server, join(folder, "socket"));
  await rename(join(folder, "socket"), join(folder, name));
  await new Promise((resolve) => server.close(resolve));
  expect(await readdir(folder)).toContain(name);
}

/** A machine on which listening goes wrong as on some file systems. */
function machine(code: string, temporary = tmpdir()): LockMachine {
  return {
    temporary,
    listen: async (server, path) => {
      if (path.startsWith(folder)) throw fileError(code);
      return thisMachine.listen(server, path);
    },
  };
}

describe("a folder", () => {
  test("has one owner until it is released", async () => {
    const lock = await take();
    await expect(take()).rejects.toMatchObject({
      ...inUse,
      message: `The storage folder ${folder} is in use by another process.`,
    });
    await lock.release();
    const next = await take();
    await next.release();
    expect(await locks()).toEqual([]);
  });

  test("of a killed owner is taken over, and its socket deleted", async () => {
    await leaveDead("%lock-000000000000");
    await leaveDead("%bind-ffffffffffff");
    await take();
    expect(await locks()).toHaveLength(1);
  });

  test("has exactly one owner with concurrent attempts", async () => {
    for (let round = 0; round < 150; round++) {
      if (round % 2 === 0) await leaveDead("%lock-800000000000");
      const takers = 2 + (round % 4);
      const outcomes = await Promise.allSettled(Array.from({ length: takers }, () => lockFolder(folder)));
      const won = outcomes.filter((outcome) => outcome.status === "fulfilled");
      for (const outcome of outcomes) {
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject(inUse);
      }
      expect([round, won.length]).toEqual([round, 1]);
      await won[0].value?.release();
      expect(await locks()).toEqual([]);
    }
  });

  test("keeps files that look like a lock but are not its sockets", async () => {
    await writeFile(join(folder, "%lock-000000000000"), "a person's");
    await mkdir(join(folder, "%lock-111111111111"));
    await symlink("nowhere", join(folder, "%lock-222222222222"));
    await leaveDead("%lock-not-ours");
    const before = await readdir(folder);
    const lock = await take();
    await lock.release();
    expect(await readdir(folder)).toEqual(before);
  });

  test("with a path too long for a socket is locked nevertheless", async () => {
    const long = join(folder, "x".repeat(100), "y".repeat(100));
    await mkdir(long, { recursive: true });
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith("tih-"));
    const lock = await take(undefined, long);
    expect(await locks(long)).toHaveLength(1);
    // Like another container, with separate temporary files.
    const temporary = await mkdtemp(join(tmpdir(), "other-"));
    cleanups.push(() => rm(temporary, { recursive: true }));
    await expect(lockFolder(long, { ...thisMachine, temporary })).rejects.toMatchObject(inUse);
    await lock.release();
    expect(await locks(long)).toEqual([]);
    expect((await readdir(tmpdir())).filter((name) => name.startsWith("tih-"))).toEqual(before);
  });

  test("that is missing rejects with ENOENT", async () => {
    await expect(lockFolder(join(folder, "missing"))).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("a file system without sockets", () => {
  // WSL's and VirtualBox's shares, Docker Desktop's, and what a security module forbids.
  test.each(["EPERM", "ENOTSUP", "EOPNOTSUPP", "EIO", "EINVAL", "ENOSYS", "EACCES", "ENOSPC"])(
    "(%s): the lock is in the folder for temporary files",
    async (code) => {
      const lock = await take(machine(code));
      expect(await locks()).toEqual([]);
      await expect(lockFolder(folder, machine(code))).rejects.toMatchObject(inUse);
      await lock.release();
      await (await take(machine(code))).release();
    },
  );

  test("that creates sockets but refuses connections: the same", async () => {
    const refusing: LockMachine = {
      temporary: tmpdir(),
      listen: async (server, path) => {
        await thisMachine.listen(server, path);
        if (!path.startsWith(folder)) return;
        await new Promise<void>((resolve) => server.close(() => resolve()));
        await leaveDead(path.slice(folder.length + 1));
      },
    };
    const lock = await take(refusing);
    expect(await locks()).toEqual([]);
    await expect(lockFolder(folder, refusing)).rejects.toMatchObject(inUse);
    await lock.release();
  });

  test("for only one of two processes (a full disk): each finds the other's lock", async () => {
    const full = machine("ENOSPC");
    const first = await take();
    await expect(lockFolder(folder, full)).rejects.toMatchObject(inUse);
    await first.release();
    await take(full);
    await expect(lockFolder(folder)).rejects.toMatchObject(inUse);
  });

  test("and without temporary files is reported", async () => {
    const nowhere = new StorageProcess((path) => lockFolder(path, machine("EPERM", join(folder, "missing"))));
    const storage = openStorage(folder, nodeFileSystem, nowhere);
    await expect(storage.get("a")).rejects.toMatchObject({
      code: "STORAGE_FAILED",
      message: `The storage folder ${folder} cannot be locked: operation not permitted (EPERM).`,
    });
  });

  test("a read-only one needs no lock", async () => {
    expect(await lockFolder(folder, machine("EROFS"))).toBeUndefined();
  });
});

// Linux has names without files, which end with their owner as Windows' pipes do.
const pipes = process.platform === "linux" || process.platform === "win32";
if (!pipes) console.log("skipped named pipes: this system has neither those nor names without files");
(pipes ? describe : describe.skip)("a named pipe", () => {
  const piped: LockMachine = {
    ...thisMachine,
    pipeOf: thisMachine.pipeOf ?? ((path) => `\0tencent-iothub-${path}`),
  };

  test("a folder has one owner until it is released, and no leftovers", async () => {
    const lock = await take(piped);
    await expect(lockFolder(folder, piped)).rejects.toMatchObject(inUse);
    expect(await locks()).toEqual([]);
    await lock.release();
    await take(piped);
  });
});

describe("storages", () => {
  const process1 = () => new StorageProcess(lockFolder);

  test("of two processes: the second gets STORAGE_IN_USE until the first has closed", async () => {
    const [first, second] = [process1(), process1()].map((each) => openStorage(folder, nodeFileSystem, each));
    await first.set("a", "1");
    for (const operation of [second.get("a"), second.set("a", "2"), second.delete("a"), second.keys()]) {
      await expect(operation).rejects.toMatchObject(inUse);
    }
    await first.close();
    expect(await second.get("a")).toBe("1");
    await second.set("a", "2");
    expect((await readdir(folder)).filter((name) => !name.startsWith("%lock-"))).toEqual(["a"]);
  });

  test("of one process share a folder under any path until the last is closed", async () => {
    const link = join(folder, "..", `${folder.split("/").pop()}-link`);
    await symlink(folder, link);
    cleanups.push(() => rm(link));
    const process = process1();
    const storages = [folder, join(folder, "."), link].map((path) => openStorage(path, nodeFileSystem, process));
    for (const [i, storage] of storages.entries()) await storage.set(`k${i}`, "1");
    expect((await storages[0].keys()).sort()).toEqual(["k0", "k1", "k2"]);
    expect(await locks()).toHaveLength(1);
    const other = openStorage(folder, nodeFileSystem, process1());
    for (const storage of storages) {
      await expect(other.keys()).rejects.toMatchObject(inUse);
      await storage.close();
    }
    expect((await other.keys()).sort()).toEqual(["k0", "k1", "k2"]);
  });

  test("opened while the last one is closing get the folder", async () => {
    const process = process1();
    for (let round = 0; round < 20; round++) {
      const first = openStorage(folder, nodeFileSystem, process);
      await first.set("a", String(round));
      const closed = first.close();
      const next = openStorage(folder, nodeFileSystem, process);
      expect(await next.get("a")).toBe(String(round));
      await Promise.all([closed, next.close()]);
    }
    expect(await locks()).toEqual([]);
  });

  test("lock a folder again that was deleted meanwhile", async () => {
    const path = join(folder, "made");
    const storage = openStorage(path, nodeFileSystem, process1());
    await storage.set("a", "1");
    await rm(path, { recursive: true });
    expect(await storage.get("a")).toBeUndefined();
    await storage.set("a", "2");
    await expect(openStorage(path, nodeFileSystem, process1()).get("a")).rejects.toMatchObject(inUse);
  });

  test("do not lock a missing folder", async () => {
    const path = join(folder, "missing");
    const storage = openStorage(path);
    expect([await storage.get("a"), await storage.keys()]).toEqual([undefined, []]);
    await storage.delete("a");
    expect(await readdir(folder)).toEqual([]);
  });

  test("of a host are released by its close", async () => {
    const host = createHost({ storage: folder });
    await host.storage?.set("a", "1");
    const other = openStorage(folder, nodeFileSystem, process1());
    await expect(other.get("a")).rejects.toMatchObject(inUse);
    await host.close();
    expect(await other.get("a")).toBe("1");
  });
});

describe("processes", () => {
  async function start(): Promise<ChildProcess> {
    const child = fork(taker, [folder], { execArgv: ["--import", typescript] });
    cleanups.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    });
    expect(await once(child, "message")).toEqual(["ready", undefined]);
    return child;
  }
  async function ask(child: ChildProcess, what = "take"): Promise<string> {
    const reply = once(child, "message");
    child.send(what);
    return String((await reply)[0]);
  }

  test("that take over concurrently from a killed one: exactly one succeeds", async () => {
    const takers = [await start(), await start(), await start()];
    for (let round = 0; round < 25; round++) {
      const replies = await Promise.all(takers.map((child) => ask(child)));
      expect([round, [...replies].sort()]).toEqual([round, ["STORAGE_IN_USE", "STORAGE_IN_USE", "taken"]]);
      const owner = takers[replies.indexOf("taken")];
      // It still has it, and the others still do not.
      expect((await Promise.all(takers.map((child) => ask(child)))).indexOf("taken")).toBe(takers.indexOf(owner));
      const ended = once(owner, "exit");
      owner.kill("SIGKILL");
      await ended;
      takers[takers.indexOf(owner)] = await start();
    }
    expect((await locks()).length).toBeLessThanOrEqual(2);
  });

  test("release the folder when they exit or close, not before", async () => {
    const [first, second] = [await start(), await start()];
    expect(await ask(first)).toBe("taken");
    expect(await ask(second)).toBe("STORAGE_IN_USE");
    expect(await ask(first, "close")).toBe("taken");
    expect(await ask(second)).toBe("taken");
    const ended = once(second, "exit");
    // Nothing else keeps it alive.
    second.disconnect();
    expect(await ended).toEqual([0, null]);
    expect(await locks()).toEqual([]);
  });

  test("exit despite an open folder", async () => {
    const program = `import { createStorage } from ${JSON.stringify(new URL("../../host/node/storage.ts", import.meta.url).href)};
      await createStorage(${JSON.stringify(folder)}).set("a", "1");`;
    const { status, stderr } = spawnSync(
      process.execPath,
      ["--import", typescript, "--input-type=module", "-e", program],
      { encoding: "utf8" },
    );
    expect([status, stderr]).toEqual([0, ""]);
    expect(await readdir(folder)).toEqual(["a"]);
  });
});
