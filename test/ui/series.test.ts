import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { columns } from "../../src/outbox/pack.js";
import { topics } from "../../src/topics/topics.js";
import { hexDump, prettyJson, visible, visibleBlock } from "../../tools/ui/page/format.js";
import { align, readingsOf, readTime, SeriesStore } from "../../tools/ui/page/series.js";
import type { RequestView } from "../../tools/ui/page/types.js";

const MS = 1_796_000_000_000;

describe("numbers of a payload", () => {
  test.each([
    ["a number", 21.5, [{ timeMs: undefined, values: [["value", 21.5]] }]],
    ["an object", { t: 21.5, unit: "C", ok: true }, [{ timeMs: undefined, values: [["t", 21.5]] }]],
    ["an object with its time", { time: MS, t: 1 }, [{ timeMs: MS, values: [["t", 1]] }]],
    ["a time in seconds", { ts: MS / 1000, t: 1 }, [{ timeMs: MS, values: [["t", 1]] }]],
    [
      "a time as text",
      { timestamp: "2026-11-29T10:13:20Z", t: 1 },
      [{ timeMs: Date.UTC(2026, 10, 29, 10, 13, 20), values: [["t", 1]] }],
    ],
    ["a time that is not known", { time: null, t: 1 }, [{ timeMs: undefined, values: [["t", 1]] }]],
    [
      "a number called time that is none",
      { time: 12, t: 1 },
      [
        {
          timeMs: undefined,
          values: [
            ["time", 12],
            ["t", 1],
          ],
        },
      ],
    ],
    [
      "nested members",
      { a: { b: [1, { c: 2 }] } },
      [
        {
          timeMs: undefined,
          values: [
            ["a.b.0", 1],
            ["a.b.1.c", 2],
          ],
        },
      ],
    ],
    [
      "a batch",
      [{ time: MS, t: 1 }, { time: MS + 1000, t: 2 }, "x"],
      [
        { timeMs: MS, values: [["t", 1]] },
        { timeMs: MS + 1000, values: [["t", 2]] },
      ],
    ],
    [
      "a shadow",
      { type: "update", state: { reported: { level: 3 } }, version: 0 },
      [{ timeMs: undefined, values: [["level", 3]] }],
    ],
    ["text", "21.5", []],
    ["nothing", null, []],
    ["no number", { a: "b", c: [] }, []],
  ])("are found in %s", (_name, json, readings) => {
    expect(readingsOf(json)).toEqual(readings);
  });

  test("are found in what the library's columns make", () => {
    const text = columns([
      { sequence: 1, timeMs: MS, payload: { temperature: 21.5 } },
      { sequence: 2, timeMs: undefined, payload: { temperature: 21.6, humidity: 40 } },
      { sequence: 3, timeMs: MS + 20_000, payload: { humidity: 41 } },
    ]);
    expect(readingsOf(JSON.parse(text))).toEqual([
      { timeMs: MS, values: [["temperature", 21.5]] },
      {
        timeMs: undefined,
        values: [
          ["temperature", 21.6],
          ["humidity", 40],
        ],
      },
      { timeMs: MS + 20_000, values: [["humidity", 41]] },
    ]);
  });

  test("are found in reports and events of the thing model", () => {
    const form = topics({ productId: "P1", deviceName: "dev1" });
    const report = form.propertyReport({ brightness: 40 }, { timeMs: MS });
    expect(readingsOf(report.payload)).toEqual([{ timeMs: MS, values: [["brightness", 40]] }]);
    const event = form.eventPost("hot", "alert", { degrees: 90 });
    expect(readingsOf(event.payload)).toEqual([{ timeMs: undefined, values: [["hot.degrees", 90]] }]);
  });

  test("are finite, whatever the payload", () => {
    expect(readingsOf(JSON.parse('{"a":1e999,"b":-1e999,"c":1}'))).toEqual([{ timeMs: undefined, values: [["c", 1]] }]);
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        for (const { timeMs, values } of readingsOf(json)) {
          expect(timeMs === undefined || Number.isFinite(timeMs)).toBe(true);
          expect(values.every(([path, value]) => typeof path === "string" && Number.isFinite(value))).toBe(true);
        }
      }),
    );
  });

  test("have a limit for each payload, and hostile names are names", () => {
    const wide = Object.fromEntries([...Array(1000).keys()].map((i) => [`m${i}`, i]));
    expect(readingsOf(wide)[0].values).toHaveLength(64);
    const deep = JSON.parse(`${'{"a":'.repeat(500)}1${"}".repeat(500)}`);
    expect(readingsOf(deep)).toEqual([]);
    expect(readingsOf(JSON.parse('{"t0":1796000000000,"dt":[0],"__proto__":[7]}'))).toEqual([
      { timeMs: MS, values: [["__proto__", 7]] },
    ]);
  });

  test.each([12, 1e8, -5, Number.NaN, 1e15, "yesterday", "2026-11-29", true, undefined])("%p is no time", (value) => {
    expect(readTime(value)).toBeUndefined();
  });
});

