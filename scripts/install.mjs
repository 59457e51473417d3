/** Installs what only one folder of the project needs, when it needs it: a clone of the project goes without. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const TIMEOUT_MS = 300_000;

/**
 * Installs a folder's packages as its lock file says, without install scripts. Nothing is done where they are installed.
 * @param {string} folder path of a folder with package.json and package-lock.json
 * @returns {string | undefined} why they cannot be installed
 */
export function install(folder) {
  if (isInstalled(folder)) return undefined;
  const { status, stderr, error } = spawnSync("npm", ["ci", "--ignore-scripts", "--loglevel=error"], {
    cwd: folder,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    // npm is a script of the shell on Windows.
    shell: process.platform === "win32",
  });
  if (status === 0) return undefined;
  const said = stderr
    .trim()
    .split("\n", 2)
    .map((line) => line.replace("npm error ", ""));
  return error?.message ?? (said.join(": ") || `npm ended with ${status}.`);
}

/** Whether what npm wrote down of its last installation in the folder has the versions of the lock file. */
export function isInstalled(folder) {
  const written = join(folder, "node_modules/.package-lock.json");
  return existsSync(written) && versions(written) === versions(join(folder, "package-lock.json"));
}

function versions(lockFile) {
  const packages = Object.entries(JSON.parse(readFileSync(lockFile, "utf8")).packages);
  return JSON.stringify(
    packages
      .filter(([name]) => name !== "")
      .map(([name, { integrity }]) => [name, integrity])
      .sort(),
  );
}
