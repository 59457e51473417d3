/** The Node host behind an HTTP proxy. */

import { inspect } from "node:util";
import { afterEach, describe, expect, test } from "@jest/globals";
import { createHost, Device, IotHubError, type NodeHostOptions } from "../../host/node/index.js";
import { matchesNoProxy, proxyRule } from "../../host/node/proxy.js";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { startProxy, type TestProxy, type TestProxyOptions } from "../support/http-proxy.js";
import { rawServer } from "../support/servers.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const message = { topic: "data", payload: "21.5" };

async function gateway(https: boolean): Promise<Gateway> {
  const g = await startGateway({ https, devices: { products: { P: { devices: { D: { psk } } } } } });
  cleanups.push(() => g.close());
  return g;
}

async function proxy(options?: TestProxyOptions): Promise<TestProxy> {
  const p = await startProxy(options);
  cleanups.push(() => p.close());
  return p;
}

function device(url: string, options: NodeHostOptions, timeoutMs = 20_000): Device {
  const host = createHost(options);
  const d = new Device(
    { productId: "P", deviceName: "D", credential: { secret: psk }, url, retry: false, timeoutMs },
    host,
  );
  cleanups.push(() => {
    d.close();
    host.http.close();
  });
  return d;
}

async function failure(promise: Promise<unknown>): Promise<IotHubError & { phase?: string }> {
  const error = await promise.then(
    () => undefined,
    (e) => e,
  );
  expect(error).toBeInstanceOf(IotHubError);
  return error;
}

/** Sets variables of the environment for one test, and takes away all others that name a proxy. */
function environment(variables: Record<string, string>): void {
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].flatMap((name) => [name, name.toLowerCase()]);
  const before = names.map((name) => [name, process.env[name]] as const);
  for (const name of names) delete process.env[name];
  Object.assign(process.env, variables);
  cleanups.push(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}

describe("a proxy in the options", () => {
  test("tunnels HTTPS: five publishes use one CONNECT and one connection", async () => {
    const [g, p] = [await gateway(true), await proxy()];
    const d = device(g.url, { trustAnchors: g.ca, proxy: p.url });
    for (let n = 0; n < 5; n++) {
      const { timing } = await d.publish(message);
      expect(timing.reused).toBe(n > 0);
      expect([timing.connectMs === undefined, timing.tlsMs === undefined]).toEqual([n > 0, n > 0]);
    }
    expect(p.seen).toEqual([`CONNECT 127.0.0.1:${g.port}`]);
    expect(p.headers).toEqual([{ host: `127.0.0.1:${g.port}` }]);
    expect(g.counts.connections).toBe(1);
  });

  test("gets plain HTTP in absolute form, on one connection", async () => {
    const [g, p] = [await gateway(false), await proxy()];
    const d = device(g.url, { proxy: p.url });
    await d.publish(message);
    expect((await d.publish(message)).timing.reused).toBe(true);
    expect(p.seen).toEqual(Array(2).fill(`POST ${g.url}/device/publish`));
    expect(p.headers[0]).toEqual({ host: `127.0.0.1:${g.port}` });
    expect(g.received).toHaveLength(2);
  });

  test("gets the percent-decoded user and password of its URL, with and without a scheme", async () => {
    const authorization = `Basic ${Buffer.from("us er:p@ß:1").toString("base64")}`;
    const p = await proxy({ authorization });
    for (const https of [true, false]) {
      const g = await gateway(https);
      for (const scheme of ["http://", ""]) {
        const d = device(g.url, { trustAnchors: g.ca, proxy: `${scheme}us%20er:p%40%C3%9F%3A1@127.0.0.1:${p.port}/` });
        await d.publish(message);
      }
      expect(g.received.every(({ headers }) => !JSON.stringify(headers).includes("roxy-auth"))).toBe(true);
    }
    expect(p.headers.map((h) => h.authorization)).toEqual(Array(4).fill(authorization));
  });

  test("verifies the gateway's certificate at the far end of the tunnel", async () => {
    const [g, p] = [await gateway(true), await proxy()];
    const error = await failure(device(g.url, { proxy: p.url }).publish(message));
    expect([error.code, error.phase]).toEqual(["CERTIFICATE_REJECTED", "tls"]);
  });

  test.each(["socks5://127.0.0.1:1", "https://127.0.0.1:1", "http://", "http://u:p%@h", "http://u:hush@h:99999", ""])(
    "must be an HTTP proxy: %s is rejected, without its text",
    (value) => {
      const make = () => createHost({ proxy: value });
      expect(make).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
      expect(make).toThrow(/^proxy must be the URL of an HTTP proxy, such as \S+\.$/);
      expect(make).not.toThrow(expect.objectContaining({ cause: expect.anything() }));
    },
  );
});

