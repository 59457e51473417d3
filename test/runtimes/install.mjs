/** Installs the runtimes as the lock file says, without install scripts: the packages contain the programs. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const TIMEOUT_MS = 300_000;

/** @returns {string | undefined} why they cannot be installed */
export function install() {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `the packages are for Linux on x64, not ${process.platform} on ${process.arch}.`;
  }
  if (isInstalled()) return undefined;
  const { status, stderr, error } = spawnSync("npm", ["ci", "--ignore-scripts", "--loglevel=error"], {
    cwd: folder,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
  });
  if (status === 0) return undefined;
  return error?.message ?? stderr.trim().split("\n")[0] ?? `npm ended with ${status}.`;
}

/** Whether what npm wrote down of its last installation has the versions of the lock file. */
function isInstalled() {
  const written = `${folder}node_modules/.package-lock.json`;
  if (!existsSync(written)) return false;
  const read = (file) =>
    Object.entries(JSON.parse(readFileSync(file, "utf8")).packages).filter(([name]) => name !== "");
  const versions = (packages) => JSON.stringify(packages.map(([name, { integrity }]) => [name, integrity]).sort());
  return versions(read(written)) === versions(read(`${folder}package-lock.json`));
}
