import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { openStorage } from "../support/node-storage.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "storage-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("values survive a restart", async () => {
  const path = join(folder, "made", "on", "demand");
  const storage = openStorage(path);
  expect(await storage.get("a")).toBeUndefined();
  expect(await storage.keys()).toEqual([]);
  await storage.delete("a");
  await storage.set("a", "0\n温度 🌡");
  await storage.set("b.c-d_e", "");
  const next = openStorage(path);
  expect(await next.get("a")).toEqual("0\n温度 🌡");
  expect(await next.get("b.c-d_e")).toEqual("");
  expect((await next.keys()).sort()).toEqual(["a", "b.c-d_e"]);
  await next.delete("a");
  expect(await storage.get("a")).toBeUndefined();
});

test("files are readable only by their owner", async () => {
  const path = join(folder, "private");
  await openStorage(path).set("psk", "psk");
  expect((await stat(path)).mode & 0o77).toBe(0);
  expect((await stat(join(path, "psk"))).mode & 0o77).toBe(0);
});

test("an interrupted write leaves the old value, and no additional key", async () => {
  const storage = openStorage(folder);
  await storage.set("a", "1");
  await storage.close();
  await writeFile(join(folder, "%tmp-0123456789abcdef"), "torn");
  const next = openStorage(folder);
  expect(await next.keys()).toEqual(["a"]);
  expect(await next.get("a")).toBe("1");
  await next.close();
  expect(await readdir(folder)).toEqual(["a"]);
});

test("interrupted and failed writes leave no files", async () => {
  await writeFile(join(folder, "%tmp-0123456789abcdef"), "psk");
  await writeFile(join(folder, "another's.tmp~"), "");
  const storage = openStorage(folder);
  await storage.delete("credential");
  await mkdir(join(folder, "a"));
  await expect(storage.set("a", "1")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  await storage.close();
  expect((await readdir(folder)).sort()).toEqual(["a", "another's.tmp~"]);
});

test("concurrent writes end with the last value", async () => {
  const storage = openStorage(folder);
  await Promise.all(Array.from({ length: 50 }, (_, i) => storage.set("a", String(i))));
  expect(await storage.get("a")).toEqual("49");
});

test("operations started before `close` take effect, later ones reject", async () => {
  const storage = openStorage(folder);
  const before = [storage.set("a", "1"), storage.set("b", "2"), storage.delete("a")];
  const closed = storage.close();
  await expect(storage.get("b")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  await Promise.all([...before, closed]);
  expect(await readdir(folder)).toEqual(["b"]);
});

test.each(["", "sixteen-chars-ab", "a/b", "..", ".", "a b", "ä", "a\0"])("the key %j is rejected", async (key) => {
  const storage = openStorage(folder);
  for (const operation of [storage.get(key), storage.set(key, "1"), storage.delete(key)]) {
    await expect(operation).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
});

test("a value has at most 65 536 bytes of UTF-8", async () => {
  const storage = openStorage(folder);
  expect(storage.maxValueBytes).toBe(65536);
  expect(storage.outboxLimits).toEqual({ maxBytes: 1048576, maxQueued: 10000 });
  const text = "ä".repeat(32768);
  await storage.set("a", text);
  for (const wrong of [`${text}x`, 5 as never]) {
    await expect(storage.set("a", wrong)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  }
  expect(await storage.get("a")).toBe(text);
});

test("an unusable folder is a typed error, and the next operation is tried again", async () => {
  await writeFile(join(folder, "file"), "");
  const storage = openStorage(join(folder, "file"));
  await expect(storage.set("a", "1")).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  await expect(storage.keys()).rejects.toMatchObject({ code: "STORAGE_FAILED", retryable: true });
});
