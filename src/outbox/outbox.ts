/**
 * Stores messages until the gateway has acknowledged them. Delivery is at least once, one message at a time, in order
 * except for rejected messages, which are skipped. The queue and its format are in queue.ts and record.ts, a flush in
 * delivery.ts, its timing in schedule.ts.
 */

import { type ErrorClass, type ErrorCode, IotHubError } from "../errors.js";
import type { OutboxStats, WaitReason } from "../health.js";
import type { AbortSignalLike, Random, Storage, Timer } from "../host.js";
import { batchRules, checkOptions, flushRules } from "../options.js";
import { Aborter, AbortForwarder } from "../request/abort.js";
import type { PostOptions, RetryNotice } from "../request/client.js";
import { defaultOutboxLimits, deviceClosed, LimitedStorage, storageError } from "../storage/limits.js";
import { Delivery, type FlushReason, type Settled, type Verdict } from "./delivery.js";
import { type Batch, Packer, type PackOptions } from "./pack.js";
import type { PowerOnClock, PowerOns } from "./power-on.js";
import { StoredQueue } from "./queue.js";
import { decodeRecord, encodeRecordAt, type OutboxMessage, type StoredMessage, type StoredRecord } from "./record.js";
import { Schedule } from "./schedule.js";

export type { FlushReason, OutboxMessage, StoredMessage };

/** Why a message left the outbox without being delivered. */
export type DropReason =
  /** The outbox was full, and this was the oldest message. */
  | "evicted"
  /**
   * The gateway rejected this message. If the code is about the message: once more after another message was
   * acknowledged. If the code is unknown, or the response is unreadable and always the same: three more times, each
   * after another message was acknowledged. Or the message cannot be sent at all.
   */
  | "rejected"
  /** The stored record was invalid, both times that it was read. */
  | "corrupt"
  /** The stored record was absent in two flushes, while others could be read. Nothing was deleted. */
  | "lost"
  /** A later version of this library stored it. The record stays in storage for that version. */
  | "unsupported";

/** A message that left the outbox without being delivered. */
export interface DroppedMessage {
  readonly sequence: number;
  readonly reason: DropReason;
  /** The message; absent if it could not be read. */
  readonly message?: StoredMessage;
  /** Error of the rejection. */
  readonly error?: IotHubError;
}

/** Options of an outbox: limits, schedule and callbacks. */
export interface OutboxOptions<Result = unknown> extends PackOptions {
  /**
   * Key prefix in storage, 1 to 4 characters of `[A-Za-z0-9_-]`. Devices that share a storage need different prefixes.
   * @default "out"
   */
  readonly name?: string;
  /**
   * Maximum number of queued messages, 1 to 1 000 000.
   * @default the limit of the storage: 10 000 in memory and on Node
   */
  readonly maxMessages?: number;
  /**
   * Maximum size of the queued messages in bytes, at least 256. Counted like strings in the NVS of an ESP32: entries of
   * 32 bytes, plus one entry for each message.
   * @default the limit of the storage: 1 048 576 in memory and on Node
   */
  readonly maxBytes?: number;
  /**
   * What to do when the outbox or the storage is full: `"dropOldest"` or `"rejectNewest"`. Log lines are evicted before
   * readings.
   * @default "dropOldest"
   */
  readonly policy?: "dropOldest" | "rejectNewest";
  /**
   * Maximum delay before queued messages are sent automatically, in milliseconds, 0 to 2147483647. 0 disables automatic
   * flushes: call {@link Device.flush}. After a failure the delay grows by a random backoff of up to ten minutes;
   * retries never end.
   * @default 30000
   */
  readonly flushIntervalMs?: number;
  /**
   * Number of queued messages that starts a flush at once, 1 to 1 000 000. No effect if `flushIntervalMs` is 0.
   * @default 10
   */
  readonly flushThreshold?: number;
  /**
   * While the queue is empty and nothing has failed, sends a reading at once and stores it only if it is not
   * acknowledged within this time, in milliseconds, 0 to 2147483647: a board that is online writes no flash. `enqueue`
   * still resolves when the reading is acknowledged or stored. 0 stores first.
   * @default 0
   */
  readonly storeAfterMs?: number;
  /** Called when a message was acknowledged and deleted from storage. Exceptions thrown by callbacks are ignored. */
  readonly onDelivered?: (message: StoredMessage, result: Result) => void;
  /** Called before each retry of a message. */
  readonly onRetried?: (message: StoredMessage, notice: RetryNotice) => void;
  /** Called when a message left the outbox without being delivered. */
  readonly onDropped?: (dropped: DroppedMessage) => void;
  /** Called at the end of each flush, automatic or by {@link Device.flush}. */
  readonly onFlushed?: (report: FlushReport) => void;
}

/** Result of {@link Device.enqueue}. */
export interface EnqueueResult {
  readonly sequence: number;
  /** Number of queued messages, including this one. */
  readonly size: number;
}

/** Options of {@link Device.flush}. */
export interface FlushOptions {
  /** Maximum duration of the flush in milliseconds, 0 to 2147483647. @default 300000 */
  readonly deadlineMs?: number;
  /** Ends the flush when aborted; the result then has the reason `cancelled`. */
  readonly signal?: AbortSignalLike;
}

