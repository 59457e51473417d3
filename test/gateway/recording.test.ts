import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { diagnose, parseRequest } from "../../tools/diagnose/index.js";
import {
  describeFaults,
  type Fault,
  faultForms,
  faultKinds,
  formatEvent,
  formatFault,
  formatRequest,
  type Gateway,
  type GatewayEvent,
  parseFault,
  type ReceivedRequest,
  readRecording,
  recordEvents,
  recordLine,
  startGateway,
} from "../../tools/gateway/index.js";
import { message, send } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";

let folder: string;
let path: string;
let gateway: Gateway;
const endings: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tencent-iothub-record-"));
  path = join(folder, "record.jsonl");
  endings.length = 0;
  gateway = await startGateway({ devices: { products: { P1: { devices: { dev1: { psk } } } } } });
});
afterEach(async () => {
  await gateway.close();
  rmSync(folder, { recursive: true, force: true });
});

const onEnd = (reason: string): void => {
  endings.push(reason);
};

/** Of each kind of event, one. */
const others: readonly GatewayEvent[] = [
  {
    type: "tlsError",
    error: {
      connectionId: 3,
      code: "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
      alert: "unknown_ca",
      reason: "client refused the certificate: unknown_ca",
      remoteAddress: "192.168.1.9",
      atMs: 1_700_000_000_000,
    },
  },
  { type: "dropped", connection: { id: 4, remoteAddress: "192.168.1.9" }, reason: "not HTTP", atMs: 1_700_000_000_000 },
  { type: "fault", fault: { kind: "delay", ms: 200 }, offline: false },
  { type: "fault", fault: undefined, offline: true },
];

describe("a recording", () => {
  test("holds every event, and reading it gives the same events", async () => {
    const seen: GatewayEvent[] = [];
    gateway.subscribe((event) => seen.push(event));
    const end = recordEvents(gateway, path, onEnd);
    await send(gateway);
    await send(gateway, { body: message({ Payload: "AAH/", PayloadEncoding: "Base64" }) });
    await send(gateway, { secret: `${psk}\n` });
    gateway.faults.permanent = { kind: "status", status: 503 };
    while (seen.length < 4) await new Promise(setImmediate);
    end();
    end();
    await send(gateway);
    const read = readRecording(readFileSync(path, "utf8"));
    expect(read).toEqual(seen.slice(0, 4));
    expect((read[1] as { request: ReceivedRequest }).request.payload).toEqual(Buffer.from([0, 1, 255]));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).not.toContain(psk);
    expect(endings).toEqual([]);
  });

  test("is continued, also after a line that a crash cut off", async () => {
    writeFileSync(path, `{"recording":1}\n${others.map(recordLine).join("")}{"type":"requ`);
    const end = recordEvents(gateway, path, onEnd);
    gateway.faults.permanent = { kind: "empty" };
    end();
    appendFileSync(path, '{"type":"faul');
    expect(readRecording(readFileSync(path, "utf8"))).toEqual([
      ...others,
      { type: "fault", fault: { kind: "empty" }, offline: false },
    ]);
  });

  test("ends before it exceeds its maximum size, and tells so once", () => {
    recordEvents(gateway, path, onEnd, 150);
    for (let i = 0; i < 5; i++) gateway.faults.permanent = { kind: "empty" };
    expect(statSync(path).size).toBeLessThanOrEqual(150);
    expect(endings).toEqual([`the recording ${path} has reached its maximum of 150 bytes`]);
    expect(readRecording(readFileSync(path, "utf8")).length).toBeGreaterThan(0);
  });

  test("that cannot be written is one clear sentence", () => {
    expect(() => recordEvents(gateway, join(folder, "none", "x"), onEnd)).toThrow(/cannot be written \(ENOENT\)\.$/);
  });

  test.each([
    ["no JSON", "hello\n", "Line 1 of the recording is not a JSON object."],
    ["another version", '{"recording":2}\n', "Line 1 of the recording belongs to a recording of another version."],
    ["other JSON", '{"recording":1}\n\n{"type":"sign"}\n', "Line 3 of the recording is not an event of a gateway."],
    [
      "an incomplete event",
      '{"type":"request","request":{"method":"POST"}}',
      "Line 1 of the recording is not an event",
    ],
  ])("with %s is refused with the line", (_what, text, reason) => {
    expect(() => readRecording(text)).toThrow(reason);
  });
});

