/** HTTP of the Moddable host on raw sockets, phase by phase, as the SDK's HTTP client and sockets behave. */

import type net from "node:net";
import { beforeEach, describe, expect, test } from "@jest/globals";
import type { ModdableHost } from "../../host/moddable/host.js";
import { Device as HttpDevice } from "../../host/moddable/index-http.js";
import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpRequest, HttpResponse } from "../../src/host.js";
import { Aborter, Device, IotHubError, provision, register } from "../../src/index.js";
import { failure } from "../support/failure.js";
import {
  clock,
  createHttpModdableHost,
  createModdableHost,
  flash,
  network,
  turn,
  until,
  useMachine,
} from "../support/moddable-machine.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";

useMachine();

function client(options?: Parameters<typeof createModdableHost>[0]): ModdableHost {
  return createModdableHost(options);
}

const text = (response: HttpResponse) => Buffer.from(response.body).toString();
const OK = '{"Response":{"RequestId":"r"}}';
const limit = { timeoutMs: 120_000 };

describe.each([
  ["the simulator", true],
  ["lwIP", false],
])("with the order of callbacks of %s", (_name, writableFirst) => {
  beforeEach(() => {
    network.writableFirst = writableFirst;
  });

  test("sends the bytes unchanged and reads status, headers and body", async () => {
    let seen = "";
    const server = await serve((socket) =>
      onRequest(socket, (received) => {
        seen = received;
        socket.write(httpResponse(OK, "201 Made", "Content-Type: application/json\r\nX-One: a\r\n"));
      }),
    );
    const response = await send(client(), request(server.port), limit);
    expect(response.status).toBe(201);
    expect(response.headers).toMatchObject({ "content-type": "application/json", "x-one": "a" });
    expect(text(response)).toBe(OK);
    expect(response.timing).toMatchObject({ reused: false, bytesSent: 9, bytesReceived: 30 });
    expect(seen).toMatch(/^POST \/device\/publish HTTP\/1\.1\r\n/);
    expect(seen).toContain(`\r\nHost: 127.0.0.1:${server.port}\r\n`);
    expect(seen).toMatch(/^content-length: 9\r$/im);
    expect(Buffer.from(seen.slice(-9), "latin1").toString()).toBe('{"温":1}');
  });

  test("a body larger than the socket's buffer arrives whole", async () => {
    let seen = "";
    const server = await serve((socket) =>
      onRequest(socket, (received) => {
        seen = received;
        socket.write(httpResponse(OK));
      }),
    );
    const body = Uint8Array.from({ length: 30000 }, (_, i) => 32 + (i % 90));
    network.sendBuffer = 200;
    const { timing } = await send(client(), request(server.port, { body }), limit);
    expect(timing?.bytesSent).toBe(30000);
    expect(Buffer.from(seen.slice(-30000), "latin1").equals(body)).toBe(true);
  });

  test("ten requests use one connection, and report it", async () => {
    const server = await serve((socket) => onRequest(socket, () => socket.write(httpResponse(OK))));
    const host = client();
    const reused: (boolean | undefined)[] = [];
    for (let i = 0; i < 10; i++) {
      const { timing } = await send(host, request(server.port), limit);
      reused.push(timing?.reused);
      expect(timing?.connectMs === undefined).toBe(i > 0);
    }
    expect(server.connections).toBe(1);
    expect(reused).toEqual([false, ...Array(9).fill(true)]);
    expect((await send(host, request(server.port), { ...limit, fresh: true })).timing?.reused).toBe(false);
    expect(server.connections).toBe(2);
  });

  const large = "z".repeat(3000);
  const shapes: [string, string, string][] = [
    ["of known length", httpResponse(OK), OK],
    ["larger than the receive buffer", httpResponse(large), large],
    ["without a body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""],
    ["with an empty header", `HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok`, "ok"],
    ["with a folded header", `HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok`, "ok"],
    [
      "with a trailer",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nX-Check: 1\r\n\r\n",
      "xyz",
    ],
    [
      "in chunks",
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n${OK.slice(0, 5)}\r\n19;x=1\r\n${OK.slice(5)}\r\n0\r\n\r\n`,
      OK,
    ],
  ];
  test.each(shapes)("a response %s, at once or byte by byte, keeps the connection", async (_name, bytes, body) => {
    const server = await serve((socket) => {
      socket.setNoDelay(true);
      let first = true;
      onRequest(socket, async () => {
        if (first) socket.write(bytes);
        else for (const byte of bytes) await new Promise<void>((resolve) => socket.write(byte, () => resolve()));
        first = false;
      });
    });
    const host = client();
    for (const reused of [false, true, true]) {
      const response = await send(host, request(server.port), limit);
      expect(text(response)).toBe(body);
      expect(response.timing?.reused).toBe(reused);
    }
  });

  test("a response may be ended by the connection", async () => {
    const server = await serve((socket) => onRequest(socket, () => socket.end(`HTTP/1.1 200 OK\r\n\r\n${large}`)));
    const host = client();
    for (let i = 0; i < 2; i++) expect(text(await send(host, request(server.port), limit))).toBe(large);
    expect(server.connections).toBe(2);
  });

  test("a response without a body is complete", async () => {
    const server = await serve((socket) => onRequest(socket, () => socket.write("HTTP/1.1 204 No Content\r\n\r\n")));
    const response = await send(client(), request(server.port), limit);
    expect([response.status, response.body.length]).toEqual([204, 0]);
  });

  test("a response with Connection: close ends the connection", async () => {
    const bytes = httpResponse(OK, "200 OK", "Connection: close\r\n");
    const server = await serve((socket) => onRequest(socket, () => socket.write(bytes)));
    const host = client();
    for (let i = 0; i < 2; i++) {
      expect((await send(host, request(server.port), limit)).timing?.reused).toBe(false);
    }
    expect(server.connections).toBe(2);
  });

  test("unsolicited bytes are not used as the next response", async () => {
    const server = await serve((socket, index) =>
      onRequest(socket, () =>
        socket.write(index === 0 ? httpResponse(OK) + httpResponse("wrong") : httpResponse("right")),
      ),
    );
    const host = client();
    expect(text(await send(host, request(server.port), limit))).toBe(OK);
    expect(text(await send(host, request(server.port), limit))).toBe("right");
    expect(server.connections).toBe(2);
  });

  describe("keep-alive connections", () => {
    test("one that the server has closed is replaced without an error", async () => {
      let served: net.Socket | undefined;
      const server = await serve((socket) => {
        served = socket;
        onRequest(socket, () => socket.write(httpResponse(OK)));
      });
      const host = client();
      await send(host, request(server.port), limit);
      served?.end();
      await until(() => network.open === 0);
      expect((await send(host, request(server.port), limit)).timing?.reused).toBe(false);
    });

    test.each(["resetAndDestroy", "end"] as const)("one that fails by %s of the next request is stale", async (how) => {
      const server = await serve((socket, index) => {
        let count = 0;
        onRequest(socket, () => {
          if (index === 0 && count++ === 1) socket[how]();
          else socket.write(httpResponse(OK));
        });
      });
      const host = client();
      await send(host, request(server.port), limit);
      const error = await failure(send(host, request(server.port), limit));
      expect([error.code, error.stale]).toEqual(["CONNECTION_RESET", true]);
      const { timing } = await send(host, request(server.port), limit);
      expect(timing?.reused).toBe(false);
      expect(server.connections).toBe(2);
    });

    test("one that fails within a response is not stale", async () => {
      const server = await serve((socket) => {
        let count = 0;
        onRequest(socket, () =>
          count++ === 1 ? socket.end(httpResponse(OK).slice(0, -5)) : socket.write(httpResponse(OK)),
        );
      });
      const host = client();
      await send(host, request(server.port), limit);
      const error = await failure(send(host, request(server.port), limit));
      expect([error.code, error.phase, error.stale]).toEqual(["CONNECTION_RESET", "read", false]);
    });
  });

  describe("failures", () => {
    test("connection refused", async () => {
      const server = await serve(() => {});
      await server.close();
      const error = await failure(send(client(), request(server.port), limit));
      expect([error.code, error.phase, error.retryable]).toEqual(["CONNECTION_REFUSED", "connect", true]);
      expect(error.message).toContain(String(server.port));
    });

    test.each(["resetAndDestroy", "end"] as const)("%s before the request was written", async (how) => {
      const server = await serve((socket) => socket.once("data", () => socket[how]()));
      network.peerWindow = 400;
      const body = new Uint8Array(5000);
      const error = await failure(send(client(), request(server.port, { body }), limit));
      expect([error.code, error.phase, error.stale]).toEqual(["CONNECTION_RESET", "write", false]);
    });

    test.each(["resetAndDestroy", "end"] as const)("%s instead of a response", async (how) => {
      const server = await serve((socket) => onRequest(socket, () => socket[how]()));
      const error = await failure(send(client(), request(server.port), limit));
      expect([error.code, error.phase, error.stale]).toEqual(["CONNECTION_RESET", "first-byte", false]);
    });

    test.each(["resetAndDestroy", "end"] as const)("%s in the middle of the headers", async (how) => {
      const server = await serve((socket) =>
        onRequest(socket, () => socket.write(httpResponse(OK).slice(0, 30), () => setImmediate(() => socket[how]()))),
      );
      const error = await failure(send(client(), request(server.port), limit));
      expect(error.code).toBe("CONNECTION_RESET");
      if (how === "end") expect(error.phase).toBe("read");
    });

    test("truncated response", async () => {
      const server = await serve((socket) =>
        onRequest(socket, () => socket.end(httpResponse(OK).replace("Content-Length: 30", "Content-Length: 99"))),
      );
      const error = await failure(send(client(), request(server.port), limit));
      expect([error.code, error.phase]).toEqual(["CONNECTION_RESET", "read"]);
    });

    const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    test.each([
      ["garbage", "\x00\x01 this is not HTTP\r\n\r\n"],
      ["garbage in one word", "nonsense\r\nmore\r\n\r\n"],
      ["a status that is none", "HTTP/1.1 abc Hello\r\nContent-Length: 0\r\n\r\n"],
      ["an upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"],
      ["an invalid length", "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nxyz"],
      ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nxyz"],
      ["an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: br\r\n\r\nxyz"],
      ["an invalid chunk size", `${chunked}zz\r\nxyz\r\n0\r\n\r\n`],
      ["a negative chunk size", `${chunked}-3\r\nxyz\r\n0\r\n\r\n`],
    ])("%s", async (_name, bytes) => {
      const server = await serve((socket) => onRequest(socket, () => socket.write(bytes)));
      const error = await failure(send(client(), request(server.port), limit));
      expect([error.code, error.stale]).toEqual(["RESPONSE_MALFORMED", false]);
      await until(() => network.open === 0);
    });

    test("response over the limit by length, chunks, end or headers", async () => {
      const server = await serve((socket) => onRequest(socket, () => socket.write(httpResponse("x".repeat(1001)))));
      const error = await failure(send(client(), request(server.port), { ...limit, maxResponseBytes: 1000 }));
      expect([error.code, error.errorClass]).toEqual(["RESPONSE_TOO_LARGE", "unreadable"]);
      const exact = await send(client(), request(server.port), { ...limit, maxResponseBytes: 1001 });
      expect(exact.body.length).toBe(1001);
      for (const [head, more] of [
        [chunked, `400\r\n${"y".repeat(0x400)}\r\n`],
        ["HTTP/1.1 200 OK\r\n\r\n", "y".repeat(1000)],
        ["HTTP/1.1 200 OK\r\n", `X-Long: ${"y".repeat(1000)}\r\n`],
        ["HTTP/1.1 200 OK\r\nX-Endless: ", "y".repeat(1000)],
      ]) {
        const endless = await serve((socket) =>
          onRequest(socket, () => {
            socket.write(head);
            const next = () => socket.writable && socket.write(more, next);
            next();
          }),
        );
        expect((await failure(send(client(), request(endless.port), limit))).code).toBe("RESPONSE_TOO_LARGE");
      }
    });
  });

  describe("a response that arrives before the request was written", () => {
    const body = new Uint8Array(5000);

    test("is read, and writing stops", async () => {
      let early = true;
      const server = await serve((socket) =>
        socket.on("data", () => {
          if (early) socket.write(httpResponse(OK, "413 Too Large"));
          early = false;
        }),
      );
      const host = client();
      const response = await send(host, request(server.port, { body }), limit);
      expect([response.status, text(response)]).toEqual([413, OK]);
    });

    test("is read, although the connection ends with it", async () => {
      const server = await serve((socket) => socket.once("data", () => socket.end(httpResponse(OK, "413 Too Large"))));
      network.peerWindow = 400;
      const response = await send(client(), request(server.port, { body }), limit);
      expect([response.status, text(response)]).toEqual([413, OK]);
    });
  });
});

describe("names", () => {
  const named = { host: "gateway.test" };

  test("are resolved with Net.resolve", async () => {
    const server = await serve((socket) =>
      onRequest(socket, (seen) => socket.write(httpResponse(/host: (.*):\d+\r/i.exec(seen)?.[1] ?? ""))),
    );
    network.names.set("gateway.test", "127.0.0.1");
    expect(text(await send(client(), request(server.port, named), limit))).toBe("gateway.test");
    expect(text(await send(client(), request(server.port, { host: "localhost" }), limit))).toBe("localhost");
  });

  test("that are unknown, or cannot be looked up, are errors", async () => {
    const host = client();
    const error = await failure(send(host, request(1, named), limit));
    expect([error.code, error.phase, error.retryable]).toEqual(["NAME_RESOLUTION", "connect", true]);
    network.resolverFull = true;
    expect((await failure(send(host, request(1, named), limit))).code).toBe("NAME_RESOLUTION");
  });

  test("IPv6 addresses are rejected with a reason", async () => {
    const error = await failure(send(client(), request(1, { host: "[::1]" }), limit));
    expect([error.code, error.message]).toEqual(["INVALID_URL", expect.stringContaining("IPv6")]);
  });

  test("https is rejected in a build without TLS", async () => {
    const host = createHttpModdableHost();
    expect((await failure(send(host, request(1, { scheme: "https" }), limit))).code).toBe("INVALID_OPTION");
  });
});

describe("an unsupported endpoint", () => {
  const identity = { productId: "P", deviceName: "D" };
  const credential = { secret: "c2VjcmV0" };
  const productSecret = "s".repeat(16);
  const noTls = {
    code: "INVALID_OPTION",
    message: expect.stringMatching(/manifest\.json instead of manifest-http\.json.*"tencent-iothub-xs" instead of/),
    retryable: false,
  };
  const noIpv6 = { code: "INVALID_URL", message: expect.stringContaining("IPv6") };
  const cases: [string, object, object][] = [
    ["an https url without TLS", { url: "https://gateway.test" }, noTls],
    ["a region without TLS", { region: "europe" }, noTls],
    ["the default region without TLS", {}, noTls],
    ["an IPv6 address", { url: "http://[::1]:8080" }, noIpv6],
  ];

  test.each(cases)("is rejected by the constructor: %s", (_name, endpoint, expected) => {
    const options = { ...identity, credential, ...endpoint };
    for (const make of [
      () => new HttpDevice(options),
      () => new Device(options, createHttpModdableHost()),
      () => new HttpDevice(options, createHttpModdableHost()),
    ]) {
      expect(make).toThrow(expect.objectContaining(expected));
    }
  });

  test.each(cases)("is rejected before a registration: %s", async (_name, endpoint, expected) => {
    const options = { ...identity, productSecret, ...endpoint };
    await expect(HttpDevice.fromProvisioning(options)).rejects.toMatchObject(expected);
    await expect(provision(options, createHttpModdableHost())).rejects.toMatchObject(expected);
    await expect(register(options, createHttpModdableHost())).rejects.toMatchObject(expected);
    // No marker of an interrupted registration.
    expect(flash.steps).toBe(0);
  });

  test("does not exist with TLS, where a region is the default", () => {
    for (const endpoint of [
      {},
      { region: "europe" },
      { url: "https://gateway.test" },
      { url: "http://gateway.test" },
    ]) {
      new Device({ ...identity, credential, ...endpoint }, createModdableHost()).close();
    }
  });
});

describe("time limits, on a stopped clock", () => {
  interface Hang {
    readonly prepare?: (port: number) => void;
    readonly on: (socket: net.Socket, reached: () => void) => void;
    readonly changes?: Partial<HttpRequest>;
  }
  const hangs: Record<string, Hang & { phase: string }> = {
    "name resolution": {
      phase: "connect",
      prepare: () => network.silentNames.add("gateway.test"),
      on: () => {},
      changes: { host: "gateway.test" },
    },
    "the connection": { phase: "connect", prepare: (port) => network.blackHoles.add(port), on: () => {} },
    "the request": {
      phase: "write",
      prepare: () => {
        network.peerWindow = 300;
      },
      on: (socket, reached) => socket.once("data", reached),
      changes: { body: new Uint8Array(5000) },
    },
    "the first byte": { phase: "first-byte", on: (socket, reached) => onRequest(socket, reached) },
    "the headers": {
      phase: "read",
      on: (socket, reached) => onRequest(socket, () => socket.write(httpResponse(OK).slice(0, 20), reached)),
    },
    "the body": {
      phase: "read",
      on: (socket, reached) => onRequest(socket, () => socket.write(httpResponse(OK).slice(0, -3), reached)),
    },
    "the end of the connection": {
      phase: "read",
      on: (socket, reached) => onRequest(socket, () => socket.write("HTTP/1.1 200 OK\r\n\r\nabc", reached)),
    },
  };

  test.each(Object.keys(hangs))("waiting for %s ends by the total and by the phase's timeout", async (name) => {
    const { phase, prepare, on, changes } = hangs[name];
    let reached = prepare !== undefined && phase === "connect" ? 2 : 0;
    const server = await serve((socket) => on(socket, () => reached++));
    prepare?.(server.port);
    clock.stop();
    for (const [own, expected] of [
      [{}, limit.timeoutMs],
      [{ [phase]: 700 }, 700],
    ] as const) {
      const before = reached;
      const host = client();
      const sent = failure(send(host, request(server.port, changes), { ...limit, phaseTimeoutsMs: own }));
      await until(() => reached > before || before >= 2);
      // What was sent must also have come through the stand-ins' queues: an exchange in this phase waits so long.
      await until(() => clock.waiting.includes(expected));
      for (let i = 0; i < 50; i++) await turn();
      await clock.advance(expected - 1);
      expect(network.open + reached).toBeGreaterThan(0);
      await clock.advance(1);
      const error = await sent;
      expect([error.code, error.phase, error.retryable]).toEqual(["TIMEOUT", phase, true]);
      expect(error.message).toContain(`${expected} ms`);
      expect(clock.waiting).toEqual([]);
    }
  });

  test("slow bytes do not prolong the total timeout", async () => {
    const server = await serve((socket) =>
      onRequest(socket, () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n`)),
    );
    clock.stop();
    const sent = failure(send(client(), request(server.port), limit));
    await until(() => server.connections === 1);
    for (let i = 0; i < 200; i++) await clock.advance(600);
    expect((await sent).code).toBe("TIMEOUT");
  });
});

