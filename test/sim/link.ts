/**
 * Generates and links apps for ESP32 chips, without ESP-IDF and its compiler: what mcconfig generates without `-m` is a
 * makefile, whose `mc.xs.c` holds all modules, linked, and the preloaded ones evaluated.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, realpath, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { transformFile } from "@swc/core";
import { blocksOf } from "../../scripts/pages.mjs";
import type { ProgramTest } from "./programs.js";
import { run, wrap } from "./simulator.js";
import { root, type Workshop } from "./workshop.js";

const execute = promisify(execFile);
const platforms = ["esp32", "esp32/esp32c3", "esp32/esp32s3"];
const examples = ["sensor", "factory", "deep-sleep"];
const LIBRARY = "tencent-iothub-xs";
/** Modules of ours that only other modules of ours name when they run. */
const ENTRIES = [/\/main$/, /^main$/, new RegExp(`^${LIBRARY}(/(crypto|host|signing|topics))?$`)];

interface Linked {
  /** Names of the modules in the image, and the bytes of each one's bytecode. */
  readonly modules: ReadonlyMap<string, number>;
  /** What the compilers and the linker have printed. */
  readonly output: string;
  /** Folder of what mcconfig has generated. */
  readonly generated: string;
}

export class Links {
  readonly #workshop: Workshop;
  #environment: Promise<Record<string, string>> | undefined;

  constructor(workshop: Workshop) {
    this.#workshop = workshop;
  }

  tests(): ProgramTest[] {
    const tests: ProgramTest[] = [];
    for (const platform of platforms) {
      const checkout: [string, string][] = [];
      for (const app of [...examples, "readme", "readme-http"]) {
        tests.push({
          name: `${app} for ${platform}, of this checkout`,
          run: async () => {
            const linked = await this.#link(await this.#app(app, true), platform);
            checkout.push([app, linked.generated]);
            return judge(app, linked);
          },
        });
      }
      tests.push({
        name: `${platform}: sources and examples against the SDK's typings`,
        run: async () => {
          if (checkout.length === 0) throw new Error("no app was linked");
          return await checkTypes(checkout);
        },
      });
      for (const app of ["sensor", "readme", "readme-http"]) {
        tests.push({
          name: `${app} for ${platform}, of the package`,
          run: async () => {
            const linked = await this.#link(await this.#app(app, false), platform);
            if (/\btsc\b/.test(linked.output)) throw new Error("the package's modules were compiled from TypeScript");
            return judge(app, linked);
          },
        });
      }
    }
    return tests;
  }

  /** Folder of an app that is made once, against the sources or against the package. */
  async #app(name: string, checkout: boolean): Promise<string> {
    const base = join(this.#workshop.folder, checkout ? "link" : "link-package");
    const folder = join(base, name);
    if (existsSync(join(folder, "manifest.json"))) return folder;
    if (examples.includes(name)) {
      await mkdir(folder, { recursive: true });
      if (checkout) return wrap(folder, join(root, "examples", name, "manifest.json"));
      const copy = await this.#workshop.copyExample(name, join(base, "examples"));
      await this.#workshop.install(copy);
      return wrap(folder, join(copy, "manifest.json"));
    }
    const source = join(base, `${name}-source`);
    await mkdir(source, { recursive: true });
    const blocks = blocksOf("README.md");
    const program = blocks.find(({ platform }) => platform === "moddable");
    const manifest = blocks.find(({ language, text }) => language === "json" && text.includes('"modules"'));
    if (!program || !manifest) throw new Error("The README has no program with its manifest.");
    await writeFile(join(source, checkout ? "main.ts" : "main.js"), program.text);
    const library = name === "readme-http" ? "manifest-http.json" : "manifest.json";
    const text = manifest.text.replace(`${LIBRARY}/manifest.json`, `${LIBRARY}/${library}`);
    await writeFile(join(source, "manifest.json"), text);
    if (checkout) await this.#workshop.linkCheckout(source);
    else await this.#workshop.install(source);
    await mkdir(folder, { recursive: true });
    return wrap(folder, join(source, "manifest.json"));
  }

