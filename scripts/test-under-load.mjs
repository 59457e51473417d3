// Runs the tests repeatedly while every core is kept busy: `npm run test:load -- --runs 10`. Arguments after `--` are
// passed to jest: `npm run test:load -- --runs 3 -- test/faults`.
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

const { values, positionals } = parseArgs({
  options: { runs: { type: "string", default: "10" }, busy: { type: "string" } },
  allowPositionals: true,
});
const runs = Number(values.runs);
const busy = Number(values.busy ?? availableParallelism());
if (!Number.isInteger(runs) || runs < 1 || !Number.isInteger(busy) || busy < 0) {
  throw new Error("--runs needs a number from 1, and --busy, the threads that do nothing but count, one from 0.");
}

const root = fileURLToPath(new URL("..", import.meta.url));
const jest = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js"];

let running;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    running?.kill(signal);
    process.exit(1);
  });
}

/** Runs the tests once. @returns output and exit status */
function test() {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...jest, ...positionals], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    running = child;
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

const workers = Array.from({ length: busy }, () => new Worker("for (;;);", { eval: true }));
let failed = 0;
try {
  for (let run = 1; run <= runs; run++) {
    const start = performance.now();
    const { code, output } = await test();
    const summary = /^Tests: +(.*)$/m.exec(output)?.[1] ?? "no test was run";
    const seconds = Math.round((performance.now() - start) / 1000);
    console.log(`run ${run} of ${runs}: ${code === 0 ? "ok" : "FAILED"}, ${summary}, ${seconds} s`);
    if (code === 0) continue;
    failed++;
    console.log(output.replace(/^PASS .*\n/gm, ""));
  }
} finally {
  await Promise.all(workers.map((worker) => worker.terminate()));
}
console.log(`${runs - failed} of ${runs} runs passed with ${busy} busy threads on ${availableParallelism()} cores`);
process.exitCode = failed > 0 ? 1 : 0;
