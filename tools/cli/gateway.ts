/** `tencent-iothub gateway`: runs the local gateway until interrupted. */

import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { describeFileError } from "../../host/node/file-system.js";
import {
  type DevicesDescription,
  formatRequest,
  type Gateway,
  type GatewayOptions,
  parseFault,
  type ReceivedRequest,
  startGateway,
} from "../gateway/index.js";
import { CliError } from "./failure.js";
import { type Colors, colorsFor, printLine, type Streams, wholeNumber } from "./io.js";

export interface GatewayArguments {
  readonly port?: string;
  readonly host?: string;
  readonly https?: boolean;
  readonly trustAnchorsOut?: string;
  readonly devices?: string;
  readonly windowSeconds?: string;
  readonly clockSkewSeconds?: string;
  readonly rateLimit?: string;
  readonly mapStatus?: boolean;
  readonly fault?: string;
  readonly faultHeader?: string;
  readonly ui?: boolean;
  readonly uiPort?: string;
  readonly uiHost?: string;
  readonly uiToken?: boolean;
  readonly json?: boolean;
}

const DEFAULT_PORT = 8080;
const DEFAULT_HTTPS_PORT = 8443;
const DEFAULT_UI_PORT = 8090;

export async function gateway(io: Streams, given: GatewayArguments): Promise<void> {
  const { https = false, json = false, devices, trustAnchorsOut } = given;
  if (trustAnchorsOut !== undefined && !https) throw new CliError("USAGE", "--trust-anchors-out requires --https.");
  const number = (text: string | undefined) => (text === undefined ? undefined : wholeNumber(text));
  const c = colorsFor(io.stdout, io.env);
  const sample = devices === undefined ? sampleDevices() : undefined;
  const options: GatewayOptions = {
    port: number(given.port) ?? (https ? DEFAULT_HTTPS_PORT : DEFAULT_PORT),
    host: given.host,
    https,
    devices: devices ?? sample?.description,
    windowSeconds: number(given.windowSeconds),
    clockSkewSeconds: number(given.clockSkewSeconds),
    rateLimit: number(given.rateLimit),
    mapStatus: given.mapStatus,
    fault: given.fault === undefined ? undefined : parseFault(given.fault),
    faultHeader: given.faultHeader,
    ui: uiOptions(given),
    onRequest: (request) => printLine(io.stdout, json ? JSON.stringify(summary(request)) : colored(request, c)),
  };
  if (options.clockSkewSeconds !== undefined && !Number.isInteger(options.clockSkewSeconds)) {
    throw new CliError("USAGE", "--clock-skew-seconds must be a whole number.");
  }
  const interrupted = new Promise<void>((resolve) => io.onInterrupt(resolve));
  const running = await startGateway(options);
  try {
    if (trustAnchorsOut !== undefined) await writeTrustAnchors(trustAnchorsOut, running.ca as string);
    if (json) printLine(io.stdout, JSON.stringify({ url: running.url, uiUrl: running.uiUrl }));
    else welcome(io, running, sample, trustAnchorsOut);
    await interrupted;
  } finally {
    await running.close();
  }
  const { requests, accepted, refused } = running.counts;
  if (json) printLine(io.stdout, JSON.stringify({ requests, accepted, refused }));
  else
    printLine(
      io.stdout,
      `stopped after ${requests} request${requests === 1 ? "" : "s"}: ${accepted} accepted, ${refused} refused`,
    );
}

/** Where the page listens: each of its options asks for it, too. */
function uiOptions({ ui, uiPort, uiHost, uiToken }: GatewayArguments): GatewayOptions["ui"] {
  if (!ui && uiPort === undefined && uiHost === undefined && !uiToken) return false;
  return { port: uiPort === undefined ? DEFAULT_UI_PORT : wholeNumber(uiPort), host: uiHost, token: uiToken };
}

interface Sample {
  readonly productId: string;
  readonly deviceName: string;
  readonly psk: string;
  readonly description: DevicesDescription;
}

function sampleDevices(): Sample {
  const productId = "SAMPLE0001";
  const deviceName = "sensor1";
  const psk = randomBytes(16).toString("base64");
  return {
    productId,
    deviceName,
    psk,
    description: { products: { [productId]: { devices: { [deviceName]: { psk } } } } },
  };
}

function welcome(io: Streams, running: Gateway, sample: Sample | undefined, trustAnchorsOut: string | undefined): void {
  const c = colorsFor(io.stdout, io.env);
  const out = (line: string) => printLine(io.stdout, line);
  out(`${c.bold("gateway")} on ${c.cyan(running.url)}; stop with Ctrl-C`);
  if (running.uiUrl !== undefined) out(`${c.bold("page")} on ${c.cyan(running.uiUrl)}`);
  if (running.ca !== undefined) {
    out(
      trustAnchorsOut === undefined
        ? "self-generated certificate; --trust-anchors-out FILE writes the CA that clients need"
        : `self-generated certificate; clients need --trust-anchors ${trustAnchorsOut}`,
    );
  }
  if (sample === undefined) return;
  const { productId, deviceName, psk } = sample;
  const ca = trustAnchorsOut === undefined ? "" : ` --trust-anchors ${trustAnchorsOut}`;
  out(`no --devices: one device with a generated PSK: ${productId}/${deviceName} ${psk}`);
  out(
    `try: TENCENT_IOTHUB_PSK='${psk}' tencent-iothub publish --url ${running.url}${ca} --product-id ${productId} --device-name ${deviceName} --topic data hello`,
  );
}

function colored(request: ReceivedRequest, c: Colors): string {
  return `${request.accepted ? c.green("ok     ") : c.red("refused")} ${formatRequest(request)}`;
}

/** Summary of a request for programs; a binary payload stays Base64. */
function summary(request: ReceivedRequest): Record<string, unknown> {
  const { index, method, url, productId, deviceName, algorithm, verifiedBy, topic, qos, payload } = request;
  const text = payload?.toString("utf8");
  const isText = payload !== undefined && Buffer.from(text as string).equals(payload);
  return {
    index,
    receivedAt: new Date(request.receivedAtMs).toISOString(),
    connection: request.connection.id,
    method,
    url,
    productId,
    deviceName,
    algorithm,
    verifiedBy,
    topic,
    qos,
    ...(payload === undefined ? {} : isText ? { payload: text } : { payloadBase64: payload.toString("base64") }),
    messages: request.messages,
    accepted: request.accepted,
    error: request.error,
    diagnosis: request.diagnosis?.message,
    fault: request.fault,
    status: request.status,
    requestId: request.requestId,
    durationMs: request.durationMs,
  };
}

async function writeTrustAnchors(path: string, pem: string): Promise<void> {
  try {
    await writeFile(path, pem);
  } catch (cause) {
    throw new CliError("FILE_UNWRITABLE", `The CA cannot be written to ${path}: ${describeFileError(cause)}.`, {
      cause,
    });
  }
}
