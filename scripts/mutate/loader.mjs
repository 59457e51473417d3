/** Loads the project's TypeScript as modules that can be loaded anew for every mutant, in the context of this process. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SourceTextModule, SyntheticModule } from "node:vm";
import { transformSync } from "@swc/core";

/** Options of TypeScript by file, as in jest's configuration. */
async function transforms(root) {
  const { transform } = (await import(pathToFileURL(join(root, "jest.config.mjs")).href)).default;
  return Object.entries(transform).map(([pattern, [, options]]) => [new RegExp(pattern), options]);
}

export async function createLoader(root) {
  const rules = await transforms(root);
  const cache = new Map();
  const external = new Map();
  const { resolve: resolvePackage } = createRequire(join(root, "package.json"));

  const compile = (path, source) => {
    if (!path.endsWith(".ts")) return source;
    const options = rules.find(([pattern]) => pattern.test(path))?.[1];
    return transformSync(source, { ...options, filename: path, configFile: false, swcrc: false, sourceMaps: false })
      .code;
  };

  const compiled = (path) => {
    let entry = cache.get(path);
    if (entry === undefined) {
      const source = readFileSync(path, "utf8");
      entry = path.endsWith(".json") ? { json: JSON.parse(source) } : { code: compile(path, source) };
      cache.set(path, entry);
    }
    return entry;
  };

  const synthetic = (names, values, identifier) =>
    new SyntheticModule(
      names,
      function () {
        for (const name of names) this.setExport(name, values[name]);
      },
      { identifier },
    );

  const locate = (specifier, from) => {
    const path = specifier.startsWith("file:") ? fileURLToPath(specifier) : resolve(dirname(from), specifier);
    for (const candidate of [path.replace(/\.js$/, ".ts"), path, `${path}.ts`]) {
      if (existsSync(candidate)) return candidate;
    }
    throw new Error(`${specifier} of ${from} is not there.`);
  };

  /**
   * A separate module registry.
   * @param {Map<string, string>} changed sources that take the place of what is on disk, by path
   * @param {Record<string, object>} given modules that are there already, by name
   */
  function registry(changed, given) {
    const modules = new Map();
    const load = async (specifier, from) => {
      if (given[specifier]) {
        const values = given[specifier];
        return remember(specifier, () => synthetic(Object.keys(values), values, specifier));
      }
      if (!/^(\.|\/|file:)/.test(specifier)) {
        const target = specifier.startsWith("node:") ? specifier : pathToFileURL(resolvePackageOf(specifier)).href;
        let values = external.get(target);
        if (values === undefined) {
          values = await import(target);
          external.set(target, values);
        }
        return remember(target, () => synthetic(Object.keys(values), values, target));
      }
      const path = locate(specifier, from);
      return remember(path, () => {
        const source = changed.get(path);
        const { json, code } = source === undefined ? compiled(path) : { code: compile(path, source) };
        if (json !== undefined) return synthetic(["default"], { default: json }, path);
        return new SourceTextModule(code, {
          identifier: path,
          initializeImportMeta(meta) {
            meta.url = pathToFileURL(path).href;
          },
          importModuleDynamically: async (name) => evaluated(await load(name, path)),
        });
      });
    };
    const remember = (key, make) => {
      let module = modules.get(key);
      if (module === undefined) {
        module = make();
        modules.set(key, module);
      }
      return module;
    };
    const evaluated = async (module) => {
      if (module.status === "unlinked") await module.link((name, { identifier }) => load(name, identifier));
      await module.evaluate();
      return module;
    };
    return { import: async (path) => (await evaluated(await load(path, path))).namespace };
  }

  const resolvePackageOf = (specifier) => {
    try {
      return fileURLToPath(import.meta.resolve(specifier));
    } catch {
      return resolvePackage(specifier);
    }
  };

  return { registry };
}