describe("diagnosis of a recording", () => {
  test("takes the last request with a wrong signature, or the one with a number", async () => {
    const end = recordEvents(gateway, path, onEnd);
    await send(gateway, { secret: `${psk}\n`, signed: {} });
    await send(gateway, { signed: { host: "127.0.0.1:80" } });
    await send(gateway);
    while (readRecording(readFileSync(path, "utf8")).length < 3) await new Promise(setImmediate);
    end();
    const bytes = readFileSync(path);
    expect(diagnose(parseRequest(bytes), { secret: psk })).toMatchObject({ verdict: "explained", fields: ["host"] });
    const first = diagnose(parseRequest(bytes, { index: 1 }), { secret: psk });
    expect(first.verdict).toBe("explained");
    expect(first.message).toContain('the PSK is followed by "\\n"');
    expect(diagnose(parseRequest(bytes, { format: "record", index: 3 }), { secret: psk }).verdict).toBe("matches");
    expect(() => parseRequest(bytes, { index: 4 })).toThrow("no signed request in it has the number 4");
  });

  test("of a recording without requests is refused", () => {
    const text = `{"recording":1}\n${others.map(recordLine).join("")}`;
    expect(() => parseRequest(Buffer.from(text))).toThrow("no request in it is signed");
  });
});

describe("a line of the log", () => {
  const received: ReceivedRequest = {
    index: 7,
    receivedAtMs: 1_700_000_000_000,
    connection: { id: 2, remoteAddress: "127.0.0.1" },
    method: "POST",
    url: "/device/publish",
    headers: {},
    body: Buffer.alloc(0),
    accepted: true,
    productId: "P1",
    deviceName: "dev1",
    topic: "P1/dev1/data",
    qos: 1,
  };
  const lineOf = (payload: Buffer): string => formatRequest({ ...received, payload });

  test("shows a payload of text", () => {
    expect(lineOf(Buffer.from('{"t":21.5}'))).toContain(' qos 1 10 B {"t":21.5}');
    expect(lineOf(Buffer.from("温度"))).toContain(" qos 1 6 B 温度");
  });

  test("shows the first 200 characters of a long payload", () => {
    expect(lineOf(Buffer.from("x".repeat(16_000)))).toMatch(/ 16000 B x{200}…$/);
  });

  test("shows the first 32 bytes of a binary payload in hex", () => {
    expect(lineOf(Buffer.from([0, 255]))).toMatch(/ 2 B hex 00ff$/);
    expect(lineOf(Buffer.alloc(1000, 0xfe))).toMatch(/ 1000 B hex (fe){32}…$/);
  });

  test("shows the text of log lines, shortened", () => {
    const line = formatRequest({ ...received, topic: undefined, messages: ["INF started", `WRN ${"x".repeat(400)}`] });
    expect(line).toMatch(/ 2 log lines: INF started \| WRN x{282}…$/);
  });

  test("holds no character that could forge a line or move the cursor", () => {
    const hostile = "a\n2026 ok\r\u001b[2J\u009b1m\u2028\u202e\u2066b\u0000\u0007";
    for (const line of [
      lineOf(Buffer.from(hostile)),
      formatRequest({ ...received, topic: hostile, messages: [hostile] }),
      formatEvent({ type: "dropped", connection: received.connection, reason: hostile, atMs: 0 }),
    ]) {
      expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
    }
  });

  test("tells each other event with its reason", () => {
    expect(others.map(formatEvent)).toEqual([
      "2023-11-14T22:13:20.000Z conn 3 192.168.1.9 TLS failed: client refused the certificate: unknown_ca",
      "2023-11-14T22:13:20.000Z conn 4 192.168.1.9 dropped: not HTTP",
      "fault from now on: delay:200",
      "offline from now on",
    ]);
    expect(formatEvent({ type: "fault", fault: undefined, offline: false })).toBe("fault from now on: none");
    expect(formatEvent({ type: "request", request: received })).toBe(formatRequest(received));
  });
});

describe("forms of faults", () => {
  test("are there for each kind, and begin with its name", () => {
    expect(Object.keys(faultForms).sort()).toEqual([...faultKinds].sort());
    for (const [kind, [form]] of Object.entries(faultForms)) expect(form.split(/[:[]/)[0]).toBe(kind);
    for (const line of describeFaults()) expect(line.length).toBeLessThanOrEqual(110);
  });

  const values: Record<string, string> = {
    ...{
      MS: "20",
      PHASE: "body",
      CODE: "503",
      "RETRY-AFTER": "120",
      STATUS: "500",
      MESSAGE: "Busy.",
      TYPE: "text/html",
    },
    ...{ BYTES: "10", AGO: "2", SECONDS: "-600", ALERT: "48", true: "true", "headers|body": "body" },
  };
  const hows: Partial<Record<string, string>> = { "wrong-length": "less", "half-open": "close" };

  test.each(Object.entries(faultForms))("are read with all of their parts: %s", (kind, [form]) => {
    const names = form.replace(/[[\]]/g, "").split(":").slice(1);
    const given = names.map((name) => (name === "HOW" ? (hows[kind] as string) : values[name]));
    expect(given).not.toContain(undefined);
    const fault: Fault = parseFault([kind, ...given].join(":"));
    expect(Object.keys(fault)).toHaveLength(1 + names.length);
    expect(parseFault(formatFault(fault))).toEqual(fault);
    // Without what stands in brackets.
    const required = form.split("[")[0].split(":").slice(1);
    expect(parseFault([kind, ...given.slice(0, required.length)].join(":")).kind).toBe(kind);
  });
});
