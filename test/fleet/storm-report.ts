/** Figures, table and chart of the recovery storm; fleet/storm.json has the figures that docs/fleet.md shows. */

import { parse, View } from "vega";
import { peakOf, runStorm, type StormOptions, steadyOf } from "./storm.js";

/** The clients that are compared, each with its name in the chart. */
export const clients: Readonly<Record<string, StormOptions["client"]>> = {
  "naive: retries every second": "naive",
  "outbox, one by one (default)": {},
  "outbox, one by one, rateLimit 0.1 a second": { rateLimit: { perSecond: 0.1, burst: 5 } },
  "outbox, batches of 60": { outbox: { batch: { maxReadings: 60 } } },
};

/** Averages over this many seconds are drawn. */
const STEP = 10;
const FIRST = -300;
const LAST = 1500;
const COLOURS = ["#cf222e", "#bf8700", "#8250df", "#0969da"];

export interface StormFigures {
  readonly steadyRequests: number;
  readonly steadyConnections: number;
  /** Largest number in one second after the outage. */
  readonly peakRequests: number;
  readonly peakConnections: number;
  /** Largest number in one second during the outage. */
  readonly outageConnections: number;
  /** Seconds after the outage until every reading taken before its end was acknowledged. */
  readonly deliveredSeconds: number;
  readonly taken: number;
  readonly acknowledged: number;
  readonly remaining: number;
  /** Per second, averages over 10 s, from 300 s before the end of the outage. */
  readonly requests: readonly number[];
  readonly connections: readonly number[];
}

export interface StormReport {
  readonly boards: number;
  readonly readingEverySeconds: number;
  readonly outageSeconds: number;
  readonly seed: number;
  readonly clients: Readonly<Record<string, StormFigures>>;
}

export async function measure(boards: number, progress: (name: string) => void): Promise<StormReport> {
  const times = { boards, seed: 20261129, steadySeconds: 600, outageSeconds: 3600, afterSeconds: LAST };
  const up = times.steadySeconds + times.outageSeconds;
  const result: Record<string, StormFigures> = {};
  for (const [name, client] of Object.entries(clients)) {
    progress(name);
    const { requests, connections, deliveredSeconds, taken, acknowledged, remaining } = await runStorm({
      ...times,
      client,
    });
    if (deliveredSeconds === undefined) throw new Error(`${name}: not everything was delivered.`);
    result[name] = {
      steadyRequests: round(steadyOf(requests, times.steadySeconds)),
      steadyConnections: round(steadyOf(connections, times.steadySeconds)),
      peakRequests: peakOf(requests, up),
      peakConnections: peakOf(connections, up),
      outageConnections: peakOf(connections.slice(0, up), times.steadySeconds),
      deliveredSeconds: Math.ceil(deliveredSeconds),
      taken,
      acknowledged,
      remaining,
      requests: averages(requests, up),
      connections: averages(connections, up),
    };
  }
  return { boards, readingEverySeconds: 60, outageSeconds: 3600, seed: times.seed, clients: result };
}

export function table({ clients }: StormReport): string {
  const number = (value: number) => Math.round(value).toLocaleString("en").replaceAll(",", " ");
  const rows = Object.entries(clients).map(([name, row]) => {
    const ratio = (row.peakRequests / row.steadyRequests).toFixed(1);
    const cells = [
      number(row.steadyRequests),
      `${number(row.peakRequests)} (${ratio} ×)`,
      number(row.peakConnections),
      number(row.outageConnections),
      number(row.deliveredSeconds),
    ];
    return `| ${name} | ${cells.join(" | ")} |`;
  });
  return [
    "| Client | steady, requests/s | peak after the outage, requests/s | connections/s | connections/s in the outage | all delivered after, s |",
    "| :-- | --: | --: | --: | --: | --: |",
    ...rows,
  ].join("\n");
}

/** Requests and connections a second after the outage, on a logarithmic scale, as SVG. */
export async function chart({ boards, clients }: StormReport): Promise<string> {
  const names = Object.keys(clients);
  const panel = (kind: "requests" | "connections", title: string) => {
    const values = names.flatMap((name) =>
      clients[name][kind].map((value, i) => ({
        name,
        minute: (FIRST + (i + 0.5) * STEP) / 60,
        // Zero has no place on a logarithmic scale.
        value: Math.max(1, value),
      })),
    );
    return {
      type: "group",
      encode: { enter: { width: { value: 640 }, height: { value: 220 } } },
      data: [
        { name: "points", values },
        { name: "series", source: "points", transform: [{ type: "aggregate", groupby: ["name"] }] },
      ],
      scales: [
        { name: "x", type: "linear", domain: [FIRST / 60, LAST / 60], range: [0, 640] },
        { name: "y", type: "log", domain: [1, 100_000], range: [220, 0] },
      ],
      axes: [
        { orient: "bottom", scale: "x", title: "minutes after the gateway is back", tickCount: 7 },
        { orient: "left", scale: "y", title, grid: true, values: [1, 10, 100, 1000, 10_000, 100_000], format: "," },
      ],
      marks: [
        {
          type: "group",
          from: { facet: { name: "line", data: "points", groupby: "name" } },
          marks: [
            {
              type: "line",
              from: { data: "line" },
              encode: {
                enter: {
                  x: { scale: "x", field: "minute" },
                  y: { scale: "y", field: "value" },
                  stroke: { scale: "colour", field: "name" },
                  strokeWidth: { value: 1.6 },
                },
              },
            },
          ],
        },
      ],
    };
  };
  const spec = {
    $schema: "https://vega.github.io/schema/vega/v6.json",
    title: `${boards} boards, one reading a minute each, after an hour without a gateway`,
    padding: 8,
    background: "white",
    layout: { columns: 1, padding: 24 },
    scales: [{ name: "colour", type: "ordinal", domain: names, range: COLOURS }],
    legends: [{ stroke: "colour", symbolType: "stroke", orient: "bottom", columns: 2, labelLimit: 400 }],
    marks: [
      panel("requests", "requests a second (average of 10 s)"),
      panel("connections", "connections a second (average of 10 s)"),
    ],
  };
  const view = new View(parse(spec as Parameters<typeof parse>[0]), { renderer: "none" });
  return `${await view.toSVG().finally(() => view.finalize())}\n`;
}

/** The part of docs/fleet.md that is written from the figures. */
export const MARKS = ["<!-- storm:begin -->", "<!-- storm:end -->"] as const;

export function withTable(text: string, report: StormReport): string {
  const [begin, end] = MARKS.map((mark) => text.indexOf(mark));
  if (begin < 0 || end < begin) throw new Error(`docs/fleet.md has no ${MARKS.join(" … ")}`);
  return `${text.slice(0, begin + MARKS[0].length)}\n${table(report)}\n${text.slice(end)}`;
}

function averages(perSecond: readonly number[], up: number): number[] {
  const steps: number[] = [];
  for (let second = up + FIRST; second < up + LAST; second += STEP) {
    const part = perSecond.slice(second, second + STEP);
    steps.push(round(part.reduce((sum, count) => sum + count, 0) / STEP));
  }
  return steps;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
