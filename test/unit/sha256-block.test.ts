import { readFile } from "node:fs/promises";
import { expect, test } from "@jest/globals";
import { unroll } from "../../scripts/unroll-sha256.mjs";

test("the unrolled compression function matches its script's output", async () => {
  expect(await readFile(new URL("../../src/crypto/sha256-block.ts", import.meta.url), "utf8")).toBe(unroll());
});
