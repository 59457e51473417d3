/** The manifests name each module of the library once, preload it, and link nothing else. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "@jest/globals";
import { transformSync } from "@swc/core";

const root = fileURLToPath(new URL("../../", import.meta.url));
const PACKAGE = "tencent-iothub-xs";

/**
 * Modules that are evaluated into RAM at each start, by platform, and why. Everything else lies in flash.
 * On a simulator the SDK's `preference` reads `mc/config` when it is evaluated and cannot be preloaded, nor can what
 * imports it.
 */
const importingPreference = ["config", "device", "host", "key-value", "storage"].map((name) => `host/moddable/${name}`);
const notPreloaded: Record<string, { full: string[]; http: string[] }> = {
  esp32: { full: [], http: [] },
  lin: {
    full: [...importingPreference, "host/moddable/index", ""],
    http: [...importingPreference, "host/moddable/index-http", ""],
  },
};
const platforms = Object.keys(notPreloaded);

interface Part {
  readonly include?: string | string[];
  readonly modules?: Record<string, string | string[]>;
  readonly resources?: Record<string, string | string[]>;
  readonly preload?: string[];
}

interface Manifest extends Part {
  readonly platforms?: Record<string, Part>;
}

interface Merged {
  /** File of each module, by the module's name without the package's. */
  readonly modules: Map<string, string>;
  readonly resources: string[];
  readonly preload: string[];
}

const list = (value: string | string[] | undefined) => (value === undefined ? [] : ([] as string[]).concat(value));
const read = (path: string): Manifest => JSON.parse(readFileSync(join(root, path), "utf8"));

/** The project's own part of what mcconfig makes of a manifest. */
function merge(path: string, platform: string, merged?: Merged): Merged {
  const result: Merged = merged ?? { modules: new Map(), resources: [], preload: [] };
  const manifest = read(path);
  const own = (source: string) => !source.startsWith("$(MODDABLE)");
  for (const part of [manifest, manifest.platforms?.[platform] ?? manifest.platforms?.["..."] ?? {}]) {
    for (const include of list(part.include).filter(own)) merge(join(dirname(path), include), platform, result);
    for (const [target, value] of Object.entries(part.modules ?? {})) {
      for (const source of list(value).filter(own)) {
        const file = `${join(dirname(path), source)}.ts`;
        const name = target.replace("*", () => file.slice(file.lastIndexOf("/") + 1, -3));
        if (result.modules.has(name)) throw new Error(`${name} is mapped twice.`);
        result.modules.set(name.slice(PACKAGE.length + 1), file);
      }
    }
    for (const value of Object.values(part.resources ?? {})) {
      result.resources.push(...list(value).map((source) => `${join(dirname(path), source)}.der`));
    }
    result.preload.push(...(part.preload ?? []).filter((name) => name.startsWith(PACKAGE)));
  }
  return result;
}

const swc = { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, configFile: false, swcrc: false } as const;

function importsOf(file: string): string[] {
  // What is left has a comment at most before an import on its line.
  const { code } = transformSync(readFileSync(join(root, file), "utf8"), swc);
  return [...code.matchAll(/(?:^|\*\/ )(?:import|export)\b[^;]*?\bfrom ["']([^"']+)["'];/gm)].map(([, from]) => from);
}

/** Modules that a module imports, directly or not; relative imports resolve by module names on XS. */
function reachedFrom(name: string, modules: ReadonlyMap<string, string>, seen = new Set<string>()): Set<string> {
  if (seen.has(name)) return seen;
  seen.add(name);
  const file = modules.get(name);
  if (file === undefined) return seen;
  for (const from of importsOf(file)) {
    if (from.startsWith(".")) reachedFrom(join(dirname(name), from).replace(/\.js$/, ""), modules, seen);
    else if (from.startsWith(`${PACKAGE}/`)) reachedFrom(from.slice(PACKAGE.length + 1), modules, seen);
  }
  return seen;
}

const builds = platforms.flatMap((platform) => [
  { manifest: "manifest.json", platform, kind: "full" as const },
  { manifest: "manifest-http.json", platform, kind: "http" as const },
]);

describe.each(builds)("$manifest on $platform", ({ manifest, platform, kind }) => {
  const { modules, resources, preload } = merge(manifest, platform);

  test("maps exactly the modules that the entries import", () => {
    const reached = new Set<string>();
    for (const entry of ["", "crypto", "host", "signing", "topics"]) reachedFrom(entry, modules, reached);
    expect([...modules.keys()].sort()).toEqual([...reached].sort());
  });

  test("maps existing files", () => {
    for (const file of [...modules.values(), ...resources])
      expect([file, existsSync(join(root, file))]).toEqual([file, true]);
  });

  test("preloads every module except the listed ones", () => {
    const preloaded = preload.map((name) => name.slice(PACKAGE.length + 1));
    expect(new Set(preloaded).size).toBe(preloaded.length);
    expect(preloaded.filter((name) => !modules.has(name))).toEqual([]);
    const missing = [...modules.keys()].filter((name) => !preloaded.includes(name));
    expect(missing.sort()).toEqual([...notPreloaded[platform][kind]].sort());
  });
});

