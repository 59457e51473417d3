/** The host over `fetch`, on Node's fetch and on functions that behave like those of other platforms. */

import { describe, expect, test } from "@jest/globals";
import { createHost, type FetchHostOptions, type FetchInit, type FetchResponse } from "../../host/fetch/index.js";
import type { HttpContext, HttpResponse } from "../../src/host.js";
import { Aborter, createMemoryStorage, IotHubError } from "../../src/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";

const OK = '{"Response":{"RequestId":"r"}}';

function client(options?: FetchHostOptions) {
  const host = createHost(options);
  cleanups.push(() => host.close());
  return host;
}

/** A `fetch` that records its arguments and responds as the test says. */
function stub(respond: (init: FetchInit, url: string) => Partial<FetchResponse> | Promise<Partial<FetchResponse>>) {
  const calls: { url: string; init: FetchInit; receiver: unknown }[] = [];
  async function fetch(this: unknown, url: string, init: FetchInit): Promise<FetchResponse> {
    calls.push({ url, init, receiver: this });
    const empty = { status: 200, headers: new Headers(), body: null, arrayBuffer: async () => new ArrayBuffer(0) };
    return { ...empty, ...(await respond(init, url)) } as FetchResponse;
  }
  return { fetch, calls };
}

/** A stream of these chunks. */
function stream(...chunks: string[]) {
  const canceled: unknown[] = [];
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const chunk = chunks.shift();
        if (chunk === undefined) controller.close();
        else controller.enqueue(new TextEncoder().encode(chunk));
      },
      cancel: (reason) => void canceled.push(reason),
    },
    { highWaterMark: 0 },
  );
  return { body, canceled };
}

const text = ({ body }: HttpResponse) => Buffer.from(body).toString();
const peer = request(443, { scheme: "https", host: "gateway.test" });

describe("a request", () => {
  test("goes out unchanged, with Host and Content-Length", async () => {
    let seen = "";
    const server = await serve((socket) =>
      onRequest(socket, (request) => {
        seen = request;
        socket.write(httpResponse(OK, "201 Made", "Content-Type: application/json\r\nX-One: a\r\nX-One: b\r\n"));
      }),
    );
    const response = await send(client(), request(server.port));
    expect(response).toMatchObject({ status: 201, headers: { "x-one": "a, b" } });
    expect(text(response)).toBe(OK);
    expect(seen).toMatch(/^POST \/device\/publish HTTP\/1\.1\r\n/);
    expect(seen).toMatch(new RegExp(`^host: 127\\.0\\.0\\.1:${server.port}\r$`, "im"));
    expect(seen).toMatch(/^content-length: 9\r$/im);
    expect(seen).toMatch(/^x-tc-nonce: 1\r$/im);
    expect(seen).not.toMatch(/^transfer-encoding/im);
    expect(Buffer.from(seen.slice(-9), "latin1").toString()).toBe('{"温":1}');
  });

  test("names the host as signed: without a dot at its end, an IPv6 address in brackets", async () => {
    const { fetch, calls } = stub(() => ({}));
    const host = client({ fetch });
    await send(host, request(443, { scheme: "https", host: "gateway.test." }));
    await send(host, request(8080, { host: "[::1]" }));
    expect(calls.map(({ url }) => url)).toEqual([
      "https://gateway.test:443/device/publish",
      "http://[::1]:8080/device/publish",
    ]);
  });

  // Browsers and workerd: "Illegal invocation".
  test("calls fetch without a receiver", async () => {
    const { fetch, calls } = stub(() => ({}));
    await send(client({ fetch }), peer);
    expect(calls[0].receiver).toBeUndefined();
  });

  test("uses the global fetch of the moment, which tests replace", async () => {
    const { fetch, calls } = stub(() => ({}));
    const host = client();
    const original = globalThis.fetch;
    globalThis.fetch = fetch as unknown as typeof original;
    try {
      await send(host, peer);
    } finally {
      globalThis.fetch = original;
    }
    expect(calls.length).toBe(1);
  });

  test("that needs a new connection says so in the ways that runtimes know", async () => {
    const { fetch, calls } = stub(() => ({}));
    const host = client({ fetch });
    const reused: (boolean | undefined)[] = [];
    for (const fresh of [true, false, true, true]) reused.push((await send(host, peer, { fresh })).reused);
    expect(calls.map(({ init }) => [init.headers.Connection, init.keepalive])).toEqual([
      ["close", false],
      [undefined, undefined],
      ["close", false],
      ["close", false],
    ]);
    // The connection before it may still have served this one; it is closed then.
    expect(reused).toEqual([undefined, undefined, true, undefined]);
  });

  test("whose connection was closed while it was idle is stale", async () => {
    const server = await serve((socket, index) => {
      let count = 0;
      onRequest(socket, () => {
        if (index === 0 && count++ > 0) socket.resetAndDestroy();
        else socket.write(httpResponse(OK));
      });
    });
    const host = client();
    // Node's fetch may have a second connection by then, and take that one.
    let error: { code?: string; stale?: boolean; phase?: string } | undefined;
    for (let i = 0; i < 20 && error === undefined; i++) {
      await send(host, request(server.port)).catch((reason) => {
        error = reason;
      });
    }
    expect(error).toMatchObject({ code: "CONNECTION_RESET", phase: "connect", stale: true });
  });

  test("is not sent on a connection of a fetch that fails at once", async () => {
    const fetch = () => {
      throw new Error("Disallowed operation called within global scope.");
    };
    expect(await failure(send(client({ fetch }), peer))).toMatchObject({ code: "NETWORK_FAILED", phase: "connect" });
  });
});

