/** The benchmark's figures: those of this checkout against those written, and those of the pages against the file. */
import { type ChildProcess, execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "@jest/globals";
import { peers, rsaPeers } from "../../bench/peers.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

const children = new Set<ChildProcess>();
// A test that has run out of time leaves its process running.
afterEach(async () => {
  for (const child of children) {
    child.kill();
    await once(child, "close");
  }
});

function run(...parts: string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, parts, { cwd: root }, (_error, stdout, stderr) => {
      children.delete(child);
      resolve({ code: child.exitCode, output: `${stdout}${stderr}` });
    });
    children.add(child);
  });
}

test("instructions, heap and bytes are within their budgets", async () => {
  const { code, output } = await run("bench/run.mjs", "--check");
  // Where a compiler or the emulator is missing, the output says which figures were not measured.
  process.stdout.write(output);
  expect(output).toMatch(/^(ok|OVER) +bare core, gzip/m);
  expect({ code, over: output.match(/^OVER.*$/gm) }).toEqual({ code: 0, over: null });
});

test("the pages and the chart match bench/results.json", async () => {
  expect(await run("bench/report.mjs", "--check")).toEqual({ code: 0, output: "" });
});

// How fast others are is theirs: it is shown, and fails nothing.
test("every library was measured, and ours returns the right result", () => {
  const { job, rsa, bulk } = JSON.parse(readFileSync(`${root}/bench/results.json`, "utf8"));
  expect(Object.keys(bulk).sort()).toEqual(Object.keys(peers).sort());
  for (const name of Object.keys(peers)) {
    expect([name, job[name].error]).toEqual([name, undefined]);
    const times = job[name].rv32Instructions / job.ours.rv32Instructions;
    process.stdout.write(`${name}: ${times.toFixed(2)} times the instructions of ours\n`);
  }
  expect(job.ours.correct).toBe(true);
  expect(Object.keys(rsa).sort()).toEqual(Object.keys(rsaPeers).sort());
});

test("a clone installs none of the libraries that ours is compared with", () => {
  const read = (path: string) => JSON.parse(readFileSync(`${root}/${path}`, "utf8"));
  const { dependencies, devDependencies } = read("package.json");
  expect(dependencies).toBeUndefined();
  const { dependencies: others } = read("bench/package.json");
  for (const name of Object.keys(peers).filter((name) => name !== "ours")) {
    expect([name, devDependencies[name], others[name]]).toEqual([name, undefined, expect.stringMatching(/^\d/)]);
  }
  const results = read("bench/results.json");
  for (const [name, version] of Object.entries(others)) {
    if (Object.hasOwn(peers, name)) expect([name, results.versions[name]]).toEqual([name, version]);
  }
});

test("the lock file of the benchmark names no registry and no install script", () => {
  const { packages } = JSON.parse(readFileSync(`${root}/bench/package-lock.json`, "utf8"));
  for (const [name, entry] of Object.entries<Record<string, unknown>>(packages)) {
    expect([name, entry.resolved, entry.hasInstallScript]).toEqual([name, undefined, undefined]);
  }
});

test("an unknown library is an error before anything is installed or measured", async () => {
  const { code, output } = await run("bench/run.mjs", "--only", "nothing");
  expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(/^Unknown library nothing; /) });
});
