/** The library under nock, as its users mock the gateway in their own CI. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import nock from "nock";
import { createHost, Device, type Host, NetworkError, ResponseError } from "../../host/node/index.js";
import { failure } from "../support/failure.js";

const region = "ap-guangzhou";
const origin = `https://${region}.gateway.tencentdevices.com`;
const message = { topic: "data", payload: { 温度: 21.5 } };
let host: Host;
let device: Device;

beforeAll(() => {
  nock.disableNetConnect();
  // nock stands in for the gateway, and for no proxy that this machine may have to use.
  host = createHost({ proxy: false });
  device = new Device(
    {
      productId: "G8N9VAAAHB",
      deviceName: "AAAAAA",
      credential: { secret: "AAAAAAAAAAAAAAAAAAAAAA==" },
      region,
      retry: false,
      // Generous for busy machines: these steps do not depend on time.
      timeoutMs: 900_000,
    },
    host,
  );
});
afterEach(() => {
  expect(nock.pendingMocks()).toEqual([]);
  nock.cleanAll();
});
afterAll(() => {
  device.close();
  host.http.close();
  nock.restore();
  nock.enableNetConnect();
});

const publishFailure = (options?: { timeoutMs: number }) => failure(device.publish(message, options));

test("a publish succeeds", async () => {
  nock(origin, {
    reqheaders: {
      "content-type": "application/json; charset=utf-8",
      "x-tc-algorithm": "hmacsha256",
      "x-tc-timestamp": /^\d{10}$/,
      "x-tc-nonce": /^\d{1,10}$/,
      "x-tc-signature": /^[A-Za-z0-9+/]{43}=$/,
    },
  })
    .post("/device/publish", {
      ProductId: "G8N9VAAAHB",
      DeviceName: "AAAAAA",
      TopicName: "G8N9VAAAHB/AAAAAA/data",
      Payload: '{"温度":21.5}',
      Qos: 1,
    })
    .reply(200, { Response: { RequestId: "f4da4f1f" } });
  expect(await device.publish(message)).toMatchObject({ requestId: "f4da4f1f", status: 200 });
});

test("every region has its host", async () => {
  for (const name of ["ap-guangzhou", "us-east", "europe", "ap-bangkok"]) {
    nock(`https://${name}.gateway.tencentdevices.com`)
      .post("/device/publish")
      .reply(200, { Response: { RequestId: name } });
    const other = new Device({ productId: "P", deviceName: "D", credential: { secret: "s" }, region: name }, host);
    expect((await other.publish(message)).requestId).toBe(name);
    other.close();
  }
});

describe("error responses", () => {
  test("rejection by the gateway", async () => {
    const Code = "AuthFailure.SignatureFailure";
    nock(origin)
      .post("/device/publish")
      .reply(200, { Response: { Error: { Code, Message: "no" }, RequestId: "r" } });
    const error = await publishFailure();
    expect(error).toBeInstanceOf(ResponseError);
    expect(error).toMatchObject({ code: "GATEWAY_REJECTED", gatewayCode: Code, requestId: "r", retryable: false });
  });

  test("429 with Retry-After, 500, HTML page, empty body", async () => {
    nock(origin).post("/device/publish").reply(429, "slow down", { "Retry-After": "3" });
    expect(await publishFailure()).toMatchObject({
      code: "HTTP_STATUS",
      status: 429,
      retryAfterSeconds: 3,
      retryable: true,
    });
    nock(origin).post("/device/publish").reply(500, "<html>", { "Content-Type": "text/html" });
    expect(await publishFailure()).toMatchObject({ code: "HTTP_STATUS", status: 500, excerpt: "<html>" });
    nock(origin).post("/device/publish").reply(200, "<html>", { "Content-Type": "text/html" });
    expect(await publishFailure()).toMatchObject({ code: "RESPONSE_NOT_JSON" });
    nock(origin).post("/device/publish").reply(200, "");
    expect(await publishFailure()).toMatchObject({ code: "RESPONSE_EMPTY" });
  });
});

describe("delays", () => {
  test("only a response within the timeout arrives", async () => {
    nock(origin)
      .post("/device/publish")
      .delay(20)
      .reply(200, { Response: { RequestId: "late" } });
    expect((await device.publish(message, { timeoutMs: 120_000 })).requestId).toBe("late");
    nock(origin)
      .post("/device/publish")
      .delay(300_000)
      .reply(200, { Response: { RequestId: "never" } });
    const error = await publishFailure({ timeoutMs: 30 });
    expect(error).toBeInstanceOf(NetworkError);
    expect(error).toMatchObject({ code: "TIMEOUT", retryable: true });
    nock.abortPendingRequests();
  });
});

describe("disconnects", () => {
  test.each([
    ["ECONNRESET", "CONNECTION_RESET"],
    ["ECONNREFUSED", "CONNECTION_REFUSED"],
    ["ENOTFOUND", "NAME_RESOLUTION"],
    ["EPIPE", "CONNECTION_RESET"],
    ["CERT_HAS_EXPIRED", "CERTIFICATE_REJECTED"],
    ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "CERTIFICATE_REJECTED"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "CERTIFICATE_REJECTED"],
    ["EWHATEVER", "NETWORK_FAILED"],
  ])("%s becomes %s", async (code, expected) => {
    nock(origin)
      .post("/device/publish")
      .replyWithError(Object.assign(new Error("nock"), { code }));
    expect((await publishFailure()).code).toBe(expected);
  });
});
