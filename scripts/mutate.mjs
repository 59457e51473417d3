/**
 * Mutation testing: introduces small faults into source files, one at a time, and reports those that no test detects.
 *
 *     npm run mutate -- src/outbox/outbox.ts src/outbox/queue.ts
 *     npm run mutate -- --survivors src/outbox/outbox.ts          retry the survivors, after tests were added
 *     npm run mutate -- --shard 1/4 --jobs 1 src/outbox/outbox.ts
 *
 * No file is changed: it works on a copy of the project, and a mutant exists in memory only. First runs each test by
 * itself to record which blocks it reaches; then, for each mutant, those that reach it, the quickest first, until one
 * fails. Results are stored in build/mutation, so that an interrupted run can continue; changed files start over.
 */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { closure } from "./mutate/closure.mjs";
import { apply, blockOf, mutants, probed } from "./mutate/mutators.mjs";

const project = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    root: { type: "string", default: project },
    out: { type: "string", default: "build/mutation" },
    /** Test files, by a pattern of their paths; those that start processes never see a mutant. */
    tests: { type: "string", default: "^test/(?!sim/|soak/|fuzz/|xs/|bench/|faults/)" },
    jobs: { type: "string", default: String(Math.max(1, availableParallelism() - 1)) },
    shard: { type: "string", default: "1/1" },
    /** Seconds of work that the tests of one mutant may take all together; those that kill least are left out. */
    seconds: { type: "string", default: "20" },
    survivors: { type: "boolean", default: false },
    /** Only mutants of these lines: `120-180`. */
    lines: { type: "string" },
    list: { type: "boolean", default: false },
    strict: { type: "boolean", default: false },
  },
});

/** Time limit of a test with a mutant, generous for busy machines. */
const limitOf = (ms) => Math.ceil(4000 + 10 * ms);
const SURVEY_LIMIT_MS = 60_000;
const hash = (...texts) => createHash("sha256").update(texts.join("\0")).digest("hex").slice(0, 16);

const root = resolve(values.root);
const out = resolve(root, values.out);
const [shard, shards] = values.shard.split("/").map(Number);
const jobs = Number(values.jobs);
if (positionals.length === 0 || !(shard >= 1 && shard <= shards) || !(jobs >= 1)) {
  console.error(
    "Usage: npm run mutate -- [--survivors] [--shard 1/4] [--jobs 2] [--tests PATTERN] [--lines 10-20] FILE…",
  );
  process.exit(2);
}
const paths = positionals.map((path) => relative(root, resolve(root, path)));

if (values.list) {
  for (const path of paths) {
    for (const { id } of mutants(path, readFileSync(join(root, path), "utf8"))) console.log(`${path}:${id}`);
  }
  process.exit();
}

const copy = mkdtempSync(join(tmpdir(), "mutation-"));
const children = new Set();
const clean = () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(copy, { recursive: true, force: true });
};
process.on("exit", clean);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
for (const name of readdirSync(root)) {
  if (/^(node_modules|dist|build|coverage|\.git)$/.test(name)) continue;
  cpSync(join(root, name), join(copy, name), { recursive: true });
}
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
mkdirSync(out, { recursive: true });
const read = (path) => readFileSync(join(copy, path), "utf8");

/** Number of mutants killed by each test in this run: tests with more kills run first. */
const kills = new Map();
const worth = ({ file, name, ms, loadMs }) => (0.1 + (kills.get(`${file}: ${name}`) ?? 0)) / (1 + ms + loadMs);

let survived = 0;
const survey = await surveyTests();
for (const path of paths) await mutate(path);
process.exit(values.strict && survived > 0 ? 1 : 0);

