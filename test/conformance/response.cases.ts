import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpResponse } from "../../src/host.js";
import type { ResponseError } from "../../src/index.js";
import { readResponse } from "../../src/request/response.js";
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
        check.equal(readResponse(response(body)).requestId, id, body);
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
          const error = check.throws("GATEWAY_REJECTED", () =>
            readResponse(response(body, { status })),
          ) as ResponseError;
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
      const replies: [string, HttpResponse][] = [
        ["RESPONSE_EMPTY", response("")],
        ["RESPONSE_NOT_JSON", response("<html>login</html>", { headers: { "content-type": "text/html" } })],
        ["RESPONSE_NOT_JSON", response("<html>")],
        ["RESPONSE_NOT_JSON", response('{"Response":{"RequestId":"x"')],
        ["RESPONSE_NOT_JSON", response(Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x7d]))],
        // A device's stack does not last for what follows; its response must be an error, not a reset.
        ["RESPONSE_NOT_JSON", response(repeated("[", 10_000))],
        ["RESPONSE_NOT_JSON", response(repeated('{"a":', 10_000))],
        ["RESPONSE_UNEXPECTED", response("{}")],
        ["RESPONSE_UNEXPECTED", response('{"Response":{}}')],
        ["RESPONSE_UNEXPECTED", response('{"Response":null}')],
        ["HTTP_STATUS", response("Bad Gateway", { status: 502 })],
        ["HTTP_STATUS", response("", { status: 204 + 200 })],
      ];
      for (const [code, reply] of replies) check.throws(code, () => readResponse(reply), code);
    },
  },
  {
    name: "an excerpt is whole characters, and bounded",
    run(check) {
      for (const text of ["漢".repeat(100), `a${"漢".repeat(100)}`, `ab${"漢".repeat(100)}`, "😀".repeat(80)]) {
        const body = utf8(text);
        const error = check.throws("RESPONSE_NOT_JSON", () => readResponse(response(body))) as ResponseError;
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
        const reply = response("no", { status: 429, headers });
        const error = check.throws("HTTP_STATUS", () => readResponse(reply)) as ResponseError;
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
  {
    name: "a byte order mark, white space, other members and their order change nothing",
    run(check) {
      const id = "f4da4f1f-d72e-40f1-0000-349fc0072ba0";
      const error = '"Error":{"Message":"why","Extra":[{"Code":"No"}],"Code":"Yes"}';
      for (const [before, after] of [
        ["", ""],
        ["\ufeff", "\n"],
        ["\ufeff \t\r\n", " \t\r\n"],
      ]) {
        const wrap = (inner: string) =>
          response(`${before}{ "a": [1, {}], "Response" : ${inner} , "z": null }${after}`);
        check.equal(readResponse(wrap(`{"Error":null,"x":{"RequestId":"no"},"RequestId":"${id}"}`)).requestId, id);
        for (const inner of [`{${error},"RequestId":"${id}"}`, `{"RequestId":"${id}",${error}}`]) {
          const refused = check.throws("GATEWAY_REJECTED", () => readResponse(wrap(inner))) as ResponseError;
          check.equal([refused.gatewayCode, refused.gatewayMessage, refused.requestId], ["Yes", "why", id]);
        }
      }
      // Only one mark, and only at the beginning.
      for (const body of ["\ufeff\ufeff{}", "{}\ufeff", " \ufeff{}"]) {
        check.throws("RESPONSE_NOT_JSON", () => readResponse(response(body)), body);
      }
    },
  },
  {
    name: "brackets inside of texts are no nesting",
    run(check) {
      for (const text of ["[".repeat(70), "{".repeat(200), '\\"['.repeat(70), `${"\\\\".repeat(3)}${"[".repeat(70)}`]) {
        const refused = `{"Response":{"Error":{"Code":"Yes","Message":"${text}"},"RequestId":"r"}}`;
        const error = check.throws("GATEWAY_REJECTED", () => readResponse(response(refused)), text) as ResponseError;
        check.equal(error.gatewayMessage, JSON.parse(`"${text}"`));
        check.equal(readResponse(response(`{"Response":{"x":"${text}","RequestId":"r"}}`)).requestId, "r");
      }
    },
  },
  {
    name: "64 levels are read, and 65 are not, however many brackets there are",
    run(check) {
      const nested = (levels: number) =>
        `{"Response":{"x":${"[".repeat(levels - 2)}${"]".repeat(levels - 2)},"RequestId":"r"}}`;
      check.equal(readResponse(response(nested(64))).requestId, "r");
      check.throws("RESPONSE_NOT_JSON", () => readResponse(response(nested(65))));
      check.equal(readResponse(response(`{"Response":{"x":[${"[],".repeat(200)}0],"RequestId":"r"}}`)).requestId, "r");
    },
  },
  {
    name: "a RequestId beyond 2^53 keeps all of its digits",
    run(check) {
      for (const id of ["9007199254740991", "9007199254740993", "18446744073709551615", "-9007199254740995", "7"]) {
        const success = `{"code":0,"message":"","requestId": ${id} }`;
        check.equal(readResponse(response(success)).requestId, id);
        check.equal(readResponse(response(`{"Response":{"RequestId":${id},"x":1}}`)).requestId, id);
      }
    },
  },
  {
    name: "a retired shape is a success only with all that it carried",
    run(check) {
      check.equal(readResponse(response('{"returnCode":0,"returnMessage":"success"}')).requestId, "");
      check.equal(readResponse(response('{"code":"0","message":"","requestId":"r"}')).requestId, "r");
      for (const body of [
        '{"code":0}',
        '{"code":0,"message":"ok"}',
        '{"code":0,"requestId":"r"}',
        '{"code":0,"message":"ok","requestId":""}',
        '{"code":0,"msg":"ok","data":{"requestId":"r"}}',
        '{"returnCode":0}',
        '{"Code":0,"Message":"","RequestId":"r"}',
      ]) {
        check.throws("RESPONSE_UNEXPECTED", () => readResponse(response(body)), body);
      }
    },
  },
  {
    name: "dates are read in the three forms of RFC 9110 section 5.6.7",
    run(check) {
      const read = (date: string) => {
        const reply = response("no", { status: 503, headers: { date } });
        return (check.throws("HTTP_STATUS", () => readResponse(reply)) as ResponseError).dateMs;
      };
      const forms = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
      for (const form of forms) {
        check.equal(read(form), 784111777000, form);
        check.equal(read(`${form}, ${form}`), 784111777000, `${form}, twice`);
      }
      check.equal(read("Thursday, 26-Nov-26 10:00:00 GMT"), 1795687200000);
      check.equal(read("Sat Nov 28 10:00:00 2026"), 1795860000000);
      for (const other of [
        `${forms[0]}, Mon, 07 Nov 1994 08:49:37 GMT`,
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "784111777",
        "",
      ]) {
        check.equal(read(other), undefined, other);
      }
    },
  },
  {
    name: "a Retry-After is seconds or a date, by the own clock where there is no Date",
    run(check) {
      const nowMs = 1735286744000;
      const read = (value: string, date?: string) => {
        const headers: Record<string, string> = { "retry-after": value };
        if (date !== undefined) headers.date = date;
        const reply = response("busy", { status: 503, headers });
        return (check.throws("HTTP_STATUS", () => readResponse(reply, nowMs)) as ResponseError).retryAfterSeconds;
      };
      const date = "Fri, 27 Dec 2024 08:05:40 GMT";
      for (const [value, seconds, own] of [
        ["0", 0, 0],
        ["007", 7, 7],
        ["99999999999", 2147483647, 2147483647],
        ["9".repeat(400), 2147483647, 2147483647],
        ["Fri, 27 Dec 2024 08:06:00 GMT", 20, 16],
        ["Friday, 27-Dec-24 08:06:00 GMT", 20, 16],
        ["Fri Dec 27 08:06:00 2024", 20, 16],
        ["Fri, 27 Dec 2024 08:00:00 GMT", 0, 0],
        ["1.5", undefined, undefined],
        ["-1", undefined, undefined],
        ["soon", undefined, undefined],
      ] as const) {
        check.equal(read(value, date), seconds, value);
        check.equal(read(value), own, value);
      }
    },
  },
];
