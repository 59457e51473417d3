/**
 * `npm run fuzz`: a million cases. A child runs them; this process watches it, and names the case that hangs.
 * `--target key --case 1234 --seed 7` runs a single one.
 */

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Presets, SingleBar } from "cli-progress";
import { checkUrls, runCase, runProperty, targets } from "./targets.js";

/** Of the cases, so many in a hundred are fast-check's. */
const PROPERTY_SHARE = 5;
const STEP = 500;
const HANG_MS = 60_000;
/** What a run may leave behind on the heap, in bytes. */
const MAX_GROWTH = 30_000_000;

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 32)) },
    target: { type: "string" },
    case: { type: "string" },
  },
});
const cases = Number(values.cases);
const seed = Number(values.seed);

if (values.case !== undefined) {
  const target = targets.find(({ name }) => name === values.target);
  if (!target) throw new Error(`--target must be one of ${targets.map(({ name }) => name).join(", ")}.`);
  await runCase(target, seed, Number(values.case));
  console.log("taken, or refused with an error of the library's own");
} else if (process.send) {
  await work(process.send.bind(process));
} else {
  await watch();
}

async function work(send: (message: unknown) => void): Promise<void> {
  const heap = () => {
    (globalThis as { gc?: () => void }).gc?.();
    return process.memoryUsage().heapUsed;
  };
  let before = 0;
  for (const target of targets.filter(({ name }) => values.target === undefined || name === values.target)) {
    const count = Math.round((cases * target.share) / 100);
    const properties = Math.round((count * PROPERTY_SHARE) / 100);
    for (let number = 0; number < count - properties; number++) {
      if (number % STEP === 0) send({ target: target.name, number, done: Math.min(STEP, count - properties - number) });
      try {
        await runCase(target, seed, number);
      } catch (error) {
        send({ failed: `${target.name}, case ${number}: ${(error as Error)?.stack ?? error}` });
        process.exitCode = 1;
      }
      if (number === 2 * STEP && before === 0) before = heap();
    }
    send({ target: target.name, number: -1, done: properties });
    await runProperty(target, seed, properties);
  }
  checkUrls(seed, 2000);
  const growth = heap() - before;
  send({ growth });
  if (growth > MAX_GROWTH) process.exitCode = 1;
  process.disconnect();
}

async function watch(): Promise<void> {
  console.log(`fuzz: ${cases} cases, seed ${seed}`);
  const bar = new SingleBar(
    {
      format: "{bar} {percentage} %, {value}/{total}, {target}, {eta_formatted} left",
      noTTYOutput: true,
      notTTYSchedule: 20_000,
    },
    Presets.shades_classic,
  );
  bar.start(cases, 0, { target: "" });
  const failures: string[] = [];
  let last = "";
  let growth: number | undefined;
  const args = [...process.argv.slice(2), "--seed", String(seed)];
  const child = fork(fileURLToPath(import.meta.url), args, { execArgv: [...process.execArgv, "--expose-gc"] });
  let timer: NodeJS.Timeout | undefined;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      failures.push(`no case ended for ${HANG_MS / 1000} s after ${last}`);
      child.kill("SIGKILL");
    }, HANG_MS);
  };
  alive();
  child.on(
    "message",
    (message: { target?: string; number?: number; done?: number; failed?: string; growth?: number }) => {
      alive();
      if (message.failed !== undefined && failures.push(message.failed) > 20) child.kill("SIGKILL");
      if (message.growth !== undefined) growth = message.growth;
      if (message.target !== undefined) {
        last = `${message.target}, case ${message.number}`;
        bar.increment(message.done ?? 0, { target: message.target });
      }
    },
  );
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(timer);
  bar.stop();
  for (const failure of failures) console.error(`failed: ${failure}`);
  if (growth === undefined) console.error(`failed: the run did not come to its end; the last was ${last}`);
  else console.log(`heap: ${growth > 0 ? "+" : ""}${(growth / 1e6).toFixed(1)} MB at the end`);
  console.log(
    code === 0 ? "every case was taken, or refused with an error of the library's own" : "there were failures",
  );
  process.exitCode = code === 0 ? 0 : 1;
}
