/**
 * A server in a separate thread: its bytes wait in the client's socket while the client's thread is blocked, so
 * a test decides what waits there before the client's loop reads again.
 */

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { makeCertificates } from "../../tools/gateway/index.js";
import { cleanups } from "./cleanups.js";
import { httpResponse } from "./servers.js";

export interface WaitingBytes {
  readonly port: number;
  /** The certificate to trust, PEM. */
  readonly root: string;
  /** Writes another response on the latest connection. Returns when the system has it; nothing is read meanwhile. */
  write(): void;
}

const script = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { shared, scheme, cert, key, own, other } = workerData;
  const written = new Int32Array(shared);
  let latest;
  const server = require(scheme === "https" ? "node:tls" : "node:net").createServer({ cert, key }, (socket) => {
    // Else the system would keep the second response until the client has confirmed the first.
    socket.setNoDelay(true);
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (!text.endsWith("}")) return;
      text = "";
      latest = socket;
      socket.write(own);
    });
  });
  parentPort.on("message", () =>
    latest.write(other, () => {
      Atomics.add(written, 0, 1);
      Atomics.notify(written, 0);
    }),
  );
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
`;

/** Closed after the test. */
export async function startWaitingBytes(scheme: "http" | "https"): Promise<WaitingBytes> {
  const { chain: cert, key, root } = makeCertificates("chain");
  const shared = new SharedArrayBuffer(4);
  const written = new Int32Array(shared);
  // Without RequestIds, by which another request's response could be recognized.
  const workerData = {
    shared,
    scheme,
    cert,
    key,
    own: httpResponse('{"Response":{}}'),
    other: httpResponse('{"other":1}'),
  };
  const worker = new Worker(script, { eval: true, workerData });
  cleanups.push(() => worker.terminate());
  const [port] = await once(worker, "message");
  return {
    port,
    root,
    write: () => {
      const before = Atomics.load(written, 0);
      worker.postMessage("write");
      while (Atomics.load(written, 0) === before) Atomics.wait(written, 0, before);
    },
  };
}
