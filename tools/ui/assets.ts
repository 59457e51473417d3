import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { GatewayError } from "../gateway/errors.js";

/** A file of the page. */
export interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly etag: string;
}

const html = "text/html; charset=utf-8";
const script = "text/javascript; charset=utf-8";
const style = "text/css; charset=utf-8";

/** Files of the page by their path; what is not named here is not served. */
const files: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["index.html", html],
  "/style.css": ["style.css", style],
  "/icon.svg": ["icon.svg", "image/svg+xml"],
  ...Object.fromEntries(
    ["app", "copies", "detail", "dom", "faults", "format", "list", "plots", "recording", "series", "stream"].map(
      (name) => [`/${name}.js`, [`${name}.js`, script] as const],
    ),
  ),
};

const libraries: Readonly<Record<string, readonly [module: string, type: string]>> = {
  "/uplot.js": ["uplot/dist/uPlot.esm.js", script],
  "/uplot.css": ["uplot/dist/uPlot.min.css", style],
};

/** Reads all files of the page. @throws {GatewayError} UI_INCOMPLETE if one is missing */
export function readAssets(): Map<string, Asset> {
  const folder = pageFolder();
  const require = createRequire(import.meta.url);
  const assets = new Map<string, Asset>();
  for (const [path, [file, type]] of Object.entries(files)) {
    assets.set(
      path,
      assetOf(() => readFileSync(new URL(file, folder)), file, type),
    );
  }
  for (const [path, [module, type]] of Object.entries(libraries)) {
    assets.set(
      path,
      assetOf(() => readFileSync(require.resolve(module)), module, type),
    );
  }
  return assets;
}

function assetOf(read: () => Buffer, name: string, type: string): Asset {
  try {
    const body = read();
    return { type, body, etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"` };
  } catch (cause) {
    throw new GatewayError("UI_INCOMPLETE", `The page's file ${name} is missing; install the package again.`, cause);
  }
}

/** Beside this file in the sources; a bundle of them is in another folder of the package. */
function pageFolder(): URL {
  const places = ["./page/", "../ui/page/", "../../ui/page/", "../tools/ui/page/", "../../tools/ui/page/"];
  const found = places.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(fileURLToPath(url)));
  if (found === undefined) {
    throw new GatewayError("UI_INCOMPLETE", "The page's files are missing; install the package again.");
  }
  return found;
}
