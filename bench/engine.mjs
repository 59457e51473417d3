/**
 * Builds XS from the sources in @agoric/xsnap (XS 13), or from those of the Moddable SDK where MODDABLE names one (XS
 * 17), once for each version of sources, compiler and flags, and runs scripts on it: `rv32` on an emulated RISC-V core that counts instructions, `native` as a 32-bit process of this machine.
 */
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { STACK_BYTES } from "./budgets.mjs";

const execute = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
/** The sources of XS, by the name that the results use. */
const sourcesOf = {
  xs13: join(root, "node_modules/@agoric/xsnap/moddable/xs"),
  xs17: process.env.MODDABLE ? join(process.env.MODDABLE, "xs") : undefined,
};
const own = join(root, "bench/engine");
const shared = join(root, "test/support/engine");
export const cache = join(root, "node_modules/.cache/tencent-iothub-xs");

const FULL = 2;

/** What docs/benchmark.md names as needed. */
export const packages = "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc gcc-multilib";

const defines = {
  INCLUDE_XSPLATFORM: 1,
  XSPLATFORM: '"platform.h"',
  mxLockdown: 1,
  mxMinusZero: 1,
  mxNoConsole: 1,
  mxParse: 1,
  mxRegExpUnicodePropertyEscapes: 1,
  mxRun: 1,
  mxStringNormalize: 1,
};

export const kinds = {
  rv32: {
    compiler: "riscv64-unknown-elf-gcc",
    flags: "--specs=picolibc.specs -march=rv32imc -mabi=ilp32 -Os -fno-jump-tables -falign-functions=4".split(" "),
    compile: ["-ffunction-sections"],
    // The memory of QEMU's machine `virt` starts at 2 GB.
    link: ["--oslib=semihost", "--crt0=semihost", "-Wl,--gc-sections", "-Wl,--defsym=__flash=0x80000000"].concat(
      ["__flash_size=0x00400000", "__ram=0x80400000", "__ram_size=0x0f000000", "__stack_size=0x100000"].map(
        (symbol) => `-Wl,--defsym=${symbol}`,
      ),
    ),
  },
  // With the check of the stack, so that a library that needs more than there is ends cleanly.
  native: { compiler: "gcc", flags: ["-m32", "-O2"], compile: ["-DmxBoundsCheck=1"], link: [] },
};

