// The reference of every entry of both packages, written by typedoc to build/docs: `npm run docs`. Every warning is an
// error: links that lead nowhere, types that an entry mentions and does not export, unknown tags.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Application, ReflectionKind } from "typedoc";
import { entrySources } from "./entries.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = "node_modules/.cache/tencent-iothub-xs/docs";
/** Names of entries by their sources: the shortest that is not the root, which has another source on each platform. */
const names = new Map();
for (const [name, source] of Object.entries(entrySources())) {
  const known = names.get(source);
  const isRoot = !name.includes("/");
  if (!isRoot && (known === undefined || name.length < known.length)) names.set(source, name);
}
const sources = [...names.keys()];
const declarations = ["sdk", "crypt", "storage"].map((name) => `host/moddable/declarations/${name}.d.ts`);

mkdirSync(join(root, cache), { recursive: true });
const config = {
  extends: join(root, "test/tsconfig.json"),
  include: [],
  files: [...sources, ...declarations].map((file) => join(root, file)),
};
writeFileSync(join(root, cache, "tsconfig.json"), JSON.stringify(config));

const app = await Application.bootstrapWithPlugins({
  name: "tencent-iothub-xs",
  basePath: root,
  entryPoints: sources.map((file) => join(root, file)),
  tsconfig: join(root, cache, "tsconfig.json"),
  out: join(root, "build/docs"),
  // Types that an entry mentions and does not export are part of the reference, apart from the exports.
  plugin: ["typedoc-plugin-missing-exports"],
  internalModule: "types of these exports",
  readme: "none",
  disableGit: true,
  disableSources: true,
  excludePrivate: true,
  excludeInternal: true,
  validation: {
    notExported: true,
    invalidLink: true,
    rewrittenLink: true,
    notDocumented: false,
    unusedMergeModuleWith: true,
  },
  treatWarningsAsErrors: true,
});
const project = await app.convert();
if (project === undefined) process.exit(1);
for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
  const source = `${module.name}.ts`;
  module.name = names.get(source) ?? names.get(`${module.name}/index.ts`) ?? module.name;
}
app.validate(project);
await app.generateDocs(project, join(root, "build/docs"));
const entries = project.getReflectionsByKind(ReflectionKind.Module);
const exported = entries.reduce((sum, module) => sum + (module.children?.length ?? 0), 0);
console.log(
  `${entries.length} entries, ${exported} exports, ${app.logger.errorCount} errors, ${app.logger.warningCount} warnings`,
);
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exitCode = 1;
