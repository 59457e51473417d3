/** The conformance suite on the simulator. */
import { Check } from "../conformance/check.js";
import { type SingleCase, singleCases } from "../conformance/node/single.js";
import { suites } from "../conformance/suites.js";
import type { Expectations, Session } from "./session.js";

/** The same cases as on Node, where they are run beforehand: as many, with as many checks. */
export class Conformance {
  readonly #counts = new Map<string, { readonly cases: number; readonly checks: number }>();

  async list(session: Session, expect: Expectations): Promise<string> {
    const listed = (await session.run("cases")).suites;
    const expected = Object.entries(suites).map(([suite, cases]) => [suite, cases.map((each) => each.name)]);
    expect.equal(listed, expected, "cases that the app has");
    return `${listed.length} suites`;
  }

  async suite(session: Session, expect: Expectations, name: string): Promise<string> {
    const singles = singleCases.filter((each) => each.suite === name);
    const onNode = await Promise.all(singles.map(checksOnNode));
    let cases = 0;
    let checks = 0;
    for (const [index, single] of singles.entries()) {
      const { suite, each, input } = single;
      let result: { outcome: { ok: boolean; message?: string }; checks: number };
      try {
        result = await session.run("conformance", { suite, name: each.name, input });
      } catch (error) {
        throw new Error(`${single.name}, after ${cases} of ${singles.length} cases: ${error}`, { cause: error });
      }
      expect.ok(result.outcome.ok, `${single.name}: ${result.outcome.message}`);
      expect.equal(result.checks, onNode[index], `${single.name}: checks`);
      if (!result.outcome.ok) continue;
      cases++;
      checks += result.checks;
    }
    expect.ok(cases > 0, "no case passed");
    this.#counts.set(name, { cases, checks });
    return `${cases} cases, ${checks} checks`;
  }

  /** Of all that was run, in one line; empty if no suite came to its end. */
  summary(): string {
    const counts = [...this.#counts.values()];
    if (counts.length === 0) return "";
    const cases = counts.reduce((sum, count) => sum + count.cases, 0);
    const checks = counts.reduce((sum, count) => sum + count.checks, 0);
    return `conformance: ${cases} of ${singleCases.length} cases passed on the simulator (${checks} checks, as on Node)`;
  }
}

async function checksOnNode({ each, input }: SingleCase): Promise<number> {
  const check = new Check();
  await each.run(check, input === undefined ? undefined : JSON.parse(input));
  return check.count;
}