describe("failures of the proxy", () => {
  test.each([
    [true, 407, "407 Proxy Authentication Required"],
    [true, 403, "403 Forbidden"],
    [true, 502, "502 Bad Gateway"],
    [true, 599, "599"],
  ])("rejected CONNECT", async (https, connect, said) => {
    const [g, p] = [await gateway(https), await proxy({ connect })];
    const error = await failure(
      device(g.url, { trustAnchors: g.ca, proxy: `http://u:hush@127.0.0.1:${p.port}` }).publish(message),
    );
    expect([error.name, error.code, error.phase, error.retryable]).toEqual([
      "NetworkError",
      "PROXY_FAILED",
      "connect",
      true,
    ]);
    expect(error.message).toBe(
      `The proxy 127.0.0.1 port ${p.port} refused to connect to 127.0.0.1:${g.port}: ${said}.`,
    );
    const secrets = ["hush", Buffer.from("u:hush").toString("base64")];
    expect(secrets.filter((secret) => inspect(error, { depth: 9 }).includes(secret))).toEqual([]);
  });

  test("a 407 over plain HTTP is reported as the proxy's", async () => {
    const [g, p] = [await gateway(false), await proxy({ authorization: "Basic other" })];
    const error = await failure(device(g.url, { proxy: p.url }).publish(message));
    expect([error.code, error.message]).toEqual(["PROXY_FAILED", expect.stringContaining("407")]);
    expect(g.received).toEqual([]);
  });

  test.each([true, false])("an unreachable proxy is reported (https %s)", async (https) => {
    const g = await gateway(https);
    const gone = await rawServer(() => {});
    await gone.close();
    const error = await failure(device(g.url, { proxy: `http://127.0.0.1:${gone.port}` }).publish(message));
    expect([error.code, error.phase]).toEqual(["CONNECTION_REFUSED", "connect"]);
    expect(error.message).toBe(`The connection to the proxy 127.0.0.1 port ${gone.port} was refused (ECONNREFUSED).`);
  });

  test.each([
    ["closes within its headers", "HTTP/1.1 200 Conn", "CONNECTION_RESET"],
    ["is not one", "SSH-2.0-OpenSSH_9.2\r\n", "RESPONSE_MALFORMED"],
    ["says more than it was asked", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "RESPONSE_MALFORMED"],
  ])("a proxy that %s", async (_what, connect, code) => {
    const [g, p] = [await gateway(true), await proxy({ connect })];
    const error = await failure(device(g.url, { proxy: p.url }).publish(message));
    expect([error.code, error.phase, error.message]).toEqual([code, "connect", expect.stringContaining("proxy")]);
  });

  test("a hanging CONNECT ends by timeout or signal, without leaving a connection", async () => {
    const [g, p] = [await gateway(true), await proxy({ connect: "hang" })];
    const d = device(g.url, { proxy: p.url });
    const late = await failure(d.publish(message, { timeoutMs: 100 }));
    expect([late.code, late.phase]).toEqual(["TIMEOUT", "connect"]);
    const controller = new AbortController();
    const cancelled = failure(d.publish(message, { signal: controller.signal }));
    while (p.seen.length < 2) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    expect((await cancelled).code).toBe("CANCELLED");
    while (p.open > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("the environment", () => {
  test("sets a proxy, except for loopback", async () => {
    const [g, p] = [await gateway(true), await proxy()];
    environment({ HTTPS_PROXY: p.url });
    await device(g.url, { trustAnchors: g.ca }).publish(message);
    expect(p.seen).toEqual([]);
    const error = await failure(device("https://gateway.invalid", {}).publish(message));
    expect(p.seen).toEqual(["CONNECT gateway.invalid:443"]);
    expect(error.code).toBe("CONNECTION_RESET");
  });

  test("is ignored if proxy is false", async () => {
    const p = await proxy();
    environment({ HTTPS_PROXY: p.url });
    const lookup = ((_name: string, _options: object, callback: (error: Error) => void) =>
      callback(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }))) as never;
    const error = await failure(device("https://gateway.invalid", { proxy: false, lookup }).publish(message));
    expect([error.code, p.seen]).toEqual(["NAME_RESOLUTION", []]);
  });

  test("with an invalid proxy fails only the requests that would use it", async () => {
    const g = await gateway(true);
    environment({ HTTPS_PROXY: "socks5://u:hush@127.0.0.1:1" });
    await device(g.url, { trustAnchors: g.ca }).publish(message);
    const error = await failure(device("https://gateway.invalid", {}).publish(message));
    expect([error.code, error.message]).toEqual(["INVALID_OPTION", expect.stringMatching(/^HTTPS_PROXY must be/)]);
    expect(error.message).not.toContain("hush");
  });

  const to = (scheme: "http" | "https", host: string) => ({ scheme, host, port: 443 });
  test.each<[string, Record<string, string>, "http" | "https", string | undefined]>([
    ["https_proxy before HTTPS_PROXY", { https_proxy: "http://a", HTTPS_PROXY: "http://b" }, "https", "a"],
    ["HTTP_PROXY for http", { HTTP_PROXY: "b:8080", HTTPS_PROXY: "c" }, "http", "b"],
    ["no HTTPS_PROXY for http", { HTTPS_PROXY: "c" }, "http", undefined],
    ["no HTTP_PROXY under CGI", { HTTP_PROXY: "b", REQUEST_METHOD: "GET" }, "http", undefined],
    ["http_proxy under CGI", { http_proxy: "b", REQUEST_METHOD: "GET" }, "http", "b"],
    ["an empty https_proxy switches it off", { https_proxy: "", HTTPS_PROXY: "c" }, "https", undefined],
    ["no_proxy before NO_PROXY", { https_proxy: "a", no_proxy: "gateway.example", NO_PROXY: "x" }, "https", undefined],
    ["NO_PROXY", { https_proxy: "a", NO_PROXY: "other.example" }, "https", "a"],
    ["an IPv6 proxy", { https_proxy: "http://[2001:db8::1]:3128" }, "https", "2001:db8::1"],
  ])("%s", (_name, env, scheme, host) => {
    expect(proxyRule(undefined, env)(to(scheme, "gateway.example"))?.host).toBe(host);
  });

  test.each(["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "[::1]"])("%s is loopback", (host) => {
    const env = { https_proxy: "http://p" };
    expect(proxyRule(undefined, env)(to("https", host))).toBeUndefined();
    expect(proxyRule("http://p", env)(to("https", host))).toEqual({ host: "p", port: 80 });
  });
});

test.each<[string, string, boolean]>([
  ["www.example.com", "example.com", true],
  ["www.example.com", ".example.com", true],
  ["example.com", ".example.com", true],
  ["example.com.", "example.com", true],
  ["example.com", "example.com.", true],
  ["EXAMPLE.com", "eXample.COM", true],
  ["nonexample.com", "example.com", false],
  ["example.com", "www.example.com", false],
  ["example.com", "a,b , example.com", true],
  ["example.com", "a b example.com", true],
  ["example.com", "*", true],
  ["example.com", " * ", true],
  ["example.com", "*.com", false],
  ["example.com", "a,*", false],
  ["example.com", "", false],
  ["example.com", ".", false],
  ["192.168.1.1", "192.168.1.1", true],
  ["192.168.1.1", "168.1.1", false],
  ["192.168.1.1", "192.168.0.0/16", true],
  ["192.169.1.1", "192.168.0.0/16", false],
  ["192.168.1.1", "192.168.0.0/33", false],
  ["192.168.1.1", "192.168.0.0/", false],
  ["192.168.1.1", "0.0.0.0/0", true],
  ["[2001:db8::1]", "2001:db8:0:0::1", true],
  ["[2001:db8::1]", "[2001:db8::1]", true],
  ["[2001:db8::1]", "2001:db8::/32", true],
  ["[2001:db9::1]", "2001:db8::/32", false],
  ["[2001:db8::1]", "192.168.0.0/16", false],
])("%s with NO_PROXY %j: %s", (host, list, expected) => {
  expect(matchesNoProxy(host, list)).toBe(expected);
});