/** Starts a process for the tests, which is killed if it does not respond in time. */
function worker() {
  let child;
  let finish;
  let late;
  const stop = () => {
    clearTimeout(late);
    if (child === undefined) return;
    children.delete(child);
    child.removeAllListeners();
    child.kill("SIGKILL");
    child = undefined;
  };
  const start = () =>
    new Promise((resolve) => {
      child = fork(join(project, "scripts/mutate/worker.mjs"), [copy], {
        cwd: copy,
        execArgv: ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "--max-old-space-size=1024"],
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        serialization: "advanced",
      });
      children.add(child);
      let started = "";
      child.on("message", (message) => {
        clearTimeout(late);
        if (message.ready) resolve();
        else if (message.ended) finish(message.ended);
        else {
          started = message.started;
          // What hangs in a loop cannot measure its own time.
          late = setTimeout(() => finish({ verdict: "late", by: started, busy: true }), message.limitMs + 3000);
        }
      });
      child.on("exit", () => finish({ verdict: "killed", by: started, why: "the process ended", busy: true }));
    });
  return {
    async ask(question) {
      if (child === undefined) await start();
      const reply = await new Promise((resolve) => {
        finish = resolve;
        child.send(question);
      });
      if (reply.busy || reply.verdict === "late") stop();
      return reply;
    },
    stop,
  };
}

/** What each test reaches, and how long it takes; kept for as long as neither the sources nor the tests change. */
async function surveyTests() {
  const known = new Map();
  const pattern = new RegExp(values.tests);
  const files = readdirSync(join(copy, "test"), { recursive: true })
    .map((name) => `test/${name}`)
    .filter((name) => name.endsWith(".test.ts") && pattern.test(name))
    .sort();
  const sources = paths.map((path) => [path, probed(path, read(path), "__reached").source]);
  const result = [];
  const todo = [];
  for (const file of files) {
    const all = closure(join(copy, file), known);
    if (all.has("node:child_process") || !paths.some((path) => all.has(join(copy, path)))) continue;
    const texts = [...all]
      .filter((path) => path.startsWith(copy) && statSync(path, { throwIfNoEntry: false })?.isFile())
      .sort();
    const key = hash("2", paths.join(), ...texts.map((path) => readFileSync(path, "utf8")));
    const kept = join(out, `survey-${hash(file)}.json`);
    const before = existsSync(kept) ? JSON.parse(readFileSync(kept, "utf8")) : undefined;
    if (before?.key === key) result.push(...before.tests);
    else todo.push({ file, key, kept });
  }
  const one = worker();
  for (const { file, key, kept } of todo) {
    const start = Date.now();
    const { tests, why } = await one.ask({ survey: { file, sources, limitMs: SURVEY_LIMIT_MS } });
    if (tests === undefined) console.log(`${file} is left out: ${why ?? "it took too long"}`);
    for (const { name, failed } of tests ?? []) {
      if (failed) console.log(`${file}: "${name}" is left out, as it fails by itself: ${failed}`);
    }
    const good = (tests ?? []).filter(({ failed }) => failed === undefined);
    console.log(`${file}: ${good.length} tests, ${Date.now() - start} ms`);
    writeFileSync(kept, JSON.stringify({ key, tests: good }));
    result.push(...good);
  }
  one.stop();
  return result.map((test) => ({ ...test, hits: new Set(test.hits) }));
}

/** The tests that reach a mutant, by file, the most promising first, as far as the time allows. */
function planFor(path, blocks, mutant) {
  const block = blockOf(blocks, mutant);
  const reaching = survey
    .filter(({ hits }) =>
      block === undefined ? [...hits].some((hit) => hit.startsWith(`${path}#`)) : hits.has(`${path}#${block}`),
    )
    .sort((a, b) => worth(b) - worth(a));
  const plan = [];
  let left = Number(values.seconds) * 1000;
  let omitted = 0;
  const loaded = new Set();
  for (const { file, index, name, ms: ownMs, clockMs, loadMs } of reaching) {
    const ms = ownMs + (loaded.has(file) ? 0 : loadMs);
    loaded.add(file);
    if (ms > left) {
      omitted++;
      continue;
    }
    left -= ms;
    const test = { index, name, limitMs: limitOf(clockMs + loadMs) };
    if (plan.at(-1)?.file === file) plan.at(-1).tests.push(test);
    else plan.push({ file, tests: [test] });
  }
  return { plan, omitted };
}

