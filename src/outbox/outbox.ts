/**
 * Keeps messages in storage until the gateway has acknowledged them: at least once, one at a time, and in order except
 * for messages that were passed over because they were rejected. The queue and its format are in queue.ts and record.ts,
 * one flush in delivery.ts, its times in schedule.ts.
 */

import { copyBytes } from "../crypto/bytes.js";
import { type ErrorClass, IotHubError } from "../errors.js";
import type { CancelSignal, Clock, Random, Storage, Timer } from "../host.js";
import { checkOptions, flushRules } from "../options.js";
import { AbortForwarder, Canceller } from "../request/abort.js";
import type { PostOptions, RetryNotice } from "../request/client.js";
import { Delivery, type FlushEnd, type Verdict } from "./delivery.js";
import { StoredQueue } from "./queue.js";
import { MAX_PARTS, type StoredMessage } from "./record.js";
import { Schedule } from "./schedule.js";

export type { FlushEnd, StoredMessage };

/** Why a message will not be delivered from this outbox. */
export type DropReason =
  /** The outbox was full, and this was the oldest. */
  | "full"
  /**
   * The gateway rejected this very message: with a code that speaks of the message, again after it had acknowledged
   * another one; with an unknown code, or an unreadable response that is the same each time, three times over with three
   * others. Or it cannot be sent at all.
   */
  | "refused"
  /** What lay in storage does not fit its checksum. */
  | "damaged"
  /** A later version of this library stored it. It is left in storage for that version. */
  | "unsupported";

export interface DroppedMessage {
  readonly sequence: number;
  readonly reason: DropReason;
  /** Absent if it could not be read. */
  readonly message?: StoredMessage;
  /** What the gateway rejected it with. */
  readonly error?: IotHubError;
}

export interface OutboxOptions<Result = unknown> {
  /**
   * Begins the keys in storage, 1 to 4 characters of `[A-Za-z0-9_-]`; `"out"` unless given. Devices that share a storage
   * need different ones.
   */
  readonly name?: string;
  /** 100 unless given; 1 to 1 000 000. */
  readonly maxMessages?: number;
  /**
   * Counted as the non-volatile storage of an ESP32 counts: each value in entries of 32 bytes, and three more. 17 408
   * unless given: 77 messages of 100 bytes or one of 16 384, which fits a partition of 24 KB beside Wi-Fi's own data.
   */
  readonly maxBytes?: number;
  /** What happens to a message when there is no room: `"dropOldest"`, unless given, or `"rejectNewest"`. */
  readonly policy?: "dropOldest" | "rejectNewest";
  /**
   * Maximum delay before queued messages are sent automatically, in milliseconds; 0 for never: then {@link Outbox.flush}
   * has to be called. After failures of any kind it waits longer, by a random part of up to ten minutes, and goes on.
   * @default 30000
   */
  readonly flushIntervalMs?: number;
  /** Sends at once when so many messages wait; 10 unless given. Has no effect if `flushIntervalMs` is 0. */
  readonly flushThreshold?: number;
  /** Called when the gateway has taken a message and it has been deleted. What a callback throws is ignored. */
  readonly onDelivered?: (message: StoredMessage, result: Result) => void;
  /** Called before a message is sent again. */
  readonly onRetried?: (message: StoredMessage, notice: RetryNotice) => void;
  readonly onDropped?: (dropped: DroppedMessage) => void;
  /** Called when a flush has ended, whether it was started by the outbox or by {@link Outbox.flush}. */
  readonly onFlushed?: (report: FlushReport) => void;
}

export interface EnqueueResult {
  readonly sequence: number;
  /** Messages that wait, this one included. */
  readonly size: number;
}

export interface FlushOptions {
  /** The promise is resolved no later than so many milliseconds from now; 300 000 unless given. */
  readonly deadlineMs?: number;
  readonly signal?: CancelSignal;
}

export interface FlushResult {
  /** Messages that the gateway acknowledged. */
  readonly delivered: number;
  /** Messages that wait still. */
  readonly kept: number;
  /** Messages that left the outbox without being delivered: rejected on evidence, or damaged. */
  readonly dropped: number;
  /** Why it ended: the outbox is empty, the time is up, the device was closed, or the class of `error`. */
  readonly ended: FlushEnd;
  /** What the last message met that could not be delivered. */
  readonly error?: IotHubError;
}

/** How a flush ended, and what comes next. */
export interface FlushReport extends FlushResult {
  /**
   * Delay until the outbox sends by itself again, in milliseconds. Absent if it does not: nothing waits,
   * `flushIntervalMs` is 0, or the device was closed.
   */
  readonly nextFlushMs?: number;
}

