/** Budgets leave room for small changes, and the README's words are free: only its figures are held to the results. */

import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { budgets, judge, recordedFigure } from "../../bench/budgets.mjs";
import { stale } from "../../bench/report.mjs";

const read = (path: string) => readFileSync(new URL(`../../bench/${path}`, import.meta.url), "utf8");
const results = JSON.parse(read("results.json"));
const readme = read("../README.md");
const svg = read("chart.svg");

test("a figure passes up to its budget and fails above", () => {
  for (const [name, { budget }] of Object.entries(budgets)) {
    expect(judge({ [name]: budget }).over).toEqual([]);
    expect(judge({ [name]: budget + 1 }).over).toEqual([name]);
  }
  expect(judge({ hashJob: Number.NaN }).over).toEqual(["hashJob"]);
});

test("the table marks only figures over their budget", () => {
  const { rows, over } = judge(
    { hashJob: budgets.hashJob.budget / 2, coreGzip: budgets.coreGzip.budget + 1, deviceHeap: undefined },
    results,
  );
  expect(over).toEqual(["coreGzip"]);
  expect(rows.map((row) => row.slice(0, 4).trim())).toEqual(["", "ok", "OVER"]);
  expect(rows[1]).toMatch(/ 50\.0 % +\d+$/);
});

test("instructions counted with another compiler are not checked, bytes are", () => {
  const { rows, over } = judge({ hashJob: 9e6, coreGzip: budgets.coreGzip.budget + 1 }, results, {
    shownOnly: "another compiler.",
  });
  expect(over).toEqual(["coreGzip"]);
  expect(rows.at(-1)).toContain("another compiler.");
});

test("a figure without a budget is an error", () => {
  expect(() => judge({ nonsense: 1 })).toThrow("nonsense");
});

test("every figure is recorded and within its budget", () => {
  const figures: Record<string, number | undefined> = {};
  for (const [name, entry] of Object.entries(budgets)) {
    if (entry.recorded === undefined) continue;
    figures[name] = recordedFigure(entry, results);
    expect([name, typeof figures[name]]).toEqual([name, "number"]);
  }
  expect(judge(figures).over).toEqual([]);
});

test("the README check accepts reworded benchmark text, but no changed figures", async () => {
  const reworded = readme
    .replace("Every library did it in the same run, and every result was checked.", "All results were checked.")
    .replace("| Library |", "| Name |");
  expect(reworded).not.toBe(readme);
  expect(await stale(results, { readme, svg })).toEqual([]);
  expect(await stale(results, { readme: reworded, svg })).toEqual([]);
  const ours = /^\| \*\*tencent-iothub-xs\*\* \| ([0-9.]+) \|/m.exec(readme)?.[1] as string;
  expect(await stale(results, { readme: readme.replace(`| ${ours} |`, "| 1.00 |"), svg })).toEqual(["README.md"]);
  expect(
    await stale(results, { readme: readme.replace(/needs a heap of [0-9.]+/, "needs a heap of 1.5"), svg }),
  ).toEqual(["README.md"]);
  expect(await stale(results, { readme, svg: svg.replace(`>${ours}<`, ">1<") })).toEqual(["bench/chart.svg"]);
});
