/** Storage of the Moddable host on ESP32: the key-value storage of ECMA-419 over NVS, and what its failures mean. */

import { describe, expect, jest, test } from "@jest/globals";

// Before anything imports the host: the modules that the manifest maps on ESP32.
const platform = await import("../../host/moddable/esp32/platform.js");
const keyValue = await import("../../host/moddable/embedded/key-value.js");
jest.unstable_mockModule("../../host/moddable/platform.js", () => ({ ...platform }));
jest.unstable_mockModule("../../host/moddable/key-value.js", () => ({ ...keyValue }));
const { createHttpModdableHost, flash, network, useMachine } = await import("../support/moddable-machine.js");
const { KeyValueStorage } = await import("../../host/moddable/index-http.js");
const { failure } = await import("../support/failure.js");

useMachine();

const forms = ["name", "number", "number of c6", "debug name", "debug number"] as const;
/** A partition with no room for another string of this length. */
async function fill(storage: InstanceType<typeof KeyValueStorage>, length = 1300): Promise<string[]> {
  const keys: string[] = [];
  for (;;) {
    const key = `f${keys.length}`;
    const error = await storage.set(key, "x".repeat(length)).catch((caught) => caught);
    if (error) {
      expect(error.code).toBe("STORAGE_FULL");
      return keys;
    }
    keys.push(key);
  }
}

describe("storage on ESP32", () => {
  test("opens one handle at creation", async () => {
    const host = createHttpModdableHost();
    expect(flash.opened).toBe(1);
    await host.storage?.set("a", "1");
    await host.storage?.get("a");
    await host.storage?.delete("a");
    expect(await host.storage?.keys()).toEqual([]);
    expect(flash.opened).toBe(1);
  });

  test("keeps text across a restart", async () => {
    const large = "温".repeat(1333);
    const storage = new KeyValueStorage();
    await storage.set("a", "1");
    await storage.set("large", large);
    await storage.set("empty", "");
    await storage.set("a", "2");
    storage.close();
    const next = new KeyValueStorage();
    expect((await next.keys()).sort()).toEqual(["a", "empty", "large"]);
    expect([await next.get("a"), await next.get("large"), await next.get("empty")]).toEqual(["2", large, ""]);
    expect(await next.get("gone")).toBeUndefined();
    await next.delete("a");
    expect(await next.get("a")).toBeUndefined();
  });

  test("a power cut at any step leaves the old value or the new one", async () => {
    for (let cut = 0; cut < 2; cut++) {
      const storage = new KeyValueStorage();
      await storage.set("k", "old");
      flash.cutPowerAfter(cut);
      await storage.set("k", "new").catch(() => {});
      flash.powerOn();
      expect(await new KeyValueStorage().get("k")).toBe(["old", "new"][cut]);
    }
  });

  test("repeats a write that NVS lost after a torn one", async () => {
    const storage = new KeyValueStorage();
    flash.cutPowerAfter(0, "torn");
    await storage.set("a", "1").catch(() => {});
    flash.powerOn();
    const next = new KeyValueStorage();
    await next.set("b", "2");
    expect(await next.get("b")).toBe("2");
  });

  test("a value that differs after two writes stops writing", async () => {
    const storage = new KeyValueStorage();
    await storage.set("a", "1");
    const write = flash.write;
    flash.write = () => {};
    try {
      expect((await failure(storage.set("a", "2"))).code).toBe("STORAGE_STOPPED");
    } finally {
      flash.write = write;
    }
    expect((await failure(storage.set("b", "2"))).code).toBe("STORAGE_STOPPED");
  });

  test("distinguishes a value of another type from an absent one", async () => {
    const storage = new KeyValueStorage();
    flash.write("tc-iothub", "blob", new ArrayBuffer(4));
    expect((await failure(storage.get("blob"))).code).toBe("STORAGE_FAILED");
  });
});

describe.each(forms)("a set that fails, with errors in the form: %s", (form) => {
  test.each(["ESP_ERR_NO_MEM", "ESP_ERR_INVALID_STATE"] as const)(
    "%s stops writing until the restart",
    async (name) => {
      flash.errorForm = form;
      const storage = new KeyValueStorage();
      await storage.set("a", "1");
      flash.failWrites(name);
      const error = await failure(storage.set("b", "2"));
      expect(error).toMatchObject({
        code: "STORAGE_STOPPED",
        retryable: true,
        message: "The storage accepts no more writes after a failure: restart the board. Stored data is safe.",
      });
      expect(String((error as { cause?: Error }).cause?.message)).toMatch(/ESP_ERR_|0x10[13]/);
      expect((await failure(storage.set("c", "3"))).code).toBe("STORAGE_STOPPED");
      // Reading and deleting go on, and nothing more was given to NVS.
      expect(await storage.get("a")).toBe("1");
      await storage.delete("a");
      expect(await storage.keys()).toEqual([]);
      expect(flash.writesAfterFailure).toBe(0);
      flash.powerOn();
      await new KeyValueStorage().set("b", "2");
      expect(await new KeyValueStorage().get("b")).toBe("2");
    },
  );

  test("a lack of room is STORAGE_FULL, and deleting makes room", async () => {
    flash.errorForm = form;
    const storage = new KeyValueStorage();
    const keys = await fill(storage);
    expect((await failure(storage.set("more", "x".repeat(1300)))).code).toBe("STORAGE_FULL");
    for (const key of keys.slice(0, 3)) await storage.delete(key);
    await storage.set("more", "x".repeat(1300));
    expect(await storage.get("more")).toBe("x".repeat(1300));
  });
});

