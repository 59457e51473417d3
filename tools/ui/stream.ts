import type { ServerResponse } from "node:http";
import type { Feed } from "./feed.js";

/** Values that are sent when they change, without a number: the last one is all that counts. */
export type States = Readonly<Record<string, () => object>>;

const HEARTBEAT_MS = 15_000;
/** How often states are compared with what was sent. */
const STATE_MS = 250;
/** Between two attempts of a browser to connect again. */
const RETRY_MS = 2000;

/**
 * Sends events to one reader (HTML, "Server-sent events"). First comes `hello`, then what the reader missed, then each
 * event as it happens.
 *
 * An id is `<epoch>-<number>`. A reader that comes back with one of this run continues after it; any other gets all that
 * is kept, so `hello` with a new epoch means: forget what you have.
 */
export class EventStream {
  readonly #feed: Feed;
  readonly #response: ServerResponse;
  readonly #states: States;
  readonly #sent = new Map<string, string>();
  readonly #unsubscribe: () => void;
  readonly #timers: NodeJS.Timeout[];
  #next: number;
  #isFull = false;

  constructor(feed: Feed, response: ServerResponse, lastId: string | undefined, states: States) {
    this.#feed = feed;
    this.#response = response;
    this.#states = states;
    const resumed = sequenceOf(lastId, feed);
    this.#next = resumed === undefined ? feed.first : resumed + 1;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      // Proxies that compress or buffer would hold events back.
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    response.on("drain", () => {
      this.#isFull = false;
      this.#pump();
    });
    response.on("close", () => this.#stop());
    // Broken connections are expected; `close` follows.
    response.on("error", () => {});
    this.#write(`retry: ${RETRY_MS}\n\n`);
    const hello = { epoch: feed.epoch, resumed: resumed !== undefined };
    this.#write(`event: hello\ndata: ${JSON.stringify(hello)}\n\n`);
    this.#unsubscribe = feed.onAdded(() => this.#pump());
    this.#timers = [
      // A reader behind a proxy notices only so that the connection is gone, and so does this server.
      setInterval(() => this.#write(": \n\n"), HEARTBEAT_MS),
      setInterval(() => this.#sendStates(), STATE_MS),
    ];
    this.#sendStates();
    this.#pump();
  }

  end(): void {
    this.#stop();
    this.#response.end();
  }

  #pump(): void {
    const feed = this.#feed;
    while (!this.#isFull && this.#next <= feed.last) {
      if (this.#next < feed.first) {
        const skipped = feed.first - this.#next;
        this.#next = feed.first;
        this.#write(`event: gap\ndata: ${JSON.stringify({ skipped })}\n\n`);
        continue;
      }
      const event = feed.at(this.#next);
      if (event === undefined) return;
      this.#next++;
      this.#write(`id: ${feed.epoch}-${event.sequence}\nevent: ${event.type}\ndata: ${event.data}\n\n`);
    }
  }

  #sendStates(): void {
    for (const [type, read] of Object.entries(this.#states)) {
      if (this.#isFull) return;
      const data = JSON.stringify(read());
      if (this.#sent.get(type) === data) continue;
      this.#sent.set(type, data);
      this.#write(`event: ${type}\ndata: ${data}\n\n`);
    }
  }

  #write(text: string): void {
    if (!this.#response.write(text)) this.#isFull = true;
  }

  #stop(): void {
    this.#unsubscribe();
    for (const timer of this.#timers) clearInterval(timer);
  }
}

/** The number in an id, if it is one of this feed and all after it is kept. */
function sequenceOf(id: string | undefined, feed: Feed): number | undefined {
  const [, epoch, number] = /^([0-9a-f]+)-(\d{1,15})$/.exec(id ?? "") ?? [];
  if (epoch !== feed.epoch) return undefined;
  const sequence = Number(number);
  return sequence <= feed.last ? sequence : undefined;
}