/** Outcome of a flush. */
export interface FlushResult {
  /** Number of messages acknowledged by the gateway. */
  readonly delivered: number;
  /** Number of messages still queued. */
  readonly remaining: number;
  /** Number of messages that left the outbox without being delivered: rejected, corrupt, or lost. */
  readonly dropped: number;
  /** Why the flush ended: `empty`, `deadline`, `closed`, `storage`, or the class of `error`. */
  readonly reason: FlushReason;
  /** Error of the last message that could not be delivered. */
  readonly error?: IotHubError;
}

/** Outcome of a flush, and the time of the next one. */
export interface FlushReport extends FlushResult {
  /**
   * Delay until the next automatic flush, in milliseconds. Absent if none is planned: the outbox is empty,
   * `flushIntervalMs` is 0, or the device was closed.
   */
  readonly nextFlushMs?: number;
}

/** The storage accepts no more writes until a restart: restart the board. Stored messages are safe. */
export interface StorageEvent {
  readonly type: "storage";
  /** STORAGE_STOPPED */
  readonly code: ErrorCode;
  readonly message: string;
}

/** Readings could not be encoded as one message and are sent one by one. */
export interface BatchEvent {
  readonly type: "batch";
  /** INVALID_PAYLOAD or PAYLOAD_TOO_LARGE */
  readonly code: ErrorCode;
  readonly message: string;
  /** Number of readings. */
  readonly readings: number;
}

/** Dependencies of an outbox. */
export interface OutboxContext<Result> {
  readonly storage: Storage;
  readonly timer: Timer;
  readonly random: Random;
  readonly clock: PowerOnClock;
  /** The best known time, in milliseconds since 1970. */
  nowMs(): number;
  /** Whether {@link nowMs} is the real time. @default true */
  readonly isTimeKnown?: () => boolean;
  /** Sends a message. @param renew encodes the message again before each attempt, once the clock is ready */
  send(message: StoredMessage, options: PostOptions, renew?: () => Promise<StoredMessage>): Promise<Result>;
  classify(error: IotHubError): ErrorClass;
  /** Timeout of a storage operation in milliseconds. @default 10000 */
  readonly storageTimeoutMs?: number;
  /** Called instead of `onDropped` for log lines. @param lines JSON array of strings */
  onLogDropped?(lines: string): void;
  /** Maximum payload in bytes before Base64. @default 16384 */
  readonly maxPayloadBytes?: number;
  /**
   * Called once if the storage accepts no more writes until a restart, and when readings could not be encoded as one
   * message.
   */
  readonly onEvent?: (event: StorageEvent | BatchEvent) => void;
}

const MAX_MS = 2147483647;
const DEFAULT_DEADLINE_MS = 300000;
const MAX_FLUSHES = 16;
/** Maximum number of messages waiting to be stored, and of the bytes of their payloads. */
const MAX_WAITING = 256;
const MAX_WAITING_BYTES = 16384;
/** Maximum number of readings, and of bytes of payloads, in memory while a reading is sent before it is stored. */
const MAX_TOGETHER = 5;
const MAX_TOGETHER_BYTES = 8192;
/** Attempts to write one message to a full storage. */
const MAX_FULL = 4;

/** A message waiting to be stored. */
interface Waiting {
  readonly record: StoredRecord;
  /** Monotonic time of enqueueing; only used if it may be sent before it is stored. */
  readonly atMs: number;
  resolve(sequence: number): void;
  reject(error: IotHubError): void;
}

/** A reading sent before it is stored. */
interface Flight<Result> {
  readonly message: StoredMessage;
  result: Result | undefined;
  /** Whether the gateway has acknowledged it. */
  isAcknowledged: boolean;
  /** Its sequence number, once it was stored anyway. */
  stored: number | undefined;
  /** Resolves when the request has ended and its outcome is processed. */
  ended: Promise<void>;
  /** Stores it now, without waiting for the response. */
  giveUp(): void;
}

