// Lets Node run the project's TypeScript: `node --import ./test/support/typescript.mjs file.ts`.
import { register } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isMainThread } from "node:worker_threads";
import { sourceOf, stripTypes } from "../../scripts/strip-types.mjs";

if (isMainThread) register(import.meta.url);

export async function resolve(specifier, context, next) {
  const isFile = context.parentURL?.startsWith("file:") && !specifier.startsWith("node:");
  const source = isFile ? sourceOf(specifier, fileURLToPath(context.parentURL)) : null;
  if (source !== null) return { url: pathToFileURL(source).href, shortCircuit: true };
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.startsWith("file:") || !url.endsWith(".ts")) return next(url, context);
  const { code } = await stripTypes(fileURLToPath(url), { sourceMaps: "inline" });
  return { format: "module", source: code, shortCircuit: true };
}
