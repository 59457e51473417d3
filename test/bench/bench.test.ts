/** The benchmark's figures: those of this checkout against their budgets, and those of the README against the file. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";
import { peers, rsaPeers } from "../../bench/peers.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

async function run(...parts: string[]): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, parts, { cwd: root });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: `${stdout}${stderr}` };
  }
}

test("instructions, heap and bytes are within their budgets", async () => {
  const { code, output } = await run("bench/run.mjs", "--check");
  // Where a compiler or the emulator is missing, the output says which figures were not measured.
  process.stdout.write(output);
  expect(output).toMatch(/^(ok|OVER) +bare core, gzip/m);
  expect({ code, over: output.match(/^OVER.*$/gm) }).toEqual({ code: 0, over: null });
}, 290_000);

test("the README and its chart show what bench/results.json says", async () => {
  expect(await run("bench/report.mjs", "--check")).toEqual({ code: 0, output: "" });
}, 60_000);

// How fast others are is theirs: it is shown, and fails nothing.
test("every library was measured, and ours gives the right result", () => {
  const { job, rsa, bulk } = JSON.parse(readFileSync(`${root}/bench/results.json`, "utf8"));
  const { dependencies } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  expect(dependencies).toBeUndefined();
  expect(Object.keys(bulk).sort()).toEqual(Object.keys(peers).sort());
  for (const name of Object.keys(peers)) {
    expect([name, job[name].error]).toEqual([name, undefined]);
    const times = job[name].rv32Instructions / job.ours.rv32Instructions;
    process.stdout.write(`${name}: ${times.toFixed(2)} times the instructions of ours\n`);
  }
  expect(job.ours.correct).toBe(true);
  expect(Object.keys(rsa).sort()).toEqual(Object.keys(rsaPeers).sort());
});
