// Type-checks every part of the project with its own tsconfig: the layering is what each of them lets its files see.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const projects = ["src", "host/node", "host/node/cli", "host/moddable", "mocks", "test/conformance", "test", "bench"];
let failed = 0;
for (const project of projects.filter((name) => existsSync(`${root}${name}/tsconfig.json`))) {
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", project], {
    cwd: root,
    stdio: "inherit",
  });
  console.log(`${status === 0 ? "ok    " : "failed"} ${project}`);
  failed += status === 0 ? 0 : 1;
}
process.exitCode = failed ? 1 : 0;
