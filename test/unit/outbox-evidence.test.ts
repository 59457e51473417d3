/** A reading leaves the outbox only for a reason that is its own, and only on evidence. */

import { describe, expect, test } from "@jest/globals";
import type { HttpRequest, HttpResponse } from "../../src/host.js";
import { NetworkError } from "../../src/index.js";
import { outboxDevice, reading } from "../support/outbox-device.js";
import { page, type Reply, refused, taken } from "../support/virtual-host.js";

/** The payload of a publish request. */
const payloadOf = ({ body }: HttpRequest): string => JSON.parse(Buffer.from(body).toString()).Payload;
const topicOf = ({ body }: HttpRequest): string => JSON.parse(Buffer.from(body).toString()).TopicName;

/**
 * An outbox whose gateway rejects some messages.
 * @param reject the response for a payload, or undefined to accept it
 */
function rejecting(reject: (payload: string, times: number) => HttpResponse | Error | undefined, options = {}) {
  const seen = new Map<string, number>();
  return outboxDevice((request) => {
    const payload = payloadOf(request);
    const times = (seen.get(payload) ?? 0) + 1;
    seen.set(payload, times);
    const response = reject(payload, times);
    if (response instanceof Error) throw response;
    return response ?? taken();
  }, options);
}

async function fill({ device }: ReturnType<typeof outboxDevice>, ...payloads: string[]): Promise<void> {
  for (const payload of payloads) await device.enqueue(reading(payload));
}

describe("a code about the message", () => {
  test.each([
    "InvalidParameterValue.PayloadOverLimit",
    "FailedOperation.InvalidMsgLen",
    "FailedOperation.InvalidTopicName",
    "InvalidParameterValue.InvalidJSON",
    "InvalidParameterValue.TopicName",
    "InvalidParameterValue.Payload",
    "InvalidParameterValue.PayloadEncoding",
    "InvalidParameterValue.Qos",
    "RequestSizeLimitExceeded",
  ])("%s drops the message after one round of evidence", async (code) => {
    const box = rejecting((payload) => (payload === "bad" ? refused(code) : undefined));
    await fill(box, "bad", "a", "b");
    expect(await box.device.flush()).toMatchObject({ delivered: 2, dropped: 1, remaining: 0, reason: "empty" });
    expect(box.payloads()).toEqual(["bad", "b", "bad", "a"]);
    expect(box.dropped).toMatchObject([
      { reason: "rejected", message: { payload: "bad" }, error: { gatewayCode: code } },
    ]);
  });

  test("keeps a single message until another one can serve as evidence", async () => {
    const box = rejecting((payload) => (payload === "bad" ? refused("X.PayloadOverLimit") : undefined));
    await fill(box, "bad");
    expect(await box.device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 1, reason: "message" });
    await fill(box, "a");
    expect(await box.device.flush()).toMatchObject({ delivered: 1, dropped: 1, remaining: 0, reason: "empty" });
  });

  test("keeps everything while everything is rejected", async () => {
    const box = rejecting(() => refused("X.PayloadOverLimit"));
    await fill(box, "a", "b", "c", "d", "e", "f");
    for (let i = 0; i < 5; i++) {
      expect(await box.device.flush()).toMatchObject({ delivered: 0, dropped: 0, remaining: 6, reason: "message" });
    }
    // Four rejections end a flush.
    expect(box.host.sent.length).toBe(20);
    expect(box.dropped).toEqual([]);
  });

  test("keeps a message that is accepted the second time", async () => {
    const box = rejecting((payload, times) =>
      payload === "a" && times === 1 ? refused("X.InvalidMsgLen") : undefined,
    );
    await fill(box, "a", "b", "c");
    expect(await box.device.flush()).toMatchObject({ delivered: 3, dropped: 0, reason: "empty" });
  });

  test("is not evidence without a RequestId", async () => {
    const nameless = () => ({
      ...refused("X.PayloadOverLimit"),
      body: Buffer.from('{"Response":{"Error":{"Code":"X.PayloadOverLimit"}}}'),
    });
    const box = rejecting((payload) => (payload === "bad" ? nameless() : undefined));
    await fill(box, "bad", "a");
    expect(await box.device.flush()).toMatchObject({ delivered: 1, dropped: 0, remaining: 1, reason: "unknown" });
  });
});

