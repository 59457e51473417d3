/**
 * Entry of the bundle for XS. Its exports are called by the scripts that `node/conformance.test.ts` hands to the
 * engine.
 */
import { Check } from "./check.js";
import { suites } from "./suites.js";

declare const print: (text: string) => void;
declare const input: string | undefined;

/**
 * Runs one case and prints how many checks held. A failure is an unhandled rejection: the engine ends with its message.
 */
export async function run(suite: string, name: string): Promise<void> {
  const found = suites[suite]?.find((each) => each.name === name);
  if (!found) throw new Error(`There is no case "${name}" in the suite "${suite}".`);
  const check = new Check();
  await found.run(check, typeof input === "string" ? JSON.parse(input) : undefined);
  print(`checks: ${check.count}`);
}

/** Prints the names of all cases as JSON. */
export function list(): void {
  print(JSON.stringify(Object.entries(suites).map(([suite, cases]) => [suite, cases.map((each) => each.name)])));
}
