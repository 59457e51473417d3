/** The stand-in for flash: it counts and fails as measured on the real NVS. */

import { describe, expect, test } from "@jest/globals";
import KeyValueStorage from "../../mocks/moddable/key-value.js";
import Preference from "../../mocks/moddable/preference.js";
import { flash, useMachine } from "../support/moddable-machine.js";

useMachine();

const open = () => KeyValueStorage.open({ path: "tc-iothub", format: "string" });
const blob = (length: number, fill = 0) => new Uint8Array(length).fill(fill).buffer;

/** What an operation costs on a page that has room. */
function cost(operation: () => void): [entries: number, writes: number, bytes: number] {
  const before = { ...flash.wear, used: flash.entries };
  operation();
  const { writes, bytes } = flash.wear;
  return [flash.entries - before.used, writes - before.writes, bytes - before.bytes];
}

describe("the cost of a value", () => {
  // ESP-IDF v6.0, a separate page for each.
  test.each([
    [40, 3, 6, 108],
    [100, 5, 6, 172],
    [400, 14, 6, 460],
  ])("a string of %i bytes: %i entries, %i writes, %i bytes", (length, entries, writes, bytes) => {
    const storage = open();
    expect(cost(() => storage.write("k", "x".repeat(length)))).toEqual([entries, writes, bytes]);
  });

  test.each([
    [40, 4, 8, 144],
    [100, 6, 8, 208],
    [400, 15, 8, 496],
  ])("a blob of %i bytes: %i entries, %i writes, %i bytes", (length, entries, writes, bytes) => {
    Preference.set("d", "other", 1);
    expect(cost(() => Preference.set("d", "k", blob(length)))).toEqual([entries, writes, bytes]);
  });

  test("a number takes one entry, the same value again none", () => {
    Preference.set("d", "other", 1);
    expect(cost(() => Preference.set("d", "n", 5))).toEqual([1, 2, 36]);
    const storage = open();
    storage.write("k", "text");
    expect(cost(() => storage.write("k", "text"))).toEqual([0, 0, 0]);
  });

  test("erasing writes only states, and frees no room before the page is reclaimed", () => {
    const storage = open();
    storage.write("k", "x".repeat(100));
    const { entries } = flash.wear;
    expect(cost(() => storage.delete("k"))).toEqual([-5, 1, 4]);
    expect(flash.wear.entries).toBe(entries);
  });

  test("a blob across two pages takes one more entry", () => {
    const storage = open();
    storage.write("page", "x".repeat(3000));
    const before = flash.entries;
    Preference.set("tc-iothub", "k", blob(1000));
    expect(flash.entries - before).toBe(2 + Math.ceil(1000 / 32) + 1);
  });
});

describe("pages", () => {
  test("hold 630 entries at once, and no string is split", () => {
    const storage = open();
    let stored = 0;
    // 42 entries: three fill a page.
    const text = "x".repeat(41 * 32 - 1);
    expect(() => {
      for (; ; stored++) storage.write(`k${stored}`, text);
    }).toThrow("ESP_ERR_NVS_NOT_ENOUGH_SPACE");
    // The namespace's entry keeps the first page from holding three.
    expect(stored).toBe(14);
  });

  test("a write without room costs at least one erase", () => {
    const storage = open();
    for (let i = 0; i < 14; i++) storage.write(`k${i}`, "x".repeat(1311));
    const { erases, writes } = flash.wear;
    expect(() => storage.write("more", "x".repeat(1311))).toThrow("NOT_ENOUGH_SPACE");
    expect(flash.wear.erases).toBeGreaterThan(erases);
    expect(flash.wear.writes).toBeGreaterThan(writes + 10);
  });

  test("first in, first out: a reclaim finds a dead page and copies nothing", () => {
    const storage = open();
    for (let i = 0; i < 2000; i++) {
      storage.write(`k${i}`, "x".repeat(95));
      storage.delete(`k${i - 40}`);
    }
    expect(flash.wear.erases).toBeGreaterThan(50);
    expect(flash.wear.copies).toBeLessThanOrEqual(1);
  });
});

describe("a lack of memory", () => {
  test("makes preferences report wrong results, and the key-value storage throw", () => {
    Preference.set("d", "k", "old");
    flash.failAllocations(4);
    expect(Preference.get("d", "k")).toBeUndefined();
    expect(Preference.keys("d")).toEqual([]);
    Preference.delete("d", "k");
    expect(() => Preference.set("d", "k", "new")).toThrow("nvs_open fail");
    expect(Preference.get("d", "k")).toBe("old");
    const storage = open();
    storage.write("k", "old");
    flash.failAllocations(1);
    expect(storage.read("k")).toBe("old");
    storage.delete("other");
    expect(() => [...storage]).toThrow("ESP_ERR_NO_MEM");
    flash.failAllocations(1);
    expect(() => storage.write("k", "new")).toThrow("ESP_ERR_NO_MEM");
    expect(storage.read("k")).toBe("old");
  });

  test("makes preference.set erase the old value and fail", () => {
    Preference.set("d", "k", "old");
    flash.failWrites("ESP_ERR_NO_MEM");
    expect(() => Preference.set("d", "k", "new")).toThrow("nvs set fail");
    expect(Preference.get("d", "k")).toBeUndefined();
  });

  test("makes writes after a failed one get lost until the restart", () => {
    const storage = open();
    flash.failWrites("ESP_ERR_NO_MEM");
    expect(() => storage.write("a", "1")).toThrow();
    storage.write("b", "1");
    expect([storage.read("b"), flash.writesAfterFailure]).toEqual([undefined, 1]);
    flash.powerOn();
    storage.write("b", "1");
    expect(storage.read("b")).toBe("1");
  });
});

describe("a power cut", () => {
  test.each([0, 1])("leaves a string old or new (at step %i)", (step) => {
    const storage = open();
    storage.write("k", "old");
    flash.cutPowerAfter(step);
    expect(() => storage.write("k", "new")).toThrow("the power is cut");
    flash.powerOn();
    expect(storage.read("k")).toBe(step === 0 ? "old" : "new");
    expect(flash.entries).toBe(3);
  });

  test("may leave nothing of a blob that replaces another", () => {
    const cells = () => {
      flash.write("d", "k", blob(40, 1));
      flash.cutPowerAfter(1);
      flash.write("d", "k", blob(40, 2));
    };
    expect(cells).toThrow("the power is cut");
    flash.powerOn();
    expect([flash.read("d", "k"), flash.entries]).toEqual([undefined, 0]);
  });

  test("with a torn first word loses the next write, which reports success", () => {
    const storage = open();
    flash.cutPowerAfter(0, "torn");
    expect(() => storage.write("a", "1")).toThrow();
    flash.powerOn();
    storage.write("a", "2");
    expect(storage.read("a")).toBeUndefined();
    storage.write("a", "2");
    expect(storage.read("a")).toBe("2");
  });
});
