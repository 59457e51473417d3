import { expect, test } from "@jest/globals";
import { faultsOf, runSoak } from "./soak.js";

test("1500 readings, every tenth request struck, killed again and again: none lost, order kept", async () => {
  const seed = 20261101;
  const result = await runSoak({ readings: 1500, seed, faultProbability: 0.1, killEvery: 250 });
  const { kills, faults, duplicates, requests, seconds } = result;
  process.stdout.write(
    `soak: seed ${seed}, ${requests} requests, ${faults} faults, ${kills} kills, ${duplicates} duplicates, ${seconds.toFixed(1)} s\n`,
  );
  expect(faultsOf(result)).toEqual([]);
  expect(kills).toBeGreaterThan(2);
  expect(faults).toBeGreaterThan(100);
}, 120_000);
