/** `tencent-iothub log`: uploads lines to the platform's log of a device. */

import { createHost, Device, type DeviceEvent, type LogLevel } from "tencent-iothub-xs";
import { CliError } from "./failure.js";
import { readAll, readTrustAnchors, typedText } from "./files.js";
import { colorsFor, printLine, type Streams, warnSecretOnCommandLine } from "./io.js";
import { missing, readCredential } from "./publish.js";
import { readSettings, type Settings } from "./settings.js";

export interface LogArguments extends Settings {
  readonly profile?: string;
  readonly level?: string;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** Maximum number of lines in one upload. */
const MAX_LINES = 100;
const MAX_LINE_BYTES = 4096;
const MAX_UPLOAD_BYTES = 16000;
/** Level, time, quotation marks and comma. */
const OVERHEAD_BYTES = 40;

export async function log(io: Streams, messages: readonly string[], given: LogArguments): Promise<void> {
  const { profile, level = "info", json = false, debug = false, ...flags } = given;
  const settings = await readSettings(flags, profile, io.env);
  const { productId, deviceName, region, url, timeoutMs } = settings;
  if (productId === undefined) throw missing("the ProductId", "--product-id", "TENCENT_IOTHUB_PRODUCT_ID");
  if (deviceName === undefined) throw missing("the DeviceName", "--device-name", "TENCENT_IOTHUB_DEVICE_NAME");
  if (given.psk !== undefined) warnSecretOnCommandLine(io, "PSK", "--psk-file or TENCENT_IOTHUB_PSK");
  const credential = await readCredential(settings);
  const lines = await readLines(io, messages);
  const host = createHost({ trustAnchors: await readTrustAnchors(settings) });
  const requestIds: string[] = [];
  const onEvent = (event: DeviceEvent) => {
    if (event.type === "done") requestIds.push(event.requestId);
    if (debug) printLine(io.stderr, `debug: ${JSON.stringify(event)}`);
  };
  try {
    const limits = { level: "debug", maxLines: MAX_LINES, maxLineBytes: MAX_LINE_BYTES } as const;
    // No retries and no clock correction, so that the user sees the gateway's actual response.
    const once = { retry: false, clockCorrection: false } as const;
    const device = new Device(
      { productId, deviceName, credential, region, url, timeoutMs, onEvent, log: limits, ...once },
      host,
    );
    // Lines that were uploaded stay in the platform's log even if later ones fail.
    let sent = 0;
    try {
      let count = 0;
      let bytes = 0;
      for (const line of lines) {
        const size = Buffer.byteLength(JSON.stringify(line)) + OVERHEAD_BYTES;
        if (count >= MAX_LINES || bytes + size > MAX_UPLOAD_BYTES) {
          await device.flushLog();
          sent += count;
          count = 0;
          bytes = 0;
        }
        device.log(level as LogLevel, line);
        count++;
        bytes += Math.min(size, MAX_UPLOAD_BYTES);
      }
      await device.flushLog();
    } catch (error) {
      if (sent > 0) {
        const c = colorsFor(io.stderr, io.env);
        const first = sent === 1 ? "line was" : `${sent} lines were`;
        printLine(
          io.stderr,
          `${c.yellow("warning:")} the first ${first} logged before this failure; send only the rest.`,
        );
      }
      throw error;
    } finally {
      device.close();
    }
  } finally {
    host.http.close();
  }
  if (json) printLine(io.stdout, JSON.stringify({ lines: lines.length, requestIds }));
  else {
    const c = colorsFor(io.stdout, io.env);
    const what = `${lines.length} ${lines.length === 1 ? "line" : "lines"}`;
    printLine(io.stdout, `${c.green("logged")}     ${what} of ${productId}/${deviceName}, level ${level}`);
    for (const requestId of requestIds) printLine(io.stdout, `RequestId  ${requestId}`);
  }
}

/** Returns the arguments as one line, or the lines of standard input. */
async function readLines(io: Streams, messages: readonly string[]): Promise<string[]> {
  if (messages.length === 0) {
    throw new CliError("USAGE", "The message is missing.", {
      hint: "Pass it as the last argument, or - to read lines from standard input.",
    });
  }
  if (messages.length > 1 || messages[0] !== "-") return [messages.join(" ")];
  const input = typedText(await readAll(io.stdin, "log"), "log");
  const lines = input.split(/\r?\n/).filter((line) => line !== "");
  if (lines.length === 0) throw new CliError("USAGE", "Standard input contains no line to log.");
  return lines;
}
