import { readFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import { version } from "../../host/node/cli/version.js";
import { run } from "../support/run-cli.js";

describe("help", () => {
  test("shows commands, examples, environment and exit codes", async () => {
    const { code, stdout, stderr } = await run(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of ["publish", "log", "register", "sign", "gateway", "demo"]) {
      expect(stdout).toContain(`  ${command} `);
      const help = await run([command, "--help"]);
      expect(help.code).toBe(0);
      expect(help.stdout).toContain("Exit codes:");
      if (command !== "demo") expect(help.stdout).toContain("$ tencent-iothub ");
    }
    expect((await run(["publish", "--help"])).stdout).toContain("TENCENT_IOTHUB_PRODUCT_ID");
  });

  test("tells the version of the package", async () => {
    const { version: packaged } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect(version).toBe(packaged);
    expect(await run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect(await readFile(new URL("../../CHANGELOG.md", import.meta.url), "utf8")).toContain(`## [${version}]`);
  });
});
