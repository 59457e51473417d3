import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";

const root = fileURLToPath(new URL("../..", import.meta.url));
// The loader that runs TypeScript, independent of this test's folder.
const cli = ["--import", "./test/support/typescript.mjs", "tools/cli/tencent-iothub.ts"];

/** Runs the command line in a separate process; resolves with its exit code and the output that was read. */
function runProcess(args: readonly string[], closed: "stdout" | "stderr" | "none", after?: RegExp) {
  const child = spawn(process.execPath, [...cli, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    // Closed before the process has started, so before it can have written anything.
    if (name === closed && after === undefined) child[name].destroy();
    else
      child[name].on("data", (part) => {
        text[name] += part;
        if (name === closed && after?.test(text[name])) child[name].destroy();
      });
  }
  return new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, ...text }));
  });
}

describe("the exit code", () => {
  const sign = ["sign", "--host", "example.com", "--body", "{}", "--psk", "c2VjcmV0"];

  test.each<[string, string[], number]>([
    ["wrong usage", ["no-such-command"], 2],
    ["a failure with its stack trace", [...sign, "--timestamp", "soon", "--debug"], 2],
    ["a warning and a failure", ["publish", "--psk", "c2VjcmV0", "--url", "http://127.0.0.1:1"], 2],
    ["success", sign, 0],
  ])("is the same if stderr is closed: %s", async (_name, args, code) => {
    const read = await runProcess(args, "none");
    expect(read).toMatchObject({ code, signal: null });
    const unread = await runProcess(args, "stderr");
    expect(unread).toEqual({ ...read, stdout: unread.stdout, stderr: "" });
  });

  test.each<[string, string[], number]>([
    ["success", sign, 0],
    ["wrong usage", ["no-such-command"], 2],
    ["help", ["--help"], 0],
  ])("is the same if stdout is closed: %s", async (_name, args, code) => {
    expect(await runProcess(args, "stdout")).toMatchObject({ code, signal: null });
  });

  test("of a gateway whose stdout is closed is 0, and it exits", async () => {
    const faults = ["--host", "127.0.0.1", "--port", "0"];
    // Its first line is read; the next one comes with the first request.
    const url: string[] = [];
    const child = spawn(process.execPath, [...cli, "gateway", "--no-state", "--json", ...faults], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    child.stdout.once("data", (part) => {
      url.push(JSON.parse(String(part)).url);
      child.stdout.destroy();
      void fetch(`${url[0]}/device/publish`, { method: "POST", body: "{}" }).then(
        () => {},
        () => {},
      );
    });
    expect(await ended).toBe(0);
    expect(url).toHaveLength(1);
  });
});
