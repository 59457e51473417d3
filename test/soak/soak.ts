/** Many readings through a device that is killed and a gateway that misbehaves; then every reading is accounted for. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Fault, type Gateway, mulberry32, startGateway } from "../../tools/gateway/index.js";
import { psk } from "../support/keys.js";
import type { Trouble } from "../support/troubled-storage.js";
import type { DeviceTask } from "./device.js";

export interface SoakOptions {
  readonly readings: number;
  readonly seed: number;
  /** Share of requests with an injected fault, 0 to 1. */
  readonly faultProbability: number;
  /** Readings between two kills, on average. */
  readonly killEvery: number;
  readonly https?: boolean;
  /** Share of the storage's operations at which one of its troubles begins. @default 0 */
  readonly storageFaults?: number;
  /** @default all */
  readonly storageTroubles?: readonly Trouble[];
  readonly onProgress?: (progress: {
    readonly received: number;
    readonly kills: number;
    readonly waiting: number;
  }) => void;
}

export interface SoakResult {
  readonly readings: number;
  readonly seed: number;
  readonly seconds: number;
  readonly kills: number;
  readonly requests: number;
  readonly faults: number;
  /** Readings that were never received. */
  readonly lost: number;
  /** Times that a reading was received before one with a lower number. */
  readonly outOfOrder: number;
  /** Readings received again: after a lost response, or a kill. */
  readonly duplicates: number;
  /** Readings that a lying storage found at the last start only. */
  readonly foundAtLast: number;
  /** What the device dropped or failed with. */
  readonly complaints: readonly string[];
  /** Keys left in storage. */
  readonly left: readonly string[];
  /** Length of the queue over time, in seconds since the start. */
  readonly queue: readonly { readonly seconds: number; readonly size: number }[];
  /** From the reading to its first arrival, for each reading, in milliseconds. */
  readonly latencyMs: Float64Array;
  /** Heap of the device after a collection, by life, in bytes. */
  readonly heaps: readonly (readonly number[])[];
}

export const soakFaults: readonly Fault[] = [
  { kind: "reset", phase: "read" },
  { kind: "reset", phase: "headers" },
  { kind: "reset", phase: "body" },
  { kind: "close", phase: "read" },
  { kind: "close", phase: "headers" },
  { kind: "close", phase: "body" },
  { kind: "hang", phase: "headers" },
  { kind: "delay", ms: 5 },
  { kind: "status", status: 500 },
  { kind: "status", status: 503 },
  { kind: "status", status: 429, retryAfter: 1 },
  { kind: "error", code: "InternalError" },
  { kind: "error", code: "RequestLimitExceeded" },
  { kind: "error", code: "AuthFailure.SignatureFailure" },
  { kind: "error", code: "AuthFailure.NonceReused" },
  { kind: "html" },
  { kind: "empty" },
  { kind: "truncated" },
  { kind: "malformed-json" },
  { kind: "wrong-length", length: "less" },
  { kind: "bad-chunk" },
  { kind: "garbage" },
  { kind: "interim" },
  { kind: "two-responses" },
  { kind: "repeated" },
  { kind: "repeated", ago: 2 },
  { kind: "repeated", ago: 8 },
  { kind: "early", status: 503 },
  { kind: "half-open", afterwards: "close" },
  { kind: "half-open", afterwards: "reset" },
];

const productId = "SOAK";
const deviceName = "sensor";
const script = fileURLToPath(new URL("./device.ts", import.meta.url));
const typescript = new URL("../support/typescript.mjs", import.meta.url).href;

