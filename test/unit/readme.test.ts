import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { errorTable } from "../../src/errors.js";
import { retryDefaults } from "../../src/request/retry.js";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");
const readme = read("README.md");

test("the README lists every error code once, and no other", () => {
  const declared: string[] = Object.keys(errorTable);
  const section = readme.slice(readme.indexOf("## Errors"), readme.indexOf("\n## ", readme.indexOf("## Errors") + 1));
  const listed = [...section.matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map((m) => m[1]);
  expect(declared.length).toBeGreaterThan(40);
  expect(listed.sort()).toEqual(declared.sort());
});

test("every file that the README links to exists", () => {
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map((m) => m[1]);
  expect(links.filter((link) => !existsSync(new URL(link, root)))).toEqual([]);
});

test("every npm script in the README exists", () => {
  const { scripts } = JSON.parse(read("package.json"));
  const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map((m) => m[1]);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

test("the README's retry defaults are those of the code", () => {
  for (const [name, value] of Object.entries(retryDefaults)) {
    const row = new RegExp(`^\\| \`retry\\.${name}\` \\| ([0-9 ]+) \\|`, "m").exec(readme);
    expect([name, Number(row?.[1].replaceAll(" ", ""))]).toEqual([name, value]);
  }
});