describe("aborting", () => {
  test("works before the request, while connecting, and while waiting for the response", async () => {
    const server = await serve(() => {});
    const reason = new IotHubError("CANCELLED", "enough");
    const before = new Aborter();
    before.abort(reason);
    const host = client();
    expect(await failure(send(host, request(server.port), { ...limit, signal: before.signal }))).toBe(reason);
    expect(network.opened).toBe(0);
    for (const wait of [() => true, () => server.connections > 0]) {
      const during = new Aborter();
      const sent = failure(send(host, request(server.port), { ...limit, signal: during.signal }));
      await until(wait);
      during.abort(reason);
      expect(await sent).toBe(reason);
      await until(() => network.open === 0);
    }
  });

  test("prevents sending while the request is queued", async () => {
    const bodies: string[] = [];
    const sockets: net.Socket[] = [];
    const server = await serve((socket) => {
      sockets.push(socket);
      onRequest(socket, (seen) => bodies.push(seen.slice(-1)));
    });
    const host = client();
    const aborter = new Aborter();
    const body = (letter: string) => request(server.port, { body: utf8(letter) });
    const first = send(host, body("a"), limit);
    const second = failure(send(host, body("b"), { ...limit, signal: aborter.signal }));
    const third = send(host, body("c"), limit);
    await until(() => bodies.length === 1);
    aborter.abort(new IotHubError("CANCELLED", "enough"));
    expect((await second).code).toBe("CANCELLED");
    sockets[0].write(httpResponse("1"));
    expect(text(await first)).toBe("1");
    await until(() => bodies.length === 2);
    sockets[0].write(httpResponse("3"));
    expect(text(await third)).toBe("3");
    expect(bodies).toEqual(["a", "c"]);
    expect(server.connections).toBe(1);
  });

  test("close() rejects pending, queued and later requests", async () => {
    const server = await serve(() => {});
    const host = client();
    const sent = [1, 2, 3].map(() => failure(send(host, request(server.port), limit)));
    await until(() => server.connections > 0);
    host.http.close();
    host.http.close();
    for (const error of await Promise.all(sent)) expect(error.code).toBe("CANCELLED");
    expect((await failure(send(host, request(server.port), limit))).code).toBe("CANCELLED");
    expect(network.open).toBe(0);
  });
});

