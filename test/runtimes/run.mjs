// Runs the library on every runtime of package.json beside this file: `npm run runtimes`.
//
//     node test/runtimes/run.mjs [--check | --install] [NAME…]
//
// Installs the runtimes first, about 1 GB. Writes results.json and docs/runtimes.md; `--check` writes nothing; `--install`
// only installs. With names, such as `bun`, only these are run and nothing is written. Ends with a status other than 0 if a
// runtime cannot be installed or fails.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { install } from "../../scripts/install.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { check: { type: "boolean" }, install: { type: "boolean" } },
});
const isSupported = process.platform === "linux" && process.arch === "x64";
const problem = isSupported
  ? install(fileURLToPath(new URL(".", import.meta.url)))
  : `the packages are for Linux on x64, not ${process.platform} on ${process.arch}.`;
if (problem !== undefined) {
  console.error(`The runtimes cannot be installed: ${problem}`);
  process.exitCode = 1;
} else if (!values.install) {
  await import("../support/typescript.mjs");
  const { main } = await import("./main.ts");
  process.exitCode = await main({ names: positionals, check: values.check === true });
}
