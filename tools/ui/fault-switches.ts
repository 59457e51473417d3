import { GatewayError } from "../gateway/errors.js";
import { checkFault, type Fault, parseFault } from "../gateway/faults.js";
import type { Gateway } from "../gateway/server.js";

/** Faults that are switched on. */
export interface FaultState {
  /** The fault of every request or connection. */
  readonly always: Fault | null;
  /** Number of queued faults. */
  readonly pending: number;
  readonly offline: "hang" | "reset" | false;
  /** Offset of the gateway's clock. */
  readonly clockSkewSeconds: number;
}

const known = ["clear", "always", "next", "times", "offline", "clockSkewSeconds"];
const MAX_TIMES = 1000;
/** About 100 years: what a device's clock can be wrong by. */
const MAX_SKEW_SECONDS = 3_200_000_000;

export function faultState(gateway: Gateway): FaultState {
  return {
    always: gateway.faults.permanent ?? null,
    pending: gateway.faults.pending,
    offline: gateway.offline,
    clockSkewSeconds: gateway.clockSkewSeconds,
  };
}

/**
 * Changes the switches that the request names, all or none.
 *
 * @throws {GatewayError} INVALID_OPTION
 */
export function switchFaults(gateway: Gateway, change: unknown): void {
  if (typeof change !== "object" || change === null || Array.isArray(change)) {
    throw invalid("The body must be a JSON object.");
  }
  const given = change as Record<string, unknown>;
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) throw invalid(`There is no ${name}; the known members are ${known.join(", ")}.`);
  }
  const { clear, always, next, times = 1, offline, clockSkewSeconds } = given;
  if (clear !== undefined && typeof clear !== "boolean") throw invalid("clear must be true or false.");
  if (offline !== undefined && offline !== false && offline !== "hang" && offline !== "reset") {
    throw invalid('offline must be "hang", "reset" or false.');
  }
  if (!Number.isInteger(times) || (times as number) < 1 || (times as number) > MAX_TIMES) {
    throw invalid(`times must be an integer from 1 to ${MAX_TIMES}.`);
  }
  if (clockSkewSeconds !== undefined) {
    if (typeof clockSkewSeconds !== "number" || !(Math.abs(clockSkewSeconds) <= MAX_SKEW_SECONDS)) {
      throw invalid(`clockSkewSeconds must be a number from -${MAX_SKEW_SECONDS} to ${MAX_SKEW_SECONDS}.`);
    }
  }
  const permanent = always === undefined || always === null ? undefined : readFault(gateway, always);
  const queued = next === undefined ? undefined : readFault(gateway, next);
  if (queued !== undefined && gateway.faults.pending + (times as number) > MAX_TIMES) {
    throw invalid(`At most ${MAX_TIMES} faults can be queued.`);
  }
  if (clear === true) {
    gateway.faults.clear();
    gateway.offline = false;
    gateway.clockSkewSeconds = 0;
  }
  if (always !== undefined) gateway.faults.always(permanent);
  if (queued !== undefined) gateway.faults.next(queued, times as number);
  if (offline !== undefined) gateway.offline = offline;
  if (clockSkewSeconds !== undefined) gateway.clockSkewSeconds = clockSkewSeconds as number;
}

function readFault(gateway: Gateway, value: unknown): Fault {
  const fault: unknown = typeof value === "string" ? parseFault(value) : value;
  checkFault(fault);
  if (fault.kind.startsWith("tls-") && gateway.certificates === undefined) {
    throw invalid(`The fault ${fault.kind} needs HTTPS.`);
  }
  return fault;
}

function invalid(message: string): GatewayError {
  return new GatewayError("INVALID_OPTION", message);
}