export class Outbox<Result = unknown> {
  readonly #context: OutboxContext<Result>;
  readonly #options: OutboxOptions<Result>;
  readonly #storage: LimitedStorage;
  readonly #queue: StoredQueue;
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #schedule: Schedule;
  /** Adds times and makes batches; undefined if readings are sent as stored. */
  readonly #packer: Packer | undefined;
  readonly #powerOns: PowerOns | undefined;
  /** Tail of the serialized operations on the queue. */
  #last: Promise<unknown> = Promise.resolve();
  #opening: Promise<void> | undefined;
  #opened = false;
  /** Tail of the serialized flushes. */
  #flushes: Promise<unknown> = Promise.resolve();
  /** Close handlers. */
  readonly #pending = new Set<() => void>();
  #aborts: AbortForwarder | undefined;
  /** The current flush; the messages that it sends must not be evicted. */
  #delivery: Delivery<Result> | undefined;
  /** Messages acknowledged or rejected but not yet deleted: they are not sent again. */
  #settled: Settled<Result> | undefined;
  /**
   * Messages waiting to be stored, in order. Undefined instead of an empty array, which would cost memory during a
   * request.
   */
  #waiting: Waiting[] | undefined;
  #waitingBytes = 0;
  /** Whether they are being stored; `"again"` if there may be room now. */
  #storing: boolean | "again" = false;
  /** The message being evicted. If its deletion fails, it may have been deleted nevertheless. */
  #evicting: DroppedMessage | undefined;
  /** Why the storage accepts no more writes. */
  #stopped: IotHubError | undefined;
  /** Number of messages that left without being delivered, by reason; undefined if there are none. */
  drops: Partial<Record<DropReason, number>> | undefined;
  #flushing = 0;
  #closed = false;
  readonly #storeAfterMs: number;
  #flight: Flight<Result> | undefined;
  /** Number of readings acknowledged before they were stored. */
  #sentFirst = 0;
  /** The current run of storing. */
  #storeRun: Promise<void> | undefined;
  /**
   * Set after a failed request: readings are then stored before they are sent. `#storesNow` does so at the end of a
   * flush.
   */
  #hasFailed = false;
  #storesNow = 0;
  /** Dated readings that wait until the storage has been read, and about what they have. */
  #unopened = 0;
  #unopenedBytes = 0;

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
    const { storage, timer, random, clock } = context;
    const limits = storage.outboxLimits ?? defaultOutboxLimits;
    this.#maxMessages = integer("maxMessages", options.maxMessages ?? limits.maxQueued, 1, 1000000);
    this.#maxBytes = integer("maxBytes", options.maxBytes ?? limits.maxBytes, 256, Number.MAX_SAFE_INTEGER);
    const intervalMs = integer("flushIntervalMs", options.flushIntervalMs ?? 30000, 0, MAX_MS);
    const threshold = integer("flushThreshold", options.flushThreshold ?? 10, 1, 1000000);
    this.#storeAfterMs = integer("storeAfterMs", options.storeAfterMs ?? 0, 0, MAX_MS);
    this.#context = context;
    this.#options = options;
    this.#storage = new LimitedStorage(storage, timer, context.storageTimeoutMs);
    this.#queue = new StoredQueue(this.#storage, name, clock);
    if (options.timeField !== undefined || options.batch !== undefined) {
      if (options.batch !== undefined) checkOptions("batch", options.batch, batchRules);
      this.#powerOns = this.#queue.dateReadings(clock, random);
      this.#packer = new Packer(options, this.#powerOns, context.maxPayloadBytes ?? 16384);
    }
    const waiting = () => (this.#opened ? this.size : undefined);
    const run = () => this.#start(DEFAULT_DEADLINE_MS, undefined, true).catch(() => {});
    this.#schedule = new Schedule({ timer, random, clock, waiting, run }, { intervalMs, threshold });
  }

  /** Number of queued messages. 0 until the storage has been read by `open`, `enqueue` or `flush`. */
  get size(): number {
    return this.#queue.size;
  }

  /** Size of the queued messages in bytes, counted like `maxBytes`. */
  get bytes(): number {
    return this.#queue.bytes;
  }

  /** Whether less than half of `maxMessages` and of `maxBytes` is used. */
  get isHalfEmpty(): boolean {
    return this.size * 2 < this.#maxMessages && this.bytes * 2 < this.#maxBytes;
  }

