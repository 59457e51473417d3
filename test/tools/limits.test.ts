/** A test with its own time limit fails on a busy machine: the limit in jest.config.mjs is for what never ends. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import ts from "typescript";

const functions = /^(test|it|beforeAll|beforeEach|afterAll|afterEach)\b/;

/** Lines of tests and hooks with a number as their last argument. */
function limited(text: string): number[] {
  const source = ts.createSourceFile("it.test.ts", text, ts.ScriptTarget.Latest, true);
  const lines: number[] = [];
  const visit = (node: ts.Node): void => {
    const last = ts.isCallExpression(node) && functions.test(node.expression.getText(source)) && node.arguments.at(-1);
    if (last && ts.isNumericLiteral(last))
      lines.push(source.getLineAndCharacterOfPosition(last.getStart(source)).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return lines;
}

test("time limits of tests are found at every position", () => {
  expect(limited('test("a", () => {}, 5000);\ntest.each([1])("b", () => {\n}, 60_000);\nbeforeAll(f, 10);')).toEqual([
    1, 3, 4,
  ]);
  expect(limited('test("a", () => { f(5000); });\ntest.each([1])("b %s", () => {});\nbeforeAll(f, LIMIT_MS);')).toEqual(
    [],
  );
});

test("no test has a custom time limit", () => {
  const folder = fileURLToPath(new URL("..", import.meta.url));
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.(ts|mjs)$/.test(name));
  expect(files.length).toBeGreaterThan(150);
  const found = files.flatMap((name) =>
    limited(readFileSync(join(folder, name), "utf8")).map((line) => `${name}:${line}`),
  );
  expect(found).toEqual([]);
});
