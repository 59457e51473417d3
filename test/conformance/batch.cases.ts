import { utf8Decode } from "../../src/crypto/utf8.js";
import {
  type BatchReading,
  columns,
  createMemoryStorage,
  Device,
  type Host,
  type OutboxOptions,
} from "../../src/index.js";
import { fakeHost, response } from "../support/fake-host.js";
import type { Case } from "./case.js";

const TIME_MS = 1796000000000;

/** A device whose gateway takes everything; responses differ, as a repeated one would not be believed. */
function create(outbox: OutboxOptions, changes: Partial<Host> = {}) {
  let id = 0;
  const reply = () => response(`{"Response":{"RequestId":"r${id++}"}}`);
  const host = fakeHost(reply, { storage: createMemoryStorage(), ...changes }, TIME_MS);
  const options = {
    productId: "P",
    deviceName: "d",
    credential: { secret: "c2VjcmV0" },
    rateLimit: false as const,
    maxPayloadBytes: 300,
    outbox: { flushIntervalMs: 0, ...outbox },
  };
  const payloads = () => host.sent.map(({ request }) => JSON.parse(utf8Decode(request.body)).Payload as string);
  return { host, device: new Device(options, host), payloads };
}

// A flush with all that it calls, as a publish, and what is below it.
const stackBytes = 12_288;

export const cases: readonly Case[] = [
  {
    name: "readings go out as one message, each with its time",
    stackBytes,
    async run(check) {
      const { device, payloads, host } = create({ batch: { maxReadings: 3 } });
      const all = [{ t: 21.5 }, { 温: "😀" }, {}, { time: "own" }, { a: { time: 1 } }];
      for (let i = 0; i < all.length; i++)
        await device.enqueue({ topic: "data", payload: all[i], timeMs: TIME_MS + i });
      check.equal((await device.flush()).delivered, 5);
      check.equal(payloads(), [
        `[{"t":21.5,"time":${TIME_MS}},{"温":"😀","time":${TIME_MS + 1}},{"time":${TIME_MS + 2}}]`,
        `[{"time":"own"},{"a":{"time":1},"time":${TIME_MS + 4}}]`,
      ]);
      check.equal(await host.storage?.keys(), []);
      check.equal(host.timers, 0);
    },
  },
  {
    name: "what cannot be encoded together is encoded alone, and goes as it is where that fails, too",
    stackBytes,
    async run(check) {
      const encode = (readings: readonly BatchReading[]) => {
        if (readings.length === 2) throw new Error("two");
        const { n } = readings[0].payload as { n: number };
        return n === 1 ? "" : `n=${n}`;
      };
      const { device, payloads } = create({ batch: { maxReadings: 2, encode } });
      for (let n = 0; n < 3; n++) await device.enqueue({ topic: "data", payload: { n }, timeMs: TIME_MS });
      check.equal((await device.flush()).delivered, 3);
      check.equal(payloads(), ["n=0", `{"n":1,"time":${TIME_MS}}`, "n=2"]);
      check.equal(device.stats().published, 3);
    },
  },
  {
    name: "reports of the thing model have their time as timestamp, other forms none",
    stackBytes,
    async run(check) {
      const { device, payloads } = create({ batch: {}, timeFormat: "iso8601" });
      const report = { method: "report", params: { on: 1 } };
      await device.enqueue({ topic: "$thing/up/property/P/d", payload: report, timeMs: TIME_MS });
      await device.enqueue({ topic: "$ota/report/P/d", payload: { type: "report_version" }, timeMs: TIME_MS });
      await device.flush();
      check.equal(payloads(), [
        `{"method":"report","params":{"on":1},"timestamp":${TIME_MS}}`,
        '{"type":"report_version"}',
      ]);
    },
  },
  {
    name: "a time is a number or ISO 8601, and counted in with the size",
    stackBytes,
    async run(check) {
      for (const [timeFormat, text] of [
        ["milliseconds", "1796000000000"],
        ["iso8601", '"2026-11-30T00:53:20.000Z"'],
      ] as const) {
        const { device, payloads } = create({ timeField: "at", timeFormat });
        await device.enqueue({ topic: "data", payload: { n: 1 }, timeMs: TIME_MS });
        await check.rejects("PAYLOAD_TOO_LARGE", () =>
          device.enqueue({ topic: "data", payload: { n: "x".repeat(300 - 8) } }),
        );
        await device.flush();
        check.equal(payloads(), [`{"n":1,"at":${text}}`]);
      }
    },
  },
  {
    name: "a reading that was taken before the clock was set gets its time when it is sent",
    stackBytes,
    async run(check) {
      let isSet = false;
      let uptime = 5000;
      const clock = {
        nowMs: () => (isSet ? TIME_MS : uptime),
        monotonicMs: () => 0,
        get synchronized() {
          return isSet;
        },
        uptimeMs: () => uptime,
        life: { id: "life1", startMs: 300 },
      };
      const { device, payloads, host } = create({ timeField: "time" }, { clock });
      await device.enqueue({ topic: "data", payload: { n: 1 } });
      uptime += 60000;
      isSet = true;
      await device.flush();
      check.equal(payloads(), [`{"n":1,"time":${TIME_MS - 60000}}`]);
      check.equal(await host.storage?.keys(), []);
    },
  },
  {
    name: "a reading that is sent first is not stored",
    stackBytes,
    async run(check) {
      const { device, host, payloads } = create({ storeAfterMs: 5000, batch: {} });
      let writes = 0;
      const storage = host.storage as { set: (key: string, text: string) => Promise<void> };
      const { set } = storage;
      storage.set = (key, text) => {
        writes++;
        return set(key, text);
      };
      for (let n = 0; n < 3; n++) await device.enqueue({ topic: "data", payload: { n }, timeMs: TIME_MS });
      check.equal([writes, payloads().length], [0, 3]);
      check.equal(host.timers, 0);
    },
  },
  {
    name: "columns have what readings lack as null",
    run(check) {
      const reading = (timeMs: number | undefined, payload: object) =>
        ({ sequence: 0, timeMs, payload }) as BatchReading;
      check.equal(
        columns([reading(undefined, { a: 1 }), reading(7, { a: 2, 温: "😀" }), reading(9, { b: [3] })]),
        '{"t0":7,"dt":[null,0,2],"a":[1,2,null],"温":[null,"😀",null],"b":[null,null,[3]]}',
      );
      check.throws("INVALID_PAYLOAD", () => columns([reading(1, { dt: 1 })]));
    },
  },
];
