/** Starts servers and the simulator, and checks every outcome from both sides. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { suites } from "../conformance/suites.js";
import { misbehaviors } from "../support/misbehaving-tls.js";
import { tcpIoCases } from "../support/tcp-io.cases.js";
import { withServer } from "../support/tcp-io-server.js";
import { basics } from "./basics.js";
import { certificateCases, certificates } from "./certificates.js";
import { chainSuites, chains, signatures } from "./chains.js";
import { Conformance } from "./conformance.js";
import { Control } from "./control.js";
import { faultCases, faults } from "./faults.js";
import { projects } from "./init.js";
import { Links } from "./link.js";
import { misbehaving } from "./misbehaving.js";
import { Programs, type ProgramTest } from "./programs.js";
import { replays } from "./replays.js";
import { starts } from "./restart.js";
import { servers } from "./servers.js";
import { Expectations, Session, type Test } from "./session.js";
import { build, Display, Simulator, wrap } from "./simulator.js";
import { soak } from "./soak.js";
import { wake } from "./wake.js";
import { Workshop } from "./workshop.js";

export interface Line {
  readonly group: string;
  readonly name: string;
  readonly outcome: string;
  readonly failures: readonly string[];
}

async function buildSuite(output: string, control: number): Promise<string> {
  const start = performance.now();
  const app = await wrap(join(output, "apps/suite"), fileURLToPath(new URL("./app/manifest.json", import.meta.url)));
  const library = await build(app, output, "suite", { settings: { control: String(control) } });
  console.log(`built in ${Math.round(performance.now() - start)} ms`);
  return library;
}

/** @returns the process's exit code */
export async function main(filters: readonly string[]): Promise<number> {
  const control = new Control();
  const display = await Display.open();
  const lines: Line[] = [];
  const output = join(fileURLToPath(new URL("../..", import.meta.url)), "build/sim");
  try {
    const port = await control.open();
    // Built when the first test needs it.
    let built: Promise<string> | undefined;
    const suite = () => {
      built ??= buildSuite(output, port);
      return built;
    };

    const conformance = new Conformance();
    const tests: [string, string, Test][] = [
      ...Object.entries(basics).map(([name, test]): [string, string, Test] => ["basics", name, test]),
      ...certificateCases.map((each): [string, string, Test] => [
        "certificates",
        each.title ?? each.kind,
        (session, expect) => certificates(session, expect, each),
      ]),
      ["tls", "recorded handshakes", (session, expect) => replays(session, expect)],
      ...misbehaviors.flatMap((each) =>
        (["ecdsa", "rsa"] as const).map((keyType): [string, string, Test] => [
          "tls",
          `${each.name} (${keyType})`,
          (session, expect) => misbehaving(session, expect, each, keyType),
        ]),
      ),
      ...(["ecdsa", "rsa"] as const).map((keyType): [string, string, Test] => [
        "wake",
        `figures (${keyType})`,
        (session, expect) => wake(session, expect, keyType),
      ]),
      ["wake", "soak", (session, expect) => soak(session, expect)],
      ...servers.map(([name, test]): [string, string, Test] => ["servers", name, test]),
      ["certificates", "signatures", (session, expect) => signatures(session, expect)],
      ...chainSuites.map((suite): [string, string, Test] => [
        "certificates",
        suite,
        (session, expect) => chains(session, expect, suite),
      ]),
      ...faultCases.map((each): [string, string, Test] => [
        "faults",
        `${each.secure ? "https" : "http"} ${each.kept ? "kept " : ""}${JSON.stringify(each.fault)}`,
        (session, expect) => faults(session, expect, each),
      ]),
      ...tcpIoCases.map((each): [string, string, Test] => [
        "tcp",
        each.name,
        async (session, expect) => {
          const { outcome } = await withServer(each, (port) => session.run("tcp", { name: each.name, port }));
          expect.equal(outcome, each.expected, "as the stand-in");
          return JSON.stringify(outcome);
        },
      ]),
      ["conformance", "the list of cases", (session, expect) => conformance.list(session, expect)],
      ...Object.keys(suites).map((name): [string, string, Test] => [
        "conformance",
        name,
        (session, expect) => conformance.suite(session, expect, name),
      ]),
    ];
    let simulator: Simulator | undefined;
    for (const [group, name, test] of tests) {
      if (filters.length > 0 && !filters.some((filter) => `${group} ${name}`.includes(filter))) continue;
      const expect = new Expectations();
      let outcome = "";
      try {
        if (!simulator) {
          simulator = new Simulator(await suite(), display);
          await control.started(simulator.ended);
        }
        const session = new Session(control, simulator);
        try {
          outcome = await test(session, expect);
        } finally {
          await session.release();
        }
      } catch (error) {
        expect.failures.push(error instanceof Error ? error.message : String(error));
        expect.failures.push(...(simulator?.lines.slice(-5) ?? []));
        await simulator?.close();
        simulator = undefined;
      }
      report(lines, { group, name, outcome, failures: expect.failures });
    }
    await simulator?.close();
    if (filters.length === 0 || filters.some((filter) => "restart".includes(filter))) {
      report(lines, await starts(await suite(), display, control));
    }
    const workshop = await Workshop.open();
    try {
      const others: [string, readonly ProgramTest[]][] = [
        ["link", new Links(workshop).tests()],
        ["programs", await new Programs(workshop, display, join(output, "programs")).tests()],
        ["init", projects(workshop, display)],
      ];
      for (const [group, tests] of others) {
        for (const { name, run } of tests) {
          if (filters.length > 0 && !filters.some((filter) => `${group} ${name}`.includes(filter))) continue;
          let outcome = "";
          const failures: string[] = [];
          try {
            outcome = await run();
          } catch (error) {
            failures.push(error instanceof Error ? error.message : String(error));
          }
          report(lines, { group, name, outcome, failures });
        }
      }
    } finally {
      await workshop.close();
    }
    const summary = conformance.summary();
    if (summary) console.log(summary);
  } finally {
    await display.close();
    await control.close();
  }
  const failed = lines.filter((line) => line.failures.length > 0);
  console.log(`${lines.length - failed.length} of ${lines.length} passed on the simulator`);
  if (!process.env.SIM_KEEP) await rm(output, { recursive: true, force: true });
  return failed.length === 0 ? 0 : 1;
}

function report(lines: Line[], line: Line): void {
  lines.push(line);
  console.log(`${line.failures.length === 0 ? "ok    " : "FAILED"} ${line.group}: ${line.name} — ${line.outcome}`);
  for (const failure of line.failures) console.log(`         ${failure}`);
}