describe("an unknown rejection", () => {
  const same = (status: number) => () => page(status);
  test.each<[string, () => HttpResponse]>([
    ["a code of tomorrow", () => refused("Something.New")],
    ["HTTP 413 without the gateway's JSON", same(413)],
    ["HTTP 422 without the gateway's JSON", same(422)],
    ["HTTP 400 without the gateway's JSON", same(400)],
    ["the same unreadable page with HTTP 200", same(200)],
    ["the same unreadable page with HTTP 403", same(403)],
  ])("with %s drops a message only after three rounds with three others", async (_name, response) => {
    const box = rejecting((payload) => (payload === "bad" ? response() : undefined));
    await fill(box, "bad", "a", "b");
    expect(await box.device.flush()).toMatchObject({ delivered: 2, dropped: 0, remaining: 1 });
    await fill(box, "c", "d", "e", "f");
    expect(await box.device.flush()).toMatchObject({ delivered: 4, dropped: 1, remaining: 0, reason: "empty" });
    expect(box.payloads().slice(-8)).toEqual(["bad", "f", "bad", "e", "bad", "d", "bad", "c"]);
  });

  test("with another reason in between restarts the evidence", async () => {
    const box = rejecting((payload, times) =>
      payload === "bad" ? refused(times === 3 ? "Y.Other" : "X.New") : undefined,
    );
    await fill(box, "bad", "a", "b", "c", "d");
    expect(await box.device.flush()).toMatchObject({ delivered: 4, dropped: 0, remaining: 1, reason: "unknown" });
  });

  test("with different HTML pages is not evidence", async () => {
    let n = 0;
    const box = rejecting((payload) =>
      payload === "bad" ? { ...page(200), body: Buffer.from(`<html>incident ${n++}</html>`) } : undefined,
    );
    await fill(box, "bad", "a", "b", "c", "d", "e");
    expect(await box.device.flush()).toMatchObject({ delivered: 5, dropped: 0, remaining: 1, reason: "unreadable" });
  });

  test("of random messages drops few", async () => {
    let seed = 7;
    const random = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return seed / 0x7fffffff;
    };
    const box = rejecting(() => (random() < 0.5 ? refused("Something.New") : undefined));
    let delivered = 0;
    for (let round = 0; round < 10; round++) {
      await fill(box, ...Array.from({ length: 20 }, (_, i) => `${round}-${i}`));
      for (let i = 0; i < 20 && box.box.size > 0; i++) delivered += (await box.device.flush()).delivered;
    }
    expect(delivered + box.dropped.length + box.box.size).toBe(200);
    expect(box.dropped.length).toBeLessThanOrEqual(6);
  });
});

