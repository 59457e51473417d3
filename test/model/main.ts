/**
 * Many random histories of an outbox, and of a device that registers:
 *
 *     npm run model -- --seeds 5000
 *     npm run model -- --of outbox --seed 17 --trouble hanging
 */

import { parseArgs } from "node:util";
import { history, troubles } from "./model.js";
import { registrationHistory, registrationTroubles } from "./registration.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    of: { type: "string" },
    trouble: { type: "string" },
  },
});
const models: Record<string, { troubles: readonly string[]; run(seed: number, trouble: string): Promise<string[]> }> = {
  outbox: { troubles, run: history as never },
  registration: { troubles: registrationTroubles, run: registrationHistory as never },
};
const names = values.of === undefined ? Object.keys(models) : [values.of];
const first = Number(values.seed);
const count = Number(values.seeds);
if (!(first >= 0 && count >= 1) || names.some((name) => !Object.hasOwn(models, name))) {
  console.error(`--seed and --seeds must be numbers, --of one of ${Object.keys(models).join(", ")}`);
  process.exit(2);
}
for (const name of names) {
  const { troubles, run } = models[name];
  const chosen = troubles.filter((one) => values.trouble === undefined || one === values.trouble);
  if (chosen.length === 0) {
    console.error(`--trouble must be one of ${troubles.join(", ")}`);
    process.exit(2);
  }
  let failed = 0;
  const found = new Map<string, number>();
  for (let seed = first; seed < first + count; seed++) {
    const trouble = chosen[seed % chosen.length];
    const wrong = await run(seed, trouble);
    if (wrong.length === 0) continue;
    failed++;
    found.set(trouble, (found.get(trouble) ?? 0) + 1);
    if (failed <= 10) console.log(`seed ${seed}, ${trouble}: ${wrong.slice(0, 5).join("; ")}`);
  }
  console.log(`${name}: ${count} histories, ${failed} of them wrong`);
  for (const [trouble, times] of found) console.log(`  ${trouble}: ${times}`);
  if (failed > 0) process.exitCode = 1;
}
