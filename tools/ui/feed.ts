import { randomBytes } from "node:crypto";

/** An event as it is sent. */
export interface FeedEvent {
  readonly sequence: number;
  readonly type: string;
  /** JSON, on one line. */
  readonly data: string;
}

const MAX_EVENTS = 10_000;
const MAX_CHARACTERS = 32_000_000;

/**
 * The last events, numbered from 1, each serialised once. Each stream reads from it at its pace, so that a slow or
 * stopped reader costs no further memory.
 */
export class Feed {
  /** Differs after each start: a number of an earlier one means another event. */
  readonly epoch = randomBytes(6).toString("hex");
  readonly #maxEvents: number;
  readonly #maxCharacters: number;
  #events: FeedEvent[] = [];
  /** Position of the oldest event that is kept. */
  #start = 0;
  #characters = 0;
  #last = 0;
  readonly #listeners = new Set<() => void>();

  constructor(maxEvents = MAX_EVENTS, maxCharacters = MAX_CHARACTERS) {
    this.#maxEvents = maxEvents;
    this.#maxCharacters = maxCharacters;
  }

  get last(): number {
    return this.#last;
  }

  /** Number of the oldest event that is kept; one more than `last` if there is none. */
  get first(): number {
    return this.#last - (this.#events.length - this.#start) + 1;
  }

  add(type: string, value: object): void {
    const data = JSON.stringify(value);
    this.#last++;
    this.#events.push({ sequence: this.#last, type, data });
    this.#characters += data.length;
    while (this.#events.length - this.#start > this.#maxEvents || this.#characters > this.#maxCharacters) {
      this.#characters -= this.#events[this.#start].data.length;
      this.#start++;
    }
    // Moving all events for each one that is dropped would take longer than all the rest.
    if (this.#start > this.#maxEvents) {
      this.#events = this.#events.slice(this.#start);
      this.#start = 0;
    }
    for (const listener of this.#listeners) listener();
  }

  /** Returns the event with this number, or undefined if it is not kept, or has not happened. */
  at(sequence: number): FeedEvent | undefined {
    if (sequence < this.first) return undefined;
    return this.#events[this.#start + sequence - this.first];
  }

  /** Calls the listener after each event. @returns a function that ends it */
  onAdded(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
