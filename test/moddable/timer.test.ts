/** Timer of the Moddable host, on stand-ins for the SDK's modules. */

import { describe, expect, test } from "@jest/globals";
import { ModdableTimer } from "../../host/moddable/timer.js";
import { aborts, clock, restart, turn, until, useMachine } from "../support/moddable-machine.js";

useMachine();

describe("timer", () => {
  test("fires once, not early, and not after clear", async () => {
    clock.stop();
    const timer = new ModdableTimer();
    const calls: string[] = [];
    const handle = timer.set(() => calls.push("a"), 100);
    timer.clear(timer.set(() => calls.push("b"), 50));
    await clock.advance(99);
    expect(calls).toEqual([]);
    await clock.advance(1);
    await clock.advance(1000);
    expect(calls).toEqual(["a"]);
    timer.clear(handle);
    timer.clear(undefined);
  });

  test("an exception of a callback does not reach native code", async () => {
    new ModdableTimer().set(() => {
      throw new Error("mistake");
    }, 0);
    await turn();
    await turn();
    expect(aborts).toEqual([]);
  });
});

test("stubs report exceptions thrown into native callbacks", async () => {
  const { default: Timer } = await import("../../mocks/moddable/timer.js");
  Timer.set(() => {
    throw new Error("in a callback");
  });
  await until(() => aborts.length === 1);
  restart();
});
