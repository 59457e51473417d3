import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type { Gateway } from "../../tools/gateway/index.js";
import { useLimits } from "../support/limits.js";
import {
  type Cell,
  cellsOf,
  faultName,
  faults,
  type HostUnderTest,
  type Outcome,
  prepare,
  runCell,
  type Shared,
  startFor,
  tableOf,
} from "./matrix.js";

/**
 * Tests each fault on a host, and that together they come to the table that is kept.
 * @param isKept false for a host whose outcomes differ with the version of the platform: it has no table
 */
export function testMatrix(host: HostUnderTest, isKept = true): void {
  useLimits();

  const outcomes = new Map<Cell, Outcome>();
  const gateways = new Map<Cell["scheme"], Gateway>();
  let shared: Shared;
  beforeAll(async () => {
    shared = prepare();
    for (const scheme of host.schemes) gateways.set(scheme, await startFor(scheme, shared));
  });
  afterAll(async () => {
    for (const gateway of gateways.values()) await gateway.close();
  });

  const rows = faults.map((fault) => [faultName(fault), fault] as const);
  test.each(rows)("%s: every message is delivered or handed back, in order", async (_name, fault) => {
    // One cell after the other: an expired limit ends every wait.
    for (const cell of cellsOf(fault, host.schemes)) {
      const { fault: _, ...rest } = cell;
      const outcome = await runCell(cell, host, shared, gateways.get(cell.scheme) as Gateway);
      expect({ ...rest, wrong: outcome.wrong }).toEqual({ ...rest, wrong: [] });
      outcomes.set(cell, outcome);
    }
  });

  if (!isKept) return;
  test("the outcomes match the recorded table", () => {
    const table = tableOf(host, outcomes);
    const path = fileURLToPath(new URL(`./outcomes-${host.name.toLowerCase()}.md`, import.meta.url));
    if (process.env.UPDATE_OUTCOMES) writeFileSync(path, table);
    expect(existsSync(path) && readFileSync(path, "utf8")).toBe(table);
    process.stdout.write(`faults: ${outcomes.size} cells on the ${host.name} host\n`);
  });
}
