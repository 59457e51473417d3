/** What must survive a restart, and what must differ. */
import { randomBytes } from "node:crypto";
import type { Control } from "./control.js";
import type { Line } from "./main.js";
import { Expectations, Session } from "./session.js";
import { type Display, Simulator } from "./simulator.js";

/** Two starts of the app. */
export async function starts(library: string, display: Display, control: Control): Promise<Line> {
  const expect = new Expectations();
  const seen: string[][] = [];
  const value = "kept over a restart: 21,5 °C 🌡";
  const big = randomBytes(3000).toString("base64").slice(1);
  for (let start = 0; start < 2; start++) {
    const simulator = new Simulator(library, display);
    try {
      await control.started(simulator.ended);
      const session = new Session(control, simulator);
      await session.run("host", { options: { storage: "sim-test" } });
      seen.push((await session.run("random", { count: 50 })).values);
      if (start === 0) {
        const { values } = await session.run("stored");
        for (const key of Object.keys(values)) await session.run("store", { values: { [key]: null } });
        await session.run("store", { values: { a: value, "fifteen-letters": big, empty: "", gone: value } });
        await session.run("store", { values: { a: big, gone: null } });
        await session.run("store", { values: { a: value } });
        const { outcomes } = await session.run("storeBadly");
        expect.equal(
          outcomes.map((each: any) => each.code),
          Array(3).fill("INVALID_OPTION"),
          "limits of the storage",
        );
      } else {
        const { values } = await session.run("stored");
        expect.equal(
          Object.keys(values).sort(),
          ["a", "empty", "fifteen-letters", "random.seed"],
          "keys after a restart",
        );
        expect.equal([values.a, values["fifteen-letters"], values.empty], [value, big, ""], "values after a restart");
        for (const key of Object.keys(values)) await session.run("store", { values: { [key]: null } });
      }
      // The app says so, and asks for no further command.
      const ended = simulator.line(/^ended$/).then(() => {});
      await control.run({ op: "end" }, ended).catch(() => {});
      await ended;
    } catch (error) {
      expect.failures.push(String(error));
    } finally {
      await simulator.close();
    }
  }
  const all = new Set(seen.flat());
  expect.equal(all.size, 100, "different random values of two starts");
  return {
    group: "restart",
    name: "nonces and storage of two starts",
    outcome: `${all.size} values differ`,
    failures: expect.failures,
  };
}
