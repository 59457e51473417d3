/** The simulator's tests need the Moddable SDK and have a separate runner, which reports a missing SDK. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";

const runner = fileURLToPath(new URL("./run.mjs", import.meta.url));

test("without the Moddable SDK, the simulator tests print one line that they are skipped, and succeed", async () => {
  const { MODDABLE, ...environment } = process.env;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [runner], { env: environment });
  expect(stdout).toMatch(/^Simulator tests are skipped: [^\n]+\n$/);
  expect(stderr).toBe("");
  process.stdout.write(MODDABLE ? "Simulator tests are not run by jest, but by: npm run test:sim\n" : stdout);
});

test("the simulator's app includes every file of the conformance suite", () => {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
  const listed: string[] = JSON.parse(read("app/manifest.json")).modules["tencent-iothub-xs/test/conformance/*"];
  const imported = [...read("../conformance/suites.ts").matchAll(/from "\.\/(\w+\.cases)\.js"/g)].map(
    ([, name]) => name,
  );
  expect(imported.length).toBeGreaterThan(15);
  expect(imported.filter((name) => !listed.includes(`../../conformance/${name}`))).toEqual([]);
});
