import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { startGateway } from "tencent-iothub-cli/gateway";
import { createHost, Device } from "tencent-iothub-xs";
import { outbox, report } from "../src/app.js";

const psk = "c2VjcmV0IG9mIHNlbnNvcjE=";
/** @type {string} */
let folder;
/** @type {import("tencent-iothub-cli/gateway").Gateway} */
let gateway;
/** @type {ReturnType<typeof createHost>} */
let host;
/** @type {Device} */
let device;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "app-"));
  gateway = await startGateway({ devices: { products: { ABCDE12345: { devices: { sensor1: { psk } } } } } });
  host = createHost({ storage: folder });
  device = new Device(
    { outbox, productId: "ABCDE12345", deviceName: "sensor1", credential: { secret: psk }, url: gateway.url },
    host,
  );
});

afterEach(async () => {
  device.close();
  host.close();
  await gateway.close();
  await rm(folder, { recursive: true });
});

test("a reading arrives at the gateway, which accepts its signature", async () => {
  await report(device, 21.5);
  await device.flush();
  const [request] = gateway.received;
  expect(request).toMatchObject({ accepted: true, topic: "ABCDE12345/sensor1/data" });
  expect(JSON.parse(String(request.payload))).toEqual({ temperature: 21.5 });
});

test("a reading arrives although the gateway fails at first", async () => {
  gateway.faults.next({ kind: "status", status: 503 });
  await report(device, 22);
  await device.flush();
  expect(gateway.received.map(({ accepted }) => accepted)).toEqual([false, true]);
});
