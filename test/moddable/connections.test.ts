/** How the Moddable host keeps, drops and believes its connections. */

import type net from "node:net";
import { TLSSocket } from "node:tls";
import { describe, expect, test } from "@jest/globals";
import { Http } from "../../host/moddable/http.js";
import { makeCertificates } from "../../tools/gateway/index.js";
import { failure } from "../support/failure.js";
import { clock, createModdableHost, network, until, useMachine } from "../support/moddable-machine.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";

useMachine();

const OK = '{"Response":{"RequestId":"r"}}';

/** A server that sends the same bytes to each request. */
const repeating = (bytes: string) => serve((socket) => onRequest(socket, () => socket.write(bytes)));

describe("an idle connection", () => {
  test.each<[string, object, string, number]>([
    ["75 s by default", {}, "", 75000],
    ["as long as the option says", { keepAliveMs: 5000 }, "", 5000],
    ["until two seconds before the server's limit", {}, "Keep-Alive: timeout=30, max=100\r\n", 28000],
    ["as the option says where the server allows more", { keepAliveMs: 5000 }, "Keep-Alive: timeout=3600\r\n", 5000],
  ])("stays open %s, then is closed", async (_name, options, header, keptMs) => {
    const server = await repeating(httpResponse(OK, "200 OK", header));
    const host = createModdableHost(options);
    clock.stop();
    await send(host, request(server.port));
    await clock.advance(keptMs - 1);
    expect((await send(host, request(server.port))).timing.reused).toBe(true);
    await clock.advance(keptMs - 1);
    expect(network.open).toBe(1);
    await clock.advance(1);
    expect(network.open).toBe(0);
    expect((await send(host, request(server.port))).timing.reused).toBe(false);
    expect(server.connections).toBe(2);
  });

  test("is not used after its keep-alive time, even if its timer is late", async () => {
    const server = await repeating(httpResponse(OK));
    const host = createModdableHost({ keepAliveMs: 5000 });
    await send(host, request(server.port));
    // From here on time stands still for timers that were set before.
    clock.stop();
    await clock.advance(5000);
    expect(network.open).toBe(1);
    expect((await send(host, request(server.port))).timing.reused).toBe(false);
    expect(server.connections).toBe(2);
  });

  test.each([
    ["the option is 0", { keepAliveMs: 0 }, ""],
    ["the server keeps it for two seconds", {}, "Keep-Alive: timeout=2\r\n"],
  ])("is closed at once if %s", async (_name, options, header) => {
    const server = await repeating(httpResponse(OK, "200 OK", header));
    const host = createModdableHost(options);
    await send(host, request(server.port));
    expect(network.open).toBe(0);
  });

  test("carries a reading a minute, for an hour", async () => {
    const server = await repeating(httpResponse(OK));
    const host = createModdableHost();
    clock.stop();
    for (let minute = 0; minute < 60; minute++) {
      await send(host, request(server.port));
      await clock.advance(60000);
    }
    expect(server.connections).toBe(1);
  });
});

test("connections are counted, without a handshake over plain HTTP", async () => {
  const server = await repeating(httpResponse(OK));
  const host = createModdableHost();
  expect(host.http.counters()).toEqual({ connections: 0, fullHandshakes: 0, resumedHandshakes: 0 });
  for (const fresh of [false, false, true]) await send(host, request(server.port), { fresh });
  const counters = host.http.counters();
  expect(counters).toEqual({ connections: 2, fullHandshakes: 0, resumedHandshakes: 0 });
  await failure(send(host, request(1)));
  expect(host.http.counters()).toEqual(counters);
});