export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const { readings, seed, faultProbability, killEvery, onProgress } = options;
  const { storageFaults = 0, storageTroubles = ["memory", "full", "failure"] } = options;
  const random = mulberry32(seed ^ 0x5eed);
  const begun = Date.now();
  // A killed process leaves the system's cache as it is: what a disk would add is its own time, five times the rest.
  const folder = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "tencent-iothub-soak-"));
  const latencyMs = new Float64Array(readings).fill(Number.NaN);
  const queue: { seconds: number; size: number }[] = [];
  const heaps: number[][] = [];
  /** Whether the storage may say that it has what it has not, and the other way round. */
  const lies = storageFaults > 0 && storageTroubles.includes("memory");
  const complaints: string[] = [];
  let expected = 0;
  let received = 0;
  let foundAtLast = 0;
  let outOfOrder = 0;
  let duplicates = 0;
  let accepted = -1;
  let kills = 0;
  let waiting = 0;

  const gateway: Gateway = await startGateway({
    devices: { products: { [productId]: { devices: { [deviceName]: { psk } } } } },
    https: options.https,
    maxReceived: 1,
    randomFaults: { probability: faultProbability, among: soakFaults, seed },
    onRequest: (request) => {
      if (!request.accepted) return;
      const { n, at } = JSON.parse(String(request.payload));
      if (!Number.isNaN(latencyMs[n])) {
        duplicates++;
        return;
      }
      received++;
      latencyMs[n] = request.receivedAtMs - at;
      if (n < expected) outOfOrder++;
      expected = Math.max(expected, n + 1);
      onProgress?.({ received: expected, kills, waiting });
    },
  });
  try {
    // What a lying storage did not find or delete is there for the next start: the last one's storage tells the truth.
    let isLast = !lies;
    for (let life = 0; ; life++) {
      const killAt = accepted + 1 + Math.ceil(killEvery * (0.5 + random()));
      const task: DeviceTask = {
        url: gateway.url,
        ca: gateway.ca,
        productId,
        deviceName,
        psk,
        folder,
        from: accepted + 1,
        to: readings,
        seed: seed + life,
        storageFaults: accepted === readings - 1 && isLast ? 0 : storageFaults,
        storageTroubles,
      };
      const device = spawn(process.execPath, ["--expose-gc", "--import", typescript, script, JSON.stringify(task)], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      let stderr = "";
      device.stderr.on("data", (chunk) => {
        stderr = `${stderr}${chunk}`.slice(-2000);
      });
      let killed = false;
      const heap: number[] = [];
      heaps.push(heap);
      createInterface({ input: device.stdout }).on("line", (line) => {
        const [kind, ...rest] = line.split(" ");
        if (kind === "a") {
          accepted = Math.max(accepted, Number(rest[0]));
          if (accepted >= killAt && !killed && accepted < readings - 1) {
            killed = true;
            device.kill("SIGKILL");
          }
        } else if (kind === "q") {
          waiting = Number(rest[1]);
          queue.push({ seconds: (Number(rest[0]) - begun) / 1000, size: waiting });
          if (Number(rest[2]) > 0) heap.push(Number(rest[2]));
        } else if (kind === "d" && rest[1] === "lost" && lies) {
          // Reported, and still there: whether it arrives is counted like that of all others.
        } else if (complaints.length < 100) {
          complaints.push(line);
        }
      });
      const exitCode = await new Promise((resolve) => device.on("close", resolve));
      if (exitCode === 0) {
        if (isLast) break;
        isLast = true;
        foundAtLast = received;
        continue;
      }
      if (!killed) {
        complaints.push(`the device ended with ${exitCode}: ${stderr}`);
        break;
      }
      kills++;
    }
    foundAtLast = received - foundAtLast;
    let lost = 0;
    for (const ms of latencyMs) if (Number.isNaN(ms)) lost++;
    const { requests, faults } = gateway.counts;
    return {
      readings,
      seed,
      seconds: (Date.now() - begun) / 1000,
      kills,
      requests,
      faults,
      lost,
      outOfOrder,
      duplicates,
      complaints,
      foundAtLast,
      // A process that was killed leaves its lock, which the next one deletes.
      left: (await readdir(folder)).filter((name) => !name.startsWith("%lock-")),
      queue,
      latencyMs,
      heaps,
    };
  } finally {
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a result must be; empty if all is well. */
export function faultsOf(result: SoakResult): string[] {
  const found: string[] = [...result.complaints];
  if (result.lost > 0) found.push(`${result.lost} readings were lost`);
  // What was rejected is passed over by others: order is counted, and is no fault.
  const { left } = result;
  if (left.length > 0) found.push(`left in storage: ${left.join()}`);
  const growth = heapGrowth(result);
  if (growth > 4_000_000) found.push(`the heap grew by ${growth} bytes`);
  return found;
}

/** From the first to the last sample of the longest life, in bytes; the first two are left out as a warm-up. */
export function heapGrowth({ heaps }: SoakResult): number {
  let most = 0;
  for (const heap of heaps) if (heap.length > 3) most = Math.max(most, heap[heap.length - 1] - heap[2]);
  return most;
}
