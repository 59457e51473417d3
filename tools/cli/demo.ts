/** `tencent-iothub demo`: publishes readings of this machine to a local gateway over HTTPS, and shows both ends. */

import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Credential, createHost, Device, type DeviceEvent, type Message } from "tencent-iothub-xs";
import { describeFileError } from "../../host/node/file-system.js";
import { makeDeviceCertificate } from "../gateway/certificates.js";
import { type Gateway, type ReceivedRequest, startGateway } from "../gateway/index.js";
import { CliError, exitCodes, explain } from "./failure.js";
import { type Colors, colorsFor, duration, printLine, type Streams } from "./io.js";
import { describeTiming } from "./publish.js";
import { packReadings, type Readings, takeReadings } from "./readings.js";

export interface DemoArguments {
  readonly json?: boolean;
  readonly debug?: boolean;
}

const PRODUCT = "DEMO000001";
const BOARD = "sensor-board";

interface DemoMessage {
  readonly what: string;
  readonly message: Message;
  /** Exact bytes that the gateway must receive. */
  readonly bytes: Uint8Array;
}

/** Outcome of one message. */
interface Outcome {
  readonly device: string;
  readonly algorithm: string;
  readonly what: string;
  readonly topic?: string;
  readonly status?: number;
  readonly requestId?: string;
  readonly totalMs?: number;
  readonly verifiedBy?: string;
  readonly receivedBytes?: number;
  readonly identical: boolean;
  readonly error?: string;
}

export async function demo(io: Streams, { json = false, debug = false }: DemoArguments): Promise<void> {
  const start = performance.now();
  const c = colorsFor(io.stdout, io.env);
  const out = (line = "") => {
    if (!json) printLine(io.stdout, line);
  };
  const readings = await takeReadings();
  const psk = randomBytes(16).toString("base64");
  const productSecret = randomBytes(18).toString("base64url");
  const certificate = makeDeviceCertificate(`${PRODUCT}sensor-cert`, Date.now());
  const devices: { name: string; has: string; credential: Credential }[] = [
    { name: "sensor-key", has: "a PSK, HMAC-SHA256", credential: { secret: psk } },
    {
      name: "sensor-cert",
      has: "a certificate (RSA 2048), RSA-SHA256",
      credential: { privateKey: certificate.key },
    },
  ];
  const gateway = await startGateway({
    https: true,
    devices: {
      products: {
        [PRODUCT]: {
          productSecret,
          registration: { again: "renew" },
          devices: { "sensor-key": { psk }, "sensor-cert": { certificate: certificate.chain } },
        },
      },
    },
  });
  const folder = await mkdtemp(join(tmpdir(), "tencent-iothub-demo-"));
  const host = createHost({ trustAnchors: gateway.ca, storage: folder });
  const onEvent = debug ? (event: DeviceEvent) => printLine(io.stderr, `debug: ${JSON.stringify(event)}`) : undefined;
  const outcomes: Outcome[] = [];
  try {
    out(`${c.bold("gateway")}      ${c.cyan(gateway.url)}, self-generated certificate, trusted only through its root`);
    out(`${c.bold("this machine")} ${describeReadings(readings)}`);
    const all = demoMessages(readings);
    for (const { name, has, credential } of devices) {
      out();
      out(`${c.bold(name)}  ${c.dim(`${PRODUCT}/${name}, a device with ${has}`)}`);
      const device = new Device({ productId: PRODUCT, deviceName: name, credential, url: gateway.url, onEvent }, host);
      try {
        for (const publication of all) outcomes.push(await publishOne(device, publication, gateway, out, c));
      } finally {
        device.close();
      }
    }
    out();
    out(`${c.bold(BOARD)}  ${c.dim(`${PRODUCT}/${BOARD}, a board that knows only the ProductSecret`)}`);
    const board = { productId: PRODUCT, deviceName: BOARD, url: gateway.url, onEvent };
    for (const start of ["first start", "second start"]) {
      const registered = gateway.received.length;
      const device = await Device.fromProvisioning({ ...board, productSecret }, host);
      try {
        describeStart(start, gateway.received.slice(registered), out, c);
        outcomes.push(await publishOne(device, all[0], gateway, out, c));
        if (start === "second start") await logOne(device, gateway, out, c);
      } finally {
        device.close();
      }
    }
  } finally {
    await host.close();
    await gateway.close();
    // Leftovers do not make the demo fail.
    await rm(folder, { recursive: true, force: true, maxRetries: 5 }).catch((error) =>
      printLine(io.stderr, `warning: the temporary folder ${folder} cannot be deleted: ${describeFileError(error)}.`),
    );
  }

  const arrived = outcomes.filter((outcome) => outcome.identical);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const failed = outcomes.length - arrived.length;
  const summary = `${arrived.length} of ${outcomes.length} messages published, verified and received byte for byte, in ${seconds} s`;
  out();
  out(failed === 0 ? c.green(summary) : c.red(summary));
  if (json) printLine(io.stdout, JSON.stringify({ published: arrived.length, failed, messages: outcomes }));
  if (failed > 0) {
    throw new CliError("DEMO_FAILED", `${failed} of ${outcomes.length} messages did not arrive unchanged.`, {
      exitCode: exitCodes.other,
      hint: "Use --debug for details.",
    });
  }
}

