/** Runs every case of the conformance suite twice: here on Node, and on XS as on a device. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { bundleFile } from "../../support/bundle.js";
import { BUILD_TIMEOUT_MS, build, type EngineReport, runAll } from "../../support/engine.js";
import { Check } from "../check.js";
import { suites } from "../suites.js";
import { dataOfSuites } from "./data.js";
import { singleCases } from "./single.js";

beforeAll(() => build(), BUILD_TIMEOUT_MS);

/** How many checks held, by case; what failed is missing. */
const onNode = new Map<string, number>();
const onXs = new Map<string, number>();

describe("the list of cases", () => {
  test("includes every file of cases", () => {
    const folder = fileURLToPath(new URL("..", import.meta.url));
    const files = readdirSync(folder).filter((name) => name.endsWith(".cases.ts"));
    expect(Object.keys(suites).sort()).toEqual(files.map((name) => name.replace(".cases.ts", "")).sort());
  });

  test("has unique names", () => {
    expect(new Set(singleCases.map((each) => each.name)).size).toBe(singleCases.length);
  });

  test("has a combined case for all data, and single cases for each row", () => {
    for (const [suite, data] of Object.entries(dataOfSuites)) {
      const names = (suites[suite] ?? []).map((each) => each.name);
      expect(names).toEqual(expect.arrayContaining(Object.keys(data)));
    }
    const ran = new Set(singleCases.map((single) => single.each));
    for (const each of Object.values(suites).flat()) expect(ran.has(each) ? "" : each.name).toBe("");
  });
});

describe("on Node", () => {
  test.each(singleCases)("$name", async ({ name, each, input }) => {
    const check = new Check();
    await each.run(check, input === undefined ? undefined : JSON.parse(input));
    expect(check.count).toBeGreaterThan(0);
    onNode.set(name, check.count);
  });
});

describe("on XS", () => {
  const reports = new Map<string, EngineReport>();
  let listed: [string, string[]][] = [];

  beforeAll(async () => {
    const entry = fileURLToPath(new URL("../xs.ts", import.meta.url));
    const options = { preload: [await bundleFile(entry, "conformance")], timeoutMs: 800_000 };
    const [list, ...rest] = await runAll(
      [
        { script: "conformance.list()" },
        ...singleCases.map(({ suite, each, input }) => ({
          script: `conformance.run(${JSON.stringify(suite)}, ${JSON.stringify(each.name)})`,
          input,
          heapBytes: each.heapBytes,
          stackBytes: each.stackBytes,
        })),
      ],
      options,
    );
    if (list?.end !== "ok") throw new Error(`The bundle does not run on XS: ${list?.end}: ${list?.message}`);
    listed = JSON.parse(list.output);
    for (const [index, report] of rest.entries()) reports.set(singleCases[index]?.name ?? "", report);
  });

  test("the bundle has the same cases", () => {
    expect(listed).toEqual(Object.entries(suites).map(([suite, cases]) => [suite, cases.map((each) => each.name)]));
  });

  test.each(singleCases)("$name", ({ name }) => {
    const report = reports.get(name);
    expect(report ? `${report.end} ${report.message}`.trim() : "did not run").toBe("ok");
    // Without this line a promise never settled.
    const [, count] = /^checks: (\d+)$/m.exec(report?.output ?? "") ?? [];
    expect(Number(count)).toBeGreaterThan(0);
    onXs.set(name, Number(count));
  });
});

test("the same cases passed on both engines, with as many checks", () => {
  const checks = [...onNode.values()].reduce((sum, count) => sum + count, 0);
  process.stderr.write(
    `conformance: ${onNode.size} cases passed on Node, ${onXs.size} on XS, of ${singleCases.length} (${checks} checks each)\n`,
  );
  expect(onNode.size).toBe(singleCases.length);
  expect([...onXs].sort()).toEqual([...onNode].sort());
});
