import { readFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import { exitCodes, exitMeanings } from "../../tools/cli/failure.js";
import { version } from "../../tools/cli/version.js";
import { run } from "../support/run-cli.js";

describe("help", () => {
  test("shows commands, examples, environment and exit codes", async () => {
    const { code, stdout, stderr } = await run(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of [
      "publish",
      "log",
      "register",
      "sign",
      "diagnose",
      "types",
      "gateway",
      "init",
      "dev",
      "flash",
      "demo",
    ]) {
      expect(stdout).toContain(`  ${command} `);
      const help = await run([command, "--help"]);
      expect(help.code).toBe(0);
      expect(help.stdout).toContain("Exit codes:");
      if (command !== "demo") expect(help.stdout).toContain("$ tencent-iothub ");
    }
    expect((await run(["publish", "--help"])).stdout).toContain("TENCENT_IOTHUB_PRODUCT_ID");
  });

  test("documents the exit codes of the program, like its page", async () => {
    const rows = Object.values(exitCodes).map((code, i) => [String(code), Object.values(exitMeanings)[i]]);
    expect(rows.map(([code]) => code)).toEqual(["0", "1", "2", "3", "4", "5"]);
    const { stdout } = await run(["--help"]);
    expect([...stdout.matchAll(/^ {2}(\d) {2}(.+)$/gm)].map(([, ...row]) => row)).toEqual(rows);
    const page = await readFile(new URL("../../tools/README.md", import.meta.url), "utf8");
    expect([...page.matchAll(/^\| (\d) \| (.+) \|$/gm)].map(([, ...row]) => row)).toEqual(rows);
  });

  test("prints the version of the package", async () => {
    const { version: packaged } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect(version).toBe(packaged);
    expect(await run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect(await readFile(new URL("../../CHANGELOG.md", import.meta.url), "utf8")).toContain(`## [${version}]`);
  });
});
