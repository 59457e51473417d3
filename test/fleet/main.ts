/**
 * `npm run storm`: the recovery storm with 10 000 boards, some minutes long. Writes fleet/storm.json, the chart and the
 * table of docs/fleet.md. `--boards N` for another number, `--report` to write chart and table of the figures there are.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { chart, measure, type StormReport, withTable } from "./storm-report.js";

const { values } = parseArgs({
  options: { boards: { type: "string", default: "10000" }, report: { type: "boolean", default: false } },
});
const boards = Number(values.boards);
if (!Number.isInteger(boards) || boards < 1 || boards > 100_000) {
  console.error("error: --boards must be an integer from 1 to 100000.");
  process.exit(2);
}
const file = (path: string) => new URL(`../../${path}`, import.meta.url);
let report: StormReport;
if (values.report) report = JSON.parse(readFileSync(file("fleet/storm.json"), "utf8"));
else {
  report = await measure(boards, (name) => console.log(`storm: ${boards} boards, ${name}`));
  writeFileSync(file("fleet/storm.json"), storm(report));
}
writeFileSync(file("docs/images/storm.svg"), await chart(report));
writeFileSync(file("docs/fleet.md"), withTable(readFileSync(file("docs/fleet.md"), "utf8"), report));

/** JSON with the arrays of numbers on one line each. */
function storm(report: StormReport): string {
  return `${JSON.stringify(report, null, 2).replace(/\[[^[\]{}]*\]/g, (list) => list.replace(/\s+/g, " "))}\n`;
}
