/** The test run's own guard: jest in a child process, on files that each leave something. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const root = path("../../..");

function runJest(fixture: string, ...more: string[]): Promise<{ code: number | null; output: string }> {
  const config = {
    rootDir: path("."),
    testEnvironment: path("environment.mjs"),
    testEnvironmentOptions: { globalsCleanup: "on", ...(fixture === "clean" ? {} : { closingMs: 300 }) },
    reporters: ["default", path("reporter.mjs")],
    testMatch: [`**/fixtures/${fixture}.fixture.mjs`],
    transform: {},
  };
  const args = ["--experimental-vm-modules", "node_modules/jest/bin/jest.js", "--config", JSON.stringify(config)];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...args, ...more], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.on("close", (code) => resolve({ code, output }));
  });
}

describe("a run fails with a reason for", () => {
  test.each([
    ["a warning of Node", "warning", /Node warned: MaxListenersExceededWarning: .* 11 data listeners/],
    [
      "a server left listening",
      "server",
      /Left open by this file: 1 more of listening servers \(listening now: port \d+\)/,
    ],
    ["a connection left in a pool", "pooled", /Left open by this file: a socket, local port \d+, remote port \d+/],
    ["a timer left running", "timer", /Left open by this file: 1 more of running timers/],
    ["a child process left running", "child", /Left open by this file: 1 more of child processes/],
    ["an unhandled rejection", "rejection", /Unhandled rejection: Error: unhandled error/],
    ["an unhandled rejection after the last test", "late", /Unhandled rejection: Error: unhandled late error/],
  ])("%s", async (_what, fixture, line) => {
    const { code, output } = await runJest(fixture);
    expect(output).toMatch(line);
    expect(output).toMatch(/^Test Suites: 1 failed, 1 total$/m);
    expect(code).toBe(1);
  });
});

test("a run passes for a file without leftovers, and reports the permitted warning", async () => {
  const { code, output } = await runJest("clean");
  expect(output).toMatch(/^Let through: ExperimentalWarning .*VM Modules.*, because jest runs ES modules by them\.$/m);
  expect(output).toMatch(/^Tests: {7}1 passed, 1 total$/m);
  expect(code).toBe(0);
});
