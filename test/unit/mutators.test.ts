import { describe, expect, test } from "@jest/globals";
import { apply, blockOf, mutants, probed } from "../../scripts/mutate/mutators.mjs";

/** What becomes of a source, by kind. */
function results(source: string, ...kinds: string[]): string[] {
  return mutants("a.ts", source)
    .filter(({ kind }) => kinds.length === 0 || kinds.includes(kind))
    .map((mutant) => apply(source, mutant));
}

describe("a mutator changes", () => {
  const cases: [string, string, string, string[]][] = [
    ["a condition", "condition", "if (a) b();", ["if (true) b();", "if (false) b();"]],
    ["a loop's condition, never to endless", "condition", "while (a) b();", ["while (false) b();"]],
    ["a choice", "condition", "x = a ? b : c;", ["x = true ? b : c;", "x = false ? b : c;"]],
    ["a boundary", "operator", "x = a < b;", ["x = a <= b;", "x = a >= b;"]],
    ["equality", "operator", "x = a === b;", ["x = a !== b;"]],
    ["arithmetic", "operator", "x = a + b * c;", ["x = a - b * c;", "x = a + b / c;"]],
    ["a sum", "operator", "x += 1;", ["x -= 1;", "x = 1;"]],
    ["a step", "operator", "x++;", ["x--;"]],
    ["a conjunction to each of its sides", "operand", "x = a && b;", ["x = a;", "x = b;"]],
    ["a default to each of its sides", "operand", "x = a ?? b;", ["x = a;", "x = b;"]],
    ["a negation", "negation", "x = !a;", ["x = (a);"]],
    ["a call", "statement", "f(); g();", ["; g();", "f(); ;"]],
    ["a throw", "statement", "throw e;", [";"]],
    ["what is returned", "return", "function f() { return a; }", ["function f() { return undefined; }"]],
    ["a literal that is returned", "literal", "function f() { return true; }", ["function f() { return false; }"]],
    ["a number", "literal", "x = 41;", ["x = 42;"]],
    ["a text", "literal", 'x = "a"; y = "";', ['x = ""; y = "";', 'x = "a"; y = "x";']],
    ["a wait", "await", "async () => { await f(); };", ["async () => { (f()); };"]],
    ["an optional access", "chain", "x = a?.b;", ["x = a.b;"]],
    ["an optional call", "chain", "x = a?.();", ["x = a();"]],
    ["the ends of a pattern", "pattern", "x = /^a$/u;", ["x = /a$/u;", "x = /^a/u;"]],
  ];
  test.each(cases)("%s", (_name, kind, source, expected) => {
    expect(results(source, kind)).toEqual(expected);
  });
});

test("mutators do not change types, imports, keys and error texts", () => {
  const source = `import { a } from "b";
export { c } from "d";
type T = "x" | 1;
interface I { p: "y"; }
declare const e: 1;
const o = { "key": a as "z" };
new IotHubError("", "The words.");`;
  expect(results(source)).toEqual([
    source.replace('new IotHubError("", "The words.");', ";"),
    source.replace('new IotHubError("",', 'new IotHubError("x",'),
  ]);
});

test("mutators do not subtract text", () => {
  expect(results('x = a + "b";', "operator")).toEqual([]);
});

test("mutants have unique ids in source order, and their positions", () => {
  const source = "if (a < 1) b();\nif (a < 1) b();\n";
  const all = mutants("a.ts", source);
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  expect(all.map(({ start }) => start)).toEqual(all.map(({ start }) => start).sort((a, b) => a - b));
  expect(mutants("a.ts", source)).toEqual(all);
  expect(all.find(({ line, kind }) => line === 2 && kind === "literal")).toMatchObject({
    column: 9,
    id: "2:9 literal 2",
  });
});

test("probes report which blocks were reached, and change nothing else", () => {
  const source = "function f(x) { if (x) { return 1; } switch (x) { case 0: return 2; default: } return 3; }";
  const { source: made, blocks } = probed("a.ts", source, "hit");
  const hits: number[] = [];
  const f = new Function("hit", `${made}; return f;`)((_path: string, block: number) => hits.push(block));
  expect([f(1), f(0), f("")]).toEqual([1, 2, 3]);
  const reached = hits.map((block) => source.slice(blocks[block].start, blocks[block].start + 9));
  expect(reached).toEqual(["{ if (x) ", "{ return ", "{ if (x) ", "return 2;", "{ if (x) "]);
});

test("a mutant belongs to its innermost block, or to none", () => {
  const source = "const a = 1; function f() { if (a) { g(2); } }";
  const { blocks } = probed("a.ts", source, "hit");
  const of = (text: string) => {
    const start = source.indexOf(text);
    const index = blockOf(blocks, { start, end: start + text.length });
    return index === undefined ? undefined : source.slice(blocks[index].start, blocks[index].end);
  };
  expect(of("2")).toBe("{ g(2); }");
  expect(of("(a)")).toBe("{ if (a) { g(2); } }");
  expect(of("1")).toBeUndefined();
});
