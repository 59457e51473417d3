/** A device over `fetch` against the local gateway, over HTTP and HTTPS. */

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import {
  Aborter,
  createHost,
  createMemoryStorage,
  Device,
  type DeviceOptions,
  provision,
} from "../../host/fetch/index.js";
import type { ConnectionPhase } from "../../src/errors.js";
import type { HttpContext, HttpRequest } from "../../src/host.js";
import { type Fault, startGateway } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { productSecret, psk } from "../support/keys.js";
import { LIMIT_MS, limits, useLimits } from "../support/limits.js";

useLimits();

const message = { topic: "data", payload: { t: 21.5, text: "温度" } };

async function start(changes: Partial<DeviceOptions> = {}, fault?: Fault) {
  const gateway = await startGateway({ devices: { products: { P1: { devices: { d1: { psk } } } } }, fault });
  cleanups.push(() => gateway.close());
  const host = createHost();
  const options = { productId: "P1", deviceName: "d1", credential: { secret: psk }, url: gateway.url, retry: false };
  const device = new Device({ ...options, ...changes } as DeviceOptions, host);
  cleanups.push(() => {
    device.close();
    host.close();
  });
  return { gateway, host, device };
}

test("a publish is verified by the gateway", async () => {
  const { gateway, device } = await start();
  expect((await device.publish(message)).status).toBe(200);
  expect((await device.publish(message)).status).toBe(200);
  expect(gateway.counts).toMatchObject({ accepted: 2, refused: 0 });
  expect(gateway.received[0].payload?.toString()).toBe(JSON.stringify(message.payload));
});

test("a device without a host creates one, and closes it", async () => {
  const { gateway } = await start();
  gateway.faults.next({ kind: "hang", phase: "headers" });
  const options = { productId: "P1", deviceName: "d1", credential: { secret: psk }, url: gateway.url };
  const device = new Device(options);
  const sent = failure(device.publish(message));
  while (gateway.counts.requests === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  device.close();
  expect((await sent).code).toBe("DEVICE_CLOSED");
});

test("an outbox delivers from a memory storage", async () => {
  const { gateway, host } = await start();
  const options = { productId: "P1", deviceName: "d1", credential: { secret: psk }, url: gateway.url };
  const device = new Device({ ...options, outbox: {} }, { ...host, storage: createMemoryStorage() });
  cleanups.push(() => device.close());
  await device.enqueue(message);
  await device.enqueue(message);
  expect(await device.flush()).toMatchObject({ delivered: 2, remaining: 0 });
});

test("a device registers itself and keeps its credential in the storage", async () => {
  const products = { P2: { productSecret, registration: {} } };
  const gateway = await startGateway({ devices: { products } });
  cleanups.push(() => gateway.close());
  const host = createHost({ storage: createMemoryStorage() });
  const options = { productId: "P2", deviceName: "new1", productSecret, url: gateway.url };
  const device = await Device.fromProvisioning(options, host);
  cleanups.push(() => device.close());
  expect((await device.publish(message)).status).toBe(200);
  const again = await provision(options, host);
  expect(again).toMatchObject({ origin: "stored" });
  const without = failure(Device.fromProvisioning(options, createHost()));
  expect((await without).code).toBe("INVALID_OPTION");
});

test("a rejection arrives with the gateway's code", async () => {
  const { device } = await start({ credential: { secret: "AAAAAAAAAAAAAAAAAAAAAA==" } });
  const error = await failure(device.publish(message));
  expect(error).toMatchObject({ code: "GATEWAY_REJECTED", gatewayCode: "AuthFailure.SignatureFailure" });
});

test.each<[Fault, string]>([
  [{ kind: "hang", phase: "headers" }, "connect"],
  [{ kind: "hang", phase: "body" }, "read"],
])("a timeout ends the request with its phase: %j", async (fault, phase) => {
  const { gateway, host } = await start({}, fault);
  let reached = "connect";
  const http = {
    send: (request: HttpRequest, context: HttpContext) => {
      const { signal, maxResponseBytes, fresh, connectTimeoutMs } = context;
      const onPhase = (next: ConnectionPhase) => {
        reached = next;
        context.onPhase(next);
      };
      return host.http.send(request, { signal, maxResponseBytes, fresh, connectTimeoutMs, onPhase });
    },
    close: () => host.http.close(),
  };
  const made = { ...host, http, clock: limits.clockOf(host.clock), timer: limits.timerOf(host.timer) };
  const options = { productId: "P1", deviceName: "d1", credential: { secret: psk }, url: gateway.url };
  const device = new Device({ ...options, retry: false, timeoutMs: LIMIT_MS }, made);
  cleanups.push(() => device.close());
  const isDue = () => gateway.counts.requests > 0 && reached === phase;
  const error = await limits.passWhen(isDue, failure(device.publish(message)));
  expect(error).toMatchObject({ code: "TIMEOUT", phase });
});

test("a publish is cancelled before and during the request", async () => {
  const { gateway, device } = await start({}, { kind: "hang", phase: "headers" });
  const aborter = new Aborter();
  const sent = failure(device.publish(message, { signal: aborter.signal }));
  while (gateway.counts.requests === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  aborter.abort(new Error("changed my mind"));
  expect((await sent).code).toBe("CANCELLED");
  expect((await failure(device.publish(message, { signal: aborter.signal }))).code).toBe("CANCELLED");
});

test("an AbortSignal of the platform cancels, and works for many requests", async () => {
  const { device } = await start();
  const controller = new AbortController();
  // Node warns from the eleventh listener on a signal on, which fails a test.
  for (let i = 0; i < 15; i++) await device.publish(message, { signal: controller.signal });
  controller.abort();
  expect((await failure(device.publish(message, { signal: controller.signal }))).code).toBe("CANCELLED");
});

test("a gateway that is not there refuses the connection", async () => {
  const { gateway, device } = await start();
  await gateway.close();
  expect(await failure(device.publish(message))).toMatchObject({ code: "CONNECTION_REFUSED", retryable: true });
});

// Node reads the certificates that it trusts when it starts.
test("HTTPS: a certificate that is trusted is accepted, another is rejected", async () => {
  const devices = { products: { P1: { devices: { d1: { psk } } } } };
  const gateway = await startGateway({ devices, https: true });
  const folder = await mkdtemp(join(tmpdir(), "fetch-https-"));
  cleanups.push(
    () => gateway.close(),
    () => rm(folder, { recursive: true }),
  );
  const ca = join(folder, "ca.pem");
  await writeFile(ca, gateway.ca ?? "");
  const run = (more: Record<string, string>) =>
    new Promise<string>((resolve, reject) => {
      const args = ["--import", "./test/support/typescript.mjs", "test/fetch/publish.ts", gateway.url, psk];
      const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
      const options = { cwd: fileURLToPath(new URL("../..", import.meta.url)), env: { ...env, ...more } };
      execFile(process.execPath, args, options, (error, stdout) => (error ? reject(error) : resolve(stdout.trim())));
    });
  expect(await run({ NODE_EXTRA_CA_CERTS: ca })).toBe("200");
  expect(await run({})).toBe("CERTIFICATE_REJECTED");
  expect(gateway.counts).toMatchObject({ accepted: 1 });
});
