/** Bundles a module given as text, with what it imports, into one classic script. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import commonjs from "@rollup/plugin-commonjs";
import json from "@rollup/plugin-json";
import nodeResolve from "@rollup/plugin-node-resolve";
import terser from "@rollup/plugin-terser";
import { rollup } from "rollup";
import { stripTypesPlugin } from "../scripts/strip-types.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const ENTRY = resolve(root, "bench", "entry.mjs");

const entry = (code, stubs) => ({
  name: "entry",
  resolveId: (source) => (source === ENTRY || Object.hasOwn(stubs, source) ? source : null),
  load: (id) => (id === ENTRY ? code : (stubs[id] ?? null)),
});

/** What is known of the engine is said when the bundle is made: on XS, the ways of other engines fall away. */
const onXs = {
  name: "on-xs",
  renderChunk: (code) => code.replace(/(HAS_NATIVE_TEXT =)[^;]*;/, "$1 true;"),
};

/**
 * @param {string} code an ES module; its imports are found from the folder `bench`
 * @param {{ minify?: boolean, name?: string, isForXs?: boolean, stubs?: Record<string, string> }} [options] `name`: the
 * global that gets the exports; `stubs`: modules that stand in for those of a platform, by name
 * @returns {Promise<string>}
 */
export async function bundle(code, { minify = false, name = "bundle", isForXs = false, stubs = {} } = {}) {
  const built = await rollup({
    input: ENTRY,
    plugins: [
      entry(code, stubs),
      // As firmware gets it.
      stripTypesPlugin({ isForXs: true }),
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
