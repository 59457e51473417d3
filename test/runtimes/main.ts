/** Runs the program on each runtime against local gateways, and writes down what came of it. */
import { readFileSync, writeFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rollup } from "rollup";
import { stripTypesPlugin } from "../../scripts/strip-types.mjs";
import {
  type CertificateKind,
  type Fault,
  type Gateway,
  type GatewayOptions,
  startGateway,
} from "../../tools/gateway/index.js";
import { Check } from "../conformance/check.js";
import { type SingleCase, singleCases } from "../conformance/node/single.js";
import { psk } from "../support/keys.js";
import type { Report, Task } from "./program.js";
import { type Programs, type Runtime, runtimes, serveOnBun } from "./runtimes.js";
import { type Result, type Results, section, withSection } from "./table.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
const resultsFile = `${here}results.json`;
const page = `${root}docs/runtimes.md`;

/** Faults of every runtime's table, by the name of their gateway. */
const faults: Readonly<Record<string, Fault>> = {
  reset: { kind: "reset", phase: "headers" },
  truncated: { kind: "truncated" },
  "too large": { kind: "too-large" },
  "slow drip": { kind: "slow-drip", bytes: 1, intervalMs: 300 },
  hang: { kind: "hang", phase: "headers" },
  "not HTTP": { kind: "garbage" },
};

/** Certificates that must be rejected; the root of the last two is trusted. */
const certificates: Readonly<Record<string, CertificateKind>> = {
  "unknown CA": "unknownRoot",
  expired: "expired",
  "other name": "wrongName",
};

/** What each of these gateways must come to; that of a runtime which says less is in its own table. */
const expected: Readonly<Record<string, string>> = {
  https: "delivered",
  refused: "CONNECTION_REFUSED",
  "unknown CA": "CERTIFICATE_REJECTED",
  expired: "CERTIFICATE_REJECTED",
  "other name": "CERTIFICATE_REJECTED",
  redirect: "HTTP_STATUS",
  reset: "CONNECTION_RESET",
  truncated: "CONNECTION_RESET",
  "too large": "RESPONSE_TOO_LARGE",
  "slow drip": "TIMEOUT",
  hang: "TIMEOUT",
  "not HTTP": "RESPONSE_MALFORMED",
  "Node host": "delivered",
};

/** @returns the process's exit code */
export async function main({ names, check }: { names: readonly string[]; check: boolean }): Promise<number> {
  const unknown = names.filter((name) => !runtimes.some((runtime) => runtime.id === name));
  if (unknown.length > 0) {
    console.error(`Unknown runtime ${unknown[0]}; the known ones are ${runtimes.map(({ id }) => id).join(", ")}.`);
    return 2;
  }
  const chosen = runtimes.filter(({ id }) => names.length === 0 || names.includes(id));
  const scratch = `${root}build/runtimes`;
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  const servers = await startServers();
  try {
    const programs = await prepare(scratch, servers);
    const reference = await onThisNode();
    const results: Results = {};
    let failed = 0;
    for (const runtime of chosen) {
      const { result, checks, problems } = await runOne(runtime, programs, reference, servers);
      results[runtime.id] = result;
      console.log(line(runtime, result, checks, problems));
      for (const problem of problems) console.log(`       ${problem}`);
      if (problems.length > 0) failed++;
    }
    if (names.length === 0 || names.includes("bun")) {
      const problem = await gatewayOnBun(scratch);
      console.log(
        problem ? `FAILED the gateway on Bun over HTTPS: ${problem}` : "ok     the gateway on Bun over HTTPS",
      );
      if (problem) failed++;
    }
    if (failed === 0 && names.length === 0 && !check) record(results);
    return failed > 0 ? 1 : 0;
  } finally {
    await servers.close();
  }
}

interface Servers {
  readonly working: Gateway;
  readonly urls: Readonly<Record<string, string>>;
  /** Requests that a redirect led elsewhere. */
  readonly followed: () => number;
  close(): Promise<void>;
}

async function startServers(): Promise<Servers> {
  const devices = { products: { P1: { devices: { d1: { psk } } } } };
  const working = await startGateway({ devices, https: true });
  const options: [string, GatewayOptions][] = [
    ...Object.entries(certificates).map(([name, kind]): [string, GatewayOptions] => [
      name,
      { devices, https: { certificates: kind } },
    ]),
    ...Object.entries(faults).map(([name, fault]): [string, GatewayOptions] => [name, { devices, fault }]),
  ];
  const others = await Promise.all(options.map(async ([name, each]) => [name, await startGateway(each)] as const));
  let followed = 0;
  const redirect = createHttpServer((request, response) => {
    if (request.url !== "/device/publish") followed++;
    request.resume().on("end", () => response.writeHead(307, { Location: "/elsewhere" }).end());
  });
  await new Promise<void>((resolve) => redirect.listen(0, "127.0.0.1", resolve));
  const urls = {
    https: working.url,
    refused: `http://127.0.0.1:${await closedPort()}`,
    redirect: `http://127.0.0.1:${(redirect.address() as AddressInfo).port}`,
    ...Object.fromEntries(others.map(([name, { url }]) => [name, url])),
  };
  const close = async () => {
    redirect.closeAllConnections();
    redirect.close();
    for (const gateway of [working, ...others.map(([, gateway]) => gateway)]) await gateway.close();
  };
  return { working, urls, followed: () => followed, close };
}

