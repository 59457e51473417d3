import { type Socket, connect as tcpConnect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type Fault,
  faultKinds,
  type Gateway,
  type GatewayOptions,
  parseFault,
  startGateway,
} from "../../tools/gateway/index.js";
import { message, send, signedHeaders } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";

const devices = { products: { P1: { devices: { dev1: { psk } } } } };
const open: Gateway[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ devices, ...options });
  open.push(gateway);
  return gateway;
}

/** A connection that notes what comes, byte for byte. */
class Wire {
  text = "";
  /** `FIN`, or the code of the error. */
  ended: string | undefined;
  #waiting: (() => void)[] = [];

  constructor(readonly socket: Socket) {
    sockets.push(socket);
    const wake = (): void => {
      for (const waiting of this.#waiting.splice(0)) waiting();
    };
    socket.on("data", (bytes) => {
      this.text += bytes.toString("latin1");
      wake();
    });
    socket.on("end", () => {
      this.ended ??= "FIN";
      wake();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.ended = error.code ?? error.message;
      wake();
    });
    socket.on("close", wake);
  }

  /** Waits, without a clock, until the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  get head(): string {
    return this.text.slice(0, this.text.indexOf("\r\n\r\n"));
  }

  get body(): string {
    const end = this.text.indexOf("\r\n\r\n");
    return end < 0 ? "" : this.text.slice(end + 4);
  }
}

async function wire(gateway: Gateway): Promise<Wire> {
  const { port } = gateway;
  const secure = gateway.ca !== undefined;
  const options = { host: "127.0.0.1", port, ca: gateway.ca, servername: "localhost" };
  const socket = secure ? tlsConnect(options) : tcpConnect({ host: "127.0.0.1", port });
  const line = new Wire(socket);
  await new Promise<void>((resolve) => {
    socket.once(secure ? "secureConnect" : "connect", resolve);
    socket.once("error", () => resolve());
    socket.once("end", () => resolve());
  });
  return line;
}

function request(body = message(), more: Record<string, string> = {}): { head: string; body: string } {
  const headers = {
    host: "127.0.0.1",
    ...signedHeaders("127.0.0.1", { body }),
    "content-length": body.length,
    ...more,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return { head: `POST /device/publish HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`, body };
}

/** Sends one request into a gateway with one fault. */
async function inject(fault: Fault, https = false): Promise<{ gateway: Gateway; line: Wire }> {
  const gateway = await start({ https });
  gateway.faults.next(fault);
  const line = await wire(gateway);
  const { head, body } = request();
  line.socket.write(head + body);
  return { gateway, line };
}

/** Round trips on new connections: afterwards the gateway has done everything that it does at once. */
async function settle(gateway: Gateway): Promise<void> {
  while (gateway.faults.pending > 0) await new Promise((resolve) => setImmediate(resolve));
  await send(gateway);
  await send(gateway);
}

const complete = (line: Wire): boolean => {
  const length = /content-length: (\d+)/i.exec(line.head)?.[1];
  return length !== undefined && line.body.length >= Number(length);
};

describe.each([false, true])("over HTTPS: %s", (https) => {
  test.each(["read", "headers"] as const)("hangs in phase %s without sending, on an open connection", async (phase) => {
    const { gateway, line } = await inject({ kind: "hang", phase }, https);
    await settle(gateway);
    expect([line.text, line.ended]).toEqual(["", undefined]);
    expect(gateway.received[0].accepted).toBe(phase === "headers");
  });

  test("hangs after the response's headers", async () => {
    const { gateway, line } = await inject({ kind: "hang", phase: "body" }, https);
    await line.until(() => line.text.includes("\r\n\r\n"));
    await settle(gateway);
    expect([line.body, line.ended]).toEqual(["", undefined]);
    expect(gateway.received[0]).toMatchObject({ accepted: true, status: 200 });
  });

  test.each(["read", "headers", "body"] as const)("resets in phase %s", async (phase) => {
    const { gateway, line } = await inject({ kind: "reset", phase }, https);
    await line.until(() => line.ended !== undefined);
    expect(line.ended).toBe("ECONNRESET");
    expect(complete(line)).toBe(false);
    expect(gateway.received[0].accepted).toBe(phase !== "read");
  });

  test.each(["read", "headers", "body"] as const)("closes in phase %s", async (phase) => {
    const { gateway, line } = await inject({ kind: "close", phase }, https);
    await line.until(() => line.ended !== undefined);
    expect(line.ended).toBe("FIN");
    expect(line.body.length > 0).toBe(phase === "body");
    expect(complete(line)).toBe(false);
    expect(gateway.received[0].accepted).toBe(phase !== "read");
  });

  test("hangs before anything is read", async () => {
    const gateway = await start({ https });
    gateway.faults.next({ kind: "hang", phase: "connect" });
    const socket = tcpConnect({ host: "127.0.0.1", port: gateway.port });
    const line = new Wire(socket);
    const { head, body } = request();
    socket.write(head + body);
    await settle(gateway);
    expect([line.text, line.ended]).toEqual(["", undefined]);
    expect(gateway.counts).toMatchObject({ connections: 3, requests: 2, tlsFailures: 0 });
  });

  test.each([
    ["reset", /ECONNRESET|EPIPE/],
    ["close", /FIN|ECONNRESET/],
  ] as const)("%ss before anything is read", async (kind, ended) => {
    const { gateway, line } = await inject({ kind, phase: "connect" }, https);
    await line.until(() => line.ended !== undefined);
    expect(line.text).toBe("");
    expect(line.ended).toMatch(ended);
    expect(gateway.counts.requests).toBe(0);
  });

  test("truncates the response", async () => {
    const { gateway, line } = await inject({ kind: "truncated" }, https);
    await line.until(() => line.ended !== undefined);
    expect(line.ended).toBe("FIN");
    expect(line.body.length).toBeGreaterThan(0);
    expect(complete(line)).toBe(false);
    expect(gateway.received[0].accepted).toBe(true);
  });

  test("ignores a keep-alive connection after the response", async () => {
    const { gateway, line } = await inject({ kind: "half-open", afterwards: "ignore" }, https);
    await line.until(() => complete(line));
    const before = line.text;
    const second = request();
    line.socket.write(second.head + second.body);
    await settle(gateway);
    expect([line.text, line.ended]).toEqual([before, undefined]);
    expect(line.head).toMatch(/connection: keep-alive/i);
    expect(gateway.counts.requests).toBe(3);
  });

  test("resets a keep-alive connection at the next request", async () => {
    const { gateway, line } = await inject({ kind: "half-open", afterwards: "reset" }, https);
    await line.until(() => complete(line));
    const second = request();
    line.socket.write(second.head + second.body);
    await line.until(() => line.ended !== undefined);
    expect(line.ended).toBe("ECONNRESET");
    expect(gateway.counts.requests).toBe(1);
  });

  test("closes a connection despite keep-alive", async () => {
    const { line } = await inject({ kind: "half-open", afterwards: "close" }, https);
    await line.until(() => line.ended !== undefined);
    expect([line.ended, complete(line)]).toEqual(["FIN", true]);
    expect(line.head).toMatch(/connection: keep-alive/i);
  });
});

test.each(["headers", "body"] as const)("delays the %s", async (phase) => {
  const long = await inject({ kind: "delay", ms: 2 ** 30, phase });
  if (phase === "body") await long.line.until(() => long.line.text.includes("\r\n\r\n"));
  await settle(long.gateway);
  expect(long.gateway.received[0].accepted).toBe(true);
  expect([long.line.body, complete(long.line), long.line.ended]).toEqual(["", false, undefined]);
  const short = await inject({ kind: "delay", ms: 5, phase });
  await short.line.until(() => complete(short.line));
});

const statuses: [Fault, number, string | undefined, RegExp][] = [
  [{ kind: "status", status: 429, retryAfter: 3 }, 429, "3", /RequestLimitExceeded/],
  [{ kind: "status", status: 500 }, 500, undefined, /InternalError/],
  [
    { kind: "status", status: 503, retryAfter: "Wed, 21 Oct 2026 07:28:00 GMT" },
    503,
    "Wed, 21 Oct 2026 07:28:00 GMT",
    /InternalError/,
  ],
  [{ kind: "html" }, 502, undefined, /^<html>/],
  [{ kind: "html", status: 200 }, 200, undefined, /^<html>/],
  [
    { kind: "error", code: "FailedOperation.Odd", message: "So it is." },
    200,
    undefined,
    /FailedOperation.Odd.*So it is/,
  ],
];

test.each(statuses)("%j", async (fault, status, retryAfter, text) => {
  const gateway = await start({ fault });
  const reply = await send(gateway);
  expect([reply.status, reply.headers["retry-after"]]).toEqual([status, retryAfter]);
  expect(reply.text).toMatch(text);
  expect(gateway.received[0]).toMatchObject({ accepted: false, fault });
});

test("a request rejected by a fault can be resent with the same nonce", async () => {
  const gateway = await start();
  gateway.faults.next({ kind: "status", status: 503 });
  expect((await send(gateway, { nonce: "5" })).status).toBe(503);
  expect((await send(gateway, { nonce: "5" })).code).toBeUndefined();
});

test("faults that a parser must reject", async () => {
  const gateway = await start();
  const replies: [Fault, (reply: Awaited<ReturnType<typeof send>>) => void][] = [
    [{ kind: "empty" }, (reply) => expect([reply.status, reply.text]).toEqual([200, ""])],
    [
      { kind: "malformed-json" },
      (reply) => expect([reply.json, reply.text.slice(0, 12)]).toEqual([undefined, '{"Response":']),
    ],
    [{ kind: "content-type" }, (reply) => expect(reply.headers["content-type"]).toBe("text/plain")],
    [
      { kind: "content-type", contentType: "image/png" },
      (reply) => expect(reply.headers["content-type"]).toBe("image/png"),
    ],
    [{ kind: "too-large", bytes: 100_000 }, (reply) => expect(reply.text.length).toBe(100_000)],
    [{ kind: "too-large" }, (reply) => expect(reply.text.length).toBe(1_048_576)],
  ];
  for (const [fault, check] of replies) {
    gateway.faults.next(fault);
    check(await send(gateway));
    expect(gateway.received.at(-1)).toMatchObject({ accepted: true, fault });
  }
});

test("slow-drip sends the response in small pieces", async () => {
  const { line } = await inject({ kind: "slow-drip", bytes: 10, intervalMs: 1 });
  const sizes = new Set<number>();
  line.socket.on("data", () => sizes.add(line.text.length));
  await line.until(() => complete(line));
  expect(sizes.size).toBeGreaterThan(2);
  expect(JSON.parse(line.body)).toHaveProperty("Response.RequestId");
});

test.each([
  ["less", (line: Wire) => complete(line) && line.body.endsWith("}}")],
  ["more", (line: Wire) => line.body.endsWith("}}") && !complete(line)],
  ["negative", (line: Wire) => /content-length: -1\r\n/i.test(line.text) && line.ended === "FIN"],
  ["text", (line: Wire) => /content-length: many\r\n/i.test(line.text) && line.ended === "FIN"],
  ["twice", (line: Wire) => line.text.match(/content-length/gi)?.length === 2 && line.ended === "FIN"],
] as const)("wrong-length sends a wrong Content-Length: %s", async (length, seen) => {
  const { line } = await inject({ kind: "wrong-length", length });
  await line.until(() => seen(line));
  if (length === "less") expect(line.body.length - Number(/content-length: (\d+)/i.exec(line.head)?.[1])).toBe(10);
  if (length === "more") expect(Number(/content-length: (\d+)/i.exec(line.head)?.[1]) - line.body.length).toBe(10);
  expect(line.body).toContain("RequestId");
});

test("bad-chunk and garbage send invalid HTTP", async () => {
  const chunk = await inject({ kind: "bad-chunk" });
  await chunk.line.until(() => chunk.line.ended !== undefined);
  expect(chunk.line.text).toMatch(/transfer-encoding: chunked\r\n\r\nzz\r\n/i);
  const garbage = await inject({ kind: "garbage" });
  await garbage.line.until(() => garbage.line.ended !== undefined);
  expect(garbage.line.text).not.toContain("HTTP/1.1");
  expect(garbage.line.text.length).toBeGreaterThan(0);
});

test("interim sends a 103 before the response", async () => {
  const { line } = await inject({ kind: "interim" });
  await line.until(() => line.text.includes("RequestId"));
  expect(line.text).toMatch(/^HTTP\/1.1 103 [\s\S]*\r\n\r\nHTTP\/1.1 200 /);
});

test("other-response repeats the previous request's response", async () => {
  const gateway = await start();
  const first = await send(gateway);
  gateway.faults.next({ kind: "other-response" });
  expect((await send(gateway)).text).toBe(first.text);
  expect(gateway.received[1]).toMatchObject({ accepted: true });
  expect((await send(gateway)).text).not.toBe(first.text);
});

test("repeated sends an earlier response of the connection instead of processing the request", async () => {
  const gateway = await start();
  const line = await wire(gateway);
  const texts: string[] = [];
  const exchange = async () => {
    const { head, body } = request();
    const before = line.text.length;
    line.socket.write(head + body);
    await line.until(() => line.text.slice(before).endsWith("}}"));
    texts.push(line.text.slice(before).slice(line.text.slice(before).indexOf("{")));
  };
  // There is none before the first.
  for (const ago of [1, undefined, 2, undefined, 3]) {
    if (ago !== undefined) gateway.faults.next({ kind: "repeated", ago });
    await exchange();
  }
  expect(texts[2]).toBe(texts[0]);
  // The repeated one counts as one that was sent.
  expect(texts[4]).toBe(texts[1]);
  expect(new Set(texts).size).toBe(3);
  expect(gateway.received.map(({ accepted }) => accepted)).toEqual([true, true, false, true, false]);
  // On another connection there was none.
  const other = await wire(gateway);
  gateway.faults.next({ kind: "repeated" });
  const { head, body } = request();
  other.socket.write(head + body);
  await other.until(() => other.text.endsWith("}}"));
  expect(gateway.received.at(-1)).toMatchObject({ accepted: true });
});

test("two-responses sends two responses at once", async () => {
  const { gateway, line } = await inject({ kind: "two-responses" });
  await line.until(() => line.text.match(/"RequestId":"[^"]+"}}/g)?.length === 2);
  const ids = [...line.text.matchAll(/"RequestId":"([^"]+)"/g)].map((match) => match[1]);
  expect(ids[0]).toBe(gateway.received[0].requestId);
  expect(ids[1]).not.toBe(ids[0]);
});

test("early responds before the body was sent", async () => {
  for (const [status, keepOpen] of [
    [200, false],
    [413, true],
  ] as const) {
    const gateway = await start();
    gateway.faults.next({ kind: "early", status, keepOpen });
    const line = await wire(gateway);
    const { head, body } = request();
    line.socket.write(head);
    await line.until(() => complete(line));
    expect(line.head).toMatch(`HTTP/1.1 ${status}`);
    expect(line.head).toMatch(keepOpen ? /connection: keep-alive/i : /connection: close/i);
    expect(gateway.received[0]).toMatchObject({ accepted: false });
    if (!keepOpen) continue;
    const second = request();
    line.text = "";
    line.socket.write(body + second.head + second.body);
    await line.until(() => complete(line));
    expect(JSON.parse(line.body)).toEqual({ Response: { RequestId: gateway.received[1].requestId } });
  }
});

test("skew shifts the Date header and the timestamp window", async () => {
  const gateway = await start();
  const off = (date: string | undefined): number => Math.round((Date.parse(date as string) - Date.now()) / 1000);
  gateway.faults.next({ kind: "skew", seconds: -7200 });
  const skewed = await send(gateway);
  expect(skewed.code).toBe("AuthFailure.SignatureExpire");
  expect(Math.abs(off(skewed.headers.date) + 7200)).toBeLessThan(60);
  expect((await send(gateway)).code).toBeUndefined();
  gateway.clockSkewSeconds = 3600;
  const ahead = await send(gateway);
  expect(ahead.code).toBe("AuthFailure.SignatureExpire");
  expect(Math.abs(off(ahead.headers.date) - 3600)).toBeLessThan(60);
  const timestamp = String(Math.floor(Date.parse(ahead.headers.date as string) / 1000));
  expect((await send(gateway, { timestamp })).code).toBeUndefined();
});

test.each<[Fault, RegExp]>([
  [{ kind: "tls-alert" }, /alert handshake failure/],
  [{ kind: "tls-alert", alert: 48 }, /alert unknown ca/],
  [{ kind: "tls-close" }, /disconnected before secure/],
  [{ kind: "tls-close", afterBytes: 300 }, /disconnected before secure/],
  [{ kind: "tls-key-exchange" }, /bad signature/],
  [{ kind: "reset", phase: "connect" }, /ECONNRESET/],
])("the TLS handshake fails with %j", async (fault, words) => {
  const gateway = await start({ https: true });
  gateway.faults.next(fault);
  await expect(send(gateway)).rejects.toThrow(words);
  expect(gateway.counts).toMatchObject({ connections: 1, faults: 1, requests: 0, tlsHandshakes: 0 });
  expect((await send(gateway)).code).toBeUndefined();
});

test("tls-hang hangs in the TLS handshake", async () => {
  const gateway = await start({ https: true });
  gateway.faults.next({ kind: "tls-hang" });
  const socket = tlsConnect({ host: "127.0.0.1", port: gateway.port, ca: gateway.ca, servername: "localhost" });
  let secured = false;
  socket.on("secureConnect", () => {
    secured = true;
  });
  const line = new Wire(socket);
  await settle(gateway);
  expect([line.text, line.ended, secured]).toEqual(["", undefined, false]);
});

test("a request can select its fault if that is enabled", async () => {
  const deaf = await start();
  expect((await send(deaf, { headers: { "x-mock-fault": "status:503" } })).status).toBe(200);
  const gateway = await start({ faultHeader: "X-Mock-Fault" });
  expect((await send(gateway, { headers: { "x-mock-fault": "status:503" } })).status).toBe(503);
  expect((await send(gateway, { headers: { "x-mock-fault": '{"kind":"empty","status":204}' } })).status).toBe(204);
  for (const bad of ["nonsense", "hang:connect", "tls-alert", "{"]) {
    expect(await send(gateway, { headers: { "x-mock-fault": bad } })).toMatchObject({
      status: 400,
      code: "InvalidParameterValue",
    });
  }
  expect((await send(gateway)).code).toBeUndefined();
});

test("queued faults precede the permanent one; clearing removes both", async () => {
  const gateway = await start({ fault: { kind: "status", status: 500 } });
  gateway.faults.next({ kind: "status", status: 503 }, 2);
  gateway.faults.next({ kind: "html" });
  expect(gateway.faults.pending).toBe(3);
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) seen.push((await send(gateway)).status);
  gateway.faults.clear();
  seen.push((await send(gateway)).status);
  expect(seen).toEqual([503, 503, 502, 500, 500, 200]);
});

test("random faults are the same with the same seed", async () => {
  const among: Fault[] = [{ kind: "status", status: 503 }, { kind: "html" }, { kind: "reset", phase: "connect" }];
  const run = async (seed: number): Promise<string> => {
    const gateway = await start({ randomFaults: { probability: 0.4, among, seed } });
    let seen = "";
    for (let i = 0; i < 30; i++)
      seen += `${await send(gateway).then(
        (reply) => reply.status,
        () => "reset",
      )} `;
    return seen;
  };
  const first = await run(1);
  expect(await run(1)).toBe(first);
  expect(await run(2)).not.toBe(first);
  for (const kind of ["200", "503", "502", "reset"]) expect(first).toContain(kind);
});

test("faults are parsed from text, and invalid ones rejected with a reason", async () => {
  expect(parseFault("truncated")).toEqual({ kind: "truncated" });
  expect(parseFault("hang:body")).toEqual({ kind: "hang", phase: "body" });
  expect(parseFault("delay:200")).toEqual({ kind: "delay", ms: 200 });
  expect(parseFault("skew:-300")).toEqual({ kind: "skew", seconds: -300 });
  expect(parseFault("wrong-length:twice")).toEqual({ kind: "wrong-length", length: "twice" });
  expect(parseFault(' {"kind":"status","status":429,"retryAfter":1}')).toMatchObject({ status: 429 });
  for (const bad of [
    "",
    "truncate",
    "hang",
    "hang:never",
    "status:99",
    "truncated:1",
    "{}",
    '{"kind":"html","x":1}',
    "constructor",
    "delay:-1",
  ]) {
    expect(() => parseFault(bad)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  }
  expect(faultKinds.length).toBeGreaterThan(20);
  const gateway = await start();
  expect(() => gateway.faults.next({ kind: "tls-hang" })).toThrow("needs HTTPS");
  expect(() => gateway.faults.random({ probability: 2, among: [], seed: 1 })).toThrow("from 0 to 1");
});

test("closing ends hanging responses at once", async () => {
  const { gateway, line } = await inject({ kind: "hang", phase: "headers" });
  const delayed = await inject({ kind: "delay", ms: 2 ** 30 });
  await delayed.gateway.close();
  await settle(gateway);
  await Promise.all([gateway.close(), gateway.close()]);
  await line.until(() => line.ended !== undefined);
  await delayed.line.until(() => delayed.line.ended !== undefined);
  await expect(send(gateway)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  expect(gateway.counts.openConnections).toBe(0);
});