describe("a response", () => {
  test("reports the phase read, and an empty body has no bytes", async () => {
    const phases: string[] = [];
    const { fetch } = stub(() => ({ status: 204 }));
    const context = { ...idle(), onPhase: (phase: string) => void phases.push(phase) };
    const response = await client({ fetch }).http.send(peer, context);
    expect([response.status, response.body.length, phases]).toEqual([204, 0, ["read"]]);
  });

  test("header names are in lower case, and none reaches the prototype", async () => {
    const headers = new Map([
      ["Retry-After", "3"],
      ["__proto__", "x"],
    ]);
    const { fetch } = stub(() => ({ headers }));
    const response = await send(client({ fetch }), peer);
    expect(Object.entries(response.headers)).toEqual([
      ["retry-after", "3"],
      ["__proto__", "x"],
    ]);
    expect(Object.getPrototypeOf(response.headers)).toBe(Object.prototype);
  });

  test("chunks are joined", async () => {
    const { fetch } = stub(() => ({ body: stream('{"a"', "", ":1}").body }));
    expect(text(await send(client({ fetch }), peer))).toBe('{"a":1}');
  });

  test("that is announced as too large is not read, and its body is cancelled", async () => {
    const { body, canceled } = stream("x");
    const { fetch, calls } = stub(() => ({ body, headers: new Headers({ "content-length": "1001" }) }));
    const error = await failure(send(client({ fetch }), peer, { maxResponseBytes: 1000 }));
    expect(error).toMatchObject({ code: "RESPONSE_TOO_LARGE", phase: "read" });
    expect(canceled.length).toBe(1);
    expect(calls[0].init.signal.aborted).toBe(true);
  });

  test("that grows too large is given up at the limit, and its connection is closed", async () => {
    let closed: (() => void) | undefined;
    const isClosed = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const server = await serve((socket) => {
      socket.on("close", () => closed?.());
      onRequest(socket, () => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Without an end: only the limit ends it.
        for (let i = 0; i < 20; i++) socket.write(`64\r\n${"x".repeat(100)}\r\n`);
      });
    });
    const error = await failure(send(client(), request(server.port), { maxResponseBytes: 1000 }));
    expect(error).toMatchObject({ code: "RESPONSE_TOO_LARGE", phase: "read" });
    await isClosed;
  });

  test("of exactly the limit is accepted", async () => {
    const { fetch } = stub(() => ({ body: stream("x".repeat(600), "y".repeat(400)).body }));
    expect((await send(client({ fetch }), peer, { maxResponseBytes: 1000 })).body.length).toBe(1000);
  });

  test("that a runtime ends early without an error is truncated", async () => {
    const { fetch } = stub(() => ({ body: stream("x").body, headers: new Headers({ "content-length": "2" }) }));
    expect((await failure(send(client({ fetch }), peer))).code).toBe("RESPONSE_TRUNCATED");
  });

  test.each([
    ["an encoded body", { "content-length": "90", "content-encoding": "gzip" }],
    ["a chunked body", { "content-length": "90", "transfer-encoding": "chunked" }],
    ["two lengths in one", { "content-length": "90, 90" }],
  ])("has no announced length: %s", async (_name, headers) => {
    const { fetch } = stub(() => ({ body: stream("x").body, headers: new Headers(headers) }));
    expect(text(await send(client({ fetch }), peer, { maxResponseBytes: 10 }))).toBe("x");
  });

  test("without a stream is read as a whole, within the limit", async () => {
    const bytes = new TextEncoder().encode("0123456789");
    const { fetch } = stub(() => ({ body: undefined, arrayBuffer: async () => bytes.buffer }));
    const host = client({ fetch });
    expect(text(await send(host, peer, { maxResponseBytes: 10 }))).toBe("0123456789");
    expect((await failure(send(host, peer, { maxResponseBytes: 9 }))).code).toBe("RESPONSE_TOO_LARGE");
  });

  test("that cannot be cancelled does not matter", async () => {
    const cancel = () => {
      throw new TypeError("locked");
    };
    const headers = new Headers({ "content-length": "99999999" });
    const { fetch } = stub(() => ({ headers, body: { cancel, getReader: () => undefined as never } }));
    expect((await failure(send(client({ fetch }), peer))).code).toBe("RESPONSE_TOO_LARGE");
    const rejects = stub(() => ({
      headers,
      body: { cancel: async () => cancel(), getReader: () => undefined as never },
    }));
    expect((await failure(send(client({ fetch: rejects.fetch }), peer))).code).toBe("RESPONSE_TOO_LARGE");
  });
});

