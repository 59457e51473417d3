/**
 * Removes the types from the project's TypeScript, file by file and without type checks, which `npm run types` does.
 * Everything that runs or bundles sources uses these settings.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Settings of swc. */
export const options = {
  jsc: { parser: { syntax: "typescript" }, target: "es2022", transform: { useDefineForClassFields: true } },
  module: { type: "es6" },
};

/** XS 17 looks up the global `undefined` each time, which takes 500 instructions and two more bytes of bytecode. */
const forXs = { ...options.jsc.transform, optimizer: { globals: { vars: { undefined: "void 0" } } } };

/**
 * Removes comments from JavaScript, line by line: a third less to ship. Users read the comments of the declarations.
 * @param {string} code
 */
export async function stripComments(code) {
  const { minify } = await import("terser");
  const format = { beautify: true, indent_level: 1, comments: false };
  return minify(code, { module: true, compress: false, mangle: false, format });
}

/**
 * @param {string} file path of the source
 * @param {{ sourceMaps?: boolean | "inline", isForXs?: boolean }} [settings] `isForXs`: optimized for XS
 * @returns {Promise<{ code: string, map?: string }>}
 */
export async function stripTypes(file, { sourceMaps = false, isForXs = false } = {}) {
  // Loaded on demand: the compiler takes longer to load than most modules that import this file.
  const { transform } = await import("@swc/core");
  const source = await readFile(file, "utf8");
  const { jsc, module } = options;
  const settings = { jsc: isForXs ? { ...jsc, transform: forXs } : jsc, module };
  return transform(source, { filename: file, configFile: false, swcrc: false, sourceMaps, ...settings });
}

/** Sources of the library's entries on Node, by what the tools import. */
export const libraryEntries = Object.fromEntries(
  Object.entries({
    "tencent-iothub-xs": "host/node/index.ts",
    "tencent-iothub-xs/anchors": "host/anchors/index.ts",
    "tencent-iothub-xs/signing": "src/entries/signing.ts",
  }).map(([name, file]) => [name, fileURLToPath(new URL(`../${file}`, import.meta.url))]),
);

/**
 * The source of a module that is imported by the name of its JavaScript, or of an entry of the library by its name; null
 * where there is none.
 */
export function sourceOf(specifier, importer) {
  if (Object.hasOwn(libraryEntries, specifier)) return libraryEntries[specifier];
  if (!importer || !specifier.startsWith(".")) return null;
  const path = resolve(dirname(importer), specifier).replace(/\.js$/, ".ts");
  // Not a folder of that name, which a library in CommonJS may mean.
  return path.endsWith(".ts") && existsSync(path) ? path : null;
}

/** Creates a rollup plugin. @param {{ isForXs?: boolean }} [settings] */
export function stripTypesPlugin(settings) {
  return {
    name: "strip-types",
    resolveId: sourceOf,
    async load(id) {
      if (!id.endsWith(".ts")) return null;
      return { code: (await stripTypes(id, settings)).code, map: null };
    },
  };
}
