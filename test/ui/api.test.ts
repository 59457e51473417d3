import { readdirSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { hostname } from "node:os";
import { describe, expect, test } from "@jest/globals";
import type { FastifyRequest } from "fastify";
import { type Gateway, type GatewayOptions, startGateway } from "../../tools/gateway/index.js";
import { Feed } from "../../tools/ui/feed.js";
import { Guard } from "../../tools/ui/guard.js";
import { needsToken } from "../../tools/ui/options.js";
import { EventStream } from "../../tools/ui/stream.js";
import { cleanups } from "../support/cleanups.js";
import { message, send } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";

const devices = { products: { P1: { devices: { dev1: { psk }, dev2: { psk } } } } };

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ devices, ui: true, ...options });
  cleanups.push(() => gateway.close());
  return gateway;
}

interface ApiResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  readonly json: any;
}

interface Call {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** A request with exactly these headers, which `fetch` would not send. */
function call(gateway: Gateway, path: string, { method = "GET", headers = {}, body }: Call = {}): Promise<ApiResponse> {
  const { hostname, port } = new URL(gateway.uiUrl as string);
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ host: hostname, port, path, method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part) => {
        text += part;
      });
      response.on("end", () => {
        const isJson = text !== "" && response.headers["content-type"]?.startsWith("application/json");
        const { statusCode: status = 0, headers } = response;
        resolve({ status, headers, text, json: isJson ? JSON.parse(text) : undefined });
      });
      response.on("error", reject);
    });
    sent.on("error", reject).end(body);
  });
}

const json = { "content-type": "application/json" };
const post = (gateway: Gateway, change: unknown, headers: Record<string, string> = {}) =>
  call(gateway, "/_/faults", { method: "POST", headers: { ...json, ...headers }, body: JSON.stringify(change) });

interface Received {
  readonly type: string;
  readonly id: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  readonly data: any;
}

/** A reader of server-sent events. */
class Events {
  readonly all: Received[] = [];
  response: IncomingMessage | undefined;
  #wake = () => {};

  async open(gateway: Pick<Gateway, "uiUrl">, headers: Record<string, string> = {}, query = ""): Promise<this> {
    const { hostname, port } = new URL(gateway.uiUrl as string);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const path = `/_/events${query}`;
      httpRequest({ host: hostname, port, path, headers, agent: false }, resolve).on("error", reject).end();
    });
    this.response = response;
    cleanups.push(() => response.destroy());
    let text = "";
    response.on("error", () => {});
    response.setEncoding("utf8").on("data", (part) => {
      text += part;
      const blocks = text.split("\n\n");
      text = blocks.pop() as string;
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
        if (fields.event !== undefined) {
          this.all.push({ type: fields.event, id: fields.id, data: JSON.parse(fields.data) });
        }
      }
      this.#wake();
    });
    return this;
  }

  /** Waits for the events of a type. */
  async of(type: string, count = 1): Promise<Received[]> {
    for (;;) {
      const found = this.all.filter((event) => event.type === type);
      if (found.length >= count) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.response?.destroy();
  }
}

