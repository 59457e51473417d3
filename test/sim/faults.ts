/** Network faults and the errors reported for them. After each, the next request must succeed. */
import type { Fault, Gateway } from "../../tools/gateway/index.js";
import { type Expectations, GENEROUS_MS, PATIENCE_MS, phases, type Session } from "./session.js";

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
  { fault: { kind: "malformed-json" }, code: "RESPONSE_NOT_JSON" },
  { fault: { kind: "empty" }, code: "RESPONSE_EMPTY" },
  { fault: { kind: "html" }, code: "HTTP_STATUS" },
  { fault: { kind: "status", status: 503 }, code: "GATEWAY_REJECTED" },
  ...both({ kind: "too-large" }, "RESPONSE_TOO_LARGE"),
  ...both({ kind: "slow-drip", intervalMs: 5 }, "ok"),
  { fault: { kind: "wrong-length", length: "less" }, code: "RESPONSE_NOT_JSON" },
  { fault: { kind: "wrong-length", length: "more" }, code: "TIMEOUT", phase: "read" },
  { fault: { kind: "wrong-length", length: "negative" }, code: "RESPONSE_MALFORMED" },
  { fault: { kind: "wrong-length", length: "text" }, code: "RESPONSE_MALFORMED" },
  ...both({ kind: "bad-chunk" }, "RESPONSE_MALFORMED"),
  ...both({ kind: "garbage" }, "RESPONSE_MALFORMED"),
  ...both({ kind: "interim" }, "ok"),
  ...both({ kind: "two-responses" }, "ok"),
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

export async function faults(session: Session, expect: Expectations, each: FaultCase): Promise<string> {
  const gateway = await session.gateway(each.secure ? { https: { certificates: "chain" } } : {});
  // With False Start it is a race whether a reset or the server's Finished is seen first.
  await session.device(gateway, { falseStart: false }, { name: "localhost" });
  if (each.kept) {
    const [first] = await session.publish(["first"]);
    expect.equal(first.code, undefined, "the request before");
  }
  gateway.faults.next(each.fault);
  const payload = "x".repeat(each.bytes ?? 5);
  const outcome = each.code === "TIMEOUT" ? await hangs(session, gateway, each) : (await session.publish([payload]))[0];
  expect.equal(outcome.ok ? "ok" : outcome.code, each.code, `outcome (${outcome.message})`);
  if (each.phase) expect.equal(outcome.phase, each.phase, "phase");
  gateway.faults.clear();
  const [after] = await session.publish(["after"]);
  expect.equal(after.code, undefined, `the request after (${after.message})`);
  return outcome.ok ? "ok" : `${outcome.code} (${outcome.phase}): ${outcome.message}`;
}

/** A request past the core, whose limits are those of the phases. */
async function hangs(session: Session, gateway: Gateway, each: FaultCase): Promise<any> {
  const limited = each.phase ? [each.phase] : phases;
  const request = {
    scheme: each.secure ? "https" : "http",
    host: "localhost",
    port: gateway.port,
    path: "/device/publish",
    body: "x".repeat(each.bytes ?? 5),
  };
  const phaseTimeoutsMs = Object.fromEntries(
    phases.map((phase) => [phase, limited.includes(phase) ? PATIENCE_MS : GENEROUS_MS]),
  );
  return (await session.run("send", { request, options: { timeoutMs: GENEROUS_MS, phaseTimeoutsMs } })).outcome;
}
