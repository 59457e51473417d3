/** Errors as the runtimes' `fetch` reports them: Node 20 to 26, Deno 2.9, Bun 1.4, workerd 2026-11. */

import { describe, expect, test } from "@jest/globals";
import { classify } from "../../host/fetch/classify.js";
import { IotHubError, NetworkError } from "../../src/index.js";
import { request } from "../support/servers.js";

const peer = request(8443, { host: "gateway.test" });

/** An error as a runtime makes it: its cause has another realm's classes, which do not matter. */
const failed = (message: string, cause?: object) =>
  cause === undefined ? new TypeError(message) : new TypeError(message, { cause });
const coded = (code: string, message = code) => Object.assign(new Error(message), { code });
const named = (name: string, message: string) => Object.assign(new Error(message), { name });
const deno = (detail: string) =>
  failed("fetch failed", new Error(`error sending request for url (https://gateway.test:8443/): ${detail}`));

describe("before the response", () => {
  const cases: [string, unknown, string][] = [
    ["Node: unknown name", failed("fetch failed", coded("ENOTFOUND")), "NAME_RESOLUTION"],
    ["Node: resolver down", failed("fetch failed", coded("EAI_AGAIN")), "NAME_RESOLUTION"],
    ["Deno: unknown name", deno("client error (Connect): dns error: failed to lookup address"), "NAME_RESOLUTION"],
    ["Bun: unknown name", coded("ENOTFOUND", "getaddrinfo ENOTFOUND gateway.test"), "NAME_RESOLUTION"],
    ["Node: refused", failed("fetch failed", coded("ECONNREFUSED")), "CONNECTION_REFUSED"],
    [
      "Node: refused at each address",
      failed("fetch failed", new AggregateError([coded("ECONNREFUSED"), coded("ENETUNREACH")])),
      "CONNECTION_REFUSED",
    ],
    [
      "Deno: refused",
      deno("client error (Connect): tcp connect error: Connection refused (os error 111)"),
      "CONNECTION_REFUSED",
    ],
    ["Deno: not permitted", named("NotCapable", 'Requires net access to "gateway.test:8443"'), "CONNECTION_REFUSED"],
    ["Bun: refused", coded("ECONNREFUSED", "Unable to connect."), "CONNECTION_REFUSED"],
    ["older Bun: refused", coded("ConnectionRefused", "Unable to connect."), "CONNECTION_REFUSED"],
    ["Node: connect timeout", failed("fetch failed", coded("UND_ERR_CONNECT_TIMEOUT")), "TIMEOUT"],
    ["Node: self-signed", failed("fetch failed", coded("DEPTH_ZERO_SELF_SIGNED_CERT")), "CERTIFICATE_REJECTED"],
    ["Node: unknown CA", failed("fetch failed", coded("UNABLE_TO_VERIFY_LEAF_SIGNATURE")), "CERTIFICATE_REJECTED"],
    ["Node: another name", failed("fetch failed", coded("ERR_TLS_CERT_ALTNAME_INVALID")), "CERTIFICATE_REJECTED"],
    [
      "Deno: unknown CA",
      deno("client error (Connect): invalid peer certificate: UnknownIssuer"),
      "CERTIFICATE_REJECTED",
    ],
    ["Bun: expired", coded("CERT_HAS_EXPIRED", "certificate has expired"), "CERTIFICATE_REJECTED"],
    ["Node: no TLS", failed("fetch failed", coded("ERR_SSL_WRONG_VERSION_NUMBER")), "TLS_FAILED"],
    [
      "Node: closed in the handshake",
      failed("fetch failed", coded("ECONNRESET", "disconnected before secure TLS connection was established")),
      "TLS_FAILED",
    ],
    ["Deno: closed in the handshake", deno("client error (Connect): tls handshake eof"), "TLS_FAILED"],
    ["Node: not HTTP", failed("fetch failed", coded("HPE_INVALID_CONSTANT")), "RESPONSE_MALFORMED"],
    ["Node 26: not HTTP", failed("fetch failed", named("HTTPParserError", "Expected HTTP/")), "RESPONSE_MALFORMED"],
    ["Deno: not HTTP", deno("client error (SendRequest): invalid HTTP version parsed"), "RESPONSE_MALFORMED"],
    ["Bun: not HTTP", coded("Malformed_HTTP_Response"), "RESPONSE_MALFORMED"],
    ["Node: reset", failed("fetch failed", coded("ECONNRESET", "read ECONNRESET")), "CONNECTION_RESET"],
    ["Node: closed", failed("fetch failed", coded("UND_ERR_SOCKET", "other side closed")), "CONNECTION_RESET"],
    ["Deno: reset", failed("fetch failed", new Error("Connection reset by peer (os error 104)")), "CONNECTION_RESET"],
    [
      "Deno: closed",
      deno("client error (SendRequest): connection closed before message completed"),
      "CONNECTION_RESET",
    ],
    ["Bun: closed", coded("ECONNRESET", "The socket connection was closed unexpectedly."), "CONNECTION_RESET"],
    ["workerd", new Error("Network connection lost."), "NETWORK_FAILED"],
    ["workerd: unknown CA", new Error("internal error; reference = ataq33i0dfie"), "NETWORK_FAILED"],
    ["Chrome", failed("Failed to fetch"), "NETWORK_FAILED"],
    ["Safari", failed("Load failed"), "NETWORK_FAILED"],
    ["no error at all", "lost", "NETWORK_FAILED"],
  ];
  test.each(cases)("%s", (_name, cause, code) => {
    const error = classify(cause, "connect", peer, false);
    expect(error).toBeInstanceOf(NetworkError);
    expect(error).toMatchObject({ code, phase: "connect", stale: false, retryable: true, cause });
    expect(error.message).toMatch(/^[A-Z].*\.$/);
  });

  test.each([
    ["Node", failed("fetch failed", new Error("bad port"))],
    ["Deno", failed("Fetch failed: Requests to port 6667 are blocked")],
  ])("%s: a port that no attempt would ever reach is not retried", (_name, cause) => {
    expect(classify(cause, "connect", peer, true)).toMatchObject({ code: "INVALID_URL", retryable: false });
  });

  test.each([
    ["Node", failed("fetch failed", coded("UND_ERR_SOCKET"))],
    ["Bun", coded("ECONNRESET")],
    ["workerd", new Error("Network connection lost.")],
  ])("%s: a closed connection may have been a keep-alive connection, and is resent once", (_name, cause) => {
    expect(classify(cause, "connect", peer, true)).toMatchObject({ stale: true });
    expect(classify(cause, "connect", peer, false)).toMatchObject({ stale: false });
    expect(classify(cause, "read", peer, true)).toMatchObject({ code: "CONNECTION_RESET", stale: false });
  });

  test("nothing else is resent at once", () => {
    for (const code of ["ECONNREFUSED", "ENOTFOUND", "CERT_HAS_EXPIRED", "EPROTO", "HPE_INVALID_VERSION"]) {
      expect(classify(coded(code), "connect", peer, true)).toMatchObject({ stale: false });
    }
    expect(classify(failed("Failed to fetch"), "connect", peer, true)).toMatchObject({ stale: false });
  });
});