describe("API of the page", () => {
  test("lists requests with payload and, for one, headers and body", async () => {
    const gateway = await start();
    await send(gateway, { body: message({ Payload: '{"t":21.5}' }) });
    const { json: list } = await call(gateway, "/_/requests");
    expect(list.requests).toMatchObject([
      {
        index: 1,
        deviceName: "dev1",
        topic: "P1/dev1/data",
        payload: { text: '{"t":21.5}', bytes: 10 },
        accepted: true,
      },
    ]);
    expect(list.requests[0]).not.toHaveProperty("headers");
    const { json: one } = await call(gateway, "/_/requests/1");
    expect(one).toMatchObject({
      headers: { "x-tc-algorithm": "hmacsha256" },
      body: { text: message({ Payload: '{"t":21.5}' }) },
    });
    await send(gateway);
    expect((await call(gateway, "/_/requests?after=1")).json.requests).toMatchObject([{ index: 2 }]);
    expect((await call(gateway, "/_/requests?limit=1")).json.requests).toMatchObject([{ index: 1 }]);
    expect((await call(gateway, "/_/requests?after=x")).status).toBe(400);
    expect((await call(gateway, "/_/requests/3")).status).toBe(404);
  });

  test("names device and topic of a request that was refused before its body was read", async () => {
    const gateway = await start();
    gateway.faults.next({ kind: "status", status: 503 });
    await send(gateway);
    const { requests } = (await call(gateway, "/_/requests")).json;
    expect(requests).toMatchObject([{ named: { productId: "P1", deviceName: "dev1", topic: "P1/dev1/data" } }]);
  });

  test("contains no key", async () => {
    const gateway = await start({ https: true });
    const events = await new Events().open(gateway);
    await send(gateway);
    await send(gateway, { secret: "another" });
    await events.of("request", 2);
    const paths = ["/_/requests", "/_/requests/1", "/_/requests/2", "/_/devices", "/_/info", "/_/faults", "/_/ca.pem"];
    const texts = await Promise.all(paths.map(async (path) => (await call(gateway, path)).text));
    for (const text of [...texts, JSON.stringify(events.all)]) {
      expect(text).not.toContain(psk);
      expect(text).not.toContain("PRIVATE KEY");
    }
    expect(texts.at(-1)).toBe(gateway.ca);
  });

  test("has devices with the time of the last right signature", async () => {
    const gateway = await start();
    await send(gateway, { secret: "another" });
    const before = (await call(gateway, "/_/devices")).json.devices;
    expect(before).toMatchObject([{ deviceName: "dev1", refused: 1, accepted: 0 }, { deviceName: "dev2" }]);
    expect(before[0].lastSeenMs).toBeUndefined();
    await send(gateway);
    await send(gateway, { body: message({ DeviceName: "stranger" }) });
    const { devices: after } = (await call(gateway, "/_/devices")).json;
    expect(after).toMatchObject([
      { deviceName: "dev1", registered: true, credential: "psk", accepted: 1, refused: 1 },
      { deviceName: "dev2", registered: true, accepted: 0 },
      { deviceName: "stranger", registered: false, refused: 1 },
    ]);
    expect(Math.abs(after[0].lastSeenMs - Date.now())).toBeLessThan(60_000);
    expect(after[2].lastSeenMs).toBeUndefined();
  });

  test("stays outside of the gateway's counts and faults", async () => {
    const gateway = await start();
    gateway.faults.always({ kind: "reset", phase: "connect" });
    gateway.offline = "hang";
    const { status, json: counts } = await call(gateway, "/_/counts");
    expect(status).toBe(200);
    expect(counts).toMatchObject({ connections: 0, requests: 0, faults: 0 });
  });

  test("ends with the gateway, streams included", async () => {
    const gateway = await start();
    const events = await new Events().open(gateway);
    await events.of("hello");
    const ended = new Promise((resolve) => events.response?.once("close", resolve));
    await gateway.close();
    await ended;
    await expect(call(gateway, "/_/counts")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("leaves nothing behind when its port is taken", async () => {
    const first = await start();
    const port = Number(new URL(first.uiUrl as string).port);
    await expect(startGateway({ ui: { port } })).rejects.toMatchObject({ code: "PORT_IN_USE" });
  });

  test.each([
    [{ port: -1 }, "ui.port"],
    [{ host: "" }, "ui.host"],
    [{ hots: "x" }, "ui has no hots"],
    ["yes", "ui must be"],
  ])("rejects the option %j", async (ui, words) => {
    await expect(startGateway({ ui: ui as never })).rejects.toMatchObject({
      code: "INVALID_OPTION",
      message: expect.stringContaining(words),
    });
  });

  test("is not there without the option", async () => {
    const gateway = await start({ ui: false });
    expect(gateway.uiUrl).toBeUndefined();
  });
});

describe("fault switches", () => {
  test("switch faults while the gateway runs", async () => {
    const gateway = await start();
    expect((await post(gateway, { always: "status:503:7" })).json).toEqual({
      always: { kind: "status", status: 503, retryAfter: 7 },
      pending: 0,
      offline: false,
      clockSkewSeconds: 0,
    });
    expect(await send(gateway)).toMatchObject({ status: 503, headers: { "retry-after": "7" } });
    await post(gateway, { always: null, next: { kind: "status", status: 500 }, times: 2 });
    expect([await send(gateway), await send(gateway), await send(gateway)].map(({ status }) => status)).toEqual([
      500, 500, 200,
    ]);
    await post(gateway, { clockSkewSeconds: 3600 });
    expect((await send(gateway)).code).toBe("AuthFailure.SignatureExpire");
    await post(gateway, { offline: "reset" });
    await expect(send(gateway)).rejects.toMatchObject({ code: "ECONNRESET" });
    const cleared = await post(gateway, { clear: true });
    expect(cleared.json).toEqual({ always: null, pending: 0, offline: false, clockSkewSeconds: 0 });
    expect(await send(gateway)).toMatchObject({ status: 200, code: undefined });
  });

  test.each([
    [[], "object"],
    [{ allways: "status:503" }, "allways"],
    [{ always: "nonsense" }, "nonsense"],
    [{ always: { kind: "delay" } }, "ms"],
    [{ always: "tls-hang" }, "HTTPS"],
    [{ next: "delay:1", times: 0 }, "times"],
    [{ next: "delay:1", times: 1001 }, "times"],
    [{ clockSkewSeconds: "3600" }, "clockSkewSeconds"],
    [{ clockSkewSeconds: 1e300 }, "clockSkewSeconds"],
    [{ offline: true }, "offline"],
    [{ clear: 1 }, "clear"],
  ])("refuse %j and change nothing", async (change, words) => {
    const gateway = await start();
    gateway.clockSkewSeconds = 5;
    const wanted = Array.isArray(change) ? change : { clear: true, offline: "hang", ...change };
    const { status, json: body } = await post(gateway, wanted);
    expect({ status, code: body.error.code }).toEqual({ status: 400, code: "INVALID_OPTION" });
    expect(body.error.message).toContain(words);
    expect((await call(gateway, "/_/faults")).json).toMatchObject({
      always: null,
      offline: false,
      clockSkewSeconds: 5,
    });
  });

  test("take no body that is not JSON, or too long", async () => {
    const gateway = await start();
    expect((await call(gateway, "/_/faults", { method: "POST", headers: json, body: "{" })).status).toBe(400);
    const body = JSON.stringify({ always: `error:${"x".repeat(20_000)}` });
    expect((await call(gateway, "/_/faults", { method: "POST", headers: json, body })).status).toBe(413);
  });

  test("queue at most a thousand faults", async () => {
    const gateway = await start();
    await post(gateway, { next: "delay:1", times: 1000 });
    expect((await post(gateway, { next: "delay:1" })).json.error.message).toContain("1000");
  });
});

describe("stream of events", () => {
  test("sends what happened before it was opened, and what happens then", async () => {
    const gateway = await start({ https: true });
    await send(gateway);
    const events = await new Events().open(gateway);
    expect(events.response?.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    await events.of("request");
    await send(gateway, { body: message({ Payload: "second" }) });
    const requests = await events.of("request", 2);
    expect(requests.map(({ data }) => data.payload.text)).toEqual(["hello", "second"]);
    const { port } = gateway;
    const socket = connect(port, "127.0.0.1", () => socket.end("GET / HTTP/1.1\r\n\r\n"));
    cleanups.push(() => socket.destroy());
    expect((await events.of("tlsError"))[0].data).toMatchObject({ code: "ERR_SSL_HTTP_REQUEST" });
    gateway.faults.always({ kind: "truncated" });
    expect((await events.of("fault"))[0].data).toMatchObject({ always: { kind: "truncated" } });
    expect(events.all[0]).toMatchObject({ type: "hello", data: { resumed: false } });
  });

  test("tells of a dropped connection", async () => {
    const gateway = await start();
    const events = await new Events().open(gateway);
    const socket = connect(gateway.port, "127.0.0.1", () => socket.end());
    cleanups.push(() => socket.destroy());
    expect((await events.of("dropped"))[0].data.reason).toContain("without sending anything");
  });

  test("sends counts, faults and devices when they change", async () => {
    const gateway = await start();
    const events = await new Events().open(gateway);
    await send(gateway);
    for (;;) {
      const counts = await events.of("counts");
      if (counts.at(-1)?.data.requests === 1) break;
      await events.of("counts", counts.length + 1);
    }
    gateway.clockSkewSeconds = 60;
    await events.of("faults", 2);
    expect((await events.of("devices", 2)).at(-1)?.data.devices[0]).toMatchObject({ accepted: 1 });
  });

  test.each(["header", "query"])("continues after an event, named by a %s", async (how) => {
    const gateway = await start();
    const first = await new Events().open(gateway);
    await send(gateway);
    const [{ id }] = await first.of("request");
    first.close();
    await send(gateway, { body: message({ Payload: "missed" }) });
    const again = new Events();
    await (how === "header"
      ? again.open(gateway, { "last-event-id": id as string })
      : again.open(gateway, {}, `?after=${id}`));
    const requests = await again.of("request");
    expect(requests.map(({ data }) => data.payload.text)).toEqual(["missed"]);
    expect(again.all[0]).toMatchObject({ type: "hello", data: { resumed: true } });
  });

  test("starts over after the gateway was started again", async () => {
    const before = await new Events().open(await start());
    const other = await start();
    await send(other);
    const again = await new Events().open(other, { "last-event-id": `${before.all[0]?.data.epoch ?? "00"}-1` });
    await again.of("request");
    expect(again.all[0]).toMatchObject({ type: "hello", data: { resumed: false } });
  });

  test("says how many events a reader missed that was away for too long", () => {
    const feed = new Feed(3);
    for (let i = 1; i <= 10; i++) feed.add("request", { i });
    expect({ first: feed.first, last: feed.last }).toEqual({ first: 8, last: 10 });
    expect([7, 8, 10, 11].map((sequence) => feed.at(sequence)?.data)).toEqual([
      undefined,
      '{"i":8}',
      '{"i":10}',
      undefined,
    ]);
  });

  test("is bounded by size as well", () => {
    const feed = new Feed(1000, 1000);
    for (let i = 0; i < 50; i++) feed.add("request", { text: "x".repeat(200) });
    expect(feed.last - feed.first + 1).toBe(4);
  });

  test("does not wait for a reader that stopped reading, and tells it what it missed", async () => {
    const feed = new Feed(100);
    const server = createServer((_request, response) => {
      new EventStream(feed, response, undefined, {});
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => new Promise((resolve) => server.close(resolve)));
    const events = await new Events().open({ uiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
    await events.of("hello");
    events.response?.pause();
    // Much more than the system's buffers hold; nothing else may.
    const count = 20_000;
    for (let i = 1; i <= count; i++) feed.add("request", { i, text: "x".repeat(1000) });
    events.response?.resume();
    const [{ data }] = await events.of("gap");
    for (let seen = 1; ; seen++) {
      const requests = await events.of("request", seen);
      if (requests.at(-1)?.data.i === count) {
        expect(requests.length + data.skipped).toBe(count);
        return;
      }
    }
  });

  test("is not opened by HEAD", async () => {
    expect((await call(await start(), "/_/events", { method: "HEAD" })).status).toBe(404);
  });

  test("has a limit", async () => {
    const gateway = await start();
    const open = await Promise.all([...Array(64)].map(() => new Events().open(gateway)));
    expect((await call(gateway, "/_/events")).status).toBe(503);
    open[0].close();
    for (;;) if ((await new Events().open(gateway)).response?.statusCode === 200) break;
  });
});

describe("checks of a request", () => {
  const host = (gateway: Gateway) => new URL(gateway.uiUrl as string).host;

  test.each([
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "[::2]",
    "a b",
    "evil.example:80",
  ])("refuse the Host header %j", async (name) => {
    const gateway = await start();
    for (const path of ["/", "/app.js", "/_/requests", "/_/events"]) {
      const { status, text } = await call(gateway, path, { headers: { host: name } });
      // Node itself refuses some of them.
      expect([400, 403]).toContain(status);
      expect(text).not.toContain("<");
    }
  });

  test.each(["localhost", "127.0.0.1:9000", "LOCALHOST:1", "[::1]:80"])(
    "take the Host header %j, of a forwarded port",
    async (name) => {
      const gateway = await start();
      expect((await call(gateway, "/_/counts", { headers: { host: name } })).status).toBe(200);
    },
  );

  test.each([
    ["another site", { origin: "https://evil.example" }],
    ["another port of the same host", { origin: "http://127.0.0.1:1" }],
    ["an opaque origin, such as a frame in a sandbox", { origin: "null" }],
    ["another site, by the browser's own word", { "sec-fetch-site": "cross-site" }],
    ["the same site on another port", { "sec-fetch-site": "same-site" }],
  ] as [string, Record<string, string>][])("refuse a change from %s", async (_name, headers) => {
    const gateway = await start();
    const { status, json: body, headers: got } = await post(gateway, { always: "status:503" }, headers);
    expect({ status, code: body.error.code }).toEqual({ status: 403, code: "ORIGIN_FORBIDDEN" });
    expect(Object.keys(got).filter((name) => name.startsWith("access-control"))).toEqual([]);
    expect(gateway.faults.permanent).toBeUndefined();
  });

  test("refuse a change that HTTPS on the same host asks for", async () => {
    const gateway = await start();
    expect((await post(gateway, {}, { origin: `https://${host(gateway)}` })).status).toBe(403);
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
    "",
  ])("refuse a change with the Content-Type %j", async (type) => {
    const gateway = await start();
    const headers: Record<string, string> = type === "" ? {} : { "content-type": type };
    const { status, json: body } = await call(gateway, "/_/faults", {
      method: "POST",
      headers,
      body: '{"always":"empty"}',
    });
    expect({ status, code: body.error.code }).toEqual({ status: 403, code: "CONTENT_TYPE" });
    expect(gateway.faults.permanent).toBeUndefined();
  });

  test("take a change from the page and from a program", async () => {
    const gateway = await start();
    const own = { origin: `http://${host(gateway)}`, "sec-fetch-site": "same-origin" };
    expect((await post(gateway, { always: null }, own)).status).toBe(200);
    expect((await post(gateway, { always: null }, { "content-type": "application/json; charset=utf-8" })).status).toBe(
      200,
    );
  });

  test("do not accept a preflight", async () => {
    const gateway = await start();
    const { status, headers } = await call(gateway, "/_/faults", {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    });
    expect(status).toBe(403);
    expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  test("refuse to be read or embedded by a foreign page, but may be linked to", async () => {
    const gateway = await start();
    const foreign = { "sec-fetch-site": "cross-site" };
    expect((await call(gateway, "/_/requests", { headers: { ...foreign, "sec-fetch-mode": "no-cors" } })).status).toBe(
      403,
    );
    expect((await call(gateway, "/_/events", { headers: { ...foreign, "sec-fetch-mode": "cors" } })).status).toBe(403);
    expect((await call(gateway, "/", { headers: { ...foreign, "sec-fetch-mode": "navigate" } })).status).toBe(200);
  });

  test.each(["/", "/app.js", "/style.css", "/_/requests", "/_/nothing", "/_/requests/9"])(
    "send the policy with %s",
    async (path) => {
      const gateway = await start();
      const { headers } = await call(gateway, path);
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["content-security-policy"]).not.toContain("unsafe");
      expect(headers).toMatchObject({
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
      });
    },
  );

  test("do not keep a file of the page from being served", async () => {
    const gateway = await start();
    const folder = new URL("../../tools/ui/page/", import.meta.url);
    const names = readdirSync(folder).filter((name) => !/^(index\.html|tsconfig\.json|.*\.d\.ts)$/.test(name));
    for (const name of names) expect([name, (await call(gateway, `/${name}`)).status]).toEqual([name, 200]);
  });

  test("serve the files of the page alone", async () => {
    const gateway = await start();
    for (const path of [
      "/types.d.ts",
      "/../server.ts",
      "/%2e%2e/server.ts",
      "/tsconfig.json",
      "/_/requests/../../package.json",
    ]) {
      expect((await call(gateway, path)).status).toBe(404);
    }
    const { headers } = await call(gateway, "/app.js");
    expect((await call(gateway, "/app.js", { headers: { "if-none-match": headers.etag as string } })).status).toBe(304);
  });
});

describe("token, where it is needed", () => {
  const open = () => start({ ui: { token: true } });
  /** Of the URL that is printed. */
  const tokenOf = (gateway: Gateway) => new URL(gateway.uiUrl as string).searchParams.get("token") as string;
  const local = { host: "127.0.0.1" };

  test("is random, and needed for everything", async () => {
    const gateway = await open();
    const token = tokenOf(gateway);
    expect(token).toMatch(/^[\w-]{24}$/);
    expect(tokenOf(await open())).not.toBe(token);
    for (const path of ["/", "/app.js", "/_/requests", "/_/events", "/_/faults", `/?token=${token}x`, "/?token="]) {
      expect((await call(gateway, path, { headers: local })).status).toBe(401);
    }
    expect((await post(gateway, { always: "empty" }, local)).status).toBe(401);
    expect(gateway.faults.permanent).toBeUndefined();
  });

  test("comes by URL, cookie or Authorization", async () => {
    const gateway = await open();
    const token = tokenOf(gateway);
    const page = await call(gateway, `/?token=${token}`, { headers: local });
    expect(page.status).toBe(200);
    const [cookie] = page.headers["set-cookie"] as string[];
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict; Path=\/$/);
    const byCookie = { ...local, cookie: `a=b; ${cookie.split(";")[0]}` };
    expect((await call(gateway, "/_/requests", { headers: byCookie })).status).toBe(200);
    expect((await post(gateway, { always: "empty" }, { ...byCookie, origin: "http://127.0.0.1" })).status).toBe(200);
    const authorization = `Bearer ${token}`;
    expect((await call(gateway, "/_/requests", { headers: { ...local, authorization } })).status).toBe(200);
    expect(
      (await call(gateway, "/_/requests", { headers: { ...local, authorization: `${authorization}x` } })).status,
    ).toBe(401);
  });

  test("does not replace the other checks", async () => {
    const gateway = await open();
    const authorization = `Bearer ${tokenOf(gateway)}`;
    expect((await post(gateway, {}, { ...local, authorization, origin: "http://evil.example" })).status).toBe(403);
    expect((await call(gateway, "/", { headers: { host: "evil.example", authorization } })).status).toBe(403);
  });

  test.each(["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "board.local", "localhost.example", "::ffff:10.0.0.1"])(
    "is needed on %s, whatever the option says",
    (host) => {
      expect([needsToken({ host }), needsToken({ host, token: false })]).toEqual([true, true]);
    },
  );

  test.each(["127.0.0.1", "127.1.2.3", "::1", "localhost", undefined])("is a matter of choice on %s", (host) => {
    expect([needsToken({ host }), needsToken({ host, token: true })]).toEqual([false, true]);
  });

  test("Host headers are this machine's addresses and names where all can connect", () => {
    const guard = new Guard("0.0.0.0", 80, "t");
    const check = (host: string) =>
      guard.check({ headers: { host, authorization: "Bearer t" }, method: "GET", query: {} } as FastifyRequest)?.code;
    for (const host of ["192.168.1.5:80", "[fe80::1]:80", "localhost", `${hostname()}:80`]) {
      expect([host, check(host)]).toEqual([host, undefined]);
    }
    for (const host of ["evil.example", "192.168.1.5.evil.example", "1.2.3", "192.168.1.5@evil.example", "[evil]"]) {
      expect([host, check(host)]).toEqual([host, "HOST_FORBIDDEN"]);
    }
  });

  test("is not needed on a loopback address", async () => {
    const gateway = await start({ ui: { host: "localhost" } });
    expect(new URL(gateway.uiUrl as string).search).toBe("");
    expect((await call(gateway, "/_/counts")).status).toBe(200);
  });

  test("a cookie's name has the port, which cookies do not distinguish", () => {
    expect(new Guard("0.0.0.0", 81, "t").cookie("t")).not.toBe(new Guard("0.0.0.0", 82, "t").cookie("t"));
  });
});
