/**
 * `npm run bench` measures everything and writes bench/results.json, bench/chart.svg, the table of docs/benchmark.md and the README's line. It installs
 * the libraries of others in this folder first. `npm run bench -- --only NAME` measures one library again; `--check`
 * measures ours only, compares it with the budgets and writes nothing, and needs none of the others.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { install } from "../scripts/install.mjs";
import { budgets, judge, recordedFigure } from "./budgets.mjs";
import { build, packages, tools } from "./engine.mjs";
import { measureHandshakes } from "./image.mjs";
import { OURS } from "./jobs.mjs";
import * as measure from "./measure.mjs";
import { measureSimulator } from "./moddable.mjs";
import { peers, rsaPeers } from "./peers.mjs";
import { outboxNames, writeReport } from "./report.mjs";

const { values } = parseArgs({
  options: { check: { type: "boolean" }, help: { type: "boolean" }, only: { type: "string", multiple: true } },
});
if (values.help) {
  console.log(
    [
      "npm run bench                   all libraries, in about 12 minutes; writes results, chart and table",
      "npm run bench -- --only NAME    one library again; may be repeated",
      "npm run bench -- --check        ours alone against its budgets; writes nothing",
      `Libraries: ${Object.keys(peers).join(", ")}.`,
    ].join("\n"),
  );
  process.exit(0);
}
const strangers = (values.only ?? []).filter((name) => !Object.hasOwn(peers, name));
if (strangers.length > 0) {
  console.error(`Unknown library ${strangers[0]}; the known ones are ${Object.keys(peers).join(", ")}.`);
  process.exit(2);
}
if (!values.check) {
  const problem = install(fileURLToPath(new URL(".", import.meta.url)));
  if (problem !== undefined) {
    console.error(`The libraries to compare with cannot be installed: ${problem}`);
    process.exit(1);
  }
}
const file = new URL("results.json", import.meta.url);
const written = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;

const engines = { rv32: await build("rv32"), native: await build("native") };
/** The same counts on the XS of the Moddable SDK, where there is one. */
const xs17 = await build("rv32", "xs17");
const found = tools("rv32");
if (!engines.rv32) console.log(`No instruction counts: needed are ${packages}.`);
if (!engines.native) console.log("No heap figures: gcc cannot build for 32 bits here (gcc-multilib).");

if (values.check) process.exitCode = await check();
else await all();

async function all() {
  const previous = written ?? {};
  const names = values.only ?? Object.keys(peers);
  const results = {
    engine: `XS ${measure.xsVersion()} of @agoric/xsnap`,
    compiler: found?.compiler ?? previous.compiler,
    flags: found?.flags ?? previous.flags,
    emulator: found?.emulator ?? previous.emulator,
    node: process.version,
    versions: measure.versions(["@agoric/xsnap", ...Object.keys(peers).filter((name) => name !== OURS)]),
    job: { ...previous.job },
    bulk: { ...previous.bulk },
    rsa: { ...previous.rsa },
  };
  for (const name of names) {
    const start = Date.now();
    try {
      results.job[name] = { ...results.job[name], ...(await measure.hashJob(name, engines)) };
      if (engines.rv32) results.bulk[name] = await measure.bulk(name, engines, results.job[name].preloaded);
    } catch (error) {
      results.job[name] = { ...results.job[name], error: error.message.split("\n")[0] };
    }
    console.log(`${name}: ${Date.now() - start} ms`);
  }
  for (const name of Object.keys(rsaPeers)) {
    if (!engines.rv32 || !names.includes(name)) continue;
    console.log(`${name}: RSA, which takes a minute for some`);
    results.rsa[name] = await measure.rsa(name, engines);
  }
  if (engines.rv32) Object.assign(results.job[OURS], await measure.request(engines));
  if (engines.native) results.job[OURS].deviceHeapBytes = await measure.deviceHeapBytes(engines);
  await devices(results, previous);
  results.core = await measure.coreBytes();
  console.log(process.env.MODDABLE ? "on the simulator" : "The simulator is left out: MODDABLE names no Moddable SDK.");
  results.moddable = (await measureSimulator()) ?? previous.moddable;
  results.handshake = (await measureHandshakes()) ?? previous.handshake;
  console.log("all: on Node");
  const microseconds = await measure.onNode(Object.keys(peers));
  for (const [name, value] of Object.entries(microseconds)) {
    results.job[name] = { ...results.job[name], nodeMicroseconds: Math.round(value * 100) / 100 };
  }
  writeFileSync(file, `${JSON.stringify(results, round, 2)}\n`);
  await writeReport(results);
  console.log("written: bench/results.json, bench/chart.svg, docs/benchmark.md, README.md");
  print(figuresIn(results), results);
}

