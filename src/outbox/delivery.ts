/**
 * One flush of an outbox: which message is sent next, and what becomes of it.
 *
 * A message leaves the outbox when the gateway has acknowledged it, or on evidence that it can never be accepted. A
 * rejection alone is no evidence, since a gateway, an account or a proxy may reject everything for a while. A round of
 * evidence is: the message is rejected, another one is acknowledged, the message is rejected again for the same reason.
 * All rounds fall into one flush, so that a board that sleeps needs no memory of them.
 */

import { AnswerError, type ErrorClass, type IotHubError } from "../errors.js";
import type { CancelSignal } from "../host.js";
import type { RequestOptions, RetryNotice } from "../request/client.js";
import type { StoredQueue } from "./queue.js";
import type { StoredMessage } from "./record.js";

/** Rounds for a code that speaks of the message, and for one that may speak of anything. */
const ROUNDS_MESSAGE = 1;
// With a gateway that rejects half of everything at random, one round costs one innocent message in eight, three cost
// less than one in a hundred.
const ROUNDS_UNKNOWN = 3;
/** A flush ends after so many rejections in a row: more would only load a gateway that rejects everything. */
const MAX_REJECTIONS = 4;
/** Messages that are read in search of one with another topic. */
const MAX_SEARCHED = 16;
const MAX_MS = 2147483647;

/** Why a flush ended. */
export type FlushEnd = "empty" | "deadline" | "closed" | "storage" | ErrorClass;

export interface DeliveryEnd {
  readonly ended: FlushEnd;
  readonly error?: IotHubError;
}

/** What a message has come to; it is deleted, and then reported. */
export type Verdict<Result> =
  | { readonly as: "delivered"; readonly message: StoredMessage; readonly result: Result }
  | { readonly as: "dropped"; readonly reason: "refused"; readonly message: StoredMessage; readonly error: IotHubError }
  | { readonly as: "dropped"; readonly reason: "damaged" };

/** What a delivery needs of its outbox. */
export interface DeliveryContext<Result> {
  readonly queue: StoredQueue;
  /** Runs operations on the queue one after the other. */
  inTurn<T>(operation: () => Promise<T>): Promise<T>;
  /** The message that is being sent, which must not be evicted. */
  hold(sequence: number | undefined): void;
  /** Deletes a message, then reports what it came to. */
  settle(sequence: number, verdict: Verdict<Result>): Promise<void>;
  send(message: StoredMessage, options: RequestOptions): Promise<Result>;
  classify(error: IotHubError): ErrorClass;
  onRetried(message: StoredMessage, notice: RetryNotice): void;
  monotonicMs(): number;
}

/** A message that was rejected in this flush. */
interface Suspect {
  readonly topic: string;
  /** What it was rejected with. */
  reason: string;
  rounds: number;
  /** Whether another message was acknowledged since. */
  due: boolean;
}

export class Delivery<Result> {
  readonly #context: DeliveryContext<Result>;
  readonly #endMs: number;
  readonly #signal: CancelSignal;
  readonly #suspects = new Map<number, Suspect>();
  /** Messages that are passed over until the next flush. */
  readonly #passed = new Set<number>();
  /** Topics that the device has no permission to publish to. */
  readonly #topics = new Set<string>();
  /** The message that was rejected last: another one is looked for behind it. */
  #rejected: number | undefined;
  #inRow = 0;
  /** What the flush ends with where nothing is left but messages that were rejected. */
  #last: DeliveryEnd = { ended: "empty" };

  /** @param endMs when to end, in the monotonic time of the context */
  constructor(context: DeliveryContext<Result>, endMs: number, signal: CancelSignal) {
    this.#context = context;
    this.#endMs = endMs;
    this.#signal = signal;
  }

