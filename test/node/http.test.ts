import type net from "node:net";
import { describe, expect, test } from "@jest/globals";
import { createHttp } from "../../host/node/http.js";
import type { HttpClient } from "../../src/host.js";
import { Aborter, IotHubError } from "../../src/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { LIMIT_MS, limits, quiet, turn, useLimits } from "../support/limits.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";

useLimits();

function client(options?: Parameters<typeof createHttp>[0]): HttpClient {
  const http = createHttp(options);
  cleanups.push(() => http.close());
  return http;
}

const limit = { timeoutMs: LIMIT_MS };
const OK = '{"Response":{"RequestId":"r"}}';

test("sends the bytes unchanged and reads status, headers and body", async () => {
  let seen = "";
  const server = await serve((socket) =>
    onRequest(socket, (text) => {
      seen = text;
      socket.write(httpResponse(OK, "201 Made", "Content-Type: application/json\r\nX-One: a\r\nX-One: b\r\n"));
    }),
  );
  const response = await send(client(), request(server.port), limit);
  expect(response.status).toBe(201);
  expect(response.headers["x-one"]).toBe("a, b");
  expect(Buffer.from(response.body).toString()).toBe(OK);
  expect(seen).toMatch(/^POST \/device\/publish HTTP\/1\.1\r\n/);
  expect(seen).toContain(`Host: 127.0.0.1:${server.port}\r\n`);
  expect(seen).toContain("Content-Length: 9\r\n");
  expect(Buffer.from(seen.slice(-9), "latin1").toString()).toBe('{"温":1}');
});

test("the Host header has no trailing dot, and a port unless it is the scheme's default", async () => {
  const seen: (string | undefined)[] = [];
  const server = await serve((socket) =>
    onRequest(socket, (text) => {
      seen.push(/^Host: (.*)\r$/im.exec(text)?.[1]);
      socket.write(httpResponse(OK));
    }),
  );
  const lookup = (_name: string, options: { all?: boolean }, callback: (...args: unknown[]) => void) =>
    options.all ? callback(null, [{ address: "127.0.0.1", family: 4 }]) : callback(null, "127.0.0.1", 4);
  const http = client({ lookup: lookup as never });
  for (const host of ["gateway.example", "gateway.example."]) {
    await send(http, request(server.port, { host }));
  }
  expect(seen).toEqual(Array(2).fill(`gateway.example:${server.port}`));
});

test("ten requests use one connection, and report it", async () => {
  const server = await serve((socket) => onRequest(socket, () => socket.write(httpResponse(OK))));
  const http = client();
  const reused: (boolean | undefined)[] = [];
  for (let i = 0; i < 10; i++) {
    const { timing } = await send(http, request(server.port), limit);
    reused.push(timing?.reused);
    expect(timing?.connectMs === undefined).toBe(i > 0);
  }
  expect(server.connections).toBe(1);
  expect(reused).toEqual([false, ...Array(9).fill(true)]);
});

test("a fresh request does not reuse a keep-alive connection", async () => {
  const server = await serve((socket) => onRequest(socket, () => socket.write(httpResponse(OK))));
  const http = client();
  const reused: (boolean | undefined)[] = [];
  for (const fresh of [false, false, true, false]) {
    reused.push((await send(http, request(server.port), { ...limit, fresh })).timing?.reused);
  }
  expect(reused).toEqual([false, true, false, true]);
  expect(server.connections).toBe(2);
});

test("unsolicited bytes end the connection and are not used as the next response", async () => {
  const server = await serve((socket, index) =>
    onRequest(socket, () => {
      socket.write(httpResponse(OK));
      if (index === 0) socket.write(httpResponse('{"Response":{"RequestId":"late"}}'));
    }),
  );
  const http = client();
  for (let i = 0; i < 3; i++) {
    const { body } = await send(http, request(server.port), limit);
    expect(Buffer.from(body).toString()).toBe(OK);
  }
  expect(server.connections).toBe(2);
});

test("a dead keep-alive connection is stale, and the next request uses a new one", async () => {
  const server = await serve((socket, index) => {
    let count = 0;
    onRequest(socket, () => {
      if (index === 0 && count++ === 1) socket.resetAndDestroy();
      else socket.write(httpResponse(OK));
    });
  });
  const http = client();
  await send(http, request(server.port), limit);
  const error = await failure(send(http, request(server.port), limit));
  expect(error.code).toBe("CONNECTION_RESET");
  expect(error.stale).toBe(true);
  const { timing } = await send(http, request(server.port), limit);
  expect(timing?.reused).toBe(false);
  expect(server.connections).toBe(2);
});

test("a reset of a new connection is not stale", async () => {
  const server = await serve((socket) => onRequest(socket, () => socket.resetAndDestroy()));
  const error = await failure(send(client(), request(server.port), limit));
  expect([error.code, error.phase, error.stale, error.retryable]).toEqual([
    "CONNECTION_RESET",
    "first-byte",
    false,
    true,
  ]);
});

