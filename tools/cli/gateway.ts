/** `tencent-iothub gateway`: runs the local gateway until interrupted. */

import { writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { describeFileError } from "../../host/node/file-system.js";
import {
  describeSample,
  type Fault,
  formatEvent,
  formatRequest,
  type Gateway,
  type GatewayEvent,
  type GatewayOptions,
  localAddresses,
  makeSample,
  parseFault,
  type ReceivedRequest,
  recordEvents,
  rootResource,
  type SampleDevice,
  startGateway,
  writeModdableFiles,
} from "../gateway/index.js";
import { CliError } from "./failure.js";
import { type Colors, colorsFor, printLine, type Streams, shellWord } from "./io.js";

export interface GatewayArguments {
  readonly port?: number;
  readonly host?: string;
  readonly lan?: boolean;
  readonly name?: readonly string[];
  readonly https?: boolean;
  /** False with --no-state. */
  readonly state?: string | false;
  readonly trustAnchorsOut?: string;
  readonly moddable?: string;
  readonly devices?: string;
  readonly windowSeconds?: number;
  readonly clockSkewSeconds?: number;
  readonly rateLimit?: number;
  readonly mapStatus?: boolean;
  readonly fault?: string;
  readonly faultHeader?: string;
  readonly ui?: boolean;
  readonly uiPort?: number;
  readonly uiHost?: string;
  readonly uiToken?: boolean;
  readonly offline?: "hang" | "reset";
  readonly record?: string;
  readonly interactive?: boolean;
  readonly json?: boolean;
}

const DEFAULT_PORT = 8080;
const DEFAULT_HTTPS_PORT = 8443;
const DEFAULT_UI_PORT = 8090;

export async function gateway(io: Streams, given: GatewayArguments): Promise<void> {
  const { https = false, json = false, devices, state, trustAnchorsOut, moddable } = given;
  if (trustAnchorsOut !== undefined && !https) throw new CliError("USAGE", "--trust-anchors-out requires --https.");
  if (given.name !== undefined && !https) throw new CliError("USAGE", "--name requires --https.");
  const addresses = given.lan ? localAddresses(io.networkInterfaces) : undefined;
  if (addresses?.usable.length === 0) {
    throw new CliError("USAGE", "This machine has no private address to listen on.", {
      hint: "Use --host with an address of this machine.",
    });
  }
  const unkept = state === false && devices === undefined ? makeSample() : undefined;
  const options: GatewayOptions = {
    port: given.port ?? (https ? DEFAULT_HTTPS_PORT : DEFAULT_PORT),
    host: addresses?.usable.map(({ address }) => address) ?? given.host,
    names: given.name,
    https,
    state: state === false ? undefined : state,
    devices: unkept === undefined ? devices : describeSample(unkept),
    windowSeconds: given.windowSeconds,
    clockSkewSeconds: given.clockSkewSeconds,
    rateLimit: given.rateLimit,
    mapStatus: given.mapStatus,
    fault: given.fault === undefined ? undefined : parseFault(given.fault),
    faultHeader: given.faultHeader,
    ui: uiOptions(given),
    offline: given.offline,
  };
  const c = colorsFor(io.stdout, io.env);
  const interrupted = new Promise<void>((resolve) => io.onInterrupt(resolve));
  const running = await startGateway(options);
  try {
    running.subscribe((event) => printLine(io.stdout, json ? JSON.stringify(summary(event)) : colored(event, c)));
    if (given.record !== undefined) {
      recordEvents(running, given.record, (reason) =>
        printLine(io.stderr, `${colorsFor(io.stderr, io.env).yellow("warning:")} ${reason}; nothing more is recorded.`),
      );
    }
    if (trustAnchorsOut !== undefined) await writeTrustAnchors(trustAnchorsOut, running.ca as string);
    const sample = running.sample ?? unkept;
    const urls = running.addresses.map((address) => urlOf(running, address));
    if (moddable !== undefined) {
      const caDer = running.certificates?.rootDer;
      writeModdableFiles(moddable, { url: urls[0], caDer, sample });
    }
    if (json)
      printLine(
        io.stdout,
        JSON.stringify({ url: urls[0], urls, uiUrl: running.uiUrl, caFile: running.caFile, ...sample }),
      );
    else welcome(io, running, sample, given, addresses);
    if (given.interactive) void control(io, running);
    await interrupted;
  } finally {
    await running.close();
    // Otherwise a terminal that is still read would keep the process alive.
    if (given.interactive) (io.stdin as { destroy?(): void }).destroy?.();
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
  return { port: uiPort ?? DEFAULT_UI_PORT, host: uiHost, token: uiToken };
}

function urlOf({ certificates, port }: Gateway, host: string): string {
  return `${certificates === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Says where the gateway listens, and what to paste to use it. */
function welcome(
  io: Streams,
  running: Gateway,
  sample: SampleDevice | undefined,
  given: GatewayArguments,
  addresses: ReturnType<typeof localAddresses> | undefined,
): void {
  const c = colorsFor(io.stdout, io.env);
  const out = (line: string) => printLine(io.stdout, line);
  const [url, ...others] = running.addresses.map((address) => urlOf(running, address));
  const interfaceOf = (place: number): string => {
    const local = addresses?.usable.find(({ address }) => address === running.addresses[place]);
    return local === undefined ? "" : ` (${local.interface})`;
  };
  out(`${c.bold("gateway")} on ${c.cyan(url)}${interfaceOf(0)}; stop with Ctrl-C`);
  for (const [i, other] of others.entries()) out(`also on ${c.cyan(other)}${interfaceOf(i + 1)}`);
  if (running.uiUrl !== undefined) out(`${c.bold("page")} on ${c.cyan(running.uiUrl)}`);
  for (const name of given.name ?? []) out(`certificate also for ${c.cyan(urlOf(running, name))}`);
  for (const { address, interface: name } of addresses?.public ?? []) out(`not on ${address} (${name}): it is public`);
  if (given.interactive)
    out("standard input takes a fault, such as delay:200, or none, offline, offline reset, online");
  const { caFile } = running;
  const ca = given.trustAnchorsOut ?? caFile;
  if (running.ca !== undefined) {
    out(
      ca === undefined
        ? "self-generated certificate; --trust-anchors-out FILE writes the CA that clients need"
        : `certificate of a local CA; clients need --trust-anchors ${shellWord(ca)}, or --cacert with curl`,
    );
  }
  if (sample !== undefined) sayHowToUse(io, running, sample, given, { url, ca });
  else if (given.moddable !== undefined) out(`in the app's manifest: ${includeLine(given.moddable)}`);
}

function includeLine(folder: string): string {
  return `"include": [${JSON.stringify(resolve(folder, "manifest.json"))}]`;
}

/** Prints what to paste to use the sample device: firmware's settings, and a command. */
function sayHowToUse(
  io: Streams,
  { ca: certificate, caFile, addresses }: Gateway,
  { productId, deviceName, psk, productSecret }: SampleDevice,
  { moddable, trustAnchorsOut, state }: GatewayArguments,
  { url, ca }: { readonly url: string; readonly ca: string | undefined },
): void {
  const out = (line: string) => printLine(io.stdout, line);
  const kept = state === false || state === undefined ? "" : `, kept in ${state}`;
  out(`no --devices: one device with a generated PSK${kept}: ${productId}/${deviceName} ${psk}`);
  out(`its product registers further devices with the ProductSecret ${productSecret}`);
  const platform = addresses[0].startsWith("127.") ? "sim" : "esp32";
  const settings = [`url=${url}`, `productId=${productId}`, `deviceName=${deviceName}`, `psk=${shellWord(psk)}`];
  out(`firmware: mcconfig -d -m -p ${platform} ${settings.join(" ")}`);
  if (moddable !== undefined) out(`  manifest: ${includeLine(moddable)}, instead of these settings`);
  else if (caFile !== undefined) {
    const resource = JSON.stringify(resolve(dirname(caFile), rootResource));
    out(`  manifest: "resources": { "*": [${resource}] }; or --moddable DIR writes one to include`);
  } else if (certificate !== undefined) out("  manifest: --moddable DIR writes one to include, with the CA");
  if (certificate !== undefined) out(`  app: createHost({ trustAnchors: new Resource("${rootResource}.der") })`);
  const anchors = ca === undefined ? "" : ` --trust-anchors ${shellWord(trustAnchorsOut ?? ca)}`;
  out(
    `try: TENCENT_IOTHUB_PSK='${psk}' tencent-iothub publish --url ${url}${anchors} --product-id ${productId} --device-name ${deviceName} --topic data hello`,
  );
}

/** Reads faults, one a line, from standard input, until it ends. */
async function control(io: Streams, running: Gateway): Promise<void> {
  let rest = "";
  const take = (line: string): void => {
    try {
      obey(line.trim(), running);
    } catch (error) {
      printLine(io.stderr, `${colorsFor(io.stderr, io.env).red("error:")} ${(error as Error).message}`);
    }
  };
  try {
    for await (const chunk of io.stdin) {
      const lines = (rest + Buffer.from(chunk as string).toString("utf8")).split("\n");
      rest = lines.pop() as string;
      for (const line of lines) take(line);
      // No line of this length has a meaning.
      if (rest.length > 1000) rest = "";
    }
    take(rest);
  } catch {
    // It was closed.
  }
}

/** @throws {GatewayError} INVALID_OPTION */
function obey(line: string, running: Gateway): void {
  const [, offline, how] = /^(offline)(?: (hang|reset))?$/.exec(line) ?? [];
  if (line === "") return;
  if (line === "online") running.offline = false;
  else if (offline !== undefined) running.offline = (how as "hang" | "reset" | undefined) ?? "hang";
  else running.faults.permanent = line === "none" ? undefined : parseFault(line);
}

/** A line for an event. */
export function colored(event: GatewayEvent, c: Colors): string {
  if (event.type === "request") {
    const { request } = event;
    return `${request.accepted ? c.green("ok     ") : c.red("refused")} ${formatRequest(request)}`;
  }
  if (event.type === "fault") return `${c.cyan("fault  ")} ${formatEvent(event)}`;
  return `${c.red(event.type === "tlsError" ? "tls    " : "dropped")} ${formatEvent(event)}`;
}

/** Summary of an event for programs; a binary payload stays Base64. */
function summary(event: GatewayEvent): Record<string, unknown> {
  if (event.type === "request") return { type: event.type, ...summaryOf(event.request) };
  if (event.type === "fault") return { ...event, fault: event.fault ?? (null as Fault | null) };
  if (event.type === "tlsError") {
    const { connectionId, atMs, ...error } = event.error;
    return { type: event.type, at: new Date(atMs).toISOString(), connection: connectionId, ...error };
  }
  const { connection, reason, atMs } = event;
  const { id, remoteAddress } = connection;
  return { type: event.type, at: new Date(atMs).toISOString(), connection: id, reason, remoteAddress };
}

function summaryOf(request: ReceivedRequest): Record<string, unknown> {
  const { index, method, url, productId, deviceName, algorithm, verifiedBy, topic, qos, payload } = request;
  const text = payload?.toString("utf8");
  const isText = payload !== undefined && Buffer.from(text as string).equals(payload);
  return {
    index,
    receivedAt: new Date(request.receivedAtMs).toISOString(),
    connection: request.connection.id,
    remoteAddress: request.connection.remoteAddress,
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
