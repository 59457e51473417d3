/** Doc comments name the codes that a function throws, and no code that does not exist. */

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import ts from "typescript";
import { errorTable } from "../../src/errors.js";
import { responseCodes } from "../../tools/gateway/responses.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

const sources = ["src", "host", "tools"].flatMap((folder) =>
  readdirSync(root + folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts") && !name.includes("node_modules"))
    .map((name) => {
      const path = `${folder}/${name}`.replaceAll("\\", "/");
      return ts.createSourceFile(path, readFileSync(root + path, "utf8"), ts.ScriptTarget.Latest, true);
    }),
);

/** Members of a type that is a union of strings, wherever it is declared. */
function unionOf(name: string): string[] {
  const [members] = sources.flatMap((source) =>
    source.statements.flatMap((statement) =>
      ts.isTypeAliasDeclaration(statement) && statement.name.text === name && ts.isUnionTypeNode(statement.type)
        ? [statement.type.types.map((member) => member.getText(source).replaceAll('"', ""))]
        : [],
    ),
  );
  return members ?? [];
}

const library = Object.keys(errorTable);
/** Codes of each class of errors. */
const codes: Readonly<Record<string, readonly string[]>> = {
  IotHubError: library,
  NetworkError: library,
  ResponseError: library,
  ThrottledError: library,
  CliError: unionOf("CliErrorCode"),
  GatewayError: unionOf("GatewayErrorCode"),
  DiagnoseError: unionOf("DiagnoseErrorCode"),
  Refusal: responseCodes,
};

/** Words that look like a code. */
const CODE =
  /\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|\b(?:CANCELLED|THROTTLED|TIMEOUT|USAGE)\b|\b[A-Z][A-Za-z]+\.[A-Z][A-Za-z]+\b/g;

const where = (node: ts.Node): string => {
  const source = node.getSourceFile();
  return `${source.fileName}:${source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1}`;
};

/** Type and text of each `@throws` of a source. */
function throwsTags(source: ts.SourceFile): { at: string; type: string | undefined; text: string }[] {
  return [...source.text.matchAll(/@throws\b(?: \{(\w+)\})?([^@]*?)(?=\n\s*\* @|@|\*\/)/g)].map((match) => ({
    at: `${source.fileName}:${source.text.slice(0, match.index).split("\n").length}`,
    type: match[1],
    text: match[2].replace(/\{@?link [^}]*\}/g, "").replace(/\s*\n\s*\*?\s*/g, " "),
  }));
}

/** Codes that a body throws itself: not in another function, and not where a `catch` follows. */
function thrownIn(body: ts.Node): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) || ts.isClassLike(node)) return;
    if (ts.isTryStatement(node) && node.catchClause !== undefined) {
      visit(node.catchClause.block);
      if (node.finallyBlock !== undefined) visit(node.finallyBlock);
      return;
    }
    const error = ts.isThrowStatement(node)
      ? node.expression
      : ts.isCallExpression(node) && node.expression.getText() === "Promise.reject"
        ? node.arguments[0]
        : undefined;
    if (error !== undefined && ts.isNewExpression(error) && codes[error.expression.getText()] !== undefined) {
      const [code] = error.arguments ?? [];
      if (code !== undefined && ts.isStringLiteral(code)) found.push(code.text);
    }
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(body, visit);
  return found;
}

const isExported = (node: ts.Node): boolean =>
  ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true;

/** Exported functions, and public methods of exported classes. Those of an interface are documented there. */
function* exportedFunctions(source: ts.SourceFile): Generator<{ node: ts.Node; body: ts.Node }> {
  for (const statement of source.statements) {
    if (!isExported(statement)) continue;
    if (ts.isFunctionDeclaration(statement) && statement.body !== undefined) {
      yield { node: statement, body: statement.body };
    } else if (ts.isClassDeclaration(statement)) {
      const implementsOne = statement.heritageClauses?.some(({ token }) => token === ts.SyntaxKind.ImplementsKeyword);
      for (const member of statement.members) {
        if (!ts.isMethodDeclaration(member) && !ts.isConstructorDeclaration(member)) continue;
        const isPrivate = member.name !== undefined && ts.isPrivateIdentifier(member.name);
        if (isPrivate || member.body === undefined) continue;
        if (implementsOne && ts.getJSDocCommentsAndTags(member).length === 0) continue;
        yield { node: member, body: member.body };
      }
    }
  }
}

/** A function with its overloads, any of which may have the doc comment. */
function declarationsOf(node: ts.Node): readonly ts.Node[] {
  if (!ts.isFunctionDeclaration(node)) return [node];
  return node
    .getSourceFile()
    .statements.filter((other) => ts.isFunctionDeclaration(other) && other.name?.text === node.name?.text);
}

test("every @throws has a type in braces, and only codes of that type", () => {
  const tags = sources.flatMap(throwsTags);
  expect(tags.length).toBeGreaterThan(100);
  const wrong = tags.flatMap(({ at, type, text }) => {
    if (type === undefined) return [`${at}: write @throws {Type} CODE if …`];
    const known = codes[type];
    if (known === undefined) return [];
    const named = text.match(CODE) ?? [];
    const unknown = named.filter((code) => !known.includes(code)).map((code) => `${at}: ${type} has no code ${code}`);
    const isReference = /\b(?:errors?|reason)\b/.test(text) || type === "Refusal";
    return named.length === 0 && !isReference ? [`${at}: no code is named`] : unknown;
  });
  expect(wrong).toEqual([]);
});

test("an exported function names the codes that it throws itself", () => {
  let count = 0;
  // A command reports every error, and is called by nothing else.
  const callable = sources.filter(({ fileName }) => !/\/cli\//.test(fileName));
  const missing = callable.flatMap((source) =>
    [...exportedFunctions(source)].flatMap(({ node, body }) => {
      const thrown = thrownIn(body);
      count += thrown.length;
      const documented = declarationsOf(node)
        .flatMap((declaration) => ts.getJSDocTags(declaration))
        .filter((tag) => tag.tagName.text === "throws")
        .map((tag) => tag.getText(source))
        .join("\n");
      return thrown.filter((code) => !documented.includes(code)).map((code) => `${where(node)}: ${code}`);
    }),
  );
  expect(count).toBeGreaterThan(30);
  expect(missing).toEqual([]);
});

test("an unknown code, a missing type and an undocumented throw are found", () => {
  const text = `/** @throws {IotHubError} NO_SUCH_CODE */
export function f(): void {
  throw new IotHubError("INVALID_OPTION", "x");
}
/** @throws IotHubError */
`;
  const source = ts.createSourceFile("x.ts", text, ts.ScriptTarget.Latest, true);
  expect(throwsTags(source).map(({ type }) => type)).toEqual(["IotHubError", undefined]);
  expect(throwsTags(source)[0].text.match(CODE)).toEqual(["NO_SUCH_CODE"]);
  expect([...exportedFunctions(source)].map(({ body }) => thrownIn(body))).toEqual([["INVALID_OPTION"]]);
});
