/** Files for a Moddable app that is to use the local gateway: its CA, and a manifest to include. */

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "./errors.js";
import type { SampleDevice } from "./state.js";

/** Name of the resource with the CA, without `.der`. */
export const rootResource = "gateway-root";

/** Distinguishes a manifest of this program from an app's. */
const marker = "Written by tencent-iothub gateway, and replaced by it.";

/**
 * Writes `manifest.json` and, over HTTPS, `gateway-root.der` into a folder.
 * @throws {GatewayError} FILE_EXISTS if there is another manifest; FILE_UNWRITABLE
 */
export function writeModdableFiles(
  folder: string,
  content: { readonly url: string; readonly caDer?: Uint8Array; readonly sample?: SampleDevice },
): void {
  const { url, caDer, sample } = content;
  const path = join(folder, "manifest.json");
  try {
    if (existsSync(path) && !readFileSync(path, "utf8").includes(marker)) {
      throw new GatewayError("FILE_EXISTS", `${path} was not written by this command, and is not replaced.`);
    }
    if (mkdirSync(folder, { recursive: true, mode: 0o700 }) !== undefined) {
      // It contains a PSK, and belongs to this machine's gateway alone.
      writeFileSync(join(folder, ".gitignore"), "*\n");
    }
    if (caDer !== undefined) writeFileSync(join(folder, `${rootResource}.der`), caDer);
    const { productId, deviceName, psk } = sample ?? {};
    const manifest = {
      "//": marker,
      config: { url, productId, deviceName, psk },
      ...(caDer === undefined ? {} : { resources: { "*": [`./${rootResource}`] } }),
    };
    writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
    chmodSync(path, 0o600);
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new GatewayError("FILE_UNWRITABLE", `${folder} cannot be written (${code}).`, cause);
  }
}