  /** Age of the oldest message in milliseconds; 0 if there is none. */
  get oldestAgeMs(): number {
    const { oldestTimeMs } = this.#queue;
    return oldestTimeMs === undefined ? 0 : Math.max(0, this.#context.nowMs() - oldestTimeMs);
  }

  /** Readings acknowledged in batches, without the first of each batch. */
  get joined(): number {
    return this.#packer?.joined ?? 0;
  }

  /** Returns size, bytes, and age of the oldest message. @param nowMs milliseconds since 1970 */
  stats(nowMs: number): OutboxStats {
    return this.#queue.stats(nowMs);
  }

  /** Returns what automatic flushes wait for. @param nowMs monotonic time in milliseconds */
  waitingFor(nowMs: number): WaitReason {
    if (this.#stopped !== undefined) return "storage";
    return this.#schedule.isEven ? "nothing" : this.#schedule.waitingFor(nowMs);
  }

  /** Returns the end of the wait in monotonic time; undefined if it is not known. */
  waitingUntil(reason: WaitReason): number | undefined {
    return reason === "storage" ? undefined : this.#schedule.waitingUntil(reason);
  }

  /**
   * Reads the stored messages. The other methods do so when necessary.
   * @throws {IotHubError} STORAGE_FAILED, STORAGE_IN_USE, DEVICE_CLOSED; STORAGE_FULL, STORAGE_STOPPED if the storage
   * could not be opened
   */
  open(): Promise<void> {
    return this.#rejectOnClose(this.#open());
  }

  /**
   * Adds a message and resolves when it is stored. If the storage accepts no more writes until a restart, the message
   * is sent directly, and the promise resolves when the gateway has acknowledged it.
   * @param message a message with a validated payload
   * @throws {IotHubError} INVALID_TOPIC, PAYLOAD_TOO_LARGE, OUTBOX_FULL; QUEUE_FULL if 256 messages or 16 KB are
   * waiting to be stored; STORAGE_FAILED, STORAGE_FULL, STORAGE_STOPPED, STORAGE_IN_USE, DEVICE_CLOSED
   */
  enqueue(message: OutboxMessage): Promise<EnqueueResult> {
    if (this.#closed) return Promise.reject(deviceClosed());
    const powerOns = this.#powerOns;
    if (powerOns === undefined || message.endpoint !== 0) {
      return this.#enqueue(message, message.timeMs ?? this.#context.nowMs());
    }
    // Stored readings decide which power-on an undated reading belongs to: read them first.
    return this.#opened
      ? this.#enqueueDated(powerOns, this.#dated(powerOns, message))
      : this.#enqueueOpened(powerOns, this.#dated(powerOns, message));
  }

  /** Adds the time to a message, or the uptime if the time is not known yet. */
  #dated(powerOns: PowerOns, message: OutboxMessage): OutboxMessage {
    if (message.timeMs !== undefined) return message;
    const { isTimeKnown } = this.#context;
    const isKnown = isTimeKnown === undefined || isTimeKnown();
    return isKnown ? { ...message, timeMs: this.#context.nowMs() } : { ...message, uptimeMs: powerOns.uptimeMs() };
  }

  async #enqueueOpened(powerOns: PowerOns, message: OutboxMessage): Promise<EnqueueResult> {
    const bytes = message.payload.length;
    // In each state of the outbox the same number may wait.
    if (this.#unopened >= MAX_WAITING || this.#unopenedBytes + bytes > MAX_WAITING_BYTES) throw tooMany();
    this.#unopened++;
    this.#unopenedBytes += bytes;
    try {
      await this.#rejectOnClose(this.#open());
    } finally {
      this.#unopened--;
      this.#unopenedBytes -= bytes;
    }
    return this.#enqueueDated(powerOns, message);
  }

  #enqueueDated(powerOns: PowerOns, message: OutboxMessage): Promise<EnqueueResult> {
    if (this.#closed) return Promise.reject(deviceClosed());
    const { uptimeMs } = message;
    if (uptimeMs === undefined) {
      this.#learnTime();
      return this.#enqueue(message, message.timeMs as number);
    }
    return this.#enqueue({ ...message, powerOn: powerOns.idFor(uptimeMs) }, uptimeMs);
  }

  /** Once the time is known, stores the offset that dates undated readings. */
  async #learnTime(): Promise<void> {
    const powerOns = this.#powerOns;
    const { isTimeKnown } = this.#context;
    if (powerOns?.isWaiting !== true || isTimeKnown === undefined || !isTimeKnown()) return;
    try {
      // Reads the time inside the operation, since it is compared with the uptime at that moment.
      await this.#inTurn(() => powerOns.learn(this.#context.nowMs()));
    } catch (cause) {
      // Not fatal: their time is lost only if a restart comes before their delivery.
      const error = storageError(cause);
      if (error.code === "STORAGE_STOPPED") this.#stop(error);
    }
  }

  /** @param timeMs milliseconds since 1970 or, with `powerOn`, since power-on */
  #enqueue(message: OutboxMessage, timeMs: number): Promise<EnqueueResult> {
    let record: StoredRecord;
    try {
      record = encodeRecordAt(message, timeMs, this.#storage.maxValueBytes, this.#maxBytes);
      if (this.#packer !== undefined) this.#checkSize(this.#packer, message, record);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!this.#mayWait(record)) {
      return Promise.reject(tooMany());
    }
    const stored = new Promise<number>((resolve, reject) => {
      this.#waiting ??= [];
      const atMs = this.#storeAfterMs === 0 ? 0 : this.#context.clock.monotonicMs();
      this.#waiting.push({ record, atMs, resolve, reject });
      this.#waitingBytes += record.payloadBytes;
      if (this.#flight !== undefined && this.#isCrowded) this.#flight.giveUp();
    });
    this.#storeWaiting();
    return this.#rejectOnClose(
      stored.then((sequence) => {
        this.#schedule.update();
        return { sequence, size: this.size };
      }),
    );
  }

  #checkSize(packer: Packer, message: OutboxMessage, { payloadBytes }: StoredRecord): void {
    const { maxPayloadBytes = 16384 } = this.#context;
    const bytes = payloadBytes + packer.addedBytes(message);
    if (bytes <= maxPayloadBytes) return;
    throw new IotHubError(
      "PAYLOAD_TOO_LARGE",
      `The payload has ${bytes} bytes with its time; the limit is ${maxPayloadBytes}.`,
    );
  }

  /**
   * Sends queued messages until none is left, the deadline has passed, or an error makes further attempts pointless. A
   * rejected message is skipped: the flush continues with the next one of another topic, or else the newest, and ends
   * after four consecutive rejections.
   * @throws {IotHubError} INVALID_OPTION, STORAGE_FAILED, STORAGE_IN_USE, DEVICE_CLOSED; QUEUE_FULL if 16 flushes are
   * waiting already; STORAGE_FULL, STORAGE_STOPPED if the storage could not be opened
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

  /** Rejects pending operations. Stored messages stay in storage. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#storage.closed = true;
    this.#schedule.close();
    this.#waiting = undefined;
    this.#flight?.giveUp();
    for (const end of [...this.#pending]) end();
  }

  /** Flushes, updates the schedule, and reports the outcome. */
  #start(deadlineMs: number, signal: AbortSignalLike | undefined, planned: boolean): Promise<FlushResult> {
    return this.#flush(deadlineMs, signal, planned).then(
      (result) => {
        this.#ended(result, planned);
        return result;
      },
      (cause) => {
        const error = storageError(cause);
        const ended = this.#closed ? "closed" : "storage";
        this.#ended({ delivered: 0, dropped: 0, remaining: this.size, reason: ended, error }, planned);
        throw error;
      },
    );
  }

