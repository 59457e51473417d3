/** The recovery storm: how a fleet comes back when the gateway was down for an hour, in virtual time. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { peakOf, runStorm, type StormOptions, steadyOf } from "./storm.js";
import { chart, clients, type StormReport, withTable } from "./storm-report.js";

const times = {
  boards: 60,
  seed: 20261129,
  steadySeconds: 300,
  outageSeconds: 3600,
  afterSeconds: 900,
  quietSeconds: 120,
};
const up = times.steadySeconds + times.outageSeconds;
/** One a minute by each board, the first within a minute, and none in the last two. */
const readings = times.boards * ((up + times.afterSeconds - times.quietSeconds) / 60);
const storm = (client: StormOptions["client"]) => runStorm({ ...times, client });
const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

describe("after an hour without a gateway", () => {
  test("batches of 60 bring no more than twice the requests of every day, and lose nothing", async () => {
    const { requests, connections, taken, acknowledged, deliveredSeconds } = await storm({
      outbox: { batch: { maxReadings: 60 } },
    });
    expect(taken).toBe(readings);
    expect(acknowledged).toBe(readings);
    expect(deliveredSeconds).toBeLessThan(660);
    const steady = steadyOf(requests, times.steadySeconds);
    // Over 10 s: in a single second, so few boards differ as much on every day.
    expect(peakOf(requests, up, 10)).toBeLessThanOrEqual(2 * steady);
    expect(peakOf(connections, up, 10)).toBeLessThanOrEqual(2 * steady);
    // An hour of readings comes in batches: not even three requests for each board.
    expect(total(requests.slice(up)) - steady * (times.afterSeconds - times.quietSeconds)).toBeLessThan(
      3 * times.boards,
    );
  });

  test("readings sent one by one need a request each, on connections that come spread over ten minutes", async () => {
    const { requests, connections, taken, acknowledged, deliveredSeconds } = await storm({});
    expect(taken).toBe(readings);
    expect(acknowledged).toBe(readings);
    expect(total(requests)).toBe(readings);
    expect(deliveredSeconds).toBeLessThan(660);
    expect(peakOf(connections, up, 10)).toBeLessThanOrEqual(2 * steadyOf(connections, times.steadySeconds));
  });

  test("a naive client comes back with all boards in two seconds", async () => {
    const { requests, connections, acknowledged } = await storm("naive");
    expect(acknowledged).toBe(readings);
    expect(total(requests)).toBe(readings);
    expect(total(connections.slice(up, up + 2))).toBeGreaterThanOrEqual(times.boards);
    expect(peakOf(requests, up, 10)).toBeGreaterThan(100 * steadyOf(requests, times.steadySeconds));
  });

  test("the same seed gives the same storm", async () => {
    const short = { ...times, boards: 20, outageSeconds: 120, afterSeconds: 120, client: {} };
    const storms = [await runStorm(short), await runStorm(short), await runStorm({ ...short, seed: 1 })];
    expect(storms[1]).toEqual(storms[0]);
    expect(storms[2].requests).not.toEqual(storms[0].requests);
  });
});

describe("the figures of docs/fleet.md", () => {
  const report: StormReport = JSON.parse(text("fleet/storm.json"));

  test("are those of 10 000 boards with every client, and hold the limit", () => {
    expect(report.boards).toBe(10_000);
    expect(Object.keys(report.clients)).toEqual(Object.keys(clients));
    const { steadyRequests, peakRequests } = report.clients["outbox, batches of 60"];
    expect(peakRequests).toBeLessThanOrEqual(2 * steadyRequests);
    for (const { taken, acknowledged, remaining } of Object.values(report.clients)) {
      expect(acknowledged + remaining).toBe(taken);
    }
  });

  test("stand in the text and in the picture", async () => {
    const docs = text("docs/fleet.md");
    expect(withTable(docs, report)).toBe(docs);
    const points = (svg: string) => [...svg.matchAll(/ d="([^"]{1000,})"/g)].map(([, path]) => path);
    const drawn = points(text("docs/images/storm.svg"));
    expect(drawn).toHaveLength(2 * Object.keys(clients).length);
    expect(points(await chart(report))).toEqual(drawn);
  });
});
