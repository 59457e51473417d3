/** The storage of the Node host on file systems that differ, fail and lose power. */

import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { type FileSystem, nodeFileSystem, type OpenFile } from "../../host/node/file-system.js";
import type { IotHubError } from "../../host/node/index.js";
import { createStorageOn, fileNameOf, keyOf, type StorageProcess } from "../../host/node/storage.js";
import { type FileCall, fileError, intercepted, unsynchronized, windowsLike } from "../support/file-systems.js";
import { openStorage, unlockedProcess } from "../support/node-storage.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "storage-files-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Each call is another process, so that nothing is shared; only the folder is, without a lock. */
const on = (fs: FileSystem, path: string, process: StorageProcess = unlockedProcess()) =>
  openStorage(path, fs, process);
const createStorage = (path: string) => on(nodeFileSystem, path);

const keys = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_.-]{1,15}$/),
  fc.stringMatching(/^([cC][oO][nN]|PRN|prn|Aux|aux|nul|com[0-9]|LPT[0-9]|lpt[0-9])[.]?[a-zA-Z.]{0,4}$/),
  fc.constantFrom("Ab", "aB", "ab", "a.", "a..", "out.n", "credential", "com1", "COM1.txt", "con"),
);
const allowedKeys = keys.filter((key) => !/^\.+$/.test(key));

describe("file names", () => {
  test.each([
    ["credential", "credential"],
    ["out.00000001.0", "out.00000001.0"],
    ["_a-b.c", "_a-b.c"],
    ["Ab", "%41b"],
    ["con", "%63on"],
    ["com1.txt", "%63om1.txt"],
    ["CON", "%43%4f%4e"],
    ["console", "console"],
    ["a.", "a%2e"],
  ])("the key %s has the file %s", (key, name) => {
    expect(fileNameOf(key)).toBe(name);
    expect(keyOf(name)).toBe(key);
  });

  test("of different keys differ, also without case and trailing dots, and can be decoded", () => {
    const onWindows = (key: string) =>
      fileNameOf(key)
        .toLowerCase()
        .replace(/[. ]+$/, "");
    fc.assert(
      fc.property(allowedKeys, allowedKeys, (a, b) => {
        expect(keyOf(fileNameOf(a))).toBe(a);
        expect(onWindows(a) === onWindows(b)).toBe(a === b);
        expect(onWindows(a).split(".")[0]).not.toMatch(/^(con|prn|aux|nul|com[0-9]|lpt[0-9])$/);
      }),
      { numRuns: 500 },
    );
  });

  test.each(["Ab", "%4F", "con", "a.", "%61", "%tmp-0123456789abcdef", "notes~", "%2e%2e", "README.md"])(
    "%s is not the file of a key",
    (name) => {
      expect(keyOf(name)).toBeUndefined();
    },
  );
});

test("keys that Windows would confuse keep separate values", async () => {
  const all = ["Ab", "aB", "ab", "AB", "con", "Con", "nul.txt", "com1", "a.", "a", "lpt9.x.y"];
  const storage = on(windowsLike(), folder);
  for (const key of all) await storage.set(key, key);
  const next = on(windowsLike(), folder);
  for (const key of all) expect(await next.get(key)).toBe(key);
  expect((await next.keys()).sort()).toEqual([...all].sort());
  await next.delete("ab");
  expect((await next.keys()).sort()).toEqual(all.filter((key) => key !== "ab").sort());
});

