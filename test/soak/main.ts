/**
 * `npm run soak`: the long soak test, with a progress bar, and a report with plots in `build/soak`. Two phases:
 * readings through faults and kills, then publishes on one keep-alive connection without any fault, over HTTP and over
 * HTTPS.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Presets, SingleBar } from "cli-progress";
import { parse, View } from "vega";
import type { Trouble } from "../support/troubled-storage.js";
import { faultsOf, heapGrowth, runSoak, type SoakResult } from "./soak.js";
import { runSteady, type SteadyResult, steadyFaultsOf, steadyGrowth } from "./steady.js";

const { values } = parseArgs({
  options: {
    readings: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 32)) },
    faults: { type: "string", default: "0.1" },
    "kill-every": { type: "string", default: "3000" },
    https: { type: "boolean", default: false },
    "storage-faults": { type: "string", default: "0.01" },
    "storage-troubles": { type: "string", default: "memory,full,failure" },
    publishes: { type: "string", default: "20000" },
    only: { type: "string" },
    out: { type: "string", default: "build/soak" },
  },
});
const options = {
  readings: number("readings", 1, 10_000_000),
  seed: number("seed", 0, 2 ** 32 - 1),
  faultProbability: number("faults", 0, 0.9),
  killEvery: number("kill-every", 10, 10_000_000),
  https: values.https,
  storageFaults: number("storage-faults", 0, 0.5),
  storageTroubles: values["storage-troubles"].split(",") as Trouble[],
};

const publishes = number("publishes", 2000, 10_000_000);
if (values.only !== undefined && values.only !== "faults" && values.only !== "steady") {
  console.error("error: --only must be faults or steady.");
  process.exit(2);
}
const bar = new SingleBar(
  {
    format: "{bar} {percentage} %, {value}/{total}{more}, {eta_formatted} left",
    noTTYOutput: true,
    notTTYSchedule: 30_000,
    hideCursor: true,
  },
  Presets.shades_classic,
);
const out = values.out;
await mkdir(out, { recursive: true });
const reports: string[] = [];
let wrong = 0;

if (values.only !== "steady") {
  console.log(`soak: ${options.readings} readings, seed ${options.seed}`);
  bar.start(options.readings, 0, { more: "" });
  const result = await runSoak({
    ...options,
    onProgress: ({ received, kills, waiting }) =>
      bar.update(received, { more: ` received, ${kills} kills, ${waiting} waiting` }),
  });
  bar.stop();
  const found = faultsOf(result);
  wrong += found.length;
  await writeFile(`${out}/queue.svg`, await queuePlot(result));
  await writeFile(`${out}/latency.svg`, await latencyPlot(result));
  reports.push(reportOf(result, found));
}
if (values.only !== "faults") {
  for (const https of [false, true]) {
    console.log(`soak: ${publishes} publishes on one connection over ${https ? "HTTPS" : "HTTP"}, without faults`);
    bar.start(publishes, 0, { more: "" });
    const result = await runSteady({
      publishes,
      https,
      onProgress: ({ publishes: done, heapBytes }) =>
        bar.update(done, { more: `, heap ${(heapBytes / 1024).toFixed(0)} KB` }),
    });
    bar.stop();
    const found = steadyFaultsOf(result);
    wrong += found.length;
    reports.push(steadyReportOf(result, found));
  }
}
const report = reports.join("\n");
await writeFile(`${out}/report.md`, report);
console.log(`\n${report}\nReport: ${out}/report.md`);
process.exitCode = wrong > 0 ? 1 : 0;

function number(name: keyof typeof values, min: number, max: number): number {
  const value = Number(values[name]);
  if (value >= min && value <= max) return value;
  console.error(`error: --${name} must be a number from ${min} to ${max}.`);
  process.exit(2);
}

function reportOf(soak: SoakResult, found: readonly string[]): string {
  const sorted = [...soak.latencyMs].filter((ms) => !Number.isNaN(ms)).sort((a, b) => a - b);
  const percentile = (p: number) => sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))];
  const mostWaiting = soak.queue.reduce((most, { size }) => Math.max(most, size), 0);
  const rows: [string, string | number][] = [
    ["readings", soak.readings],
    ["seed", soak.seed],
    ["time", `${soak.seconds.toFixed(0)} s`],
    ["requests", soak.requests],
    ["with an injected fault", soak.faults],
    ["killed and started again", soak.kills],
    ["**lost**", soak.lost],
    ["reported as lost, and found by the next start", soak.foundAtLast],
    ["**out of order**", soak.outOfOrder],
    ["received again", soak.duplicates],
    ["longest queue", mostWaiting],
    ["reading to arrival, median", `${percentile(50)} ms`],
    ["99 %", `${percentile(99)} ms`],
    ["longest", `${sorted[sorted.length - 1]} ms`],
    ["growth of the device's heap, worst life", `${(heapGrowth(soak) / 1024).toFixed(0)} KB`],
  ];
  return [
    ...section("Soak", rows, found),
    "![Length of the queue](queue.svg)",
    "",
    "![From the reading to its arrival](latency.svg)",
    "",
  ].join("\n");
}

function steadyReportOf(steady: SteadyResult, found: readonly string[]): string {
  const [first] = steady.samples;
  const last = steady.samples[steady.samples.length - 1];
  const total = (counts: Readonly<Record<string, number>> | undefined) =>
    Object.values(counts ?? {}).reduce((sum, count) => sum + count, 0);
  const both = (value: (sample: typeof first) => string | number) =>
    first === undefined ? "none" : `${value(first)} → ${value(last)}`;
  const rows: [string, string | number][] = [
    ["publishes", steady.publishes],
    ["time", `${steady.seconds.toFixed(0)} s`],
    ["connections", steady.connections],
    [`listeners on the socket, after ${first?.publishes} → ${last?.publishes}`, both(({ socket }) => total(socket))],
    ["on the agent", both(({ agent }) => total(agent))],
    ["on the caller's signal", both(({ signal }) => signal)],
    ["heap after a collection", both(({ heapBytes }) => `${(heapBytes / 1024).toFixed(0)} KB`)],
    ["growth of the heap", `${(steadyGrowth(steady) / 1024).toFixed(0)} KB`],
  ];
  return section(`One keep-alive connection over ${steady.https ? "HTTPS" : "HTTP"}, without faults`, rows, found).join(
    "\n",
  );
}

function section(title: string, rows: readonly [string, string | number][], found: readonly string[]): string[] {
  return [
    `# ${title}`,
    "",
    "| | |",
    "| --- | --- |",
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
    "",
    found.length === 0 ? "Nothing was wrong." : `Wrong:\n\n${found.map((text) => `- ${text}`).join("\n")}`,
    "",
  ];
}

/** The longest queue in each of 400 slices of time. */
function queuePlot({ queue, seconds }: SoakResult): Promise<string> {
  const slices = new Map<number, number>();
  for (const { seconds: at, size } of queue) {
    const slice = Math.floor((at / seconds) * 400);
    slices.set(slice, Math.max(slices.get(slice) ?? 0, size));
  }
  const points = [...slices].map(([slice, size]) => ({ x: (slice / 400) * seconds, y: size }));
  return plot(
    "Readings that wait",
    "seconds since the start",
    "readings, most in each slice of time",
    points,
    "linear",
  );
}

