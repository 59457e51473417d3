import { expect, test } from "@jest/globals";
import { history, troubles } from "./model.js";
import { registrationHistory, registrationTroubles } from "./registration.js";

const SEEDS = 301;

test.each(troubles)("outbox delivers or reports accepted messages on a storage with %s", async (trouble) => {
  const at = troubles.indexOf(trouble);
  for (let seed = 1; seed <= SEEDS; seed++) {
    if (seed % troubles.length !== at) continue;
    expect({ seed, wrong: await history(seed, trouble) }).toEqual({ seed, wrong: [] });
  }
});

test.each(registrationTroubles)(
  "device uses its valid credential, and recovers a lost one, on a storage with %s",
  async (trouble) => {
    const at = registrationTroubles.indexOf(trouble);
    for (let seed = 1; seed <= SEEDS; seed++) {
      if (seed % registrationTroubles.length !== at) continue;
      expect({ seed, wrong: await registrationHistory(seed, trouble) }).toEqual({ seed, wrong: [] });
    }
  },
);