describe("unsolicited bytes", () => {
  const surplusOf = (host: { http: Http }) => host.http.surplus;

  test.each([
    ["another response", httpResponse("wrong")],
    ["an empty line", "\r\n"],
    ["anything", "!"],
  ])("%s after a response: it is valid, the connection is closed, and they are counted once", async (_name, more) => {
    const server = await serve((socket, index) =>
      onRequest(socket, () => socket.write(httpResponse(OK) + (index === 0 ? more : ""))),
    );
    const host = createModdableHost();
    expect(Buffer.from((await send(host, request(server.port))).body).toString()).toBe(OK);
    expect(surplusOf(host)).toBe(1);
    expect((await send(host, request(server.port))).timing.reused).toBe(false);
    expect(surplusOf(host)).toBe(1);
  });

  test.each([
    ["another response", httpResponse("wrong"), 1],
    ["a 408, as servers send before they close", httpResponse("late", "408 Request Timeout"), 0],
  ])("%s on an idle connection", async (_name, more, counted) => {
    let served: net.Socket | undefined;
    const server = await serve((socket) => {
      served = socket;
      onRequest(socket, () => socket.write(httpResponse(OK)));
    });
    const host = createModdableHost();
    await send(host, request(server.port));
    served?.write(more);
    await until(() => network.open === 0);
    expect(surplusOf(host)).toBe(counted);
    expect((await send(host, request(server.port))).timing.reused).toBe(false);
  });

  test.each(["http", "https"] as const)(
    "that were not signaled are found before the next %s request is written",
    async (scheme) => {
      const { chain, key, rootDer } = makeCertificates("chain");
      let served: net.Socket | undefined;
      const requests: string[] = [];
      const onConnection = (socket: net.Socket) => {
        served = socket;
        onRequest(socket, (seen) => {
          requests.push(seen);
          socket.write(httpResponse(OK));
        });
      };
      const server = await serve((socket) => {
        if (scheme === "http") return onConnection(socket);
        const secure = new TLSSocket(socket, { isServer: true, cert: chain, key });
        secure.on("error", () => {});
        onConnection(secure);
      });
      const host = createModdableHost({ trustAnchors: [Uint8Array.from(rootDer)] });
      const sent = request(server.port, { scheme });
      await send(host, sent);
      // Events wait in a queue on lwIP: here they wait for the test.
      network.holdEvents = true;
      served?.write(httpResponse("wrong"));
      await until(() => network.heldEvents > 0);
      const error = await failure(send(host, sent));
      network.holdEvents = false;
      expect([error.code, error.stale]).toEqual(["CONNECTION_RESET", true]);
      expect(surplusOf(host)).toBe(1);
      expect(requests.length).toBe(1);
    },
  );
});

describe("a final response before the request was written completely", () => {
  const body = new Uint8Array(5000);

  test("is marked as early, and closes the connection", async () => {
    const server = await serve((socket) => socket.once("data", () => socket.write(httpResponse(OK))));
    network.peerWindow = 400;
    const host = createModdableHost();
    const response = await send(host, request(server.port, { body }));
    expect([response.status, response.early]).toEqual([200, true]);
    expect(network.open).toBe(0);
  });

  test("does not include interim responses, after which the rest is written", async () => {
    const server = await serve((socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
      onRequest(socket, () => socket.write(httpResponse(OK)));
    });
    const response = await send(createModdableHost(), request(server.port, { body }));
    expect([response.status, response.early]).toEqual([200, undefined]);
  });
});

test("over TLS, a request with a pending partial record is not written completely", async () => {
  const { key, chain, rootDer } = makeCertificates("chain");
  const server = await serve((raw) => {
    const socket = new TLSSocket(raw, { isServer: true, key, cert: chain, maxVersion: "TLSv1.2" });
    socket.on("error", () => {});
    socket.on("secure", () => socket.write(httpResponse(OK)));
  });
  // Enough for the handshake, and for a part of the request.
  network.peerWindow = 1000;
  const host = createModdableHost({ trustAnchors: [Uint8Array.from(rootDer)], falseStart: false });
  const body = new Uint8Array(1700);
  const response = await send(host, request(server.port, { scheme: "https", host: "localhost", body }));
  expect([response.status, response.early]).toEqual([200, true]);
});

describe("a response over TLS that is ended by the connection", () => {
  const certificates = makeCertificates("chain");

  /** A server that sends a body without length, and ends. */
  const server = (body: string, end: (socket: TLSSocket) => void) =>
    serve((raw) => {
      const { key, chain } = certificates;
      const socket = new TLSSocket(raw, { isServer: true, key, cert: chain, maxVersion: "TLSv1.2" });
      socket.on("error", () => {});
      onRequest(socket, () => socket.write(`HTTP/1.1 200 OK\r\n\r\n${body}`, () => end(socket)));
    });
  const inOrder = (socket: TLSSocket) => socket.end();
  const abruptly = (socket: TLSSocket) => socket.destroy();
  const secure = (port: number) => request(port, { scheme: "https", host: "localhost" });
  const host = () => createModdableHost({ trustAnchors: [Uint8Array.from(certificates.rootDer)] });

  test.each([
    ["in order, whatever the body", "<html>", inOrder],
    ["abruptly behind whole JSON", OK, abruptly],
  ])("is valid if it ends %s", async (_name, body, end) => {
    const { port } = await server(body, end);
    const response = await send(host(), secure(port));
    expect(Buffer.from(response.body).toString()).toBe(body);
  });

  test.each(["", "<html>", OK.slice(0, -1)])("is rejected if it ends abruptly after %p", async (body) => {
    const { port } = await server(body, abruptly);
    const error = await failure(send(host(), secure(port)));
    expect([error.code, error.phase, error.errorClass, error.stale]).toEqual([
      "RESPONSE_TRUNCATED",
      "read",
      "unreadable",
      false,
    ]);
  });
});

test("an HTTP client creates a resolver by default", async () => {
  const server = await repeating(httpResponse(OK));
  const http = new Http({ addresses: { "near.test": "127.0.0.1" } });
  expect((await send(http, request(server.port, { host: "near.test" }))).status).toBe(200);
  http.close();
});
