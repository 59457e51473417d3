/** All measurements of one library; each gives undefined where its tools are not there. */
import { existsSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { leastHeap, ROOMY, run, STACK } from "./engine.mjs";
import * as jobs from "./jobs.mjs";

/** Peers need more stack than a device usually has; what they need counts as heap. */
const STACKS = [STACK, 8192, 12288, 16384, 32768, 65536];

export const gzipBytes = (text) => gzipSync(text, { level: 9 }).length;

/**
 * Runs a job with its library in read-only memory, as firmware has it, or, if the library keeps state in
 * module variables and so cannot be there, loaded into the heap.
 */
function runJob(engine, { library, preloaded }, script, options) {
  return preloaded ? run(engine, script, { ...options, preload: library }) : run(engine, library + script, options);
}

const roomy = { heapBytes: ROOMY, stackBytes: 65536 };
const number = async (engine, subject, script) => Number((await runJob(engine, subject, script, roomy)).lines[0]);

/** The least heap with the least stack in which a job runs at all. */
export async function leastHeapBytes(engine, { library, preloaded }, script) {
  const [whole, preload] = preloaded ? [script, library] : [library + script, undefined];
  for (const stackBytes of STACKS) {
    const fits = await run(engine, whole, { stackBytes, preload }).then(
      (result) => result !== undefined,
      () => false,
    );
    if (fits) return leastHeap(engine, whole, { stackBytes, preload });
  }
  throw new Error("needs more than 64 KB of stack");
}

/** Whether a job runs with its library in memory that faults when it is written to. */
export function canPreload(native, library, script) {
  return run(native, script, { ...roomy, preload: library }).then(
    () => true,
    () => false,
  );
}

export async function hashJob(name, { rv32, native }) {
  const { script: library, minified } = await jobs.libraries(name);
  const result = { minifiedBytes: minified.length, gzipBytes: gzipBytes(minified), correct: true };
  // Without the native engine nobody knows; what was true when the results were written is in docs/benchmark.md.
  const preloaded = native ? await canPreload(native, library, jobs.count) : name === jobs.OURS;
  const subject = { library, preloaded };
  result.preloaded = preloaded;
  if (rv32) {
    result.rv32Instructions = await number(rv32, subject, jobs.count);
    result.loadInstructions = (await run(rv32, library, roomy)).loaded;
    result.correct = (await runJob(rv32, subject, jobs.emoji, roomy)).lines[0] === "true";
  }
  if (native) {
    result.leastHeapBytes = await leastHeapBytes(native, subject, jobs.small);
    result.garbageBytes = await number(native, subject, jobs.garbage);
    result.xsMicroseconds = (await number(native, subject, jobs.time)) / 1000;
  }
  return result;
}

export async function bulk(name, { rv32 }, preloaded = true) {
  const library = (await jobs.libraries(name)).script;
  return { instructionsPerByte: (await number(rv32, { library, preloaded }, jobs.bulk)) / jobs.sizes.bulk };
}

export async function rsa(name, { rv32 }) {
  const subject = { library: await jobs.rsaLibrary(name), preloaded: name === jobs.OURS };
  const { lines } = await runJob(rv32, subject, jobs.rsa, { heapBytes: 96 << 20, stackBytes: 65536 });
  return { rv32Instructions: Number(lines[0]), prepareInstructions: Number(lines[1]) };
}

/** Everything between a reading and the socket. */
export async function request({ rv32 }) {
  const { lines } = await run(rv32, jobs.request, { preload: await jobs.requestLibrary() });
  const [whole, body, sign] = lines.map(Number);
  return { signRequestInstructions: whole, bodyInstructions: body, requestInstructions: sign };
}

/** What a device's publish and its outbox cost on one version of the engine; undefined where that is not there. */
export async function device(engine) {
  if (engine === undefined) return undefined;
  const preload = await jobs.deviceLibrary();
  const lines = async (script, options = {}) =>
    (await run(engine, script, { preload, stackBytes: 2 * STACK, ...options })).lines.map(Number);
  const [portable, garbageBytes] = await lines(jobs.publish);
  return {
    request: Number((await run(engine, jobs.request, { preload: await jobs.requestLibrary() })).lines[0]),
    portable,
    garbageBytes,
    default: (await lines(jobs.publish, { heapBytes: "default" }))[0],
    native: (await lines(jobs.publishNative))[0],
    cold: (await lines(jobs.cold, { preload: await jobs.coldLibrary() }))[0],
    wake: (await lines(jobs.wake, { preload: await jobs.coldLibrary() }))[0],
    enqueue: (await lines(jobs.enqueue))[0],
    open: (await lines(jobs.open))[0],
    flush: (await lines(jobs.flush))[0],
    single: (await lines(jobs.single))[0] / jobs.READINGS,
    batch: (await lines(jobs.batch))[0] / jobs.READINGS,
    largeBatch: (await lines(jobs.largeBatch))[0] / jobs.READINGS,
    enqueueSingle: (await lines(jobs.enqueueSingle))[0],
    enqueueDated: (await lines(jobs.enqueueDated))[0],
    sentFirst: (await lines(jobs.sentFirst))[0],
    stats: await stats(engine),
  };
}

/** What a device's `stats()` costs, whose outbox is empty. */
export async function stats(engine) {
  const preload = await jobs.deviceLibrary();
  return Number((await run(engine, jobs.stats, { preload, stackBytes: 2 * STACK })).lines[0]);
}

/** The least stack in which a job of a device runs, with a heap that is large enough. */
export async function stackBytes({ native }, job = jobs.device) {
  const preload = await jobs.deviceLibrary();
  let [below, enough] = [1024, 16384];
  while (enough - below > 16) {
    const middle = ((below + enough) >> 5) << 4;
    const fits = await run(native, job, { heapBytes: 262144, stackBytes: middle, preload }).then(
      (result) => result !== undefined,
      () => false,
    );
    if (fits) enough = middle;
    else below = middle;
  }
  return enough;
}

/** The same of the outbox: opened, stored, delivered, in batches, and sent before it is stored. */
export async function outboxStackBytes(engines) {
  let most = 0;
  for (const job of [jobs.open, jobs.enqueue, jobs.flush, jobs.batch, jobs.sentFirst]) {
    most = Math.max(most, await stackBytes(engines, job));
  }
  return most;
}

export async function deviceHeapBytes({ native }) {
  return leastHeapBytes(native, { library: await jobs.deviceLibrary(), preloaded: true }, jobs.device);
}

export async function coreBytes() {
  const text = await jobs.core();
  return { minifiedBytes: text.length, gzipBytes: gzipBytes(text) };
}

/** Bytes that 10 000 signatures left behind, in a heap hardly larger than the least. */
export async function leakedBytes({ native }, heapBytes) {
  const preload = (await jobs.libraries(jobs.OURS)).script;
  return Number((await run(native, jobs.leak, { heapBytes, preload })).lines[0]);
}

/** Microseconds a job on Node, in rounds by turns so that all of them meet the same machine: the least of each. */
export async function onNode(names, rounds = 60) {
  const candidates = new Map([["node:crypto", jobs.nodeCrypto]]);
  for (const name of names) candidates.set(name, jobs.onNode((await jobs.libraries(name)).script));
  const least = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, job] of candidates) {
      const start = process.hrtime.bigint();
      for (let i = 0; i < 300; i++) job();
      const microseconds = Number(process.hrtime.bigint() - start) / 300 / 1000;
      least[name] = Math.min(least[name] ?? Infinity, microseconds);
    }
  }
  return least;
}

/** The libraries of others are installed in this folder, the rest in the project's. */
export function versions(names) {
  const folders = ["node_modules/", "../node_modules/"].map((path) => new URL(path, import.meta.url));
  const version = (name) => {
    const file = folders.map((folder) => new URL(`${name}/package.json`, folder)).find((each) => existsSync(each));
    if (file === undefined) throw new Error(`${name} is not installed.`);
    return JSON.parse(readFileSync(file, "utf8")).version;
  };
  return Object.fromEntries(names.map((name) => [name, version(name)]));
}

/** As the sources have it. */
export function xsVersion() {
  const file = new URL("../node_modules/@agoric/xsnap/moddable/xs/sources/xsCommon.h", import.meta.url);
  const text = readFileSync(file, "utf8");
  const part = (name) => new RegExp(`#define XS_${name}_VERSION (\\d+)`).exec(text)[1];
  return `${part("MAJOR")}.${part("MINOR")}`;
}
