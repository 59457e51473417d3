// Bundles each program to one file in build/: a worker in a cloud gets the processor and nothing else.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export const root = fileURLToPath(new URL(".", import.meta.url));

/** @param {string} [outdir] */
export function bundle(outdir = `${root}build`) {
  return build({
    absWorkingDir: root,
    entryPoints: { processor: "src/processor.ts", gateway: "src/gateway.ts", rows: "src/rows.ts" },
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    // Not older: Artillery takes a step for asynchronous only if it is an AsyncFunction.
    target: "node20",
    // The gateway's dependencies are CommonJS. A name that no source in the bundle declares.
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);',
    },
    logLevel: "warning",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle();
