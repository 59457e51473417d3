/** Builds the app for the simulator, and runs it on a separate display. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

const sdk = process.env.MODDABLE as string;
const root = fileURLToPath(new URL("../..", import.meta.url));
/** Only a limit for what hangs: a machine that is busy with other things may be slow. */
const LINE_LIMIT_MS = 120_000;

export const environment = {
  ...process.env,
  PATH: [join(sdk, "build/bin/lin/release"), join(root, "node_modules/.bin"), process.env.PATH].join(":"),
};

export interface BuildOptions {
  /** Default `"mcconfig"`; with `"mcpack"` the app is a folder with a package.json. */
  readonly tool?: "mcconfig" | "mcpack";
  /** For the manifest's `config`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Builds an app for the simulator. `-t build` only builds: the debug rules end every simulator of the machine.
 * @param name of the app: its folder's name with mcconfig, its package's with mcpack
 * @returns the path of the app's library
 */
export async function build(app: string, output: string, name: string, options: BuildOptions = {}): Promise<string> {
  await mkdir(output, { recursive: true });
  const settings = Object.entries(options.settings ?? {}).map(([name, value]) => `${name}=${value}`);
  const parameters = ["-m", "-p", "sim", "-t", "build", "-o", output, ...settings];
  const [tool, ...first] = options.tool === "mcpack" ? ["mcpack", "mcconfig"] : ["mcconfig"];
  await run(tool, [...first, ...parameters], app, options.environment);
  const library = join(output, "bin/lin/mc/release", name, "mc.so");
  if (!existsSync(library)) throw new Error(`${tool} has not made ${library}.`);
  return library;
}

/**
 * Runs a tool of the SDK.
 * @returns what it has printed
 */
export async function run(
  tool: string,
  parameters: readonly string[],
  folder: string,
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  const child = spawn(tool, parameters, {
    cwd: folder,
    env: { ...environment, TRANSPILE: fileURLToPath(new URL("./transpile.mjs", import.meta.url)), ...more },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${tool} failed (${code}):\n${text.slice(-4000)}`);
  return text;
}

/**
 * A manifest that includes another one and gives the app a separate preferences file: without it, all simulators of a
 * machine share one, and take each other's outbox.
 * @returns its folder
 */
export async function wrap(folder: string, manifest: string, more: object = {}): Promise<string> {
  const preferences = join(folder, "preferences/");
  await mkdir(preferences, { recursive: true });
  const content = { include: [manifest], config: { file: { root: preferences } }, ...more };
  await writeFile(join(folder, "manifest.json"), JSON.stringify(content));
  return folder;
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
  #onLine: (() => void) | undefined;

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
          this.#onLine?.();
          if (line.includes("XS abort")) resolve();
          if (process.env.SIM_VERBOSE) console.log(`    | ${line}`);
        });
      }
    });
    this.ended = Promise.race([this.#closed, aborted]);
  }

  /**
   * Resolves with the first line that matches, also if it has been printed already.
   * @throws if the virtual machine ends or aborts first, or after two minutes
   */
  async line(pattern: RegExp): Promise<string> {
    const found = () => this.lines.find((line) => pattern.test(line));
    let over: string | undefined;
    this.ended.then(() => {
      over = "the virtual machine ended";
      this.#onLine?.();
    });
    const timer = setTimeout(() => {
      over = `nothing came in ${LINE_LIMIT_MS / 1000} s`;
      this.#onLine?.();
    }, LINE_LIMIT_MS);
    try {
      for (;;) {
        const line = found();
        if (line !== undefined) return line;
        if (over !== undefined) {
          throw new Error(`no line ${pattern}: ${over}; printed:\n${this.lines.slice(-8).join("\n")}`);
        }
        await new Promise<void>((resolve) => {
          this.#onLine = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Processor time so far, in milliseconds, to a hundredth of a second. */
  async cpuMs(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, "utf8");
    // The name of the program, in parentheses, may hold spaces; two numbers of ticks follow in the places 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.#closed;
  }
}
