/** Raw servers on loopback; the test decides every byte. */

import net from "node:net";
import { utf8 } from "../../src/crypto/utf8.js";
import type { HttpRequest } from "../../src/host.js";

import { cleanups } from "./cleanups.js";

export interface RawServer {
  readonly port: number;
  /** Number of accepted connections. */
  readonly connections: number;
  close(): Promise<void>;
}

/** Accepts connections on a free port. */
export async function rawServer(onConnection: (socket: net.Socket, index: number) => void): Promise<RawServer> {
  const sockets = new Set<net.Socket>();
  let connections = 0;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket, connections++);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** The same, closed after the test. */
export async function serve(onConnection: (socket: net.Socket, index: number) => void): Promise<RawServer> {
  const server = await rawServer(onConnection);
  cleanups.push(() => server.close());
  return server;
}

/** A request to such a server. */
export function request(port: number, changes: Partial<HttpRequest> = {}): HttpRequest {
  return {
    scheme: "http",
    host: "127.0.0.1",
    port,
    method: "POST",
    path: "/device/publish",
    headers: { "Content-Type": "application/json", "X-TC-Nonce": "1" },
    body: utf8('{"温":1}'),
    ...changes,
  };
}

/** Calls back with each complete request on a socket, bodies by Content-Length. */
export function onRequest(socket: net.Socket, callback: (request: string) => void): void {
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    for (;;) {
      const head = text.indexOf("\r\n\r\n");
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < head + 4 + length) return;
      const request = text.slice(0, head + 4 + length);
      text = text.slice(head + 4 + length);
      callback(request);
    }
  });
}

/** Encodes an HTTP response. */
export function httpResponse(body: string, status = "200 OK", headers = "Content-Type: application/json\r\n"): string {
  return `HTTP/1.1 ${status}\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
