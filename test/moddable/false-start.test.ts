/** What is remembered of origins that do not bear False Start. */

import { describe, expect, test } from "@jest/globals";
import { FalseStart } from "../../host/moddable/tls/false-start.js";
import type { Storage } from "../../src/host.js";

const DAY_MS = 86400000;

/** Values in memory, and how often one was written. */
function memory(values: Record<string, string> = {}) {
  const state = { values, writes: 0 };
  const storage: Storage = {
    maxValueBytes: 3999,
    get: async (key) => values[key],
    set: async (key, text) => {
      state.writes++;
      values[key] = text;
    },
    delete: async () => {},
    keys: async () => Object.keys(values),
  };
  return { state, storage };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const clock = { now: Date.UTC(2026, 10, 28), nowMs: () => clock.now };

async function loaded(origin: string, storage: Storage | undefined): Promise<FalseStart> {
  const falseStart = new FalseStart(origin, clock, storage);
  await settle();
  return falseStart;
}

describe("False Start state", () => {
  test("is written once, after a failure", async () => {
    const { state, storage } = memory();
    const falseStart = await loaded("a.test:443", storage);
    expect([falseStart.isAllowed, state.writes]).toEqual([true, 0]);
    falseStart.fail();
    expect(falseStart.isAllowed).toBe(false);
    await settle();
    expect(state.values).toEqual({ "false-start": `${clock.now + 30 * DAY_MS} a.test:443` });
    expect(state.writes).toBe(1);
  });

  test("allows False Start only after the storage was read", async () => {
    const falseStart = new FalseStart("a.test:443", clock, memory().storage);
    expect(falseStart.isAllowed).toBe(false);
    await settle();
    expect(falseStart.isAllowed).toBe(true);
    const silent = { ...memory().storage, get: () => new Promise<undefined>(() => {}) };
    expect((await loaded("a.test:443", silent)).isAllowed).toBe(false);
  });

  test("disables the origin for 30 days across restarts", async () => {
    const { storage } = memory();
    const [start, ...others] = ["a.test:443", "a.test:8443", "aa.test:443", "b.test:443"];
    (await loaded(start, storage)).fail();
    await settle();
    for (const origin of others) expect((await loaded(origin, storage)).isAllowed).toBe(true);
    const before = clock.now;
    for (const [days, isAllowed] of [
      [0, false],
      [29.999, false],
      [30, true],
    ] as const) {
      clock.now = before + days * DAY_MS;
      expect((await loaded(start, storage)).isAllowed).toBe(isAllowed);
    }
    clock.now = before;
  });

  test("keeps the last four origins, each once", async () => {
    const { state, storage } = memory();
    for (const name of ["a", "b", "c", "b", "d", "e"]) {
      (await loaded(`${name}.test:443`, storage)).fail();
      await settle();
    }
    const names = state.values["false-start"].split("\n").map((line) => line.split(" ")[1]);
    expect(names).toEqual(["c.test:443", "b.test:443", "d.test:443", "e.test:443"]);
  });

  test.each(["", "?", "x a.test:443", "a.test:443", "\n\n"])("%j counts as empty", async (text) => {
    expect((await loaded("a.test:443", memory({ "false-start": text }).storage)).isAllowed).toBe(true);
  });

  test("lasts until the restart if the storage fails or is missing", async () => {
    const reject = () => Promise.reject(new Error("broken"));
    const broken = { ...memory().storage, get: reject, set: reject };
    for (const storage of [undefined, broken, { ...memory().storage, set: reject }]) {
      const falseStart = await loaded("a.test:443", storage);
      expect(falseStart.isAllowed).toBe(true);
      falseStart.fail();
      await settle();
      expect(falseStart.isAllowed).toBe(false);
    }
  });
});