async function mutate(path) {
  const source = read(path);
  const { blocks } = probed(path, source, "__reached");
  const key = hash(source);
  const kept = join(out, `${path.replace(/[^A-Za-z0-9.]+/g, "_")}.jsonl`);
  const lines = existsSync(kept) ? readFileSync(kept, "utf8").trim().split("\n").filter(Boolean) : [];
  const results = new Map();
  for (const one of lines.map((line) => JSON.parse(line))) if (one.key === key) results.set(one.id, one);
  if (results.size === 0) writeFileSync(kept, "");
  const all = mutants(path, source);
  const [first, last] = (values.lines ?? "1-1e9").split("-").map(Number);
  const todo = all
    .filter((_, index) => index % shards === shard - 1)
    .filter(({ line }) => line >= first && line <= (last ?? first))
    .filter(({ id }) => !results.has(id) || (values.survivors && /survived|unreached/.test(results.get(id).verdict)));
  console.log(`\n${path}: ${all.length} mutants, ${todo.length} to be tried`);
  const start = Date.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(jobs, todo.length) }, async () => {
      const tester = worker();
      while (next < todo.length) {
        const mutant = todo[next++];
        const result = { key, id: mutant.id, ...(await tryOne(path, source, blocks, mutant, tester)) };
        results.set(mutant.id, result);
        appendFileSync(kept, `${JSON.stringify(result)}\n`);
        if (/survived|unreached/.test(result.verdict)) console.log(`${result.verdict} ${path}:${mutant.id}`);
      }
      tester.stop();
    }),
  );
  report(path, source, all, results, Math.round((Date.now() - start) / 1000));
}

async function tryOne(path, source, blocks, mutant, tester) {
  const { plan, omitted } = planFor(path, blocks, mutant);
  if (plan.length === 0) return { verdict: "unreached" };
  const question = { judge: { path, source: apply(source, mutant), plan } };
  let reply = await tester.ask(question);
  // It may have come from the mutant before.
  if (reply.unhandled) {
    tester.stop();
    reply = await tester.ask(question);
  }
  const { verdict, by, why } = reply;
  if (verdict === "killed") kills.set(by, (kills.get(by) ?? 0) + 1);
  return { verdict, by, why, omitted: omitted || undefined };
}

function report(path, source, all, results, seconds) {
  const count = { killed: 0, late: 0, broken: 0, survived: 0, unreached: 0 };
  const texts = [];
  for (const mutant of all) {
    const { verdict, omitted } = results.get(mutant.id) ?? {};
    if (verdict === undefined) continue;
    count[verdict]++;
    if (verdict !== "survived" && verdict !== "unreached") continue;
    const [before, after] = difference(source, mutant);
    const note = omitted ? ` (${omitted} slow tests left out)` : "";
    texts.push(`${path}:${mutant.line}:${mutant.column} ${mutant.kind}, ${verdict}${note}\n${before}\n${after}\n`);
  }
  survived += count.survived + count.unreached;
  writeFileSync(join(out, `${path.replace(/[^A-Za-z0-9.]+/g, "_")}.survivors.txt`), texts.join("\n"));
  const tried = Object.values(count).reduce((sum, n) => sum + n, 0);
  console.log(
    `${path}: ${tried} of ${all.length} mutants tried, ${count.killed} killed, ${count.late} timed out, ` +
      `${count.broken} not runnable, ${count.survived} survived, ${count.unreached} reached by no test (${seconds} s)`,
  );
}

/** The lines that a mutant touches, before and after. */
function difference(source, mutant) {
  const begin = source.lastIndexOf("\n", mutant.start - 1) + 1;
  const found = source.indexOf("\n", mutant.end);
  const end = found < 0 ? source.length : found;
  const mark = (text, sign) =>
    text
      .split("\n")
      .map((line) => `${sign} ${line}`)
      .join("\n");
  const after = source.slice(begin, mutant.start) + mutant.replacement + source.slice(mutant.end, end);
  return [mark(source.slice(begin, end), "-"), mark(after, "+")];
}
