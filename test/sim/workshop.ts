/** The package as users install it, and folders to build apps in. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const execute = promisify(execFile);
export const root = fileURLToPath(new URL("../..", import.meta.url));
const name = "tencent-iothub-xs";
// Installing must not depend on what the user of this machine has configured, nor on a registry.
const npm = ["--offline", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"];

export class Workshop {
  readonly folder: string;
  #tarball: Promise<string> | undefined;
  #sdk: Promise<string> | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<Workshop> {
    return new Workshop(await mkdtemp(join(tmpdir(), "tencent-iothub-sim-")));
  }

  async close(): Promise<void> {
    if (process.env.SIM_KEEP) console.log(`kept: ${this.folder}`);
    else await rm(this.folder, { recursive: true, force: true });
  }

  /** `npm install tencent-iothub-xs`, with the package made of this checkout. */
  async install(app: string): Promise<void> {
    this.#tarball ??= this.#pack();
    if (!existsSync(join(app, "package.json"))) await writeFile(join(app, "package.json"), '{ "private": true }');
    await execute("npm", ["install", ...npm, await this.#tarball], { cwd: app });
  }

  /** The sources of this checkout where an installed package would be. */
  async linkCheckout(app: string): Promise<void> {
    await mkdir(join(app, "node_modules"), { recursive: true });
    await symlink(root, join(app, "node_modules", name));
  }

  /** Copies an example, with what it shares with the others, out of the checkout. */
  async copyExample(example: string, into: string): Promise<string> {
    for (const part of ["board", example]) {
      const filter = (path: string) => !path.includes("node_modules");
      await cp(join(root, "examples", part), join(into, part), { recursive: true, filter });
    }
    return join(into, example);
  }

  /** An SDK whose build folder may be written to, as mcpack does whatever its output is; all else is the SDK itself. */
  sdk(): Promise<string> {
    this.#sdk ??= (async () => {
      const sdk = process.env.MODDABLE as string;
      const shadow = join(this.folder, "sdk");
      await mkdir(join(shadow, "build"), { recursive: true });
      for (const part of await readdir(sdk)) {
        if (part !== "build") await symlink(join(sdk, part), join(shadow, part));
      }
      for (const part of await readdir(join(sdk, "build"))) {
        if (part !== "tmp") await symlink(join(sdk, "build", part), join(shadow, "build", part));
      }
      return shadow;
    })();
    return this.#sdk;
  }

  async #pack(): Promise<string> {
    const [dist, output] = [join(this.folder, "dist"), join(this.folder, "package")];
    const rollup = join(root, "node_modules/rollup/dist/bin/rollup");
    await execute(process.execPath, [rollup, "-c", "--silent", "--configTarget", "moddable", "--configDist", dist], {
      cwd: root,
    });
    await execute(process.execPath, [
      join(root, "scripts/package.mjs"),
      "--dist",
      dist,
      "--output",
      output,
      "--firmware",
    ]);
    const { stdout } = await execute("npm", ["pack", "--json", "--pack-destination", this.folder, ...npm], {
      cwd: output,
    });
    return join(this.folder, JSON.parse(stdout)[0].filename);
  }
}
