// Type-checks every part of the project with its tsconfig, which enforces the layering by the files that it includes.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { writeDocExamples } from "./doc-examples.mjs";
import { entrySources } from "./entries.mjs";
import { platforms, programsFor } from "./pages.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = "node_modules/.cache/tencent-iothub-xs";
const projects = [
  "src",
  "host/anchors",
  "host/node",
  "host/fetch",
  "host/moddable",
  "mocks",
  "tools",
  "tools/ui/page",
  "test/conformance",
  "test",
  "bench",
  "fleet",
];
projects.push("test/sim", "test/sim/app", "examples");
projects.push(...pages(), ...writeDocExamples(root, cache));
let failed = 0;
const sdk = process.env.MODDABLE;
if (sdk) {
  projects.push(...againstSdk(sdk));
  for (const name of contradictions(sdk)) {
    console.log(`failed host/moddable/declarations/sdk.d.ts declares what the SDK's typings do: ${name}`);
    failed++;
  }
} else {
  console.log("skipped the SDK's own typings: MODDABLE does not name a Moddable SDK");
}
for (const project of projects.filter((name) => existsSync(`${root}${name}/tsconfig.json`))) {
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", project], {
    cwd: root,
    stdio: "inherit",
  });
  console.log(`${status === 0 ? "ok    " : "failed"} ${project}`);
  failed += status === 0 ? 0 : 1;
}
process.exitCode = failed ? 1 : 0;

/**
 * Projects of every Moddable app on every platform as compiled by mcconfig: with the SDK's typings, the modules mapped by
 * the manifests, and only those of our declarations that the manifest includes. mcconfig writes the options; tsc then
 * checks all sources at once, whereas mcconfig compiles them one by one.
 */
function againstSdk(sdk) {
  const apps = ["examples", "test/sim"].flatMap((folder) =>
    readdirSync(`${root}${folder}`)
      .map((name) => `${folder}/${name}`)
      .filter((app) => existsSync(`${root}${app}/manifest.json`) && sourceOf(`${root}${app}/main`)),
  );
  apps.push(httpApp());
  const projects = new Map();
  for (const app of apps) {
    for (const platform of ["esp32", "esp32/esp32c3", "esp32/esp32s3", "sim"]) {
      const project = `${cache}/sdk/${app.split("/").pop()}/${platform.replace("/", "-")}`;
      const options = compilerOptions(sdk, app, platform, project);
      const files = Object.values(options.paths).flatMap(([path]) => (path.startsWith(root) ? sourceOf(path) : []));
      // A C function has no module, and therefore no typings: the only thing that an example may declare.
      if (app.startsWith("examples/")) files.push(...nativeFunctions());
      const config = JSON.stringify({
        compilerOptions: { ...options, noEmit: true, skipLibCheck: true, allowJs: true, checkJs: true },
        files,
      });
      if (projects.has(config)) continue;
      writeFileSync(`${root}${project}/tsconfig.json`, config);
      projects.set(config, project);
    }
  }
  return [...projects.values()];
}

function sourceOf(path) {
  return [".ts", ".js"].map((ending) => `${path}${ending}`).find((file) => existsSync(file));
}

function nativeFunctions() {
  const folder = `${root}examples/declarations`;
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).map((name) => `${folder}/${name}`);
  return files.filter((file) => !readFileSync(file, "utf8").includes("declare module"));
}

/** Returns mcconfig's options of tsc for an app on a platform. Without `-m`, mcconfig writes files and builds nothing. */
function compilerOptions(sdk, app, platform, project) {
  rmSync(`${root}${project}`, { recursive: true, force: true });
  mkdirSync(`${root}${project}`, { recursive: true });
  const system = process.platform === "darwin" ? "mac" : "lin";
  const { status, stdout, stderr, error } = spawnSync("mcconfig", ["-p", platform, "-o", `${root}${project}`], {
    cwd: `${root}${app}`,
    env: { ...process.env, PATH: `${sdk}/build/bin/${system}/release:${process.env.PATH}` },
    encoding: "utf8",
  });
  const written = readdirSync(`${root}${project}`, { recursive: true }).find((file) =>
    file.endsWith("tsconfig-base.json"),
  );
  if (status !== 0 || written === undefined) {
    throw new Error(`mcconfig -p ${platform} failed in ${app}: ${error?.message ?? stdout + stderr}`);
  }
  const read = (file) => JSON.parse(readFileSync(`${root}${project}/${file}`, "utf8")).compilerOptions;
  const { outDir: _, rootDir: _root, sourceMap: _map, noEmitOnError: _emit, ...options } = read(written);
  // Without the SDK's JavaScript modules, which have no types, most chips have the same options.
  const typed = ([path]) => (path.startsWith(sdk) ? existsSync(`${path}.d.ts`) : sourceOf(path) !== undefined);
  options.paths = Object.fromEntries(Object.entries(options.paths).filter(([, paths]) => typed(paths)));
  return options;
}

