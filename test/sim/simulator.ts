/** Builds the app for the simulator, and runs it on a display of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

const sdk = process.env.MODDABLE as string;
const root = fileURLToPath(new URL("../..", import.meta.url));
const environment = {
  ...process.env,
  PATH: [join(sdk, "build/bin/lin/release"), join(root, "node_modules/.bin"), process.env.PATH].join(":"),
};

/**
 * Builds an app with mcconfig. `-t build` only builds: the debug rules end every simulator of the machine.
 * @param settings for the manifest's `config`
 * @returns the path of the app's library
 */
export async function build(app: string, output: string, settings: Readonly<Record<string, string>>): Promise<string> {
  await mkdir(output, { recursive: true });
  const options = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const child = spawn("mcconfig", ["-m", "-p", "sim", "-t", "build", "-o", output, ...options], {
    cwd: app,
    env: { ...environment, TRANSPILE: fileURLToPath(new URL("./transpile.mjs", import.meta.url)) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
  const [code] = await once(child, "close");
  const name = app.replace(/\/$/, "").split("/").pop() as string;
  const library = join(output, "bin/lin/mc/release", name, "mc.so");
  if (code !== 0 || !existsSync(library)) throw new Error(`mcconfig failed (${code}):\n${text}`);
  return library;
}

/** A display that nobody sees. */
export class Display {
  readonly #child: ChildProcess;
  readonly name: string;

  private constructor(child: ChildProcess, name: string) {
    this.#child = child;
    this.name = name;
  }

  static async open(): Promise<Display> {
    const child = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "800x600x16", "-nolisten", "tcp"], {
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
    const [number] = await Promise.race([
      once(child.stdio[3] as Readable, "data"),
      once(child, "error").then(([error]) => Promise.reject(error)),
    ]);
    return new Display(child, `:${String(number).trim()}`);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = once(this.#child, "close");
    this.#child.kill();
    await closed;
  }
}

/** One start of the app. */
export class Simulator {
  readonly #child: ChildProcess;
  /** What the app and the engine have printed. */
  readonly lines: string[] = [];
  /** Resolves when the virtual machine has ended, or the simulator has. */
  readonly ended: Promise<void>;
  readonly #closed: Promise<void>;

  constructor(library: string, display: Display) {
    // Without stdbuf, what is printed stays in a buffer until the end.
    this.#child = spawn("stdbuf", ["-oL", "mcsim", join(sdk, "build/simulators"), library], {
      env: { ...environment, DISPLAY: display.name, G_MESSAGES_DEBUG: "" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#closed = once(this.#child, "close").then(() => {});
    // The simulator stays when the machine on it has aborted.
    const aborted = new Promise<void>((resolve) => {
      for (const stream of [this.#child.stdout, this.#child.stderr]) {
        createInterface({ input: stream as Readable }).on("line", (line) => {
          this.lines.push(line);
          if (line.includes("XS abort")) resolve();
          if (process.env.SIM_VERBOSE) console.log(`    | ${line}`);
        });
      }
    });
    this.ended = Promise.race([this.#closed, aborted]);
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.#closed;
  }
}
