/**
 * Gives the app one command after the other: the app asks for them over HTTP and brings the last one's result along.
 */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Command = { readonly op: string; readonly [name: string]: unknown };

/** Only a limit for what hangs: a machine that is busy with other things may be slow. */
const LIMIT_MS = 300_000;

export class Control {
  readonly #server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => this.#asked(JSON.parse(Buffer.concat(parts).toString()), response));
  });
  #waiting: ServerResponse | undefined;
  #onAsked: ((result: unknown) => void) | undefined;

  async open(): Promise<number> {
    // The app may be busy with one command for long.
    this.#server.keepAliveTimeout = LIMIT_MS;
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resolves when the app has started and asks for its first command. */
  started(ended: Promise<void>): Promise<unknown> {
    return this.#result(ended, "start");
  }

  /** Has the app carry out a command; rejects if the app ends or does not come back. */
  run(command: Command, ended: Promise<void>): Promise<any> {
    const response = this.#waiting;
    if (!response) throw new Error("The app does not wait for a command.");
    this.#waiting = undefined;
    const result = this.#result(ended, command.op);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(command));
    return result;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #result(ended: Promise<void>, what: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${what}: the app did not come back.`)), LIMIT_MS);
      this.#onAsked = (result) => {
        clearTimeout(timer);
        resolve(result);
      };
      ended.then(() => {
        clearTimeout(timer);
        reject(new Error(`${what}: the virtual machine ended.`));
      });
    });
  }

  #asked(result: unknown, response: ServerResponse): void {
    this.#waiting = response;
    const onAsked = this.#onAsked;
    this.#onAsked = undefined;
    onAsked?.(result);
  }
}
