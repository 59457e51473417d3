// The boards under Artillery itself, against the local gateway: small runs, counted to the message.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { bundle } from "../build.mjs";
import { runFleet } from "../run.mjs";

const out = mkdtempSync(join(tmpdir(), "fleet-"));
after(() => rmSync(out, { recursive: true, force: true }));

/** @param {Awaited<ReturnType<typeof runFleet>>} result */
function assertEqual({ checks }) {
  for (const [name, a, b] of checks) assert.equal(a, b, name);
}

test("two runs take every device of the CSV once, and both counts are equal", async () => {
  const result = await runFleet({ out, devices: 61, readings: 3, interval: 1, arrival: 2, runs: 2, registering: 7 });
  assertEqual(result);
  const { engine, counted } = result;
  assert.equal(engine["vusers.created"], 61);
  assert.equal(counted.readings, 183);
  assert.equal(counted.registrations, 7);
  // 30 boards of one run and 31 of the other: the gateway heard each device three times, and none six times.
  assert.deepEqual(counted.devicesByReadings, { 3: 61 });
});

test("virtual users beyond the count, which Artillery may start, take no device", async () => {
  // 2 s / 997 is 2006.02 µs; Artillery rounds it to 2006, of which 2 s have 997. With 1667 it is 1199, and 1668 fit.
  const result = await runFleet({ out, devices: 1667, readings: 1, interval: 0, arrival: 2, registering: 0 });
  assertEqual(result);
  assert.equal(result.engine["vusers.created"], 1668);
  assert.equal(result.engine["fleet.surplus"], 1);
});

test("boards that sleep come on new connections over HTTPS, with a resumed session", async () => {
  const options = { out, devices: 12, readings: 4, interval: 0.5, arrival: 1, registering: 0 };
  const result = await runFleet({ ...options, https: true, scenario: "sleep" });
  assertEqual(result);
  const { engine, counted } = result;
  assert.equal(engine["fleet.tls.full"], 12);
  assert.equal(engine["fleet.tls.resumed"], 36);
  assert.equal(counted.tlsResumptions, 36);
  assert.equal(counted.connections, 48);
});

test("boards that collect readings send them as batches", async () => {
  const options = { out, devices: 12, readings: 20, interval: 0.05, arrival: 1, registering: 0 };
  const result = await runFleet({ ...options, scenario: "batch" });
  assertEqual(result);
  // Two batches of ten each, or a few more: a flush also sends what is taken while it runs.
  const { accepted, readings } = result.counted;
  assert.ok(accepted >= 24 && accepted < readings / 2, `${accepted} messages for ${readings} readings`);
});

test("readings taken in an outage are delivered after it, and none twice", async () => {
  const result = await runFleet({
    out,
    devices: 30,
    readings: 4,
    interval: 1,
    arrival: 1,
    outage: 0.5,
    registering: 0,
  });
  assertEqual(result);
  assert.ok(result.engine["fleet.outages"] > 10);
  assert.ok(result.engine["fleet.errors.NAME_RESOLUTION"] > 0);
});

test("the portable code signs as node:crypto does", async () => {
  const result = await runFleet({
    out,
    devices: 10,
    readings: 2,
    interval: 0.2,
    arrival: 1,
    registering: 2,
    native: false,
  });
  assertEqual(result);
});

test("no script leaves the engine's telemetry on", () => {
  const { scripts } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const starting = Object.entries(scripts).filter(([name]) => ["fleet", "artillery", "test"].includes(name));
  assert.equal(starting.length, 3);
  for (const [name, script] of starting) assert.match(String(script), /^ARTILLERY_DISABLE_TELEMETRY=true /, name);
});

test("a second thread of one run is refused, as it would take the same devices", async () => {
  await bundle();
  process.env.LOCAL_WORKER_ID = "2";
  try {
    const { powerOnOnline } = await import("../build/processor.mjs");
    const counted = [];
    const metrics = { emit: (_kind, name) => counted.push(name) };
    await assert.rejects(powerOnOnline({ vars: { $uuid: "1" } }, metrics), /^Error: One run is one worker/);
    assert.deepEqual(counted, ["fleet.failed.STEP"]);
  } finally {
    delete process.env.LOCAL_WORKER_ID;
  }
});

test("every step is an AsyncFunction, the only kind of promise that Artillery waits for", async () => {
  await bundle();
  const steps = Object.entries(await import("../build/processor.mjs"));
  assert.equal(steps.length, 6);
  for (const [name, step] of steps) assert.equal(step.constructor.name, "AsyncFunction", name);
});
