// `npm run locust`: starts the local gateway, a Locust master and two workers on loopback, and checks that Locust and the
// gateway counted the same.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle, root } from "./build.mjs";
import { makeDevices, productId, startGateway } from "./local-gateway.mjs";

/** The first Python that has Locust: Debian's package is for Debian's Python, which need not be the first in PATH. */
export function findPython() {
  return ["python3", "/usr/bin/python3"].find(
    (python) => spawnSync(python, ["-c", "import locust.runners"], { stdio: "ignore" }).status === 0,
  );
}

/** @param {{ python: string; devices?: number; readings?: number; interval?: number; workers?: number; out?: string }} options */
export async function runLocust({
  python,
  devices = 100,
  readings = 3,
  interval = 3,
  workers = 2,
  out = `${root}build`,
}) {
  mkdirSync(out, { recursive: true });
  await bundle();
  const made = makeDevices(devices, 0);
  writeFileSync(`${out}/locust.csv`, made.csv, { mode: 0o600 });
  const gateway = await startGateway(made.devices);
  const port = await freePort();
  const env = {
    ...process.env,
    DEVICE_CSV: `${out}/locust.csv`,
    DEVICE_OFFSET: "0",
    DEVICE_COUNT: String(devices),
    PRODUCT_ID: productId,
    FLEET_READINGS: String(readings),
    FLEET_INTERVAL: String(interval),
  };
  const base = ["-m", "locust", "-f", `${root}locustfile.py`, "--headless", "-H", gateway.url];
  const start = (args) => spawn(python, [...base, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const running = [
    start([
      ...["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", String(port)],
      ...["--expect-workers", String(workers), "-u", String(devices), "-r", String(Math.ceil(devices / 4))],
      // A bound, should a board never end.
      ...["--run-time", `${Math.ceil(120 + 2 * interval * readings)}s`, "--csv", `${out}/locust`, "--only-summary"],
    ]),
    ...Array.from({ length: workers }, () =>
      start(["--worker", "--master-host", "127.0.0.1", "--master-port", String(port)]),
    ),
  ];
  let log = "";
  for (const child of running) child.stderr.on("data", (text) => (log += text));
  try {
    const [[code]] = await Promise.all(running.map((child) => once(child, "exit")));
    if (code !== 0) throw new Error(`Locust ended with ${code}.\n${log}`);
    const [header, ...lines] = readFileSync(`${out}/locust_stats.csv`, "utf8").trim().split("\n");
    const total = lines.at(-1)?.split(",") ?? [];
    const column = (name) => Number(total[header.split(",").indexOf(name)]);
    const counted = await gateway.counts();
    const requests = column("Request Count");
    const checks = [
      ["requests", requests, counted.requests],
      ["accepted", requests - column("Failure Count"), counted.accepted],
      ["readings", requests, devices * readings],
      ["devices with every reading", devices, counted.devicesByReadings[readings] ?? 0],
      ["workers", (log.match(/reported as ready/g) ?? []).length, workers],
    ];
    return { checks, counted, isEqual: checks.every(([, a, b]) => a === b), log };
  } finally {
    for (const child of running) child.kill();
    gateway.close();
  }
}

/** Locust's master cannot have a port chosen by the system and tell it. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { devices: { type: "string", default: "100" }, workers: { type: "string", default: "2" } },
  });
  const python = findPython();
  if (python === undefined) {
    console.log("skipped: no Python here has Locust (Debian: apt-get install python3-locust)");
  } else {
    const result = await runLocust({ python, devices: Number(values.devices), workers: Number(values.workers) });
    console.log(`gateway: ${JSON.stringify(result.counted)}`);
    for (const [name, a, b] of result.checks) console.log(`${a === b ? "equal " : "DIFFER"} ${name}: ${a} and ${b}`);
    if (!result.isEqual) console.log(result.log);
    process.exitCode = result.isEqual ? 0 : 1;
  }
}
