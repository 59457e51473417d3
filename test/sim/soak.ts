/**
 * Wakes upon wakes on one machine: each makes a host and a device, publishes once, and closes both. The heap is the
 * same at the end, and both sides count the same handshakes. `SIM_WAKES=1000` makes it longer.
 */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { makeCertificates } from "../../tools/gateway/index.js";
import { type Expectations, identity, type Session, singly } from "./session.js";

const WAKES = Number(process.env.SIM_WAKES ?? 200);
/** Of one command, which begins with a `forget()`. */
const BATCH = 50;

const body = '{"Response":{"RequestId":"r"}}';
const response = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

export async function soak(session: Session, expect: Expectations): Promise<string> {
  const { key, chain, rootDer } = makeCertificates("chain", { keyType: "ecdsa" });
  const seen: boolean[] = [];
  const sockets = new Set<TLSSocket>();
  const server = createServer({ key, cert: chain, maxVersion: "TLSv1.2" }, (socket) => {
    seen.push(socket.isSessionReused());
    sockets.add(socket.on("error", () => {}).on("close", () => sockets.delete(socket)));
    let request = "";
    socket.on("data", (bytes) => {
      request += bytes.toString("latin1");
      const head = request.indexOf("\r\n\r\n");
      if (head < 0 || request.length < head + 4 + Number(/content-length: (\d+)/i.exec(request)?.[1])) return;
      request = "";
      socket.write(response);
    });
  });
  server.on("tlsClientError", () => {});
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const host = { trustAnchors: [rootDer.toString("base64")], storage: "soak", resumption: "storage" };
  const device = { ...identity, ...singly, url, rateLimit: false };
  const told: boolean[] = [];
  const heaps: number[] = [];
  const held: number[] = [];
  try {
    for (let count = 0; count < WAKES; count += BATCH) {
      const { resumed, heapBytes } = await session.run("wakes", {
        host,
        device,
        count: Math.min(BATCH, WAKES - count),
      });
      told.push(...resumed);
      heaps.push(heapBytes);
    }
    // What a host and its device hold after one publish.
    for (const resumption of [false, "memory", "storage"] as const) {
      const { resumed, heldBytes } = await session.run("wakes", { host: { ...host, resumption }, device, count: 2 });
      told.push(...resumed);
      held.push(heldBytes);
    }
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  }
  expect.equal(told, seen, "handshakes as both sides tell them");
  expect.equal(told.length, WAKES + 6, "wakes");
  // The first batch also makes what is made once.
  expect.equal(heaps.slice(2), heaps.slice(2).fill(heaps[1]), "the heap after each batch");
  const count = (list: readonly boolean[], which: boolean) => list.filter((each) => each === which).length;
  return `${WAKES} wakes: ${count(seen, false)} full, ${count(seen, true)} resumed; heap ${heaps[0]} bytes at first, ${heaps[1]} to ${heaps[heaps.length - 1]} from then on; a host holds ${held.join(", ")} bytes without, in memory, with storage`;
}
