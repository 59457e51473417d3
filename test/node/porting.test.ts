/** The porting guide describes each member of a host. `npm run types` compiles its program. */

import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";

const guide = readFileSync(new URL("../../docs/porting.md", import.meta.url), "utf8");

test("the guide lists every member of Host and of a request", () => {
  const declared = readFileSync(new URL("../../src/host.ts", import.meta.url), "utf8");
  const members = (name: string) => {
    const body = declared.slice(declared.indexOf(`export interface ${name} {`)).split("\n}\n")[0];
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(([, member]) => member);
  };
  const rows = [...guide.matchAll(/^\| ((?:`[^|]+`(?:, )?)+) \|/gm)].map(([, row]) => row).join();
  const dotted = (object: string) => (member: string) => `${object}.${member}`;
  const plain = members("Host").filter((member) => !["http", "clock", "random", "timer"].includes(member));
  const wanted = [
    ...plain,
    ...members("HttpClient").map(dotted("http")),
    ...members("HttpContext").map(dotted("context")),
    ...members("Clock").map(dotted("clock")),
    ...members("Random").map(dotted("random")),
    ...members("Timer").map(dotted("timer")),
  ];
  expect(wanted.length).toBeGreaterThan(18);
  expect(wanted.filter((member) => !rows.includes(`\`${member}`))).toEqual([]);
});