describe("account, device, console, form and service", () => {
  test.each([
    ["FailedOperation.AccountIsolated", "account"],
    ["FailedOperation.DeviceAlreadyDisabled", "device"],
    ["UnauthorizedOperation.DeviceIsNotEnabled", "device"],
    ["UnauthorizedOperation.DeviceHasBeenDisabled", "device"],
    ["ResourceNotFound.DeviceNotExist", "device"],
    ["ResourceNotFound.ProductOrDeviceNotExist", "device"],
    ["AuthFailure", "credential"],
    ["AuthFailure.SignatureFailure", "credential"],
    ["AuthFailure.UnauthorizedOperation", "credential"],
    ["UnauthorizedOperation.ProductNotSupportPSK", "credential"],
    ["UnsupportedOperation.WrongProductAuthType", "credential"],
    ["AuthFailure.SignatureExpire", "clock"],
    ["InternalError", "server"],
    ["InternalError.DBOperationError", "server"],
    ["ResourceUnavailable", "server"],
    ["RequestLimitExceeded", "throttled"],
    ["LimitExceeded", "throttled"],
  ])("%s ends the flush and loses nothing", async (code, ended) => {
    const box = rejecting(() => refused(code));
    await fill(box, "a", "b", "c", "d", "e");
    expect(await box.device.flush({ deadlineMs: 60000 })).toMatchObject({
      delivered: 0,
      dropped: 0,
      remaining: 5,
      reason: ended,
    });
    expect(box.dropped).toEqual([]);
  });

  test.each([
    ["ResourceNotFound.ProductNotExist", "console"],
    ["UnauthorizedOperation", "console"],
    ["UnauthorizedOperation.PermissionDenied", "console"],
    ["UnauthorizedOperation.ProductIsForbidden", "console"],
    ["UnsupportedOperation", "console"],
    ["LimitExceeded.DeviceExceedLimit", "console"],
    ["InvalidParameter", "protocol"],
    ["InvalidParameter.ActionMissing", "protocol"],
    ["InvalidParameterValue", "protocol"],
    ["InvalidParameterValue.ParamIncomplete", "protocol"],
    ["MissingParameter", "protocol"],
    ["UnknownParameter", "protocol"],
    ["InvalidAction", "protocol"],
  ])("%s is never evidence", async (code, ended) => {
    const box = rejecting((payload) => (payload === "x" ? refused(code) : undefined));
    await box.device.enqueue({ topic: "other", payload: "x" });
    await fill(box, "a", "b", "c", "d", "e");
    for (let i = 0; i < 3; i++) {
      expect(await box.device.flush()).toMatchObject({ dropped: 0, remaining: 1, reason: ended });
      await fill(box, "f", "g", "h", "i");
    }
    expect(box.dropped).toEqual([]);
  });

  test("a topic without permission is skipped, the others are sent in order", async () => {
    const box = outboxDevice((request) =>
      topicOf(request).endsWith("/closed") ? refused("ResourceNotFound.TopicPolicyNotExist") : taken(),
    );
    for (const [topic, payload] of [
      ["closed", "1"],
      ["data", "2"],
      ["closed", "3"],
      ["closed", "4"],
      ["data", "5"],
      ["event", "6"],
    ]) {
      await box.device.enqueue({ topic, payload });
    }
    expect(await box.device.flush()).toMatchObject({ delivered: 3, dropped: 0, remaining: 3, reason: "console" });
    expect(box.payloads()).toEqual(["1", "2", "5", "6"]);
  });
});

test("a message that can no longer be sent is reported at once", async () => {
  const first = outboxDevice(() => taken());
  await first.device.enqueue({ topic: "t".repeat(240), payload: "x" });
  const storage = first.host.storage;
  first.device.close();
  const later = outboxDevice(() => taken(), {}, { storage });
  // Under a longer DeviceName the completed topic exceeds its limit.
  const { Device } = await import("../../src/index.js");
  later.device.close();
  const dropped: unknown[] = [];
  const device = new Device(
    {
      productId: "P".repeat(10),
      deviceName: "d".repeat(48),
      credential: { secret: "secret" },
      outbox: { flushIntervalMs: 0, onDropped: (one) => dropped.push(one) },
    },
    later.host,
  );
  expect(await device.flush()).toMatchObject({ delivered: 0, dropped: 1, remaining: 0, reason: "empty" });
  expect(dropped).toMatchObject([{ reason: "rejected", error: { code: "TOPIC_TOO_LONG" } }]);
});