  #ended(result: FlushResult, planned: boolean): void {
    this.#hasFailed = result.delivered === 0 && result.reason !== "empty";
    this.#schedule.ended(result, planned);
    const { nextMs: nextFlushMs } = this.#schedule;
    this.#call(() => this.#options.onFlushed?.(nextFlushMs === undefined ? result : { ...result, nextFlushMs }));
  }

  #flush(deadlineMs: number, signal: AbortSignalLike | undefined, planned: boolean): Promise<FlushResult> {
    const { timer, clock } = this.#context;
    const end = clock.monotonicMs() + deadlineMs;
    const tally = { delivered: 0, dropped: 0 };
    const aborter = new Aborter();
    return new Promise((resolve, reject) => {
      let over = false;
      const finish = (ended: FlushResult["reason"], error?: IotHubError) => {
        if (over) return;
        clear();
        const done = () => resolve({ ...tally, remaining: this.size, reason: ended, error });
        if (this.#storeAfterMs === 0 || this.#waiting === undefined) done();
        else this.#storeNow().then(done);
        aborter.abort();
      };
      const closed = () => finish("closed");
      const aborted = { abort: () => finish("cancelled") };
      this.#flushing++;
      const clear = () => {
        over = true;
        this.#flushing--;
        timer.clear(handle);
        this.#pending.delete(closed);
        if (signal !== undefined) this.#aborts?.remove(signal, aborted);
      };
      const handle = timer.set(() => finish("deadline"), deadlineMs);
      this.#pending.add(closed);
      if (signal !== undefined) {
        this.#aborts ??= new AbortForwarder();
        this.#aborts.add(signal, aborted);
      }
      if (over) return;
      const turn = this.#flushes.then(async () => {
        if (over) return;
        try {
          if (!this.#opened) await this.#open();
          if (this.#powerOns !== undefined) await this.#learnTime();
          if (this.#storeAfterMs > 0) tally.delivered += await this.#sendWaiting();
          if (over) return;
          const { reason: ended, error } = await this.#deliver(tally, end, aborter.signal, planned);
          if (this.#powerOns !== undefined) await this.#learnTime();
          if (this.#waiting !== undefined) this.#storeWaiting();
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
    signal: AbortSignalLike,
    planned: boolean,
  ): Promise<Pick<FlushResult, "reason" | "error">> {
    const { onRetried } = this.#options;
    const settle = (settled: Settled<Result>) => this.#settle(tally, settled);
    const packer = this.#packer;
    const delivery = new Delivery<Result>(
      {
        queue: this.#queue,
        device: this.#context,
        // Properties that are undefined cost a device memory, too.
        ...(packer && {
          packer,
          sendPacked: (message, request, batch) => this.#sendPacked(packer, message, request, batch),
          onNotPacked: (readings, error) => this.#notPacked(readings, error),
        }),
        inTurn: (operation) => this.#inTurn(operation),
        isEmpty: () => this.size === 0 && this.#waiting === undefined,
        settle,
        // An explicit flush waits for a pause; an automatic one ends, and the next one comes after a longer, randomized
        // delay.
        waitForPause: !planned,
        onRetried:
          onRetried && ((message, notice) => message.endpoint === 0 && this.#call(() => onRetried(message, notice))),
      },
      end,
      signal,
    );
    this.#delivery = delivery;
    const settled = this.#settled;
    const delivered = settled ? settle(settled).then(() => delivery.run()) : delivery.run();
    return delivered.then(
      (end) => {
        this.#delivery = undefined;
        return end;
      },
      (error) => {
        this.#delivery = undefined;
        return { reason: "storage", error: this.#failed(storageError(error)) };
      },
    );
  }

  /** Sends a reading with its time, or a batch. Encodes it again before each attempt while its time is not known. */
  #sendPacked(packer: Packer, message: StoredMessage, options: PostOptions, batch: Batch | undefined): Promise<Result> {
    const { send } = this.#context;
    let content = { ...message, ...(batch === undefined ? packer.single(message) : batch.content) };
    const messages = batch === undefined ? [message] : batch.messages;
    if (!messages.some((one) => packer.isUndated(one))) return send(content, options);
    return send(content, options, async () => {
      await this.#learnTime();
      try {
        const packed = batch === undefined ? packer.single(message) : packer.batch(messages, Number.POSITIVE_INFINITY);
        content = { ...message, ...("content" in packed ? packed.content : packed) };
      } catch {
        // Keep the earlier encoding.
      }
      return content;
    });
  }

  #notPacked(readings: number, cause: unknown): void {
    // An exception of the app may contain anything: do not pass it on.
    const isOurs =
      cause instanceof IotHubError && (cause.code === "PAYLOAD_TOO_LARGE" || cause.code === "INVALID_PAYLOAD");
    const code = isOurs ? cause.code : "INVALID_PAYLOAD";
    const message = isOurs ? cause.message : "outbox.batch.encode failed; the readings are sent one by one.";
    this.#call(() => this.#context.onEvent?.({ type: "batch", code, message, readings }));
  }

  /** Deletes each message unless it is lost, then reports its outcome. */
  async #settle(tally: { delivered: number; dropped: number }, first: Settled<Result>) {
    this.#settled = first;
    for (let settled: Settled<Result> | undefined = first; settled !== undefined; settled = settled.next) {
      const { sequence, verdict } = settled;
      // It was deleted and reported already if the outbox needed its room.
      if (this.#settled !== settled) continue;
      await this.#inTurn(() => {
        const index = this.#queue.indexOf(sequence);
        return index < 0 ? undefined : this.#remove(index, verdict);
      });
      if (this.#waiting !== undefined) this.#storeWaiting();
      if (this.#settled !== settled) continue;
      tally[verdict.as]++;
      this.#report(settled);
    }
  }

  /**
   * Deletes a settled message. A lost one is only removed from the queue: it may still be stored. Not an async
   * function, as a pending frame costs memory.
   */
  #remove(index: number, verdict: Verdict<Result>): Promise<void> | undefined {
    if (verdict.as !== "dropped" || verdict.dropped.reason !== "lost") return this.#queue.remove(index);
    this.#queue.drop(index);
    return undefined;
  }

  /** Reports a settled message that was deleted from storage. */
  #report({ sequence, verdict, next }: Settled<Result>): void {
    this.#settled = next;
    if (verdict.as === "dropped") this.#dropped({ sequence, ...verdict.dropped });
    else this.#delivered(verdict.message, verdict.result);
  }

  /** Whether too much is waiting in memory for a reading sent before it is stored. */
  get #isCrowded(): boolean {
    const { length = 0 } = this.#waiting ?? {};
    return length > MAX_TOGETHER || (length > 1 && this.#waitingBytes > MAX_TOGETHER_BYTES);
  }

  /** Whether a message may wait to be stored. Waiting log lines are dropped if a reading needs their room. */
  #mayWait({ endpoint, payloadBytes }: StoredRecord): boolean {
    const waiting = this.#waiting;
    if (waiting === undefined) return true;
    const fits = () => waiting.length < MAX_WAITING && this.#waitingBytes + payloadBytes <= MAX_WAITING_BYTES;
    if (endpoint !== 0) return fits();
    // The first one is being stored and must stay.
    for (let at = waiting.length - 1; at > 0 && !fits(); at--) {
      const { record, reject } = waiting[at];
      if (record.endpoint === 0) continue;
      waiting.splice(at, 1);
      this.#waitingBytes -= record.payloadBytes;
      reject(logRefused());
    }
    return fits();
  }

  #storeWaiting(): void {
    const isStoring = this.#storing !== false;
    this.#storing = "again";
    if (!isStoring) this.#storeRun = this.#storeAll();
  }

  /** Stores waiting messages one by one; ends early if there is no room until the reading in flight is done. */
  async #storeAll(): Promise<void> {
    try {
      if (!this.#opened) await this.#open();
      while (this.#storing === "again" && this.#waiting !== undefined) {
        this.#storing = true;
        const [first] = this.#waiting;
        let flight: Flight<Result> | undefined;
        try {
          if (this.#storeAfterMs > 0) {
            flight = await this.#sendFirst(first);
            if (this.#waiting === undefined) break;
          }
          const isSafe = this.#stopped !== undefined || flight?.isAcknowledged;
          const sequence = isSafe ? undefined : await this.#inTurn(() => this.#store(first.record));
          if (sequence !== undefined) {
            first.resolve(sequence);
            if (flight !== undefined) await this.#stored(flight, sequence);
          } else if (flight?.isAcknowledged) this.#acknowledged(first, flight);
          else if (this.#stopped === undefined) continue;
          else this.#sendDirectly(first, this.#stopped);
        } catch (cause) {
          const error = storageError(cause);
          const stopped = error.code === "STORAGE_STOPPED" ? this.#stop(error) : undefined;
          // It cannot be stored, but may have been delivered.
          if (flight !== undefined) await this.#endOf(flight);
          const decide = () => {
            if (flight?.isAcknowledged) this.#acknowledged(first, flight);
            else if (stopped !== undefined) this.#sendDirectly(first, stopped);
            else first.reject(this.#failed(error));
          };
          if (flight !== undefined && stopped !== undefined) flight.ended.then(decide);
          else decide();
          // If nothing can be stored, sending is the only way to save the next reading.
          if (this.size === 0) this.#hasFailed = false;
        }
        this.#storing = "again";
        // The outbox was closed.
        if (this.#waiting === undefined) break;
        this.#waiting.shift();
        this.#waitingBytes -= first.record.payloadBytes;
        if (this.#waiting.length === 0) this.#waiting = undefined;
      }
    } catch (cause) {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      this.#waitingBytes = 0;
      for (const { reject } of waiting) reject(storageError(cause));
    } finally {
      this.#storing = false;
      this.#storeRun = undefined;
    }
  }

  /**
   * Sends a reading before it is stored, if that is likely to succeed.
   * @returns undefined if it must be stored first; otherwise it is acknowledged, or must be stored now
   */
  async #sendFirst(first: Waiting): Promise<Flight<Result> | undefined> {
    const { timer, clock } = this.#context;
    const leftMs = first.atMs + this.#storeAfterMs - clock.monotonicMs();
    const isFree =
      this.size === 0 &&
      this.#flight === undefined &&
      this.#delivery === undefined &&
      !this.#hasFailed &&
      this.#schedule.isClear;
    if (!isFree || this.#isCrowded || leftMs <= 0 || this.#storesNow > 0) return undefined;
    if (first.record.endpoint !== 0 || this.#stopped !== undefined) return undefined;
    const message = decodeRecord(this.#queue.takeNumber(), first.record.text) as StoredMessage;
    const flight: Flight<Result> = {
      message,
      result: undefined,
      isAcknowledged: false,
      stored: undefined,
      ended: Promise.resolve(),
      giveUp: () => {
        isGivenUp = true;
      },
    };
    let isGivenUp = false;
    this.#flight = flight;
    // On a fresh stack: with the callers of `enqueue` below it, a request would not fit into the 6 KB of an ESP32.
    await undefined;
    if (isGivenUp) {
      this.#flight = undefined;
      return undefined;
    }
    await new Promise<void>((decide) => {
      flight.giveUp = decide;
      const handle = timer.set(decide, leftMs);
      // No retry: store it first.
      flight.ended = this.#sendOne(message, { retry: false, waitForPause: false })
        .then(
          (result) => {
            this.#hasFailed = false;
            this.#sentFirst++;
            flight.result = result;
            flight.isAcknowledged = true;
            return flight.stored === undefined ? undefined : this.#settleFlight(flight);
          },
          (error) => {
            this.#hasFailed = true;
            this.#schedule.ended({ reason: this.#context.classify(error), delivered: 0, error }, false);
          },
        )
        .then(() => {
          timer.clear(handle);
          this.#flight = undefined;
          decide();
          if (flight.stored !== undefined && this.#waiting !== undefined) this.#storeWaiting();
        });
    });
    return flight;
  }

  /** Waits for the end of a request whose reading cannot be stored, or for the end of a flush. */
  #endOf(flight: Flight<Result>): Promise<void> | undefined {
    if (this.#storesNow > 0) return undefined;
    return new Promise((resolve) => {
      flight.giveUp = () => {
        if (this.#storesNow > 0) resolve();
      };
      flight.ended.then(resolve);
    });
  }

  /** Notes that a reading was stored while it was being sent; deletes it if it was acknowledged meanwhile. */
  async #stored(flight: Flight<Result>, sequence: number): Promise<void> {
    flight.stored = sequence;
    if (flight.isAcknowledged) await this.#settleFlight(flight);
  }

  /** Deletes a stored reading that was acknowledged. If that fails, the next flush does it. */
  #settleFlight({ message, stored, result }: Flight<Result>): Promise<void> {
    const sequence = stored as number;
    const verdict = { as: "delivered", message: { ...message, sequence }, result: result as Result } as const;
    return this.#settle({ delivered: 0, dropped: 0 }, { sequence, verdict }).catch((error) => {
      this.#failed(storageError(error));
    });
  }

  #acknowledged({ resolve }: Waiting, { message, result }: Flight<Result>): void {
    resolve(message.sequence);
    this.#delivered(message, result as Result);
  }

  /** Waits for readings sent before they are stored. @returns how many of them were acknowledged */
  async #sendWaiting(): Promise<number> {
    const before = this.#sentFirst;
    while (this.#waiting !== undefined || this.#flight !== undefined) {
      const run = this.#storing === false ? undefined : this.#storeRun;
      const { ended } = this.#flight ?? {};
      if (run === undefined && ended === undefined) break;
      await run;
      await ended;
    }
    return this.#sentFirst - before;
  }

  /** Stores all readings in memory; resolves when that is done or has failed. */
  async #storeNow(): Promise<void> {
    this.#storesNow++;
    this.#flight?.giveUp();
    if (this.#storing !== false) await this.#storeRun;
    this.#storesNow--;
  }

  /** Sends one reading with the encoding that the outbox uses. */
  #sendOne(message: StoredMessage, options: PostOptions): Promise<Result> {
    const packer = this.#packer;
    if (packer === undefined) return this.#context.send(message, options);
    let batch: Batch | undefined;
    if (packer.maxReadings > 0 && packer.fits(packer.part(message))) {
      try {
        batch = packer.batch([message], packer.mostBytes);
      } catch (error) {
        this.#notPacked(1, error);
      }
    }
    return this.#sendPacked(packer, message, options, batch);
  }

  /** Schedules a cleanup for an operation that timed out and takes effect later. */
  #failed(error: IotHubError): IotHubError {
    this.#storage.onLate ??= () => this.#inTurn(() => this.#queue.clean()).catch(() => {});
    return error;
  }

  #stop(error: IotHubError): IotHubError {
    const { code, message } = error;
    if (this.#stopped === undefined) this.#call(() => this.#context.onEvent?.({ type: "storage", code, message }));
    this.#stopped ??= error;
    return error;
  }

  /** Sends a message that cannot be stored before a restart: only an acknowledgement makes it safe. */
  #sendDirectly({ record, resolve, reject }: Waiting, stopped: IotHubError): void {
    const sequence = this.#queue.takeNumber();
    const message = decodeRecord(sequence, record.text) as StoredMessage;
    this.#sendOne(message, {}).then(
      (result) => {
        resolve(sequence);
        this.#delivered(message, result);
      },
      (error) => reject(new IotHubError("STORAGE_STOPPED", stopped.message, { cause: error })),
    );
  }

  /**
   * Evicts messages if necessary, and writes a record. @returns undefined if only the message in flight could be
   * evicted
   */
  async #store(record: StoredRecord): Promise<number | undefined> {
    if (this.#closed) throw deviceClosed();
    const queue = this.#queue;
    const isLog = record.endpoint !== 0;
    if (isLog && !this.isHalfEmpty) throw logRefused();
    for (let times = 1; ; times++) {
      while (queue.size >= this.#maxMessages || queue.bytes + record.bytes > this.#maxBytes) {
        if ((await this.#evict(isLog ? logRefused() : full(), isLog)) === undefined) return undefined;
      }
      let noRoom: IotHubError;
      if (queue.isWithoutRoom(record.bytes)) {
        noRoom = new IotHubError(
          "STORAGE_FULL",
          "The storage is full, and nothing was deleted since the last attempt.",
        );
      } else {
        try {
          return await queue.append(record);
        } catch (error) {
          if (!(error instanceof IotHubError) || error.code !== "STORAGE_FULL" || times === MAX_FULL) throw error;
          noRoom = error;
        }
      }
      // The storage has other users, too: evicting messages may not be enough.
      for (let freed = 0; freed < record.bytes * times; ) {
        if (queue.size === 0) {
          if (freed > 0) break;
          throw noRoom;
        }
        const bytes = await this.#evict(noRoom, isLog);
        if (bytes === undefined) return undefined;
        freed += bytes;
      }
    }
  }

  /**
   * Deletes and reports a settled message, or else log lines, or else the oldest reading.
   * @param refusal error to throw if nothing may be evicted
   * @returns the bytes freed; undefined if only the message in flight is left
   */
  async #evict(refusal: IotHubError, isLog: boolean): Promise<number | undefined> {
    const queue = this.#queue;
    const settled = this.#settled;
    const settledAt = settled === undefined ? -1 : queue.indexOf(settled.sequence);
    if (settled !== undefined && settledAt >= 0) {
      const bytes = queue.bytesAt(settledAt);
      await this.#remove(settledAt, settled.verdict);
      this.#report(settled);
      return bytes;
    }
    if (this.#options.policy === "rejectNewest" || isLog) throw refusal;
    const sent = this.#flight?.stored;
    const index = queue.dispensable(sent === undefined ? this.#delivery?.held : { first: sent, last: sent });
    if (index < 0) return undefined;
    const bytes = queue.bytesAt(index);
    const read = await queue.read(index);
    const sequence = queue.sequenceAt(index) as number;
    const message = typeof read === "string" ? undefined : read;
    const evicting: DroppedMessage = { sequence, reason: read === "corrupt" ? "corrupt" : "evicted", message };
    this.#evicting = evicting;
    try {
      await queue.remove(index);
    } catch (error) {
      // If the state is still unknown, it is read before the next operation.
      if (!(await this.#mend(evicting).catch(() => false))) throw error;
      return bytes;
    }
    this.#evicting = undefined;
    this.#dropped(evicting);
    return bytes;
  }

  /** Checks whether a deletion that failed or timed out has taken effect. */
  async #mend(evicting: DroppedMessage): Promise<boolean> {
    const isGone = await this.#queue.isGone(evicting.sequence);
    this.#evicting = undefined;
    if (!isGone) return false;
    this.#queue.drop(this.#queue.indexOf(evicting.sequence));
    this.#dropped(evicting);
    return true;
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

  #inTurn<T>(operation: () => Promise<T> | T): Promise<T> {
    const turn = this.#last.then(() =>
      this.#evicting === undefined ? operation() : this.#mend(this.#evicting).then(operation),
    );
    this.#last = turn.then(ignore, ignore);
    return turn;
  }

  /**
   * Settles like the promise, or rejects with DEVICE_CLOSED when the device is closed, even if the storage never
   * responds.
   */
  #rejectOnClose<T>(promise: Promise<T>): Promise<T> {
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

  // Reports readings only: if an app logged the delivery of log lines, it would never end.
  #delivered(message: StoredMessage, result: Result): void {
    if (message.endpoint === 0) this.#call(() => this.#options.onDelivered?.(this.#withTime(message), result));
  }

  #withTime(message: StoredMessage): StoredMessage {
    return message.powerOn === undefined ? message : { ...message, timeMs: this.#packer?.timeOf(message) };
  }

  #dropped(dropped: DroppedMessage): void {
    const { message, reason } = dropped;
    if (message === undefined || message.endpoint === 0) {
      this.drops ??= {};
      this.drops[reason] = (this.drops[reason] ?? 0) + 1;
    }
    this.#call(() => {
      if (message === undefined || message.endpoint === 0) {
        this.#options.onDropped?.(
          message?.powerOn === undefined ? dropped : { ...dropped, message: this.#withTime(message) },
        );
      } else this.#context.onLogDropped?.(message.payload);
    });
  }

  #call(callback: () => void): void {
    try {
      callback();
    } catch {
      // A throwing callback must not affect delivery.
    }
  }
}

function ignore(): void {}

function tooMany(): IotHubError {
  return new IotHubError("QUEUE_FULL", "Too many messages are being stored already.");
}

function full(): IotHubError {
  return new IotHubError("OUTBOX_FULL", "The outbox is full.");
}

function logRefused(): IotHubError {
  return new IotHubError("OUTBOX_FULL", "The outbox is more than half full; log lines are not queued.");
}
