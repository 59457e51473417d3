// Sources of the packages' entries, read from the `exports` of their descriptions.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file) => JSON.parse(readFileSync(`${root}${file}`, "utf8"));

/**
 * Source of each entry of both packages, relative to the root, by what a program imports.
 * @param {"moddable" | "node"} [platform] condition that selects the root's source @default its portable one
 * @returns {Record<string, string>}
 */
export function entrySources(platform) {
  const sources = {};
  for (const file of ["package.json", "tools/package.json"]) {
    const { name, exports } = read(file);
    for (const [entry, target] of Object.entries(exports)) {
      if (typeof target === "string") continue;
      const types = target[platform]?.types ?? target.types ?? target.default.types;
      sources[`${name}${entry.slice(1)}`] = types.replace("./dist/types/", "").replace(/\.d\.ts$/, ".ts");
    }
  }
  return sources;
}