describe("the outbox keeps trying", () => {
  const DAY_MS = 86400000;
  test.each<[string, HttpResponse | Error]>([
    ["a rejected credential", refused("AuthFailure.SignatureFailure")],
    ["a certificate that is not accepted", new NetworkError("CERTIFICATE_REJECTED", "tls", "m")],
    ["an account in arrears", refused("FailedOperation.AccountIsolated")],
    ["a rejection of everything", refused("X.PayloadOverLimit")],
  ])("after %s, with at most ten more minutes between flushes, and reports it", async (_name, response) => {
    let good = false;
    const ends: string[] = [];
    const box = rejecting(() => (good ? undefined : response), {
      flushIntervalMs: 1000,
      onFlushed: ({ ended, nextFlushMs }: { ended: string; nextFlushMs?: number }) =>
        ends.push(`${ended}${nextFlushMs === undefined ? "" : " again"}`),
    });
    await fill(box, "a", "b");
    while (box.host.elapsedMs < DAY_MS) await new Promise(setImmediate);
    const times = box.host.sent.map(({ atMs }) => atMs);
    expect(times.length).toBeGreaterThan(100);
    expect(Math.max(...times.slice(1).map((at, i) => at - times[i]))).toBeLessThanOrEqual(601000);
    expect(new Set(ends).size).toBe(1);
    expect(ends[0]).toMatch(/ again$/);
    good = true;
    while (box.box.size > 0) await new Promise(setImmediate);
    expect(box.host.elapsedMs).toBeLessThan(DAY_MS + 2 * 601000);
    expect(box.dropped).toEqual([]);
  });

  test("after a pause requested by the gateway", async () => {
    const box = rejecting(
      (payload, times) => (payload === "a" && times === 1 ? page(429, { "retry-after": "120" }) : undefined),
      {
        flushIntervalMs: 1000,
      },
    );
    await fill(box, "a");
    while (box.box.size > 0) await new Promise(setImmediate);
    expect(box.host.sent[1].atMs - box.host.sent[0].atMs).toBeGreaterThanOrEqual(120000);
  });

  test("and a pause ends only automatic flushes", async () => {
    const reports: object[] = [];
    const options = { onFlushed: (report: object) => reports.push(report) };
    const respond = (_payload: string, times: number) => (times === 1 ? page(503, { "retry-after": "20" }) : undefined);
    const asked = rejecting(respond, options);
    await fill(asked, "a");
    expect(await asked.device.flush()).toMatchObject({ delivered: 1, reason: "empty" });
    expect(asked.host.elapsedMs).toBeLessThanOrEqual(30000);

    reports.length = 0;
    const own = rejecting(respond, { ...options, flushIntervalMs: 1000 });
    await fill(own, "a");
    while (own.box.size > 0) await new Promise(setImmediate);
    expect(reports[0]).toMatchObject({ delivered: 0, reason: "server", nextFlushMs: expect.any(Number) });
    const { nextFlushMs } = reports[0] as { nextFlushMs: number };
    expect(nextFlushMs).toBeGreaterThanOrEqual(20000);
    expect(nextFlushMs).toBeLessThanOrEqual(80000);
    expect(reports.at(-1)).toMatchObject({ delivered: 1, reason: "empty" });
  });
});

