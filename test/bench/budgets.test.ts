/** Budgets leave room for small changes, and the words of the benchmark's pages are free: only their figures are held to the results. */

import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { budgets, judge, recordedFigure } from "../../bench/budgets.mjs";
import { readReport, stale } from "../../bench/report.mjs";

const read = (path: string) => readFileSync(new URL(`../../bench/${path}`, import.meta.url), "utf8");
const results = JSON.parse(read("results.json"));
const { texts, svg } = readReport();

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

test("the benchmark's page may be reworded, but its figures must match", async () => {
  const page = texts["docs/benchmark.md"];
  const reworded = page
    .replace("All libraries ran in the same session, and every result was verified.", "All results were verified.")
    .replace("| Library |", "| Name |");
  expect(reworded).not.toBe(page);
  const withPage = (text: string) => ({ texts: { ...texts, "docs/benchmark.md": text }, svg });
  expect(await stale(results, { texts, svg })).toEqual([]);
  expect(await stale(results, withPage(reworded))).toEqual([]);
  const ours = /^\| \*\*tencent-iothub-xs\*\* \| ([0-9.]+) \|/m.exec(page)?.[1] as string;
  const wrong = ["docs/benchmark.md"];
  expect(await stale(results, withPage(page.replace(`| ${ours} |`, "| 1.00 |")))).toEqual(wrong);
  expect(await stale(results, withPage(page.replace(/needs a heap of [0-9.]+/, "needs a heap of 1.5")))).toEqual(wrong);
  expect(await stale(results, { texts, svg: svg.replace(`>${ours}<`, ">1<") })).toEqual(["bench/chart.svg"]);
});

test("the README's line on the benchmark has the figures of the results", async () => {
  const readme = texts["README.md"].replace(/takes [0-9.]+ million/, "takes 9.99 million");
  expect(readme).not.toBe(texts["README.md"]);
  expect(await stale(results, { texts: { ...texts, "README.md": readme }, svg })).toEqual(["README.md"]);
});
