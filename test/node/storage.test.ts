import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { createStorage } from "../../host/node/index.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "storage-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("what was set is there for the next start", async () => {
  const path = join(folder, "made", "on", "demand");
  const storage = createStorage(path);
  expect(await storage.get("a")).toBeUndefined();
  expect(await storage.keys()).toEqual([]);
  await storage.delete("a");
  await storage.set("a", Uint8Array.of(0, 255, 10));
  await storage.set("b.c-d_e", new Uint8Array(0));
  const next = createStorage(path);
  expect(await next.get("a")).toEqual(Uint8Array.of(0, 255, 10));
  expect(await next.get("b.c-d_e")).toEqual(new Uint8Array(0));
  expect((await next.keys()).sort()).toEqual(["a", "b.c-d_e"]);
  await next.delete("a");
  expect(await storage.get("a")).toBeUndefined();
});

test("files are their owner's alone", async () => {
  const path = join(folder, "private");
  await createStorage(path).set("psk", new Uint8Array(3));
  expect((await stat(path)).mode & 0o77).toBe(0);
  expect((await stat(join(path, "psk"))).mode & 0o77).toBe(0);
});

test("a write that was cut off leaves the old value and is no key", async () => {
  const storage = createStorage(folder);
  await storage.set("a", Uint8Array.of(1));
  await writeFile(join(folder, "%tmp-0123456789ab-01234567"), "torn");
  expect(await storage.keys()).toEqual(["a"]);
  expect(await storage.get("a")).toEqual(Uint8Array.of(1));
  await createStorage(folder).set("a", Uint8Array.of(2));
  expect(await readdir(folder)).toEqual(["a"]);
});

test("nothing is left of writes that were cut off, or that failed", async () => {
  await writeFile(join(folder, "%tmp-0123456789ab-01234567"), "psk");
  await writeFile(join(folder, "another's.tmp~"), "");
  const storage = createStorage(folder);
  await storage.delete("credential");
  expect(await readdir(folder)).toEqual(["another's.tmp~"]);
  await mkdir(join(folder, "a"));
  await expect(storage.set("a", new Uint8Array(1))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  expect((await readdir(folder)).sort()).toEqual(["a", "another's.tmp~"]);
});

test("many writes at once end with the last one", async () => {
  const storage = createStorage(folder);
  await Promise.all(Array.from({ length: 50 }, (_, i) => storage.set("a", Uint8Array.of(i))));
  expect(await storage.get("a")).toEqual(Uint8Array.of(49));
});

test.each(["", "sixteen-chars-ab", "a/b", "..", ".", "a b", "ä", "a\0"])("the key %j is refused", async (key) => {
  const storage = createStorage(folder);
  for (const operation of [storage.get(key), storage.set(key, new Uint8Array(1)), storage.delete(key)]) {
    await expect(operation).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
});

test("a value of 4000 bytes fits, one of 4001 does not", async () => {
  const storage = createStorage(folder);
  await storage.set("a", new Uint8Array(4000));
  await expect(storage.set("a", new Uint8Array(4001))).rejects.toMatchObject({ code: "INVALID_OPTION" });
  expect((await storage.get("a"))?.length).toBe(4000);
});

test("a folder that cannot be used is a typed error, and the next operation goes on", async () => {
  await writeFile(join(folder, "file"), "");
  const storage = createStorage(join(folder, "file"));
  await expect(storage.set("a", new Uint8Array(1))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  await expect(storage.keys()).rejects.toMatchObject({ code: "STORAGE_FAILED", retryable: true });
});