describe("in the response's body", () => {
  test.each([
    ["Node: cut off", failed("terminated", coded("UND_ERR_SOCKET", "other side closed")), "CONNECTION_RESET"],
    ["Node: chunk size", failed("terminated", coded("HPE_INVALID_CHUNK_SIZE")), "RESPONSE_MALFORMED"],
    ["Node: two lengths", failed("terminated", coded("UND_ERR_RES_CONTENT_LENGTH_MISMATCH")), "RESPONSE_MALFORMED"],
    ["Node: gzip", failed("terminated", coded("Z_DATA_ERROR")), "RESPONSE_MALFORMED"],
    ["Deno", failed("error reading a body from connection"), "CONNECTION_RESET"],
    ["Bun: chunk size", coded("InvalidHTTPResponse"), "RESPONSE_MALFORMED"],
    ["workerd: gzip", failed("Gzip decompression failed."), "RESPONSE_MALFORMED"],
    ["workerd: cut off", new Error("Network connection lost."), "CONNECTION_RESET"],
  ])("%s", (_name, cause, code) => {
    expect(classify(cause, "read", peer, true)).toMatchObject({ code, phase: "read", stale: false });
  });
});

test("an error of the library passes unchanged", () => {
  const error = new IotHubError("CANCELLED", "Closed.");
  expect(classify(error, "read", peer, true)).toBe(error);
});

test("a chain of causes without end is read up to a limit", () => {
  const loop: { cause?: unknown; message: string } = { message: "round and round" };
  loop.cause = loop;
  expect(classify(loop, "connect", peer, false)).toMatchObject({ code: "NETWORK_FAILED" });
});