describe("a redirect", () => {
  test("is a response, and is not followed", async () => {
    let requests = 0;
    const server = await serve((socket) =>
      onRequest(socket, () => {
        requests++;
        socket.write(httpResponse("", "307 Temporary Redirect", "Location: /elsewhere\r\n"));
      }),
    );
    expect((await send(client(), request(server.port))).status).toBe(307);
    expect(requests).toBe(1);
  });

  test("that a browser hides is an error", async () => {
    const { body, canceled } = stream("x");
    const { fetch } = stub(() => ({ status: 0, type: "opaqueredirect", body }));
    expect(await failure(send(client({ fetch }), peer))).toMatchObject({ code: "RESPONSE_MALFORMED", retryable: true });
    expect(canceled.length).toBe(1);
  });

  test("that was followed all the same is an error: the request was not signed for that address", async () => {
    const { fetch } = stub(() => ({ redirected: true }));
    expect((await failure(send(client({ fetch }), peer))).code).toBe("RESPONSE_MALFORMED");
  });
});

/** A context whose signal the test has. */
function idle(aborter = new Aborter()): HttpContext {
  return { signal: aborter.signal, maxResponseBytes: 1000, fresh: false, connectTimeoutMs: 1000, onPhase: () => {} };
}

describe("an abort", () => {
  test("before the request sends nothing", async () => {
    const { fetch, calls } = stub(() => ({}));
    const aborter = new Aborter();
    const reason = new IotHubError("CANCELLED", "Changed my mind.");
    aborter.abort(reason);
    expect(await failure(client({ fetch }).http.send(peer, idle(aborter)))).toBe(reason);
    expect(calls).toEqual([]);
  });

  test("settles at once, even with a fetch that ignores its signal, and a late body is cancelled", async () => {
    let respond: ((response: Partial<FetchResponse>) => void) | undefined;
    const { fetch, calls } = stub(
      () =>
        new Promise((resolve) => {
          respond = resolve;
        }),
    );
    const aborter = new Aborter();
    const sent = failure(client({ fetch }).http.send(peer, idle(aborter)));
    const reason = new IotHubError("CANCELLED", "Changed my mind.");
    aborter.abort(reason);
    expect(await sent).toBe(reason);
    expect(calls[0].init.signal.reason).toBe(reason);
    const { body, canceled } = stream("x");
    const whenCanceled = new Promise<void>((resolve) => {
      canceled.push = (...items) => {
        resolve();
        return Array.prototype.push.apply(canceled, items);
      };
    });
    respond?.({ body });
    await whenCanceled;
    expect(canceled.length).toBe(1);
  });

  test("while the body is read rejects with the signal's reason, and closes the connection", async () => {
    let closed: (() => void) | undefined;
    const isClosed = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const server = await serve((socket) => {
      socket.on("close", () => closed?.());
      onRequest(socket, () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    });
    const aborter = new Aborter();
    const context = { ...idle(aborter), onPhase: () => aborter.abort(reason) };
    const reason = new IotHubError("CANCELLED", "Changed my mind.");
    expect(await failure(client().http.send(request(server.port), context))).toBe(reason);
    await isClosed;
  });

  test("leaves no listener on the signal once a request has settled", async () => {
    let listeners = 0;
    const { signal } = new Aborter();
    const counted = {
      aborted: false,
      addEventListener: (...args: Parameters<typeof signal.addEventListener>) => {
        listeners++;
        signal.addEventListener(...args);
      },
      removeEventListener: (...args: Parameters<typeof signal.removeEventListener>) => {
        listeners--;
        signal.removeEventListener(...args);
      },
    };
    const { fetch } = stub((_init, url) => {
      if (url.includes("fail")) throw new TypeError("fetch failed");
      return {};
    });
    const host = client({ fetch });
    await host.http.send(peer, { ...idle(), signal: counted });
    await failure(host.http.send({ ...peer, host: "fail.test" }, { ...idle(), signal: counted }));
    expect(listeners).toBe(0);
  });
});

test("closing cancels what is pending and what comes later", async () => {
  const { fetch, calls } = stub(() => new Promise(() => {}));
  const host = createHost({ fetch });
  const pending = failure(host.http.send(peer, idle()));
  host.close();
  expect((await pending).code).toBe("CANCELLED");
  expect(calls[0].init.signal.aborted).toBe(true);
  expect((await failure(host.http.send(peer, idle()))).code).toBe("CANCELLED");
  expect(calls.length).toBe(1);
});

describe("createHost", () => {
  test("has no storage by default, and takes one", () => {
    expect(createHost().storage).toBeUndefined();
    const storage = createMemoryStorage();
    expect(createHost({ storage }).storage).toBe(storage);
  });

  test.each([
    ["an unknown option", { store: 1 }],
    ["a storage without its methods", { storage: "/var/lib" }],
    ["a fetch that is not a function", { fetch: {} }],
  ])("rejects %s", (_name, options) => {
    expect(() => createHost(options as FetchHostOptions)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  });

  test.each(["fetch", "AbortController", "crypto"])("says that a platform has no %s", (name) => {
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, name) as PropertyDescriptor;
    Object.defineProperty(globalThis, name, { value: undefined, configurable: true, writable: true });
    try {
      expect(() => createHost()).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    } finally {
      Object.defineProperty(globalThis, name, descriptor);
    }
  });

  test("gives random bytes in any number: one call of the platform gives 65 536", () => {
    const bytes = createHost().random.bytes(200_000);
    expect(bytes.length).toBe(200_000);
    for (const part of [0, 65_536, 131_072, 196_608]) {
      expect(bytes.subarray(part, part + 32).some((byte) => byte !== 0)).toBe(true);
    }
  });

  test("has timers and clocks", async () => {
    const { clock, timer } = createHost();
    const before = clock.monotonicMs();
    const never = timer.set(() => expect("a cleared timer").toBe("not called"), 0);
    timer.clear(never);
    timer.clear(undefined);
    await new Promise<void>((resolve) => timer.set(resolve, 2));
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(before);
    expect(Math.abs(clock.nowMs() - Date.now())).toBeLessThan(60_000);
  });
});
