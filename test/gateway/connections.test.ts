import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, jest, test } from "@jest/globals";
import { type Fault, type Gateway, type GatewayOptions, startGateway } from "../../tools/gateway/index.js";
import { message, send, signedHeaders } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";

const open: Gateway[] = [];
afterEach(async () => {
  jest.useRealTimers();
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ devices: { products: { P1: { devices: { dev1: { psk } } } } }, ...options });
  open.push(gateway);
  return gateway;
}

/** What the gateway received on the connection, by the text that comes back. */
function exchange(gateway: Gateway, bytes: string, done: (text: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(gateway.port, gateway.host, () => socket.write(bytes));
    let text = "";
    socket.on("data", (part) => {
      text += part;
      if (done(text)) socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
  });
}

function raw(gateway: Gateway, target: string, host: string, signedHost = "127.0.0.1"): string {
  const body = message();
  const headers = Object.entries(signedHeaders(signedHost, { body })).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${target} HTTP/1.1\r\nHost: ${host}\r\n${headers.join("")}Content-Length: ${body.length}\r\n\r\n${body}`.replaceAll(
    "PORT",
    String(gateway.port),
  );
}

const RUNS = 30;

describe("responses on one keep-alive TLS connection", () => {
  const hasCurl = spawnSync("curl", ["--version"]).status === 0;
  if (!hasCurl) console.log("skipped: curl is not installed, so it is not tested on keep-alive connections");

  test("all arrive at Node's agent, each delayed", async () => {
    const gateway = await start({ https: true, fault: { kind: "delay", ms: 20 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: gateway.ca });
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < RUNS; i++) statuses.push((await send(gateway, { agent })).status);
    agent.destroy();
    expect(statuses).toEqual(Array(RUNS).fill(200));
    expect(gateway.counts).toMatchObject({ connections: 1, requests: RUNS, accepted: RUNS });
  });

  (hasCurl ? test : test.skip)("all come back to curl, each delayed", async () => {
    const gateway = await start({ https: true, fault: { kind: "delay", ms: 20 } });
    const folder = mkdtempSync(join(tmpdir(), "tencent-iothub-curl-"));
    try {
      writeFileSync(join(folder, "ca.pem"), gateway.ca as string);
      const one = ["-s", "-S", "--cacert", join(folder, "ca.pem"), "--max-time", "20", "-o", join(folder, "body")];
      const args = Array.from({ length: RUNS }, (_, i) => {
        const headers = Object.entries(signedHeaders("127.0.0.1", {})).flatMap(([n, v]) => ["-H", `${n}: ${v}`]);
        const url = `${gateway.url}/device/publish`;
        return [
          ...(i === 0 ? [] : ["--next"]),
          ...one,
          "-w",
          "%{http_code} %{num_connects}\\n",
          ...headers,
          "--data-binary",
          message(),
          url,
        ];
      }).flat();
      const curl = spawn("curl", args, { stdio: ["ignore", "pipe", "inherit"] });
      let out = "";
      curl.stdout.on("data", (part) => {
        out += part;
      });
      await new Promise((resolve) => curl.on("close", resolve));
      expect(out.trim().split("\n")).toEqual(["200 1", ...Array(RUNS - 1).fill("200 0")]);
      expect(gateway.counts).toMatchObject({ connections: 1, requests: RUNS, accepted: RUNS });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("a request that arrives before the previous response is complete", () => {
  const kinds: readonly Fault[] = [
    { kind: "delay", ms: 5 },
    { kind: "delay", ms: 5, phase: "body" },
    { kind: "status", status: 503 },
    { kind: "error", code: "InternalError" },
    { kind: "html" },
    { kind: "malformed-json" },
    { kind: "content-type" },
    { kind: "slow-drip", bytes: 40, intervalMs: 1 },
    { kind: "interim" },
    { kind: "other-response" },
    { kind: "early", keepOpen: true },
    { kind: "garbage" },
    { kind: "bad-chunk" },
    { kind: "wrong-length", length: "negative" },
    { kind: "truncated" },
  ];

  // Pipelined, so that it is certain: the second request is read while the first one's response is still to come.
  test.each(kinds)("gets its fault after it: %j", async (fault) => {
    const gateway = await start();
    gateway.faults.next({ kind: "delay", ms: 30 });
    gateway.faults.next(fault);
    const two = raw(gateway, "/device/publish", "127.0.0.1:PORT") + raw(gateway, "/device/publish", "127.0.0.1:PORT");
    const seen =
      fault.kind === "garbage" ? /HTTP\/1\.1 200[\s\S]*not HTTP at all/ : /HTTP\/1\.1 200[\s\S]*HTTP\/1\.1 \d{3}/;
    const text = await exchange(gateway, two, (all) => seen.test(all));
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text).toMatch(seen);
    expect(gateway.received.map(({ fault: injected }) => injected?.kind)).toEqual(["delay", fault.kind]);
  });

  test("has its status recorded before the client has the response", async () => {
    const gateway = await start({ https: true, fault: { kind: "status", status: 503 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: gateway.ca });
    for (let i = 1; i <= 10; i++) {
      await new Promise<void>((resolve, reject) => {
        const out = request(`${gateway.url}/device/publish`, { method: "POST", agent }, (response) => {
          response.resume();
          response.on("end", resolve);
        });
        out.on("error", reject);
        out.end("{}");
      });
      expect(gateway.received.map(({ status }) => status)).toEqual(Array(i).fill(503));
    }
    agent.destroy();
  });
});

test("a client that disconnects during the delay leaves no recorded status", async () => {
  // The delay is the test's: a busy machine must not end it before the client has given up.
  jest.useFakeTimers({
    advanceTimers: false,
    doNotFake: ["setImmediate", "nextTick", "queueMicrotask", "performance"],
  });
  const gateway = await start({ fault: { kind: "delay", ms: 100 } });
  const gone = connect(gateway.port, gateway.host, () => gone.write(raw(gateway, "/device/publish", "127.0.0.1")));
  while (!gateway.received[0]?.accepted) await new Promise(setImmediate);
  gone.resetAndDestroy();
  await once(gone, "close");
  const sent = send(gateway);
  // A request of a connection that was opened later: the gateway has seen the other one's end.
  while (!gateway.received[1]?.accepted) await new Promise(setImmediate);
  jest.advanceTimersByTime(100);
  await sent;
  expect(gateway.received.map(({ status, accepted }) => [status, accepted])).toEqual([
    [undefined, true],
    [200, true],
  ]);
});

describe("a request target in absolute form", () => {
  const accepted = (text: string): boolean => /\r\n\r\n\{.*\}$/.test(text);

  test.each([
    ["the same host", "http://127.0.0.1:PORT/device/publish", "127.0.0.1:PORT", "127.0.0.1"],
    ["https", "https://127.0.0.1:PORT/device/publish", "127.0.0.1:PORT", "127.0.0.1"],
    ["a scheme in capitals", "HTTP://127.0.0.1/device/publish", "127.0.0.1:PORT", "127.0.0.1"],
    ["a host that replaces the Host header's", "http://Gateway.test:8080/device/publish", "other.test", "gateway.test"],
    ["a query string", "http://127.0.0.1/device/publish?a=1", "127.0.0.1", "127.0.0.1"],
  ])("is accepted: %s", async (_name, target, host, signedHost) => {
    const gateway = await start();
    const text = await exchange(gateway, raw(gateway, target, host, signedHost), accepted);
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(gateway.received[0]).toMatchObject({
      accepted: true,
      url: target.replace("PORT", String(gateway.port)),
    });
  });

  test("with an unsigned host is rejected as a wrong signature, with the host as the cause", async () => {
    const gateway = await start();
    await exchange(gateway, raw(gateway, "http://gateway.test/device/publish", "127.0.0.1", "127.0.0.1"), accepted);
    expect(gateway.received[0].error?.code).toBe("AuthFailure.SignatureFailure");
    expect(gateway.received[0].diagnosis).toMatchObject({ verdict: "explained", fields: ["host"] });
  });

  test.each(["http://127.0.0.1", "http://127.0.0.1/elsewhere", "ftp://127.0.0.1/device/publish", "*"])(
    "with an unknown path gets 404: %s",
    async (target) => {
      const gateway = await start();
      expect(await exchange(gateway, raw(gateway, target, "127.0.0.1"), accepted)).toMatch(/"InvalidAction"/);
      expect(gateway.received[0].url).toBe(target);
    },
  );
});
