import type { Diagnosis } from "../diagnose/diagnose.js";
import type { GatewayEvent } from "./events.js";
import { formatFault } from "./faults.js";
import type { ReceivedRequest } from "./received.js";

/** Formats an event as one line, without line end, colors or secrets. */
export function formatEvent(event: GatewayEvent): string {
  switch (event.type) {
    case "request":
      return formatRequest(event.request);
    case "tlsError": {
      const { atMs, connectionId, remoteAddress, reason } = event.error;
      return `${time(atMs)} conn ${connectionId} ${remoteAddress} TLS failed: ${printable(reason)}`;
    }
    case "dropped": {
      const { id, remoteAddress } = event.connection;
      return `${time(event.atMs)} conn ${id} ${remoteAddress} dropped: ${printable(event.reason)}`;
    }
    case "fault":
      return event.offline
        ? "offline from now on"
        : `fault from now on: ${event.fault === undefined ? "none" : printable(formatFault(event.fault))}`;
  }
}

/**
 * Formats a request as one line, without line end, colors or secrets: of a payload the first 200 characters, or bytes in
 * hex if it is not text, and of log lines the first 300 characters.
 */
export function formatRequest(request: ReceivedRequest): string {
  const device = request.productId === undefined ? "-" : `${request.productId}/${request.deviceName ?? "-"}`;
  const parts = [
    time(request.receivedAtMs),
    `#${request.index}`,
    `conn ${request.connection.id}${request.connection.tls?.resumed ? " (resumed)" : ""}`,
    `${request.method} ${printable(request.url)}`,
    String(request.status ?? "no response"),
    device,
  ];
  if (request.topic !== undefined) {
    parts.push(printable(request.topic));
    if (request.qos !== undefined) parts.push(`qos ${request.qos} ${request.payload?.length ?? 0} B`);
    if (request.payload !== undefined && request.payload.length > 0) parts.push(excerptOf(request.payload));
  }
  if (request.messages !== undefined) {
    const { length } = request.messages;
    parts.push(`${length} log line${length === 1 ? "" : "s"}: ${printable(request.messages.join(" | "), 300)}`);
  }
  if (request.registrationState !== undefined) parts.push(request.registrationState === 0 ? "new" : "known");
  if (request.verifiedBy !== undefined) parts.push(`${request.algorithm} by ${request.verifiedBy}`);
  if (request.error !== undefined) parts.push(`${request.error.code}: ${printable(request.error.message)}`);
  if (request.diagnosis !== undefined) parts.push(describeBriefly(request.diagnosis));
  if (request.undiagnosed) parts.push("not diagnosed: too many wrong signatures within a second");
  if (request.fault !== undefined) parts.push(`[fault ${printable(formatFault(request.fault))}]`);
  if (request.requestId !== undefined) parts.push(request.requestId);
  if (request.durationMs !== undefined) parts.push(`${request.durationMs.toFixed(1)} ms`);
  return parts.join(" ");
}

/** Returns the cause and how to fix it, on one line. */
function describeBriefly({ message, deviations }: Diagnosis): string {
  const text = deviations.length === 0 ? message : `${message}. ${deviations.map(({ mend }) => mend).join(" ")}`;
  return printable(text, 1000);
}

/** Returns the beginning of a payload: its text, or the word `hex` and its bytes. */
function excerptOf(payload: Buffer): string {
  const text = payload.toString("utf8");
  if (Buffer.from(text).equals(payload)) return printable(text, 200);
  return `hex ${payload.subarray(0, 32).toString("hex")}${payload.length > 32 ? "…" : ""}`;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

/**
 * Replaces control characters, which could move the cursor or forge log lines, and characters that change the direction
 * of text, and shortens what is too long.
 */
function printable(text: string, characters = 300): string {
  const start = text.slice(0, characters);
  const clean = start.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "·");
  return text.length > characters ? `${clean}…` : clean;
}