test("clock, seed and outbox of one host stop together", async () => {
  network.esp32 = true;
  const host = createHttpModdableHost();
  flash.failWrites("ESP_ERR_NO_MEM");
  expect((await failure(host.storage?.set("a", "1") as Promise<void>)).code).toBe("STORAGE_STOPPED");
  await host.random.ready?.();
  expect((await failure(host.storage?.set("clock.synced", "1") as Promise<void>)).code).toBe("STORAGE_STOPPED");
  expect(flash.writesAfterFailure).toBe(0);
});

test("no seed is stored on a machine with a hardware generator", async () => {
  const host = createHttpModdableHost();
  const { steps } = flash;
  await host.random.ready?.();
  expect(host.random.bytes(40).length).toBe(40);
  expect([flash.steps, await host.storage?.keys()]).toEqual([steps, []]);
});

test("a lack of memory is an error, never an absent value or an empty list", async () => {
  const storage = new KeyValueStorage();
  await storage.set("a", "1");
  flash.failAllocations(100);
  expect(await storage.get("a")).toBe("1");
  expect((await failure(storage.keys())).code).toBe("STORAGE_FAILED");
  await storage.delete("other");
  expect((await failure(storage.set("a", "2"))).code).toBe("STORAGE_STOPPED");
  expect(await storage.get("a")).toBe("1");
});

describe("a namespace that cannot be opened at the start", () => {
  test("for lack of room is STORAGE_FULL, retried only by set", async () => {
    const other = new KeyValueStorage("other");
    const keys = await fill(other);
    // What is left of each page.
    for (let i = 0; ; i++) if (await other.set(`s${i}`, "x".repeat(60)).catch((error) => error)) break;
    for (let i = 0; ; i++) if (await other.set(`t${i}`, "").catch((error) => error)) break;
    const storage = new KeyValueStorage();
    const { steps, opened } = { steps: flash.steps, opened: flash.opened };
    for (const promise of [storage.get("a"), storage.delete("a"), storage.keys(), storage.set("a", "1")]) {
      expect((await failure(promise)).code).toBe("STORAGE_FULL");
    }
    expect([flash.steps, flash.opened]).toEqual([steps + 1, opened]);
    for (const key of keys.slice(0, 3)) await other.delete(key);
    await storage.set("a", "1");
    expect(await storage.get("a")).toBe("1");
  });

  test("for another reason stops writing", async () => {
    flash.failAllocations(1);
    const storage = new KeyValueStorage();
    for (const promise of [storage.get("a"), storage.set("a", "1")]) {
      expect((await failure(promise)).code).toBe("STORAGE_STOPPED");
    }
  });
});

describe("the cost of a reading: stored, delivered, deleted", () => {
  // A topic of 20 and a payload of 56 bytes, as one text with its head.
  const reading = "x".repeat(95);

  /** Wear of so many readings, as averages. */
  async function run(readings: number, cycle: (storage: InstanceType<typeof KeyValueStorage>, i: number) => unknown) {
    // What others keep: Wi-Fi, a credential, the clock.
    const wifi = new KeyValueStorage("nvs.net80211");
    for (let i = 0; i < 30; i++) await wifi.set(`w${i}`, "w".repeat(20));
    const storage = new KeyValueStorage();
    await storage.set("credential", "c".repeat(90));
    const before = flash.wear;
    for (let i = 0; i < readings; i++) {
      await cycle(storage, i);
      // Once a day at one reading a minute.
      if (i % 1440 === 0) await storage.set("clock.synced", String(1700000000000 + i));
    }
    const { writes, bytes, copies, erases } = flash.wear;
    expect(erases).toBeGreaterThan(20);
    return {
      writes: (writes - before.writes) / readings,
      bytes: (bytes - before.bytes) / readings,
      copies: copies - before.copies,
    };
  }

  test("is 4 entries", async () => {
    const storage = new KeyValueStorage();
    const before = flash.entries;
    await storage.set("out.1", reading);
    expect(flash.entries - before).toBe(4);
  });

  test.each([
    ["a board that stays on delivers each at once", 1],
    ["a board that stays on delivers ten at a time", 10],
    ["an outbox that is full all the time", 60],
  ])("%s: at most 7.4 writes, 150 bytes and no copy", async (_name, waiting) => {
    const wear = await run(5000, async (storage, i) => {
      await storage.set(`out.${i}`, reading);
      if (i >= waiting) await storage.delete(`out.${i - waiting}`);
    });
    expect(wear.writes).toBeLessThanOrEqual(7.4);
    expect(wear.bytes).toBeLessThanOrEqual(150);
    expect(wear.copies).toBe(0);
  });

  test("is the same on a board that wakes for each reading", async () => {
    const wear = await run(5000, async (_storage, i) => {
      const woken = new KeyValueStorage();
      await woken.set(`out.${i}`, reading);
      // Every tenth wake has a network.
      if (i % 10 === 9) for (const key of await woken.keys()) if (key.startsWith("out.")) await woken.delete(key);
      woken.close();
    });
    expect(wear.writes).toBeLessThanOrEqual(7.4);
    expect(wear.bytes).toBeLessThanOrEqual(150);
    expect(wear.copies).toBe(0);
  });

  test("leaves room for other data with the outbox's default", () => {
    expect(new KeyValueStorage().outboxLimits).toEqual({ maxBytes: 240 * 32, maxQueued: 120 });
  });
});
