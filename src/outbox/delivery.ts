/**
 * One flush of an outbox: chooses the next message, sends it, and decides what its outcome means.
 *
 * A message leaves the outbox when the gateway has acknowledged it, or on evidence that it can never be accepted (see
 * evidence.ts). Evidence is collected within one flush, so that a board that sleeps does not have to store it.
 */

import { type ErrorClass, IotHubError, type ResponseError } from "../errors.js";
import type { AbortSignalLike, Clock } from "../host.js";
import type { PostOptions, RetryNotice } from "../request/client.js";
import { countRejection, payloadFault, roundsNeeded, type Suspect } from "../request/evidence.js";
import type { DroppedMessage } from "./outbox.js";
import type { Batch, Packer } from "./pack.js";
import type { Held, Read, StoredQueue } from "./queue.js";
import type { StoredMessage } from "./record.js";

/** Number of consecutive rejections that ends a flush: more would only load a gateway that rejects everything. */
const MAX_REJECTIONS = 4;
/** Maximum number of messages read to find one with another topic. */
const MAX_SEARCHED = 16;
const MAX_MS = 2147483647;
const EMPTY: DeliveryEnd = Object.freeze({ reason: "empty" });

/** Why a flush ended. */
export type FlushReason = "empty" | "deadline" | "closed" | "storage" | ErrorClass;

export interface DeliveryEnd {
  readonly reason: FlushReason;
  readonly error?: IotHubError;
}

/** Outcome of a message. The message is deleted, unless it is lost, and then reported. */
export type Verdict<Result> =
  | { readonly as: "delivered"; readonly message: StoredMessage; readonly result: Result }
  | { readonly as: "dropped"; readonly dropped: Omit<DroppedMessage, "sequence"> };

/** Linked list of messages that are acknowledged or rejected but not yet deleted. */
export interface Settled<Result> {
  readonly sequence: number;
  readonly verdict: Verdict<Result>;
  readonly next?: Settled<Result>;
}

/** Dependencies of a delivery. */
export interface DeliveryContext<Result> {
  readonly queue: StoredQueue;
  /** Combines readings into batches; undefined if each is sent alone. */
  readonly packer?: Packer;
  /** Serializes operations on the queue. */
  inTurn<T>(operation: () => Promise<T> | T): Promise<T>;
  /** Whether no message is stored or waiting to be stored. */
  isEmpty(): boolean;
  /** Deletes each message, then reports its outcome. */
  settle(settled: Settled<Result>): Promise<void>;
  /** With a packer: sends a reading with its time, or the batch that begins with it. */
  sendPacked?(message: StoredMessage, options: PostOptions, batch: Batch | undefined): Promise<Result>;
  /** Called when readings could not be encoded as one message. */
  onNotPacked?(readings: number, error: unknown): void;
  /** The part of the device that the outbox uses. */
  readonly device: DeliveryDevice<Result>;
  /** Whether to wait for a pause requested by the gateway; otherwise it ends the flush. */
  readonly waitForPause: boolean;
  readonly onRetried?: (message: StoredMessage, notice: RetryNotice) => void;
}

export interface DeliveryDevice<Result> {
  readonly clock: Pick<Clock, "monotonicMs">;
  send(message: StoredMessage, options: PostOptions): Promise<Result>;
  classify(error: IotHubError): ErrorClass;
}

/** A message that was rejected in this flush. */
interface SuspectMessage extends Suspect {
  readonly topic: string;
  readonly endpoint: number;
}

/** How batches that were rejected, or could not be encoded, are split. */
interface Pieces {
  /** Up to this sequence number, a batch has at most `size` readings. */
  end: number;
  size: number;
  /** Sequence number of a message that must be sent alone. */
  single: number;
  /** One or two readings that were rejected as an array: those not yet acknowledged alone. */
  listed: number[];
  /** Up to this sequence number, a failure of `encode` was reported already. */
  announcedEnd: number;
}