/** What an outbox needs of the device. */
export interface OutboxContext<Result> {
  readonly storage: Storage;
  readonly timer: Timer;
  readonly random: Random;
  readonly clock: Pick<Clock, "monotonicMs">;
  /** The best known time, in milliseconds since 1970. */
  nowMs(): number;
  send(message: StoredMessage, options: PostOptions): Promise<Result>;
  classify(error: IotHubError): ErrorClass;
}

const MAX_MS = 2147483647;
const DEFAULT_DEADLINE_MS = 300000;
const MAX_FLUSHES = 16;

/** After close no further writes are begun, as after a power cut: none can meet those of the device that comes next. */
class ClosableStorage implements Storage {
  readonly #storage: Storage;
  closed = false;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#storage.get(key);
  }

  set(key: string, value: Uint8Array): Promise<void> {
    return this.closed ? Promise.reject(deviceClosed()) : this.#storage.set(key, value);
  }

  delete(key: string): Promise<void> {
    return this.closed ? Promise.reject(deviceClosed()) : this.#storage.delete(key);
  }

  keys(): Promise<string[]> {
    return this.#storage.keys();
  }
}

export class Outbox<Result = unknown> {
  readonly #context: OutboxContext<Result>;
  readonly #options: OutboxOptions<Result>;
  readonly #storage: ClosableStorage;
  readonly #queue: StoredQueue;
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #schedule: Schedule;
  /** Operations on the queue, one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #opening: Promise<void> | undefined;
  #opened = false;
  /** Flushes, one after the other. */
  #flushes: Promise<unknown> = Promise.resolve();
  /** Close handlers. */
  readonly #pending = new Set<() => void>();
  readonly #aborts = new AbortForwarder();
  /** The message that is being sent; it must not be dropped. */
  #held: number | undefined;
  /** Already acknowledged or rejected, not yet deleted: it is not sent again. */
  #settled: { readonly sequence: number; readonly verdict: Verdict<Result> } | undefined;
  #enqueuing = 0;
  #flushing = 0;
  #closed = false;