describe("a proxy that appends a page to each response, undetected by the host", () => {
  /** What was sent before is the response of whatever is sent on the same connection. */
  const leftover =
    (response: () => HttpResponse): Reply =>
    (_request, index, { fresh }) =>
      index === 0 || fresh ? taken() : { ...response(), reused: true };

  test.each([
    ["400", () => page(400)],
    ["404", () => page(404)],
    ["an empty response", () => ({ ...page(200), body: new Uint8Array(0) })],
  ])("loses no reading with %s", async (_name, response) => {
    const box = outboxDevice(leftover(response), {}, {}, { retry: false });
    await fill(box, ..."abcdefghij");
    for (let n = 0; n < 5 && box.box.size > 0; n++) await box.device.flush();
    expect(box.dropped).toEqual([]);
    expect(box.delivered.length).toBe(10);
  });

  test("causes retries on new connections, others on the keep-alive one", async () => {
    const box = rejecting((payload) => (payload === "bad" ? refused("X.PayloadOverLimit") : undefined));
    await fill(box, "a", "bad", "b", "c");
    expect(await box.device.flush()).toMatchObject({ delivered: 3, dropped: 1 });
    const sent = box.host.sent.map(({ request, options }) => `${payloadOf(request)} ${options.fresh}`);
    expect(sent.sort()).toEqual(["a false", "b false", "bad false", "bad true", "c false"]);
  });

  test("loses no log line", async () => {
    const lines: string[] = [];
    const { device } = outboxDevice(
      (request, index, context) => {
        const response = leftover(() => page(400))(request, index, context) as HttpResponse;
        if (response.reused !== true) lines.push(...JSON.parse(new TextDecoder().decode(request.body)).Message);
        return response;
      },
      {},
      {},
      { retry: false, outbox: undefined },
    );
    for (let n = 0; n < 10; n++) {
      device.log("info", `line ${n}`);
      await device.flushLog().catch(() => {});
    }
    await device.flushLog();
    expect(lines.map((line) => line.slice(29)).sort()).toEqual(Array.from({ length: 10 }, (_, n) => `line ${n}`));
  });
});

describe("a log in the outbox", () => {
  const isLog = ({ path }: HttpRequest) => path === "/device/reportlog";

  async function withLog(respond: (request: HttpRequest) => HttpResponse) {
    const up = { is: false };
    const box = outboxDevice((request) => (up.is ? respond(request) : page(503)), {}, {}, { retry: false });
    box.device.log("info", "line");
    await box.device.flushLog();
    await fill(box, "a", "b", "c", "d", "e", "f");
    up.is = true;
    return box;
  }

  test.each<[string, () => HttpResponse]>([
    ["a redirection", () => page(302)],
    ["a page that says 404", () => page(404)],
    ["a page that says 400", () => page(400)],
    ["a captive portal's page", () => page(200)],
    ["a code that is not known", () => refused("Code.Of.Tomorrow")],
    ["a code that speaks of the message", () => refused("X.PayloadOverLimit")],
  ])("survives %s at its path while readings are delivered in order", async (_name, response) => {
    const box = await withLog((request) => (isLog(request) ? response() : taken()));
    for (let n = 0; n < 6; n++) {
      await fill(box, `x${n}`, `y${n}`);
      expect(await box.device.flush()).toMatchObject({ dropped: 0, remaining: 1 });
    }
    const readings = box.host.sent.filter(({ request }) => !isLog(request)).map(({ request }) => payloadOf(request));
    const expected = [..."abcdef", ...Array.from({ length: 6 }, (_, n) => [`x${n}`, `y${n}`]).flat()];
    expect(readings).toEqual(expected);
  });

  test("causes no loss of readings", async () => {
    const box = await withLog((request) => (isLog(request) ? taken() : refused("X.PayloadOverLimit")));
    expect(await box.device.flush()).toMatchObject({ delivered: 1, dropped: 0, remaining: 6 });
    expect(box.dropped).toEqual([]);
  });

  test("is dropped on the evidence of another log", async () => {
    const dropped: string[] = [];
    const box = await withLog((request) => {
      if (!isLog(request)) return taken();
      const lines = Buffer.from(request.body).toString();
      dropped.push(lines.includes("|line") ? "first" : "second");
      return lines.includes("|line") ? refused("X.PayloadOverLimit") : taken();
    });
    box.device.log("info", "good");
    await box.device.flushLog();
    expect(await box.device.flush()).toMatchObject({ dropped: 1, remaining: 0, reason: "empty" });
    expect(dropped).toEqual(["first", "second", "first"]);
    // What became of a log is no affair of the app's.
    expect(box.dropped).toEqual([]);
  });
});