describe("failures", () => {
  test("connection refused", async () => {
    const server = await serve(() => {});
    await server.close();
    const error = await failure(send(client(), request(server.port), limit));
    expect([error.code, error.phase]).toEqual(["CONNECTION_REFUSED", "connect"]);
    expect(error.message).toContain(String(server.port));
    expect((error.cause as NodeJS.ErrnoException).code).toBe("ECONNREFUSED");
  });

  test("unknown hostname", async () => {
    const lookup: NonNullable<Parameters<typeof createHttp>[0]>["lookup"] = (_name, _options, callback) =>
      callback(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }), "");
    const http = client({ lookup });
    const error = await failure(send(http, request(1, { host: "gateway.example" }), limit));
    expect([error.code, error.phase]).toEqual(["NAME_RESOLUTION", "connect"]);
  });

  test("truncated response", async () => {
    const server = await serve((socket) =>
      onRequest(socket, () => socket.end(httpResponse(OK).replace("Content-Length: 30", "Content-Length: 99"))),
    );
    const error = await failure(send(client(), request(server.port), limit));
    expect([error.code, error.phase]).toEqual(["CONNECTION_RESET", "read"]);
  });

  test("non-HTTP bytes", async () => {
    const server = await serve((socket) => onRequest(socket, () => socket.end("\x00\x01 this is not HTTP\r\n\r\n")));
    const error = await failure(send(client(), request(server.port), limit));
    expect(error.code).toBe("RESPONSE_MALFORMED");
  });

  test("unsolicited upgrade", async () => {
    const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    const server = await serve((socket) => onRequest(socket, () => socket.write(upgrade)));
    const error = await failure(send(client(), request(server.port), limit));
    expect(error.code).toBe("RESPONSE_MALFORMED");
  });

  test("response over the limit, by length and by chunks", async () => {
    const server = await serve((socket) => onRequest(socket, () => socket.write(httpResponse("x".repeat(1001)))));
    const error = await failure(send(client(), request(server.port), { ...limit, maxResponseBytes: 1000 }));
    expect([error.code, error.errorClass]).toEqual(["RESPONSE_TOO_LARGE", "unreadable"]);
    const exact = await send(client(), request(server.port), { ...limit, maxResponseBytes: 1001 });
    expect(exact.body.length).toBe(1001);
    const endless = await serve((socket) =>
      onRequest(socket, () => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        const more = () => socket.writable && socket.write(`400\r\n${"y".repeat(0x400)}\r\n`, more);
        more();
      }),
    );
    expect((await failure(send(client(), request(endless.port), limit))).code).toBe("RESPONSE_TOO_LARGE");
  });

  test("plain HTTP where TLS is expected", async () => {
    const server = await serve((socket) => socket.once("data", () => socket.write(httpResponse(OK))));
    const error = await failure(send(client(), request(server.port, { scheme: "https" }), limit));
    expect([error.code, error.phase]).toEqual(["TLS_FAILED", "tls"]);
  });

  test("closed during the TLS handshake", async () => {
    const server = await serve((socket) => socket.once("data", () => socket.end()));
    const error = await failure(send(client(), request(server.port, { scheme: "https" }), limit));
    expect([error.code, error.phase]).toEqual(["TLS_FAILED", "tls"]);
  });
});

describe("limits", () => {
  /** A server that leaves the client alone in a phase, and tells when. */
  const hang: Record<string, { scheme: "http" | "https"; on: (socket: net.Socket, alone: () => void) => void }> = {
    tls: { scheme: "https", on: (socket, alone) => socket.once("data", alone) },
    "first-byte": { scheme: "http", on: (socket, alone) => onRequest(socket, alone) },
    read: {
      scheme: "http",
      on: (socket, alone) => onRequest(socket, () => socket.write(httpResponse(OK).slice(0, -3), alone)),
    },
    write: {
      scheme: "http",
      on: (socket, alone) => {
        socket.pause();
        alone();
      },
    },
  };
  test.each(Object.entries(hang))("a hang in phase %s ends by the request's timeout", async (phase, { scheme, on }) => {
    let alone = 0;
    const server = await serve((socket) => on(socket, () => alone++));
    const body = new Uint8Array(phase === "write" ? 64 << 20 : 9);
    const sent = failure(send(client(), request(server.port, { scheme, body }), limit));
    while (alone === 0) await turn();
    await quiet();
    limits.pass();
    const error = await sent;
    expect([error.code, error.phase, error.retryable]).toEqual(["TIMEOUT", phase, true]);
  });

  test.each(Object.entries(hang))("a hang in phase %s ends by the phase's timeout", async (phase, { scheme, on }) => {
    const server = await serve((socket) => on(socket, () => {}));
    const body = new Uint8Array(phase === "write" ? 64 << 20 : 9);
    const ownMs = LIMIT_MS - 1000;
    const options = { ...limit, phaseTimeoutsMs: { [phase]: ownMs } };
    const sent = failure(send(client(), request(server.port, { scheme, body }), options));
    while (!limits.set.includes(ownMs)) await turn();
    limits.pass();
    const error = await sent;
    expect([error.code, error.phase]).toEqual(["TIMEOUT", phase]);
  });

  test("a request can be aborted before and during, and by close", async () => {
    const server = await serve(() => {});
    const http = client();
    const options = limit;
    const reason = new IotHubError("CANCELLED", "enough");
    const before = new Aborter();
    before.abort(reason);
    expect(await failure(send(http, request(server.port), { ...options, signal: before.signal }))).toBe(reason);
    const during = new Aborter();
    const sent = failure(send(http, request(server.port), { ...options, signal: during.signal }));
    during.abort(reason);
    expect(await sent).toBe(reason);
    const open = failure(send(http, request(server.port), options));
    http.close();
    expect((await open).code).toBe("CANCELLED");
    expect((await failure(send(http, request(server.port), options))).code).toBe("CANCELLED");
  });
});

test("an invalid trust anchor is rejected at once", () => {
  for (const trustAnchors of ["not a certificate", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"]) {
    expect(() => createHttp({ trustAnchors })).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  }
});
