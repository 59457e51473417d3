/**
 * XS 17 of Moddable SDK 8.2.3 corrupts its heap when a regular expression of a preloaded module's scope is used: the
 * compiled program is in memory that is read-only on a device. XS 13, on which these tests run, does not, so the
 * sources are looked at instead.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import ts from "typescript";

/** Lines of regular expressions that are evaluated with the module: outside of every function. */
function outside(text: string): number[] {
  const source = ts.createSourceFile("module.ts", text, ts.ScriptTarget.Latest, true);
  const lines: number[] = [];
  const isMade = (node: ts.Node) =>
    ts.isRegularExpressionLiteral(node) ||
    ((ts.isNewExpression(node) || ts.isCallExpression(node)) && node.expression.getText(source) === "RegExp");
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node)) return;
    // Fields of an object are evaluated when it is made, static ones with the module.
    if (ts.isPropertyDeclaration(node) && !node.modifiers?.some((m) => m.kind === ts.SyntaxKind.StaticKeyword)) return;
    if (isMade(node)) lines.push(source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return lines;
}

test("regular expressions in module scope are found", () => {
  expect(outside("const a = /x/;\nconst b = { c: [new RegExp('y')] };\nclass D { static e = /z/; }")).toEqual([
    1, 2, 3,
  ]);
  expect(
    outside("function f() { return /x/; }\nconst g = () => /y/;\nclass D { e = /z/; h() { return /i/; } }"),
  ).toEqual([]);
});

test("device modules create no regular expression in module scope", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const files = ["src", "host/moddable"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(root, folder, name)),
  );
  expect(files.length).toBeGreaterThan(60);
  const found = files.flatMap((file) => outside(readFileSync(file, "utf8")).map((line) => `${file}:${line}`));
  expect(found).toEqual([]);
});
