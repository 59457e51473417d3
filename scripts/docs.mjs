// The reference of every entry of both packages, written by typedoc to build/docs: `npm run docs`. Every warning is an
// error: links that lead nowhere, unknown tags, types that an export mentions and no page has.
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

/**
 * Types that exports mention and no entry exports, by their sources: they get a page, so that every option is on one,
 * but no program needs their names.
 */
const mentioned = {
  "src/errors.ts": ["ResponseDetails", "ResponseErrorCode"],
  "src/health.ts": ["LastError", "OutboxStats", "WaitReason", "WaitState"],
  "src/outbox/delivery.ts": ["FlushReason"],
  "src/outbox/outbox.ts": ["Outbox"],
  "src/outbox/pack.ts": ["TimeFormat"],
  "src/outbox/record.ts": ["OutboxMessage"],
  "src/request/client.ts": ["FailureDetails", "RequestTiming"],
  "src/request/clock-offset.ts": ["ClockCorrectionOptions"],
  "src/request/rate-limit.ts": ["RateLimit"],
};
/** Implementations behind exports: base classes, tables from which types are derived. */
const internal = [
  "src/errors.ts:errorClasses",
  "src/errors.ts:errorTable",
  "src/crypto/merkle-damgard.ts:Beginning",
  "host/moddable/config.ts:Settings",
  "host/moddable/device.ts:HostDevice",
  "host/moddable/http.ts:Http",
  "host/moddable/resolver.ts:Resolver",
];

mkdirSync(join(root, cache), { recursive: true });
const types = join(root, cache, "types.ts");
writeFileSync(
  types,
  Object.entries(mentioned)
    .map(([file, list]) => `export type { ${list.join(", ")} } from "${join(root, file)}";\n`)
    .join(""),
);
const config = {
  extends: join(root, "test/tsconfig.json"),
  include: [],
  files: [types, ...[...sources, ...declarations].map((file) => join(root, file))],
};
writeFileSync(join(root, cache, "tsconfig.json"), JSON.stringify(config));

const app = await Application.bootstrap({
  name: "tencent-iothub-xs",
  basePath: root,
  entryPoints: [...sources.map((file) => join(root, file)), types],
  tsconfig: join(root, cache, "tsconfig.json"),
  out: join(root, "build/docs"),
  intentionallyNotExported: internal,
  readme: "none",
  disableGit: true,
  disableSources: true,
  excludePrivate: true,
  excludeProtected: true,
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
  module.name = names.get(`${module.name}.ts`) ?? names.get(`${module.name}/index.ts`) ?? "types of these exports";
}
app.validate(project);
await app.generateDocs(project, join(root, "build/docs"));
const entries = project.getReflectionsByKind(ReflectionKind.Module);
const exported = entries.reduce((sum, module) => sum + (module.children?.length ?? 0), 0);
console.log(
  `${names.size} entries, ${exported} exports, ${app.logger.errorCount} errors, ${app.logger.warningCount} warnings`,
);
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exitCode = 1;