  async #link(app: string, platform: string): Promise<Linked> {
    this.#environment ??= this.#idf();
    const name = app.split("/").pop() as string;
    const installed = join(this.#workshop.folder, "link-package/examples", name, "node_modules", LIBRARY);
    // In a checkout the examples find the library by themselves.
    const library: Record<string, string> =
      existsSync(installed) && app.includes("link-package") ? { TENCENT_IOTHUB: installed } : {};
    const environment = { ...(await this.#environment), ...library };
    const output = join(`${app}-out`, platform.replace("/", "-"));
    await mkdir(output, { recursive: true });
    let text = await run("mcconfig", ["-p", platform, "-o", output], app, environment);
    const generated = join(output, "tmp", platform, "release", name);
    // One tsc a file would take minutes. What it would write is there before make looks; `checkTypes` does the
    // checking.
    for (const [module, source] of await moduleSources(generated)) {
      if (source.endsWith(".ts")) await transpile(source, join(generated, "tsc", module, source.replace(/ts$/, "js")));
    }
    text += await run("make", ["-f", join(generated, "makefile"), join(generated, "mc.xs.c")], app, environment);
    // The names of preloaded modules do not stand in mc.xs.c; it is made of these files, and of nothing else.
    const sizes = new Map<string, number>();
    for (const file of await readdir(join(generated, "modules"), { recursive: true })) {
      if (!file.endsWith(".xsb")) continue;
      sizes.set(moduleName(file.slice(0, -4)), (await stat(join(generated, "modules", file))).size);
    }
    return { modules: sizes, output: text, generated };
  }

  /** As much of ESP-IDF as the makefile asks for before it links. */
  async #idf(): Promise<Record<string, string>> {
    const [idf, bin] = [join(this.#workshop.folder, "idf"), join(this.#workshop.folder, "bin")];
    await mkdir(idf);
    await mkdir(bin);
    const identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@invalid", "-c", "commit.gpgsign=false"];
    await execute("git", ["init", "-q"], { cwd: idf });
    await execute("git", [...identity, "commit", "-q", "--allow-empty", "-m", "empty"], { cwd: idf });
    await execute("git", ["tag", "v6.0"], { cwd: idf });
    await writeFile(join(bin, "idf.py"), "#!/bin/sh\nmkdir -p build/config && : > build/config/sdkconfig.h\n");
    await chmod(join(bin, "idf.py"), 0o755);
    const typescript = join(root, "node_modules/.bin");
    const sdk = join(process.env.MODDABLE as string, "build/bin/lin/release");
    return { IDF_PATH: idf, PATH: [bin, sdk, typescript, process.env.PATH].join(":") };
  }
}

const transpiled = new Map<string, Promise<string>>();

async function transpile(source: string, output: string): Promise<void> {
  let code = transpiled.get(source);
  if (code === undefined) {
    code = transformFile(source, {
      configFile: false,
      swcrc: false,
      jsc: { parser: { syntax: "typescript" }, target: "es2022", transform: { useDefineForClassFields: true } },
    }).then((result) => result.code);
    transpiled.set(source, code);
  }
  await mkdir(dirname(output), { recursive: true });
  await writeFile(output, await code);
}

/** What an image must be; returns its sizes. */
async function judge(app: string, { modules, output, generated }: Linked): Promise<string> {
  const names = new Set(modules.keys());
  const ours = [...names].filter((name) => isOurs(name, app));
  const wrong: string[] = [];
  for (const line of output.split("\n")) {
    if (/not frozen/.test(line) && new RegExp(`warning: (${LIBRARY}|board|main|${app})`).test(line)) wrong.push(line);
    if (/\b(error TS|no modules match|cannot optimize)\b/.test(line) && line.includes(LIBRARY)) wrong.push(line);
  }
  const sources = await moduleSources(generated);
  const storage = sources.get(`${LIBRARY}/host/moddable/key-value`);
  if (!/\/embedded\/key-value\.[jt]s$/.test(storage ?? "") || !names.has("embedded:storage/key-value")) {
    wrong.push(`values are stored by ${storage}, not by embedded:storage/key-value`);
  }
  const imported = new Set<string>();
  for (const [name, source] of sources) {
    if (!isOurs(name, app)) continue;
    for (const specifier of await imports(source)) {
      const target = specifier.startsWith(".") ? resolveName(name, specifier) : specifier;
      imported.add(target);
      // The SDK's own modules have no bytecode if they are written in C alone: the list of sources knows them as well.
      if (!names.has(target) && !sources.has(target))
        wrong.push(`${name} imports ${target}, which is not in the image`);
    }
  }
  for (const name of ours) {
    if (!imported.has(name) && !ENTRIES.some((entry) => entry.test(name))) wrong.push(`stray module ${name}`);
  }
  if (wrong.length > 0) throw new Error(wrong.join("\n         "));
  const sum = (list: readonly string[]) => list.reduce((bytes, name) => bytes + (modules.get(name) ?? 0), 0);
  return `${sum([...names])} bytes of bytecode, ${sum(ours)} of them ours in ${ours.length} modules`;
}

function isOurs(name: string, app: string): boolean {
  return [LIBRARY, "board", "main", app].some((own) => name === own || name.startsWith(`${own}/`));
}

/** Modules by their names, with their sources: from the makefile, which has one rule for each. */
async function moduleSources(generated: string): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  const makefile = await readFile(join(generated, "makefile"), "utf8");
  for (const [, name, source] of makefile.matchAll(/^\$\(MODULES_DIR\)\/(.+)\.xsb: (\S+)/gm)) {
    const path = source.startsWith("$(TMP_DIR)/tsc/")
      ? `${source.slice("$(TMP_DIR)/tsc/".length + name.length).replace(/\.js$/, "")}.ts`
      : source.replace("$(TMP_DIR)", generated);
    sources.set(moduleName(name), path);
  }
  return sources;
}

/** `~.embedded/io/analog` is the file of `embedded:io/analog`. */
function moduleName(file: string): string {
  return file.replace(/^~\.([a-z]+)\//, "$1:");
}

async function imports(source: string): Promise<string[]> {
  if (source.endsWith(".json")) return [];
  const text = await readFile(source, "utf8");
  const found: string[] = [];
  for (const [, what, from] of text.matchAll(/(?:^|\*\/ )(?:import|export)\b([^;"]*?)\bfrom "([^"]+)";/gm)) {
    // Types leave nothing behind, neither do imports of nothing else.
    const names =
      /\{([^}]*)\}/
        .exec(what)?.[1]
        .split(",")
        .map((name) => name.trim())
        .filter(Boolean) ?? [];
    const onlyTypes = names.length > 0 && !/^\s*\w+\s*,/.test(what) && names.every((name) => name.startsWith("type "));
    if (!/^\s*type\b/.test(what) && !onlyTypes) found.push(from);
  }
  return found;
}

function resolveName(importer: string, specifier: string): string {
  const parts = importer.split("/").slice(0, -1);
  for (const part of specifier.replace(/\.js$/, "").split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Compiles all sources of these apps at once, with the options and the paths that mcconfig has generated. */
async function checkTypes(apps: readonly [string, string][]): Promise<string> {
  const sdk = await realpath(process.env.MODDABLE as string);
  const paths: Record<string, unknown> = {};
  const files = new Set<string>();
  let options: Record<string, unknown> = {};
  for (const [app, generated] of apps) {
    const base = JSON.parse(await readFile(join(generated, "modules/tsconfig-base.json"), "utf8"));
    options = base.compilerOptions;
    for (const [name, path] of Object.entries<string[]>(base.compilerOptions.paths)) {
      // The SDK's modules in JavaScript have no types, and some are no JavaScript that TypeScript knows.
      if (!path[0].startsWith(sdk) || existsSync(`${path[0]}.d.ts`)) paths[name] ??= path;
    }
    for (const [name, source] of await moduleSources(generated)) {
      if (isOurs(name, app) && /\.[jt]s$/.test(source)) files.add(await realpath(source));
    }
  }
  const [, generated] = apps[0];
  const types = [...(options.types as string[]), join(root, "examples/declarations/native")];
  const project = join(generated, "tsconfig-all.json");
  await writeFile(
    project,
    JSON.stringify({
      compilerOptions: {
        ...options,
        paths,
        types,
        rootDir: "/",
        allowJs: true,
        checkJs: true,
        noEmit: true,
        strict: true,
      },
      files: [...files],
    }),
  );
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = await execute(process.execPath, [tsc, "-p", project], { maxBuffer: 1 << 24 }).catch((error) => {
    throw new Error(String(error.stdout).slice(0, 4000));
  });
  return `${files.size} files ${stdout}`.trim();
}
