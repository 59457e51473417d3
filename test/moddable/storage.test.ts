/** Storage of the Moddable host on the preferences, with power cuts, on stand-ins for the SDK's modules. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { PreferenceStorage } from "../../host/moddable/storage.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { flash, useMachine } from "../support/moddable-machine.js";

useMachine();

describe("storage", () => {
  const bytes = (...values: number[]) => Uint8Array.from(values);

  test("keeps what it is given, over a restart and in a file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "preferences-"));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    flash.keepIn(join(folder, "flash.json"));
    const storage = new PreferenceStorage();
    const large = Uint8Array.from({ length: 4000 }, (_, i) => i);
    await storage.set("a", bytes(1, 2, 3));
    await storage.set("large", large);
    await storage.set("empty", bytes());
    await storage.set("a", bytes(4));
    await storage.set("gone", bytes(5));
    await storage.delete("gone");
    await storage.delete("never");
    flash.clear();
    expect(await storage.keys()).toEqual([]);
    flash.keepIn(join(folder, "flash.json"));
    expect((await storage.keys()).sort()).toEqual(["a", "empty", "large"]);
    expect(await storage.get("a")).toEqual(bytes(4));
    expect(await storage.get("large")).toEqual(large);
    expect(await storage.get("empty")).toEqual(bytes());
    expect(await storage.get("gone")).toBeUndefined();
    expect(await new PreferenceStorage("other").keys()).toEqual([]);
  });

  test("what is given and what is got is nobody else's", async () => {
    const storage = new PreferenceStorage();
    const value = bytes(1, 2, 3).subarray(1);
    await storage.set("k", value);
    value[0] = 9;
    const got = (await storage.get("k")) as Uint8Array;
    expect(got).toEqual(bytes(2, 3));
    got[0] = 9;
    expect(await storage.get("k")).toEqual(bytes(2, 3));
  });

  test.each(["", "k".repeat(16), "a/b", "ü", "a b"])("the key %j is refused", async (key) => {
    const storage = new PreferenceStorage();
    for (const promise of [storage.get(key), storage.set(key, bytes(1)), storage.delete(key)]) {
      expect((await failure(promise)).code).toBe("INVALID_OPTION");
    }
  });

  test("keys of 15 characters and domains of 13 fit, more does not", async () => {
    await new PreferenceStorage("d".repeat(13)).set("k".repeat(15), bytes(1));
    for (const domain of ["d".repeat(14), "", "a/b"]) {
      expect(() => new PreferenceStorage(domain)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    }
    const storage = new PreferenceStorage();
    expect((await failure(storage.set("k", new Uint8Array(4001)))).code).toBe("INVALID_OPTION");
  });

  test("a power cut at any step leaves the old value or the new one", async () => {
    const outcomes: string[] = [];
    for (let writes = 1; writes <= 4; writes++) {
      for (let cut = 0; ; cut++) {
        flash.clear();
        const storage = new PreferenceStorage();
        for (let i = 1; i < writes; i++) await storage.set("k", bytes(i));
        flash.cutPowerAfter(cut);
        const survived = await storage.set("k", bytes(writes)).then(
          () => true,
          (error) => {
            expect(error.code).toBe("STORAGE_FAILED");
            return false;
          },
        );
        flash.powerOn();
        const value = (await storage.get("k"))?.[0] ?? 0;
        expect([writes - 1, writes]).toContain(value);
        if (survived) expect(value).toBe(writes);
        outcomes.push(`${writes}/${cut}:${value}`);
        // And it goes on from there, at any further cut.
        for (let again = 0, old = value; again < 4; again++) {
          flash.cutPowerAfter(again);
          await storage.set("k", bytes(100 + again)).catch(() => {});
          flash.powerOn();
          const now = (await storage.get("k"))?.[0] ?? 0;
          expect([old, 100 + again]).toContain(now);
          old = now;
        }
        await storage.set("k", bytes(99));
        expect(await storage.get("k")).toEqual(bytes(99));
        expect(await storage.keys()).toEqual(["k"]);
        await storage.delete("k");
        expect([await storage.get("k"), await storage.keys()]).toEqual([undefined, []]);
        if (survived) break;
      }
    }
    expect(outcomes.length).toBeGreaterThan(8);
  });

  test("a power cut while deleting leaves the last value or none", async () => {
    for (let cut = 0; cut < 4; cut++) {
      flash.clear();
      const storage = new PreferenceStorage();
      await storage.set("k", bytes(1));
      flash.cutPowerAfter(1);
      await storage.set("k", bytes(2)).catch(() => {});
      flash.cutPowerAfter(cut);
      await storage.delete("k").catch(() => {});
      flash.powerOn();
      const value = await storage.get("k");
      if (value !== undefined) expect(value).toEqual(bytes(2));
      else expect(cut).toBeGreaterThan(0);
    }
  });

  test("flash that fails is an error with a code", async () => {
    flash.cutPowerAfter(0);
    const storage = new PreferenceStorage();
    for (const promise of [storage.get("k"), storage.set("k", bytes(1)), storage.delete("k"), storage.keys()]) {
      expect([(await failure(promise)).code]).toEqual(["STORAGE_FAILED"]);
    }
  });
});
