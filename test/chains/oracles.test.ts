/**
 * The check of certificate chains against x509-limbo and BetterTLS. `test:sim` runs the same list on a device's engine.
 */

import { describe, expect, test } from "@jest/globals";
import { MAX_SIGNATURE_CHECKS } from "../../host/moddable/tls/chain.js";
import { countingPrimitives } from "../support/node-primitives.js";
import { betterTlsCases, type ChainCase, chainCases, limboCases } from "./cases.js";
import { exceptions, isToBeAccepted, judge, nameOf } from "./verdicts.js";

const suites: [string, ChainCase[], number][] = [
  ["x509-limbo", limboCases(), 190],
  ["BetterTLS path building", betterTlsCases("pathbuilding"), 81],
  ["BetterTLS name constraints", betterTlsCases("nameconstraints"), 120],
];

describe.each(suites)("%s", (_name, cases, count) => {
  test(`has ${count} cases of either verdict`, () => {
    expect(cases.length).toBe(count);
    expect(new Set(cases.map(({ accepted }) => accepted)).size).toBe(2);
  });

  test("gives the expected verdicts except for the listed ones, each of which is needed", () => {
    const differing = cases.filter((each) => (judge(each, countingPrimitives()) === "") !== each.accepted);
    const expected = cases.filter((each) => Object.hasOwn(exceptions, nameOf(each)));
    expect(differing.map(nameOf).sort()).toEqual(expected.map(nameOf).sort());
  });

  test("needs few signature checks, and none after a cheap check has failed", () => {
    for (const each of cases) {
      const primitives = countingPrimitives();
      const reason = judge(each, primitives);
      expect(primitives.checks).toBeLessThanOrEqual(MAX_SIGNATURE_CHECKS);
      // Of what these suites refuse, only a signature itself is worth checking one.
      if (reason !== "") expect([nameOf(each), reason, primitives.checks]).toEqual([nameOf(each), reason, 0]);
    }
  });

  test("is rejected with a message of at most 200 characters", () => {
    for (const each of cases) {
      const reason = judge(each, countingPrimitives());
      expect(reason.length).toBeLessThanOrEqual(200);
    }
  });
});

test("every listed exception refers to an existing case", () => {
  const names = new Set(chainCases().map(nameOf));
  expect(Object.keys(exceptions).filter((name) => !names.has(name))).toEqual([]);
  expect(chainCases().filter(isToBeAccepted).length).toBeGreaterThan(100);
});
