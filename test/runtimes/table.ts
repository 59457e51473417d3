/** The tables of docs/runtimes.md, from results.json. */

/** What came of one runtime. */
export interface Result {
  readonly version: string;
  /** Number of conformance cases that passed with as many checks as on the Node that ran this. */
  readonly cases: number;
  readonly of: number;
  /** TLS version of the publish. */
  readonly tls: string;
  /** Result of a publish by gateway: `delivered`, or the error's code. */
  readonly outcomes: Readonly<Record<string, string>>;
}

export type Results = Record<string, Result>;

const names: Readonly<Record<string, string>> = {
  node20: "Node",
  node22: "Node",
  node24: "Node",
  node26: "Node",
  deno: "Deno",
  bun: "Bun",
  workerd: "workerd",
};
const BEGIN = "<!-- runtimes: begin, written by npm run runtimes -->";
const END = "<!-- runtimes: end -->";

export function section(results: Results): string {
  const rows = Object.entries(results).map(([id, { version, cases, of, tls, outcomes }]) => {
    const node = outcomes["Node host"] ?? "–";
    const conformance = `${cases} of ${of} cases`;
    return `| ${names[id]} ${version} | ${conformance} | ${outcomes.https}, ${tls} | ${node} |`;
  });
  const kinds = [...new Set(Object.values(results).flatMap(({ outcomes }) => Object.keys(outcomes)))].filter(
    (kind) => kind !== "https" && kind !== "Node host",
  );
  const columns = new Map<string, string[]>();
  for (const [id, { version, outcomes }] of Object.entries(results)) {
    const codes = kinds.map((kind) => outcomes[kind]).join();
    const name = `${names[id]} ${version.split(".")[0]}`;
    columns.set(codes, [...(columns.get(codes) ?? []), id === "workerd" ? "workerd" : name]);
  }
  const groups = [...columns];
  return [
    "| runtime | conformance suite | publish over HTTPS, host `./fetch` | host `./node` |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
    `| gateway | ${groups.map(([, ids]) => ids.join(", ")).join(" | ")} |`,
    `| --- |${" --- |".repeat(groups.length)}`,
    ...kinds.map((kind, i) => `| ${kind} | ${groups.map(([codes]) => `\`${codes.split(",")[i]}\``).join(" | ")} |`),
  ].join("\n");
}

/** The page with another section between its marks. */
export function withSection(page: string, section: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error("docs/runtimes.md has no marks for its tables.");
  return `${page.slice(0, begin + BEGIN.length)}\n${section}\n${page.slice(end)}`;
}
