/** Server side of the cases for TCP sockets. */

import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { TcpIoCase } from "./tcp-io.cases.js";

const deeds: Readonly<Record<Exclude<TcpIoCase["server"], "refuse">, (socket: Socket) => void>> = {
  echo: (socket) => socket.pipe(socket),
  ten: (socket) => socket.write("0123456789"),
  large: (socket) => socket.write(Uint8Array.from({ length: 5000 }, (_, i) => i % 251)),
  "ten and end": (socket) => socket.end("0123456789"),
  reset: (socket) => socket.resetAndDestroy(),
  silent: (socket) => socket.resume(),
};

/** Starts the server of a case, runs the case with its port, and closes the server. */
export async function withServer<T>({ server: deed }: TcpIoCase, run: (port: number) => Promise<T>): Promise<T> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    if (deed !== "refuse") deeds[deed](socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  if (deed === "refuse") await closed(server);
  try {
    return await run(port);
  } finally {
    for (const socket of sockets) socket.destroy();
    if (deed !== "refuse") await closed(server);
  }
}

function closed(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}
