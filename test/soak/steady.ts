/** The phase without faults: many publishes on one keep-alive connection, which must not leak memory. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { startGateway } from "../../tools/gateway/index.js";
import type { SteadyTask } from "./steady-device.js";

export interface SteadyOptions {
  readonly publishes: number;
  readonly https: boolean;
  /** Publishes between two samples, 1 000 by default. The first sample is the measure of all that follow. */
  readonly sampleEvery?: number;
  readonly onProgress?: (sample: SteadySample) => void;
}

/** What the device holds after so many publishes. */
export interface SteadySample {
  readonly publishes: number;
  /** After a collection. */
  readonly heapBytes: number;
  /** Listeners by event, on the connection, on the agent that keeps it, and on the caller's signal. */
  readonly socket: Readonly<Record<string, number>>;
  readonly agent: Readonly<Record<string, number>>;
  readonly signal: number;
}

export interface SteadyResult {
  readonly https: boolean;
  readonly publishes: number;
  readonly seconds: number;
  /** Messages that the gateway took. */
  readonly accepted: number;
  readonly connections: number;
  readonly samples: readonly SteadySample[];
  /** What the device said on standard error, and how it ended if not well. */
  readonly complaints: readonly string[];
}

/** What the heap may grow by from the first sample to the last; a leak of 1 KB a publish is five times as much. */
export const MAX_GROWTH_BYTES = 4_000_000;

const script = fileURLToPath(new URL("./steady-device.ts", import.meta.url));
const typescript = new URL("../support/typescript.mjs", import.meta.url).href;
const identity = { productId: "SOAK", deviceName: "sensor", psk: "lDZ6Uqt+I9E0wW7rvDUs7Q==" };

export async function runSteady({
  publishes,
  https,
  sampleEvery = 1000,
  onProgress,
}: SteadyOptions): Promise<SteadyResult> {
  const { productId, deviceName, psk } = identity;
  const begun = performance.now();
  const gateway = await startGateway({
    devices: { products: { [productId]: { devices: { [deviceName]: { psk } } } } },
    https,
    maxReceived: 1,
  });
  try {
    const task: SteadyTask = { url: gateway.url, ca: gateway.ca, ...identity, publishes, sampleEvery };
    const args = ["--expose-gc", "--import", typescript, script, JSON.stringify(task)];
    const device = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    const samples: SteadySample[] = [];
    let stderr = "";
    device.stderr.on("data", (chunk) => {
      stderr = `${stderr}${chunk}`.slice(-2000);
    });
    createInterface({ input: device.stdout }).on("line", (line) => {
      const sample: SteadySample = JSON.parse(line);
      samples.push(sample);
      onProgress?.(sample);
    });
    const exitCode = await new Promise((resolve) => device.on("close", resolve));
    const complaints = [
      ...(stderr === "" ? [] : [stderr]),
      ...(exitCode === 0 ? [] : [`the device ended with ${exitCode}`]),
    ];
    return {
      https,
      publishes,
      seconds: (performance.now() - begun) / 1000,
      accepted: gateway.counts.accepted,
      connections: gateway.counts.connections,
      samples,
      complaints,
    };
  } finally {
    await gateway.close();
  }
}

/** What is wrong with a result; empty if all is well. */
export function steadyFaultsOf(result: SteadyResult): string[] {
  const found = [...result.complaints];
  const { publishes, accepted, connections, samples } = result;
  if (accepted !== publishes) found.push(`the gateway took ${accepted} of ${publishes} messages`);
  if (connections !== 1) found.push(`${connections} connections were opened instead of one`);
  if (samples.length < 2) return [...found, `there are ${samples.length} samples instead of at least two`];
  const [first] = samples;
  const last = samples[samples.length - 1];
  for (const on of ["socket", "agent", "signal"] as const) {
    if (isDeepStrictEqual(first[on], last[on])) continue;
    const [before, after] = [JSON.stringify(first[on]), JSON.stringify(last[on])];
    found.push(
      `listeners on the ${on}: ${before} after ${first.publishes} publishes, ${after} after ${last.publishes}`,
    );
  }
  const growth = steadyGrowth(result);
  if (growth > MAX_GROWTH_BYTES) found.push(`the heap grew by ${growth} bytes`);
  return found;
}

/** Bytes from the first sample to the last. */
export function steadyGrowth({ samples }: SteadyResult): number {
  return samples.length === 0 ? 0 : samples[samples.length - 1].heapBytes - samples[0].heapBytes;
}
