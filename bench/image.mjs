/**
 * With an SDK in MODDABLE: links the TLS of our Moddable host and of the SDK as for an ESP32-C3, with the SDK's native code,
 * and counts the instructions of recorded handshakes on an emulated RISC-V core.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { rollup } from "rollup";
import { stripTypesPlugin } from "../scripts/strip-types.mjs";
import { cache, compileAll, emulated, kinds, tools } from "./engine.mjs";

const execute = promisify(execFile);
const own = fileURLToPath(new URL("image", import.meta.url));
const replays = new URL("../test/vectors/tls-replays.json", import.meta.url);
const PLATFORM = "esp32/esp32c3";

/** Handshakes that were recorded with OpenSSL, by the names that the results use. */
const HANDSHAKES = { full: "a ticket", fullRsa: "RSA, records of 512 bytes", resumed: "resumed by a ticket" };

const defines = {
  INCLUDE_XSPLATFORM: 1,
  XSPLATFORM: '"platform.h"',
  mxNoConsole: 1,
  mxUseDefaultChunkAllocation: 1,
  mxUseDefaultSlotAllocation: 1,
  mxUseDefaultFindModule: 1,
  mxUseDefaultLoadModule: 1,
};

/**
 * Instructions of a client's side of a handshake, by its kind: `total`; `guard`, of them in what judges the server, its
 * signatures included; `arithmetic`, of the guard in the SDK's RSA and ECDSA. Undefined where there is no SDK or compiler.
 */
export async function measureHandshakes() {
  const sdk = process.env.MODDABLE;
  if (!sdk || !existsSync(join(sdk, "tools/VERSION")) || !tools("rv32")) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "bench-image-"));
  try {
    const image = await link(sdk, folder);
    const { stdout, stderr } = await execute(...emulated(image, []), { timeout: 300_000 });
    const lines = `${stdout}${stderr}`.trim().split("\n");
    if (lines.pop() !== "end") throw new Error(`handshakes: ${stdout}${stderr}`.slice(0, 300));
    const figures = {};
    for (const line of lines) {
      const [, name, numbers] = /^(.*): ([\d ]+)$/.exec(line);
      const [total, guard, arithmetic] = numbers.split(" ").map(Number);
      figures[name] = { total, guard, arithmetic };
    }
    return figures;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns the path of the image */
async function link(sdk, folder) {
  const app = join(folder, "handshake");
  mkdirSync(app);
  const external = /^(crypt|curve|ecp|modular|rsa|rng|counters|replays|ssl\/.*)$/;
  const built = await rollup({
    input: join(own, "handshake.mjs"),
    external: (name) => external.test(name),
    plugins: [stripTypesPlugin()],
  });
  await built.write({ file: join(app, "main.js"), format: "es" });
  await built.close();
  const recorded = JSON.parse(readFileSync(replays, "utf8"));
  const chosen = Object.entries(HANDSHAKES).map(([name, title]) => ({
    ...recorded.find((each) => each.name === title),
    name,
  }));
  writeFileSync(join(app, "replays.js"), `export default ${JSON.stringify(chosen)};\n`);
  writeFileSync(join(app, "counters.js"), readFileSync(join(own, "counters.js")));
  const manifest = {
    build: { MODULES: "$(MODDABLE)/modules" },
    include: ["$(MODULES)/crypt/tls_419.json"],
    creation: {
      static: 0,
      // Nothing is collected while a handshake is counted.
      chunk: { initial: 32 << 20, incremental: 1024 },
      heap: { initial: 1 << 20, incremental: 64 },
      stack: 2048,
      keys: { available: 64 },
      main: "main",
    },
    modules: { main: "./main", replays: "./replays", counters: "./counters" },
    config: { tls: { DHE_RSA: false, ECDHE_RSA: true } },
  };
  writeFileSync(join(app, "manifest.json"), JSON.stringify(manifest));
  const env = { ...process.env, ...(await withoutIdf(folder)) };
  env.PATH = [join(folder, "bin"), join(sdk, "build/bin/lin/release"), process.env.PATH].join(":");
  const output = join(folder, "out");
  mkdirSync(output);
  await execute("mcconfig", ["-p", PLATFORM, "-o", output], { cwd: app, env });
  const generated = join(output, "tmp", PLATFORM, "release/handshake");
  const makefile = join(generated, "makefile");
  await execute("make", ["-f", makefile, join(generated, "mc.xs.c")], { cwd: app, env });

  const { compiler, emulator } = tools("rv32");
  const rv32 = kinds.rv32;
  const xs = join(sdk, "xs");
  const folders = [join(own, "../engine"), join(xs, "includes"), join(xs, "platforms"), join(xs, "sources")];
  const options = [
    ...rv32.flags,
    ...rv32.compile,
    "-fno-common",
    "-w",
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
    ...folders.map((path) => `-I${path}`),
  ];
  const library = await archive(xs, options, `${compiler} ${emulator}`);
  const natives = nativeSources(readFileSync(makefile, "utf8"));
  const paths = [...new Set([generated, ...natives.map((path) => join(path, ".."))])].map((path) => `-I${path}`);
  const sources = [join(generated, "mc.xs.c"), join(own, "image.c"), ...natives];
  const objects = sources.map((_, i) => join(folder, `${i}.o`));
  await compileAll(
    rv32.compiler,
    sources.map((source, i) => [...options, ...paths, "-c", source, "-o", objects[i]]),
  );
  const image = join(folder, "bench-rv32-image");
  await execute(rv32.compiler, [...rv32.flags, ...objects, library, ...rv32.link, "-lm", "-o", image]);
  return image;
}

/** XS without what an image brings along; compiled once for each version of sources, compiler and flags. */
async function archive(xs, options, versions) {
  const sources = readdirSync(join(xs, "sources"))
    // xsMath.c includes the first, an image the second.
    .filter((name) => name.endsWith(".c") && name !== "xsum.c" && name !== "xsDefaults.c")
    .map((name) => join(xs, "sources", name));
  const hash = createHash("sha256").update(JSON.stringify([options, versions]));
  for (const file of [...sources, join(own, "../engine/platform.h")]) hash.update(readFileSync(file));
  const path = join(cache, `bench-image-xs-${hash.digest("hex").slice(0, 16)}.a`);
  if (existsSync(path)) return path;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), "bench-archive-"));
  try {
    const objects = sources.map((_, i) => join(folder, `${i}.o`));
    await compileAll(
      kinds.rv32.compiler,
      sources.map((source, i) => [...options, "-c", source, "-o", objects[i]]),
    );
    await execute("riscv64-unknown-elf-ar", ["crs", path, ...objects]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
}

/** C sources of the modules that the image has. */
function nativeSources(makefile) {
  return [...makefile.matchAll(/^\S+\.c\.xsi: (\S+\.c)$/gm)].map(([, path]) => path);
}

/** As much of ESP-IDF as the makefile asks for before it links. */
async function withoutIdf(folder) {
  const [idf, bin] = [join(folder, "idf"), join(folder, "bin")];
  for (const path of [idf, bin]) mkdirSync(path);
  const identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@invalid", "-c", "commit.gpgsign=false"];
  await execute("git", ["init", "-q"], { cwd: idf });
  await execute("git", [...identity, "commit", "-q", "--allow-empty", "-m", "empty"], { cwd: idf });
  await execute("git", ["tag", "v6.0"], { cwd: idf });
  writeFileSync(join(bin, "idf.py"), "#!/bin/sh\nmkdir -p build/config && : > build/config/sdkconfig.h\n");
  chmodSync(join(bin, "idf.py"), 0o755);
  return { IDF_PATH: idf };
}
