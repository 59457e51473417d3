/** What is read of a response besides its success or refusal: at its limits, and where it is wrong. */

import { describe, expect, test } from "@jest/globals";
import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpResponse } from "../../src/host.js";
import { ResponseError } from "../../src/index.js";
import { readResponse } from "../../src/request/response.js";

/** The error that a response becomes. */
function errorOf(body: string | Uint8Array, changes: Partial<HttpResponse> = {}): ResponseError {
  const headers = { "content-type": "application/json", ...changes.headers };
  try {
    readResponse({ status: 200, ...changes, headers, body: typeof body === "string" ? utf8(body) : body });
  } catch (error) {
    if (error instanceof ResponseError) return error;
    throw error;
  }
  throw new Error("It counted as a success.");
}

const success = '{"Response":{"RequestId":"r"}}';
const rejected = (code: unknown) =>
  JSON.stringify({ Response: { Error: { Code: code, Message: "m." }, RequestId: "r" } });

test.each([300, 301, 304, 399])("HTTP status %d is not a success, whatever the body", (status) => {
  expect(errorOf(success, { status })).toMatchObject({ code: "HTTP_STATUS", status });
});

test("a response that is not from the gateway is retryable", () => {
  for (const body of ["", "<html></html>", '"text"', "[]", "{}", '{"Response":{}}']) {
    expect([body, errorOf(body).retryable]).toEqual([body, true]);
  }
});

test.each([{}, [], true, ""])("%j is not a rejection code", (code) => {
  const error = errorOf(rejected(code));
  expect(error.code).not.toBe("GATEWAY_REJECTED");
  expect(error.gatewayCode).toBeUndefined();
});

test("a full stop of the gateway's message is not doubled", () => {
  expect(errorOf(rejected("InvalidParameterValue")).message).toMatch(/InvalidParameterValue \(m\)\.$/);
});

describe("Retry-After", () => {
  const date = "Sun, 01 Nov 2026 10:00:00 GMT";
  const seconds = (value: string) =>
    errorOf("busy", { status: 503, headers: { "retry-after": value, date } }).retryAfterSeconds;

  test.each([
    ["0", 0],
    ["120", 120],
    ["999999999", 999999999],
    ["Sun, 01 Nov 2026 10:02:00 GMT", 120],
    ["Sun, 01 Nov 2026 09:00:00 GMT", 0],
  ])("%s is %d seconds", (value, expected) => {
    expect(seconds(value)).toBe(expected);
  });

  test.each(["120 s", "12.5", "-1", "Sun, 01 Xxx 2026 10:02:00 GMT", "Sun, 01 anF 2026 10:02:00 GMT", ""])(
    "%j is ignored",
    (value) => {
      expect(seconds(value)).toBeUndefined();
    },
  );
});

describe("the excerpt of an unexpected response", () => {
  const excerpt = (body: string | Uint8Array) => errorOf(body, { status: 502 }).excerpt;

  test("ends between two characters", () => {
    for (let before = 0; before < 4; before++) {
      for (const character of ["é", "温", "😀"]) {
        const size = utf8(character).length;
        const text = "a".repeat(before) + character.repeat(200);
        expect(excerpt(text)).toBe("a".repeat(before) + character.repeat(Math.floor((200 - before) / size)));
      }
    }
  });

  test("replaces non-text bytes", () => {
    const body = new Uint8Array(400).fill(0x61);
    body[190] = 0xff;
    expect(excerpt(body)).toBe(`${"a".repeat(190)}.${"a".repeat(9)}`);
    expect(excerpt(body.subarray(189, 192))).toBe("a.a");
  });
});
