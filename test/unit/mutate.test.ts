/** The mutation run as a whole, on a project of two files. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";

const project = fileURLToPath(new URL("../..", import.meta.url));
const source = `/** Counts up to a limit. */
export function countTo(limit: number): number {
  let count = 0;
  while (count < limit) count++;
  return count;
}

export function half(value: number): number {
  if (value < 0) return 0;
  return value / 2;
}

export function untested(): void {
  countTo(1);
}

export interface Limits {
  // An apostrophe's no quotation mark: ${"a comment is no import ".repeat(20)} and this one's no other.
  readonly limit: number;
}
`;
const tests = `import { expect, test } from "@jest/globals";
import { countTo, half } from "../src/small.js";
test("counts", () => expect(countTo(3)).toBe(3));
test("halves", () => expect(half(8)).toBe(4));
`;
let folder: string;

function put(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

function run(...parts: string[]): string[] {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [join(project, "scripts/mutate.mjs"), "--root", folder, "--jobs", "1", ...parts, "src/small.ts"],
    { encoding: "utf8" },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout.trim().split("\n");
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "mutate-test-"));
  put("src/small.ts", source);
  put("test/small.test.ts", tests);
  put("package.json", '{ "type": "module" }');
  const swc = '["@swc/jest", { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "es6" } }]';
  put("jest.config.mjs", `export default { transform: { "\\\\.ts$": ${swc} } };`);
  symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a mutation run reports survivors, stops hanging mutants, can be continued, and changes no file", () => {
  const first = run("--shard", "1/2");
  const [mutants, tried] = /(\d+) mutants, (\d+) to be tried/.exec(first.join("\n"))?.slice(1).map(Number) ?? [0, 0];
  expect(tried).toBe(Math.ceil(mutants / 2));

  const second = run().join("\n");
  expect(second).toContain(`${mutants} mutants, ${mutants - tried} to be tried`);
  const all = readFileSync(join(folder, "build/mutation/src_small.ts.jsonl"), "utf8").trim().split("\n");
  const verdicts = Object.fromEntries(all.map((line) => JSON.parse(line)).map(({ id, verdict }) => [id, verdict]));
  expect(Object.keys(verdicts).length).toBe(mutants);
  expect(verdicts).toMatchObject({
    "3:15 literal 1": "survived",
    "4:10 condition false": "killed",
    "4:16 operator <=": "killed",
    "4:25 operator count--": "late",
    "9:7 condition true": "killed",
    "9:7 condition false": "survived",
    "10:16 operator *": "killed",
    "14:3 statement ;": "unreached",
  });
  const survivors = readFileSync(join(folder, "build/mutation/src_small.ts.survivors.txt"), "utf8");
  expect(survivors).toContain(
    "src/small.ts:9:7 condition, survived\n-   if (value < 0) return 0;\n+   if (false) return 0;\n",
  );
  expect(readFileSync(join(folder, "src/small.ts"), "utf8")).toBe(source);

  put("test/small.test.ts", `${tests}test("none is negative", () => expect(half(-2)).toBe(0));\n`);
  const third = run("--survivors").join("\n");
  expect(third).not.toContain("9:7 condition false");
  expect(third).toContain("unreached src/small.ts:14:3 statement ;");
});
