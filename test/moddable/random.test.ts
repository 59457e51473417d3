import { describe, expect, test } from "@jest/globals";
import { PooledRandom } from "../../host/moddable/random.js";
import { NonceSource } from "../../src/request/nonce.js";
import { clock, flash, network, useMachine } from "../support/moddable-machine.js";

useMachine();

describe("random", () => {
  /** A start of a simulator: the platform's generator gives the same sequence each time. */
  function nonces(count: number, persistent = true): number[] {
    let state = 1;
    const original = Math.random;
    Math.random = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    try {
      const source = new NonceSource(new PooledRandom(persistent));
      return Array.from({ length: count }, () => source.next());
    } finally {
      Math.random = original;
    }
  }

  test("nonces of two starts differ though clock and generator begin alike", () => {
    clock.stop();
    clock.setDate(1000);
    const first = nonces(200);
    const second = nonces(200);
    expect(new Set([...first, ...second]).size).toBe(400);
    for (const nonce of first) expect(nonce >= 0 && nonce <= 2147483646 && Number.isInteger(nonce)).toBe(true);
    // The seed is what makes the difference.
    expect(nonces(5, false)).toEqual(nonces(5, false));
  });

  test("without a seed the clock and the address make the difference", async () => {
    clock.stop();
    clock.setDate(1000);
    const [first] = nonces(1, false);
    network.values.set("MAC", "24:0a:c4:00:01:11");
    const [second] = nonces(1, false);
    await clock.advance(1);
    const [third] = nonces(1, false);
    expect(new Set([first, second, third]).size).toBe(3);
  });

  test("one write a start, and none that fails does harm", () => {
    const random = new PooledRandom();
    random.bytes(32);
    const { steps } = flash;
    random.bytes(1000);
    expect(flash.steps).toBe(steps);
    flash.cutPowerAfter(0);
    expect(new PooledRandom().bytes(40).length).toBe(40);
  });

  test("output has every length and no repetition", () => {
    const random = new PooledRandom(false);
    for (const length of [0, 1, 31, 32, 33, 100]) expect(random.bytes(length).length).toBe(length);
    const blocks = Array.from({ length: 100 }, () => Buffer.from(random.bytes(16)).toString("hex"));
    expect(new Set(blocks).size).toBe(100);
  });
});