test("platform modules have no relative imports, and the same exports", () => {
  const [esp32, lin] = ["esp32", "lin"].map((platform) => merge("manifest.json", platform).modules);
  const differing = [...esp32].filter(([name, file]) => lin.get(name) !== file);
  expect(differing.map(([name]) => name)).toEqual(["host/moddable/platform", "host/moddable/key-value"]);
  for (const [name, file] of differing) {
    const variants = [file, lin.get(name) as string];
    for (const variant of variants) expect(importsOf(variant).filter((from) => from.startsWith("."))).toEqual([]);
    const [one, other] = variants.map((variant) =>
      [...readFileSync(join(root, variant), "utf8").matchAll(/^export (?:const|function) (\w+)(.*?)[{=]/gm)].map(
        ([, exported, type]) => exported + type,
      ),
    );
    expect(one.length).toBeGreaterThan(0);
    expect(one.sort()).toEqual(other.sort());
  }
});

test("the resources are exactly the trust anchors", () => {
  const files = readdirSync(join(root, "host/moddable/anchors")).map((name) => `host/moddable/anchors/${name}`);
  expect(merge("manifest.json", "esp32").resources.sort()).toEqual(files.sort());
  expect(merge("manifest-http.json", "esp32").resources).toEqual([]);
});

/** Every manifest of the project; mcconfig links whatever file a wildcard matches, a tsconfig.json too. */
function manifests(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return /^(\.|node_modules|dist|build|coverage)/.test(entry.name) ? [] : manifests(path);
    if (!/^(manifest.*|sdk.*)\.json$/.test(entry.name)) return [];
    return [relative(root, path)];
  });
}

test("wildcards of manifests match only sources", () => {
  const strays: string[] = [];
  const all = manifests();
  expect(all).toEqual(
    expect.arrayContaining(["manifest.json", "host/moddable/manifest.json", "host/moddable/sdk-tls.json"]),
  );
  for (const path of all) {
    const manifest = read(path);
    for (const part of [manifest, ...Object.values(manifest.platforms ?? {})]) {
      const sources = [...Object.values(part.modules ?? {}), ...Object.values(part.resources ?? {})].flat();
      for (const source of sources.filter((source) => source.endsWith("*") && !source.startsWith("$(MODDABLE)"))) {
        const folder = join(dirname(path), dirname(source));
        for (const { name } of readdirSync(join(root, folder), { withFileTypes: true }).filter((file) =>
          file.isFile(),
        )) {
          if (!/^[^.].*(?<!\.d)\.(ts|js|c|h)$/.test(name)) strays.push(`${path}: ${source} matches ${folder}/${name}`);
        }
      }
    }
  }
  expect(strays).toEqual([]);
});

test("the simulator's app has every case of the conformance suite", () => {
  const listed = list(read("test/sim/app/manifest.json").modules?.[`${PACKAGE}/test/conformance/*`]);
  const cases = readdirSync(join(root, "test/conformance")).filter((name) => name.endsWith(".cases.ts"));
  expect(cases.length).toBeGreaterThan(12);
  expect(cases.filter((name) => !listed.includes(`../../conformance/${name.slice(0, -3)}`))).toEqual([]);
});

/** Paths of what is not frozen in a value, functions and classes aside. */
function unfrozen(value: unknown, path: string): string[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value).flatMap(([key, member]) => unfrozen(member, `${path}.${key}`));
  return Object.isFrozen(value) ? inner : [path, ...inner];
}

// The linker warns of such an object, which a device would have to copy to RAM to change it.
test("exports of the core are deeply frozen", async () => {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  expect(files.length).toBeGreaterThan(30);
  const found: string[] = [];
  for (const file of files) {
    const module = await import(join(root, "src", file));
    for (const [name, value] of Object.entries(module)) found.push(...unfrozen(value, `${file}: ${name}`));
  }
  expect(found).toEqual([]);
});

test.each(["bench/moddable/main.js", "test/sim/app/main.ts"])("%s imports modules that exist", (app) => {
  const text = readFileSync(join(root, app), "utf8");
  const names = [...text.matchAll(/from "tencent-iothub-xs\/([^"]+)"/g)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(2);
  expect(names.filter((name) => !existsSync(join(root, `${name}.ts`)))).toEqual([]);
});