async function publishOne(
  device: Device,
  { what, message, bytes }: DemoMessage,
  gateway: Gateway,
  out: (line?: string) => void,
  c: Colors,
): Promise<Outcome> {
  const line = (name: string, text: string) => out(`    ${c.dim(name.padEnd(9))} ${text}`);
  const common = { device: device.deviceName, what };
  try {
    const { requestId, status, topic, timing } = await device.publish(message);
    const entry = gateway.received.find((request) => request.requestId === requestId);
    const identical = entry?.accepted === true && entry.payload !== undefined && entry.payload.equals(bytes);
    out(`  ${identical ? c.green("✓") : c.red("✗")} ${topic}  ${c.dim(what)}`);
    line("sent", show(message.payload));
    line("status", `${status}, RequestId ${requestId}`);
    line("time", describeTiming(timing));
    line("gateway", describeEntry(entry, identical));
    return {
      ...common,
      algorithm: entry?.algorithm ?? "",
      topic,
      status,
      requestId,
      totalMs: timing.totalMs,
      verifiedBy: entry?.verifiedBy,
      receivedBytes: entry?.payload?.length,
      identical,
    };
  } catch (error) {
    const { code, message: reason } = explain(error);
    out(`  ${c.red("✗")} ${message.topic}  ${c.dim(what)}`);
    line("error", `${code}: ${reason}`);
    const diagnosis = gateway.received.at(-1)?.diagnosis;
    if (diagnosis !== undefined) line("gateway", diagnosis.message);
    return { ...common, algorithm: "", topic: message.topic, identical: false, error: code };
  }
}

/** Shows what a start of the board requested from the gateway: a registration the first time, nothing later. */
function describeStart(
  start: string,
  requests: readonly ReceivedRequest[],
  out: (line?: string) => void,
  c: Colors,
): void {
  if (requests.length === 0) {
    out(`  ${c.green("✓")} ${start}  ${c.dim("uses the stored credential, no registration")}`);
    return;
  }
  for (const { status, requestId, registrationState, verifiedBy, algorithm } of requests) {
    const state = registrationState === 0 ? "a new device" : "a known device";
    out(`  ${c.green("✓")} ${start}  ${c.dim("registers, and stores the new PSK")}`);
    out(`    ${c.dim("status".padEnd(9))} ${status}, RequestId ${requestId}`);
    out(
      `    ${c.dim("gateway".padEnd(9))} ${algorithm} verified with the ${verifiedBy === "productSecret" ? "ProductSecret" : verifiedBy}; ${state}`,
    );
  }
}

async function logOne(device: Device, gateway: Gateway, out: (line?: string) => void, c: Colors): Promise<void> {
  device.log("info", "started with the stored credential");
  device.log("warn", "this is a demonstration");
  await device.flushLog();
  const entry = gateway.received.at(-1);
  out(`  ${c.green("✓")} log  ${c.dim("two lines in one request")}`);
  for (const line of entry?.messages ?? []) out(`    ${c.dim("gateway".padEnd(9))} ${line}`);
}

/** Three messages: JSON, JSON with Chinese text, and bytes. */
function demoMessages(readings: Readings): DemoMessage[] {
  const { temperatureC, load1, freeMemoryBytes, uptimeSeconds, takenAtMs } = readings;
  const freeMemoryMiB = Math.round(freeMemoryBytes / 1048576);
  const json = { temperatureC, load1, freeMemoryMiB, uptimeSeconds, takenAtMs };
  const chinese = {
    设备: "本机",
    ...(temperatureC === undefined ? { 温度: "无传感器" } : { 温度: `${temperatureC} ℃` }),
    负载: load1,
    可用内存: `${freeMemoryMiB} MiB`,
    运行时间: `${Math.floor(uptimeSeconds / 60)} 分钟`,
  };
  const packed = packReadings(readings);
  return [
    { what: "JSON", message: { topic: "data", payload: json }, bytes: utf8(json) },
    {
      what: "JSON with Chinese text, QoS 0",
      message: { topic: "event", payload: chinese, qos: 0 },
      bytes: utf8(chinese),
    },
    { what: "16 bytes as Base64", message: { topic: "data", payload: packed }, bytes: packed },
  ];
}

function utf8(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function show(payload: Message["payload"]): string {
  if (payload instanceof Uint8Array) return `${Buffer.from(payload).toString("hex")} (hex)`;
  return typeof payload === "string" ? payload : JSON.stringify(payload);
}

function describeEntry(entry: ReceivedRequest | undefined, identical: boolean): string {
  if (entry === undefined) return "does not know this request";
  const { algorithm, verifiedBy, qos, payload, connection } = entry;
  const by = verifiedBy === "publicKey" ? "the certificate's public key" : "the device's key";
  const verified = verifiedBy === undefined ? "signature not verified" : `${algorithm} verified with ${by}`;
  const received = payload === undefined ? "nothing received" : `${payload.length} bytes received`;
  return `${verified}; qos ${qos}; ${received}, ${identical ? "identical" : "not what was sent"}; ${connection.tls?.protocol ?? "no TLS"}`;
}

function describeReadings(readings: Readings): string {
  const gib = (bytes: number) => (bytes / 1073741824).toFixed(1);
  const { temperatureC, temperatureFrom, load1, cores } = readings;
  return [
    temperatureC === undefined ? "no temperature sensor in /sys (left out)" : `${temperatureC} °C (${temperatureFrom})`,
    `load ${load1} on ${cores} cores`,
    `${gib(readings.freeMemoryBytes)} of ${gib(readings.totalMemoryBytes)} GiB free`,
    `up ${duration(readings.uptimeSeconds)}`,
  ].join(", ");
}
