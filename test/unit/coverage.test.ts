import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { floors, judge } from "../tools/coverage.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const file = (covered: number, total: number) => ({ lines: { covered, total }, branches: { covered, total } });
const files = {
  [`${root}src/a.ts`]: file(90, 100),
  [`${root}src/crypto/b.ts`]: file(100, 100),
  [`${root}host/node/c.ts`]: file(1, 100),
};

test("the coverage of a part counts all its files, and is compared with its floor", () => {
  expect(judge("src", files, { lines: 95, branches: 94 })).toEqual({
    line: "coverage src: lines 95.0 % (floor 95), branches 95.0 % (floor 94)",
    isBelow: false,
  });
  const below = judge("src", files, { lines: 95, branches: 96 });
  expect(below.isBelow).toBe(true);
  expect(below.line).toMatch(/BELOW ITS FLOOR: branches$/);
});

test("a part that was not measured is below its floor", () => {
  expect(judge("host/moddable", files, { lines: 1 }).isBelow).toBe(true);
});

test("every part with a floor exists, and CONTRIBUTING lists the floors", () => {
  const text = readFileSync(`${root}CONTRIBUTING.md`, "utf8");
  for (const [folder, { lines, branches }] of Object.entries(floors)) {
    expect(existsSync(root + folder)).toBe(true);
    const row = new RegExp(`^\\| \`${folder}\` \\|.*`, "m").exec(text)?.[0] ?? "";
    expect([folder, ...(row.match(/floor \d+/g) ?? [])]).toEqual([folder, `floor ${lines}`, `floor ${branches}`]);
  }
});
