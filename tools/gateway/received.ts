import type { Diagnosis } from "../diagnose/diagnose.js";
import type { SignatureAlgorithm } from "./devices.js";
import type { Fault } from "./faults.js";

/** How a request came: the TCP connection and, over HTTPS, its TLS session. */
export interface ConnectionInfo {
  /** 1 for the gateway's first connection. */
  readonly id: number;
  readonly tls?: {
    /** E.g. `TLSv1.2`. */
    readonly protocol: string;
    readonly cipher: string;
    /** True if an earlier session was resumed instead of a full handshake. */
    readonly resumed: boolean;
    /** Common name of the client's certificate, where one was asked for and given. */
    readonly clientName?: string;
    /** True if that certificate is signed by the CA that was asked for. */
    readonly clientTrusted?: boolean;
  };
}

/**
 * One request as the gateway saw it. It holds no secret: neither keys nor what a registration handed out.
 * `accepted` counts: what was verified and understood, whether or not the response came through.
 */
export interface ReceivedRequest {
  /** 1 for the gateway's first request. */
  readonly index: number;
  /** Milliseconds since 1970, by the gateway's clock. */
  readonly receivedAtMs: number;
  readonly connection: ConnectionInfo;
  readonly method: string;
  /** The request target as sent: a path with its query, or a whole URL (absolute form). */
  readonly url: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The body's bytes as they came; empty until they were read. */
  body: Buffer;
  productId?: string;
  deviceName?: string;
  algorithm?: SignatureAlgorithm;
  /** What the signature was checked with. */
  verifiedBy?: "psk" | "publicKey" | "productSecret";
  topic?: string;
  qos?: 0 | 1;
  /** Decoded. */
  payload?: Buffer;
  payloadEncoding?: "Base64";
  /** The lines of a log upload. */
  messages?: readonly string[];
  /** 0: a new device, 1: one that registered before. */
  registrationState?: 0 | 1;
  /** True once everything was in order. */
  accepted: boolean;
  /** Why it was refused. */
  error?: { readonly code: string; readonly message: string };
  /** On a wrong signature: what would have had to differ. */
  diagnosis?: Diagnosis;
  /** True for a wrong signature that was not diagnosed, because as many as allowed were within the last second. */
  undiagnosed?: true;
  /** The fault that was injected. */
  fault?: Fault;
  /** Undefined if no response was sent. */
  status?: number;
  /** What the response was meant to say. */
  requestId?: string;
  /** From the request's headers to the end of the response, or of the connection. */
  durationMs?: number;
}

/** Totals since the start. */
export interface GatewayCounts {
  connections: number;
  openConnections: number;
  /** TLS handshakes that were completed, resumed ones included. */
  tlsHandshakes: number;
  tlsResumptions: number;
  /** TLS handshakes that failed, on either side. */
  tlsFailures: number;
  requests: number;
  accepted: number;
  refused: number;
  /** Requests and connections with an injected fault. */
  faults: number;
  /** Requests on a connection that was left half open, which get no response. */
  ignored: number;
}

export function emptyCounts(): GatewayCounts {
  return {
    connections: 0,
    openConnections: 0,
    tlsHandshakes: 0,
    tlsResumptions: 0,
    tlsFailures: 0,
    requests: 0,
    accepted: 0,
    refused: 0,
    faults: 0,
    ignored: 0,
  };
}

/** One line about a request, without line end, colours or secrets. */
export function formatRequest(request: ReceivedRequest): string {
  const device = request.productId === undefined ? "-" : `${request.productId}/${request.deviceName ?? "-"}`;
  const parts = [
    new Date(request.receivedAtMs).toISOString(),
    `#${request.index}`,
    `conn ${request.connection.id}${request.connection.tls?.resumed ? " (resumed)" : ""}`,
    `${request.method} ${printable(request.url)}`,
    String(request.status ?? "no response"),
    device,
  ];
  if (request.topic !== undefined) {
    parts.push(printable(request.topic));
    if (request.qos !== undefined) parts.push(`qos ${request.qos} ${request.payload?.length ?? 0} B`);
  }
  if (request.messages !== undefined)
    parts.push(`${request.messages.length} log line${request.messages.length === 1 ? "" : "s"}`);
  if (request.registrationState !== undefined) parts.push(request.registrationState === 0 ? "new" : "known");
  if (request.verifiedBy !== undefined) parts.push(`${request.algorithm} by ${request.verifiedBy}`);
  if (request.error !== undefined) parts.push(`${request.error.code}: ${printable(request.error.message)}`);
  if (request.diagnosis !== undefined) parts.push(describeBriefly(request.diagnosis));
  if (request.undiagnosed) parts.push("not diagnosed: too many wrong signatures within a second");
  if (request.fault !== undefined) parts.push(`[fault ${printable(JSON.stringify(request.fault))}]`);
  if (request.requestId !== undefined) parts.push(request.requestId);
  if (request.durationMs !== undefined) parts.push(`${request.durationMs.toFixed(1)} ms`);
  return parts.join(" ");
}

/** The cause with how to mend it, on one line. */
function describeBriefly({ message, deviations }: Diagnosis): string {
  const text = deviations.length === 0 ? message : `${message}. ${deviations.map(({ mend }) => mend).join(" ")}`;
  return printable(text, 1000);
}

/** Whatever a client sends must not move the cursor or forge a line of the log. */
function printable(text: string, characters = 300): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "·").slice(0, characters);
}
