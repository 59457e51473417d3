// Builds `dist`. All of it: `rollup -c`. Single parts, for speed: `rollup -c --configTarget cli` or `node,core`. Another
// folder than dist: `--configDist FOLDER`.
import { readFileSync, rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { stripTypes, stripTypesPlugin } from "./scripts/strip-types.mjs";

// Each plugin is loaded where it is used: the compiler alone takes longer to load than `npm start` takes without it.

const root = fileURLToPath(new URL(".", import.meta.url));
const forXs = { isForXs: true };
/** The library's entries besides its root, on every platform: `tencent-iothub-xs/topics` and so on. */
const ENTRIES = {
  crypto: "src/entries/crypto.ts",
  host: "src/entries/host.ts",
  signing: "src/entries/signing.ts",
  topics: "src/topics/topics.ts",
};

/**
 * Compiles with the options of one of the project's own tsconfigs, and so within its layer. `npm run types` checks the
 * types; here it would only be done twice.
 */
async function compile(project, options = {}) {
  const { default: typescript } = await import("@rollup/plugin-typescript");
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
      ...options,
    },
  });
}

/** A library's entries, by their names in its folder of `dist`: ES modules, and their declarations among all others. */
async function library(dist, folder, entries, project, external) {
  return {
    input: entries,
    external,
    plugins: [await compile(project, { declaration: true, declarationDir: `${dist}/types` })],
    output: {
      dir: dist,
      format: "es",
      entryFileNames: `${folder}/[name].js`,
      chunkFileNames: `${folder}/shared/[name].js`,
      generatedCode: "es2015",
      // Each file names only what it uses itself: a firmware's linker follows the rest.
      hoistTransitiveImports: false,
    },
  };
}

/**
 * The library for firmware, as JavaScript: with mcpack, and with mcconfig from an installed package. Each source becomes
 * a module of its own, as in the checkout's manifest: to link a single large one, an app would need more stack than it
 * has. Two manifests go with it. mcpack maps modules itself and includes the manifest beside the package.json that it
 * finds first on its way up, here one with what the SDK has to contribute. mcconfig gets the package's own
 * `manifest.json` or `manifest-http.json`, which maps the modules, too; `scripts/package.mjs` puts it where the checkout
 * has the one that compiles TypeScript.
 */
async function firmware(dist, folder, entry, manifest, contribution) {
  const read = (file) => JSON.parse(readFileSync(`${root}${file}`, "utf8"));
  const { name } = read("package.json");
  const own = read(manifest);
  const manifests = [read("host/moddable/manifest.json"), own];
  // What is not a relative import is a module of the Moddable SDK.
  const options = await library(dist, folder, { index: entry, ...ENTRIES }, "host/moddable", /^[^./\0]/);
  options.plugins.push({
    name: "firmware",
    async generateBundle(_options, bundle) {
      for (const [file, { type }] of Object.entries(bundle)) if (type === "chunk") delete bundle[file];
      const emit = (file, source) => this.emitFile({ type: "asset", fileName: file, source });
      const modules = {};
      for (const id of [...this.getModuleIds()].sort()) {
        if (!id.endsWith(".ts")) continue;
        const module = relative(root, id).replace(/\.ts$/, "");
        modules[`${name}/${module}`] = `./dist/${folder}/${module}`;
        emit(`${folder}/${module}.js`, (await stripTypes(id, forXs)).code);
      }
      // One platform's own module takes the place of the one that mcpack finds by its import: includes come first.
      const platforms = Object.fromEntries(
        Object.entries(manifests[0].platforms)
          .filter(([platform]) => platform !== "...")
          .map(([platform, part]) => [
            platform,
            Object.fromEntries(
              Object.entries(part.modules).map(([module, source]) => [module, join("host/moddable", source)]),
            ),
          ]),
      );
      const isVariant = ([module, file]) => `${name}/${file}` !== module;
      const variants = Object.fromEntries(Object.values(platforms).flatMap(Object.entries).filter(isVariant));
      for (const file of new Set(
        Object.values(platforms)
          .flatMap(Object.entries)
          .filter(isVariant)
          .map(([, file]) => file),
      )) {
        emit(`${folder}/${file}.js`, (await stripTypes(`${root}${file}.ts`, forXs)).code);
      }
      // The module that apps import by the package's name, with the types for those written in TypeScript.
      emit(`${folder}/entry.js`, (await stripTypes(`${root}${own.modules[name]}.ts`, forXs)).code);
      modules[name] = [`./dist/${folder}/entry`, `./dist/types/${entry.replace(/\.ts$/, "")}`];
      for (const [entry, source] of Object.entries(ENTRIES)) {
        emit(`${folder}/entry-${entry}.js`, (await stripTypes(`${root}host/moddable/entry-${entry}.ts`, forXs)).code);
        modules[`${name}/${entry}`] = [
          `./dist/${folder}/entry-${entry}`,
          `./dist/types/${source.replace(/\.ts$/, "")}`,
        ];
      }
      const preload = (part) =>
        manifests
          .flatMap((one) => part(one)?.preload ?? [])
          // Modules of the SDK stay; those of ours must have been built.
          .filter((module) => Object.hasOwn(modules, module) || !(module === name || module.startsWith(`${name}/`)));
      const always = preload((one) => one);
      const onChip = preload((one) => one.platforms?.esp32);
      const from = (folder, files) =>
        Object.fromEntries(Object.entries(files).map(([module, file]) => [module, `${folder}/${file}`]));
      const perPlatform = (modulesOf) =>
        Object.fromEntries(
          Object.entries(platforms).map(([platform, files]) => [
            platform,
            { modules: modulesOf(files), ...(platform === "esp32" && { preload: onChip }) },
          ]),
        );
      const json = (content) => `${JSON.stringify(content, null, 2)}\n`;
      emit(`${folder}/package.json`, json({ name, type: "module" }));
      emit(
        `${folder}/manifest.json`,
        json({
          include: [`../../host/moddable/${contribution}`],
          preload: always,
          platforms: perPlatform((files) => from(".", Object.fromEntries(Object.entries(files).filter(isVariant)))),
        }),
      );
      // mcconfig takes the first source of a module, and those for all platforms come first: what differs must not be there.
      const elsewhere = Object.fromEntries(Object.keys(variants).map((module) => [module, modules[module]]));
      const common = Object.fromEntries(Object.entries(modules).filter(([module]) => !(module in variants)));
      emit(
        `${folder}/package/${manifest}`,
        json({
          include: [`./host/moddable/${contribution}`],
          modules: common,
          preload: always,
          platforms: {
            ...perPlatform((files) => from(`./dist/${folder}`, files)),
            "...": { modules: elsewhere },
          },
        }),
      );
    },
  });
  return options;
}

