/**
 * Builds and drives `xs-engine`, the XS engine of a device as a command (see `engine/main.c`). The engine is compiled
 * once for each version of its sources, its compiler and its flags, and kept under `node_modules/.cache`.
 */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** Outcome of a run. `crash` (by a signal) and `timeout` are outcomes of the process, the others of the engine. */
export type EngineEnd =
  | "ok"
  | "usage"
  | "exception"
  | "heap-full"
  | "stack-overflow"
  | "rejection"
  | "too-much-computation"
  | "fatal"
  | "crash"
  | "timeout";

/** The engine's exit codes; `engine.h` has the same list. */
export const exitCodes: Readonly<Partial<Record<EngineEnd, number>>> = Object.freeze({
  ok: 0,
  usage: 2,
  exception: 10,
  "heap-full": 11,
  "stack-overflow": 12,
  rejection: 13,
  "too-much-computation": 14,
  fatal: 15,
});

/** Bytes. */
export interface EngineMemory {
  /** Peak use in bytes, including garbage. */
  readonly peak: number;
  /** Use after a full collection; 0 if the run failed. */
  readonly live: number;
  /** Bytes freed by that collection. */
  readonly garbage: number;
}

/** Figures of the script's `mark(name)` since the previous mark. */
export interface EngineMark {
  readonly name: string;
  readonly computrons: number;
  readonly chunks: EngineMemory | null;
  readonly slots: EngineMemory | null;
}

export interface EngineReport {
  readonly end: EngineEnd;
  readonly exitCode: number | null;
  /** Exception, or reason of the rejection. */
  readonly message: string;
  /** Output of the script. */
  readonly output: string;
  /** 32, or 64 if the compiler has no `-m32`; then limits are doubled and sizes are null. */
  readonly bits: 32 | 64;
  readonly computrons: number;
  /** Peak of the reserved heap. */
  readonly heapReserved: number | null;
  readonly stackPeak: number | null;
  readonly chunks: EngineMemory | null;
  readonly slots: EngineMemory | null;
  /** Objects and variables of the shared machine that a run can change, by copying them. */
  readonly aliases: number;
  readonly marks: readonly EngineMark[];
}

export interface EngineRun {
  /** Text of a classic script. */
  readonly script: string;
  /** Value of the global `input`, outside the heap. */
  readonly input?: string;
  /** Maximum of chunks and slots together in bytes. @default 65_536 */
  readonly heapBytes?: number;
  /** Stack size in bytes. @default 8192 */
  readonly stackBytes?: number;
  /** Limit of computrons. @default 2_000_000_000, some minutes */
  readonly meterLimit?: number;
}

export interface EngineOptions {
  /** Paths of scripts that are evaluated before the runs, into read-only memory. */
  readonly preload?: readonly string[];
  /** Timeout of the whole process, generous for busy machines. @default 250_000 */
  readonly timeoutMs?: number;
}

const defaults = Object.freeze({ heapBytes: 65_536, stackBytes: 8192, meterLimit: 2_000_000_000, timeoutMs: 800_000 });

const engineFolder = fileURLToPath(new URL("./engine/", import.meta.url));
const modulesFolder = fileURLToPath(new URL("../../node_modules/", import.meta.url));
const xsFolder = join(modulesFolder, "@agoric/xsnap/moddable/xs");
const cacheFolder = join(modulesFolder, ".cache/tencent-iothub-xs");

/** Timeout of building the engine, about fifty C files, generous for busy machines. */
export const BUILD_TIMEOUT_MS = 900_000;

let building: Promise<string> | undefined;

/**
 * Compiles the engine if necessary, and returns its path. May be called by several processes at
 * once: one compiles, the others wait.
 * @throws if there is no compiler, or if it fails
 */
export function build(): Promise<string> {
  building ??= buildIn(cacheFolder, process.env.CC ?? "cc");
  return building;
}

/** The same with a custom folder and compiler. */
export async function buildIn(cacheFolder: string, compiler: string): Promise<string> {
  const fingerprint = createHash("sha256");
  for (const name of (await readdir(engineFolder)).sort()) {
    fingerprint.update(`${name}\n`).update(await readFile(join(engineFolder, name)));
  }
  fingerprint.update(await readFile(join(modulesFolder, "@agoric/xsnap/package.json")));
  fingerprint.update(await version(compiler)).update(await version("make"));
  fingerprint.update(process.arch);
  const folder = join(cacheFolder, `xs-engine-${fingerprint.digest("hex").slice(0, 16)}`);
  const binary = join(folder, "xs-engine");

  await mkdir(cacheFolder, { recursive: true });
  const unlock = await lock(`${folder}.lock`, () => existsSync(binary));
  if (!unlock) return binary;
  try {
    const work = await mkdtemp(`${folder}-`);
    try {
      const jobs = String(Math.min(availableParallelism(), 8));
      const settings = [`XS=${xsFolder}`, `OUT=${work}`, `CC=${compiler}`];
      await execute("make", ["-s", "-j", jobs, "-C", engineFolder, ...settings], { maxBuffer: 1 << 26 });
      await rename(work, folder);
    } catch (error) {
      await rm(work, { recursive: true, force: true });
      // Two processes that take over the same dead lock at once both compile; either result is fine.
      if (existsSync(binary)) return binary;
      const output = String((error as { stderr?: unknown }).stderr ?? error);
      throw new Error(`The XS engine does not compile: ${output.slice(-2000)}`, { cause: error });
    }
  } finally {
    await unlock();
  }
  return binary;
}

