import { expect, test } from "@jest/globals";
import { history, troubles } from "./model.js";
import { registrationHistory, registrationTroubles } from "./registration.js";

const SEEDS = 301;

test.each(troubles)(
  "outbox on a storage with trouble %s: what was accepted is delivered or reported",
  async (trouble) => {
    const at = troubles.indexOf(trouble);
    for (let seed = 1; seed <= SEEDS; seed++) {
      if (seed % troubles.length !== at) continue;
      expect({ seed, wrong: await history(seed, trouble) }).toEqual({ seed, wrong: [] });
    }
  },
);

test.each(registrationTroubles)(
  "device on a storage with trouble %s: its good credential is used, and a lost one is made up for",
  async (trouble) => {
    const at = registrationTroubles.indexOf(trouble);
    for (let seed = 1; seed <= SEEDS; seed++) {
      if (seed % registrationTroubles.length !== at) continue;
      expect({ seed, wrong: await registrationHistory(seed, trouble) }).toEqual({ seed, wrong: [] });
    }
  },
);
