/** What the Node host keeps from one request to the next: connections, and nothing that belongs to a request. */

import { type ChildProcess, fork } from "node:child_process";
import { channel } from "node:diagnostics_channel";
import { type EventEmitter, getEventListeners, once } from "node:events";
import net from "node:net";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, jest, test } from "@jest/globals";
import { createHost, createMemoryStorage, Device, type DeviceOptions, type Host } from "../../host/node/index.js";
import { startGateway } from "../../tools/gateway/index.js";
import type { GatewayCounts } from "../../tools/gateway/received.js";
import { cleanups } from "../support/cleanups.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, rawServer, request } from "../support/servers.js";
import { startWaitingBytes } from "../support/waiting-bytes.js";

const psk = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const devices = { products: { P: { devices: { D: { psk } } } } };
const message = { topic: "data", payload: "21.5" };

function deviceOn(host: Host, url: string, changes: Partial<DeviceOptions> = {}): Device {
  const options = { productId: "P", deviceName: "D", credential: { secret: psk }, url, rateLimit: false as const };
  const device = new Device({ ...options, ...changes }, host);
  cleanups.push(() => device.close());
  return device;
}

function nodeHost(options?: Parameters<typeof createHost>[0]): Host {
  const host = { ...createHost(options), storage: createMemoryStorage() };
  cleanups.push(() => host.http.close());
  return host;
}

/** State of a pending ClientRequest. */
interface SeenRequest {
  readonly socket: net.Socket;
  readonly agent: EventEmitter;
}

/** The requests that Node begins from now on. */
function requestsSeen(): SeenRequest[] {
  const seen: SeenRequest[] = [];
  const note = (event: unknown) => seen.push((event as { request: SeenRequest }).request);
  channel("http.client.request.start").subscribe(note);
  cleanups.push(() => channel("http.client.request.start").unsubscribe(note));
  return seen;
}

function listeners(emitter: EventEmitter): Record<string, number> {
  return Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]));
}