  /** @throws {IotHubError} INVALID_OPTION */
  constructor(context: OutboxContext<Result>, options: OutboxOptions<Result>) {
    const integer = (name: keyof OutboxOptions, value: unknown, min: number, max: number): number => {
      if (!(Number.isInteger(value) && (value as number) >= min && (value as number) <= max)) {
        throw new IotHubError("INVALID_OPTION", `outbox.${name} must be an integer from ${min} to ${max}.`);
      }
      return value as number;
    };
    const { name = "out", policy = "dropOldest" } = options;
    if (typeof name !== "string" || !/^[A-Za-z0-9_-]{1,4}$/.test(name)) {
      throw new IotHubError("INVALID_OPTION", "outbox.name must be 1 to 4 letters, digits and _ -.");
    }
    if (policy !== "dropOldest" && policy !== "rejectNewest") {
      throw new IotHubError("INVALID_OPTION", 'outbox.policy must be "dropOldest" or "rejectNewest".');
    }
    this.#maxMessages = integer("maxMessages", options.maxMessages ?? 100, 1, 1000000);
    this.#maxBytes = integer("maxBytes", options.maxBytes ?? 17408, 256, Number.MAX_SAFE_INTEGER);
    const intervalMs = integer("flushIntervalMs", options.flushIntervalMs ?? 30000, 0, MAX_MS);
    const threshold = integer("flushThreshold", options.flushThreshold ?? 10, 1, 1000000);
    this.#context = context;
    this.#options = options;
    this.#storage = new ClosableStorage(context.storage);
    this.#queue = new StoredQueue(this.#storage, name);
    const { timer, random, clock } = context;
    const waiting = () => (this.#opened ? this.size : undefined);
    const run = () => this.#start(DEFAULT_DEADLINE_MS, undefined, true).catch(() => {});
    this.#schedule = new Schedule({ timer, random, clock, waiting, run }, { intervalMs, threshold });
  }

  /** Messages that wait. 0 until the storage has been read: by `open`, `enqueue` or `flush`. */
  get size(): number {
    return this.#queue.size;
  }

  /** What they take of the storage, counted as `maxBytes` is. */
  get bytes(): number {
    return this.#queue.bytes;
  }

  /** Whether less than half of its room is taken, by number and by bytes. */
  get isHalfEmpty(): boolean {
    return this.size * 2 < this.#maxMessages && this.bytes * 2 < this.#maxBytes;
  }

  /** Age of the oldest message in milliseconds; 0 if there is none. */
  get oldestAgeMs(): number {
    const { oldestTimeMs } = this.#queue;
    return oldestTimeMs === undefined ? 0 : Math.max(0, this.#context.nowMs() - oldestTimeMs);
  }

  /**
   * Reads what an earlier start has left. The other methods do so themselves.
   * @throws {IotHubError} STORAGE_FAILED, DEVICE_CLOSED
   */
  open(): Promise<void> {
    return this.#settling(this.#open());
  }

  /**
   * Resolves when the message is safe in storage.
   * @param message its payload has been checked; `timeMs` is now unless given
   * @throws {IotHubError} INVALID_TOPIC, OUTBOX_FULL, PAYLOAD_TOO_LARGE, STORAGE_FAILED, DEVICE_CLOSED
   */
  enqueue(message: Omit<StoredMessage, "sequence" | "timeMs"> & { readonly timeMs?: number }): Promise<EnqueueResult> {
    if (this.#closed) return Promise.reject(deviceClosed());
    if (this.#enqueuing >= this.#maxMessages) return Promise.reject(full());
    this.#enqueuing++;
    const timeMs = message.timeMs ?? this.#context.nowMs();
    const { payload: given } = message;
    // The caller may use its bytes again at once.
    const payload = typeof given === "string" ? given : copyBytes(given, given.length);
    const stored = this.#open()
      .then(() => this.#inTurn(() => this.#store({ ...message, payload, timeMs })))
      .finally(() => {
        this.#enqueuing--;
      })
      .then((sequence) => {
        this.#schedule.update();
        return { sequence, size: this.size };
      });
    return this.#settling(stored);
  }

  /**
   * Sends what waits until nothing is left, the time is up, or going on makes no sense. A message that is rejected is
   * passed over: the flush goes on with the next one of another topic, else with the newest, and ends after four
   * rejections in a row.
   * @throws {IotHubError} INVALID_OPTION, STORAGE_FAILED, DEVICE_CLOSED; QUEUE_FULL if 16 flushes wait already
   */
  flush(options: FlushOptions = {}): Promise<FlushResult> {
    try {
      checkOptions("", options, flushRules);
    } catch (error) {
      return Promise.reject(error);
    }
    const { deadlineMs = DEFAULT_DEADLINE_MS, signal } = options;
    if (this.#closed) return Promise.reject(deviceClosed());
    if (this.#flushing >= MAX_FLUSHES) {
      return Promise.reject(new IotHubError("QUEUE_FULL", "Too many flushes are waiting already."));
    }
    return this.#start(deadlineMs, signal, false);
  }

  /** Ends what is under way. What is in storage stays there. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#storage.closed = true;
    this.#schedule.close();
    for (const end of [...this.#pending]) end();
  }

  /** Flushes, tells the schedule how it ended, and reports it. */
  #start(deadlineMs: number, signal: CancelSignal | undefined, planned: boolean): Promise<FlushResult> {
    return this.#flush(deadlineMs, signal, planned).then(
      (result) => {
        this.#ended(result, planned);
        return result;
      },
      (cause) => {
        const error = storageError(cause);
        const ended = this.#closed ? "closed" : "storage";
        this.#ended({ delivered: 0, dropped: 0, kept: this.size, ended, error }, planned);
        throw error;
      },
    );
  }

  #ended(result: FlushResult, planned: boolean): void {
    this.#schedule.ended(result, planned);
    const { nextMs: nextFlushMs } = this.#schedule;
    this.#call(() => this.#options.onFlushed?.(nextFlushMs === undefined ? result : { ...result, nextFlushMs }));
  }

  #flush(deadlineMs: number, signal: CancelSignal | undefined, planned: boolean): Promise<FlushResult> {
    const { timer, clock } = this.#context;
    const end = clock.monotonicMs() + deadlineMs;
    const tally = { delivered: 0, dropped: 0 };
    const canceller = new Canceller();
    return new Promise((resolve, reject) => {
      let over = false;
      const finish = (ended: FlushResult["ended"], error?: IotHubError) => {
        if (over) return;
        clear();
        resolve({ ...tally, kept: this.size, ended, error });
        canceller.cancel();
      };
      const closed = () => finish("closed");
      const aborted = { cancel: () => finish("cancelled") };
      this.#flushing++;
      const clear = () => {
        over = true;
        this.#flushing--;
        timer.clear(handle);
        this.#pending.delete(closed);
        if (signal !== undefined) this.#aborts.remove(signal, aborted);
      };
      const handle = timer.set(() => finish("deadline"), deadlineMs);
      this.#pending.add(closed);
      if (signal !== undefined) this.#aborts.add(signal, aborted);
      if (over) return;
      const turn = this.#flushes.then(async () => {
        if (over) return;
        try {
          await this.#open();
          const { ended, error } = await this.#deliver(tally, end, canceller.signal, planned);
          finish(ended, error);
        } catch (error) {
          if (over) return;
          clear();
          reject(error);
        }
      });
      this.#flushes = turn;
    });
  }

