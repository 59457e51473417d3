import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "@jest/globals";
import { budgets } from "../../bench/budgets.mjs";
import { bundleFile } from "../support/bundle.js";
import { BUILD_TIMEOUT_MS, build, run } from "../support/engine.js";

beforeAll(() => build(), BUILD_TIMEOUT_MS);

test.each([
  ["by themselves", "outbox.run(1000, 2);", 1000, budgets.outboxHeap],
  ["in batches of 20", "outbox.run(1000, 20, true);", 50, budgets.batchHeap],
])("1000 readings delivered %s stay within a constant heap budget", async (how, script, requests, { budget }) => {
  const entry = fileURLToPath(new URL("./outbox.entry.ts", import.meta.url));
  const path = await bundleFile(entry, "outbox");
  const report = await run({ script, heapBytes: budget, stackBytes: 12288 }, { preload: [path], timeoutMs: 800_000 });
  expect(report).toMatchObject({
    end: "ok",
    message: "",
    output: `1000 delivered, ${requests} requests, 0 timers\n`,
  });
  expect(report.marks.map(({ name }) => Number(name))).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
  if (report.bits === 32) {
    const live = report.marks.map(({ chunks, slots }) => (chunks?.live ?? 0) + (slots?.live ?? 0));
    // The queue's table has room for more and fewer readings, up to those of one flush.
    expect(Math.max(...live) - Math.min(...live)).toBeLessThan(512);
    process.stdout.write(
      `outbox on XS: 1000 readings ${how}, ${report.heapReserved} bytes of heap and ${report.stackPeak} of stack at most, ${live.at(-1)} live between batches\n`,
    );
  } else {
    process.stdout.write("outbox on XS: no figures, as the compiler has no -m32\n");
  }
});
