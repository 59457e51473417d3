/** The library's API is written down in api.md, and every export and option says what it is. */

import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "@jest/globals";
import { readApi } from "../../scripts/api.mjs";
import { BUILD_TIMEOUT_MS } from "../support/engine.js";

let api: ReturnType<typeof readApi>;

beforeAll(() => {
  api = readApi();
}, BUILD_TIMEOUT_MS);

test("api.md matches the exports of the entries (npm run api)", () => {
  const recorded = readFileSync(new URL("../../api.md", import.meta.url), "utf8");
  expect(recorded.split("\n")).toEqual(api.report.split("\n"));
});

test("every export and every option has a doc comment", () => {
  expect(api.undocumented).toEqual([]);
});

test("the root has about 45 exports, none of them internal", () => {
  const [, count, root] = /^## `tencent-iothub-xs\/core`\n\n([0-9]+) exports\.\n([\s\S]*?)^## /m.exec(api.report) ?? [];
  expect(Number(count)).toBeGreaterThan(30);
  expect(Number(count)).toBeLessThan(50);
  for (const name of ["OutboxContext", "TokenBucket", "readResponse", "signedHost", "classifyError"]) {
    expect(root).not.toMatch(new RegExp(`^(class|interface|type|function|const) ${name}\\b`, "m"));
  }
});
