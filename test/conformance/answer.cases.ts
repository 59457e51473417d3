import { type AnswerError, type HttpResponse, readAnswer, utf8 } from "../../src/index.js";
import type { Case } from "./case.js";

function response(body: string | Uint8Array, changes: Partial<HttpResponse> = {}): HttpResponse {
  return {
    status: 200,
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? utf8(body) : body,
    ...changes,
  };
}

function repeated(text: string, length: number): Uint8Array {
  const one = utf8(text);
  const bytes = new Uint8Array(length);
  for (let at = 0; at + one.length <= length; at += one.length) bytes.set(one, at);
  return bytes;
}

export const cases: readonly Case[] = [
  {
    name: "all three shapes of success",
    run(check) {
      const id = "f4da4f1f-d72e-40f1-0000-349fc0072ba0";
      for (const body of [
        `{"Response":{"RequestId":"${id}"}}`,
        `{"code":0,"message":"","requestId":"${id}"}`,
        `{"returnCode":0,"returnMessage":"success","requestId":"${id}"}`,
      ]) {
        check.equal(readAnswer(response(body)).requestId, id, body);
      }
    },
  },
  {
    name: "all three shapes of refusal, their codes untouched",
    run(check) {
      const refusals: [string, string | number, string][] = [
        ['{"Response":{"Error":{"Code":"Some.Code_漢","Message":"why"},"RequestId":"r"}}', "Some.Code_漢", "why"],
        ['{"code":1010,"message":"Check signature failed","requestId":7}', 1010, "Check signature failed"],
        ['{"returnCode":2000,"returnMessage":"no"}', 2000, "no"],
      ];
      for (const [body, code, message] of refusals) {
        for (const status of [200, 401, 500]) {
          const error = check.throws("GATEWAY_REJECTED", () => readAnswer(response(body, { status }))) as AnswerError;
          check.equal(error.gatewayCode, code);
          check.equal(error.gatewayMessage, message);
          check.equal(error.status, status);
        }
      }
    },
  },
  {
    name: "everything else is a typed error",
    run(check) {
      const answers: [string, HttpResponse][] = [
        ["ANSWER_EMPTY", response("")],
        ["ANSWER_NOT_JSON", response("<html>login</html>", { headers: { "content-type": "text/html" } })],
        ["ANSWER_NOT_JSON", response("<html>")],
        ["ANSWER_NOT_JSON", response('{"Response":{"RequestId":"x"')],
        ["ANSWER_NOT_JSON", response(Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x7d]))],
        // A device's stack does not last for what follows; its answer must be an error, not a reset.
        ["ANSWER_NOT_JSON", response(repeated("[", 10_000))],
        ["ANSWER_NOT_JSON", response(repeated('{"a":', 10_000))],
        ["ANSWER_UNKNOWN", response("{}")],
        ["ANSWER_UNKNOWN", response('{"Response":{}}')],
        ["ANSWER_UNKNOWN", response('{"Response":null}')],
        ["HTTP_STATUS", response("Bad Gateway", { status: 502 })],
        ["HTTP_STATUS", response("", { status: 204 + 200 })],
      ];
      for (const [code, answer] of answers) check.throws(code, () => readAnswer(answer), code);
    },
  },
  {
    name: "an excerpt is whole characters, and bounded",
    run(check) {
      for (const text of ["漢".repeat(100), `a${"漢".repeat(100)}`, `ab${"漢".repeat(100)}`, "😀".repeat(80)]) {
        const body = utf8(text);
        const error = check.throws("ANSWER_NOT_JSON", () => readAnswer(response(body))) as AnswerError;
        const excerpt = error.excerpt ?? "";
        check.ok(excerpt.length > 40 && excerpt.length <= 200, "its length");
        check.ok(text.startsWith(excerpt), excerpt);
      }
    },
  },
  {
    name: "the gateway's clock, and how long to wait",
    run(check) {
      const read = (headers: Record<string, string>) => {
        const answer = response("no", { status: 429, headers });
        const error = check.throws("HTTP_STATUS", () => readAnswer(answer)) as AnswerError;
        check.ok(error.retryable, "retryable");
        return [error.dateMs, error.retryAfterSeconds];
      };
      const date = "Fri, 27 Dec 2024 08:05:44 GMT";
      check.equal(read({ date, "retry-after": "30" }), [1735286744000, 30]);
      check.equal(read({ date, "retry-after": "Fri, 27 Dec 2024 08:06:00 GMT" }), [1735286744000, 16]);
      check.equal(read({ date: "yesterday", "retry-after": "soon" }), [undefined, undefined]);
      check.equal(read({ date: "Tue, 19 Jan 2038 03:14:08 GMT" }), [2147483648000, undefined]);
    },
  },
];