interface Chosen {
  readonly sequence: number;
  readonly message: Read;
}

export class Delivery<Result> {
  readonly #context: DeliveryContext<Result>;
  /** Messages being sent. */
  held: Held | undefined;
  readonly #endMs: number;
  readonly #signal: AbortSignalLike;
  // Created on demand: most flushes have no rejection.
  #suspects: Map<number, SuspectMessage> | undefined;
  /** Messages to skip until the next flush. */
  #passed: Set<number> | undefined;
  /** Topics that the device has no permission to publish to. */
  #topics: Set<string> | undefined;
  /** The message rejected last: the next one is searched for after it. */
  #rejected: number | undefined;
  #inRow = 0;
  /** Undefined while no batch has to be split. */
  #pieces: Pieces | undefined;
  /** Outcome of the flush if only rejected messages are left. */
  #last: DeliveryEnd = EMPTY;

  /** @param endMs deadline in monotonic time */
  constructor(context: DeliveryContext<Result>, endMs: number, signal: AbortSignalLike) {
    this.#context = context;
    this.#endMs = endMs;
    this.#signal = signal;
  }

  /**
   * Sends messages until none is left, the deadline has passed, or an error makes further attempts pointless. Rejects
   * if the storage fails.
   */
  async run(): Promise<DeliveryEnd> {
    const { inTurn, device } = this.#context;
    try {
      while (!this.#signal.aborted) {
        const chosen = await inTurn(() => this.#choose());
        if (chosen === undefined) return this.#last;
        const { sequence, message } = chosen;
        if (typeof message === "string") {
          await this.#unreadable(sequence, message);
          continue;
        }
        // Avoids an await, which costs a device as much as reading a message.
        let batch: Promise<Batch | undefined> | Batch | undefined = this.#pack(sequence, message);
        if (batch instanceof Promise) batch = await batch;
        const timeoutMs = Math.min(MAX_MS, Math.floor(this.#endMs - device.clock.monotonicMs()));
        if (this.#signal.aborted || timeoutMs < 1) break;
        // Evidence must be the response to this message, and pages of other servers have no id: use a new connection.
        const sent = await this.#send(message, timeoutMs, this.#suspects?.has(sequence), batch);
        if ("result" in sent) {
          const { result } = sent;
          if (batch === undefined) {
            await this.#settle(sequence, { as: "delivered", message, result });
            if (this.#pieces !== undefined) this.#unlisted(this.#pieces.listed, sequence);
          } else await this.#settleBatch(batch, result);
          for (const suspect of this.#suspects?.values() ?? []) suspect.due ||= suspect.endpoint === message.endpoint;
          if (this.#context.isEmpty()) return this.#last;
          continue;
        }
        const errorClass = device.classify(sent.error);
        if (errorClass === "cancelled" || (errorClass === "timeout" && device.clock.monotonicMs() >= this.#endMs))
          break;
        // A batch of one encoded reading is judged like a single reading.
        const end =
          batch === undefined || (batch.messages.length === 1 && this.#context.packer?.isEncoding)
            ? await this.#judge(sequence, message, sent.error, errorClass)
            : this.#judgeBatch(batch, sent.error, errorClass);
        if (end !== undefined) return end;
      }
    } finally {
      this.held = undefined;
    }
    return { reason: "deadline" };
  }

  /** Not an async function: each pending frame costs a device half a kilobyte. */
  #send(
    message: StoredMessage,
    timeoutMs: number,
    fresh: boolean | undefined,
    batch: Batch | undefined,
  ): Promise<{ result: Result } | { error: IotHubError }> {
    const { device, onRetried, waitForPause, sendPacked } = this.#context;
    const onRetry = onRetried && ((notice: RetryNotice) => onRetried(message, notice));
    const options = { timeoutMs, signal: this.#signal, onRetry, waitForPause, fresh };
    const sent = sendPacked === undefined ? device.send(message, options) : sendPacked(message, options, batch);
    return sent.then(
      (result) => ({ result }),
      (error) => ({ error }),
    );
  }

  /** Not an async function, like #send. */
  #unreadable(sequence: number, read: Exclude<Read, StoredMessage>): Promise<void> | undefined {
    if (read === "corrupt") return this.#settle(sequence, { as: "dropped", dropped: { reason: "corrupt" } });
    if (read === "absent" && this.#context.queue.isLost(sequence)) {
      return this.#settle(sequence, { as: "dropped", dropped: { reason: "lost" } });
    }
    this.#pass(sequence);
    const error = new IotHubError("STORAGE_FAILED", "A stored message cannot be read.");
    this.#last = { reason: "storage", error };
    return undefined;
  }

  async #judge(
    sequence: number,
    message: StoredMessage,
    error: IotHubError,
    errorClass: ErrorClass,
  ): Promise<DeliveryEnd | undefined> {
    const end = { reason: errorClass, error };
    const needed = roundsNeeded(error, errorClass);
    if (payloadFault(error) === "size") this.#context.packer?.restore();
    // An early rejection may concern another message.
    if (needed !== undefined && (error as ResponseError).early) {
      this.#pass(sequence);
    } else if (needed !== undefined) {
      if (needed === 0 || this.#count(sequence, message, error) >= needed) {
        await this.#settle(sequence, { as: "dropped", dropped: { reason: "rejected", message, error } });
        return undefined;
      }
    } else if (errorClass === "console") {
      this.#topics ??= new Set();
      this.#topics.add(message.topic);
      this.#pass(sequence);
    } else if (errorClass === "protocol") {
      this.#pass(sequence);
    } else {
      // The error is not about this message: others would fail as well.
      return end;
    }
    this.#last = end;
    this.#rejected = sequence;
    return ++this.#inRow >= MAX_REJECTIONS ? end : undefined;
  }

  /** Handles the rejection of a batch. No reading is dropped because of it. */
  #judgeBatch({ messages, bytes }: Batch, error: IotHubError, errorClass: ErrorClass): DeliveryEnd | undefined {
    const { length } = messages;
    const first = messages[0].sequence;
    const last = messages[length - 1].sequence;
    const end = { reason: errorClass, error };
    const fault = payloadFault(error);
    if (fault !== undefined || (errorClass === "unreadable" && first <= (this.#pieces?.end ?? -1))) {
      if (fault === "size") this.#context.packer?.lower(bytes);
      const pieces = this.#split(last, Math.ceil(length / 2));
      if (length <= 2 && fault === "content") pieces.listed = messages.map(({ sequence }) => sequence);
    } else if (errorClass === "unreadable") {
      // A captive portal responds to everything with its page. Sending the first reading alone shows whether the batch
      // is the reason.
      this.#split(last, Math.ceil(length / 2)).single = first;
    } else if (roundsNeeded(error, errorClass) !== undefined) {
      // The cause is unknown: judge each reading alone.
      this.#split(last, 1);
    } else if (errorClass === "console" || errorClass === "protocol") {
      if (errorClass === "console") {
        this.#topics ??= new Set();
        this.#topics.add(messages[0].topic);
      }
      for (const { sequence } of messages) this.#pass(sequence);
      this.#last = end;
      this.#rejected = last;
      return ++this.#inRow >= MAX_REJECTIONS ? end : undefined;
    } else {
      return end;
    }
    return undefined;
  }

  /** Notes that a reading was acknowledged alone, possibly one of those that were rejected as an array. */
  #unlisted(listed: number[], sequence: number): void {
    const at = listed.indexOf(sequence);
    if (at < 0) return;
    listed.splice(at, 1);
    if (listed.length > 0) return;
    try {
      this.#context.packer?.misfit();
    } catch (error) {
      this.#context.onNotPacked?.(1, error);
    }
  }

  #split(end: number, size: number): Pieces {
    this.#pieces ??= { end, size, single: -1, listed: [], announcedEnd: -1 };
    this.#pieces.end = end;
    this.#pieces.size = size;
    return this.#pieces;
  }

  /** Counts a rejection. @returns rounds of evidence against the message */
  #count(sequence: number, { topic, endpoint }: StoredMessage, error: IotHubError): number {
    this.#suspects ??= new Map();
    let suspect = this.#suspects.get(sequence);
    if (suspect === undefined) {
      suspect = { topic, endpoint, reason: "", rounds: 0, due: false };
      this.#suspects.set(sequence, suspect);
    }
    return countRejection(suspect, error);
  }

  #pass(sequence: number): void {
    this.#suspects?.delete(sequence);
    this.#passed ??= new Set();
    this.#passed.add(sequence);
  }

  /** One acknowledgement covers the whole batch; none of its readings is sent again. */
  async #settleBatch(batch: Batch, result: Result): Promise<void> {
    const { messages } = batch;
    let settled: Settled<Result> | undefined;
    for (let i = messages.length - 1; i >= 0; i--) {
      const message = messages[i];
      settled = { sequence: message.sequence, verdict: { as: "delivered", message, result }, next: settled };
    }
    this.#context.packer?.accept(batch);
    await this.#context.settle(settled as Settled<Result>);
    this.#ended(messages[messages.length - 1].sequence);
  }

  async #settle(sequence: number, verdict: Verdict<Result>): Promise<void> {
    await this.#context.settle({ sequence, verdict });
    this.#suspects?.delete(sequence);
    this.#ended(sequence);
  }

  #ended(sequence: number): void {
    this.#inRow = 0;
    const suspects = this.#suspects?.size ?? 0;
    if (this.#rejected === sequence || suspects === 0) this.#rejected = undefined;
    if (suspects === 0 && this.#passed === undefined) this.#last = EMPTY;
  }

  /** Chooses the next message to send, which must not be evicted from here on. */
  #choose(): Promise<Chosen | undefined> | undefined {
    this.held = undefined;
    // Without rejections, the oldest message: the full search costs a device as much as reading a message.
    const isPlain = this.#suspects === undefined && this.#passed === undefined && this.#topics === undefined;
    if (isPlain) return this.#hold(0);
    return this.#chooseIndex().then((index) => (index === undefined ? undefined : this.#hold(index)));
  }

  #hold(index: number): Promise<Chosen> | undefined {
    const { queue } = this.#context;
    const sequence = queue.sequenceAt(index);
    if (sequence === undefined) return undefined;
    this.held = { first: sequence, last: sequence };
    return queue.read(index).then((message) => ({ sequence, message }));
  }

  /**
   * Combines the chosen message and those after it into a batch; none of them may be evicted. A message is sent alone
   * if it cannot be in a batch, if evidence is being collected, or if its batch was split. If `encode` is given, a
   * single reading is encoded too, as the gateway may accept nothing else on this topic; otherwise it is sent
   * unchanged, so that a rejection cannot be due to the array.
   */
  #pack(sequence: number, message: StoredMessage): Promise<Batch | undefined> | undefined {
    const { packer, inTurn } = this.#context;
    if (packer === undefined || packer.maxReadings === 0) return undefined;
    const pieces = this.#pieces;
    const isPiece = pieces !== undefined && sequence <= pieces.end;
    const isOnTrial = this.#suspects !== undefined && this.#suspects.size > 0;
    const isAlone = isOnTrial || sequence === pieces?.single;
    const limit = isAlone ? 1 : isPiece ? pieces.size : packer.maxReadings;
    if (limit === 1 && !packer.isEncoding && packer.maxReadings > 1) return undefined;
    return inTurn(() => this.#gather(packer, message, limit, isPiece));
  }

  async #gather(packer: Packer, first: StoredMessage, limit: number, isPiece: boolean): Promise<Batch | undefined> {
    const { queue } = this.#context;
    const { sequence, topic, qos } = first;
    const part = packer.part(first);
    if (part === undefined || !packer.fits(part)) return undefined;
    const messages = [first];
    const texts = [part.text];
    let bytes = part.bytes + 2;
    let index = queue.indexOf(sequence);
    while (messages.length < limit) {
      const next = queue.sequenceAt(++index);
      if (next === undefined || (isPiece && next > (this.#pieces?.end ?? -1)) || this.#passed?.has(next)) break;
      const read = queue.endpointAt(index) === 0 ? await queue.read(index) : "absent";
      if (typeof read === "string" || read.topic !== topic || read.qos !== qos) break;
      const more = packer.part(read);
      if (more === undefined) break;
      bytes += more.bytes + 1;
      // Part of a rejected batch: it is smaller than that already.
      if (bytes > packer.maxBytes && !isPiece) break;
      messages.push(read);
      texts.push(more.text);
    }
    const last = messages[messages.length - 1].sequence;
    this.held = { first: sequence, last };
    try {
      // Part of a rejected batch: it is smaller than that already.
      const isSmaller = isPiece && messages.length > 1;
      const maxBytes = messages.length === 1 ? packer.mostBytes : packer.maxBytes;
      return packer.batch(messages, isSmaller ? Number.POSITIVE_INFINITY : maxBytes, texts);
    } catch (error) {
      if (sequence > (this.#pieces?.announcedEnd ?? -1)) this.#context.onNotPacked?.(messages.length, error);
      if (messages.length === 1) return undefined;
      this.#split(last, 1).announcedEnd = last;
      this.held = { first: sequence, last: sequence };
      // Send each alone, beginning with the first.
      return this.#gather(packer, first, 1, true);
    }
  }

  async #chooseIndex(): Promise<number | undefined> {
    const { queue } = this.#context;
    for (const [sequence, { due }] of this.#suspects ?? []) {
      const index = queue.indexOf(sequence);
      // It was evicted meanwhile.
      if (index < 0) this.#suspects?.delete(sequence);
      else if (due) return index;
    }
    const rejectedAt = this.#rejected === undefined ? -1 : queue.indexOf(this.#rejected);
    if (rejectedAt < 0) return this.#firstFrom(0);
    const other = await this.#firstFrom(rejectedAt + 1, this.#suspects?.get(this.#rejected as number));
    if (other !== undefined) return other;
    for (let index = queue.size - 1; index >= 0; index--) if (await this.#isOpen(index)) return index;
    return undefined;
  }

  /**
   * Returns the index of the first open message from `start` on. With a suspect: the first one for the same endpoint
   * and another topic, whose acknowledgement is evidence, or else the first one for another endpoint.
   */
  async #firstFrom(start: number, suspect?: SuspectMessage): Promise<number | undefined> {
    const { queue } = this.#context;
    const end = suspect === undefined ? queue.size : Math.min(queue.size, start + MAX_SEARCHED);
    let elsewhere: number | undefined;
    for (let index = start; index < end; index++) {
      if (!(await this.#isOpen(index))) continue;
      const message = suspect && (await queue.read(index));
      if (suspect === undefined || typeof message !== "object") return index;
      if (message.endpoint !== suspect.endpoint) elsewhere ??= index;
      else if (message.topic !== suspect.topic) return index;
    }
    return elsewhere;
  }

  /** Whether a message is neither skipped nor a suspect. */
  async #isOpen(index: number): Promise<boolean> {
    const { queue } = this.#context;
    const sequence = queue.sequenceAt(index) as number;
    if (this.#passed?.has(sequence) || this.#suspects?.has(sequence)) return false;
    if (this.#topics === undefined) return true;
    const topic = topicOf(await queue.read(index));
    if (topic === undefined || !this.#topics.has(topic)) return true;
    this.#pass(sequence);
    return false;
  }
}

function topicOf(read: Read): string | undefined {
  return typeof read === "string" ? undefined : read.topic;
}