  #deliver(
    tally: { delivered: number; dropped: number },
    end: number,
    signal: CancelSignal,
    planned: boolean,
  ): Promise<Pick<FlushResult, "ended" | "error">> {
    const { onRetried } = this.#options;
    const settle = (sequence: number, verdict: Verdict<Result>) => this.#settle(tally, sequence, verdict);
    const delivery = new Delivery<Result>(
      {
        queue: this.#queue,
        device: this.#context,
        inTurn: (operation) => this.#inTurn(operation),
        hold: (sequence) => {
          this.#held = sequence;
        },
        settle,
        // Whoever asks for a flush waits for it; the outbox's own come back later, and further apart.
        waitForPause: !planned,
        onRetried: onRetried && ((message, notice) => this.#call(() => onRetried(message, notice))),
      },
      end,
      signal,
    );
    const settled = this.#settled;
    const delivered = settled ? settle(settled.sequence, settled.verdict).then(() => delivery.run()) : delivery.run();
    return delivered.catch((error) => ({ ended: "storage", error: storageError(error) }));
  }

  /** Deletes a message, and reports what it came to once that has been done. */
  async #settle(tally: { delivered: number; dropped: number }, sequence: number, verdict: Verdict<Result>) {
    this.#settled = { sequence, verdict };
    await this.#inTurn(async () => {
      const index = this.#queue.indexOf(sequence);
      if (index >= 0) await this.#queue.remove(index);
    });
    // Where the outbox made room for another message, it has been deleted and reported already.
    if (this.#settled?.sequence !== sequence) return;
    tally[verdict.as]++;
    this.#report(sequence, verdict);
  }

  /** Reports a settled message that is gone from the storage. */
  #report(sequence: number, verdict: Verdict<Result>): void {
    this.#settled = undefined;
    if (verdict.as === "dropped") this.#dropped({ sequence, ...verdict });
    else this.#call(() => this.#options.onDelivered?.(verdict.message, verdict.result));
  }

  /** Makes room if it has to, and writes. */
  async #store(message: Omit<StoredMessage, "sequence">): Promise<number> {
    if (this.#closed) throw deviceClosed();
    const queue = this.#queue;
    const { bytes, parts, append } = queue.measure(message);
    if (bytes > this.#maxBytes || parts > MAX_PARTS) {
      throw new IotHubError("PAYLOAD_TOO_LARGE", `The message takes ${bytes} bytes; the outbox has ${this.#maxBytes}.`);
    }
    while (queue.size >= this.#maxMessages || queue.bytes + bytes > this.#maxBytes) {
      const index = queue.sequenceAt(0) === this.#held ? 1 : 0;
      const sequence = queue.sequenceAt(index);
      const settled = this.#settled;
      if (settled !== undefined && settled.sequence === sequence) {
        await queue.remove(index);
        this.#report(sequence, settled.verdict);
        continue;
      }
      if (this.#options.policy === "rejectNewest" || sequence === undefined) throw full();
      const dropped = await queue.read(index);
      await queue.remove(index);
      this.#dropped({ sequence, reason: dropped ? "full" : "damaged", message: dropped });
    }
    return append();
  }

  #open(): Promise<void> {
    if (this.#closed) return Promise.reject(deviceClosed());
    this.#opening ??= this.#inTurn(async () => {
      const found = await this.#queue.open();
      this.#opened = true;
      for (const one of found) this.#dropped(one);
    }).catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(operation).catch((error) => {
      throw storageError(error);
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** The promise, or DEVICE_CLOSED as soon as the device is closed, even if the storage never calls back. */
  #settling<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const closed = () => {
        this.#pending.delete(closed);
        reject(deviceClosed());
      };
      this.#pending.add(closed);
      promise.then(
        (value) => {
          this.#pending.delete(closed);
          resolve(value);
        },
        (error) => {
          this.#pending.delete(closed);
          reject(error);
        },
      );
    });
  }

  #dropped(dropped: DroppedMessage): void {
    this.#call(() => this.#options.onDropped?.(dropped));
  }

  #call(callback: () => void): void {
    try {
      callback();
    } catch {
      // A throwing callback must not affect delivery.
    }
  }
}

function full(): IotHubError {
  return new IotHubError("OUTBOX_FULL", "The outbox is full.");
}

function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}

function storageError(error: unknown): IotHubError {
  if (error instanceof IotHubError) return error;
  return new IotHubError("STORAGE_FAILED", "The storage could not be used.", error);
}
