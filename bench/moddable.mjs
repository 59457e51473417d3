/** With an SDK in MODDABLE: what its native hash and RSA take on the simulator, and what our host makes of them. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { simulatorInput } from "./jobs.mjs";

const app = fileURLToPath(new URL("moddable", import.meta.url));
const transpile = fileURLToPath(new URL("../test/sim/transpile.mjs", import.meta.url));

/** Microseconds by kind of job and who did it; undefined where there is no SDK. */
export async function measureSimulator() {
  const sdk = process.env.MODDABLE;
  if (!sdk || !existsSync(join(sdk, "tools/VERSION"))) return undefined;
  const env = {
    ...process.env,
    TRANSPILE: transpile,
    PATH: `${join(sdk, "build/bin/lin/release")}:${process.env.PATH}`,
  };
  const output = mkdtempSync(join(tmpdir(), "bench-sim-"));
  const display = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "640x480x16", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  let simulator;
  try {
    const options = ["-m", "-p", "sim", "-t", "build", "-o", output, `input=${JSON.stringify(simulatorInput())}`];
    await promisify(execFile)("mcconfig", options, { cwd: app, env });
    const [number] = await once(display.stdio[3], "data");
    const library = join(output, "bin/lin/mc/release/moddable/mc.so");
    simulator = spawn("stdbuf", ["-oL", "mcsim", join(sdk, "build/simulators"), library], {
      env: { ...env, DISPLAY: `:${String(number).trim()}`, G_MESSAGES_DEBUG: "" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    const late = setTimeout(() => simulator.kill("SIGKILL"), 120_000);
    const result = { sdk: readFileSync(join(sdk, "tools/VERSION"), "utf8").trim() };
    for await (const line of createInterface({ input: simulator.stdout })) {
      const [, name, value] = /bench (\S+) (.*)/.exec(line) ?? [];
      if (name === "end") break;
      if (name === undefined) continue;
      if (Number.isNaN(Number(value))) throw new Error(`${name} on the simulator: ${value}`);
      const [kind, who] = name.split(".");
      result[kind] = { ...result[kind], [who]: Number(value) };
    }
    clearTimeout(late);
    if (result.rsa?.core === undefined) throw new Error("The simulator ended before the benchmark did.");
    return result;
  } finally {
    simulator?.kill("SIGKILL");
    display.kill();
    rmSync(output, { recursive: true, force: true });
  }
}
