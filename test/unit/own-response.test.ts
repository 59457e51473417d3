/** A message counts as delivered or rejected only by the response to its request. */

import { describe, expect, test } from "@jest/globals";
import type { HttpResponse } from "../../src/host.js";
import { Device, type DeviceEvent, type DeviceOptions, NetworkError } from "../../src/index.js";
import { OwnResponses } from "../../src/request/own-response.js";
import { failure } from "../support/failure.js";
import { outboxDevice, reading } from "../support/outbox-device.js";
import { page, type Reply, refused, taken, virtualHost } from "../support/virtual-host.js";

const message = { topic: "data", payload: { t: 21.5 } };
const TEN_MINUTES_MS = 600000;

function setup(reply: Reply, changes: Partial<DeviceOptions> = {}) {
  const events: DeviceEvent[] = [];
  const host = virtualHost(reply);
  const http = { ...host.http, surplus: 0 };
  Object.assign(host, { http });
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      rateLimit: false,
      retry: false,
      onEvent: (event) => events.push(event),
      ...changes,
    },
    host,
  );
  return {
    host,
    device,
    http,
    fresh: () => host.sent.map(({ options }) => options.fresh),
    /** Why new connections were asked for, each time. */
    reasons: () => events.flatMap((event) => (event.type === "new-connections" ? [event.reason] : [])),
  };
}

/** Responses in turn, as a host says it that keeps its connection unless it is asked for a new one. */
function inTurn(...responses: (HttpResponse | Error)[]): Reply {
  return (_request, index, { fresh }) => {
    const response = responses[Math.min(index, responses.length - 1)];
    if (response instanceof Error) throw response;
    return { ...response, reused: index > 0 && !fresh };
  };
}

describe("a repeated response", () => {
  test.each([1, 2, 8, 16])(
    "from %d responses ago is not accepted: the request is resent on a new connection",
    async (ago) => {
      const own = Array.from({ length: ago }, () => taken());
      const last = taken();
      const { device, host, fresh } = setup(inTurn(...own, own[0], last));
      for (let n = 0; n < ago; n++) await device.publish(message);
      const result = await device.publish(message);
      expect(JSON.parse(Buffer.from(last.body).toString()).Response.RequestId).toBe(result.requestId);
      expect(result.attempts).toBe(2);
      expect(fresh().slice(-2)).toEqual([false, true]);
      const nonces = host.sent.map(({ request }) => request.headers["X-TC-Nonce"]);
      expect(new Set(nonces).size).toBe(ago + 2);
    },
  );

  test("is recognized for 16 responses", async () => {
    const own = Array.from({ length: 17 }, () => taken());
    const { device } = setup(inTurn(...own, own[0]));
    for (let n = 0; n < 17; n++) await device.publish(message);
    expect((await device.publish(message)).attempts).toBe(1);
  });

  test("is recognized by the text of its RequestId, also of numbers and long ones", async () => {
    const number = (digits: string) => json(`{"code":0,"message":"","requestId":${digits}}`);
    for (const [first, second] of [
      [number("12345678901234567890"), number("12345678901234567891")],
      [text("x".repeat(5000)), text(`${"x".repeat(4999)}y`)],
      [text("a"), text("b")],
    ]) {
      const { device } = setup(inTurn(first, second, first, taken()));
      const attempts: number[] = [];
      for (let n = 0; n < 3; n++) attempts.push((await device.publish(message)).attempts);
      expect(attempts).toEqual([1, 1, 2]);
    }
  });

  test("is not evidence against a later message if it is a rejection", async () => {
    const rejection = refused("X.PayloadOverLimit");
    const { device } = setup(inTurn(rejection, rejection, taken()));
    expect(await failure(device.publish(message))).toMatchObject({ gatewayCode: "X.PayloadOverLimit" });
    expect((await device.publish(message)).attempts).toBe(2);
  });

  test.each([401, 403, 404, 408, 429, 500])("causes a retry with status %d, too", async (status) => {
    const rejection = refused("X.PayloadOverLimit", { "retry-after": "100" }, status);
    const { device, host } = setup(inTurn(taken(), rejection, rejection, taken()), { retry: { maxAttempts: 1 } });
    await device.publish(message);
    await failure(device.publish(message));
    host.advance(1_000_000);
    expect((await device.publish(message)).attempts).toBe(2);
  });

  test("is accepted on a new connection, where no earlier response can arrive", async () => {
    const one = taken();
    const { device, host } = setup(() => ({ ...one, reused: false }));
    for (let n = 0; n < 4; n++) expect((await device.publish(message)).attempts).toBe(1);
    expect(host.sent.length).toBe(4);
  });

  test("is recognized on a host that does not report reused connections", async () => {
    const [one, two] = [taken(), taken()];
    const { device } = setup((_request, index) => ({ ...[one, one, two][index], reused: undefined }));
    await device.publish(message);
    expect((await device.publish(message)).attempts).toBe(2);
  });
});

