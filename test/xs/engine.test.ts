import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import {
  BUILD_TIMEOUT_MS,
  build,
  buildIn,
  type EngineEnd,
  type EngineRun,
  exitCodes,
  run,
  runAll,
} from "../support/engine.js";

let scratch = "";
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "xs-engine-test-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

test(
  "the engine is compiled once for repeated requests",
  async () => {
    const [first, second] = await Promise.all([build(), build()]);
    expect(first).toBe(second);
  },
  BUILD_TIMEOUT_MS,
);

describe("the build", () => {
  let folder = "";
  let compiler = "";
  let calls = "";

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "xs-engine-build-"));
    compiler = join(folder, "cc");
    calls = join(folder, "calls");
    // Makes empty files and counts how often it links.
    await writeFile(
      compiler,
      `#!/bin/sh
case "$*" in --version) echo "$0"; exit;; *-xc*) exit;; *xs-engine) echo link >> "${calls}"; sleep 0.3;; esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done
`,
      { mode: 0o755 },
    );
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("is done by one of several processes, the others wait", async () => {
    const paths = await Promise.all([1, 2, 3, 4].map(() => buildIn(join(folder, "cache"), compiler)));
    expect(new Set(paths).size).toBe(1);
    expect(await readFile(calls, "utf8")).toBe("link\n");
  });

  test("ignores leftovers of a dead process", async () => {
    const first = await buildIn(join(folder, "cache"), compiler);
    await rm(dirname(first), { recursive: true });
    // No process has such a number.
    await writeFile(`${dirname(first)}.lock`, "999999999");
    expect(await buildIn(join(folder, "cache"), compiler)).toBe(first);
    expect(await readdir(join(folder, "cache"))).toEqual([basename(dirname(first))]);
  });

  test("is repeated for another compiler", async () => {
    const other = join(folder, "cc2");
    await copyFile(compiler, other);
    const cache = join(folder, "cache");
    expect(await buildIn(cache, other)).not.toBe(await buildIn(cache, compiler));
  });

  test("reports a missing compiler in one sentence", async () => {
    await expect(buildIn(join(folder, "cache"), "/nowhere/cc")).rejects.toThrow(
      /^The tests on XS .* need a C compiler and make; "\/nowhere\/cc" cannot be run .*\.$/,
    );
  });

  test("reports a failing compiler, and leaves no files", async () => {
    await writeFile(compiler, '#!/bin/sh\n[ "$1" = --version ] && exit\necho "no such header" >&2; exit 1\n');
    const cache = join(folder, "cache");
    await expect(buildIn(cache, compiler)).rejects.toThrow(/does not compile: [\s\S]*no such header/);
    expect(await readdir(cache)).toEqual([]);
  });
});

/** Every outcome, each in a separate process and in a batch. */
const ends: readonly (EngineRun & { name: string; end: EngineEnd; message?: RegExp })[] = [
  { name: "a script that ends well", end: "ok", script: "print(1 + 1)" },
  {
    name: "an uncaught exception",
    end: "exception",
    message: /^TypeError: bad$/,
    script: "throw new TypeError('bad')",
  },
  { name: "a syntax error", end: "exception", message: /^SyntaxError/, script: "let = ;" },
  {
    name: "an exception that throws when printed",
    end: "exception",
    message: /cannot be printed/,
    script: "throw { toString() { throw 1 } }",
  },
  { name: "a heap full of slots", end: "heap-full", script: "const all = []; for (;;) all.push({})" },
  { name: "a heap full of chunks", end: "heap-full", script: "let s = 'x'; for (;;) s += s" },
  {
    name: "a heap full of typed arrays",
    end: "heap-full",
    script: "const all = []; for (;;) all.push(new Uint8Array(99))",
  },
  { name: "a heap that is too small for the machine", end: "heap-full", script: "", heapBytes: 256 },
  { name: "endless recursion", end: "stack-overflow", script: "function f() { f() } f()" },
  {
    name: "endless recursion through native code",
    end: "stack-overflow",
    script: "const f = () => [1].forEach(f); f()",
  },
  {
    name: "data nested too deeply for the native stack",
    end: "stack-overflow",
    script: "JSON.parse('['.repeat(500000))",
    heapBytes: 1 << 26,
  },
  {
    name: "an unhandled rejection",
    end: "rejection",
    message: /^Error: no$/,
    script: "Promise.reject(new Error('no'))",
  },
  { name: "a rejection in a later job", end: "rejection", script: "Promise.resolve().then(() => { throw 1 })" },
  { name: "a rejection that is handled", end: "ok", script: "Promise.reject(1).catch(() => print('caught'))" },
  { name: "an endless loop", end: "too-much-computation", script: "for (;;);", meterLimit: 100_000 },
  {
    name: "endless promise jobs",
    end: "too-much-computation",
    script: "(async () => { for (;;) await 0 })()",
    meterLimit: 100_000,
  },
  {
    name: "endless arithmetic on long integers",
    end: "too-much-computation",
    script: "let n = 3n; for (;;) n = n * 3n % (1n << 512n)",
    meterLimit: 100_000,
  },
];

