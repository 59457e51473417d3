/** The limits of one attempt, to the millisecond, whatever the host does. */

import { describe, expect, test } from "@jest/globals";
import type { ConnectionPhase } from "../../src/errors.js";
import type { HttpClient, HttpRequest, HttpResponse } from "../../src/host.js";
import { Attempt, type AttemptLimits } from "../../src/request/lifecycle.js";
import { failure } from "../support/failure.js";
import { ManualTimer } from "../support/manual-timer.js";

const request = { body: new Uint8Array(7) } as HttpRequest;
const response = { body: new Uint8Array(11) } as HttpResponse;

function setup(limits: Partial<AttemptLimits> = {}) {
  const timer = new ManualTimer();
  const silent: HttpClient = { send: () => new Promise(() => {}), close() {} };
  const clock = { monotonicMs: () => timer.monotonicMs(), nowMs: () => 0 };
  const all = { attemptTimeoutMs: 1000, maxResponseBytes: 100, fresh: false, ...limits };
  const attempt = new Attempt({ clock, timer, http: silent }, all);
  const go = (...steps: readonly (readonly [ConnectionPhase, number])[]) => {
    for (const [phase, ms] of steps) {
      attempt.onPhase(phase);
      timer.advance(ms);
    }
  };
  return { attempt, timer, go };
}

describe("timing", () => {
  test("contains the duration of each phase and in total", () => {
    const { attempt, go } = setup();
    attempt.send(request).catch(() => {});
    go(["connect", 10], ["tls", 20], ["write", 5], ["first-byte", 100], ["read", 7]);
    expect(attempt.timing(request, response)).toEqual({
      connectMs: 10,
      tlsMs: 20,
      writeMs: 5,
      firstByteMs: 100,
      totalMs: 142,
      reused: false,
      bytesSent: 7,
      bytesReceived: 11,
    });
  });

  test("adds up repeated phases, as with another address", () => {
    const { attempt, go } = setup();
    attempt.send(request).catch(() => {});
    go(["connect", 10], ["tls", 20], ["connect", 30], ["tls", 40], ["write", 5]);
    expect(attempt.timing(request, response)).toMatchObject({ connectMs: 40, tlsMs: 60, writeMs: 5, totalMs: 105 });
  });

  test("counts from the start of the attempt", () => {
    const { attempt, timer, go } = setup();
    timer.advance(5000);
    attempt.send(request).catch(() => {});
    go(["connect", 10], ["write", 5]);
    expect(attempt.timing(request, response)).toMatchObject({ connectMs: 10, writeMs: 5, totalMs: 15 });
  });

  test("has no connect and TLS phases on a keep-alive connection", () => {
    const { attempt, go } = setup();
    attempt.send(request).catch(() => {});
    go(["connect", 3], ["tls", 3], ["write", 5]);
    const timing = attempt.timing(request, { ...response, reused: true });
    expect(timing).toMatchObject({ connectMs: undefined, tlsMs: undefined, writeMs: 5, reused: true });
  });

  test("of an attempt without phases counts as connect", () => {
    const { attempt, timer } = setup();
    attempt.send(request).catch(() => {});
    timer.advance(9);
    expect(attempt.timing(request, response)).toMatchObject({ connectMs: 9, totalMs: 9, tlsMs: undefined });
  });
});

describe("limits", () => {
  const phases: [ConnectionPhase, string][] = [
    ["connect", "The connection was not established within 100 ms."],
    ["tls", "The TLS handshake did not finish within 100 ms."],
    ["write", "The request was not written within 100 ms."],
    ["first-byte", "No response came within 100 ms."],
    ["read", "The response did not end within 100 ms."],
  ];
  test.each(phases)("of the phase %s ends it with a specific message", async (phase, message) => {
    const { attempt, timer } = setup({ phaseTimeoutsMs: { [phase]: 100 } });
    const failed = failure(attempt.send(request));
    if (phase !== "connect") {
      timer.advance(200);
      attempt.onPhase(phase);
    }
    timer.advance(99);
    expect(attempt.signal.aborted).toBe(false);
    timer.advance(1);
    expect(await failed).toMatchObject({ code: "TIMEOUT", phase, message });
    expect([attempt.signal.aborted, timer.pending]).toEqual([true, 0]);
  });

  test("of the attempt apply to a phase without one, from the start of the attempt", async () => {
    const { attempt, timer, go } = setup({ phaseTimeoutsMs: { tls: 500 } });
    timer.advance(5000);
    const failed = failure(attempt.send(request));
    go(["connect", 300], ["tls", 400], ["write", 299]);
    expect(attempt.signal.aborted).toBe(false);
    timer.advance(1);
    expect(await failed).toMatchObject({ phase: "write", message: "The request was not written within 1000 ms." });
  });

  test("of the attempt apply within a phase with a longer one", async () => {
    const { attempt, timer, go } = setup({ phaseTimeoutsMs: { tls: 900 } });
    const failed = failure(attempt.send(request));
    go(["connect", 300], ["tls", 700]);
    expect(await failed).toMatchObject({ phase: "tls", message: "The TLS handshake did not finish within 1000 ms." });
    expect(timer.pending).toBe(0);
  });

  test("are not prolonged by a repeated phase", async () => {
    const { attempt, go } = setup({ phaseTimeoutsMs: { connect: 100 } });
    const failed = failure(attempt.send(request));
    go(["connect", 60], ["connect", 40]);
    expect(await failed).toMatchObject({ code: "TIMEOUT", phase: "connect" });
  });

  test("use one timer, and none once the attempt has ended", () => {
    const { attempt, timer, go } = setup({ phaseTimeoutsMs: { connect: 100, tls: 100 } });
    attempt.send(request).catch(() => {});
    go(["tls", 10], ["write", 10]);
    expect(timer.pending).toBe(1);
    attempt.end();
    expect(timer.pending).toBe(0);
    attempt.onPhase("read");
    expect(timer.pending).toBe(0);
  });

  test.each([
    [undefined, 1000],
    [{ connect: 400 }, 400],
    [{ connect: 4000 }, 1000],
    [{ tls: 400 }, 1000],
  ])("for connecting with %j: %i ms", (phaseTimeoutsMs, ms) => {
    expect(setup({ phaseTimeoutsMs }).attempt.connectTimeoutMs).toBe(ms);
  });

  test("an attempt that was aborted before sending aborts its signal", () => {
    const { attempt } = setup();
    attempt.abort(new Error("enough"));
    expect(attempt.signal.reason).toEqual(new Error("enough"));
  });
});
