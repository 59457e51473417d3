import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "@jest/globals";
import { cells, faultName, type HostUnderTest, runMatrix, tableOf } from "./matrix.js";

/** Runs the matrix on a host; fails where something is wrong in a cell, or where the table is not the one that is kept. */
export async function checkMatrix(host: HostUnderTest): Promise<void> {
  const outcomes = await runMatrix(host);
  const wrong = [...outcomes]
    .filter(([, outcome]) => outcome.wrong.length > 0)
    .map(([{ fault, ...cell }, outcome]) => [faultName(fault), ...Object.values(cell), ...outcome.wrong].join(", "));
  expect(wrong).toEqual([]);
  expect(outcomes.size).toBe(cells(host.schemes).length);
  const table = tableOf(host, outcomes);
  const path = fileURLToPath(new URL(`./outcomes-${host.name.toLowerCase()}.md`, import.meta.url));
  if (process.env.UPDATE_OUTCOMES) writeFileSync(path, table);
  expect(existsSync(path) && readFileSync(path, "utf8")).toBe(table);
  process.stdout.write(`faults: ${outcomes.size} cells on the ${host.name} host\n`);
}
