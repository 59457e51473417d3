/** What the API sends. */

export interface Bytes {
  text?: string;
  base64?: string;
  bytes: number;
  cut?: true;
}

export interface Deviation {
  id: string;
  what: string;
  mend: string;
}

export type Fields = Record<string, string>;

export interface Diagnosis {
  verdict: string;
  message: string;
  expected: Fields;
  signed?: Fields;
  deviations: Deviation[];
  problems: { message: string; mend: string }[];
  ruledOut: string[];
  pairsRuledOut: boolean;
  hashes: number;
}

export interface Connection {
  id: number;
  remoteAddress?: string;
  tls?: { protocol: string; cipher: string; resumed: boolean; clientName?: string; clientTrusted?: boolean };
}

export interface Fault {
  kind: string;
  [member: string]: unknown;
}

export interface RequestView {
  atMs: number;
  index: number;
  receivedAtMs: number;
  connection: Connection;
  method: string;
  url: string;
  productId?: string;
  deviceName?: string;
  algorithm?: string;
  verifiedBy?: string;
  topic?: string;
  /** From the body of a request that was refused before it was read. */
  named?: { productId?: string; deviceName?: string; topic?: string };
  qos?: number;
  payload?: Bytes;
  payloadEncoding?: string;
  messages?: string[];
  registrationState?: number;
  accepted: boolean;
  error?: { code: string; message: string };
  diagnosis?: Diagnosis;
  undiagnosed?: true;
  fault?: Fault;
  status?: number;
  requestId?: string;
  durationMs?: number;
}

export interface RequestDetail extends RequestView {
  headers: Record<string, string>;
  body: Bytes;
}

export interface TlsErrorView {
  atMs: number;
  connectionId: number;
  code: string;
  alert?: string;
  reason?: string;
  remoteAddress?: string;
}

export interface DroppedView {
  atMs: number;
  connection: Connection;
  reason: string;
}

export interface FaultState {
  always: Fault | null;
  pending: number;
  offline: "hang" | "reset" | false;
  clockSkewSeconds: number;
}

export interface DeviceView {
  productId: string;
  deviceName: string;
  registered: boolean;
  credential?: string;
  lastSeenMs?: number;
  lastRequestMs?: number;
  accepted: number;
  refused: number;
}

export interface Info {
  epoch: string;
  url: string;
  https: boolean;
  faultKinds: string[];
}

/** A line of the list. */
export type Entry = { key: number; failed: boolean; text?: string } & (
  | { type: "request"; view: RequestView }
  | { type: "tlsError"; view: TlsErrorView }
  | { type: "dropped"; view: DroppedView }
  | { type: "fault"; view: FaultState & { atMs: number } }
);
