/**
 * Budgets of the library: the cost when the budget was set plus one percent. `npm test` measures and fails above a
 * budget; `npm run bench` writes the exact figures to bench/results.json.
 *
 * A budget that is exceeded for a good reason is raised here, with the reason in the commit.
 */

/**
 * @typedef {object} Budget
 * @property {string} what subject of the measurement
 * @property {"instructions" | "bytes"} unit
 * @property {number} budget the most it may be
 * @property {string} [recorded] where its last exact figure is in bench/results.json
 */

/** @type {Record<string, Budget>} */
export const budgets = {
  hashJob: {
    what: "hash job: HMAC and SHA-256 of one publish",
    unit: "instructions",
    budget: 2_489_000,
    recorded: "job.ours.rv32Instructions",
  },
  signRequest: {
    what: "publishBody and signRequest",
    unit: "instructions",
    budget: 2_090_000,
    recorded: "job.ours.signRequestInstructions",
  },
  stats: {
    what: "stats() of a device with an outbox, on XS 17 where it is there",
    unit: "instructions",
    budget: 30_000,
    recorded: "stats.xs17",
  },
  publish: {
    what: "publish of a device, on a host that responds at once",
    unit: "instructions",
    budget: 2_511_000,
    recorded: "publish.portable.xs13",
  },
  publishNative: {
    what: "the same with a native hash",
    unit: "instructions",
    budget: 720_000,
    recorded: "publish.native.xs13",
  },
  publishCold: {
    what: "a Device made, and its first publish, with a native hash",
    unit: "instructions",
    budget: 1_791_000,
    recorded: "publish.cold.xs13",
  },
  wake: {
    what: "a wake of the example for deep sleep, without its handshake and hashes",
    unit: "instructions",
    budget: 4_978_000,
    recorded: "outbox.wake.xs13",
  },
  enqueue: { what: "a reading enqueued", unit: "instructions", budget: 526_000, recorded: "outbox.enqueue.xs13" },
  open: { what: "an outbox opened", unit: "instructions", budget: 376_000, recorded: "outbox.open.xs13" },
  flush: { what: "a reading delivered", unit: "instructions", budget: 3_178_000, recorded: "outbox.flush.xs13" },
  batch: {
    what: "a reading delivered in a batch of 20",
    unit: "instructions",
    budget: 841_000,
    recorded: "outbox.batch.xs13",
  },
  load: {
    what: "loading the hash job's modules",
    unit: "instructions",
    budget: 261_000,
    recorded: "job.ours.loadInstructions",
  },
  bulk: {
    what: "SHA-256 and HMAC, one byte in bulk",
    unit: "instructions",
    budget: 5_310,
    recorded: "bulk.ours.instructionsPerByte",
  },
  rsaSign: {
    what: "RSA-2048 signature",
    unit: "instructions",
    budget: 151_400_000,
    recorded: "rsa.ours.rv32Instructions",
  },
  rsaPrepare: {
    what: "RSA-2048 key prepared",
    unit: "instructions",
    budget: 9_700_000,
    recorded: "rsa.ours.prepareInstructions",
  },
  // With the SDK's own code around it. A full handshake takes 98 to 232 million.
  handshakeResumed: { what: "a TLS session resumed", unit: "instructions", budget: 3_790_000 },
  handshakeGuard: {
    what: "our checks of a full TLS handshake, without the arithmetic",
    unit: "instructions",
    budget: 6_160_000,
  },
  deviceHeap: {
    what: "a Device and one publish: heap and 6 KB of stack",
    unit: "bytes",
    budget: 20_512,
    recorded: "job.ours.deviceHeapBytes",
  },
  publishStack: {
    what: "stack of a Device and one publish",
    unit: "bytes",
    budget: 4_976,
    recorded: "publish.stackBytes",
  },
  // The limit is what an ESP32 has by default, less the app's own functions.
  outboxStack: {
    what: "stack of an outbox, whatever it does",
    unit: "bytes",
    budget: 5_888,
    recorded: "outbox.stackBytes",
  },
  publishGarbage: {
    what: "garbage of a publish",
    unit: "bytes",
    budget: 16_928,
    recorded: "publish.garbageBytes.xs13",
  },
  // A kilobyte of it is the engine's table of functions in flash, which grows with their number.
  outboxHeap: {
    what: "a Device that sends 1000 readings from its outbox: heap",
    unit: "bytes",
    budget: 33 * 1024,
  },
  batchHeap: {
    what: "a Device that sends 1000 readings from its outbox in batches of 20: heap",
    unit: "bytes",
    budget: 47 * 1024,
  },
  jobHeap: {
    what: "three hash jobs: heap and 6 KB of stack",
    unit: "bytes",
    budget: 9_328,
    recorded: "job.ours.leastHeapBytes",
  },
  garbage: { what: "garbage of a hash job", unit: "bytes", budget: 1_904, recorded: "job.ours.garbageBytes" },
  // A byte for every tenth signature would be over it.
  leak: { what: "left by 10 000 signatures", unit: "bytes", budget: 1_000 },
  coreMinified: { what: "bare core, minified", unit: "bytes", budget: 34_880, recorded: "core.minifiedBytes" },
  coreGzip: { what: "bare core, gzip", unit: "bytes", budget: 10_270, recorded: "core.gzipBytes" },
  jobGzip: { what: "hash job, gzip", unit: "bytes", budget: 4_500, recorded: "job.ours.gzipBytes" },
};

/** Memory of a device that publishes, including its stack, as in the README: leaves room for the app. */
export const DEVICE_BYTES = 24 * 1024;

/** Default stack size of a device: part of {@link budgets.deviceHeap}. */
export const STACK_BYTES = 6144;

/** Returns the figure last written by `npm run bench`; undefined if there is none. */
export function recordedFigure({ recorded }, results) {
  return recorded?.split(".").reduce((value, key) => value?.[key], results);
}

/**
 * Compares figures with their budgets.
 * @param {Record<string, number>} figures by the budgets' names; absent if not measurable
 * @param {object} [results] contents of bench/results.json
 * @param {{ shownOnly?: string }} [options] `shownOnly`: reason why instruction counts are not compared
 * @returns {{ rows: string[], over: string[] }} a table, and the names of exceeded budgets
 */
export function judge(figures, results = {}, { shownOnly } = {}) {
  const rows = [];
  const over = [];
  const row = (...cells) =>
    `${cells[0].padEnd(72)}${cells
      .slice(1)
      .map((cell) => String(cell).padStart(13))
      .join("")}`;
  rows.push(row("", "today", "budget", "slack", "recorded"));
  for (const [name, figure] of Object.entries(figures)) {
    if (figure === undefined) continue;
    const entry = budgets[name];
    if (entry === undefined) throw new Error(`There is no budget called ${name}.`);
    const { what, unit, budget } = entry;
    const isOver = !(figure <= budget);
    const isJudged = unit === "bytes" || shownOnly === undefined;
    if (isOver && isJudged) over.push(name);
    const verdict = !isJudged ? "shown" : isOver ? "OVER" : "ok";
    const slack = `${(((budget - figure) / budget) * 100).toFixed(1)} %`;
    const recorded = recordedFigure(entry, results);
    rows.push(
      row(
        `${verdict.padEnd(6)}${what}, ${unit}`,
        Math.round(figure),
        budget,
        slack,
        recorded === undefined ? "–" : Math.round(recorded),
      ),
    );
  }
  if (shownOnly) rows.push(`Instruction counts are shown only: ${shownOnly}`);
  return { rows, over };
}
