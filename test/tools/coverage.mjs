// `npm run coverage`: runs the tests and prints what they cover, a line for each part of the library. Fails where the
// tests fail, or where a part is covered less than its floor. Arguments go to jest.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Percent of lines and branches that have to be covered. */
export const floors = {
  src: { lines: 97, branches: 95 },
  "host/node": { lines: 95, branches: 86 },
  "host/fetch": { lines: 95, branches: 90 },
  "host/moddable": { lines: 95, branches: 88 },
};

/**
 * @param {string} folder
 * @param {Record<string, Record<string, { covered: number, total: number }>>} files jest's coverage-summary.json
 * @param {Record<string, number>} least percent by kind
 * @returns {{ line: string, isBelow: boolean }} a line such as `coverage src: lines 98.2 % (floor 97)`
 */
export function judge(folder, files, least) {
  const below = [];
  const parts = Object.entries(least).map(([kind, floor]) => {
    let [covered, total] = [0, 0];
    for (const [path, summary] of Object.entries(files)) {
      if (!path.startsWith(`${root}${folder}/`)) continue;
      covered += summary[kind].covered;
      total += summary[kind].total;
    }
    // What was not measured at all is below every floor.
    const percent = total === 0 ? 0 : (100 * covered) / total;
    if (percent < floor) below.push(kind);
    return `${kind} ${percent.toFixed(1)} % (floor ${floor})`;
  });
  const note = below.length > 0 ? `; BELOW ITS FLOOR: ${below.join(", ")}` : "";
  return { line: `coverage ${folder}: ${parts.join(", ")}${note}`, isBelow: below.length > 0 };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const summary = `${root}coverage/coverage-summary.json`;
  let status = 0;
  if (process.argv[2] !== "--judge") {
    rmSync(summary, { force: true });
    const options = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning"];
    const jest = [`${root}node_modules/jest/bin/jest.js`, "--coverage", ...process.argv.slice(2)];
    ({ status } = spawnSync(process.execPath, [...options, ...jest], { cwd: root, stdio: "inherit" }));
  }
  const files = existsSync(summary) ? JSON.parse(readFileSync(summary, "utf8")) : {};
  const results = Object.entries(floors).map(([folder, least]) => judge(folder, files, least));
  for (const { line } of results) console.log(line);
  process.exitCode = (status ?? 1) || (results.some(({ isBelow }) => isBelow) ? 1 : 0);
}
