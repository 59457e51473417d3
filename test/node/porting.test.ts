/** Runs the porting guide's host against the local gateway. `npm run types` checks its types. */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "@jest/globals";
import { transformSync } from "@swc/core";
import { Aborter, Device, type DeviceOptions, type Host, IotHubError, NetworkError } from "../../src/index.js";
import { type Fault, startGateway } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { psk } from "../support/keys.js";

const guide = readFileSync(new URL("../../docs/porting.md", import.meta.url), "utf8");
const code = /^```ts\n([\s\S]*?)^```/m.exec(guide)?.[1] as string;
const createFetchHost = evaluate(code);

/** What the module exports, with this test's own instance of the library, by whose classes errors are known. */
function evaluate(source: string): () => Host {
  const parser = { syntax: "typescript" } as const;
  const { code: script } = transformSync(source, { jsc: { parser, target: "es2022" }, module: { type: "es6" } });
  const body = script.replace(/^import .*$/m, "").replace("export function", "return function");
  return new Function("IotHubError", "NetworkError", body)(IotHubError, NetworkError);
}

async function start(changes: Partial<DeviceOptions> = {}, fault?: Fault) {
  const products = { P1: { devices: { d1: { psk } } } };
  const gateway = await startGateway({ devices: { products }, fault });
  const host = createFetchHost();
  const options = { productId: "P1", deviceName: "d1", credential: { secret: psk }, url: gateway.url, retry: false };
  const device = new Device({ ...options, ...changes } as DeviceOptions, host);
  cleanups.push(() => {
    device.close();
    host.http.close();
    return gateway.close();
  });
  return { gateway, host, device };
}

const message = { topic: "data", payload: { t: 21.5, text: "温度" } };

test("the host of the guide has at most 40 lines", () => {
  expect(code.split("\n").filter((line) => line.trim() !== "").length).toBeLessThanOrEqual(40);
  expect(Math.max(...code.split("\n").map((line) => line.length))).toBeLessThanOrEqual(125);
});

test("the guide lists every member of Host and of a request", () => {
  const declared = readFileSync(new URL("../../src/host.ts", import.meta.url), "utf8");
  const members = (name: string) => {
    const body = declared.slice(declared.indexOf(`export interface ${name} {`)).split("\n}\n")[0];
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(([, member]) => member);
  };
  const rows = [...guide.matchAll(/^\| ((?:`[^|]+`(?:, )?)+) \|/gm)].map(([, row]) => row).join();
  const dotted = (object: string) => (member: string) => `${object}.${member}`;
  const plain = members("Host").filter((member) => !["http", "clock", "random", "timer"].includes(member));
  const wanted = [
    ...plain,
    ...members("HttpClient").map(dotted("http")),
    ...members("HttpContext").map(dotted("context")),
    ...members("Clock").map(dotted("clock")),
    ...members("Random").map(dotted("random")),
    ...members("Timer").map(dotted("timer")),
  ];
  expect(wanted.length).toBeGreaterThan(18);
  expect(wanted.filter((member) => !rows.includes(`\`${member}`))).toEqual([]);
});

test("a fetch host publishes a message that the gateway verifies", async () => {
  const { gateway, device } = await start();
  expect((await device.publish(message)).status).toBe(200);
  expect((await device.publish(message)).status).toBe(200);
  expect(gateway.counts).toMatchObject({ accepted: 2, refused: 0 });
});

test("a fetch host reports the gateway's code", async () => {
  const { device } = await start({ credential: { secret: "AAAAAAAAAAAAAAAAAAAAAA==" } });
  const error = await failure(device.publish(message));
  expect(error).toMatchObject({ code: "GATEWAY_REJECTED", gatewayCode: "AuthFailure.SignatureFailure" });
});

test("a fetch host does not follow redirects", async () => {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    request.resume().on("end", () => response.writeHead(307, { Location: "/elsewhere" }).end());
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  cleanups.push(
    () => void server.closeAllConnections(),
    () => void server.close(),
  );
  const { device } = await start({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  expect(await failure(device.publish(message))).toMatchObject({ code: "HTTP_STATUS", status: 307 });
  expect(requests).toBe(1);
});

test.each<[Fault, string]>([
  [{ kind: "hang", phase: "headers" }, "connect"],
  [{ kind: "hang", phase: "body" }, "read"],
])("a fetch host ends a request at its timeout: %j", async (fault, phase) => {
  const { device } = await start({ timeoutMs: 300 }, fault);
  expect(await failure(device.publish(message))).toMatchObject({ code: "TIMEOUT", phase });
});

test("a fetch host aborts a publish before and during the request", async () => {
  const { gateway, device } = await start({}, { kind: "hang", phase: "headers" });
  const aborter = new Aborter();
  const sent = failure(device.publish(message, { signal: aborter.signal }));
  while (gateway.counts.requests === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  aborter.abort(new Error("changed my mind"));
  expect((await sent).code).toBe("CANCELLED");
  expect((await failure(device.publish(message, { signal: aborter.signal }))).code).toBe("CANCELLED");
});

test("a fetch host cancels pending requests on close", async () => {
  const { gateway, host, device } = await start({}, { kind: "hang", phase: "headers" });
  const sent = failure(device.publish(message));
  while (gateway.counts.requests === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  host.http.close();
  expect((await sent).code).toBe("CANCELLED");
});

test("a fetch host rejects a too large response while reading it", async () => {
  const { device } = await start({ maxResponseBytes: 1000 }, { kind: "too-large", bytes: 100_000 });
  expect((await failure(device.publish(message))).code).toBe("RESPONSE_TOO_LARGE");
});

test("a fetch host reports an unreachable gateway and a truncated response as network errors", async () => {
  const { gateway, device } = await start();
  await gateway.close();
  expect(await failure(device.publish(message))).toMatchObject({ code: "NETWORK_FAILED", retryable: true });
  const cut = await start({}, { kind: "truncated" });
  expect(await failure(cut.device.publish(message))).toMatchObject({ code: "NETWORK_FAILED", retryable: true });
});