describe("queueing", () => {
  test("requests to one origin are serialized on one connection", async () => {
    const bodies: string[] = [];
    const server = await serve((socket) =>
      onRequest(socket, (seen) => {
        bodies.push(seen.slice(-1));
        socket.write(httpResponse(seen.slice(-1)));
      }),
    );
    const host = client();
    const sent = [..."abcdefghij"].map((letter) => send(host, request(server.port, { body: utf8(letter) }), limit));
    expect((await Promise.all(sent)).map(text).join("")).toBe("abcdefghij");
    expect(bodies.join("")).toBe("abcdefghij");
    expect(server.connections).toBe(1);
  });

  test("too many requests are rejected at once", async () => {
    const server = await serve(() => {});
    const host = client({ maxWaiting: 3 });
    const sent = [1, 2, 3, 4, 5].map(() => failure(send(host, request(server.port), limit)));
    expect((await sent[4]).message).toContain("Too many");
    host.http.close();
    await Promise.all(sent);
  });

  test("a failure does not affect queued requests", async () => {
    const server = await serve((socket, index) =>
      onRequest(socket, () => (index === 0 ? socket.resetAndDestroy() : socket.write(httpResponse(OK)))),
    );
    const host = client();
    const first = failure(send(host, request(server.port), limit));
    const second = send(host, request(server.port), limit);
    expect((await first).code).toBe("CONNECTION_RESET");
    expect((await second).status).toBe(200);
  });

  test("connections to several origins are limited, the least recently used is closed", async () => {
    const servers = await Promise.all(
      [0, 1, 2].map(() => serve((socket) => onRequest(socket, () => socket.write(httpResponse(OK))))),
    );
    const host = client();
    const reused: (boolean | undefined)[] = [];
    for (const i of [0, 1, 0, 2, 0, 1]) {
      reused.push((await send(host, request(servers[i].port), limit)).timing?.reused);
      expect(network.open).toBeLessThanOrEqual(2);
    }
    expect(reused).toEqual([false, false, true, false, true, false]);
  });
});
