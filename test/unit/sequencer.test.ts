/** The order in which jest starts the test files. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import LongestFirst, { longest } from "../tools/sequencer.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("the longest test files exist, and start first in their order", async () => {
  expect(longest.filter((file) => !existsSync(`${root}${file}`))).toEqual([]);
  const paths = ["test/unit/aes.test.ts", ...[...longest].reverse(), "test/unit/rsa.test.ts"];
  const sequencer = new LongestFirst({ contexts: [], globalConfig: {} });
  // jest's own order goes by the size of a file where its cache knows nothing.
  const hasteFS = { getSize: () => 1000 };
  const config = { cacheDirectory: "none", id: "" };
  const tests = paths.map((path) => ({ path: `${root}${path}`, context: { config, hasteFS } }));
  const sorted = await sequencer.sort(tests);
  const names = sorted.map(({ path }) => path.slice(root.length));
  expect(names.slice(0, longest.length)).toEqual(longest);
  expect([...names].sort()).toEqual([...paths].sort());
});
