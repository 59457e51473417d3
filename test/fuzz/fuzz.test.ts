import { describe, expect, test } from "@jest/globals";
import { checkUrls, runCase, runProperty, targets } from "./targets.js";

const seed = 20261101;

describe.each(targets.map((target) => [target.name, target] as const))("%s", (_name, target) => {
  test("damaged samples: taken, or an error of the library's own", async () => {
    for (let number = 0; number < target.share * 60; number++) await runCase(target, seed, number);
    expect(target.samples.length).toBeGreaterThan(0);
  });

  test("inputs at random: the same", async () => {
    await runProperty(target, seed, 300);
  });
});

test("urls at random: the same", () => {
  checkUrls(seed, 500);
});

test("the shares make a whole", () => {
  expect(targets.reduce((sum, { share }) => sum + share, 0)).toBe(100);
});
