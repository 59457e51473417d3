import { expect, test } from "@jest/globals";
import { faultsOf, runSoak } from "./soak.js";
import { MAX_GROWTH_BYTES, runSteady, type SteadyResult, type SteadySample, steadyFaultsOf } from "./steady.js";

test("1500 readings survive a fault in every tenth request and repeated kills", async () => {
  const seed = 20261101;
  const result = await runSoak({ readings: 1500, seed, faultProbability: 0.1, killEvery: 250 });
  const { kills, faults, duplicates, requests, seconds } = result;
  process.stdout.write(
    `soak: seed ${seed}, ${requests} requests, ${faults} faults, ${kills} kills, ${duplicates} duplicates, ${seconds.toFixed(1)} s\n`,
  );
  expect(faultsOf(result)).toEqual([]);
  expect(kills).toBeGreaterThan(2);
  expect(faults).toBeGreaterThan(100);
});

for (const https of [false, true]) {
  test(`400 publishes over ${https ? "HTTPS" : "HTTP"} use one connection, with constant listeners and heap`, async () => {
    const result = await runSteady({ publishes: 400, https, sampleEvery: 100 });
    expect(steadyFaultsOf(result)).toEqual([]);
    expect(result.samples.map(({ publishes }) => publishes)).toEqual([100, 200, 300, 400]);
  });
}

test("a leaking keep-alive connection is detected", () => {
  const sample: SteadySample = { publishes: 1000, heapBytes: 1e7, socket: { close: 2 }, agent: { free: 1 }, signal: 0 };
  const of = (changes: Partial<SteadyResult>, last: Partial<SteadySample> = {}): string =>
    steadyFaultsOf({
      https: false,
      publishes: 20000,
      seconds: 1,
      accepted: 20000,
      connections: 1,
      samples: [sample, { ...sample, publishes: 20000, ...last }],
      complaints: [],
      ...changes,
    }).join();
  expect(of({}, { heapBytes: 1e7 + MAX_GROWTH_BYTES })).toBe("");
  expect(of({}, { heapBytes: 1e7 + MAX_GROWTH_BYTES + 1 })).toMatch(/^the heap grew by \d+ bytes$/);
  expect(of({}, { socket: { close: 2, connect: 1 } })).toMatch(/^listeners on the socket: .* after 1000 publishes/);
  expect(of({}, { agent: { free: 2 } })).toMatch(/^listeners on the agent/);
  expect(of({}, { signal: 1 })).toMatch(/^listeners on the signal: 0 after/);
  expect(of({ connections: 2 })).toBe("2 connections were opened instead of one");
  expect(of({ accepted: 19999 })).toBe("the gateway took 19999 of 20000 messages");
  expect(of({ complaints: ["MaxListenersExceededWarning"] })).toBe("MaxListenersExceededWarning");
  expect(of({ samples: [sample] })).toMatch(/^there are 1 samples/);
});
