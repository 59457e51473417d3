/** Bundles TypeScript modules into one classic script for the bare engine, without type checks. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rollup } from "rollup";
import { stripTypesPlugin } from "../../scripts/strip-types.mjs";

const cacheFolder = fileURLToPath(new URL("../../node_modules/.cache/tencent-iothub-xs/", import.meta.url));

/**
 * Bundles an entry module, whose exports become members of the global `name`.
 * @returns the script's text
 */
export async function bundle(entry: string, name: string): Promise<string> {
  const built = await rollup({
    input: entry,
    plugins: [stripTypesPlugin()],
    onwarn(warning) {
      throw new Error(`${entry}: ${warning.message}`);
    },
  });
  try {
    const { output } = await built.generate({ format: "iife", name, exports: "named" });
    return output[0].code;
  } finally {
    await built.close();
  }
}

/** Bundles into a file and returns its path. Several processes may do this at once. */
export async function bundleFile(entry: string, name: string): Promise<string> {
  const code = await bundle(entry, name);
  const hash = createHash("sha256").update(code).digest("hex").slice(0, 16);
  const path = join(cacheFolder, `${name}-${hash}.js`);
  if (existsSync(path)) return path;
  await mkdir(cacheFolder, { recursive: true });
  const draft = `${path}.${process.pid}`;
  await writeFile(draft, code);
  await rename(draft, path);
  return path;
}
