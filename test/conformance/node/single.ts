/** Every case with its data, and a case with `each` once for every member of it: what each engine has to run. */
import type { Case } from "../case.js";
import { suites } from "../suites.js";
import { dataOfSuites } from "./data.js";

export interface SingleCase {
  readonly name: string;
  readonly suite: string;
  readonly each: Case;
  /** JSON, the same text for every engine. */
  readonly input: string | undefined;
}

export const singleCases: readonly SingleCase[] = Object.entries(suites).flatMap(([suite, cases]) =>
  cases.flatMap((each): SingleCase[] => {
    const data = dataOfSuites[suite]?.[each.name];
    const single = (name: string, value: unknown) => ({ name, suite, each, input: JSON.stringify(value) });
    if (!each.each) return [single(`${suite}: ${each.name}`, data)];
    return Object.entries((data ?? {}) as object).map(([key, value]) =>
      single(`${suite}: ${each.name}: ${key}`, value),
    );
  }),
);
