// Puts the package together in a folder, to be packed or published from there: `npm publish build/package`. In it,
// manifest.json and manifest-http.json map to the JavaScript in dist, so that an app's build compiles no TypeScript for
// the library; the checkout's files of these names map to the sources. Expects a complete `dist`.
//
//     node scripts/package.mjs [--dist FOLDER] [--output FOLDER] [--firmware]
//
// `--firmware` is for tests: it is content with what firmware needs of `dist`.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { dist: { type: "string" }, output: { type: "string" }, firmware: { type: "boolean" } },
});
const dist = values.dist ?? join(root, "dist");
const output = values.output ?? join(root, "build/package");

/** Where the parts of the package come from. */
const manifests = { "manifest.json": "moddable", "manifest-http.json": "http" };
const others = ["README.md", "LICENSE", "CHANGELOG.md", "api.md", "docs"];
const firmware = ["host/moddable/sdk.json", "host/moddable/sdk-tls.json", "host/moddable/anchors"];

const needed = ["types", ...Object.values(manifests), ...(values.firmware ? [] : ["es", "cli"])];
for (const folder of needed) {
  if (!existsSync(join(dist, folder))) throw new Error(`${join(dist, folder)} is missing; run: npm run build`);
}
rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
cpSync(dist, join(output, "dist"), {
  recursive: true,
  filter: (path) => !/[\\/]types[\\/]host[\\/]moddable[\\/]entry[^\\/]*$|[\\/](moddable|http)[\\/]package$/.test(path),
});
for (const [name, folder] of Object.entries(manifests)) {
  cpSync(join(dist, folder, "package", name), join(output, name));
}
for (const name of [...others, ...firmware]) {
  mkdirSync(dirname(join(output, name)), { recursive: true });
  cpSync(join(root, name), join(output, name), { recursive: true });
}
// The checkout's description is private, as what npm would pack there is not the package.
const {
  private: _,
  scripts,
  devDependencies,
  overrides,
  ...description
} = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
writeFileSync(join(output, "package.json"), `${JSON.stringify(description, null, 2)}\n`);
