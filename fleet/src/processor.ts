/**
 * Artillery's processor. All steps are async functions, which Artillery tells from others by their constructor: a plain
 * function that returns a promise would never end its virtual user, so the bundle must keep them as they are.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Board, type Metrics, type Profile } from "./board.js";
import { Profiler } from "./profiler.js";
import { type Row, readRows, sliceOf } from "./rows.js";
import { readSettings, type Settings } from "./settings.js";

interface Context {
  readonly vars: Record<string, unknown> & { readonly $uuid: string };
}

interface Run {
  readonly settings: Settings;
  readonly rows: readonly Row[];
  readonly trustAnchors: string | undefined;
  readonly profiler: Profiler | undefined;
}

/** Boards by virtual user. Not in the context, which Artillery renders in templates. */
const boards = new Map<string, Board>();
let run: Run | undefined;
/** Next row of this run. */
let next = 0;
/** Boards that are on, or are being switched off. */
let running = 0;
let hasEnded = false;

export const powerOnOnline = step((context, metrics) => powerOn(context, metrics, "online"));
export const powerOnBatch = step((context, metrics) => powerOn(context, metrics, "batch"));
export const powerOnSleep = step((context, metrics) => powerOn(context, metrics, "sleep"));

/** Waits until the next reading: about the interval, at first a random part of it. */
export const wait = step(async (context) => {
  const board = boards.get(context.vars.$uuid);
  if (board === undefined) return;
  const part = context.vars.$loopCount === 0 ? Math.random() : 1;
  await new Promise((done) => setTimeout(done, part * board.nextMs(Math.random())));
});

export const takeReading = step(async (context) => boards.get(context.vars.$uuid)?.read(Math.random()));

export const powerOff = step(async (context, metrics) => {
  const board = boards.get(context.vars.$uuid);
  boards.delete(context.vars.$uuid);
  if (board !== undefined) {
    await board.powerOff();
    running--;
  }
  if (hasEnded || running > 0 || run === undefined || next < run.rows.length) return;
  hasEnded = true;
  await run.profiler?.stop();
  const { user, system } = process.cpuUsage();
  metrics.emit("counter", "fleet.cpu_ms", Math.round((user + system) / 1000));
});

async function powerOn(context: Context, metrics: Metrics, profile: Profile): Promise<void> {
  run ??= prepare(context.vars);
  const { settings, rows, trustAnchors } = run;
  context.vars.readings = 0;
  // Artillery rounds the time between arrivals down, and so may start more virtual users than `arrivalCount` says.
  const row = rows[next++];
  if (row === undefined) {
    metrics.emit("counter", "fleet.surplus", 1);
    return;
  }
  const board = new Board(row, profile, settings, metrics, trustAnchors);
  if (!(await board.powerOn())) return;
  metrics.emit("counter", "fleet.boards", 1);
  boards.set(context.vars.$uuid, board);
  running++;
  context.vars.readings = settings.readings;
}

function prepare(vars: Record<string, unknown>): Run {
  // Each worker thread loads this module anew, and would take the same rows.
  if (Number(process.env.LOCAL_WORKER_ID ?? 1) > 1) {
    throw new Error(
      "One run is one worker: use arrivalCount, and start a run with its own DEVICE_OFFSET for each core.",
    );
  }
  const settings = readSettings({ ...process.env, ...vars });
  const { csv, productId, prefix, offset, count } = settings;
  const read = (path: string) => readFileSync(resolve(path), "utf8");
  const rows =
    csv === undefined
      ? Array.from({ length: count }, (_, i) => ({
          productId: productId as string,
          deviceName: `${prefix}${offset + i}`,
        }))
      : sliceOf(readRows(read(csv), productId), offset, count);
  const { trustAnchors, profile } = settings;
  return {
    settings,
    rows,
    trustAnchors: trustAnchors && read(trustAnchors),
    profiler: profile === undefined ? undefined : new Profiler(profile),
  };
}

/** A step that counts its error and fails its virtual user. */
function step(run: (context: Context, metrics: Metrics) => Promise<void> | undefined) {
  return async (context: Context, metrics: Metrics): Promise<void> => {
    try {
      await run(context, metrics);
    } catch (error) {
      metrics.emit("counter", "fleet.failed.STEP", 1);
      throw error;
    }
  };
}
