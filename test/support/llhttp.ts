/** Parses a response with Node's HTTP parser (llhttp), through `node:http` and a raw socket. */

import http from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";

export interface LlhttpOutcome {
  /** `response` if it is complete, otherwise `error`. */
  readonly verdict: "response" | "error";
  readonly status?: number;
  /** Names in lower case, values of equal names joined by ", ". */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** llhttp's error code, such as `HPE_INVALID_HEADER_TOKEN`. */
  readonly code?: string;
}

/** Serves responses byte for byte, each followed by the end of the connection. */
export class Llhttp {
  readonly #responses: Uint8Array[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (data) => {
        const index = Number(/^POST \/(\d+) /.exec(data.toString("latin1"))?.[1]);
        socket.end(this.#responses[index]);
      });
    });
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }

  read(response: Uint8Array): Promise<LlhttpOutcome> {
    const index = this.#responses.push(response) - 1;
    const { port } = this.#server.address() as AddressInfo;
    return new Promise((resolve) => {
      const fail = (error?: NodeJS.ErrnoException) => resolve({ verdict: "error", code: error?.code });
      const request = http.request({ host: "127.0.0.1", port, path: `/${index}`, method: "POST", agent: false });
      request
        .on("error", fail)
        .on("upgrade", (_response, socket) => {
          socket.destroy();
          fail();
        })
        .on("response", (message) => {
          const parts: Buffer[] = [];
          message
            .on("data", (part) => parts.push(part))
            .on("error", fail)
            .on("end", () => {
              if (!message.complete) return fail();
              resolve({
                verdict: "response",
                status: message.statusCode,
                headers: joined(message.rawHeaders),
                body: Buffer.concat(parts),
              });
            });
        })
        .end();
    });
  }
}

function joined(rawHeaders: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    const value = decode(rawHeaders[i + 1]);
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return headers;
}

/** Decodes UTF-8, since Node returns the bytes of a value as characters. */
function decode(value: string): string {
  const bytes = Buffer.from(value, "latin1");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return value;
  }
}
