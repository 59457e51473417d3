/** A whole publish fits what the README's table of limits says, of which 6 KB are the stack that an ESP32 has by default. */

import { beforeAll, expect, test } from "@jest/globals";
import { DEVICE_BYTES, STACK_BYTES } from "../../bench/budgets.mjs";
import { bundleFile } from "../support/bundle.js";
import { BUILD_TIMEOUT_MS, build, runAll } from "../support/engine.js";

beforeAll(() => build(), BUILD_TIMEOUT_MS);

test("a device is created and publishes within its budget of heap and stack", async () => {
  const preload = [await bundleFile(new URL("device.entry.ts", import.meta.url).pathname, "entry")];
  const script = 'entry.publish({ secret: "lDZ6Uqt+I9E0wW7rvDUs7Q==" });';
  const heapBytes = DEVICE_BYTES - STACK_BYTES;
  const [report] = await runAll([{ script, heapBytes, stackBytes: STACK_BYTES }], { preload });
  expect(report).toMatchObject({ end: "ok", message: "" });
  expect(report.output).toMatch(/^f4da4f1f-/);
});

test("an object with the maximum nesting is published in a stack of 6 KB", async () => {
  const preload = [await bundleFile(new URL("device.entry.ts", import.meta.url).pathname, "entry")];
  const script = `
    let payload = { t: 21.5 };
    for (let i = 1; i < 16; i++) payload = { a: payload };
    entry.publish({ secret: "lDZ6Uqt+I9E0wW7rvDUs7Q==" }, payload);`;
  const [report] = await runAll([{ script, heapBytes: 24_576, stackBytes: 6144 }], { preload });
  expect(report).toMatchObject({ end: "ok", message: "" });
  expect(report.output).toMatch(/^f4da4f1f-/);
});