/** What a whole publish and the outbox cost. Rows of an engine that is not here stay as they are. */
async function devices(results, { publish, outbox, stats }) {
  results.publish = structuredClone(publish ?? {});
  results.outbox = structuredClone(outbox ?? {});
  results.stats = structuredClone(stats ?? {});
  for (const [version, engine] of [
    ["xs13", engines.rv32],
    ["xs17", xs17],
  ]) {
    const figures = await measure.device(engine);
    if (figures === undefined) continue;
    for (const [name, figure] of Object.entries(figures)) {
      if (name === "stats") {
        results.stats[version] = figure;
        continue;
      }
      const group = Object.hasOwn(outboxNames, name) ? results.outbox : results.publish;
      group[name] = { ...group[name], [version]: figure };
    }
  }
  if (!engines.native) return;
  results.publish.heapBytes = results.job[OURS].deviceHeapBytes;
  results.publish.stackBytes = await measure.stackBytes(engines);
  results.outbox.stackBytes = await measure.outboxStackBytes(engines);
}

/** The figures of the budgets, as far as the results have them. */
function figuresIn(results) {
  return Object.fromEntries(Object.entries(budgets).map(([name, entry]) => [name, recordedFigure(entry, results)]));
}

function round(_key, value) {
  return typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
}

/** Our own figures against their budgets. Prints each, and gives the exit code. */
async function check() {
  const figures = {};
  const now = await measure.hashJob(OURS, engines);
  if (engines.rv32) {
    const rsa = await measure.rsa(OURS, engines);
    figures.hashJob = now.rv32Instructions;
    figures.signRequest = (await measure.request(engines)).signRequestInstructions;
    figures.stats = await measure.stats(xs17 ?? engines.rv32);
    const measured = await measure.device(engines.rv32);
    const { portable, native, cold, wake, enqueue, open, flush, batch, garbageBytes } = measured;
    Object.assign(figures, { wake, enqueue, open, flush, batch, publishGarbage: garbageBytes });
    Object.assign(figures, { publish: portable, publishNative: native, publishCold: cold });
    figures.load = now.loadInstructions;
    figures.bulk = (await measure.bulk(OURS, engines)).instructionsPerByte;
    figures.rsaSign = rsa.rv32Instructions;
    figures.rsaPrepare = rsa.prepareInstructions;
  }
  if (engines.native) {
    figures.deviceHeap = await measure.deviceHeapBytes(engines);
    figures.publishStack = await measure.stackBytes(engines);
    figures.outboxStack = await measure.outboxStackBytes(engines);
    figures.jobHeap = now.leastHeapBytes;
    figures.garbage = now.garbageBytes;
    // Half a kilobyte more than the least, so that not every allocation has to collect.
    figures.leak = await measure.leakedBytes(engines, now.leastHeapBytes + 512);
  }
  const handshakes = await measureHandshakes();
  if (handshakes) {
    const { full, resumed } = handshakes;
    figures.handshakeGuard = full.guard - full.arithmetic;
    figures.handshakeResumed = resumed.total;
  } else {
    console.log("No instructions of TLS handshakes: needed are a Moddable SDK in MODDABLE, and the compiler.");
  }
  const core = await measure.coreBytes();
  figures.coreMinified = core.minifiedBytes;
  figures.coreGzip = core.gzipBytes;
  figures.jobGzip = now.gzipBytes;
  return print(figures, written);
}

/** Prints the table of budgets; gives 1 if a figure is over its own. */
function print(figures, results) {
  const { rows, over } = judge(figures, results, { shownOnly: otherCompiler(results?.compiler) });
  console.log(rows.join("\n"));
  if (over.length > 0) console.log("Over budget. Where this is meant: raise the budget in bench/budgets.mjs.");
  return over.length > 0 ? 1 : 0;
}

/** Budgets of instructions hold for the compiler that they were set with. */
function otherCompiler(compiler) {
  const version = (text) => text?.split(" ").at(-1);
  if (!found || !compiler || version(found.compiler) === version(compiler)) return undefined;
  return `the budgets were set with ${compiler}.`;
}
