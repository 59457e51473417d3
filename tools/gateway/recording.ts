import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import { GatewayError } from "./errors.js";
import type { GatewayEvent } from "./events.js";
import type { ReceivedRequest } from "./received.js";

/** Maximum size of a recording, so that a gateway that is left running does not fill the disk. */
export const MAX_RECORDING_BYTES = 256 * 1024 * 1024;

const version = 1;

/** Returns an event as one line of a recording: JSON with bytes in Base64, with a line end. Contains no secrets. */
export function recordLine(event: GatewayEvent): string {
  if (event.type !== "request") return `${JSON.stringify(event)}\n`;
  const { body, payload, ...rest } = event.request;
  const bytes = { bodyBase64: body.toString("base64"), payloadBase64: payload?.toString("base64") };
  return `${JSON.stringify({ type: "request", request: { ...rest, ...bytes } })}\n`;
}

/**
 * Appends all events of a gateway to a file from now on, each at once; the file is created with mode 0600.
 *
 * @param onEnd called at most once, if recording ends because of an error or because the file has reached `maxBytes`
 * @returns a function that ends the recording
 * @throws {GatewayError} RECORDING_FAILED
 */
export function recordEvents(
  gateway: { subscribe(listener: (event: GatewayEvent) => void): () => void },
  path: string,
  onEnd: (reason: string) => void,
  maxBytes: number = MAX_RECORDING_BYTES,
): () => void {
  let file: number;
  let size: number;
  try {
    file = openSync(path, "a", 0o600);
    size = fstatSync(file).size;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new GatewayError("RECORDING_FAILED", `The recording ${path} cannot be written (${code}).`, error);
  }
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    unsubscribe();
    closeSync(file);
  };
  const write = (line: string): void => {
    const bytes = Buffer.from(line);
    if (size + bytes.length > maxBytes) {
      end();
      onEnd(`the recording ${path} has reached its maximum of ${maxBytes} bytes`);
      return;
    }
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      size += bytes.length;
    } catch (error) {
      end();
      onEnd(`the recording ${path} cannot be written (${(error as NodeJS.ErrnoException).code})`);
    }
  };
  const unsubscribe = gateway.subscribe((event) => write(recordLine(event)));
  // A line that a crash cut off must not become a part of the next one.
  write(`${size > 0 ? "\n" : ""}{"recording":${version}}\n`);
  return end;
}

/**
 * Reads a recording. A last line that a crash cut off is left out.
 *
 * @throws {GatewayError} INVALID_RECORDING
 */
export function readRecording(text: string): GatewayEvent[] {
  const lines = text.replace(/^\ufeff/, "").split("\n");
  const events: GatewayEvent[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const value = parse(line);
    if (value === undefined) {
      // The line before the next start of a recording, or before the end, may have been cut off.
      const next = lines.slice(i + 1).find((other) => other.trim() !== "");
      if (events.length > 0 && (next === undefined || next.startsWith('{"recording"'))) continue;
      throw invalid(i, "is not a JSON object");
    }
    if ("recording" in value) {
      if (value.recording !== version) throw invalid(i, "belongs to a recording of another version");
      continue;
    }
    events.push(eventOf(value, i));
  }
  return events;
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function eventOf(value: Record<string, unknown>, line: number): GatewayEvent {
  const has = (name: string): boolean => typeof value[name] === "object" && value[name] !== null;
  switch (value.type) {
    case "request": {
      if (!has("request")) break;
      const { bodyBase64, payloadBase64, ...rest } = value.request as Record<string, unknown>;
      if (typeof rest.method !== "string" || typeof rest.url !== "string" || typeof bodyBase64 !== "string") break;
      if (typeof rest.headers !== "object" || rest.headers === null) break;
      const request = { ...rest, body: Buffer.from(bodyBase64, "base64") } as ReceivedRequest;
      if (typeof payloadBase64 === "string") request.payload = Buffer.from(payloadBase64, "base64");
      return { type: "request", request };
    }
    case "tlsError":
      if (!has("error")) break;
      return value as GatewayEvent;
    case "dropped":
      if (!has("connection")) break;
      return value as GatewayEvent;
    case "fault":
      return { fault: undefined, ...value } as GatewayEvent;
  }
  throw invalid(line, "is not an event of a gateway");
}

function invalid(line: number, what: string): GatewayError {
  return new GatewayError("INVALID_RECORDING", `Line ${line + 1} of the recording ${what}.`);
}
