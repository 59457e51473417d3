// `npm run fleet`: starts the local gateway with its devices, sends boards to it with Artillery, and checks that both
// counted the same.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle, root } from "./build.mjs";
import { makeDevices, productId, productSecret, startGateway } from "./local-gateway.mjs";
import { shares } from "./profile.mjs";

const limits = {
  devices: [1, 100_000, 1000],
  readings: [1, 10_000, 3],
  interval: [0, 86_400, 10],
  arrival: [1, 3600, 20],
  runs: [1, 64, 1],
  registering: [0, 100_000, 10],
};

/**
 * @typedef {{ devices?: number; readings?: number; interval?: number; arrival?: number; runs?: number; registering?: number;
 *   https?: boolean; profile?: boolean; outage?: number; native?: boolean; scenario?: string; out?: string }} Options
 * @param {Options} options
 */
export async function runFleet(options) {
  const { devices = 1000, readings = 3, interval = 10, arrival = 20, runs = 1, registering = 10 } = options;
  const out = options.out ?? `${root}build`;
  mkdirSync(out, { recursive: true });
  await bundle();
  const { divide } = await import("./build/rows.mjs");
  const made = makeDevices(devices, Math.min(registering, devices));
  const csv = `${out}/devices.csv`;
  writeFileSync(csv, made.csv, { mode: 0o600 });
  const gateway = await startGateway(made.devices, options.https);
  const started = performance.now();
  try {
    if (gateway.ca !== undefined) writeFileSync(`${out}/ca.pem`, gateway.ca);
    const reports = await Promise.all(
      divide(devices, runs).map(async ({ offset, count }, index) => {
        const report = `${out}/report-${index}.json`;
        const env = {
          ...process.env,
          ARTILLERY_DISABLE_TELEMETRY: "true",
          DEVICE_URL: gateway.url,
          DEVICE_CSV: csv,
          DEVICE_CA: gateway.ca === undefined ? "" : `${out}/ca.pem`,
          PRODUCT_ID: productId,
          PRODUCT_SECRET: productSecret,
          DEVICE_OFFSET: String(offset),
          DEVICE_COUNT: String(count),
          FLEET_READINGS: String(readings),
          FLEET_INTERVAL: String(interval),
          FLEET_ARRIVAL: String(arrival),
          FLEET_OUTAGE: String(options.outage ?? 0),
          FLEET_OUTAGE_SECONDS: String(interval),
          FLEET_NATIVE: String(options.native ?? true),
          FLEET_PROFILE: options.profile ? `${out}/run-${index}.cpuprofile` : "",
        };
        const args = ["node_modules/artillery/bin/run", "run", "--quiet", "--output", report, "fleet.yml"];
        if (options.scenario !== undefined) args.push("--scenario-name", options.scenario);
        const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["ignore", "ignore", "inherit"] });
        const [code] = await once(child, "exit");
        if (code !== 0) throw new Error(`Artillery ended with ${code}.`);
        // The aggregate, not the sum of the periods: what comes late for a period is in the aggregate only.
        return JSON.parse(readFileSync(report, "utf8")).aggregate;
      }),
    );
    const seconds = (performance.now() - started) / 1000;
    return { ...compare(reports, await gateway.counts(), { devices, readings }), seconds, out };
  } finally {
    gateway.close();
  }
}

/** Sums the engine's counters over all runs, and lists where they differ from the gateway's. */
function compare(reports, counted, { devices, readings }) {
  /** @type {Record<string, number>} */
  const engine = {};
  for (const { counters } of reports) {
    for (const [name, value] of Object.entries(counters)) engine[name] = (engine[name] ?? 0) + value;
  }
  const count = (name) => engine[name] ?? 0;
  const registered = count("fleet.registered");
  const sure = count("fleet.acknowledged") + registered;
  // Where no response came in time, the gateway may have accepted the message, which then comes again.
  const accepted = Math.min(Math.max(counted.accepted, sure), sure + count("fleet.lost_responses"));
  const checks = [
    ["messages and registrations accepted", accepted, counted.accepted],
    ["registrations", registered, counted.registrations],
    ["readings", count("fleet.delivered"), counted.readings],
    ["readings taken and delivered", count("fleet.readings"), count("fleet.delivered")],
    ["boards", count("fleet.boards"), devices],
    ["devices with every reading", devices, counted.devicesByReadings[readings] ?? 0],
    ["virtual users that failed", count("vusers.failed"), 0],
  ];
  const responses = reports.map(({ summaries }) => summaries["fleet.response_ms"]);
  return { engine, counted, checks, responses, isEqual: checks.every(([, a, b]) => a === b) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const strings = Object.fromEntries(Object.keys(limits).map((name) => [name, { type: "string" }]));
  const flags = { https: { type: "boolean" }, profile: { type: "boolean" }, portable: { type: "boolean" } };
  const texts = { outage: { type: "string" }, scenario: { type: "string" } };
  const { values } = parseArgs({ options: { ...strings, ...flags, ...texts } });
  const numbers = Object.fromEntries(
    Object.entries(limits).map(([name, [min, max, initial]]) => {
      const value = Number(values[name] ?? initial);
      if (!(value >= min && value <= max)) throw new Error(`--${name} must be a number from ${min} to ${max}.`);
      return [name, value];
    }),
  );
  const { https, profile, portable, scenario } = values;
  const outage = Number(values.outage ?? 0);
  const result = await runFleet({ ...numbers, https, profile, outage, native: !portable, scenario });
  const { engine, counted, checks, responses, seconds, out } = result;
  for (const name of Object.keys(engine).sort()) console.log(`${name.padEnd(40)} ${engine[name]}`);
  for (const summary of responses) {
    if (summary) console.log(`response: median ${summary.median} ms, p95 ${summary.p95} ms, p99 ${summary.p99} ms`);
  }
  const { ca: _, ...shown } = counted;
  console.log(`gateway: ${JSON.stringify(shown)}`);
  const { "fleet.cpu_ms": cpuMs, "fleet.signatures": signatures } = engine;
  console.log(`engine: ${(cpuMs / 1000).toFixed(1)} s of CPU, ${(cpuMs / signatures).toFixed(2)} ms a signed request`);
  console.log(
    `${seconds.toFixed(1)} s, ${(signatures / seconds).toFixed(1)} signatures/s, gateway ${((100 * counted.cpuSeconds) / seconds).toFixed(0)} % of a core`,
  );
  if (profile) console.log(shares(`${out}/run-0.cpuprofile`));
  for (const [name, a, b] of checks) console.log(`${a === b ? "equal " : "DIFFER"} ${name}: ${a} and ${b}`);
  process.exitCode = result.isEqual ? 0 : 1;
}
