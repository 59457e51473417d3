/** `tencent-iothub publish`: publishes one message and shows the result. */

import { type Credential, createHost, Device, type DeviceEvent, type PublishResult } from "tencent-iothub-xs";
import { CliError, exitCodes } from "./failure.js";
import { readAll, readFile, readKey, readSecret, readTrustAnchors, text } from "./files.js";
import { colorsFor, milliseconds, printLine, type Streams, warnSecretOnCommandLine } from "./io.js";
import { readSettings, type Settings } from "./settings.js";

export interface PublishArguments extends Settings {
  readonly profile?: string;
  readonly payloadFile?: string;
  readonly base64?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

export async function publish(
  io: Streams,
  payloadArgument: string | undefined,
  given: PublishArguments,
): Promise<void> {
  const { profile, payloadFile, base64 = false, json = false, debug = false, ...flags } = given;
  const settings = await readSettings(flags, profile, io.env);
  const { productId, deviceName, topic, qos, region, url, timeoutMs } = settings;
  if (productId === undefined) throw missing("the ProductId", "--product-id", "TENCENT_IOTHUB_PRODUCT_ID");
  if (deviceName === undefined) throw missing("the DeviceName", "--device-name", "TENCENT_IOTHUB_DEVICE_NAME");
  if (topic === undefined) throw missing("the topic", "--topic", "TENCENT_IOTHUB_TOPIC");
  if (given.psk !== undefined) warnSecretOnCommandLine(io, "PSK", "--psk-file or TENCENT_IOTHUB_PSK");
  const credential = await readCredential(settings);
  const payload = await readPayload(io, payloadArgument, payloadFile, base64);
  const host = createHost({ trustAnchors: await readTrustAnchors(settings) });
  try {
    const onEvent = debug ? (event: DeviceEvent) => printLine(io.stderr, `debug: ${JSON.stringify(event)}`) : undefined;
    // No retries and no clock correction, so that the user sees the gateway's actual response.
    const device = new Device(
      { productId, deviceName, credential, region, url, timeoutMs, onEvent, retry: false, clockCorrection: false },
      host,
    );
    try {
      const message = { topic, payload, qos: qos as 0 | 1 | undefined, encoding: encodingOf(payload, base64) };
      const result = await device.publish(message);
      if (json) printLine(io.stdout, JSON.stringify(result));
      else {
        const c = colorsFor(io.stdout, io.env);
        printLine(
          io.stdout,
          `${c.green("published")}  ${result.topic}  qos ${qos ?? 1}, ${result.bodyBytes} bytes sent`,
        );
        printLine(io.stdout, `RequestId  ${result.requestId}`);
        printLine(io.stdout, `time       ${describeTiming(result.timing)}`);
      }
    } finally {
      device.close();
    }
  } finally {
    host.http.close();
  }
}

/** Formats the duration by phase: `31.2 ms (connect 0.8, TLS 9.1, sign 1.2, first byte 3.0)`. */
export function describeTiming(timing: PublishResult["timing"]): string {
  const parts = [
    ["connect", timing.connectMs],
    ["TLS", timing.tlsMs],
    ["sign", timing.signMs],
    ["first byte", timing.firstByteMs],
  ] as const;
  const known = parts.filter(([, ms]) => ms !== undefined).map(([name, ms]) => `${name} ${ms?.toFixed(1)}`);
  if (timing.reused) known.unshift("keep-alive connection");
  return `${milliseconds(timing.totalMs)}${known.length > 0 ? ` (${known.join(", ")})` : ""}`;
}

export async function readCredential({ psk, pskFile, keyFile }: Settings): Promise<Credential> {
  if (keyFile !== undefined) return { privateKey: await readKey(keyFile) };
  if (pskFile !== undefined) return { secret: await readSecret(pskFile, "PSK file") };
  if (psk !== undefined) return { secret: psk };
  throw new CliError("USAGE", "The device's credential is missing.", {
    exitCode: exitCodes.credential,
    hint: "Use --psk-file or --key-file, or set TENCENT_IOTHUB_PSK, TENCENT_IOTHUB_PSK_FILE or TENCENT_IOTHUB_KEY_FILE.",
  });
}

/** Returns the payload: text from the argument; from a file or standard input, text or, with --base64, bytes. */
async function readPayload(
  io: Streams,
  argument: string | undefined,
  file: string | undefined,
  base64: boolean,
): Promise<string | Uint8Array> {
  if ((argument === undefined) === (file === undefined)) {
    throw new CliError(
      "USAGE",
      argument === undefined ? "The payload is missing." : "A payload and --payload-file cannot be combined.",
      { hint: "Pass the payload as the last argument, - to read it from standard input, or --payload-file." },
    );
  }
  if (file === undefined && argument !== "-") return argument as string;
  const bytes = file === undefined ? await readAll(io.stdin, "payload") : await readFile(file, "payload file");
  const what = file === undefined ? "payload" : `payload file ${file}`;
  // A byte order mark is part of the payload, which is sent unchanged.
  return base64 ? bytes : text(bytes, what, { hint: "Use --base64 to send binary data." });
}

function encodingOf(payload: string | Uint8Array, base64: boolean): "Base64" | undefined {
  return base64 && typeof payload === "string" ? "Base64" : undefined;
}

export function missing(what: string, option: string, variable: string): CliError {
  return new CliError("USAGE", `${what[0].toUpperCase()}${what.slice(1)} is missing.`, {
    hint: `Use ${option}, set ${variable}, or use a --profile.`,
  });
}