describe("each outcome has an exit code", () => {
  test.each(ends)("$name: $end", async ({ name: _, end, message, ...job }) => {
    const report = await run(job);
    expect({ end: report.end, exitCode: report.exitCode }).toEqual({ end, exitCode: exitCodes[end] });
    if (message) expect(report.message).toMatch(message);
  });
});

test("in a batch, no outcome affects the next run", async () => {
  const after: EngineRun = { script: "print(typeof left); globalThis.left = 1; Array.prototype.left = 2" };
  const reports = await runAll(ends.flatMap((each) => [each, after]));
  expect(reports).toHaveLength(2 * ends.length);
  for (const [index, each] of ends.entries()) {
    expect({ name: each.name, end: reports[2 * index]?.end }).toEqual({ name: each.name, end: each.end });
    expect(reports[2 * index + 1]).toMatchObject({ end: "ok", output: "undefined\n" });
  }
});

test("the same run has the same figures, alone, in a batch and after a failure", async () => {
  const job: EngineRun = { script: "const a = []; for (let i = 0; i < 50; i++) a.push({ i, s: 's' + i })" };
  const alone = await run(job);
  const [first, , third] = await runAll([job, { script: "const all = []; for (;;) all.push({})" }, job]);
  expect(first).toEqual(alone);
  expect(third).toEqual(alone);
});

test("promise jobs run to completion, in order", async () => {
  const report = await run({
    script: `
      (async () => { print("a"); await null; print("c"); await null; print("e"); })();
      Promise.resolve().then(() => print("d"));
      print("b");`,
  });
  expect(report.output).toBe("a\nb\nc\nd\ne\n");
});

test("input and output carry any text, and input costs no heap", async () => {
  const text = 'a"\\\u2028漢😀\u0001';
  const [report, escaped, big] = await runAll([
    { script: "print(input)", input: text },
    { script: "print(JSON.parse(input))", input: '"\\ud83d|\\ude00|\\u0000|\\ud83d\\ude00"' },
    { script: "print(String(input.length))", input: "x".repeat(1 << 20) },
  ]);
  expect(report?.output).toBe(`${text}\n`);
  expect(escaped?.output).toBe("\ud83d|\ude00|\0|😀\n");
  expect(big).toMatchObject({ end: "ok", output: `${1 << 20}\n` });
});

test("strings are like on a device: a non-BMP character is one unit", async () => {
  const report = await run({ script: "print('😀'.length + ' ' + '😀'.charCodeAt(0))" });
  expect(report.output).toBe("1 128512\n");
});

test("numbers are IEEE doubles, rounded once", async () => {
  // Both sums come out differently if intermediate results have the 64-bit mantissa of an x87 unit.
  const script = "print([0.1 + 0.2, 4.35 * 100, 1e16 + 2.9999, 0.7 + 0.1 + 0.3, 9007199254740991 * 1.1].join())";
  const expected = [0.1 + 0.2, 4.35 * 100, 1e16 + 2.9999, 0.7 + 0.1 + 0.3, 9007199254740991 * 1.1].join();
  expect((await run({ script })).output).toBe(`${expected}\n`);
});

test("a preloaded script is shared, read-only, and outside the heap", async () => {
  const path = join(scratch, "preload.js");
  const table = JSON.stringify(Array.from({ length: 5000 }, (_, index) => `entry ${index}`));
  await writeFile(
    path,
    `const frozen = Object.freeze({ table: Object.freeze(${table}) }); var state = { n: 0 }; let count = 0; function next() { return ++count }`,
  );
  const options = { preload: [path] };
  const [read, ...changed] = await runAll(
    [
      { script: "print(frozen.table[4999]); print(next())", heapBytes: 8192 },
      { script: "state.n++; next(); print(state.n + ' ' + next())" },
      { script: "state.n++; next(); print(state.n + ' ' + next())" },
      { script: "'use strict'; frozen.table = 1" },
    ],
    options,
  );
  expect(read).toMatchObject({ end: "ok", output: "entry 4999\n1\n" });
  expect(changed.map((each) => each.output)).toEqual(["1 2\n", "1 2\n", ""]);
  expect(changed[2]).toMatchObject({ end: "exception", message: expect.stringMatching(/^TypeError/) });
});

