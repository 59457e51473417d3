/** The project speaks the field's language: phrases that a reader would have to translate stay out. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { allPages } from "../../scripts/pages.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What must not be written, and what to write in its place. */
const banned: readonly [RegExp, string][] = [
  [/(?<!known )(?<!Known)\banswer/i, "response"],
  [/\w(?<![kK]nown)Answer/, "Response"],
  [/\bof one's own\b/, "custom, private, separate"],
  [/\b(?:of|at|by) (?:its|their|his|your|whose) own\b/, "separate, new, or nothing"],
  [/\bunless given\b/, "@default"],
  [/\b(?:is|are|was|were|be|been) told\b/, "is reported, is set, gets"],
  [/\b(?:told|tells|tell) (?:apart|from)\b/, "distinguished from"],
  [/\b(?:gives?|gave) way\b/, "is dropped, is evicted"],
  [
    /\b(?:takes?|took|taken) (?:it |this |that |them )?for (?!granted)(?:a|an|the|gone|dead|evidence)\b/,
    "considers, mistakes for",
  ],
  [
    /\b(?:what|that|which|it|this) (?:is|are) no (?!longer|more|later|earlier|better|less)\w/i,
    "anything but, is not a",
  ],
  [/\bare no (?:files|HTTP|certificates|readings)\b/, "are not"],
  [/\bkeeps its room\b/, "more than half full"],
  [/\bfrom this side\b/, "by the client"],
  [/\bas it should be\b/, "correct, valid"],
  [/\bdo(?:es)? not belong together\b/, "do not match"],
  [/\bmust be an integer from 0\b(?! to)/, "non-negative integer"],
  [/\bin full\b.*\bpoint\b|\bpoint\b.*\bin full\b/, "compressed"],
  [/\bsends clients away\b/, "kiss-o'-death"],
  [/\bis no (?:folder|whole|text|integer|name|host)\b/, "is not a"],
  [/\bon the spot\b/, "generated"],
  [/\bmisbehave at every\b/, "inject this fault into every request"],
  [/\bswitchboard\b/, "injector"],
  [/\b(?:struck|strikes)\b/, "injected"],
  [/\bseen enough\b/, "Ignore EPIPE"],
  [/\bleft in peace\b/, "skipped"],
  [/\bhas said its last word\b/, "acknowledged or rejected"],
  [/\bplays the gateway\b/, "server impersonation"],
  [/\bwhat stands against it\b/, "mitigation"],
  [/\b(?:takes?|gives?) none\b|\bnone gives none\b/, "empty in, empty out"],
  [/\bin place of\b/, "instead of"],
  [/\bas (?:it is|they are) in the console\b|\bas it stands\b/, "as shown in the console"],
  [/\bon its way\b/, "being sent, in transit, pending"],
  [/\bunder way\b/, "pending, current"],
  [/\bof use any more\b|\bnot .{1,20} any more\b/, "no longer"],
  [/\btakes? in that\b/i, "notes that"],
  [/\bmade just now\b/, "self-generated"],
  [/\bgoing on makes no sense\b/, "an error makes further attempts pointless"],
  [/\b[Ww]hoever\b/, "anyone who, the process that"],
  [/\bnobody's\b/, "unsolicited, belongs to no request"],
  [/\bthat no request had asked for\b/, "unsolicited bytes"],
  [/\bis (?:written|said) nowhere\b/, "is not documented"],
  [/\bwritten whole\b/, "written completely"],
  [/\bmakes no sense\b/, "is invalid"],
  [/\bof the 400s\b/, "4xx"],
  [/\bsay(?:s)? no for good\b|\bsaid no\b/, "rejected permanently"],
  [/\bin this life\b/, "until a restart"],
  [/\bkept connections?\b/, "keep-alive connection, pooled connection"],
  [/\bmakes? (?:itself |it )?a host of its own\b/, "creates its own host"],
  [/\bstands for (?:none|nothing)\b/, "undefined, is ignored"],
  [/\bgone through\b/, "scanned"],
  [/\btakes? note\b/, "records"],
  [/\banother story\b/, "may succeed"],
  [/\bread through\b/, "parsed, checked"],
  [/\bin this life\b|\bthis life of\b|\bfor this life\b/, "until the restart"],
  [/\bstarts? anew\b|\bbegun anew\b|\bbegins? anew\b/, "restarts"],
  [/\bthis side's\b/, "the client's"],
  [/\bnobody asked for\b/, "unsolicited"],
  [/\bat hand\b/, "available"],
  [/\bdoes no harm\b|\bdo no harm\b/, "is ignored, has no effect"],
  [/\bcut short\b/, "interrupted"],
  [/\bmake up for\b|\bmade up for\b/, "repeat, replace"],
];

const folders = ["src", "host", "mocks", "tools", "examples", "bench", "scripts", "test", "docs"];
/** Pages outside of these folders; the changelog names what was renamed. */
const documents = allPages().filter(
  (page) => page !== "CHANGELOG.md" && !folders.some((folder) => page.startsWith(`${folder}/`)),
);
/** Files that are not written by hand, and this list. */
const skipped = /(?:^|\/)(?:node_modules|dist|build|vectors)\/|results\.json$|^unit\/words\.test\.ts$/;

function lines(path: string): [where: string, line: string][] {
  const text = readFileSync(join(root, path), "utf8");
  return text.split("\n").map((line, index) => [`${path}:${index + 1}`, line]);
}

function phrasesIn(all: readonly (readonly [string, string])[]): string[] {
  return all.flatMap(([where, line]) =>
    banned.flatMap(([phrase, better]) => {
      const found = phrase.exec(line);
      return found ? [`${where}: "${found[0]}": write: ${better}`] : [];
    }),
  );
}

test.each(folders)("%s has no banned phrase", (folder) => {
  const files = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => /\.(ts|js|mjs|json|md)$/.test(name) && !skipped.test(name));
  expect(files.length).toBeGreaterThan(0);
  expect(phrasesIn(files.flatMap((name) => lines(`${folder}/${name}`)))).toEqual([]);
});

test.each(documents)("%s has no banned phrase", (path) => {
  expect(phrasesIn(lines(path))).toEqual([]);
});

test("a banned phrase is found, and its better word is not", () => {
  const bad = [
    "The answer is empty.",
    "a signer of one's own",
    "3 unless given",
    "what is no text",
    "is told",
    "struck",
  ];
  expect(bad.filter((line) => phrasesIn([["x", line]]).length === 0)).toEqual([]);
  const good = [
    "The response is empty.",
    "a custom signer",
    "@default 3",
    "known answers",
    "is no longer kept",
    "binary",
  ];
  expect(phrasesIn(good.map((line) => ["x", line] as const))).toEqual([]);
});
