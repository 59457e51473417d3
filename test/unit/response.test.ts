import { describe, expect, test } from "@jest/globals";
import { ResponseError } from "../../src/index.js";
import { readResponse } from "../../src/request/response.js";
import { response, success } from "../support/fake-host.js";

type Changes = Parameters<typeof response>[1];

function refusal(body: string | Uint8Array, changes?: Changes): ResponseError {
  try {
    readResponse(response(body, changes));
  } catch (error) {
    expect(error).toBeInstanceOf(ResponseError);
    return error as ResponseError;
  }
  throw new Error("readResponse took it");
}

describe("a success response", () => {
  test.each([
    ["today's shape", success, "f4da4f1f-d72e-40f1-0000-349fc0072ba0"],
    ["Error: null", '{"Response":{"Error":null,"RequestId":"r"}}', "r"],
    ["the retired code", '{"code":0,"message":"","requestId":12345}', "12345"],
    ["the retired returnCode", '{"returnCode":0,"returnMessage":"success"}', ""],
  ])("%s", (_name, body, requestId) => {
    expect(readResponse(response(body)).requestId).toBe(requestId);
  });

  test("without a Content-Type, and with text/json", () => {
    expect(readResponse(response(success, { headers: {} })).status).toBe(200);
    expect(readResponse(response(success, { headers: { "content-type": "text/json" } })).status).toBe(200);
  });

  test("members beyond the RequestId", () => {
    const { content } = readResponse(response('{"Response":{"Len":53,"Payload":"s6FB","RequestId":"r"}}'));
    expect(content).toMatchObject({ Len: 53, Payload: "s6FB" });
  });
});

describe("the gateway's rejections", () => {
  test.each([
    ['{"Response":{"Error":{"Code":"A.B","Message":"no"},"RequestId":"r"}}', "A.B", "no", "r"],
    ['{"code":1010,"message":"Check signature failed","requestId":7}', 1010, "Check signature failed", "7"],
    ['{"returnCode":2000,"returnMessage":"bad"}', 2000, "bad", undefined],
    ['{"Response":{"Error":{"Code":"某种错误"},"RequestId":"r"}}', "某种错误", undefined, "r"],
  ])("%s", (body, gatewayCode, gatewayMessage, requestId) => {
    const error = refusal(body);
    expect(error).toMatchObject({ code: "GATEWAY_REJECTED", gatewayCode, status: 200, retryable: false });
    expect(error.gatewayMessage).toBe(gatewayMessage);
    expect(error.requestId).toBe(requestId);
  });

  test("a code keeps its value; the message has no control characters and a full stop", () => {
    const code = `X\u001b[31m\n${"y".repeat(500)}`;
    const error = refusal(JSON.stringify({ Response: { Error: { Code: code }, RequestId: "r" } }));
    expect(error.gatewayCode).toBe(code);
    expect(error.message).not.toMatch(/[\u0000-\u001f]/);
    expect(error.message.length).toBeLessThan(300);
  });

  test("temporary failures are retryable", () => {
    const body = (code: string) => `{"Response":{"Error":{"Code":"${code}","Message":"m"},"RequestId":"r"}}`;
    expect(refusal(body("InternalError")).retryable).toBe(true);
    expect(refusal(body("RequestLimitExceeded.Device")).retryable).toBe(true);
    expect(refusal(body("AuthFailure.SignatureFailure")).retryable).toBe(false);
    expect(refusal(body("AuthFailure.SignatureFailure"), { status: 503 }).retryable).toBe(true);
  });
});

describe("any other response", () => {
  test.each<[string, string | Uint8Array, Changes, string]>([
    ["empty", "", {}, "RESPONSE_EMPTY"],
    ["a page", "<html>login</html>", { headers: { "content-type": "text/html" } }, "RESPONSE_NOT_JSON"],
    ["a page without type", "<html>login</html>", { headers: {} }, "RESPONSE_NOT_JSON"],
    ["truncated JSON", success.slice(0, -2), {}, "RESPONSE_NOT_JSON"],
    ["no UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d), {}, "RESPONSE_NOT_JSON"],
    ["deep nesting", `{"Response":${"[".repeat(8000)}`, {}, "RESPONSE_NOT_JSON"],
    ["an array", "[]", {}, "RESPONSE_NOT_JSON"],
    ["null", "null", {}, "RESPONSE_NOT_JSON"],
    ["another object", '{"ok":true}', {}, "RESPONSE_UNEXPECTED"],
    ["no RequestId", '{"Response":{}}', {}, "RESPONSE_UNEXPECTED"],
    ["Error without Code", '{"Response":{"Error":{},"RequestId":"r"}}', {}, "RESPONSE_UNEXPECTED"],
    ["Error as text", '{"Response":{"Error":"x","RequestId":"r"}}', {}, "RESPONSE_UNEXPECTED"],
    ["success under status 500", success, { status: 500 }, "HTTP_STATUS"],
    ["404", "not found", { status: 404 }, "HTTP_STATUS"],
    ["empty 502", "", { status: 502 }, "HTTP_STATUS"],
    ["a redirect", "", { status: 302 }, "HTTP_STATUS"],
  ])("%s", (_name, body, changes, code) => {
    const error = refusal(body, changes);
    expect(error.code).toBe(code);
    expect(error.status).toBe(changes?.status ?? 200);
    expect(error.excerpt === undefined).toBe(body.length === 0);
  });

  test("HTTP errors are retryable depending on the status", () => {
    for (const [status, retryable] of [
      [400, false],
      [404, true],
      [408, true],
      [429, true],
      [500, true],
    ] as const) {
      expect(refusal("x", { status }).retryable).toBe(retryable);
    }
  });

  test("an excerpt is limited, printable and cut between characters", () => {
    const error = refusal(`\u001b[2J${"度".repeat(300)}`, { headers: { "content-type": "text/html" } });
    expect(error.excerpt?.length).toBeLessThanOrEqual(200);
    expect(error.excerpt).toMatch(/^ \[2J度+$/);
    expect(refusal(Uint8Array.of(0x41, 0xff, 0x42, 0x00)).excerpt).toBe("A.B ");
  });
});

describe("headers", () => {
  const date = "Mon, 23 Nov 2026 04:05:06 GMT";
  const read = (headers: Record<string, string>) => refusal("x", { status: 429, headers });

  test("Date becomes the gateway's clock", () => {
    expect(read({ date }).dateMs).toBe(Date.parse(date));
    expect(read({ date: "Mon, 23 Xyz 2026 04:05:06 GMT" }).dateMs).toBeUndefined();
    expect(read({ date: "Mon, 23 anF 2026 04:05:06 GMT" }).dateMs).toBeUndefined();
    expect(read({ date: "2026-11-23T04:05:06Z" }).dateMs).toBeUndefined();
    expect(read({}).dateMs).toBeUndefined();
  });

  test("Retry-After in seconds or as a date", () => {
    expect(read({ "retry-after": "7" }).retryAfterSeconds).toBe(7);
    expect(read({ "retry-after": "Mon, 23 Nov 2026 04:06:06 GMT", date }).retryAfterSeconds).toBe(60);
    expect(read({ "retry-after": "Mon, 23 Nov 2026 04:00:00 GMT", date }).retryAfterSeconds).toBe(0);
    expect(read({ "retry-after": "soon" }).retryAfterSeconds).toBeUndefined();
    expect(read({ "retry-after": "-1" }).retryAfterSeconds).toBeUndefined();
  });
});
