/**
 * `npm run bench` measures everything and writes bench/results.json, bench/chart.svg and the README's table.
 * `npm run bench -- --only NAME` measures one library again, `--check` only compares ours with what is written.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { build, packages, tools } from "./engine.mjs";
import { OURS } from "./jobs.mjs";
import * as measure from "./measure.mjs";
import { measureSimulator } from "./moddable.mjs";
import { peers, rsaPeers } from "./peers.mjs";
import { writeReport } from "./report.mjs";

const { values } = parseArgs({ options: { check: { type: "boolean" }, only: { type: "string", multiple: true } } });
const file = new URL("results.json", import.meta.url);
const written = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;

const engines = { rv32: await build("rv32"), native: await build("native") };
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
  results.core = await measure.coreBytes();
  console.log(process.env.MODDABLE ? "on the simulator" : "The simulator is left out: MODDABLE names no Moddable SDK.");
  results.moddable = (await measureSimulator()) ?? previous.moddable;
  console.log("all: on Node");
  const microseconds = await measure.onNode(Object.keys(peers));
  for (const [name, value] of Object.entries(microseconds)) {
    results.job[name] = { ...results.job[name], nodeMicroseconds: Math.round(value * 100) / 100 };
  }
  writeFileSync(file, `${JSON.stringify(results, round, 2)}\n`);
  await writeReport(results);
  console.log("written: bench/results.json, bench/chart.svg, README.md");
}

function round(_key, value) {
  return typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
}

/** The gates: exact figures that may not grow. Prints each, and gives the exit code. */
async function check() {
  const isSame = found !== undefined && found.compiler === written.compiler;
  if (found && !isSame) console.log(`Counts are only shown: they were written with ${written.compiler}.`);
  let failures = 0;
  const gate = (name, is, was, slack, binding = true) => {
    // An instruction count that is far better is out of date, too.
    const fails = binding && (is > was * (1 + slack) || (slack > 0 && is < was * (1 - slack)));
    if (fails) failures++;
    console.log(`${fails ? "FAILED" : "ok"}  ${name}: ${is}, written ${was}`);
  };
  const ours = written.job[OURS];
  const now = await measure.hashJob(OURS, engines);
  if (engines.rv32) {
    gate("instructions of the hash job", now.rv32Instructions, ours.rv32Instructions, 0.01, isSame);
    gate("instructions of loading", now.loadInstructions, ours.loadInstructions, 0.01, isSame);
    const request = await measure.request(engines);
    gate("instructions of signRequest", request.signRequestInstructions, ours.signRequestInstructions, 0.01, isSame);
    const { instructionsPerByte } = await measure.bulk(OURS, engines);
    gate("instructions a byte", instructionsPerByte, written.bulk[OURS].instructionsPerByte, 0.01, isSame);
    const rsa = await measure.rsa(OURS, engines);
    gate("instructions of RSA", rsa.rv32Instructions, written.rsa[OURS].rv32Instructions, 0.01, isSame);
  }
  if (engines.native) {
    gate("least heap of three jobs", now.leastHeapBytes, ours.leastHeapBytes, 0);
    gate("garbage of a job", now.garbageBytes, ours.garbageBytes, 0);
    gate("least heap of a device's publish", await measure.deviceHeapBytes(engines), ours.deviceHeapBytes, 0);
    // Half a kilobyte more than the least, so that not every allocation has to collect.
    gate("bytes left by 10000 signatures", await measure.leakedBytes(engines, ours.leastHeapBytes + 512), 0, 0);
  }
  const core = await measure.coreBytes();
  gate("bytes of the core, minified", core.minifiedBytes, written.core.minifiedBytes, 0);
  gate("bytes of the core, compressed", core.gzipBytes, written.core.gzipBytes, 0);
  gate("bytes of the hash job, compressed", now.gzipBytes, ours.gzipBytes, 0);
  if (failures > 0) console.log(`If this is meant: npm run bench -- --only ${OURS}`);
  return failures > 0 ? 1 : 0;
}