  /** Sends until nothing is left to be sent, the time is up, or going on makes no sense. Rejects if the storage fails. */
  async run(): Promise<DeliveryEnd> {
    const { inTurn, hold, monotonicMs } = this.#context;
    try {
      while (!this.#signal.aborted) {
        const chosen = await inTurn(() => this.#choose());
        if (chosen === undefined) return this.#last;
        const { sequence, message } = chosen;
        const timeoutMs = Math.min(MAX_MS, Math.floor(this.#endMs - monotonicMs()));
        if (message === undefined) {
          await this.#settle(sequence, { as: "dropped", reason: "damaged" });
          continue;
        }
        if (this.#signal.aborted || timeoutMs < 1) break;
        const end = await this.#send(sequence, message, timeoutMs);
        if (end === "deadline") break;
        if (end !== undefined) return end;
      }
    } finally {
      hold(undefined);
    }
    return { ended: "deadline" };
  }

  /** @returns undefined to go on */
  async #send(
    sequence: number,
    message: StoredMessage,
    timeoutMs: number,
  ): Promise<DeliveryEnd | "deadline" | undefined> {
    const { send, classify, onRetried, monotonicMs } = this.#context;
    let result: Result;
    try {
      const onRetry = (notice: RetryNotice) => onRetried(message, notice);
      result = await send(message, { timeoutMs, signal: this.#signal, onRetry });
    } catch (cause) {
      const error = cause as IotHubError;
      const errorClass = classify(error);
      if (errorClass === "cancelled" || (errorClass === "timeout" && monotonicMs() >= this.#endMs)) return "deadline";
      return this.#judge(sequence, message, error, errorClass);
    }
    await this.#settle(sequence, { as: "delivered", message, result });
    for (const suspect of this.#suspects.values()) suspect.due = true;
    return undefined;
  }

  async #judge(
    sequence: number,
    message: StoredMessage,
    error: IotHubError,
    errorClass: ErrorClass,
  ): Promise<DeliveryEnd | undefined> {
    const isResponse = error instanceof AnswerError;
    // What cannot even be sent needs no evidence.
    if (errorClass === "message" && !isResponse) {
      await this.#settle(sequence, { as: "dropped", reason: "refused", message, error });
      return undefined;
    }
    const end = { ended: errorClass, error };
    const needed = errorClass === "message" ? ROUNDS_MESSAGE : ROUNDS_UNKNOWN;
    if (isResponse && (errorClass === "message" || errorClass === "unknown" || errorClass === "unreadable")) {
      if (this.#witness(sequence, message.topic, reasonOf(error)) >= needed) {
        await this.#settle(sequence, { as: "dropped", reason: "refused", message, error });
        return undefined;
      }
    } else if (errorClass === "console") {
      this.#topics.add(message.topic);
      this.#pass(sequence);
    } else if (errorClass === "protocol") {
      this.#pass(sequence);
    } else {
      // It says nothing about this message, and the others would fare no better.
      return end;
    }
    this.#last = end;
    this.#rejected = sequence;
    return ++this.#inRow >= MAX_REJECTIONS ? end : undefined;
  }

  /** Counts a rejection. @returns rounds of evidence against the message */
  #witness(sequence: number, topic: string, reason: string): number {
    const suspect = this.#suspects.get(sequence);
    if (suspect === undefined) {
      this.#suspects.set(sequence, { topic, reason, rounds: 0, due: false });
      return 0;
    }
    if (suspect.reason !== reason) {
      suspect.reason = reason;
      suspect.rounds = 0;
    } else if (suspect.due) {
      suspect.rounds++;
    }
    suspect.due = false;
    return suspect.rounds;
  }

  #pass(sequence: number): void {
    this.#suspects.delete(sequence);
    this.#passed.add(sequence);
  }

  async #settle(sequence: number, verdict: Verdict<Result>): Promise<void> {
    await this.#context.settle(sequence, verdict);
    this.#suspects.delete(sequence);
    this.#inRow = 0;
    if (this.#rejected === sequence || this.#suspects.size === 0) this.#rejected = undefined;
    if (this.#suspects.size === 0 && this.#passed.size === 0) this.#last = { ended: "empty" };
  }

  /** The next message to send, which is held from here on. */
  async #choose(): Promise<{ sequence: number; message: StoredMessage | undefined } | undefined> {
    const { queue, hold } = this.#context;
    hold(undefined);
    const index = await this.#chooseIndex();
    if (index === undefined) return undefined;
    const sequence = queue.sequenceAt(index) as number;
    hold(sequence);
    return { sequence, message: await queue.read(index) };
  }

  async #chooseIndex(): Promise<number | undefined> {
    const { queue } = this.#context;
    for (const [sequence, { due }] of this.#suspects) {
      const index = queue.indexOf(sequence);
      // Evicted meanwhile.
      if (index < 0) this.#suspects.delete(sequence);
      else if (due) return index;
    }
    const rejectedAt = this.#rejected === undefined ? -1 : queue.indexOf(this.#rejected);
    if (rejectedAt < 0) return this.#firstFrom(0);
    const topic = this.#suspects.get(this.#rejected as number)?.topic;
    const other = await this.#firstFrom(rejectedAt + 1, topic);
    if (other !== undefined) return other;
    for (let index = queue.size - 1; index >= 0; index--) if (await this.#isOpen(index)) return index;
    return undefined;
  }

  /** Index of the first message from there on that is not passed over; with a topic, the first of another one. */
  async #firstFrom(start: number, notOf?: string): Promise<number | undefined> {
    const { queue } = this.#context;
    const end = notOf === undefined ? queue.size : Math.min(queue.size, start + MAX_SEARCHED);
    for (let index = start; index < end; index++) {
      if (!(await this.#isOpen(index))) continue;
      if (notOf === undefined || (await queue.read(index))?.topic !== notOf) return index;
    }
    return undefined;
  }

  /** Whether a message is neither passed over nor a suspect. */
  async #isOpen(index: number): Promise<boolean> {
    const { queue } = this.#context;
    const sequence = queue.sequenceAt(index) as number;
    if (this.#passed.has(sequence) || this.#suspects.has(sequence)) return false;
    if (this.#topics.size === 0) return true;
    const message = await queue.read(index);
    if (message === undefined || !this.#topics.has(message.topic)) return true;
    this.#passed.add(sequence);
    return false;
  }
}

/** What makes two rejections the same: the gateway's code, or the status and the beginning of the page. */
function reasonOf({ code, status, gatewayCode, excerpt = "" }: AnswerError): string {
  return code === "GATEWAY_REJECTED" ? `${code} ${gatewayCode}` : `${code} ${status} ${excerpt}`;
}
