import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import ts from "typescript";
import { file, folder } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** In the shape of the console's exports, with every type of value. */
const greenhouse = {
  version: "1.0",
  profile: { ProductId: "ABCDE12345", CategoryId: "1" },
  properties: [
    {
      id: "temperature",
      name: "温度",
      desc: "of the air",
      mode: "r",
      define: { type: "float", min: "-40", max: "85", start: "0", step: "0.1", unit: "°C" },
      required: false,
    },
    { id: "fans", name: "Fans", desc: "", mode: "rw", define: { type: "int", min: "0", max: "4", unit: "" } },
    { id: "pump", name: "Pump", desc: "", mode: "rw", define: { type: "bool", mapping: { 0: "off", 1: "on" } } },
    { id: "mode", name: "Mode", desc: "", mode: "rw", define: { type: "enum", mapping: { 0: "day", 2: "night" } } },
    {
      id: "crop",
      name: "Crop",
      mode: "rw",
      define: { type: "stringenum", mapping: { tomato: "番茄", "bell-pepper": "" } },
    },
    { id: "label", name: "Label */ alert(1) /*", desc: "two\nlines", define: { type: "string", min: "0", max: "64" } },
    { id: "watered", name: "Watered", define: { type: "timestamp" } },
    {
      id: "position",
      name: "Position",
      define: {
        type: "struct",
        specs: [
          { id: "row", name: "", dataType: { type: "int", min: "1", max: "9" } },
          { id: "side", name: "", dataType: { type: "enum", mapping: { 0: "left", 1: "right" } } },
        ],
      },
    },
    { id: "levels", name: "Levels", define: { type: "array", arrayInfo: { type: "float", min: "0", max: "1" } } },
    {
      id: "valves",
      name: "Valves",
      define: {
        type: "array",
        arrayInfo: { type: "struct", specs: [{ id: "open", name: "", dataType: { type: "bool" } }] },
      },
    },
    { id: "2nd-door", name: "Second door", define: { type: "bool" } },
  ],
  events: [
    {
      id: "frost",
      name: "Frost",
      desc: "too cold",
      type: "alert",
      params: [{ id: "lowest", name: "Lowest", define: { type: "float", min: "-40", max: "85", unit: "°C" } }],
    },
    { id: "started", name: "Started", desc: "", type: "info", params: [] },
  ],
  actions: [],
};

