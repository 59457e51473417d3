import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type Fault,
  formatFault,
  type Gateway,
  type GatewayEvent,
  type GatewayOptions,
  parseFault,
  startGateway,
} from "../../tools/gateway/index.js";
import { message, send, signedHeaders } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";

const open: Gateway[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const gateway of open.splice(0)) await gateway.close();
});

/** A gateway whose events are kept. */
class Watched {
  readonly events: GatewayEvent[] = [];
  #waiting: (() => void)[] = [];

  constructor(readonly gateway: Gateway) {
    gateway.subscribe((event) => {
      this.events.push(event);
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  of<T extends GatewayEvent["type"]>(type: T): Extract<GatewayEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as Extract<GatewayEvent, { type: T }>[];
  }

  async first<T extends GatewayEvent["type"]>(type: T): Promise<Extract<GatewayEvent, { type: T }>> {
    for (;;) {
      const [event] = this.of(type);
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

async function start(options: GatewayOptions = {}): Promise<Watched> {
  const gateway = await startGateway({ devices: { products: { P1: { devices: { dev1: { psk } } } } }, ...options });
  open.push(gateway);
  return new Watched(gateway);
}

async function tcp({ gateway }: Watched): Promise<Socket> {
  const socket = connect(gateway.port, "127.0.0.1");
  sockets.push(socket);
  socket.on("error", () => {});
  // A connection that is reset at once may never seem to have been established.
  await new Promise<void>((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", () => resolve());
  });
  return socket;
}

function head(length: number): string {
  const headers = { host: "127.0.0.1", ...signedHeaders("127.0.0.1", {}), "content-length": length };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /device/publish HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** Writes a head that never ends. */
function dripHead(socket: Socket): NodeJS.Timeout {
  socket.write("POST /device/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Drip: ");
  return setInterval(() => socket.write("x"), 10);
}

/** The first flight of a TLS client, to be replayed. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = tlsConnect({ port: (server.address() as { port: number }).port, host: "127.0.0.1" });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

describe("events of a request", () => {
  test("are emitted once, with the record that is kept", async () => {
    const watched = await start();
    await send(watched.gateway);
    const { request } = await watched.first("request");
    expect(request).toBe(watched.gateway.received[0]);
    expect(request).toMatchObject({ accepted: true, connection: { id: 1, remoteAddress: "127.0.0.1" } });
    expect(watched.events).toHaveLength(1);
  });

  test("reach onRequest and all listeners until they unsubscribe", async () => {
    const seen: string[] = [];
    const watched = await start({ onRequest: ({ index }) => seen.push(`option ${index}`) });
    const end = watched.gateway.subscribe(() => seen.push("listener"));
    await send(watched.gateway);
    await watched.first("request");
    end();
    end();
    watched.events.length = 0;
    await send(watched.gateway);
    await watched.first("request");
    expect(seen).toEqual(["option 1", "listener", "option 2"]);
  });
});

describe("a failed TLS handshake", () => {
  test.each([
    [48, "unknown_ca", "client refused the certificate: unknown_ca"],
    [42, "bad_certificate", "client refused the certificate: bad_certificate"],
    [46, "certificate_unknown", "client refused the certificate: certificate_unknown"],
    [40, "handshake_failure", "client ended the handshake: handshake_failure"],
  ])("names the alert %d that the client sent", async (number, alert, reason) => {
    const watched = await start({ https: { maxVersion: "TLSv1.2" }, now: () => 1000 });
    const socket = await tcp(watched);
    socket.write(await clientHello());
    await once(socket, "data");
    socket.write(Buffer.from([21, 3, 3, 0, 2, 2, number]));
    const { error } = await watched.first("tlsError");
    expect(error).toMatchObject({ connectionId: 1, alert, reason, remoteAddress: "127.0.0.1", atMs: 1000 });
    expect(watched.gateway.tlsErrors).toEqual([error]);
    await once(socket, "close");
    expect(watched.of("dropped")).toEqual([]);
  });

  test.each([
    ["plain HTTP", "POST / HTTP/1.1\r\n\r\n", "client sent plain HTTP: use https:// in its URL"],
    ["other bytes", "hello, gateway\r\n\r\n", "client sent something other than TLS"],
  ])("is explained for a client that sends %s", async (_what, bytes, reason) => {
    const watched = await start({ https: true });
    (await tcp(watched)).write(bytes);
    expect((await watched.first("tlsError")).error.reason).toBe(reason);
  });

  test("is explained for a client that leaves", async () => {
    const watched = await start({ https: true });
    (await tcp(watched)).destroy();
    expect((await watched.first("tlsError")).error).toMatchObject({
      code: "CLOSED",
      reason: "client closed the connection during the handshake without an alert",
    });
  });

  test("ends when the handshake trickles in for too long", async () => {
    const watched = await start({ https: true, requestTimeoutMs: 60 });
    const socket = await tcp(watched);
    const bytes = await clientHello();
    let at = 0;
    const drip = setInterval(() => socket.write(bytes.subarray(at, ++at)), 10);
    const { error } = await watched.first("tlsError");
    clearInterval(drip);
    expect(error).toMatchObject({ code: "TIMEOUT", reason: "the handshake was not complete in time" });
    await once(socket, "close");
    expect(watched.of("tlsError")).toHaveLength(1);
  });
});

describe("a dropped connection", () => {
  test("is reported when a client verifies after the handshake and leaves", async () => {
    const watched = await start({ https: true });
    const { port } = watched.gateway;
    // Node judges the certificate when the handshake is complete, and sends no alert.
    const socket = tlsConnect({ host: "127.0.0.1", port, servername: "localhost", maxVersion: "TLSv1.2" });
    await once(socket, "error");
    expect((await watched.first("dropped")).reason).toContain("right after the TLS handshake");
  });

  test.each<[string, string, (socket: Socket) => void, RegExp]>([
    ["sends nothing and closes", "", (socket) => socket.end(), /^the client closed .* without sending anything$/],
    ["closes within the head", "POST /dev", (socket) => socket.end(), /^the client closed .* within a request$/],
    ["resets within the head", "POST /dev", (socket) => socket.resetAndDestroy(), /^the client reset the connection$/],
    ["does not speak HTTP", "hello\r\n\r\n", () => {}, /^not HTTP \(HPE_/],
  ])("is reported when the client %s", async (_what, bytes, end, reason) => {
    const watched = await start({ now: () => 5000 });
    const socket = await tcp(watched);
    if (bytes !== "") {
      socket.write(bytes);
      // The gateway has read them when it has served a request that was sent later.
      await send(watched.gateway);
    }
    end(socket);
    expect(await watched.first("dropped")).toMatchObject({
      connection: { id: 1, remoteAddress: "127.0.0.1" },
      reason: expect.stringMatching(reason),
      atMs: 5000,
    });
  });

  test.each([false, true])("is ended when the head of its first request drips (https: %s)", async (https) => {
    const watched = await start({ https, requestTimeoutMs: 100 });
    const { gateway } = watched;
    const socket = https
      ? tlsConnect({ host: "127.0.0.1", port: gateway.port, ca: gateway.ca, servername: "localhost" })
      : await tcp(watched);
    sockets.push(socket);
    if (https) await once(socket, "secureConnect");
    let text = "";
    socket.on("data", (part) => {
      text += part;
    });
    const drip = dripHead(socket);
    const { reason } = await watched.first("dropped");
    clearInterval(drip);
    expect(reason).toBe("the head of the request was not complete after 100 ms");
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(gateway.counts).toMatchObject({ openConnections: 0, requests: 0 });
  });

  test("is ended when the head of a later request drips", async () => {
    const watched = await start({ requestTimeoutMs: 100 });
    const socket = await tcp(watched);
    const body = message();
    socket.write(head(body.length) + body);
    await once(socket, "data");
    const drip = dripHead(socket);
    const { reason } = await watched.first("dropped");
    clearInterval(drip);
    expect(reason).toBe("the head of the request was not complete after 100 ms");
    expect(watched.of("request")).toMatchObject([{ request: { accepted: true } }]);
  });

  test("is not reported for a connection that ends after its requests", async () => {
    const watched = await start();
    const socket = await tcp(watched);
    const body = message();
    socket.write(head(body.length) + body);
    await once(socket, "data");
    socket.end();
    await once(socket, "close");
    await send(watched.gateway);
    expect(watched.of("dropped")).toEqual([]);
  });

  test("is reported for each connection over the limit", async () => {
    const watched = await start({ maxConnections: 2 });
    const kept = [await tcp(watched), await tcp(watched)];
    const third = await tcp(watched);
    const { reason, connection } = await watched.first("dropped");
    expect([reason, connection.id]).toEqual(["more than 2 connections are open", 3]);
    if (!third.destroyed) await once(third, "close");
    expect(kept.map(({ destroyed }) => destroyed)).toEqual([false, false]);
    kept[0].destroy();
    while (watched.gateway.counts.openConnections > 1) await new Promise(setImmediate);
    expect((await send(watched.gateway)).status).toBe(200);
  });

  test("is reported with the fault that ended it", async () => {
    const watched = await start({ fault: { kind: "reset", phase: "connect" } });
    await expect(send(watched.gateway)).rejects.toThrow();
    expect((await watched.first("dropped")).reason).toBe("injected fault reset:connect");
  });
});

test("TLS connections from two machines with the same port are distinguished", async () => {
  const watched = await start({ https: true });
  const { gateway } = watched;
  const connectFrom = async (localAddress: string, localPort: number): Promise<Socket> => {
    const socket = tlsConnect({
      ...{ host: "127.0.0.1", port: gateway.port, ca: gateway.ca, servername: "localhost" },
      ...{ localAddress, localPort },
    });
    sockets.push(socket);
    await once(socket, "secureConnect");
    return socket;
  };
  const one = await connectFrom("127.0.0.1", 0);
  const two = await connectFrom("127.0.0.2", one.localPort as number);
  const body = message();
  for (const socket of [one, two]) {
    socket.write(head(body.length) + body);
    await once(socket, "data");
  }
  expect(gateway.received.map(({ connection }) => [connection.id, connection.remoteAddress])).toEqual([
    [1, "127.0.0.1"],
    [2, "127.0.0.2"],
  ]);
});

test("a request whose body drips is ended and recorded with the reason", async () => {
  const watched = await start({ requestTimeoutMs: 100 });
  const socket = await tcp(watched);
  socket.write(head(1000));
  const drip = setInterval(() => socket.write("x"), 10);
  const { request } = await watched.first("request");
  clearInterval(drip);
  expect(request).toMatchObject({
    accepted: false,
    error: { code: "RequestTimeout", message: "The body was not complete after 100 ms." },
  });
  expect(request.status).toBeUndefined();
  expect(watched.of("dropped")).toEqual([]);
});

test("a request that hangs by a fault stays open beyond the time limits", async () => {
  const watched = await start({ requestTimeoutMs: 50, fault: { kind: "hang", phase: "read" } });
  const socket = await tcp(watched);
  const body = message();
  socket.write(head(body.length) + body);
  // The limit ends a silent connection that was opened later.
  await tcp(watched);
  await watched.first("dropped");
  expect(socket.destroyed).toBe(false);
  expect(watched.gateway.counts.openConnections).toBe(1);
});

test("a keep-alive connection may idle beyond the time limits of requests", async () => {
  const watched = await start({ requestTimeoutMs: 50 });
  const socket = await tcp(watched);
  const body = message();
  socket.write(head(body.length) + body);
  await once(socket, "data");
  // The limit ends a silent connection that was opened later.
  await tcp(watched);
  await watched.first("dropped");
  socket.write(head(body.length) + body);
  await once(socket, "data");
  expect(watched.gateway.counts).toMatchObject({ connections: 2, accepted: 2 });
});

describe("faults that are changed while the gateway runs", () => {
  const fault: Fault = { kind: "status", status: 503, retryAfter: 2 };

  test("apply from the next request on, and each change is an event", async () => {
    const watched = await start();
    const { gateway } = watched;
    gateway.faults.permanent = fault;
    expect(gateway.faults.permanent).toEqual(fault);
    expect((await send(gateway)).status).toBe(503);
    gateway.faults.permanent = undefined;
    expect((await send(gateway)).status).toBe(200);
    expect(watched.of("fault")).toEqual([
      { type: "fault", fault, offline: false },
      { type: "fault", fault: undefined, offline: false },
    ]);
  });

  test("are checked, and an invalid one changes nothing", async () => {
    const watched = await start({ fault });
    expect(() => {
      watched.gateway.faults.permanent = { kind: "nonsense" } as unknown as Fault;
    }).toThrow("Unknown fault");
    expect(() => {
      watched.gateway.faults.permanent = { kind: "tls-hang" };
    }).toThrow("needs HTTPS");
    expect(() => {
      watched.gateway.offline = "sometimes" as "hang";
    }).toThrow('offline must be false, "hang" or "reset".');
    expect(watched.gateway.faults.permanent).toEqual(fault);
    expect(watched.of("fault")).toEqual([]);
  });

  test.each(["hang", "reset"] as const)("offline resets open connections, and new ones %s", async (how) => {
    const watched = await start();
    const { gateway } = watched;
    const before = await tcp(watched);
    while (gateway.counts.openConnections < 1) await new Promise(setImmediate);
    gateway.offline = how;
    const [error] = (await once(before, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNRESET");
    const during = await tcp(watched);
    if (how === "hang") {
      during.write(head(0));
      while (gateway.counts.openConnections < 1) await new Promise(setImmediate);
      expect(during.destroyed).toBe(false);
      gateway.offline = false;
    }
    while (!during.destroyed) await new Promise(setImmediate);
    gateway.offline = false;
    expect((await send(gateway)).status).toBe(200);
    expect(watched.of("dropped").map(({ reason }) => reason)).toEqual([
      "the gateway went offline",
      "the gateway is offline",
    ]);
    expect(watched.of("fault").map(({ offline }) => offline)).toEqual([true, false]);
    expect(gateway.received).toHaveLength(1);
  });
});

test.each(["truncated", "hang:body", "status:503:120", "delay:200", "error:FailedOperation.X:403", "slow-drip::5"])(
  "fault %s is formatted as it is written",
  (text) => {
    expect(formatFault(parseFault(text))).toBe(text);
  },
);
