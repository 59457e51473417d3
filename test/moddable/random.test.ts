import { describe, expect, test } from "@jest/globals";
import { HashDrbg } from "../../host/moddable/random.js";
import { KeyValueStorage } from "../../host/moddable/storage.js";
import type { Storage } from "../../src/host.js";
import { NonceSource } from "../../src/request/nonce.js";
import { clock, flash, network, turn, useMachine } from "../support/moddable-machine.js";

useMachine();

const empty: Storage = {
  maxValueBytes: 3999,
  get: async () => undefined,
  set: async () => {},
  delete: async () => {},
  keys: async () => [],
};

describe("random", () => {
  /** A start of a simulator: the platform's generator gives the same sequence each time. */
  async function nonces(count: number, storage?: Storage): Promise<number[]> {
    let state = 1;
    const original = Math.random;
    Math.random = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    try {
      const random = new HashDrbg(storage);
      await random.ready();
      const source = new NonceSource(random);
      return Array.from({ length: count }, () => source.next());
    } finally {
      Math.random = original;
    }
  }

  test("nonces of two starts differ despite the same clock and generator", async () => {
    clock.stop();
    clock.setDate(1000);
    const first = await nonces(200, new KeyValueStorage());
    const second = await nonces(200, new KeyValueStorage());
    expect(new Set([...first, ...second]).size).toBe(400);
    for (const nonce of first) expect(nonce >= 0 && nonce <= 2147483646 && Number.isInteger(nonce)).toBe(true);
    // The seed is what makes the difference.
    expect(await nonces(5)).toEqual(await nonces(5));
  });

  test("without a seed, clock and MAC address make outputs differ", async () => {
    clock.stop();
    clock.setDate(1000);
    const [first] = await nonces(1);
    network.values.set("MAC", "24:0a:c4:00:01:11");
    const [second] = await nonces(1);
    await clock.advance(1);
    const [third] = await nonces(1);
    expect(new Set([first, second, third]).size).toBe(3);
  });

  test("the next seed is stored once per start, before `ready` resolves", async () => {
    const storage = new KeyValueStorage();
    const random = new HashDrbg(storage);
    expect(await storage.get("random.seed")).toBeUndefined();
    await Promise.all([random.ready(), random.ready()]);
    const { steps } = flash;
    expect(await storage.get("random.seed")).toMatch(/^[A-Za-z0-9+/]{43}=$/);
    await random.ready();
    random.bytes(1000);
    expect(flash.steps).toBe(steps);
  });

  test("`ready` waits until the next seed is stored", async () => {
    let keep = () => {};
    const kept = new Promise<void>((resolve) => {
      keep = resolve;
    });
    const storage = { ...empty, set: () => kept };
    let isReady = false;
    const ready = new HashDrbg(storage).ready().then(() => {
      isReady = true;
    });
    await turn();
    expect(isReady).toBe(false);
    keep();
    await ready;
  });

  test("a seed that cannot be read or written is ignored", async () => {
    const storage = new KeyValueStorage();
    flash.cutPowerAfter(0);
    const random = new HashDrbg(storage);
    await random.ready();
    expect(random.bytes(40).length).toBe(40);
  });

  test("output before the seed was read is random, too", async () => {
    clock.stop();
    clock.setDate(1000);
    const storage = new KeyValueStorage();
    const random = new HashDrbg(storage);
    expect(random.bytes(40).length).toBe(40);
    await random.ready();
    expect(await storage.get("random.seed")).toBeDefined();
  });

  test("output has every length and no repetition", () => {
    const random = new HashDrbg();
    for (const length of [0, 1, 31, 32, 33, 100]) expect(random.bytes(length).length).toBe(length);
    const blocks = Array.from({ length: 100 }, () => Buffer.from(random.bytes(16)).toString("hex"));
    expect(new Set(blocks).size).toBe(100);
  });
});
