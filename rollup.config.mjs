// Builds `dist`. All of it: `rollup -c`. Single parts, for speed: `rollup -c --configTarget tools` or `node,core`. Another
// folder than dist: `--configDist FOLDER`.
import { readFileSync, rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { sourceOf, stripComments, stripTypes, stripTypesPlugin } from "./scripts/strip-types.mjs";

// Each plugin is loaded where it is used: the compiler alone takes longer to load than `npm start` takes without it.

const root = fileURLToPath(new URL(".", import.meta.url));
const forXs = { isForXs: true };
/** A plugin, for what is shipped. */
const commentFree = () => ({
  name: "comment-free",
  renderChunk: async (code) => ({ code: (await stripComments(code)).code, map: null }),
});
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

/** The two forms of the library for firmware: with TLS, and without. */
const FORMS = {
  "manifest.json": { entry: "host/moddable/index.ts", shortcut: "entry", sdk: "sdk-tls.json" },
  "manifest-http.json": { entry: "host/moddable/index-http.ts", shortcut: "entry-http", sdk: "sdk.json" },
};
/** Modules in this folder need what the SDK has for TLS. */
const TLS_FOLDER = "host/moddable/tls";

/**
 * The library for firmware, as JavaScript: with mcpack, and with mcconfig from an installed package. Each source becomes
 * a module of its own, as in the checkout's manifest: to link a single large one, an app would need more stack than it
 * has.
 *
 * mcpack maps modules itself, and includes the manifest beside each package.json that it finds first on the way up from
 * a module: here one at the top with what every app needs of the SDK, and one in the folder for TLS, whose modules only
 * apps with TLS import. What a manifest preloads counts only if the app has it. mcconfig gets the package's own
 * `manifest.json` or `manifest-http.json`, which maps the modules, too; `scripts/package.mjs` puts them where the
 * checkout has those that compile TypeScript.
 */
async function firmware(dist) {
  const folder = "moddable";
  const read = (file) => JSON.parse(readFileSync(`${root}${file}`, "utf8"));
  const { name } = read("package.json");
  const common = read("host/moddable/manifest.json");
  const inputs = Object.values(FORMS).map(({ entry }) => entry);
  // What is not a relative import is a module of the Moddable SDK.
  const entries = Object.fromEntries([...inputs, ...Object.values(ENTRIES)].map((file) => [file.slice(0, -3), file]));
  const options = await library(dist, folder, entries, "host/moddable", /^[^./\0]/);
  options.plugins.push({
    name: "firmware",
    async generateBundle(_options, bundle) {
      for (const [file, { type }] of Object.entries(bundle)) if (type === "chunk") delete bundle[file];
      const emit = (file, source) => this.emitFile({ type: "asset", fileName: `${folder}/${file}`, source });
      const json = (content) => `${JSON.stringify(content, null, 2)}\n`;
      const moduleOf = (id) => relative(root, id).replace(/\.ts$/, "");
      const written = new Set();
      const write = async (module, file = module) => {
        if (written.has(file)) return;
        written.add(file);
        const { code } = await stripTypes(`${root}${module}.ts`, forXs);
        emit(`${file}.js`, (await stripComments(code)).code);
      };

      // One platform's own module takes the place of the one that mcpack finds by its import: includes come first.
      const platforms = Object.fromEntries(
        Object.entries(common.platforms)
          .filter(([platform]) => platform !== "...")
          .map(([platform, { modules }]) => [
            platform,
            Object.fromEntries(Object.entries(modules).map(([module, file]) => [module, join("host/moddable", file)])),
          ]),
      );
      const isVariant = ([module, file]) => `${name}/${file}` !== module;
      const variants = Object.fromEntries(Object.values(platforms).flatMap(Object.entries).filter(isVariant));
      for (const file of Object.values(platforms).flatMap(Object.values)) await write(file);
      const perPlatform = (preload, modulesOf) =>
        Object.fromEntries(
          Object.entries(platforms).map(([platform, files]) => [
            platform,
            { modules: modulesOf(files), ...(platform === "esp32" && { preload }) },
          ]),
        );
      const from = (folder, files) =>
        Object.fromEntries(Object.entries(files).map(([module, file]) => [module, `${folder}/${file}`]));

      const preloaded = { always: new Set(), onChip: new Set() };
      for (const [manifest, { entry, shortcut, sdk }] of Object.entries(FORMS)) {
        const own = read(manifest);
        const reached = new Set([entry, ...Object.values(ENTRIES)].map((file) => `${root}${file}`));
        for (const id of reached) {
          const { importedIds, dynamicallyImportedIds } = this.getModuleInfo(id);
          for (const next of [...importedIds, ...dynamicallyImportedIds]) if (next.endsWith(".ts")) reached.add(next);
        }
        const modules = {};
        for (const module of [...reached].map(moduleOf).sort()) {
          modules[`${name}/${module}`] = `./dist/${folder}/${module}`;
          await write(module);
        }
        // The modules that apps import by the package's name, with the types for those written in TypeScript.
        const shortcuts = {
          [name]: [own.modules[name], shortcut, entry],
          ...Object.fromEntries(
            Object.entries(ENTRIES).map(([one, source]) => [
              `${name}/${one}`,
              [`host/moddable/entry-${one}`, `entry-${one}`, source],
            ]),
          ),
        };
        for (const [module, [source, file, types]] of Object.entries(shortcuts)) {
          await write(source, file);
          modules[module] = [`./dist/${folder}/${file}`, `./dist/types/${types.replace(/\.ts$/, "")}`];
        }
        // Modules of the SDK stay; those of ours must have been built.
        const isThere = (module) =>
          Object.hasOwn(modules, module) || !(module === name || module.startsWith(`${name}/`));
        const preload = (part) => [common, own].flatMap((one) => part(one)?.preload ?? []).filter(isThere);
        const always = preload((one) => one);
        const onChip = preload((one) => one.platforms?.esp32);
        for (const module of always) preloaded.always.add(module);
        for (const module of onChip) preloaded.onChip.add(module);
        // mcconfig takes the first source of a module, and those for all platforms come first: what differs must not be there.
        const isOf =
          (set) =>
          ([module]) =>
            Object.hasOwn(set, module);
        emit(
          `package/${manifest}`,
          json({
            include: [`./host/moddable/${sdk}`],
            modules: Object.fromEntries(Object.entries(modules).filter((one) => !isOf(variants)(one))),
            preload: always,
            platforms: {
              ...perPlatform(onChip, (files) => from(`./dist/${folder}`, files)),
              "...": { modules: Object.fromEntries(Object.entries(modules).filter(isOf(variants))) },
            },
          }),
        );
      }

      // From each of these folders to the one that the manifests of the SDK's modules are in.
      const up = (depth) => `${"../".repeat(depth)}host/moddable`;
      emit("package.json", json({ name, type: "module" }));
      emit(
        "manifest.json",
        json({
          include: [`${up(2)}/${FORMS["manifest-http.json"].sdk}`],
          preload: [...preloaded.always],
          platforms: perPlatform([...preloaded.onChip], (files) =>
            from(".", Object.fromEntries(Object.entries(files).filter(isVariant))),
          ),
        }),
      );
      emit(`${TLS_FOLDER}/package.json`, json({ name: `${name}/${TLS_FOLDER}`, type: "module" }));
      emit(`${TLS_FOLDER}/manifest.json`, json({ include: [`${up(5)}/${FORMS["manifest.json"].sdk}`] }));
    },
  });
  return options;
}

const targets = {
  // All entries share their modules: an error of any of them is an instance of the IotHubError of each.
  es: async (dist) => {
    const entries = {
      core: "src/index.ts",
      node: "host/node/index.ts",
      fetch: "host/fetch/index.ts",
      anchors: "host/anchors/index.ts",
      ...ENTRIES,
    };
    const options = await library(dist, "es", entries, "host/node", /^node:/);
    options.plugins.push(commentFree());
    return options;
  },
  moddable: firmware,
  // One script without imports for engines that load no modules: the parts that sign with a secret alone, as small as it
  // gets, under one global name.
  bare: async (dist) => {
    const { default: terser } = await import("@rollup/plugin-terser");
    return {
      input: "src/bare.ts",
      plugins: [
        await compile("src"),
        // The ways of other engines fall away.
        { name: "on-xs", renderChunk: (code) => code.replace(/(HAS_NATIVE_TEXT =)[^;]*;/, "$1 true;") },
        terser({ ecma: 2020, compress: { passes: 3, inline: 1 } }),
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
  // The package tencent-iothub-cli. Its libraries are ordinary dependencies, and the library is one of them.
  tools: async (dist) => {
    const folder = dist === join(root, "dist") ? join(root, "tools/dist") : join(dist, "tools");
    rmSync(folder, { recursive: true, force: true });
    const entries = { gateway: "tools/gateway/index.ts", diagnose: "tools/diagnose/index.ts" };
    const plugins = [await compile("tools", { declaration: true, declarationDir: `${folder}/types` })];
    return tools(folder, entries, plugins, isPackage);
  },
  // The same command line for `npm start` in a checkout, with the library from its sources: it must not end up in a
  // package.
  "tools-here": async () =>
    tools(join(root, "build/tools"), {}, [stripTypesPlugin()], (id) => isPackage(id) && sourceOf(id, root) === null),
};

function isPackage(id) {
  return /^[^./\0]/.test(id);
}

function tools(folder, entries, plugins, external) {
  return {
    input: { "tencent-iothub": `${root}tools/cli/tencent-iothub.ts`, ...entries },
    external,
    plugins,
    // Takes a third of the time and makes a difference of a twentieth in size.
    treeshake: false,
    output: {
      dir: folder,
      format: "es",
      generatedCode: "es2015",
      chunkFileNames: "[name].js",
      hoistTransitiveImports: false,
    },
  };
}

export default ({ configTarget, configDist = "dist" }) => {
  const wanted = configTarget?.split(",") ?? Object.keys(targets).filter((name) => name !== "tools-here");
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