/** Writes an app without TLS, since all examples use it. */
function httpApp() {
  const app = `${cache}/http`;
  mkdirSync(`${root}${app}`, { recursive: true });
  const manifest = {
    include: ["$(MODDABLE)/examples/manifest_base.json", `${root}manifest-http.json`],
    modules: { "*": "./main" },
  };
  writeFileSync(`${root}${app}/manifest.json`, JSON.stringify(manifest));
  writeFileSync(
    `${root}${app}/main.ts`,
    'import { Device } from "tencent-iothub-xs";\n\nnew Device({ url: "http://gateway.test" }).close();\n',
  );
  return app;
}

/**
 * Finds declarations of modules in the manifest's declarations that the SDK's typings contain, too. TypeScript would
 * silently merge both if the SDK's file is loaded, and use only ours otherwise.
 * @returns names that both declare
 */
function contradictions(sdk) {
  const declared = (text) =>
    new Map(
      [...text.matchAll(/^declare module ["']([^"']+)["'] \{\n([\s\S]*?)^\}/gm)].map(([, module, body]) => [
        module,
        [
          ...body.matchAll(/^\s*export (?:default |declare )?(?:class|const|let|var|function|interface|type) (\w+)/gm),
        ].map(([, name]) => name),
      ]),
    );
  const typings = readdirSync(`${sdk}/typings`, { recursive: true }).filter((file) => file.endsWith(".d.ts"));
  const theirs = new Map(typings.flatMap((file) => [...declared(readFileSync(`${sdk}/typings/${file}`, "utf8"))]));
  const ours = declared(readFileSync(`${root}host/moddable/declarations/sdk.d.ts`, "utf8"));
  return [...ours].flatMap(([module, names]) =>
    theirs.has(module)
      ? names
          .filter((name) => name === "default" || theirs.get(module).includes(name))
          .map((name) => `${module}: ${name}`)
      : [],
  );
}

/** The code of the pages: a project for each platform, with each block as a module. */
function pages() {
  const { compilerOptions: moddable } = JSON.parse(readFileSync(`${root}host/moddable/tsconfig.json`, "utf8"));
  const node = { extends: "host/node/tsconfig.json", types: [`${root}node_modules/@types/node`] };
  const projects = {
    // Without a folder, names of packages are looked up from where this configuration stands.
    moddable: {
      extends: "host/moddable/tsconfig.json",
      types: moddable.types.map((name) => `${root}node_modules/${name}.d.ts`),
    },
    node,
    jest: node,
    // `fetch` and what belongs to it are declared beside its host.
    fetch: { extends: "host/fetch/tsconfig.json" },
  };
  return platforms.map((platform) => {
    const project = `${cache}/pages/${platform}`;
    rmSync(`${root}${project}`, { recursive: true, force: true });
    mkdirSync(`${root}${project}`, { recursive: true });
    for (const { page, line, text } of programsFor(platform)) {
      writeFileSync(`${root}${project}/${page.replaceAll(/[/.]/g, "-")}-line-${line}.ts`, text);
    }
    // The blocks stand where package.json says they are modules.
    writeFileSync(`${root}${project}/package.json`, '{ "type": "module" }');
    const { extends: base, ...options } = projects[platform];
    const sources = Object.entries(entrySources(platform === "jest" ? "node" : platform));
    const paths = Object.fromEntries(sources.map(([name, file]) => [name, [`${root}${file}`]]));
    const include = ["*.ts", ...(platform === "moddable" ? [`${root}host/moddable/declarations/*.d.ts`] : [])];
    const config = { extends: `${root}${base}`, compilerOptions: { rootDir: root, paths, ...options }, include };
    writeFileSync(`${root}${project}/tsconfig.json`, JSON.stringify(config));
    return project;
  });
}
