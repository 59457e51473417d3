/** The benchmark's figures: those of this checkout against those written, and those of the README against the file. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";

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

test("instructions, heap and bytes are what bench/results.json says", async () => {
  const { code, output } = await run("bench/run.mjs", "--check");
  // Where a compiler or the emulator is missing, the output says which figures were not measured.
  process.stdout.write(output);
  expect(output).toMatch(/^ok {2}bytes of the core, compressed/m);
  expect({ code, failed: output.match(/^FAILED.*$/gm) }).toEqual({ code: 0, failed: null });
}, 290_000);

test("the README and its chart show what bench/results.json says", async () => {
  expect(await run("bench/report.mjs", "--check")).toEqual({ code: 0, output: "" });
}, 60_000);

test("every library was measured, and ours is right and the fastest on XS", () => {
  const { job, rsa, bulk } = JSON.parse(readFileSync(`${root}/bench/results.json`, "utf8"));
  const { dependencies, devDependencies } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  expect(dependencies).toBeUndefined();
  const peers = Object.keys(job).filter((name) => name in devDependencies);
  expect(peers.length).toBe(10);
  for (const name of peers) {
    expect(job[name].error).toBeUndefined();
    expect(job[name].rv32Instructions).toBeGreaterThan(2 * job.ours.rv32Instructions);
    expect(bulk[name].instructionsPerByte).toBeGreaterThan(2 * bulk.ours.instructionsPerByte);
  }
  expect(job.ours.correct).toBe(true);
  expect(Object.keys(rsa).sort()).toEqual(["jsrsasign", "node-forge", "ours"]);
});
