/** A process that runs tests against one mutant after the other, as scripts/mutate.mjs tells it. */
import { join } from "node:path";
import { createLoader } from "./loader.mjs";
import { createCollector } from "./tests.mjs";

const [root] = process.argv.slice(2);
const loader = await createLoader(root);
const say = (message) => new Promise((resolve) => process.send(message, resolve));

let fail;
for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (error) => fail?.({ unhandled: true, error }));
}

/** Rejects with what went wrong outside of the promise, too, and when the time is up. */
function watched(promise, limitMs) {
  let late;
  return new Promise((resolve, reject) => {
    fail = reject;
    late = setTimeout(() => reject({ isLate: true }), limitMs);
    promise.then(resolve, (error) => reject({ error }));
  }).finally(() => {
    fail = undefined;
    clearTimeout(late);
  });
}

async function load(file, changed) {
  const collector = createCollector();
  const { registry } = loader;
  await registry(changed, { "@jest/globals": collector.module }).import(join(root, file));
  return collector;
}

/** Milliseconds of work since a call of `process.cpuUsage`: on a busy machine the clock would count others' work, too. */
function workMs(since) {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

const text = (error) =>
  String(error?.message ?? error)
    .replace(/\u001b\[[0-9;]*m/g, "")
    .split("\n")[0]
    .slice(0, 160);

/** Loading a file for every single test is worth this much, and no more: some make RSA keys first. */
const QUICK_LOAD_MS = 250;

/**
 * How long each test takes, and which blocks it reaches. A mutant is tried with those tests alone that reach it, so a
 * test that needs what another one has left is found here and left out.
 */
async function survey({ file, sources, limitMs }) {
  const changed = new Map(sources.map(([path, source]) => [join(root, path), source]));
  let hits = new Set();
  globalThis.__reached = (path, block) => hits.add(`${path}#${block}`);
  await say({ started: file, limitMs });
  const begun = process.cpuUsage();
  const shared = await watched(load(file, changed), limitMs);
  const loadMs = workMs(begun);
  const loaded = hits;
  const result = [];
  for (const [index, { name }] of shared.tests.entries()) {
    await say({ started: name, limitMs });
    hits = new Set();
    const start = performance.now();
    const work = process.cpuUsage();
    const entry = { file, index, name, loadMs };
    try {
      await watched(shared.run(index), limitMs);
      entry.ms = workMs(work);
      entry.clockMs = performance.now() - start;
      if (hits.size > 0 && loadMs < QUICK_LOAD_MS) {
        const collector = await load(file, changed);
        await watched(collector.run(index), limitMs);
        await collector.end();
      }
      result.push({ ...entry, hits: [...new Set([...loaded, ...hits])] });
    } catch ({ error, isLate }) {
      result.push({ ...entry, failed: isLate ? "it took too long" : text(error) });
    }
    await new Promise(setImmediate);
  }
  await shared.end();
  return result;
}

/** Runs tests until one fails. */
async function judge({ path, source, plan }) {
  const changed = new Map([[join(root, path), source]]);
  for (const { file, tests } of plan) {
    let collector;
    try {
      for (const { index, name, limitMs } of tests) {
        await say({ started: name, limitMs });
        try {
          await watched(
            (async () => {
              collector ??= await load(file, changed);
              await collector.run(index);
              await new Promise(setImmediate);
            })(),
            limitMs,
          );
        } catch ({ isLate, unhandled, error }) {
          return {
            verdict: isLate ? "late" : "killed",
            by: `${file}: ${name}`,
            unhandled,
            why: isLate ? "" : text(error),
          };
        }
      }
    } finally {
      if (collector) await watched(collector.end(), 1000).catch(() => {});
    }
  }
  return { verdict: "survived" };
}

process.on("message", async (message) => {
  let reply;
  try {
    reply = message.survey ? { tests: await survey(message.survey) } : await judge(message.judge);
  } catch (error) {
    reply = { verdict: "broken", why: text(error.error ?? error) };
  }
  await new Promise(setImmediate);
  // What still runs would go on beside the next mutant.
  const busy = process.getActiveResourcesInfo().some((name) => /^(Immediate|Timeout|TCP)/.test(name));
  await say({ ended: { ...reply, busy } });
});
await say({ ready: true });
