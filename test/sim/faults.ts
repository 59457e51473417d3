/** What goes wrong on the way, and what a caller is told. After each the next request must succeed. */
import type { Fault } from "../../mocks/gateway/index.js";

export interface FaultCase {
  readonly fault: Fault;
  readonly secure?: boolean;
  /** After a request that left its connection open. */
  readonly kept?: boolean;
  /** Payload's length. */
  readonly bytes?: number;
  /** "ok" or the error's code. */
  readonly code: string;
  readonly phase?: string;
}

const both = (fault: Fault, code: string, more: Partial<FaultCase> = {}): FaultCase[] => [
  { fault, code, ...more },
  { fault, code, ...more, secure: true },
];

export const faultCases: readonly FaultCase[] = [
  // The simulator's socket looks every 20 ms and does not tell these from a connection that was refused.
  ...both({ kind: "reset", phase: "connect" }, "CONNECTION_REFUSED"),
  ...both({ kind: "close", phase: "connect" }, "CONNECTION_REFUSED"),
  ...both({ kind: "hang", phase: "connect" }, "TIMEOUT"),
  ...both({ kind: "reset", phase: "read" }, "CONNECTION_RESET", { bytes: 16000 }),
  ...both({ kind: "close", phase: "read" }, "CONNECTION_RESET", { bytes: 16000 }),
  ...both({ kind: "hang", phase: "read" }, "TIMEOUT"),
  ...both({ kind: "reset", phase: "headers" }, "CONNECTION_RESET"),
  ...both({ kind: "close", phase: "headers" }, "CONNECTION_RESET"),
  ...both({ kind: "hang", phase: "headers" }, "TIMEOUT", { phase: "first-byte" }),
  ...both({ kind: "reset", phase: "body" }, "CONNECTION_RESET", { phase: "read" }),
  ...both({ kind: "close", phase: "body" }, "CONNECTION_RESET", { phase: "read" }),
  ...both({ kind: "hang", phase: "body" }, "TIMEOUT", { phase: "read" }),
  ...both({ kind: "delay", ms: 300 }, "ok"),
  ...both({ kind: "delay", ms: 300, phase: "body" }, "ok"),
  ...both({ kind: "truncated" }, "CONNECTION_RESET", { phase: "read" }),
  { fault: { kind: "malformed-json" }, code: "ANSWER_NOT_JSON" },
  { fault: { kind: "empty" }, code: "ANSWER_EMPTY" },
  { fault: { kind: "html" }, code: "HTTP_STATUS" },
  { fault: { kind: "status", status: 503 }, code: "GATEWAY_REJECTED" },
  ...both({ kind: "too-large" }, "RESPONSE_TOO_LARGE"),
  ...both({ kind: "slow-drip", intervalMs: 5 }, "ok"),
  { fault: { kind: "wrong-length", length: "less" }, code: "ANSWER_NOT_JSON" },
  { fault: { kind: "wrong-length", length: "more" }, code: "TIMEOUT", phase: "read" },
  { fault: { kind: "wrong-length", length: "negative" }, code: "RESPONSE_MALFORMED" },
  { fault: { kind: "wrong-length", length: "text" }, code: "RESPONSE_MALFORMED" },
  ...both({ kind: "bad-chunk" }, "RESPONSE_MALFORMED"),
  ...both({ kind: "garbage" }, "RESPONSE_MALFORMED"),
  ...both({ kind: "interim" }, "ok"),
  ...both({ kind: "two-answers" }, "ok"),
  ...both({ kind: "early" }, "ok", { bytes: 16000 }),
  { fault: { kind: "early", status: 413 }, code: "GATEWAY_REJECTED", bytes: 16000 },
  { fault: { kind: "early", keepOpen: true }, code: "ok", bytes: 16000 },
  ...both({ kind: "half-open", afterwards: "close" }, "ok"),
  ...both({ kind: "half-open", afterwards: "reset" }, "ok"),
  ...both({ kind: "reset", phase: "headers" }, "ok", { kept: true }),
  ...both({ kind: "close", phase: "headers" }, "ok", { kept: true }),
  { fault: { kind: "tls-alert" }, secure: true, code: "TLS_FAILED" },
  { fault: { kind: "tls-close" }, secure: true, code: "CONNECTION_RESET" },
  { fault: { kind: "tls-close", afterBytes: 300 }, secure: true, code: "CONNECTION_RESET" },
  { fault: { kind: "tls-hang" }, secure: true, code: "TIMEOUT", phase: "tls" },
];
