// Judges the packages that `npm run package` put together: their descriptions and types, their sizes, and what only the
// owner can fill in before they are published.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Largest size of each package in bytes, packed and unpacked. */
const packages = {
  "build/package": { packed: 300_000, unpacked: 1_200_000 },
  "build/package-cli": { packed: 300_000, unpacked: 1_200_000 },
};
const ownersPart = ["repository", "homepage", "bugs", "publishConfig"];

for (const [folder, largest] of Object.entries(packages)) {
  const path = join(root, folder);
  run("publint", ["--strict", path]);
  run("attw", ["--pack", path, "--profile", "esm-only"]);
  const { stdout, status } = spawnSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: path,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`npm pack failed in ${folder}.`);
  const [{ name, size, unpackedSize }] = JSON.parse(stdout);
  const isTooLarge = size > largest.packed || unpackedSize > largest.unpacked;
  console.log(
    `${name}: ${size} bytes packed (limit ${largest.packed}), ${unpackedSize} unpacked (limit ${largest.unpacked})${isTooLarge ? ": TOO LARGE" : ""}`,
  );
  if (isTooLarge) process.exitCode = 1;
  const description = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
  const missing = ownersPart.filter((key) => description[key] === undefined);
  if (missing.length > 0) console.log(`${name}: only the owner can add, before it is published: ${missing.join(", ")}`);
}

function run(command, args) {
  const { status } = spawnSync(join(root, "node_modules/.bin", command), args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}