const targets = {
  // All entries share their modules: an error of any of them is an instance of the IotHubError of each.
  es: (dist) => {
    const entries = { core: "src/index.ts", node: "host/node/index.ts", anchors: "host/anchors/index.ts", ...ENTRIES };
    return library(dist, "es", entries, "host/node", /^node:/);
  },
  moddable: (dist) => firmware(dist, "moddable", "host/moddable/index.ts", "manifest.json", "sdk-tls.json"),
  http: (dist) => firmware(dist, "http", "host/moddable/index-http.ts", "manifest-http.json", "sdk.json"),
  // One script without imports for engines that load no modules: everything under one global name.
  xs: async (dist) => ({
    input: "src/script.ts",
    plugins: [stripTypesPlugin(forXs)],
    output: {
      dir: dist,
      format: "iife",
      name: "TencentIoTHub",
      entryFileNames: "xs/tencent-iothub.js",
      generatedCode: "es2015",
    },
  }),
  // The same kind of script with the parts that sign with a secret alone, as small as it gets.
  bare: async (dist) => {
    const { default: terser } = await import("@rollup/plugin-terser");
    return {
      input: "src/bare.ts",
      plugins: [
        await compile("src"),
        // The ways of other engines fall away.
        { name: "on-xs", renderChunk: (code) => code.replace(/(HAS_NATIVE_TEXT =)[^;]*;/, "$1 true;") },
        terser({ ecma: 2020, toplevel: true, compress: { passes: 3, inline: 1 } }),
      ],
      output: {
        dir: dist,
        format: "iife",
        name: "TencentIoTHub",
        entryFileNames: "bare/tencent-iothub.min.js",
        generatedCode: "es2015",
      },
    };
  },
  cli: async (dist) => {
    const { default: commonjs } = await import("@rollup/plugin-commonjs");
    const { default: json } = await import("@rollup/plugin-json");
    const { nodeResolve } = await import("@rollup/plugin-node-resolve");
    const { default: license } = await import("rollup-plugin-license");
    return commandLine(dist, /^node:/, [
      nodeResolve({ preferBuiltins: true, exportConditions: ["node"] }),
      commonjs({ ignoreDynamicRequires: true }),
      // Last, so that TypeScript is not asked where each file of a library is.
      await compile("host/node/cli", { types: [] }),
      json({ preferConst: true, compact: true }),
      license({
        thirdParty: {
          includePrivate: false,
          output: { file: `${dist}/cli/THIRD-PARTY-NOTICES.txt` },
        },
      }),
    ]);
  },
  // The same command line for `npm start` in a checkout: its libraries stay in node_modules, which takes a fifth of the
  // time. Not in dist: it must not end up in the package.
  "cli-here": async () => commandLine(`${root}build`, /^[^./\0]/, [stripTypesPlugin()]),
};

function commandLine(folder, external, plugins) {
  return {
    input: { "tencent-iothub": `${root}host/node/cli/tencent-iothub.ts` },
    external,
    plugins,
    // Takes a third of the time and makes a difference of a twentieth in size.
    treeshake: false,
    output: {
      dir: `${folder}/cli`,
      format: "es",
      generatedCode: "es2015",
      // What only `gateway` and `demo` load: the gateway and the server library under it.
      chunkFileNames: ({ moduleIds }) =>
        moduleIds.some((id) => id.includes("/tools/gateway/")) ? "local-gateway.js" : "[name].js",
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
  else for (const name of wanted) rmSync(`${dist}/${name}`, { recursive: true, force: true });
  return Promise.all(wanted.map((name) => targets[name](dist)));
};
