// Puts the packages together in folders, to be packed or published from there: `npm publish build/package`, then
// `npm publish build/package-cli`. In the library's, manifest.json and manifest-http.json map to the JavaScript in dist,
// so that an app's build compiles no TypeScript for the library; the checkout's files of these names map to the sources.
// Expects a complete `dist` and `tools/dist`.
//
//     node scripts/package.mjs [--dist FOLDER] [--output FOLDER] [--firmware]
//
// With `--dist`, the build of the tools is expected in its folder `tools`, and the package goes to OUTPUT-cli. `--firmware`
// is for tests: it is content with what firmware needs of `dist`.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { pageForPackage } from "./pages.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { dist: { type: "string" }, output: { type: "string" }, firmware: { type: "boolean" } },
});
const dist = values.dist ?? join(root, "dist");
const output = values.output ?? join(root, "build/package");

const manifests = ["manifest.json", "manifest-http.json"];
const pages = ["README.md", "CHANGELOG.md", "docs/errors.md"];
const firmware = ["host/moddable/sdk.json", "host/moddable/sdk-tls.json", "host/moddable/anchors"];

start(output, ["types", "moddable", ...(values.firmware ? [] : ["es", "bare"])], dist);
for (const part of ["es", "moddable", "bare"]) {
  const isShipped = (path) => !/[\\/]moddable[\\/]package$/.test(path);
  if (existsSync(join(dist, part)))
    cpSync(join(dist, part), join(output, "dist", part), { recursive: true, filter: isShipped });
}
for (const name of manifests) cpSync(join(dist, "moddable/package", name), join(output, name));
for (const name of ["LICENSE", ...firmware]) copy(name, output);
for (const page of pages) writePage(page, join(output, page), pages);
const description = describe("package.json", output);
copyDeclarations(description);

if (!values.firmware) {
  const tools = values.dist === undefined ? join(root, "tools/dist") : join(dist, "tools");
  const cli = `${output}-cli`;
  start(cli, ["tencent-iothub.js", "types"], tools);
  cpSync(tools, join(cli, "dist"), {
    recursive: true,
    filter: (path) => !/[\\/]types[\\/](host|src)$|[\\/]types[\\/]tools[\\/]cli$/.test(path),
  });
  for (const name of ["bin", "templates"]) cpSync(join(root, "tools", name), join(cli, name), { recursive: true });
  writePage("tools/README.md", join(cli, "README.md"), []);
  // Served as they are; what only the checkout's compiler reads stays here.
  const isServed = (path) => !/[\\/](tsconfig\.json|[\w-]+\.d\.ts)$/.test(path);
  cpSync(join(root, "tools/ui/page"), join(cli, "ui/page"), { recursive: true, filter: isServed });
  copy("LICENSE", cli);
  describe("tools/package.json", cli);
}

/** Clears the folder of a package. */
function start(folder, parts, from) {
  for (const part of parts) {
    if (!existsSync(join(from, part))) throw new Error(`${join(from, part)} is missing; run: npm run build`);
  }
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

function copy(name, folder) {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  cpSync(join(root, name), join(folder, name), { recursive: true });
}

function writePage(page, file, shipped) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    pageForPackage(page, (path) => shipped.includes(path)),
  );
}

/** Writes package.json. The checkout's are private, because npm would not pack the package there. */
function describe(file, folder) {
  const {
    private: _,
    scripts,
    workspaces,
    devDependencies,
    overrides,
    ...description
  } = JSON.parse(readFileSync(join(root, file), "utf8"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(description, null, 2)}\n`);
  return description;
}

/** Copies the declarations that the entries reach; others are not needed. */
function copyDeclarations({ exports }) {
  // Not all were built for firmware alone.
  const entries = Object.values(exports)
    .flatMap(typesOf)
    .filter((file) => !values.firmware || existsSync(join(dist, file.slice("./dist/".length))));
  for (const manifest of manifests) {
    const { modules, platforms } = JSON.parse(readFileSync(join(output, manifest), "utf8"));
    const all = [modules, ...Object.values(platforms).map((platform) => platform.modules)];
    entries.push(
      ...all
        .flatMap(Object.values)
        .flat()
        .filter((file) => file.startsWith("./dist/types/"))
        .map((file) => `${file}.d.ts`),
    );
  }
  const reached = new Set(entries.map((file) => resolve(output, file)));
  for (const file of reached) {
    const text = readFileSync(join(dist, file.slice(join(output, "dist").length)), "utf8");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    for (const [, from] of text.matchAll(/(?:\bfrom |\bimport\()"(\.{1,2}\/[^"]+)\.js"/g)) {
      reached.add(resolve(dirname(file), `${from}.d.ts`));
    }
  }
}

/** Paths of declarations in a part of `exports`. */
function typesOf(part) {
  if (typeof part === "string") return [];
  return Object.entries(part).flatMap(([condition, value]) => (condition === "types" ? [value] : typesOf(value)));
}
