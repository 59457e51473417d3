/** Keeps messages in storage until the gateway has taken them: at least once, in order, one at a time. */

import { Canceller } from "./cancel.js";
import { type RequestOptions, type RetryNotice, unit } from "./client.js";
import { copyBytes } from "./crypto/words.js";
import { AnswerError, IotHubError } from "./errors.js";
import type { CancelSignal, Clock, Random, Storage, Timer } from "./host.js";
import { StoredQueue } from "./queue.js";
import { MAX_PARTS, type StoredMessage } from "./record.js";
import { backoffMs, type ErrorClass } from "./retry.js";

export type { StoredMessage };

/** Why a message will not be delivered from this outbox. */
export type DropReason =
  /** The outbox was full, and this was the oldest. */
  | "full"
  /** The gateway refused this very message, or a page with HTTP status 400, 414, 415 or 431 came for it five times. */
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
  /** Why the gateway refused it. */
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
   * How long a message waits at most before it is sent without being asked to, in milliseconds; 30 000 unless given, 0
   * for never: then {@link Outbox.flush} has to be called. After failures it waits longer, up to ten minutes more; after
   * five refusals of the credential in a row it stops until `flush` is called.
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
  /** Messages that the gateway took. */
  readonly delivered: number;
  /** Messages that wait still. */
  readonly kept: number;
  /** Messages that the gateway refused for good, or that were damaged. */
  readonly dropped: number;
  /** Why it ended: the outbox is empty, the time is up, the device was closed, or the class of `error`. */
  readonly ended: "empty" | "deadline" | "closed" | "storage" | ErrorClass;
  readonly error?: IotHubError;
}

