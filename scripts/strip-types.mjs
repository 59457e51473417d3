/**
 * Takes the types out of the project's TypeScript, a file at a time and without a check: `npm run types` checks them as
 * a whole. Everything that runs or bundles sources does it with these settings.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/** Settings of swc. */
export const options = {
  jsc: { parser: { syntax: "typescript" }, target: "es2022", transform: { useDefineForClassFields: true } },
  module: { type: "es6" },
};

/**
 * @param {string} file path of the source
 * @param {{ sourceMaps?: boolean | "inline" }} [settings]
 * @returns {Promise<{ code: string, map?: string }>}
 */
export async function stripTypes(file, { sourceMaps = false } = {}) {
  // The compiler takes longer to load than most of what imports this file.
  const { transform } = await import("@swc/core");
  const source = await readFile(file, "utf8");
  return transform(source, { filename: file, configFile: false, swcrc: false, sourceMaps, ...options });
}

/** The source of a module that is imported by the name of its JavaScript; null where there is none. */
export function sourceOf(specifier, importer) {
  if (!importer || !specifier.startsWith(".")) return null;
  const path = resolve(dirname(importer), specifier).replace(/\.js$/, ".ts");
  // Not a folder of that name, which a library in CommonJS may mean.
  return path.endsWith(".ts") && existsSync(path) ? path : null;
}

/** A plugin of rollup. */
export function stripTypesPlugin() {
  return {
    name: "strip-types",
    resolveId: sourceOf,
    async load(id) {
      if (!id.endsWith(".ts")) return null;
      return { code: (await stripTypes(id)).code, map: null };
    },
  };
}
