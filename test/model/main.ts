/**
 * Many random histories of an outbox:
 *
 *     npm run model -- --seeds 5000
 *     npm run model -- --seed 17 --trouble hanging
 */

import { parseArgs } from "node:util";
import { history, type Trouble, troubles } from "./model.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    trouble: { type: "string" },
  },
});
const first = Number(values.seed);
const count = Number(values.seeds);
const chosen = values.trouble === undefined ? troubles : troubles.filter((one) => one === values.trouble);
if (!(first >= 0 && count >= 1) || chosen.length === 0) {
  console.error(`--seed and --seeds must be numbers, --trouble one of ${troubles.join(", ")}`);
  process.exit(2);
}
let failed = 0;
const found = new Map<Trouble, number>();
for (let seed = first; seed < first + count; seed++) {
  const trouble = chosen[seed % chosen.length];
  const wrong = await history(seed, trouble);
  if (wrong.length === 0) continue;
  failed++;
  found.set(trouble, (found.get(trouble) ?? 0) + 1);
  if (failed <= 10) console.log(`seed ${seed}, ${trouble}: ${wrong.slice(0, 5).join("; ")}`);
}
console.log(`${count} histories, ${failed} of them wrong`);
for (const [trouble, times] of found) console.log(`  ${trouble}: ${times}`);
process.exitCode = failed > 0 ? 1 : 0;