describe("lines of a plot", () => {
  const view = (payload: unknown, more: Partial<RequestView> = {}) =>
    ({
      atMs: MS,
      productId: "P1",
      deviceName: "dev1",
      accepted: true,
      payload: { text: JSON.stringify(payload), bytes: 1 },
      ...more,
    }) as RequestView;

  const lines = (store: SeriesStore, path: string) => store.paths.get(path)?.values() ?? [];

  test("are sorted by the reading's time, as uPlot needs them", () => {
    const store = new SeriesStore();
    for (const [time, t] of [
      [MS + 3000, 3],
      [MS + 1000, 1],
      [MS + 2000, 2],
    ])
      store.add(view({ time, t }));
    expect(align(lines(store, "t"), "own")).toEqual({
      times: [MS + 1000, MS + 2000, MS + 3000],
      values: [[1, 2, 3]],
      undated: 0,
    });
  });

  test("of several devices share their times; a missing value of one is not a gap", () => {
    const store = new SeriesStore();
    store.add(view({ time: MS, t: 1 }));
    store.add(view({ time: MS + 500, t: 5 }, { deviceName: "dev2" }));
    store.add(view({ time: MS + 1000, t: 2 }));
    expect(align(lines(store, "t"), "own")).toMatchObject({
      times: [MS, MS + 500, MS + 1000],
      values: [
        [1, undefined, 2],
        [undefined, 5, undefined],
      ],
    });
  });

  test("can be over the time of receipt, where a reading without a time is always", () => {
    const store = new SeriesStore();
    store.add(view({ time: MS - 60_000, t: 1 }, { atMs: MS }));
    store.add(view({ t: 2 }, { atMs: MS + 1 }));
    expect(align(lines(store, "t"), "received").times).toEqual([MS, MS + 1]);
    expect(align(lines(store, "t"), "own")).toMatchObject({ times: [MS - 60_000, MS + 1], undated: 1 });
    expect(align(lines(store, "t"), "own", 10_000).times).toEqual([MS + 1]);
  });

  test("keep the last 5000 points or a few more, of at most 200 lines", () => {
    const store = new SeriesStore();
    for (let i = 0; i < 8000; i++) store.add(view({ time: MS + i, t: i }));
    const [{ points }] = lines(store, "t");
    expect(points.length).toBeGreaterThanOrEqual(5000);
    expect(points.length).toBeLessThanOrEqual(6000);
    expect(points.at(-1)?.value).toBe(7999);
    for (let i = 0; i < 300; i++) store.add(view({ [`m${i}`]: i }));
    expect(store.paths.size).toBe(200);
  });

  test("leave out what was refused, cut or is not JSON", () => {
    const store = new SeriesStore();
    store.add(view({ t: 1 }, { accepted: false }));
    store.add(view({ t: 1 }, { payload: { text: '{"t":1}', bytes: 100_000, cut: true } }));
    store.add(view({ t: 1 }, { payload: { text: "t=1", bytes: 3 } }));
    store.add(view({ t: 1 }, { payload: { base64: "AAAA", bytes: 3 } }));
    expect(store.paths.size).toBe(0);
  });
});

describe("payloads to be read", () => {
  test("JSON keeps its tokens: long numbers, members that come twice, escapes", () => {
    expect(prettyJson('{"n":12345678901234567890.10,"a":1,"a":"\\u00e9\\n","e":{},"l":[1,2]}')).toBe(
      '{\n  "n": 12345678901234567890.10,\n  "a": 1,\n  "a": "\\u00e9\\n",\n  "e": {},\n  "l": [1, 2]\n}',
    );
  });

  test("any JSON has the same tokens after it was broken over lines", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const pretty = prettyJson(json);
        expect(JSON.parse(pretty)).toEqual(JSON.parse(json));
      }),
    );
  });

  test("a long list of numbers fills its lines", () => {
    const lines = prettyJson(`{"dt":[${[...Array(60).keys()].map((i) => i * 10_000).join(",")}]}`).split("\n");
    expect(lines.length).toBeLessThan(20);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(100);
  });

  test("deep brackets do not grow with the square of their number", () => {
    const deep = `${"[".repeat(3000)}{}${"]".repeat(3000)}`;
    expect(prettyJson(deep).length).toBeLessThan(3000 * 2 * 90);
  });

  test("show what cannot be seen", () => {
    expect(visible("a\u0000b\u001b[31m\u202ex\u00a0y\u200bz\u007f")).toBe("a␀b␛[31m\\u{202e}x\\u{a0}y\\u{200b}z␡");
    expect(visibleBlock("a\tb\r\nc")).toBe("a\tb␍\nc");
  });

  test("binary is shown as hexadecimal and ASCII", () => {
    expect(hexDump(Uint8Array.from([0, 65, 255, ...Array(15).fill(32)]), 17)).toBe(
      `0000  00 41 ff${" 20".repeat(13)}  ·A·${" ".repeat(13)}\n0010  20${" ".repeat(45)}   \n… 1 more bytes`,
    );
  });
});