describe("a page with status 408", () => {
  const late = () => page(408, { connection: "close" });

  test("causes an immediate retry on a new connection", async () => {
    const { device, host, fresh } = setup(inTurn(taken(), late(), taken()));
    await device.publish(message);
    expect((await device.publish(message)).attempts).toBe(2);
    expect(fresh()).toEqual([false, false, true]);
    expect(host.elapsedMs).toBe(0);
  });

  test("is a timeout if repeated, or with a response of the gateway", async () => {
    for (const response of [late(), refused("InternalError", {}, 408)]) {
      const { device, host } = setup(inTurn(response));
      expect(await failure(device.publish(message))).toMatchObject({ status: 408 });
      expect(host.sent.length).toBe(response.headers["content-type"] === "text/html" ? 2 : 1);
    }
  });

  test("loses no reading, and does not end a flush", async () => {
    let n = 0;
    const { device, delivered } = outboxDevice(() => (n++ % 2 === 0 ? late() : taken()), {}, {}, { retry: false });
    for (let i = 0; i < 5; i++) await device.enqueue(reading(`${i}`));
    expect(await device.flush()).toMatchObject({ delivered: 5, reason: "empty" });
    expect(delivered.map(({ payload }) => payload)).toEqual(["0", "1", "2", "3", "4"]);
  });
});

test("responses without a RequestId are not treated as repeated", () => {
  const responses = new OwnResponses();
  for (let n = 0; n < 3; n++) expect(responses.take("", true)).toBe("own");
});

describe("a gateway with a constant RequestId", () => {
  test("costs one retry once, and no new connections", async () => {
    const { device, host, fresh, reasons } = setup(inTurn(taken()));
    for (let n = 0; n < 50; n++) await device.publish(message);
    expect(host.sent.length).toBe(51);
    expect(fresh().filter(Boolean).length).toBe(1);
    expect(reasons()).toEqual([]);
  });

  test("may use several RequestIds, each of which costs one retry", async () => {
    const ids = [taken(), taken(), taken()];
    let n = 0;
    const { device, host, reasons } = setup((_request, index, { fresh }) => {
      // The new connection leads to the same of three servers.
      const response = ids[(fresh ? n - 1 : n++) % 3];
      return { ...response, reused: index > 0 && !fresh };
    });
    for (let i = 0; i < 30; i++) await device.publish(message);
    expect(host.sent.length).toBe(33);
    expect(reasons()).toEqual([]);
  });
});

