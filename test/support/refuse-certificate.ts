import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";

/**
 * Refuses a server's certificate with the alert unknown_ca (RFC 5246 section 7.2), as boards without its CA do. Node closes
 * the connection without one. The server must use TLS 1.2, where the alert is not encrypted.
 */
export async function refuseCertificate(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(await clientHello());
  await once(socket, "data");
  socket.end(Buffer.from([21, 3, 3, 0, 2, 2, 48]));
  socket.resume();
  await once(socket, "close");
}

/** The first flight of a TLS client. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = tlsConnect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}
