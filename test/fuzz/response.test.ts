/** What a response is taken for: a success only where the gateway said so, whatever stands around it. */

import { expect, test } from "@jest/globals";
import * as fc from "fast-check";
import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpResponse } from "../../src/host.js";
import { ResponseError } from "../../src/index.js";
import { readResponse } from "../../src/request/response.js";

const parameters = { seed: 20261128, numRuns: 700 };

const status = fc.integer({ min: 100, max: 599 });
const okStatus = fc.integer({ min: 200, max: 299 });
const header = fc.option(
  fc.oneof(
    fc.constantFrom("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "7", "99999999999", "-1", ""),
    fc.string(),
  ),
  { nil: undefined },
);
const headers = fc
  .record({ date: header, "retry-after": header })
  .map(
    (all) =>
      Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<string, string>,
  );

/** The success, or the code of the error; anything else that is thrown fails the test. */
function outcome(response: HttpResponse): { requestId: string } | { code: string; gatewayCode: unknown } {
  try {
    const { requestId } = readResponse(response, 0);
    expect(typeof requestId).toBe("string");
    return { requestId };
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    expect(error.message.length).toBeLessThan(1000);
    return { code: error.code, gatewayCode: error.gatewayCode };
  }
}

const space = fc.stringMatching(/^[ \t\r\n]{0,8}$/);
const mark = fc.constantFrom("", "\ufeff");
/** Names that mean nothing to the library, at whatever level they stand. */
const unrelatedMembers = fc.dictionary(
  fc.string().filter((name) => !/^(__proto__|Response|code|returnCode)$/.test(name)),
  fc.jsonValue({ maxDepth: 4 }),
  { maxKeys: 4 },
);
const innerStrangers = fc.dictionary(
  fc.string().filter((name) => !/^(__proto__|RequestId|Error)$/.test(name)),
  fc.jsonValue({ maxDepth: 4 }),
  { maxKeys: 4 },
);
const errorStrangers = fc.dictionary(
  fc.string().filter((name) => !/^(__proto__|Code|Message)$/.test(name)),
  fc.jsonValue({ maxDepth: 4 }),
  { maxKeys: 4 },
);
const id = fc.oneof(fc.uuid(), fc.string({ minLength: 1 }), fc.nat().map(String));
const code = fc.oneof(
  fc.stringMatching(/^[A-Z][A-Za-z]{2,20}(\.[A-Za-z]{2,20})?$/),
  fc.string({ minLength: 1 }),
  fc.integer(),
);

/** An object with these members in an order that the numbers decide. */
function shuffled(members: Record<string, unknown>, order: readonly number[]): Record<string, unknown> {
  const entries = Object.entries(members).map((entry, i) => ({ entry, at: order[i % order.length] }));
  return Object.fromEntries(entries.sort((a, b) => a.at - b.at).map(({ entry }) => entry));
}
const order = fc.array(fc.nat(), { minLength: 1, maxLength: 6 });

/** JSON with white space between its parts, behind a byte order mark, maybe. */
function bytesOf(value: unknown, before: string, between: string, after: string): Uint8Array {
  const json = between === "" ? JSON.stringify(value) : JSON.stringify(value, undefined, between.slice(0, 3));
  return utf8(`${before}${between}${json}${after}`);
}

test("any response is a success or a typed error", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.string({ unit: "binary" }).map((text) => utf8(text)),
    fc.json({ maxDepth: 6 }).map((text) => utf8(text)),
  );
  const property = fc.property(bytes, status, headers, (body, status, headers) => {
    const read = outcome({ status, headers, body });
    if (status < 200 || status > 299) expect(read).toHaveProperty("code");
  });
  fc.assert(property, parameters);
});

test("a success response is recognized with any additional members", () => {
  const property = fc.property(
    id,
    unrelatedMembers,
    innerStrangers,
    order,
    mark,
    space,
    space,
    okStatus,
    headers,
    (requestId, outside, inside, order, mark, before, after, status, headers) => {
      const Response = shuffled({ ...inside, RequestId: requestId }, order);
      const body = bytesOf(shuffled({ ...outside, Response }, order), mark, before, after);
      expect(outcome({ status, headers, body })).toEqual({ requestId });
    },
  );
  fc.assert(property, parameters);
});

test("a rejection keeps its code with any additional members, and is never a success", () => {
  const property = fc.property(
    code,
    fc.option(id, { nil: undefined }),
    unrelatedMembers,
    innerStrangers,
    errorStrangers,
    order,
    mark,
    space,
    status,
    (Code, RequestId, outside, inside, details, order, mark, before, status) => {
      const failure = shuffled({ ...details, Code, Message: "no" }, order);
      const Response = shuffled(
        { ...inside, Error: failure, ...(RequestId === undefined ? {} : { RequestId }) },
        order,
      );
      const body = bytesOf(shuffled({ ...outside, Response }, order), mark, before, "");
      expect(outcome({ status, headers: {}, body })).toEqual({ code: "GATEWAY_REJECTED", gatewayCode: Code });
    },
  );
  fc.assert(property, parameters);
});

test("an error with an invalid code is not a success", () => {
  const wrong = fc.jsonValue().filter((value) => value !== null);
  const property = fc.property(wrong, id, okStatus, (error, RequestId, status) => {
    const body = utf8(JSON.stringify({ Response: { RequestId, Error: error } }));
    expect(outcome({ status, headers: {}, body })).toHaveProperty("code");
  });
  fc.assert(property, parameters);
});

test("a rejection of the retired API is never a success", () => {
  const names = fc.constantFrom(["code", "message"], ["returnCode", "returnMessage"]);
  const notZero = code.filter((value) => value !== 0 && value !== "0");
  const property = fc.property(
    names,
    notZero,
    id,
    unrelatedMembers,
    mark,
    status,
    ([name, said], value, requestId, outside, mark, status) => {
      const body = bytesOf({ ...outside, [said]: "no", requestId, [name]: value }, mark, "", "");
      expect(outcome({ status, headers: {}, body })).toEqual({ code: "GATEWAY_REJECTED", gatewayCode: value });
    },
  );
  fc.assert(property, parameters);
});

test("a truncated success is not a success", () => {
  const property = fc.property(
    id,
    innerStrangers,
    fc.double({ min: 0, max: 1, noNaN: true }),
    (RequestId, inside, part) => {
      const whole = utf8(JSON.stringify({ Response: { ...inside, RequestId } }));
      const body = whole.subarray(0, Math.min(whole.length - 1, Math.floor(whole.length * part)));
      expect(outcome({ status: 200, headers: {}, body })).toHaveProperty("code");
    },
  );
  fc.assert(property, parameters);
});