describe("a folder that cannot be synchronized", () => {
  test.each([
    ["sync", "EPERM"],
    ["sync", "EINVAL"],
    ["sync", "ENOTSUP"],
    ["sync", "EBADF"],
    ["sync", "EISDIR"],
    ["sync", "ENOSYS"],
    ["sync", "EACCES"],
    ["open", "EISDIR"],
    ["open", "EPERM"],
    ["open", "EACCES"],
    ["open", "EINVAL"],
  ])("set and delete succeed where %s gives %s", async (call, code) => {
    const path = join(folder, "new");
    let refused = 0;
    const fs = intercepted(({ name, path: at }) => {
      if (name !== call || (at !== path && at !== folder)) return;
      refused++;
      throw fileError(code);
    });
    const storage = on(fs, path);
    await storage.set("a", "1");
    await storage.set("b", "2");
    await storage.delete("b");
    expect(await createStorage(path).keys()).toEqual(["a"]);
    expect(refused).toBe(4);
  });

  test.each(["EIO", "ENOSPC", "EDQUOT", "EROFS"])(
    "what failed with %s is reported, and whether it took effect",
    async (code) => {
      let failing = true;
      const fs = intercepted(({ name, path }) => {
        if (failing && name === "sync" && path === folder) throw fileError(code);
      });
      const storage = on(fs, folder);
      await expect(storage.set("a", "new")).rejects.toMatchObject({
        code: "STORAGE_FAILED",
        retryable: true,
        message: expect.stringContaining(
          `${join(folder, "a")} was written, but may be lost in a power failure: its folder`,
        ),
        cause: { code },
      });
      expect(await storage.get("a")).toBe("new");
      await expect(storage.delete("a")).rejects.toThrow("was deleted, but may be back after a power failure");
      expect(await storage.get("a")).toBeUndefined();
      // Repeated, it is not taken for done while it may not be on the disk.
      await expect(storage.delete("a")).rejects.toThrow("was deleted");
      failing = false;
      await storage.delete("a");
    },
  );

  test.each(["EINVAL", "ENOTSUP", "ENOSYS"])("set succeeds if files cannot be synced either (%s)", async (code) => {
    const fs = intercepted(({ name }) => {
      if (name === "sync") throw fileError(code);
    });
    await on(fs, folder).set("a", "1");
    expect(await createStorage(folder).get("a")).toBe("1");
  });

  test("a file whose synchronization fails leaves the old value", async () => {
    await createStorage(folder).set("a", "old");
    for (const code of ["EIO", "ENOSPC", "EPERM", "EACCES"]) {
      const fs = intercepted(({ name, path }) => {
        if (name === "sync" && path !== folder) throw fileError(code);
      });
      await expect(on(fs, folder).set("a", "new")).rejects.toThrow("cannot be written");
      expect(await createStorage(folder).get("a")).toBe("old");
      expect(await readdir(folder)).toEqual(["a"]);
    }
  });
});