async function version(command: string): Promise<string> {
  try {
    return (await execute(command, ["--version"])).stdout;
  } catch (error) {
    throw new Error(
      `The tests on XS compile the engine and need a C compiler and make; "${command}" cannot be run (Debian: apt-get install gcc gcc-multilib make).`,
      { cause: error },
    );
  }
}

/**
 * Waits until `done()`, or until the lock is acquired; then returns a function that releases it. The lock of a dead
 * process is taken over.
 */
async function lock(path: string, done: () => boolean): Promise<(() => Promise<void>) | undefined> {
  for (;;) {
    if (done()) return undefined;
    try {
      await writeFile(path, String(process.pid), { flag: "wx" });
      if (!done()) return () => rm(path, { force: true });
      await rm(path, { force: true });
      return undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    if (await isStale(path)) await rm(path, { force: true });
    else await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const owner = Number(await readFile(path, "utf8"));
    // Between its creation and the write of the number, the file is empty for a moment.
    if (!owner) return Date.now() - (await stat(path)).mtimeMs > 10_000;
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Runs one script in a separate process, whose exit code is the outcome. Rejects only if it cannot be started. */
export async function run(job: EngineRun, options: EngineOptions = {}): Promise<EngineReport> {
  const binary = await build();
  const folder = await mkdtemp(join(tmpdir(), "xs-engine-"));
  try {
    const script = join(folder, "script.js");
    await writeFile(script, job.script);
    const args = [...preloads(options), "--report"];
    if (job.heapBytes !== undefined) args.push("--heap", String(job.heapBytes));
    if (job.stackBytes !== undefined) args.push("--stack", String(job.stackBytes));
    if (job.meterLimit !== undefined) args.push("--meter", String(job.meterLimit));
    if (job.input !== undefined) {
      const input = join(folder, "input");
      await writeFile(input, job.input);
      args.push("--input", input);
    }
    const result = await runProcess(binary, [...args, script], "", options);
    const line = result.stderr.trimEnd().split("\n").at(-1) ?? "";
    if (result.end) return { ...noReport, ...result, end: result.end, message: result.stderr, output: result.stdout };
    if (!line.startsWith("{")) {
      const end = endOf(result.exitCode);
      return { ...noReport, end, exitCode: result.exitCode, message: result.stderr.trim(), output: result.stdout };
    }
    return { ...(JSON.parse(line) as EngineReport), exitCode: result.exitCode, output: result.stdout };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Runs several scripts one after the other in one process, each in a fresh machine. The reports are in the order of the
 * runs; if the process ends early, the current run reports why, and the later ones are missing.
 */
export async function runAll(jobs: readonly EngineRun[], options: EngineOptions = {}): Promise<EngineReport[]> {
  const binary = await build();
  const frames = jobs.map((job) => {
    const script = Buffer.from(job.script);
    const input = job.input === undefined ? undefined : Buffer.from(job.input);
    const { heapBytes = defaults.heapBytes, stackBytes = defaults.stackBytes, meterLimit = defaults.meterLimit } = job;
    const head = `${heapBytes} ${stackBytes} ${meterLimit} ${script.length} ${input?.length ?? -1}\n`;
    return Buffer.concat([Buffer.from(head), script, input ?? Buffer.alloc(0)]);
  });
  const result = await runProcess(binary, [...preloads(options), "--batch"], Buffer.concat(frames), options);
  const reports = result.stdout
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line) as EngineReport);
  if (reports.length < jobs.length) {
    const end = result.end ?? endOf(result.exitCode);
    reports.push({ ...noReport, end, exitCode: result.exitCode, message: result.stderr.trim() });
  }
  return reports;
}

const noReport: EngineReport = Object.freeze({
  end: "crash",
  exitCode: null,
  message: "",
  output: "",
  bits: 32,
  computrons: 0,
  heapReserved: null,
  stackPeak: null,
  chunks: null,
  slots: null,
  aliases: 0,
  marks: [],
});

function preloads(options: EngineOptions): string[] {
  return (options.preload ?? []).flatMap((path) => ["--preload", path]);
}

function endOf(exitCode: number | null): EngineEnd {
  const found = Object.entries(exitCodes).find(([, code]) => code === exitCode);
  return found ? (found[0] as EngineEnd) : "crash";
}

interface ProcessResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  /** Set if the process did not end by itself. */
  readonly end?: "crash" | "timeout";
}

function runProcess(
  binary: string,
  args: readonly string[],
  stdin: string | Uint8Array,
  options: EngineOptions,
): Promise<ProcessResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { stdio: "pipe" });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, options.timeoutMs ?? defaults.timeoutMs);
    child.stdout.on("data", (bytes: Buffer) => stdout.push(bytes));
    child.stderr.on("data", (bytes: Buffer) => stderr.push(bytes));
    // A dead child no longer reads; its exit status has the reason.
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (exitCode, signal) => {
      clearTimeout(timer);
      resolve({
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
        exitCode,
        ...(signal ? { end: late ? "timeout" : "crash" } : {}),
      });
    });
  });
}
