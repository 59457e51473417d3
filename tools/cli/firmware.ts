/** Builds and starts an app with the tools of the Moddable SDK: what `dev` and `flash` have in common. */

import { type ChildProcess, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { describeFileError } from "../../host/node/file-system.js";
import { type Gateway, type GatewayOptions, startGateway } from "../gateway/index.js";
import { CliError, exitCodes } from "./failure.js";
import { readText } from "./files.js";
import { colored } from "./gateway.js";
import { colorsFor, printLine, type Streams } from "./io.js";

/** Folder of the desk's gateway in a project. */
export const stateFolder = ".tencent-iothub";
/** Name by which the app finds the CA of a private gateway; `gateway --moddable` gives it the same. */
const rootResource = "gateway-root";
const MAX_LINE = 4000;

/** An app, and the tools to build it. */
export interface Project {
  readonly folder: string;
  /** The Moddable SDK. */
  readonly sdk: string;
  /** For the SDK's tools. */
  readonly env: NodeJS.ProcessEnv;
}

/** Settings for the manifest's `config`. */
export type Config = Readonly<Record<string, unknown>>;

/**
 * Finds the app and the SDK.
 * @throws {CliError} PROJECT_MISSING, SDK_MISSING, SDK_NOT_BUILT
 */
export function openProject(io: Streams, directory: string): Project {
  const folder = resolve(directory);
  if (!existsSync(join(folder, "manifest.json"))) {
    throw new CliError("PROJECT_MISSING", `The folder ${directory} has no manifest.json: it contains no app.`, {
      hint: "tencent-iothub init DIR creates one.",
    });
  }
  const sdk = io.env.MODDABLE;
  if (!sdk) {
    throw new CliError("SDK_MISSING", "MODDABLE is not set: it names the folder of the Moddable SDK.", {
      hint: "Install it as its Getting Started says; npm test works without it.",
    });
  }
  if (!existsSync(sdk)) throw new CliError("SDK_MISSING", `MODDABLE names ${sdk}, which does not exist.`);
  const system = { darwin: "mac", win32: "win" }[process.platform as string] ?? "lin";
  // mcconfig needs the SDK's other tools on the PATH, and tsc. What is on the PATH already comes before the SDK's.
  const path = [join(folder, "node_modules/.bin"), io.env.PATH ?? "", join(sdk, "build/bin", system, "release")];
  const env = { ...io.env, PATH: path.join(delimiter) };
  if (findProgram("mcconfig", env.PATH) === undefined) {
    throw new CliError("SDK_NOT_BUILT", `The tools of the Moddable SDK in ${sdk} have not been built.`, {
      hint: "Its Getting Started says how.",
    });
  }
  return { folder, sdk, env };
}

/** Looks for a program on a PATH. */
export function findProgram(name: string, path: string): string | undefined {
  const names = process.platform === "win32" ? [`${name}.exe`, `${name}.bat`, `${name}.cmd`] : [name];
  return path
    .split(delimiter)
    .filter((folder) => folder !== "")
    .flatMap((folder) => names.map((file) => join(folder, file)))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

/**
 * Reads a JSON object of the project.
 * @throws {CliError} FILE_UNREADABLE, INVALID_SETTINGS
 */
export async function readJson(project: Project, name: string): Promise<Record<string, unknown>> {
  const text = await readText(join(project.folder, name), "file");
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // The parser's message quotes text near the error, which may be a key.
  }
  throw new CliError("INVALID_SETTINGS", `The file ${name} is not a JSON object.`);
}

/**
 * Writes the manifest that a build is made of: the app's own, with these settings. Each target has a separate folder,
 * so that no file of one is ever in the build of another.
 * @param ca certificate that the app trusts instead of the built-in ones, PEM
 * @returns the target's folder, which is the output of the build, too
 */
export async function writeManifest(project: Project, target: string, config: Config, ca?: string): Promise<string> {
  const folder = join(project.folder, "build", target);
  try {
    await rm(join(folder, "ca"), { recursive: true, force: true });
    await mkdir(join(folder, "ca"), { recursive: true, mode: 0o700 });
    if (ca !== undefined) await writeFile(join(folder, "ca", `${rootResource}.der`), new X509Certificate(ca).raw);
    const manifest = {
      include: ["../../manifest.json"],
      config,
      ...(ca === undefined ? {} : { resources: { "*": "./ca/*" } }),
    };
    // Contains a psk. A mode counts only for new files.
    await rm(join(folder, "manifest.json"), { force: true });
    await writeFile(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
  } catch (cause) {
    const message = `The folder ${folder} cannot be written: ${describeFileError(cause)}.`;
    throw new CliError("FILE_UNWRITABLE", message, { cause });
  }
  return folder;
}

interface BuildOptions {
  /** More parameters of mcconfig. */
  readonly parameters?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Ends the build when it resolves. */
  readonly interrupted?: Promise<unknown>;
}

/**
 * Runs mcconfig on a target's manifest, and prints what it does.
 * @returns whether it was done, and not interrupted
 * @throws {CliError} BUILD_FAILED
 */
export async function mcconfig(
  io: Streams,
  project: Project,
  platform: string,
  target: string,
  { parameters: more = [], env = {}, interrupted = new Promise(() => {}) }: BuildOptions = {},
): Promise<boolean> {
  const parameters = ["-m", "-p", platform, ...more, "-o", `build/${target}`, `build/${target}/manifest.json`];
  const c = colorsFor(io.stdout, io.env);
  printLine(io.stdout, `${c.bold("$")} mcconfig ${parameters.join(" ")}`);
  const child = start(io, project, "mcconfig", parameters, c.dim, env);
  const code = await Promise.race([child.ended, interrupted.then(() => undefined)]);
  if (code === undefined) {
    await child.stop();
    return false;
  }
  if (code === 0) return true;
  throw new CliError("BUILD_FAILED", `mcconfig failed (${code}); its output is above.`, { exitCode: exitCodes.other });
}

/** A program of the SDK that runs. */
export interface Program {
  /** Resolves with its exit code, or the signal that ended it. @throws {CliError} BUILD_FAILED if it did not start */
  readonly ended: Promise<number | string>;
  stop(): Promise<void>;
}

/** Starts a program, and prints its lines. */
export function start(
  io: Streams,
  project: Project,
  command: string,
  parameters: readonly string[],
  style: (line: string) => string,
  env: NodeJS.ProcessEnv = {},
): Program {
  const child: ChildProcess = spawn(command, parameters, {
    cwd: project.folder,
    env: { ...project.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr]) {
    const reader = createInterface({ input: stream as Readable });
    reader.on("line", (line) => printLine(io.stdout, style(line.slice(0, MAX_LINE))));
  }
  const ended = once(child, "close").then(
    ([code, signal]) => code ?? signal,
    (cause) => {
      const message = `${command} did not start: ${describeFileError(cause)}.`;
      throw new CliError("BUILD_FAILED", message, { exitCode: exitCodes.other, cause });
    },
  );
  // A caller that waits for it learns of a failure; nobody may.
  ended.catch(() => {});
  const isRunning = () => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  return {
    ended,
    async stop() {
      if (!isRunning()) return;
      child.kill();
      const timer = setTimeout(() => child.kill("SIGKILL"), 2000);
      await ended.catch(() => {});
      clearTimeout(timer);
    },
  };
}

/** Starts the desk's gateway, which keeps its CA and its sample device in the project, and prints a line an event. */
export async function startDeskGateway(io: Streams, project: Project, options: GatewayOptions): Promise<Gateway> {
  const c = colorsFor(io.stdout, io.env);
  const state = join(project.folder, stateFolder);
  const gateway = await startGateway({ ...options, state, https: true, ui: true });
  gateway.subscribe((event) => printLine(io.stdout, colored(event, c)));
  printLine(io.stdout, `${c.bold("gateway")} on ${c.cyan(gateway.url)}`);
  if (gateway.uiUrl !== undefined) printLine(io.stdout, `${c.bold("page")} on ${c.cyan(gateway.uiUrl)}`);
  return gateway;
}

/** Settings of an app that publishes to the desk's gateway. */
export function deskConfig(gateway: Gateway, host: string): Config {
  const { productId, deviceName, psk } = gateway.sample as NonNullable<Gateway["sample"]>;
  // Readings of trials are kept apart from those for the cloud, which the same board may send later.
  return { url: `https://${host}:${gateway.port}`, productId, deviceName, psk, storage: "desk" };
}