describe("a full disk", () => {
  test.each([
    ["open", "ENOSPC"],
    ["write", "ENOSPC"],
    ["write", "EDQUOT"],
    ["sync", "ENOSPC"],
    ["rename", "EDQUOT"],
    ["mkdir", "ENOSPC"],
  ])("%s fails with %s: STORAGE_FULL, the old value stays, and deleting makes room", async (call, code) => {
    await createStorage(folder).set("a", "old");
    let full = true;
    const fs = intercepted(({ name, path }) => {
      if (full && name === call && (path !== folder || name === "mkdir")) throw fileError(code);
    });
    const storage = on(fs, folder);
    await expect(storage.set("a", "new")).rejects.toMatchObject({
      code: "STORAGE_FULL",
      retryable: true,
      cause: { code },
    });
    expect(await storage.get("a")).toBe("old");
    await storage.delete("a");
    full = false;
    await storage.set("a", "new");
    expect(await storage.get("a")).toBe("new");
  });

  test("any other failure, or one of a deletion, is STORAGE_FAILED", async () => {
    const fs = intercepted(({ name, path }) => {
      if (name === "write") throw fileError("EIO");
      if (name === "unlink" && !path.includes("%tmp-")) throw fileError("ENOSPC");
    });
    const storage = on(fs, folder);
    await expect(storage.set("a", "1")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    await expect(storage.delete("a")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  });
});

describe("a file that another program holds open", () => {
  test.each([
    ["rename", "EPERM"],
    ["rename", "EACCES"],
    ["rename", "EBUSY"],
    ["unlink", "EPERM"],
    ["readFile", "EBUSY"],
  ] as const)("%s is repeated after %s, for about a second", async (call, code) => {
    let busy = 0;
    let waitedMs = 0;
    const fs = intercepted(({ name, path }) => {
      if (name === "wait") waitedMs += Number(path);
      if (name === call && busy-- > 0) throw fileError(code);
    });
    const storage = on(fs, folder);
    const all = async () => {
      await storage.set("a", "1");
      expect(await storage.get("a")).toBe("1");
      await storage.delete("a");
    };
    busy = 5;
    await all();
    expect(waitedMs).toBe(310);
    busy = Number.POSITIVE_INFINITY;
    waitedMs = 0;
    await expect(all()).rejects.toMatchObject({ code: "STORAGE_FAILED", cause: { code } });
    expect(waitedMs).toBeGreaterThanOrEqual(1000);
    expect(waitedMs).toBeLessThanOrEqual(2100);
  });

  test("no other failure is repeated", async () => {
    const fs = intercepted(({ name }) => {
      if (name === "wait") throw new Error("waited");
      if (name === "rename") throw fileError("EIO");
    });
    await expect(on(fs, folder).set("a", "1")).rejects.toMatchObject({ cause: { code: "EIO" } });
  });
});

describe("other files in the folder", () => {
  test("are neither deleted nor listed, and cause no errors", async () => {
    const temporary = `%tmp-${"a".repeat(8)}01234567`;
    await mkdir(join(folder, "backup.tmp~"));
    await mkdir(join(folder, "backup"));
    await mkdir(join(folder, temporary.replace("01234567", "76543210")));
    await writeFile(join(folder, "credential.tmp~"), "a person's");
    await writeFile(join(folder, "%tmp-notes"), "a person's");
    await writeFile(join(folder, "README.md"), "a person's");
    await writeFile(join(folder, "target"), "a person's");
    await symlink(join(folder, "target"), join(folder, temporary.replace("01234567", "00000000")));
    await writeFile(join(folder, temporary), "left of an earlier process");
    const before = (await readdir(folder)).filter((name) => name !== temporary);

    const storage = createStorage(folder);
    expect(await storage.keys()).toEqual(["target"]);
    await storage.set("credential", "1");
    expect(await storage.get("credential")).toBe("1");
    await storage.delete("credential");
    expect((await readdir(folder)).sort()).toEqual(before.sort());
    expect(await readFile(join(folder, "credential.tmp~"), "utf8")).toBe("a person's");
    await expect(storage.get("backup")).rejects.toThrow(
      `The storage file ${join(folder, "backup")} cannot be read: is a directory (EISDIR).`,
    );
    await expect(storage.set("backup", "1")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    await expect(storage.delete("backup")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect((await readdir(folder)).sort()).toEqual(before.sort());
  });

  test("of another storage's pending write are not deleted", async () => {
    let started = () => {};
    const renaming = new Promise<void>((resolve) => {
      started = resolve;
    });
    let goOn = () => {};
    const other = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const process = unlockedProcess();
    const slow: FileSystem = {
      ...nodeFileSystem,
      rename: async (from, to) => {
        started();
        await other;
        return nodeFileSystem.rename(from, to);
      },
    };
    const done = on(slow, folder, process).set("a", "1");
    await renaming;
    const keys = on(nodeFileSystem, folder, process).keys();
    goOn();
    await done;
    expect(await keys).toEqual(["a"]);
  });
});

test("errors name the file and the reason", async () => {
  await writeFile(join(folder, "file"), "");
  const storage = createStorage(join(folder, "file"));
  await expect(storage.get("a")).rejects.toThrow(
    `The storage file ${join(folder, "file", "a")} cannot be read: not a directory (ENOTDIR).`,
  );
  await expect(storage.set("a", "1")).rejects.toThrow(/cannot be written: file exists \(EEXIST\)\.$/);
  await expect(storage.keys()).rejects.toThrow(
    `The storage folder ${join(folder, "file")} cannot be read: not a directory (ENOTDIR).`,
  );
});

/** Runs a history of operations on a new folder. */
type Operation = { readonly key: string; readonly value?: string };
const history: readonly Operation[] = [
  { key: "a", value: "a1" },
  { key: "B", value: "b1" },
  { key: "a", value: "a2" },
  { key: "B" },
  { key: "a", value: "a3" },
  { key: "a" },
  { key: "a", value: "a4" },
];

describe.each(["EIO", "EMFILE"])("%s at each call in turn", (code) => {
  test.each(["instead of it", "after it"])(
    "%s: old or new, as reported, and the next operation goes on",
    async (when) => {
      let failures = 0;
      for (let at = 0; ; at++) {
        const path = join(folder, `${at}`, "made");
        let calls = 0;
        let failed: FileCall | undefined;
        const fail = (call: FileCall) => {
          if (calls++ !== at) return;
          failed = call;
          throw fileError(code);
        };
        const fs =
          when === "after it"
            ? intercepted(() => {}, fail, unsynchronized)
            : intercepted(fail, undefined, unsynchronized);
        const storage = on(fs, path);
        const expected = new Map<string, string>();
        for (const { key, value } of history) {
          const old = expected.get(key);
          const operation = value === undefined ? storage.delete(key) : storage.set(key, value);
          const error: IotHubError | undefined = await operation.then(
            () => undefined,
            (reason) => reason,
          );
          const now = await on(nodeFileSystem, path).get(key);
          if (error === undefined) expect(now).toBe(value);
          else {
            failures++;
            expect(error).toMatchObject({ code: "STORAGE_FAILED", retryable: true, cause: { code } });
            const tookEffect = / was (written|deleted), but may /.test(error.message);
            if (tookEffect) expect(now).toBe(value);
            // A call that failed although it took effect cannot be seen through.
            else if (when === "instead of it") expect(now).toBe(old);
            else expect([old, value]).toContain(now);
          }
          if (now === undefined) expected.delete(key);
          else expected.set(key, now);
        }
        if (failed === undefined) break;
        const next = on(nodeFileSystem, path);
        expect((await next.keys()).sort()).toEqual([...expected.keys()].sort());
        for (const [key, value] of expected) expect(await next.get(key)).toBe(value);
        expect((await readdir(path)).sort()).toEqual([...expected.keys()].map(fileNameOf).sort());
      }
      expect(failures).toBeGreaterThan(30);
    },
  );
});

test("a process that ends at any call leaves the old or the new value, without leftovers after the next start", async () => {
  const never = new Promise<never>(() => {});
  let cut = 0;
  for (let at = 0; ; at++) {
    const path = join(folder, `${at}`);
    let calls = 0;
    const opened: OpenFile[] = [];
    let ended = () => {};
    const end = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const stopping = <T extends object>(object: T): T =>
      new Proxy(object, {
        get: (target, name) => {
          const call = (target as Record<string | symbol, ((...all: unknown[]) => unknown) | undefined>)[name];
          if (call === undefined) return undefined;
          return async (...args: unknown[]) => {
            if (calls++ >= at) {
              ended();
              await never;
            }
            const result = await call(...args);
            if (name !== "open") return result;
            opened.push(result as OpenFile);
            return stopping(result as object);
          };
        },
      });
    // Never closed: that would wait for what never settles.
    const storage = createStorageOn(stopping(unsynchronized), path, unlockedProcess());
    const values = new Map<string, string>();
    let current: Operation | undefined;
    const run = (async () => {
      for (const operation of history) {
        current = operation;
        const { key, value } = operation;
        await (value === undefined ? storage.delete(key) : storage.set(key, value));
        if (value === undefined) values.delete(key);
        else values.set(key, value);
        current = undefined;
      }
    })();
    await Promise.race([run, end]);
    // The end of a process closes its files.
    for (const file of opened) await file.close().catch(() => {});
    const next = on(unsynchronized, path);
    const found = new Map<string, string | undefined>();
    for (const key of await next.keys()) found.set(key, await next.get(key));
    for (const { key } of history) {
      const allowed = current?.key === key ? [values.get(key), current.value] : [values.get(key)];
      expect(allowed).toContain(found.get(key));
    }
    expect((await readdir(path).catch(() => [])).sort()).toEqual([...found.keys()].map(fileNameOf).sort());
    if (calls <= at) break;
    cut++;
  }
  expect(cut).toBeGreaterThan(50);
});

test("the entry of a new folder is synced, and retried if that failed", async () => {
  const synced: string[] = [];
  let failing = true;
  const fs = intercepted(({ name, path }) => {
    if (name !== "sync") return;
    if (failing && path === join(folder, "a")) throw fileError("EIO");
    synced.push(path);
  });
  const storage = on(fs, join(folder, "a", "b"));
  await expect(storage.set("k", "1")).rejects.toThrow("cannot be written");
  expect(await storage.keys()).toEqual([]);
  failing = false;
  await storage.set("k", "1");
  expect(synced.slice(0, 2)).toEqual([join(folder, "a"), folder]);
  expect((await stat(join(folder, "a", "b"))).mode & 0o77).toBe(0);
});