describe("new connections for ten minutes", () => {
  test("follow a repeated RequestId, with one event", async () => {
    const first = taken();
    const { device, host, fresh, reasons } = setup((_request, index, { fresh }) => ({
      ...(index === 0 || index === 1 ? first : taken()),
      reused: index > 0 && !fresh,
    }));
    await device.publish(message);
    await device.publish(message);
    expect(reasons()).toEqual(["repeated"]);
    for (let n = 0; n < 3; n++) await device.publish(message);
    host.advance(TEN_MINUTES_MS - 1);
    await device.publish(message);
    host.advance(1);
    await device.publish(message);
    expect(fresh()).toEqual([false, false, true, true, true, true, true, false]);
    expect(reasons()).toEqual(["repeated"]);
  });

  test("follow surplus bytes, and are prolonged by more", async () => {
    const { device, host, http, fresh, reasons } = setup((_request, index, { fresh }) => ({
      ...taken(),
      reused: index > 0 && !fresh,
    }));
    await device.publish(message);
    http.surplus = 1;
    await device.publish(message);
    host.advance(TEN_MINUTES_MS / 2);
    http.surplus = 2;
    await device.publish(message);
    host.advance(TEN_MINUTES_MS - 1);
    await device.publish(message);
    host.advance(1);
    await device.publish(message);
    http.surplus = 3;
    await device.publish(message);
    expect(fresh()).toEqual([false, true, true, true, false, true]);
    expect(reasons()).toEqual(["surplus", "surplus"]);
  });

  test("do not follow surplus bytes counted earlier by a shared host", async () => {
    const host = virtualHost(() => taken());
    Object.assign(host.http, { surplus: 7 });
    const options = { productId: "P", deviceName: "d", credential: { secret: "s" } };
    await new Device(options, host).publish(message);
    expect(host.sent[0].options.fresh).toBe(false);
  });
});

describe("an early response", () => {
  test("is not accepted as a success: the request is resent on a new connection", async () => {
    const { device, fresh } = setup(inTurn({ ...taken(), early: true }, taken()));
    expect((await device.publish(message)).attempts).toBe(2);
    expect(fresh()).toEqual([false, true]);
  });

  test("is rejected repeatedly, then the request fails", async () => {
    const { device, host } = setup(() => ({ ...taken(), early: true, reused: false }));
    const error = await failure(device.publish(message));
    expect(error).toMatchObject({ code: "RESPONSE_EARLY", errorClass: "server", retryable: true });
    expect(host.sent.length).toBe(2);
  });

  test("is reported as a rejection, and its connection not reused", async () => {
    const { device, fresh } = setup(inTurn({ ...refused("X.PayloadOverLimit"), early: true }, taken()));
    expect(await failure(device.publish(message))).toMatchObject({
      code: "GATEWAY_REJECTED",
      gatewayCode: "X.PayloadOverLimit",
      early: true,
    });
    await device.publish(message);
    expect(fresh()).toEqual([false, true]);
  });

  test.each<[string, () => HttpResponse]>([
    ["a rejection of the message", () => refused("X.PayloadOverLimit")],
    ["a code that is not known", () => refused("Code.Of.Tomorrow")],
    ["a page", () => page(413)],
    ["a portal's page", () => page(200)],
  ])("is not evidence against the message as %s, which is skipped", async (_name, response) => {
    const box = outboxDevice((request) => {
      const { Payload } = JSON.parse(Buffer.from(request.body).toString());
      return Payload === "early" ? { ...response(), early: true } : taken();
    });
    for (const payload of ["early", "a", "b", "c", "d", "e", "f"]) await box.device.enqueue(reading(payload));
    for (let n = 0; n < 3; n++) {
      expect(await box.device.flush()).toMatchObject({ delivered: n === 0 ? 6 : 0, dropped: 0, remaining: 1 });
    }
    expect(box.dropped).toEqual([]);
  });
});

