// Builds `dist`. All of it: `rollup -c`. Single parts, for speed: `rollup -c --configTarget cli` or `node,core`. Another
// folder than dist: `--configDist FOLDER`.
import { existsSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import commonjs from "@rollup/plugin-commonjs";
import json from "@rollup/plugin-json";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import typescript from "@rollup/plugin-typescript";
import license from "rollup-plugin-license";

const root = fileURLToPath(new URL(".", import.meta.url));

/**
 * Compiles with the options of one of the project's own tsconfigs, and so within its layer. `npm run types` checks the
 * types; here it would only be done twice.
 */
function compile(project, types = {}) {
  return typescript({
    tsconfig: `${root}${project}/tsconfig.json`,
    compilerOptions: {
      rootDir: root,
      module: "ESNext",
      moduleResolution: "Bundler",
      noCheck: true,
      noEmit: false,
      // Helpers stay out of the bundles: the target has all that the sources use.
      importHelpers: false,
      ...types,
    },
  });
}

/** A library's entries, by their names in its folder of `dist`: ES modules, and their declarations among all others. */
function library(dist, folder, entries, project, external) {
  return {
    input: entries,
    external,
    plugins: [compile(project, { declaration: true, declarationDir: `${dist}/types` })],
    output: {
      dir: dist,
      format: "es",
      entryFileNames: `${folder}/[name].js`,
      chunkFileNames: `${folder}/[name].js`,
      generatedCode: "es2015",
    },
  };
}

const targets = {
  core: (dist) => library(dist, "core", { index: "src/index.ts" }, "src"),
  node: (dist) => library(dist, "node", { index: "host/node/index.ts" }, "host/node", /^node:/),
  moddable: (dist) => {
    const entries = { index: "host/moddable/index.ts", plain: "host/moddable/plain.ts" };
    const present = Object.entries(entries).filter(([, file]) => existsSync(root + file));
    // What is not a relative import is a module of the Moddable SDK.
    return library(dist, "moddable", Object.fromEntries(present), "host/moddable", /^[^./\0]/);
  },
  // One script without imports for engines that load no modules: everything under one global name.
  xs: (dist) => ({
    input: "src/index.ts",
    plugins: [compile("src")],
    output: {
      dir: dist,
      format: "iife",
      name: "TencentIoTHub",
      entryFileNames: "xs/tencent-iothub.js",
      generatedCode: "es2015",
    },
  }),
  cli: commandLine,
  // The same command line for `npm start` in a checkout: its libraries stay in node_modules, which takes a fifth of the
  // time.
  "cli-here": (dist) => ({
    ...commandLine(dist),
    external: /^[^./\0]/,
    plugins: [compile("host/node/cli", { types: [] })],
  }),
};

/** The command line with all that it needs. */
function commandLine(dist) {
  return {
    // Takes a third of the time and makes a difference of a twentieth in size.
    treeshake: false,
    input: { "tencent-iothub": "host/node/cli/tencent-iothub.ts" },
    external: /^node:/,
    plugins: [
      nodeResolve({ preferBuiltins: true, exportConditions: ["node"] }),
      commonjs({ ignoreDynamicRequires: true }),
      // Last, so that TypeScript is not asked where each file of a library is.
      compile("host/node/cli", { types: [] }),
      json({ preferConst: true, compact: true }),
      license({
        thirdParty: {
          includePrivate: false,
          output: { file: `${dist}/cli/THIRD-PARTY-NOTICES.txt` },
        },
      }),
    ],
    output: {
      dir: `${dist}/cli`,
      format: "es",
      generatedCode: "es2015",
      // What only `gateway` and `demo` load: the gateway and the server library under it.
      chunkFileNames: ({ moduleIds }) =>
        moduleIds.some((id) => id.includes("/mocks/gateway/")) ? "local-gateway.js" : "[name].js",
      hoistTransitiveImports: false,
    },
    onwarn(warning, warn) {
      // Circular imports among the files of a dependency are that dependency's own business.
      if (warning.code === "CIRCULAR_DEPENDENCY" && warning.ids?.every((id) => id.includes("node_modules"))) return;
      warn(warning);
    },
  };
}

export default ({ configTarget, configDist = "dist" }) => {
  const wanted = configTarget?.split(",") ?? Object.keys(targets).filter((name) => name !== "cli-here");
  for (const name of wanted) {
    if (!Object.hasOwn(targets, name))
      throw new Error(`There is no target ${name}; there are ${Object.keys(targets)}.`);
  }
  const dist = resolve(root, configDist);
  // Nothing of an earlier build may end up in the package.
  if (configTarget === undefined) rmSync(dist, { recursive: true, force: true });
  else for (const name of wanted) rmSync(`${dist}/${name.replace("-here", "")}`, { recursive: true, force: true });
  return wanted.map((name) => targets[name](dist));
};
