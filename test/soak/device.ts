/**
 * The device of the soak test, a separate process that is killed without warning: enqueues numbered readings, delivers
 * them, and tells its parent on standard output, whose lines are written before anything else happens:
 * `a <number>` accepted, `q <ms> <size> <heap bytes or 0>` the queue, `d <sequence> <reason>` dropped, `e <message>`.
 */

import { createHost, Device, IotHubError } from "../../host/node/index.js";
import { mulberry32 } from "../../tools/gateway/faults.js";
import { type Trouble, troubledStorage } from "../support/troubled-storage.js";

export interface DeviceTask {
  readonly url: string;
  readonly ca: string | undefined;
  readonly productId: string;
  readonly deviceName: string;
  readonly psk: string;
  readonly folder: string;
  /** Number of the first reading to enqueue, and of the one after the last. */
  readonly from: number;
  readonly to: number;
  readonly seed: number;
  /** Share of the storage's operations at which one of its troubles begins. */
  readonly storageFaults: number;
  readonly storageTroubles: readonly Trouble[];
}

const MAX_WAITING = 200;
const task: DeviceTask = JSON.parse(process.argv[2]);
const random = mulberry32(task.seed);
const tell = (line: string) => process.stdout.write(`${line}\n`);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const host = createHost({ storage: task.folder, trustAnchors: task.ca });
const storage =
  host.storage &&
  troubledStorage(host.storage, {
    probability: task.storageFaults,
    among: task.storageTroubles,
    random: mulberry32(task.seed ^ 0x570),
    mayBeFull: () => (device.outbox?.size ?? 0) > 0,
  });

const device: Device = new Device(
  {
    productId: task.productId,
    deviceName: task.deviceName,
    credential: { secret: task.psk },
    url: task.url,
    rateLimit: false,
    retry: {
      baseDelayMs: 1,
      maxDelayMs: 20,
      maxRetryAfterMs: 50,
      // What ends a hang, and nothing else on a machine that does much besides.
      attemptTimeoutMs: 1000,
      budget: 1_000_000,
    },
    outbox: {
      maxMessages: MAX_WAITING,
      maxBytes: 10_000_000,
      policy: "rejectNewest",
      flushIntervalMs: 0,
      onDropped: ({ sequence, reason, error }) => tell(`d ${sequence} ${reason} ${error?.message ?? ""}`),
    },
  },
  { ...host, storage },
);

let next = task.from;
async function produce(): Promise<void> {
  while (next < task.to) {
    // Readings come in bursts, and the sensor rests until some of them are gone.
    for (let burst = 1 + Math.floor(random() * 60); burst > 0 && next < task.to; burst--) {
      try {
        await device.enqueue({ topic: "data", payload: `{"n":${next},"at":${Date.now()}}` });
        tell(`a ${next}`);
        next++;
      } catch (error) {
        // It is tried again: no reading counts before it is safe.
        if (!isStorage(error)) throw error;
        break;
      }
      if (next % 50 === 0) tell(`q ${Date.now()} ${device.outbox?.size} ${next % 500 === 0 ? heap() : 0}`);
    }
    const rest = Math.floor(random() * 40);
    while ((device.outbox?.size ?? 0) > rest) await pause(1);
  }
}

function heap(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed;
}

/** The outbox has no room, or its storage is in trouble. */
function isStorage(error: unknown): boolean {
  return error instanceof IotHubError && error.errorClass === "storage";
}

async function deliver(): Promise<void> {
  while (next < task.to || (device.outbox?.size ?? 0) > 0) {
    await device.flush({ deadlineMs: 10_000 }).catch((error) => {
      if (!isStorage(error)) throw error;
    });
    await pause(1);
  }
}

try {
  for (let opened = false; !opened; ) {
    opened = await (device.outbox?.open() ?? Promise.resolve()).then(
      () => true,
      (error) => {
        if (isStorage(error)) return false;
        throw error;
      },
    );
  }
  await Promise.all([produce(), deliver()]);
  device.close();
  process.exit(0);
} catch (error) {
  tell(`e ${error}`);
  process.exit(1);
}
