/** Storage of the Moddable host on the preferences, where the SDK has no key-value storage: on simulators. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { KeyValueStorage } from "../../host/moddable/storage.js";
import type { Storage } from "../../src/host.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { createHttpModdableHost, createModdableHost, flash, useMachine } from "../support/moddable-machine.js";

useMachine();

describe("storage on the preferences", () => {
  test("keeps text across a restart, and in a file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "preferences-"));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    flash.keepIn(join(folder, "flash.json"));
    const storage = new KeyValueStorage();
    const large = "0123456789".repeat(400).slice(1);
    await storage.set("a", "1");
    await storage.set("large", large);
    await storage.set("empty", "");
    await storage.set("a", "温度 21,5 °C 🌡");
    await storage.set("gone", "5");
    await storage.delete("gone");
    await storage.delete("never");
    flash.clear();
    expect(await storage.keys()).toEqual([]);
    flash.keepIn(join(folder, "flash.json"));
    expect((await storage.keys()).sort()).toEqual(["a", "empty", "large"]);
    expect(await storage.get("a")).toBe("温度 21,5 °C 🌡");
    expect(await storage.get("large")).toBe(large);
    expect(await storage.get("empty")).toBe("");
    expect(await storage.get("gone")).toBeUndefined();
    expect(await new KeyValueStorage("other").keys()).toEqual([]);
  });

  test.each(["", "k".repeat(16), "a/b", "ü", "a b"])("rejects the key %j", async (key) => {
    const storage = new KeyValueStorage();
    for (const promise of [storage.get(key), storage.set(key, "1"), storage.delete(key)]) {
      expect((await failure(promise)).code).toBe("INVALID_OPTION");
    }
  });

  test("accepts keys and paths of at most 15 characters", async () => {
    await new KeyValueStorage("d".repeat(15)).set("k".repeat(15), "1");
    for (const path of ["d".repeat(16), "", "a/b"]) {
      expect(() => new KeyValueStorage(path)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    }
  });

  test("accepts values of at most 3 999 bytes of UTF-8 without U+0000", async () => {
    const storage = new KeyValueStorage();
    expect(storage.maxValueBytes).toBe(3999);
    for (const text of ["x".repeat(3999), "ä".repeat(1999), "温".repeat(1333)]) {
      await storage.set("k", text);
      expect(await storage.get("k")).toBe(text);
    }
    const before = flash.steps;
    for (const text of ["x".repeat(4000), "ä".repeat(2000), "温".repeat(1334), "a\0b", 5 as never]) {
      expect((await failure(storage.set("k", text))).code).toBe("INVALID_OPTION");
    }
    expect(flash.steps).toBe(before);
  });

  test("reports a value that is not text", async () => {
    const storage = new KeyValueStorage();
    flash.write("tc-iothub", "k", 5);
    flash.open("tc-iothub", "r+");
    expect(await failure(storage.get("k"))).toMatchObject({ code: "STORAGE_FAILED", retryable: true });
  });

  test("an error without a code affects only its operation", async () => {
    const storage = new KeyValueStorage();
    await storage.set("k", "old");
    flash.failWrites("ESP_ERR_NO_MEM");
    expect((await failure(storage.set("k", "new"))).code).toBe("STORAGE_FAILED");
    flash.powerOn();
    await storage.set("k", "newer");
    expect(await storage.get("k")).toBe("newer");
    flash.cutPowerAfter(0);
    for (const promise of [storage.get("k"), storage.set("k", "1"), storage.delete("k"), storage.keys()]) {
      expect((await failure(promise)).code).toBe("STORAGE_FAILED");
    }
  });

  test("rejects after close", async () => {
    const storage = new KeyValueStorage();
    await storage.set("k", "1");
    storage.close();
    for (const promise of [storage.get("k"), storage.set("k", "1"), storage.delete("k"), storage.keys()]) {
      expect((await failure(promise)).code).toBe("STORAGE_FAILED");
    }
  });
});

describe("the host's option storage", () => {
  test("is a path, with a default", async () => {
    await createModdableHost().storage?.set("a", "1");
    await createModdableHost({ storage: "mine" }).storage?.set("b", "2");
    expect([flash.keys("tc-iothub"), flash.keys("mine")]).toEqual([["a"], ["b"]]);
    expect(createModdableHost({ storage: false }).storage).toBeUndefined();
  });

  test.each([[5], [null], [{}], ["a path that is too long"]])("rejects %j", (storage) => {
    expect(() => createHttpModdableHost({ storage: storage as never })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION" }),
    );
  });

  test("can be a custom storage, also used for the seed, and closed by the app", async () => {
    let closed = 0;
    const values = new Map<string, string>();
    const own: Storage = {
      maxValueBytes: 3999,
      get: async (key) => values.get(key),
      set: async (key, text) => void values.set(key, text),
      delete: async (key) => void values.delete(key),
      keys: async () => [...values.keys()],
      close: () => void closed++,
    };
    const host = createHttpModdableHost({ storage: own });
    expect(host.storage).toBe(own);
    await host.random.ready?.();
    expect(await own.keys()).toEqual(["random.seed"]);
    expect(flash.steps).toBe(0);
    host.close();
    expect(closed).toBe(0);
  });
});
