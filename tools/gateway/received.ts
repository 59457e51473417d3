import type { Diagnosis } from "../diagnose/diagnose.js";
import type { SignatureAlgorithm } from "./devices.js";
import type { Fault } from "./faults.js";

/** TCP connection of a request and, over HTTPS, its TLS session. */
export interface ConnectionInfo {
  /** 1 for the gateway's first connection. */
  readonly id: number;
  /** Address of the client. */
  readonly remoteAddress: string;
  readonly tls?: {
    /** Protocol version, such as `TLSv1.2`. */
    readonly protocol: string;
    readonly cipher: string;
    /** True if an earlier session was resumed instead of a full handshake. */
    readonly resumed: boolean;
    /** Common name of the client's certificate, if one was requested and sent. */
    readonly clientName?: string;
    /** Whether that certificate is signed by the requested CA. */
    readonly clientTrusted?: boolean;
  };
}

/**
 * A request as received by the gateway. Contains no secrets: neither keys nor issued credentials. `accepted` means
 * verified and understood, whether or not the response was delivered.
 */
export interface ReceivedRequest {
  /** 1 for the gateway's first request. */
  readonly index: number;
  /** Milliseconds since 1970, by the gateway's clock. */
  readonly receivedAtMs: number;
  readonly connection: ConnectionInfo;
  readonly method: string;
  /** Request target as sent: a path with query, or an absolute URL. */
  readonly url: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Received body; empty until it was read. */
  body: Buffer;
  productId?: string;
  deviceName?: string;
  algorithm?: SignatureAlgorithm;
  /** Key with which the signature was verified. */
  verifiedBy?: "psk" | "publicKey" | "productSecret";
  topic?: string;
  qos?: 0 | 1;
  /** Decoded payload. */
  payload?: Buffer;
  payloadEncoding?: "Base64";
  /** Lines of a log upload. */
  messages?: readonly string[];
  /** 0: a new device, 1: a known device. */
  registrationState?: 0 | 1;
  /** Whether the request was accepted. */
  accepted: boolean;
  /** Reason of a rejection. */
  error?: { readonly code: string; readonly message: string };
  /** Diagnosis of a wrong signature. */
  diagnosis?: Diagnosis;
  /** True for a wrong signature that was not diagnosed because of `diagnosesPerSecond`. */
  undiagnosed?: true;
  /** The injected fault. */
  fault?: Fault;
  /** Undefined if no response was sent. */
  status?: number;
  /** RequestId of the response, whether or not it was sent. */
  requestId?: string;
  /** Duration from the request's headers to the end of the response or connection, in milliseconds. */
  durationMs?: number;
}

/** Totals since the start. */
export interface GatewayCounts {
  connections: number;
  openConnections: number;
  /** Completed TLS handshakes, including resumed ones. */
  tlsHandshakes: number;
  tlsResumptions: number;
  /** TLS handshakes that failed, on either side. */
  tlsFailures: number;
  requests: number;
  accepted: number;
  refused: number;
  /** Requests and connections with an injected fault. */
  faults: number;
  /** Requests on a half-open connection, which get no response. */
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