/** The compiler's and the emulator's first lines, or undefined where one is not there. */
export function tools(kind) {
  const first = (command) => {
    try {
      return execFileSync(command, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split(
        "\n",
      )[0];
    } catch {
      return undefined;
    }
  };
  const compiler = first(kinds[kind].compiler);
  const emulator = kind === "rv32" ? first("qemu-system-riscv32") : "";
  if (compiler === undefined || emulator === undefined) return undefined;
  return { compiler, emulator, flags: kinds[kind].flags.join(" ") };
}

/** The path of the engine; undefined where its tools, or its sources, are not there. */
export async function build(kind, version = "xs13") {
  const found = tools(kind);
  const xs = sourcesOf[version];
  if (found === undefined || xs === undefined) return undefined;
  const { compiler, flags, compile, link } = kinds[kind];
  const sources = [
    ...readdirSync(join(xs, "sources"))
      // xsMath.c includes it.
      .filter((name) => name.endsWith(".c") && name !== "xsum.c")
      .map((name) => join(xs, "sources", name)),
    join(own, "host.c"),
  ];
  const options = [
    ...flags,
    ...compile,
    "-fno-common",
    "-w",
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
    ...[own, join(xs, "includes"), join(xs, "platforms"), join(xs, "sources"), shared].map((folder) => `-I${folder}`),
  ];
  const hash = createHash("sha256").update(JSON.stringify([found.compiler, options, link]));
  for (const file of [...sources, join(own, "platform.h"), join(shared, "flash.h")]) hash.update(readFileSync(file));
  const path = join(cache, `bench-${kind}-${version}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), "bench-engine-"));
  try {
    const objects = sources.map((_, i) => join(folder, `${i}.o`));
    await compileAll(
      compiler,
      sources.map((source, i) => [...options, "-c", source, "-o", objects[i]]),
    );
    await execute(compiler, [...flags, ...objects, ...link, "-lm", "-o", join(folder, "engine")]);
    // Another process may have been as fast.
    writeFileSync(`${path}.${process.pid}`, readFileSync(join(folder, "engine")), { mode: 0o755 });
    renameSync(`${path}.${process.pid}`, path);
  } catch (error) {
    // Some compilers have no 32-bit libraries.
    if (kind === "native" && /-m32|cannot find|skipping incompatible|gnu\/stubs-32|bits\//.test(error.stderr ?? "")) {
      return undefined;
    }
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
}

/** Bytes of a heap in which nothing is collected while a job is counted. */
export const ROOMY = 32 << 20;
export const STACK = STACK_BYTES;

/** The command that runs a program on the emulated core, and its parameters. */
export function emulated(program, words) {
  const machine = "-M virt -m 256M -bios none -display none -monitor none -serial none -icount shift=0".split(" ");
  const semihosting = `enable=on,target=native,arg=${["engine", ...words].join(" ")}`;
  return ["qemu-system-riscv32", [...machine, "-semihosting-config", semihosting, "-kernel", program]];
}

/** Compiles sources, two at a time, each with its options. */
export async function compileAll(compiler, commands) {
  const queue = [...commands];
  const work = async () => {
    for (let command = queue.shift(); command; command = queue.shift()) await execute(compiler, command);
  };
  await Promise.all([work(), work()]);
}

/**
 * Runs a script.
 * @param {string} engine what `build` gave
 * @param {string} script
 * @param options `preload`: a script that is there already, as in the firmware's read-only memory
 * @returns {Promise<{ lines: string[], loaded: number } | undefined>} what it printed, and the instructions (or
 * nanoseconds) of running its top level; undefined if the heap was too small
 */
export async function run(engine, script, options = {}) {
  const { heapBytes = ROOMY, stackBytes = STACK, timeoutMs = 300_000, preload } = options;
  const folder = mkdtempSync(join(tmpdir(), "bench-run-"));
  const file = join(folder, "script.js");
  writeFileSync(file, script);
  const words = [heapBytes, stackBytes, file];
  if (preload !== undefined) {
    writeFileSync(join(folder, "preload.js"), preload);
    words.splice(2, 0, `+${join(folder, "preload.js")}`);
  }
  const isEmulated = engine.includes("bench-rv32");
  const [command, parts] = isEmulated ? emulated(engine, words) : [engine, words.map(String)];
  try {
    const { stdout, stderr } = await execute(command, parts, { timeout: timeoutMs, maxBuffer: 1 << 24 });
    // QEMU writes the guest's output to its own error stream, unless a console takes it.
    const lines = `${stdout}${isEmulated ? stderr : ""}`.trim().split("\n");
    const last = lines.pop();
    return { lines, loaded: Number(last.replace("loaded ", "")) };
  } catch (error) {
    if (error.code === FULL) return undefined;
    throw new Error(`${error.killed ? "took too long" : `${error.stderr}${error.stdout}`.trim().slice(0, 300)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The least heap, stack included, in which a script runs; found by halving, to 16 bytes. */
export async function leastHeap(engine, script, { high = 8 << 20, ...options } = {}) {
  let [below, enough] = [options.stackBytes ?? STACK, high];
  if ((await run(engine, script, { ...options, heapBytes: enough })) === undefined) return undefined;
  while (enough - below > 16) {
    const middle = ((below + enough) >> 5) << 4;
    if (await run(engine, script, { ...options, heapBytes: middle })) enough = middle;
    else below = middle;
  }
  return enough;
}
