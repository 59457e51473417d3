/** The simulator's tests need the Moddable SDK and have a runner of their own: what a machine without it is told. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";

const runner = fileURLToPath(new URL("./run.mjs", import.meta.url));

test("without the Moddable SDK, the simulator tests say in one line that they are skipped, and succeed", async () => {
  const { MODDABLE, ...environment } = process.env;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [runner], { env: environment });
  expect(stdout).toMatch(/^Simulator tests are skipped: [^\n]+\n$/);
  expect(stderr).toBe("");
  process.stdout.write(MODDABLE ? "Simulator tests are not run by jest, but by: npm run test:sim\n" : stdout);
});