/** A port of the system's choice on which nobody listens any more. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function prepare(scratch: string, { working, urls }: Servers): Promise<Programs> {
  for (const name of ["script", "worker"]) {
    const built = await rollup({
      input: `${here}${name}.ts`,
      external: /^node:/,
      plugins: [stripTypesPlugin()],
      onwarn(warning) {
        throw new Error(`${name}: ${warning.message}`);
      },
    });
    await built.write({ file: join(scratch, `${name}.mjs`), format: "es" });
    await built.close();
  }
  const cases = singleCases.map(({ suite, each, name, input }) => ({ suite, name: each.name, single: name, input }));
  const task: Task = { secret: psk, urls, ca: working.ca ?? "", cases };
  await writeFile(join(scratch, "task.json"), JSON.stringify(task));
  await writeFile(join(scratch, "ca.pem"), working.ca ?? "");
  return { folder: scratch, task };
}

/** Number of checks by case on the Node that runs this. */
async function onThisNode(): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const { name, each, input } of singleCases satisfies readonly SingleCase[]) {
    const check = new Check();
    await each.run(check, input === undefined ? undefined : JSON.parse(input));
    counts.set(name, check.count);
  }
  return counts;
}

async function runOne(
  runtime: Runtime,
  programs: Programs,
  reference: ReadonlyMap<string, number>,
  { working, followed }: Servers,
): Promise<{ result: Result; checks: number; problems: string[] }> {
  working.clearReceived();
  const followedBefore = followed();
  const problems: string[] = [];
  let report: Report = { checks: {}, failures: [], outcomes: {} };
  try {
    report = await runtime.run(programs);
  } catch (error) {
    problems.push((error as Error).message);
  }
  problems.push(...report.failures);
  const passed = [...reference].filter(([name, count]) => report.checks[name] === count).length;
  if (passed < reference.size) problems.push(`${reference.size - passed} cases did not have their number of checks`);
  const codes = { ...expected, ...runtime.less };
  for (const [name, code] of Object.entries(codes)) {
    const outcome = report.outcomes[name];
    if (code !== "" && outcome !== code) problems.push(`${name}: ${outcome} instead of ${code}`);
  }
  if (followed() !== followedBefore) problems.push("a redirect was followed");
  const tls = working.received.find(({ accepted }) => accepted)?.connection.tls?.protocol;
  if (tls === undefined) problems.push("the gateway took no message over HTTPS");
  const checks = Object.values(report.checks).reduce((sum, count) => sum + count, 0);
  const result: Result = {
    version: runtime.version,
    cases: passed,
    of: reference.size,
    tls: tls ?? "",
    outcomes: report.outcomes,
  };
  return { result, checks, problems };
}

function line({ name }: Runtime, result: Result, checks: number, problems: readonly string[]): string {
  const { version, cases, of, tls, outcomes } = result;
  const host = outcomes["Node host"] === undefined ? "" : `, with the host of Node: ${outcomes["Node host"]}`;
  const published = `publish over HTTPS: ${outcomes.https ?? "not run"}${tls && ` (${tls})`}${host}`;
  const mark = problems.length > 0 ? "FAILED" : "ok    ";
  return `${mark} ${name} ${version}: ${cases} of ${of} conformance cases passed (${checks} checks); ${published}`;
}

/** A device on this Node publishes to a gateway that runs on Bun. @returns what went wrong */
async function gatewayOnBun(scratch: string): Promise<string | undefined> {
  const { createHost } = await import("../../host/node/index.js");
  const { publish } = await import("./program.js");
  try {
    return await serveOnBun(`${here}bun-gateway.ts`, scratch, psk, async ({ url, ca }) => {
      const outcome = await publish({ secret: psk } as Task, url, createHost({ trustAnchors: ca }));
      return outcome === "delivered" ? undefined : outcome;
    });
  } catch (error) {
    return (error as Error).message;
  }
}

function record(results: Results): void {
  writeFileSync(resultsFile, `${JSON.stringify(results, undefined, 2)}\n`);
  writeFileSync(page, withSection(readFileSync(page, "utf8"), section(results)));
  console.log("written: test/runtimes/results.json, docs/runtimes.md");
}
