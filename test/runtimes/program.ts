/** What every runtime runs. It has the language and the host over `fetch`, and nothing of the runtime's own. */
import { createHost, Device, IotHubError } from "../../host/fetch/index.js";
import type { Host } from "../../src/host.js";
import { Check } from "../conformance/check.js";
import { suites } from "../conformance/suites.js";

/** What the program is given, as JSON. */
export interface Task {
  readonly secret: string;
  /** Gateways: one that works, and others that inject a fault into every request. */
  readonly urls: Readonly<Record<string, string>>;
  /** PEM of the CA of the gateway that works, for the host of Node's modules. */
  readonly ca: string;
  readonly cases: readonly {
    readonly suite: string;
    readonly name: string;
    readonly single: string;
    readonly input?: string;
  }[];
}

/** What it says, as JSON. */
export interface Report {
  /** Number of checks by case. */
  readonly checks: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  /** Result of a publish by gateway: `delivered`, or the error's code. */
  readonly outcomes: Readonly<Record<string, string>>;
}

export async function run(task: Task): Promise<Report> {
  const outcomes: Record<string, string> = {};
  for (const [name, url] of Object.entries(task.urls)) {
    outcomes[name] = await publish(task, url, createHost(), endless.includes(name) ? 1000 : 60_000);
  }
  return { ...(await conformance(task)), outcomes };
}

/** Gateways that only a limit ends; the limit of the others is for a machine that does much else. */
const endless: readonly string[] = ["hang", "slow drip"];

/** Publishes once, without retries. */
export async function publish({ secret }: Task, url: string, host: Host, timeoutMs = 60_000): Promise<string> {
  const device = new Device(
    { productId: "P1", deviceName: "d1", credential: { secret }, url, retry: false, timeoutMs },
    host,
  );
  try {
    await device.publish({ topic: "data", payload: { t: 21.5, text: "温度" } });
    return "delivered";
  } catch (error) {
    return error instanceof IotHubError ? error.code : String(error);
  } finally {
    device.close();
    host.close?.();
  }
}

async function conformance({ cases }: Task): Promise<Pick<Report, "checks" | "failures">> {
  const checks: Record<string, number> = {};
  const failures: string[] = [];
  for (const { suite, name, single, input } of cases) {
    const check = new Check();
    try {
      const found = suites[suite]?.find((each) => each.name === name);
      if (found === undefined) throw new Error("there is no such case");
      await found.run(check, input === undefined ? undefined : JSON.parse(input));
      checks[single] = check.count;
    } catch (error) {
      failures.push(`${single}: ${error}`);
    }
  }
  return { checks, failures };
}