/** For each share of the readings, within which time they had arrived. */
function latencyPlot({ latencyMs }: SoakResult): Promise<string> {
  const sorted = [...latencyMs].filter((ms) => !Number.isNaN(ms)).sort((a, b) => a - b);
  const points = Array.from({ length: 401 }, (_, i) => {
    const at = Math.min(sorted.length - 1, Math.floor((i / 400) * sorted.length));
    return { x: i / 4, y: Math.max(1, sorted[at]) };
  });
  return plot("From the reading to its arrival", "% of the readings", "milliseconds", points, "log");
}

function plot(
  title: string,
  x: string,
  y: string,
  points: readonly { readonly x: number; readonly y: number }[],
  scale: "linear" | "log",
): Promise<string> {
  const view = new View(
    parse({
      $schema: "https://vega.github.io/schema/vega/v6.json",
      title,
      width: 720,
      height: 300,
      padding: 8,
      background: "white",
      data: [{ name: "points", values: [...points] }],
      scales: [
        { name: "x", type: "linear", domain: { data: "points", field: "x" }, range: "width" },
        {
          name: "y",
          type: scale as "linear",
          domain: { data: "points", field: "y" },
          range: "height",
          nice: true,
        },
      ],
      axes: [
        { orient: "bottom", scale: "x", title: x, tickCount: 10 },
        { orient: "left", scale: "y", title: y, grid: true, tickCount: 6 },
      ],
      marks: [
        {
          type: "line",
          from: { data: "points" },
          encode: {
            enter: {
              x: { scale: "x", field: "x" },
              y: { scale: "y", field: "y" },
              stroke: { value: "#1f77b4" },
              strokeWidth: { value: 1.2 },
            },
          },
        },
      ],
    }),
    { renderer: "none" },
  );
  return view.toSVG().finally(() => view.finalize());
}