describe("a rejection without a RequestId", () => {
  const rejection = json('{"Response":{"Error":{"Code":"X.PayloadOverLimit","Message":"no"}}}');

  test("is not attributed to a message, and makes the next request use a new connection", async () => {
    const { device, fresh } = setup(inTurn(rejection, taken()));
    expect(await failure(device.publish(message))).toMatchObject({ errorClass: "unknown" });
    await device.publish(message);
    expect(fresh()).toEqual([false, true]);
  });

  test.each([302, 400, 404])("does so as a page with status %d, which can count as evidence", async (status) => {
    const { device, fresh } = setup(inTurn(page(status), taken()));
    await failure(device.publish(message));
    await device.publish(message);
    expect(fresh()).toEqual([false, true]);
  });

  test.each([401, 500, 503])("does not affect the connection as a page with status %d", async (status) => {
    const { device, fresh } = setup(inTurn(page(status), taken()));
    await failure(device.publish(message));
    await device.publish(message);
    expect(fresh()).toEqual([false, false]);
  });
});

test("a request that is resent after a dead connection is still protected", async () => {
  const first = taken();
  const dead = new NetworkError("CONNECTION_RESET", "first-byte", "m", { stale: true });
  const replies = [first, dead, refused("InternalError"), first, taken()];
  const { device } = setup(inTurn(...replies), { retry: { baseDelayMs: 1 } });
  await device.publish(message);
  expect((await device.publish(message)).attempts).toBe(4);
});

function json(body: string): HttpResponse {
  return { status: 200, headers: {}, body: Buffer.from(body) };
}

function text(requestId: string): HttpResponse {
  return json(JSON.stringify({ Response: { RequestId: requestId } }));
}

describe("a RequestId with line feeds", () => {
  test("does not match its parts", () => {
    const own = new OwnResponses();
    expect([own.take("a\nb", true), own.take("a", true), own.take("b", true)]).toEqual(["own", "own", "own"]);
    expect(own.take("a\nb", true)).toBe("repeated");
  });

  test("is dropped like any other, so that memory is bounded", () => {
    const own = new OwnResponses();
    const ids = Array.from({ length: 20 }, (_, i) => `${i}${"\n".repeat(40)}${i}`);
    for (const id of ids) expect(own.take(id, true)).toBe("own");
    // Were they counted as several, those of the last ids would still be there.
    expect([own.take(ids[0], true), own.take("5", true)]).toEqual(["own", "own"]);
    expect(own.take(ids[19], true)).toBe("repeated");
  });
});

describe("the memory of RequestIds", () => {
  const remembering = (...ids: string[]) => {
    const own = new OwnResponses();
    for (const id of ids) own.take(id, false);
    return own;
  };
  const many = (count: number) => Array.from({ length: count }, (_, i) => `id-${i + 1}`);

  test.each([
    [64, 32, "own"],
    [65, 31, "own"],
    [65, 32, "repeated"],
    [66, 32, "repeated"],
    [66, 33, "repeated"],
    [66, 34, "own"],
  ])("with %d characters, one differing at %d: %s", (length, at, verdict) => {
    const id = Array.from({ length }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
    const other = `${id.slice(0, at)}#${id.slice(at + 1)}`;
    expect(remembering(id).take(other, true)).toBe(verdict);
  });

  test("distinguishes one with line feeds from its parts", () => {
    const own = remembering("a\nb");
    expect(["a", "b"].map((id) => own.take(id, true))).toEqual(["own", "own"]);
    expect(own.take("a\nb", true)).toBe("repeated");
  });

  test("does not match parts of another", () => {
    expect(["bc", "ab", "abcd", "b"].map((id) => remembering("abc").take(id, true))).toEqual([
      "own",
      "own",
      "own",
      "own",
    ]);
  });

  test("keeps the last 16 of those repeated by the gateway", () => {
    const [first, ...rest] = many(16).reverse();
    const own = remembering(...many(16), first, ...rest);
    expect(own.take(first, true)).toBe("own");
    own.take("id-17", false);
    own.take("id-17", false);
    expect(own.take(first, true)).toBe("repeated");
  });

  test("does not drop others for a frequently repeated one", () => {
    const own = remembering(...many(16), ...Array.from({ length: 20 }, () => "id-1"));
    expect(own.take("id-2", true)).toBe("repeated");
  });
});