describe("listeners", () => {
  for (const https of [false, true]) {
    test(`a keep-alive ${https ? "HTTPS" : "HTTP"} connection has as many after 60 publishes as after 2`, async () => {
      const gateway = await startGateway({ devices, https });
      cleanups.push(() => gateway.close());
      const device = deviceOn(nodeHost({ trustAnchors: gateway.ca }), gateway.url);
      const requests = requestsSeen();
      const { signal } = new AbortController();
      const counts = new Map<number, object>();
      for (let n = 1; n <= 60; n++) {
        const { timing } = await device.publish(message, { signal });
        expect(timing.reused).toBe(n > 1);
        const { socket, agent } = requests[n - 1];
        const last = [socket, agent].map(listeners);
        counts.set(n, [...last, getEventListeners(signal, "abort").length]);
      }
      expect(new Set(requests.map(({ socket }) => socket)).size).toBe(1);
      expect(counts.get(60)).toEqual(counts.get(2));
      expect(counts.get(60)).toEqual([expect.anything(), expect.anything(), 0]);
    });
  }

  test("a first request leaves none of the connect phase", async () => {
    const gateway = await startGateway({ devices });
    cleanups.push(() => gateway.close());
    const requests = requestsSeen();
    await deviceOn(nodeHost(), gateway.url).publish(message);
    const { socket } = requests[0];
    expect([socket.listenerCount("connect"), socket.listenerCount("secureConnect")]).toEqual([0, 0]);
  });

  test("a cancelled request leaves none on the signal", async () => {
    const server = await rawServer(() => {});
    cleanups.push(() => server.close());
    const device = deviceOn(nodeHost(), `http://127.0.0.1:${server.port}`);
    const controller = new AbortController();
    const sent = device.publish(message, { signal: controller.signal });
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(1);
    controller.abort();
    await expect(sent).rejects.toMatchObject({ code: "CANCELLED" });
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  test("25 waiting publishes and 5 flushes add two to their signal, and all end with it", async () => {
    const server = await rawServer(() => {});
    cleanups.push(() => server.close());
    const device = deviceOn(nodeHost(), `http://127.0.0.1:${server.port}`, { outbox: { flushIntervalMs: 0 } });
    const controller = new AbortController();
    const { signal } = controller;
    const failures = Array.from({ length: 25 }, () => device.publish(message, { signal }).catch((e) => e.code));
    await device.enqueue(message);
    const flushes = Array.from({ length: 5 }, () => device.flush({ signal }));
    expect(getEventListeners(signal, "abort")).toHaveLength(2);
    controller.abort();
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    expect(await Promise.all(failures)).toEqual(Array(25).fill("CANCELLED"));
    expect((await Promise.all(flushes)).map(({ reason: ended }) => ended)).toEqual(Array(5).fill("cancelled"));
  });
});

describe("connections", () => {
  /** A gateway in a separate process that reports how many connections and requests it has accepted. */
  async function distantGateway(): Promise<{ url: string; ca: string; counts(): Promise<GatewayCounts> }> {
    const script = fileURLToPath(new URL("../support/distant-gateway.ts", import.meta.url));
    const typescript = new URL("../support/typescript.mjs", import.meta.url).href;
    const child: ChildProcess = fork(script, [JSON.stringify(devices)], { execArgv: ["--import", typescript] });
    cleanups.push(async () => {
      child.disconnect();
      await once(child, "exit");
    });
    const gone = once(child, "exit").then(() => Promise.reject(new Error("the gateway ended")));
    gone.catch(() => {});
    const [{ url, ca }] = await Promise.race([once(child, "message"), gone]);
    const counts = async () => {
      child.send("counts");
      const [counts] = await once(child, "message");
      return counts as GatewayCounts;
    };
    return { url, ca, counts };
  }

  async function ownGateway(): ReturnType<typeof distantGateway> {
    const gateway = await startGateway({ devices, https: true });
    cleanups.push(() => gateway.close());
    return { url: gateway.url, ca: String(gateway.ca), counts: async () => gateway.counts };
  }

  test.each([
    ["a gateway in another process", distantGateway, 0],
    ["a gateway in this process", ownGateway, 0],
    ["a gateway in another process, while all cores are busy", distantGateway, availableParallelism()],
    ["a gateway in this process, while all cores are busy", ownGateway, availableParallelism()],
  ])("300 publishes over HTTPS to %s use one, without repetition", async (_name, start, threads) => {
    for (let n = 0; n < threads; n++) {
      const busy = new Worker("for (let n = 0; ; n++);", { eval: true });
      cleanups.push(() => busy.terminate());
      await once(busy, "online");
    }
    const gateway = await start();
    const device = deviceOn(nodeHost({ trustAnchors: gateway.ca }), gateway.url);
    for (let n = 0; n < 300; n++) await device.publish(message);
    const { connections, requests, accepted } = await gateway.counts();
    expect([connections, requests, accepted]).toEqual([1, 300, 300]);
  });

  test.each(["http", "https"] as const)(
    "unsolicited bytes on a keep-alive one are found before the next %s request is written",
    async (scheme) => {
      const server = await startWaitingBytes(scheme);
      const sent = request(server.port, { scheme });
      let found = 0;
      for (let round = 0; round < 20; round++) {
        const { http } = nodeHost({ trustAnchors: server.root });
        for (let i = 0; i < 2; i++) await send(http, sent);
        // Nothing is read between here and the next request, but the bytes may still be in transit on a busy machine.
        server.write();
        const { reused, body } = await send(http, sent);
        if (!reused && http.surplus === 1 && !Buffer.from(body).includes("other")) found++;
      }
      // Without the check, each of them would be used as the response.
      expect(found).toBeGreaterThan(0);
    },
  );

  test("one is not reused while Node has not finished the previous request", async () => {
    const gateway = await startGateway({ devices });
    cleanups.push(() => gateway.close());
    const requests = requestsSeen();
    const device = deviceOn(nodeHost(), gateway.url, { retry: false });
    await device.publish(message);
    gateway.faults.next({ kind: "delay", ms: 50 });
    const second = device.publish(message);
    while (gateway.counts.requests < 2) await new Promise(setImmediate);
    (requests[0] as unknown as EventEmitter).emit("finish");
    await second;
    await device.publish(message);
    expect([gateway.counts.connections, gateway.counts.requests]).toEqual([1, 3]);
  });

  test("a 408 on an idle one does not count as surplus, anything else counts once", async () => {
    for (const [text, surplus] of [
      ["HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", 0],
      ["HTTP/1.0 408\r\n\r\n", 0],
      ["HTTP/1.1 4080 X\r\n\r\n", 1],
      ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1],
      ["\r\n", 1],
    ] as const) {
      const sockets: net.Socket[] = [];
      const server = await rawServer((socket) => {
        sockets.push(socket);
        onRequest(socket, () => socket.write(httpResponse("{}")));
      });
      cleanups.push(() => server.close());
      const { http } = nodeHost();
      await send(http, request(server.port));
      const closed = once(sockets[0], "close");
      sockets[0].write(text);
      await closed;
      expect([text, http.surplus]).toEqual([text, surplus]);
    }
  });

  test("a response before the request was written completely ends its connection", async () => {
    const server = await rawServer((socket) => {
      socket.once("data", () => {
        socket.pause();
        socket.write(httpResponse('{"Response":{"RequestId":"early"}}'));
      });
    });
    cleanups.push(() => server.close());
    const { http } = nodeHost();
    const requests = requestsSeen();
    for (let n = 0; n < 2; n++) {
      const { status, reused, early } = await send(http, request(server.port, { body: new Uint8Array(32 << 20) }));
      expect([status, reused, early]).toEqual([200, false, true]);
      expect(requests[n].socket.destroyed).toBe(true);
    }
    expect(server.connections).toBe(2);
  });
});

test("connections and handshakes are counted, and vitals are those of the process", async () => {
  const gateway = await startGateway({ devices, https: true });
  cleanups.push(() => gateway.close());
  const host = nodeHost({ trustAnchors: gateway.ca });
  expect(host.http.counters?.()).toEqual({ connections: 0, fullHandshakes: 0, resumedHandshakes: 0 });
  const device = deviceOn(host, gateway.url);
  for (let i = 0; i < 3; i++) await device.publish(message);
  expect(device.stats()).toMatchObject({
    published: 3,
    http: { connections: 1, fullHandshakes: 1, resumedHandshakes: 0 },
  });
  const another = deviceOn(host, gateway.url);
  // As after a response that came twice.
  const [sent] = [
    await send(host, { ...request(Number(new URL(gateway.url).port)), scheme: "https" }, { fresh: true }),
  ];
  expect(sent.reused).toBe(false);
  expect(another.stats().published).toBe(0);
  const { connections, fullHandshakes, resumedHandshakes } = another.stats().http ?? {};
  expect({ connections, handshakes: Number(fullHandshakes) + Number(resumedHandshakes) }).toEqual({
    connections: 2,
    handshakes: 2,
  });
  const { uptimeMs, freeHeapBytes, ...rest } = host.vitals?.() ?? {};
  expect(uptimeMs).toBeGreaterThan(0);
  expect(freeHeapBytes).toBeGreaterThan(0);
  expect(rest).toEqual({});
});

test("an address that needs longer than 250 ms is not abandoned for another", async () => {
  // Linux drops a SYN while the queue of a listening socket is full, and the client repeats it after a second.
  const wake = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     const reply = ${JSON.stringify(httpResponse('{"Response":{"RequestId":"slow"}}'))};
     const server = require("node:net").createServer((socket) => {
       socket.on("error", () => {});
       socket.on("data", () => socket.end(reply));
     });
     server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       setImmediate(() => Atomics.wait(workerData, 0, 0));
     });`,
    { eval: true, workerData: wake },
  );
  cleanups.push(() => worker.terminate());
  const [port] = await once(worker, "message");
  // The queue takes two connections; from the third on, nobody responds until the worker wakes.
  const queued = Array.from({ length: 4 }, () => net.connect(port, "127.0.0.1").on("error", () => {}));
  cleanups.push(() => {
    for (const socket of queued) socket.destroy();
  });
  await Promise.all(queued.slice(0, 2).map((socket) => once(socket, "connect")));
  const addresses = [
    { address: "127.0.0.1", family: 4 },
    // Nothing listens here.
    { address: "127.0.0.2", family: 4 },
  ];
  const lookup = ((_name: string, _options: object, callback: (error: null, all: object[]) => void) =>
    callback(null, addresses)) as never;
  const device = deviceOn(nodeHost({ lookup }), `http://two.example:${port}`, { retry: false, timeoutMs: 60_000 });
  const published = device.publish(message);
  setTimeout(() => {
    Atomics.store(wake, 0, 1);
    Atomics.notify(wake, 0);
  }, 400);
  expect((await published).requestId).toBe("slow");
});

test("publish works with fake timers, including rate limit and retries", async () => {
  const gateway = await startGateway({ devices, fault: { kind: "status", status: 503 } });
  cleanups.push(() => gateway.close());
  jest.useFakeTimers({ now: Date.now() });
  cleanups.push(() => jest.useRealTimers());
  const retry = { baseDelayMs: 1, maxAttempts: 2 };
  const device = deviceOn(nodeHost(), gateway.url, { retry, rateLimit: { perSecond: 50, burst: 1 } });
  await expect(device.publish(message)).rejects.toMatchObject({ status: 503 });
  gateway.faults.clear();
  expect((await device.publish(message)).attempts).toBe(1);
});
