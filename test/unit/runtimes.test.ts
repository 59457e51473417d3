/** What docs/runtimes.md says is what `npm run runtimes` wrote down, of the versions that it would run today. */

import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { type Results, section, withSection } from "../runtimes/table.js";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const results: Results = JSON.parse(read("test/runtimes/results.json"));
const { dependencies } = JSON.parse(read("test/runtimes/package.json")) as { dependencies: Record<string, string> };

test("docs/runtimes.md shows the results; otherwise run npm run runtimes", () => {
  const page = read("docs/runtimes.md");
  expect(page).toBe(withSection(page, section(results)));
});

test("a page without marks is an error", () => {
  expect(() => withSection("# Runtimes", "")).toThrow("no marks");
});

test("the results are those of the fixed versions", () => {
  const pinned = Object.values(dependencies).map((range) => range.split("@").at(-1));
  for (const version of pinned) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(
    Object.values(results)
      .map(({ version }) => version)
      .sort(),
  ).toEqual(pinned.sort());
});

test("every runtime passed all cases and published over HTTPS", () => {
  for (const [id, { cases, of, tls, outcomes }] of Object.entries(results)) {
    expect([id, cases, tls, outcomes.https]).toEqual([id, of, expect.stringMatching(/^TLSv1\.[23]$/), "delivered"]);
    expect(of).toBeGreaterThan(300);
  }
});

test("the runtimes' lock file names no registry and no install script", () => {
  const lock = JSON.parse(read("test/runtimes/package-lock.json"));
  for (const [name, entry] of Object.entries<Record<string, unknown>>(lock.packages)) {
    expect([name, entry.resolved, entry.hasInstallScript]).toEqual([name, undefined, undefined]);
    if (name !== "") expect(entry.integrity).toMatch(/^sha512-/);
  }
});
