/** Bundles a module given as text, with what it imports, into one classic script. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import commonjs from "@rollup/plugin-commonjs";
import json from "@rollup/plugin-json";
import nodeResolve from "@rollup/plugin-node-resolve";
import terser from "@rollup/plugin-terser";
import { transform } from "@swc/core";
import { rollup } from "rollup";

const root = fileURLToPath(new URL("..", import.meta.url));
const ENTRY = resolve(root, "bench", "entry.mjs");

const entry = (code) => ({
  name: "entry",
  resolveId: (source) => (source === ENTRY ? ENTRY : null),
  load: (id) => (id === ENTRY ? code : null),
});

const typescript = {
  name: "typescript",
  resolveId(source, importer) {
    if (!importer || !source.startsWith(".")) return null;
    const path = resolve(dirname(importer), source)
      .replace(/(\.js)?$/, ".ts")
      .replace(/\.ts\.ts$/, ".ts");
    return existsSync(path) ? path : null;
  },
  async transform(code, id) {
    if (!id.endsWith(".ts")) return null;
    const jsc = { parser: { syntax: "typescript" }, target: "es2022", transform: { useDefineForClassFields: true } };
    return (await transform(code, { filename: id, configFile: false, swcrc: false, jsc, module: { type: "es6" } }))
      .code;
  },
};

/** What is known of the engine is said when the bundle is made: on XS, the ways of other engines fall away. */
const onXs = {
  name: "on-xs",
  renderChunk: (code) => code.replace(/(HAS_NATIVE_TEXT =)[^;]*;/, "$1 true;"),
};

/**
 * @param {string} code an ES module; its imports are found from the folder `bench`
 * @param {{ minify?: boolean, name?: string, isForXs?: boolean }} [options] `name`: the global that gets the exports
 * @returns {Promise<string>}
 */
export async function bundle(code, { minify = false, name = "bundle", isForXs = false } = {}) {
  const built = await rollup({
    input: ENTRY,
    plugins: [
      entry(code),
      typescript,
      nodeResolve({ browser: true, preferBuiltins: false }),
      commonjs(),
      json(),
      isForXs && onXs,
      minify && terser({ ecma: 2020, toplevel: true, compress: { passes: 3, inline: 1 } }),
    ],
    onwarn() {},
  });
  try {
    const { output } = await built.generate({ format: "iife", name, exports: "named" });
    return output[0].code;
  } finally {
    await built.close();
  }
}