test("objects in read-only memory survive collections, and are copied or throw when changed", async () => {
  const path = join(scratch, "flash.js");
  await writeFile(
    path,
    `const all = { text: "t" + 1, big: 2n ** 70n, list: [1, "two", { three: 3 }], pattern: /a(b)/, bytes: new Uint8Array(3),
       map: new Map([["k", { v: 1 }]]), symbol: Symbol("s") };
     class Counter { #n = 1; get n() { return this.#n } set n(n) { this.#n = n } }
     const counter = new Counter();`,
  );
  const churn = "for (let i = 0; i < 500; i++) new Uint8Array(100);";
  const runs: [string, string][] = [
    [
      `${churn} print([all.text, all.big, all.list[1], Object.keys(all.list[2]), all.pattern.exec("xab")[1], all.map.get("k").v, all.symbol.description, Object.keys(all)].join())`,
      "t1,1180591620717411303424,two,three,b,1,s,text,big,list,pattern,bytes,map,symbol",
    ],
    [`all.list.push(4); all.list[2].three = 5; ${churn} print(all.list.length + " " + all.list[2].three)`, "4 5"],
    [`counter.n++; ${churn} print(counter.n + " " + new Counter().n)`, "2 1"],
    [`Array.prototype.more = 1; globalThis.all = 2; print([].more + " " + [].concat(1).length)`, "1 1"],
    [`try { all.bytes[0] = 1 } catch (error) { print(error.message) }`, "read-only buffer"],
    [`try { all.map.set(1, 1) } catch (error) { print(error.message) }`, "Map instance is read-only"],
  ];
  const jobs = runs.map(([script]) => ({ script, heapBytes: 16_384 }));
  // Twice: nothing of the first round may be left.
  const reports = await runAll([...jobs, ...jobs], { preload: [path] });
  expect(reports.map((each) => (each.end === "ok" ? each.output.trim() : each.message))).toEqual(
    [...runs, ...runs].map(([, output]) => output),
  );
});

test("a preloaded script that fails ends the process with its exit code", async () => {
  const path = join(scratch, "preload-bad.js");
  await writeFile(path, "throw new RangeError('at preload')");
  const report = await run({ script: "print('never')" }, { preload: [path] });
  expect(report).toMatchObject({ end: "exception", exitCode: 10, output: "" });
  expect(report.message).toMatch(/RangeError: at preload/);
});

test("a run that hangs outside the metered code is ended by the time limit", async () => {
  const report = await run({ script: "for (;;);" }, { timeoutMs: 200 });
  expect(report.end).toBe("timeout");
});

test("a run that writes to read-only memory crashes, and a batch reports which one", async () => {
  const path = join(scratch, "crash.js");
  await writeFile(path, "const list = [1]");
  const options = { preload: [path] };
  // XS freezes the items of an array in place.
  const job: EngineRun = { script: "Object.freeze(list)" };
  expect(await run(job, options)).toMatchObject({ end: "crash", exitCode: null });
  const reports = await runAll([{ script: "print('first')" }, job, { script: "print('third')" }], options);
  expect(reports.map((each) => each.end)).toEqual(["ok", "crash"]);
});

test("a missing preload is a usage error", async () => {
  const report = await run({ script: "" }, { preload: ["/nowhere/at-all.js"] });
  expect(report).toMatchObject({
    end: "usage",
    exitCode: 2,
    message: expect.stringMatching(/cannot read .*No such file/),
  });
});

describe("figures", () => {
  test("have computrons that grow with the work", async () => {
    const [one, ten] = await runAll([10, 100].map((n) => ({ script: `for (let i = 0; i < ${n}; i++) i * i` })));
    expect(one?.computrons).toBeGreaterThan(50);
    expect(ten?.computrons).toBeGreaterThan(9 * (one?.computrons ?? 0) - 500);
  });

  test("separate live memory from garbage by marks", async () => {
    const report = await run({
      script: `
        mark("start");
        let kept = new Uint8Array(1000);
        for (let i = 0; i < 10; i++) new Uint8Array(1000);
        0; // the value of a statement lives on until the next one
        mark("made");
        kept = undefined;
        mark("dropped");`,
    });
    expect(report.marks.map((each) => each.name)).toEqual(["start", "made", "dropped"]);
    if (report.bits === 64) {
      expect(report.chunks).toBeNull();
      return;
    }
    const [start, made, dropped] = report.marks.map((each) => each.chunks ?? { peak: 0, live: 0, garbage: 0 });
    expect((made?.live ?? 0) - (start?.live ?? 0)).toBeGreaterThanOrEqual(1000);
    expect((made?.live ?? 0) - (start?.live ?? 0)).toBeLessThan(1100);
    expect(made?.peak).toBeGreaterThanOrEqual(2000);
    expect(dropped?.garbage).toBeGreaterThanOrEqual(1000);
    expect(dropped?.live).toBe(start?.live);
  });

  test("show that a heap stays within its limit", async () => {
    const script = "const all = []; try { for (;;) all.push(new Uint8Array(10), {}) } finally {}";
    for (const heapBytes of [10_000, 16_384, 65_536, 100_001]) {
      const report = await run({ script, heapBytes });
      expect(report.end).toBe("heap-full");
      if (report.bits === 32) {
        expect(report.heapReserved).toBeLessThanOrEqual(heapBytes);
        expect(report.heapReserved).toBeGreaterThan(heapBytes - 2048);
      }
    }
  });

  test("show that memory moves from chunks to slots if needed", async () => {
    const report = await run({
      script: `
        let big = new Uint8Array(40000); big = undefined;
        let list; for (let i = 0; i < 1600; i++) list = { list };
        print("done");`,
    });
    expect(report).toMatchObject({ end: "ok", output: "done\n" });
  });
});
