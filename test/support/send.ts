import type { AbortSignalLike, Host, HttpClient, HttpRequest, HttpResponse, HttpTiming } from "../../src/host.js";
import { Attempt, type PhaseTimeouts } from "../../src/request/lifecycle.js";
import { limits } from "./limits.js";

export interface SendOptions {
  readonly timeoutMs?: number;
  readonly phaseTimeoutsMs?: PhaseTimeouts;
  readonly maxResponseBytes?: number;
  readonly fresh?: boolean;
  readonly signal?: AbortSignalLike;
}

/** Sends one request through a host's HTTP client like the core: with its timeouts and timing. */
export async function send(
  by: HttpClient | Pick<Host, "clock" | "http" | "timer">,
  request: HttpRequest,
  options: SendOptions = {},
): Promise<HttpResponse & { readonly timing: HttpTiming }> {
  const { timeoutMs = 60000, phaseTimeoutsMs, maxResponseBytes = 16384, fresh = false } = options;
  const host = "http" in by ? by : withLimits(by);
  const given = { attemptTimeoutMs: timeoutMs, phaseTimeoutsMs, maxResponseBytes, fresh };
  const attempt = new Attempt(host, given);
  const { signal } = options;
  const cancel = () => attempt.abort(signal?.reason);
  signal?.addEventListener("abort", cancel);
  try {
    const sent = attempt.send(request);
    if (signal?.aborted) cancel();
    const response = await sent;
    return { ...response, timing: attempt.timing(request, response) };
  } finally {
    signal?.removeEventListener("abort", cancel);
    attempt.end();
  }
}

/** Timeouts are controlled by the test if it uses limits.ts. */
function withLimits(http: HttpClient): Pick<Host, "clock" | "http" | "timer"> {
  const clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() };
  const timer = {
    set: (callback: () => void, delayMs: number) => setTimeout(callback, delayMs),
    clear: (handle: unknown) => clearTimeout(handle as NodeJS.Timeout),
  };
  return { http, clock: limits.clockOf(clock), timer: limits.timerOf(timer) };
}
