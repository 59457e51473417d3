// The same boards under Locust: a master and two workers on loopback.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { findPython, runLocust } from "../locust.mjs";

const out = mkdtempSync(join(tmpdir(), "fleet-locust-"));
after(() => rmSync(out, { recursive: true, force: true }));
const python = findPython();
const skip = python === undefined && "no Python here has Locust (Debian: apt-get install python3-locust)";

test("a master with two workers gives each device to one board, and counts as the gateway does", { skip }, async () => {
  const { checks } = await runLocust({ python, out, devices: 41, readings: 3, interval: 1 });
  for (const [name, a, b] of checks) assert.equal(a, b, name);
});