async function generate(model: unknown, ...more: string[]): Promise<string> {
  await writeFile(file("model.json"), JSON.stringify(model));
  const { code, stdout, stderr } = await run(["types", file("model.json"), ...more]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

/** What the compiler has to say of an app's lines, as in a project with strict options. */
function complaints(declaration: string, lines: readonly string[]): string[][] {
  const app = join(folder, "app.ts");
  const sources: Record<string, string> = {
    [join(folder, "model.d.ts")]: declaration,
    [app]: [
      'import type { Model } from "./model.js";',
      'import { topics } from "tencent-iothub-xs/topics";',
      "declare const device: { productId: string; deviceName: string; publish(message: { topic: string; payload: object }): void };",
      "const { propertyReport, eventPost } = topics(device);",
      "const typed = topics<Model>(device);",
      ...lines,
    ].join("\n"),
  };
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2022.d.ts"],
    types: [],
    paths: { "tencent-iothub-xs/topics": [join(root, "src/topics/topics.ts")] },
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile: read } = host;
  host.fileExists = (name) => name in sources || fileExists(name);
  host.readFile = (name) => sources[name] ?? read(name);
  host.getSourceFile = (name, target, ...rest) =>
    name in sources ? ts.createSourceFile(name, sources[name], target) : getSourceFile(name, target, ...rest);
  const program = ts.createProgram([app], options, host);
  const found = lines.map((): string[] => []);
  for (const { file: source, start = 0, messageText } of ts.getPreEmitDiagnostics(program)) {
    const text = ts.flattenDiagnosticMessageText(messageText, " ");
    const line = source?.fileName === app ? source.getLineAndCharacterOfPosition(start).line - 5 : -1;
    if (found[line] === undefined) throw new Error(`${source?.fileName}: ${text}`);
    found[line].push(text);
  }
  return found;
}

describe("types", () => {
  test("makes a report with a wrong value or name fail to compile", async () => {
    const right = [
      'device.publish(propertyReport<Model>({ temperature: 21.5, fans: 2, pump: 1, mode: 2, crop: "bell-pepper" }));',
      'propertyReport<Model>({ label: "x", watered: 1764000000, "2nd-door": 0 }, { timeMs: 5 });',
      "propertyReport<Model>({ position: { row: 3, side: 1 }, levels: [0.5], valves: [{ open: 1 }, { open: 0 }] });",
      "propertyReport<Model>({});",
      'eventPost<Model>("frost", "alert", { lowest: -1 }, { timeMs: 5 });',
      'eventPost<Model>("started", "info", {});',
      "typed.propertyReport({ temperature: 21.5 });",
      'typed.eventPost("frost", "alert", {});',
      // Without a model, everything is taken.
      'propertyReport({ anything: "21" });',
      'eventPost("anything", "fault", { at: "all" });',
    ];
    const wrong = [
      'propertyReport<Model>({ temperature: "21" });',
      "propertyReport<Model>({ temprature: 21 });",
      "propertyReport<Model>({ pump: 2 });",
      "propertyReport<Model>({ pump: true });",
      "propertyReport<Model>({ mode: 1 });",
      'propertyReport<Model>({ crop: "cucumber" });',
      "propertyReport<Model>({ position: { row: 3 } });",
      'propertyReport<Model>({ levels: ["0.5"] });',
      "propertyReport<Model>({ valves: [{ open: 2 }] });",
      "propertyReport<Model>({ watered: new Date() });",
      "propertyReport<Model>({ temperature: 21 }, { timestamp: 5 });",
      'eventPost<Model>("frost", "info", { lowest: -1 });',
      'eventPost<Model>("frost", "alert", { lowest: "cold" });',
      'eventPost<Model>("heat", "alert", {});',
      'typed.propertyReport({ temperature: "21" });',
      'typed.eventPost("started", "alert", {});',
      'eventPost("anything", "fatal", {});',
    ];
    const found = complaints(await generate(greenhouse), [...right, ...wrong]);
    expect(found.slice(0, right.length)).toEqual(right.map(() => []));
    expect(wrong.filter((_, i) => found[right.length + i].length === 0)).toEqual([]);
    expect(found[right.length][0]).toContain("Type 'string' is not assignable to type 'number");
  });

  test("writes descriptions as comments that their text cannot end", async () => {
    const declaration = await generate(greenhouse, "--name", "Greenhouse");
    expect(declaration).toMatch(
      /^\/\*\* Generated by tencent-iothub types from model\.json, product ABCDE12345: .*\. \*\/\n/,
    );
    expect(declaration).toContain("\nexport interface Greenhouse {\n");
    expect(declaration).toContain("    /** 温度. of the air. -40 to 85 °C. */\n    temperature: number;\n");
    expect(declaration).toContain(
      "    /** Label * / alert(1) /*. two lines. 0 to 64 characters. */\n    label: string;\n",
    );
    expect(declaration).toContain("    /** Mode. 0: day, 2: night. */\n    mode: 0 | 2;\n");
    for (const line of declaration.split("\n")) {
      if (line.includes("/**")) expect(line).toMatch(/^\s*\/\*\* (?:(?!\*\/).)*\. \*\/$/);
    }
  });

  test("reads standard input, writes a file, and prints JSON", async () => {
    const stdin = JSON.stringify(greenhouse);
    const { code, stdout } = await run(["types", "-"], { stdin });
    expect(code).toBe(0);
    expect(stdout).toContain("types from standard input, product");
    const written = await run(["types", "-", "--out", file("model.d.ts"), "--json"], { stdin: `\ufeff${stdin}` });
    expect(written).toMatchObject({ code: 0, stderr: "" });
    const { declaration, out, warnings } = JSON.parse(written.stdout);
    expect({ out, warnings }).toEqual({ out: file("model.d.ts"), warnings: [] });
    expect(await readFile(file("model.d.ts"), "utf8")).toBe(declaration);
    expect(declaration).toBe(stdout);
    expect(await run(["types", "-", "--out", file("model.d.ts")], { stdin })).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    const nowhere = await run(["types", "-", "--out", file("no/such/folder.d.ts")], { stdin });
    expect(nowhere).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(/^error: FILE_UNWRITABLE: /) });
  });

  test("accepts any value for an unknown type, and warns", async () => {
    const model = { properties: [{ id: "image", name: "", define: { type: "file" } }] };
    await writeFile(file("model.json"), JSON.stringify(model));
    const { code, stdout, stderr } = await run(["types", file("model.json")]);
    expect(code).toBe(0);
    expect(stdout).toContain("    image: unknown;\n");
    expect(stderr).toBe('warning: property "image" has the type "file", which is unknown: any value is accepted.\n');
  });

  const property = (define: unknown) => ({ properties: [{ id: "p", name: "", define }] });
  let deep: unknown = { type: "int" };
  for (let i = 0; i < 1000; i++) deep = { type: "array", arrayInfo: deep };
  test.each<[string, unknown, string]>([
    ["a list", [], "the file is not an object"],
    ["an object of something else", { code: 0 }, "the file has neither properties nor events"],
    ["properties that are not an array", { properties: {} }, "the list of each property is not an array"],
    ["a property that is not an object", { properties: [5] }, "property 1 is not an object"],
    ["a property without an id", { properties: [{ define: { type: "int" } }] }, "property 1 has no id"],
    [
      "a property that is there twice",
      { properties: [...property({ type: "int" }).properties, ...property({ type: "int" }).properties] },
      'property "p" occurs twice',
    ],
    ["a property without a definition", property(undefined), 'the definition of property "p" is not an object'],
    ["a property without a type", property({}), 'property "p" has no type'],
    [
      "an array of nothing",
      property({ type: "array" }),
      'the definition of an element of property "p" is not an object',
    ],
    [
      "a struct whose members are none",
      property({ type: "struct", specs: 5 }),
      'the list of each member of property "p" is not an array',
    ],
    ["arrays without end", property(deep), "is nested too deeply"],
    [
      "an event of an unknown type",
      { events: [{ id: "e", type: "fatal", params: [] }] },
      'event "e" has a type other than info, alert and fault',
    ],
  ])("rejects %s", async (_what, model, reason) => {
    await writeFile(file("model.json"), JSON.stringify(model));
    const { code, stdout, stderr } = await run(["types", file("model.json")]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^error: INVALID_MODEL: This is not a thing model: [^\n]*\. [^\n]*\n$/);
    expect(stderr).toContain(reason);
  });

  test("rejects invalid JSON and invalid type names", async () => {
    expect(await run(["types", "-"], { stdin: "{" })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: INVALID_MODEL: The thing model is not JSON\./),
    });
    for (const name of ["model", "Model;", "", "class", "A b", "Modèle"]) {
      expect(await run(["types", "-", "--name", name], { stdin: "{}" })).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/^error: USAGE: The name of the type must be/),
      });
    }
  });

  test("escapes invisible characters of identifiers and enum texts", async () => {
    const model = {
      properties: [
        { id: 'a"; evil: 1', define: { type: "int" } },
        { id: "b\u2028", define: { type: "stringenum", mapping: { 'x"|"y\n': "", "\u202e": "" } } },
      ],
      events: [],
    };
    const declaration = await generate(model);
    expect(declaration).toContain('    "a\\"; evil: 1": number;\n');
    expect(declaration).toContain('    "b\\u2028": "x\\"|\\"y\\n" | "\\u202e";\n');
    expect(complaints(declaration, ['propertyReport<Model>({ "b\\u2028": "\\u202e" });'])).toEqual([[]]);
  });
});
