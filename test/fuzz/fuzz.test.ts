import { describe, expect, test } from "@jest/globals";
import { checkUrls, runCase, runProperty, targets } from "./targets.js";

const seed = 20261101;

describe.each(targets.map((target) => [target.name, target] as const))("%s", (_name, target) => {
  test("accepts modified samples, or throws an error of the library", async () => {
    for (let number = 0; number < target.share * 60; number++) await runCase(target, seed, number);
    expect(target.samples.length).toBeGreaterThan(0);
  });

  test("accepts random inputs, or throws an error of the library", async () => {
    await runProperty(target, seed, 300);
  });
});

test("random URLs are accepted, or rejected with an error of the library", () => {
  checkUrls(seed, 500);
});

test("the shares of a fuzz run cover all inputs", () => {
  expect(targets.reduce((sum, { share }) => sum + share, 0)).toBe(100);
});