/** How a flush ended, and what comes next. */
export interface FlushReport extends FlushResult {
  /**
   * Delay until the outbox sends by itself again, in milliseconds. Absent if it does not: nothing waits,
   * `flushIntervalMs` is 0, the credential was rejected five times in a row, or the device was closed.
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
  send(message: StoredMessage, options: RequestOptions): Promise<Result>;
  classify(error: IotHubError): ErrorClass;
}

const MAX_MS = 2147483647;
const DEFAULT_DEADLINE_MS = 300000;
/** After so many credential errors in a row only an explicit flush tries again. */
const MAX_CREDENTIAL_ERRORS = 5;
/** So often a message is refused by what may not be the gateway before it is dropped. */
const MAX_DOUBTS = 5;
const MAX_AUTO_DELAY_MS = 600000;
const MAX_FLUSHES = 16;

/**
 * To the storage, closing is what a power cut is: no write is begun any more, so that none can meet those of the device
 * that comes next.
 */
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
  readonly #intervalMs: number;
  readonly #threshold: number;
  /** Operations on the queue, one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #opening: Promise<void> | undefined;
  #opened = false;
  /** Flushes, one after the other. */
  #flushes: Promise<unknown> = Promise.resolve();
  /** What to call when the device is closed. */
  readonly #pending = new Set<() => void>();
  /** The message that is being sent; it must not be dropped. */
  #held: number | undefined;
  /** The message of which the gateway has said its last word, and that could not be deleted yet. */
  #settled: { readonly sequence: number; readonly as: "delivered" | "dropped"; readonly tell: () => void } | undefined;
  #doubt = { sequence: -1, times: 0 };
  #enqueuing = 0;
  #flushing = 0;
  #closed = false;
  #timer: unknown;
  /** When the timer fires, in monotonic time. */
  #timerDueMs = 0;
  #auto = false;
  #failures = 0;
  #credentialErrors = 0;

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
    this.#intervalMs = integer("flushIntervalMs", options.flushIntervalMs ?? 30000, 0, MAX_MS);
    this.#threshold = integer("flushThreshold", options.flushThreshold ?? 10, 1, 1000000);
    this.#context = context;
    this.#options = options;
    this.#storage = new ClosableStorage(context.storage);
    this.#queue = new StoredQueue(this.#storage, name);
    // What an earlier start left is sent soon, but not by a whole fleet at once after a power cut.
    if (this.#intervalMs > 0) this.#setTimer(unit(context.random) * this.#intervalMs);
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
        this.#schedule();
        return { sequence, size: this.size };
      });
    return this.#settling(stored);
  }

  /**
   * Sends what waits, in order, until nothing is left, the time is up, or going on makes no sense.
   * @throws {IotHubError} INVALID_OPTION, STORAGE_FAILED, DEVICE_CLOSED; QUEUE_FULL if 16 flushes wait already
   */
  flush(options: FlushOptions = {}): Promise<FlushResult> {
    const { deadlineMs = DEFAULT_DEADLINE_MS, signal } = options ?? {};
    if (!(deadlineMs >= 0 && deadlineMs <= MAX_MS)) {
      return Promise.reject(
        new IotHubError("INVALID_OPTION", `deadlineMs must be a number of milliseconds from 0 to ${MAX_MS}.`),
      );
    }
    if (this.#closed) return Promise.reject(deviceClosed());
    if (this.#flushing >= MAX_FLUSHES) {
      return Promise.reject(new IotHubError("QUEUE_FULL", "Too many flushes are waiting already.", undefined, true));
    }
    this.#credentialErrors = 0;
    const flushed = this.#flush(deadlineMs, signal);
    flushed.then(
      (result) => {
        if (result.delivered > 0) {
          this.#failures = 0;
          this.#schedule();
        }
        this.#report(result);
      },
      (error) => this.#report(this.#unopened(error)),
    );
    return flushed;
  }

  /** Ends what is under way. What is in storage stays there. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#storage.closed = true;
    this.#clearTimer();
    for (const end of [...this.#pending]) end();
  }

  #flush(deadlineMs: number, signal: CancelSignal | undefined): Promise<FlushResult> {
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
      const abort = () => finish("cancelled");
      this.#flushing++;
      const clear = () => {
        over = true;
        this.#flushing--;
        timer.clear(handle);
        this.#pending.delete(closed);
        signal?.removeEventListener("abort", abort);
      };
      const handle = timer.set(() => finish("deadline"), deadlineMs);
      this.#pending.add(closed);
      signal?.addEventListener("abort", abort);
      if (signal?.aborted) return abort();
      const turn = this.#flushes.then(async () => {
        if (over) return;
        try {
          await this.#open();
          const { ended, error } = await this.#deliver(tally, end, canceller.signal);
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

  async #deliver(
    tally: { delivered: number; dropped: number },
    end: number,
    signal: CancelSignal,
  ): Promise<Pick<FlushResult, "ended" | "error">> {
    const { clock } = this.#context;
    try {
      while (!signal.aborted) {
        const sequence = await this.#inTurn(async () => {
          this.#held = this.#queue.sequenceAt(0);
          return this.#held;
        });
        if (sequence === undefined) return { ended: "empty" };
        if (this.#settled?.sequence !== sequence) {
          const message = await this.#inTurn(() => this.#queue.read(0));
          const timeoutMs = Math.min(MAX_MS, Math.floor(end - clock.monotonicMs()));
          if (message === undefined) {
            this.#settled = { sequence, as: "dropped", tell: () => this.#dropped({ sequence, reason: "damaged" }) };
          } else if (signal.aborted || timeoutMs < 1) {
            break;
          } else {
            try {
              const result = await this.#context.send(message, {
                timeoutMs,
                signal,
                onRetry: (notice) => this.#call(() => this.#options.onRetried?.(message, notice)),
              });
              const tell = () => this.#call(() => this.#options.onDelivered?.(message, result));
              this.#settled = { sequence, as: "delivered", tell };
            } catch (cause) {
              const error = cause as IotHubError;
              const ended = this.#context.classify(error);
              if (ended !== "permanent") {
                if (ended === "cancelled" || clock.monotonicMs() >= end) break;
                return { ended, error };
              }
              if (this.#isDoubtful(sequence, error)) return { ended: "server", error };
              const tell = () => this.#dropped({ sequence, reason: "refused", message, error });
              this.#settled = { sequence, as: "dropped", tell };
            }
          }
        }
        const { as } = this.#settled;
        await this.#inTurn(() => this.#queue.remove(0));
        tally[as]++;
        this.#tellSettled();
      }
    } catch (error) {
      return { ended: "storage", error: storageError(error) };
    } finally {
      this.#held = undefined;
    }
    return { ended: "deadline" };
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
      const oldest = queue.sequenceAt(0);
      const held = oldest !== undefined && oldest === this.#held;
      if (oldest !== undefined && oldest === this.#settled?.sequence && !held) {
        await queue.remove(0);
        this.#tellSettled();
        continue;
      }
      const index = held ? 1 : 0;
      const sequence = queue.sequenceAt(index);
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

  /** Sends without being asked: at once if enough waits, otherwise after the interval, later after failures. */
  #schedule(): void {
    if (this.#closed || this.#intervalMs === 0 || this.#auto) return;
    if (this.#credentialErrors >= MAX_CREDENTIAL_ERRORS || (this.#opened && this.size === 0)) {
      this.#clearTimer();
    } else if (this.#failures === 0 && this.size >= this.#threshold) {
      this.#run();
    } else if (this.#timer === undefined) {
      const base = { baseDelayMs: this.#intervalMs, maxDelayMs: Math.max(MAX_AUTO_DELAY_MS, this.#intervalMs) };
      const more = this.#failures === 0 ? 0 : backoffMs(this.#failures, base, unit(this.#context.random));
      this.#setTimer(Math.min(MAX_MS, this.#intervalMs + more));
    }
  }

  #run(): void {
    this.#clearTimer();
    this.#auto = true;
    this.#flush(DEFAULT_DEADLINE_MS, undefined)
      .then(
        (result) => {
          const { ended, delivered } = result;
          this.#failures = ended === "empty" || delivered > 0 ? 0 : this.#failures + 1;
          this.#credentialErrors = ended === "credential" ? this.#credentialErrors + 1 : 0;
          return result;
        },
        (error) => {
          this.#failures++;
          return this.#unopened(error);
        },
      )
      .then((result) => {
        this.#auto = false;
        this.#schedule();
        this.#report(result);
      });
  }

  /** The result of a flush that found the storage unreadable, or the device closed. */
  #unopened(error: IotHubError): FlushResult {
    return { delivered: 0, dropped: 0, kept: this.size, ended: this.#closed ? "closed" : "storage", error };
  }

  #report(result: FlushResult): void {
    const { onFlushed } = this.#options;
    if (onFlushed === undefined) return;
    let nextFlushMs: number | undefined;
    if (this.#auto) nextFlushMs = 0;
    else if (this.#timer !== undefined) {
      nextFlushMs = Math.max(0, Math.round(this.#timerDueMs - this.#context.clock.monotonicMs()));
    }
    this.#call(() => onFlushed(nextFlushMs === undefined ? result : { ...result, nextFlushMs }));
  }

  #setTimer(delayMs: number): void {
    this.#timerDueMs = this.#context.clock.monotonicMs() + delayMs;
    this.#timer = this.#context.timer.set(() => {
      this.#timer = undefined;
      this.#run();
    }, delayMs);
  }

  #clearTimer(): void {
    if (this.#timer !== undefined) this.#context.timer.clear(this.#timer);
    this.#timer = undefined;
  }

  /**
   * Whether a refusal may be of something before the gateway, which would refuse any message: a page with a status that
   * says nothing of the size or content. It is believed when the same message has got one several times.
   */
  #isDoubtful(sequence: number, error: IotHubError): boolean {
    if (!(error instanceof AnswerError) || error.code !== "HTTP_STATUS") return false;
    if (error.status === 413 || error.status === 422) return false;
    if (this.#doubt.sequence !== sequence) this.#doubt = { sequence, times: 0 };
    return ++this.#doubt.times < MAX_DOUBTS;
  }

  /** It is gone from the storage. */
  #tellSettled(): void {
    const settled = this.#settled;
    this.#settled = undefined;
    settled?.tell();
  }

  #dropped(dropped: DroppedMessage): void {
    this.#call(() => this.#options.onDropped?.(dropped));
  }

  #call(callback: () => void): void {
    try {
      callback();
    } catch {
      // A listener's fault must not become a message's.
    }
  }
}

function full(): IotHubError {
  return new IotHubError("OUTBOX_FULL", "The outbox is full.", undefined, true);
}

function deviceClosed(): IotHubError {
  return new IotHubError("DEVICE_CLOSED", "The device has been closed.");
}

function storageError(error: unknown): IotHubError {
  if (error instanceof IotHubError) return error;
  return new IotHubError("STORAGE_FAILED", "The storage could not be used.", error, true);
}
