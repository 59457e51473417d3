/** A reading that is sent before it is stored: what writes flash, what does not, and what is safe when. */

import { describe, expect, test } from "@jest/globals";
import type { HttpResponse } from "../../src/host.js";
import { IotHubError, NetworkError, type OutboxOptions } from "../../src/index.js";
import { failure } from "../support/failure.js";
import { outboxDevice, settled } from "../support/outbox-device.js";
import { boardLimits, Flash } from "../support/storage.js";
import { hang, page, type Reply, refused, taken } from "../support/virtual-host.js";

const at = (n: number) => ({ topic: "data", payload: String(n) });
const down = (): never => {
  throw new NetworkError("CONNECTION_REFUSED", "connect", "down");
};

function board(reply: Reply = () => taken(), outbox: OutboxOptions = {}) {
  const flash = new Flash(boardLimits);
  const { storage } = flash.start();
  const box = outboxDevice(reply, { storeAfterMs: 5000, ...outbox }, { storage });
  const stored = () => [...flash.values.values()].map((text) => text.slice(text.lastIndexOf("#") + 1));
  return { ...box, flash, stored };
}

/** A gateway that responds on request. */
function held() {
  const waiting: ((response: HttpResponse | Promise<never>) => void)[] = [];
  const reply = () => new Promise<HttpResponse>((resolve) => waiting.push(resolve));
  return { reply, waiting, next: (response: HttpResponse | Promise<never> = taken()) => waiting.shift()?.(response) };
}

describe("an online board", () => {
  test.each<[string, OutboxOptions]>([
    ["by itself", {}],
    ["with its time", { timeField: "time" }],
    ["in the form of a batch", { batch: {} }],
  ])("does not write flash for readings sent %s", async (_name, outbox) => {
    const { device, flash, host, delivered } = board(undefined, {
      flushIntervalMs: 30000,
      flushThreshold: 1,
      ...outbox,
    });
    for (let n = 0; n < 50; n++) {
      const { sequence, size } = await device.enqueue({ topic: "data", payload: { n } });
      expect([sequence, size]).toEqual([n, 0]);
    }
    expect([flash.writes.length, host.sent.length, delivered.length, host.timers]).toEqual([0, 50, 50, 0]);
    expect(await device.flush()).toMatchObject({ delivered: 0, remaining: 0, reason: "empty" });
  });

  test("stores each reading first by default", async () => {
    const { device, flash, host } = board(undefined, { storeAfterMs: 0 });
    await device.enqueue(at(1));
    expect([flash.writes.length, host.sent.length]).toEqual([1, 0]);
  });

  test("sends simultaneous readings one by one, in order", async () => {
    const { device, flash, payloads } = board();
    await Promise.all([1, 2, 3, 4, 5].map((n) => device.enqueue(at(n))));
    expect([flash.writes, payloads()]).toEqual([[], ["1", "2", "3", "4", "5"]]);
  });
});

describe("a reading that is not acknowledged in time", () => {
  test("is stored after storeAfterMs, and deleted by a late acknowledgement", async () => {
    const gateway = held();
    const { device, flash, stored, host, delivered, box } = board(gateway.reply);
    const { sequence } = await device.enqueue(at(1));
    expect([stored(), host.elapsedMs]).toEqual([["1"], 5000]);
    gateway.next();
    await settled();
    expect([box.size, flash.values.size, host.sent.length]).toEqual([0, 0, 1]);
    expect(delivered).toMatchObject([{ sequence, payload: "1" }]);
  });

  test("is stored at once if its request fails, and sent by the next flush", async () => {
    let reply: Reply = down;
    const { device, stored, host, payloads } = board((...given) => reply(...given));
    await device.enqueue(at(1));
    expect([stored(), host.elapsedMs, host.sent.length]).toEqual([["1"], 0, 1]);
    // After a failure, readings are stored first.
    await device.enqueue(at(2));
    expect([stored(), host.sent.length]).toEqual([["1", "2"], 1]);
    reply = () => taken();
    expect(await device.flush()).toMatchObject({ delivered: 2, reason: "empty" });
    await device.enqueue(at(3));
    expect([payloads(), stored()]).toEqual([["1", "1", "2", "3"], []]);
  });

  test("is not sent during a pause requested by the gateway", async () => {
    const { device, stored, host } = board(() => page(429, { "retry-after": "60" }));
    await device.enqueue(at(1));
    await device.enqueue(at(2));
    expect([stored(), host.sent.length]).toEqual([["1", "2"], 1]);
  });

  test("or is rejected is stored, and retried with others", async () => {
    const { device, dropped, stored } = board((request) =>
      new TextDecoder().decode(request.body).includes("bad") ? refused("X.InvalidJSON") : taken(),
    );
    await device.enqueue({ topic: "data", payload: "bad" });
    expect(stored()).toEqual(["bad"]);
    await device.enqueue(at(1));
    expect(await device.flush()).toMatchObject({ delivered: 1, dropped: 1, reason: "empty" });
    expect(dropped).toMatchObject([{ reason: "rejected" }]);
  });

  test("costs two writes, and then none, with a gateway that rejects arrays", async () => {
    const { device, flash, host } = board(
      (request) =>
        JSON.parse(new TextDecoder().decode(request.body)).Payload.startsWith("[")
          ? refused("InvalidParameterValue.InvalidJSON")
          : taken(),
      { batch: {} },
    );
    for (let n = 0; n < 10; n++) {
      await device.enqueue({ topic: "data", payload: { n } });
      await device.flush();
    }
    // Rejected, stored, rejected again, acknowledged as it is.
    expect([flash.writes.length, host.sent.length]).toEqual([2 * 2, 2 * 3 + 8]);
  });

  test("has up to four behind it in memory; with the fifth all are stored, oldest first", async () => {
    const gateway = held();
    const { device, flash, stored, host } = board(gateway.reply);
    const enqueued = [1, 2, 3, 4, 5].map((n) => device.enqueue(at(n)));
    await settled();
    expect([flash.writes.length, host.sent.length]).toEqual([0, 1]);
    enqueued.push(device.enqueue(at(6)));
    await Promise.all(enqueued);
    expect([stored(), host.sent.length, host.elapsedMs]).toEqual([["1", "2", "3", "4", "5", "6"], 1, 0]);
  });

  test("is stored at most storeAfterMs after it was enqueued", async () => {
    const gateway = held();
    const { device, stored, host } = board(gateway.reply);
    const first = device.enqueue(at(1));
    await settled();
    const second = device.enqueue(at(2));
    await first;
    await second;
    expect([stored(), host.elapsedMs]).toEqual([["1", "2"], 5000]);
  });

  test("is rejected if the storage has no room", async () => {
    const gateway = held();
    const { device, host } = board(gateway.reply);
    (host.storage as { set: unknown }).set = () => Promise.reject(new Error("worn"));
    const first = device.enqueue(at(1));
    await settled();
    host.advance(5000);
    await settled();
    gateway.next();
    await expect(first).resolves.toMatchObject({ size: 0 });
    const second = device.enqueue(at(2));
    await settled();
    gateway.next(Promise.reject(new NetworkError("CONNECTION_RESET", "read", "reset")));
    await expect(second).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  });
});

describe("flush", () => {
  test("waits for the reading in flight, counts it, and sends nothing twice", async () => {
    const gateway = held();
    const { device, payloads, flash } = board(gateway.reply);
    const enqueued = [1, 2].map((n) => device.enqueue(at(n)));
    const flushed = device.flush();
    await settled();
    gateway.next();
    await settled();
    gateway.next();
    expect(await flushed).toMatchObject({ delivered: 2, remaining: 0, reason: "empty" });
    await Promise.all(enqueued);
    expect([payloads(), flash.writes]).toEqual([["1", "2"], []]);
  });

  test("stores unacknowledged readings before it resolves at its deadline", async () => {
    const { device, stored, host } = board((_request, _index, context) => hang(context), { storeAfterMs: 60000 });
    const enqueued = [1, 2, 3].map((n) => device.enqueue(at(n)));
    expect(await device.flush({ deadlineMs: 2000 })).toMatchObject({ delivered: 0, remaining: 3, reason: "deadline" });
    expect([stored(), host.elapsedMs]).toEqual([["1", "2", "3"], 2000]);
    await Promise.all(enqueued);
  });

  test("does not resend a reading that is stored while its request is pending", async () => {
    const gateway = held();
    const { device, payloads } = board(gateway.reply);
    await device.enqueue(at(1));
    const flushed = device.flush();
    await settled();
    gateway.next();
    expect(await flushed).toMatchObject({ delivered: 1, remaining: 0, reason: "empty" });
    expect(payloads()).toEqual(["1"]);
  });

  test("sends readings that were enqueued without waiting", async () => {
    const { device, flash } = board();
    const enqueued = device.enqueue(at(1));
    expect(await device.flush({ deadlineMs: 10000 })).toMatchObject({ delivered: 1, reason: "empty" });
    await enqueued;
    expect(flash.writes).toEqual([]);
  });
});

test("close rejects readings that are neither acknowledged nor stored", async () => {
  const { device, stored, host } = board((_request, _index, context) => hang(context));
  const enqueued = [1, 2].map((n) => device.enqueue(at(n)).catch(({ code }) => code));
  await settled();
  device.close();
  expect(await Promise.all(enqueued)).toEqual(["DEVICE_CLOSED", "DEVICE_CLOSED"]);
  await settled();
  expect([stored(), host.timers]).toEqual([[], 0]);
});

test("log lines are stored, and readings after them keep their order", async () => {
  const { device, box, payloads, flash } = board();
  await box.enqueue({ topic: "", payload: "[]", qos: 0, endpoint: 1 });
  await device.enqueue(at(1));
  expect([flash.values.size, payloads()]).toEqual([2, []]);
});

describe("while a reading is in flight", () => {
  test("a storage that stops does not repeat the pending request", async () => {
    const gateway = held();
    const { device, host, payloads } = board(gateway.reply);
    (host.storage as { set: unknown }).set = () => Promise.reject(new IotHubError("STORAGE_STOPPED", "stopped"));
    const enqueued = [1, 2].map((n) => device.enqueue(at(n)));
    await settled();
    host.advance(6000);
    await settled();
    expect(host.sent.length).toBe(1);
    gateway.next();
    await enqueued[0];
    await settled();
    gateway.next();
    await enqueued[1];
    expect(payloads()).toEqual(["1", "2"]);
  });

  test("readings that fill the memory are stored, none is rejected", async () => {
    const gateway = held();
    const { device, box, host } = board(gateway.reply, { storeAfterMs: 60000, maxBytes: 100000 });
    const enqueued: Promise<unknown>[] = [];
    for (let n = 0; n < 8; n++) {
      enqueued.push(device.enqueue({ topic: "data", payload: "x".repeat(3800) }));
      await settled();
    }
    await Promise.all(enqueued);
    expect([box.size, host.sent.length, host.elapsedMs]).toEqual([8, 1, 0]);
  });

  test("a flush ends at its deadline although the storage fails", async () => {
    const { device, host } = board((_request, _index, context) => hang(context), { storeAfterMs: 1000 });
    (host.storage as { set: unknown }).set = () => Promise.reject(new Error("worn"));
    const enqueued = failure(device.enqueue(at(1)));
    expect(await device.flush({ deadlineMs: 3000 })).toMatchObject({ delivered: 0, remaining: 0, reason: "deadline" });
    expect(host.elapsedMs).toBe(3000);
    expect(await enqueued).toMatchObject({ code: "STORAGE_FAILED" });
  });

  test("readings are sent after an outage although the storage fails", async () => {
    let reply: Reply = down;
    const { device, host, payloads } = board((...given) => reply(...given));
    (host.storage as { set: unknown }).set = () => Promise.reject(new Error("worn"));
    expect(await failure(device.enqueue(at(1)))).toMatchObject({ code: "STORAGE_FAILED" });
    reply = () => taken();
    await device.enqueue(at(2));
    await device.enqueue(at(3));
    expect(payloads()).toEqual(["1", "2", "3"]);
  });

  test("a reading that is stored late is not evicted for later ones", async () => {
    const gateway = held();
    const { device, stored, dropped, payloads } = board(gateway.reply, { maxMessages: 2 });
    await device.enqueue(at(1));
    await device.enqueue(at(2));
    await device.enqueue(at(3));
    expect([stored(), dropped.map(({ message }) => message?.payload)]).toEqual([["1", "3"], ["2"]]);
    gateway.next();
    await settled();
    expect([stored(), payloads()]).toEqual([["3"], ["1"]]);
  });

  test("a reading without room waits for it", async () => {
    const gateway = held();
    const { device, stored, dropped, delivered } = board(gateway.reply, { maxMessages: 1 });
    await device.enqueue(at(1));
    const second = device.enqueue(at(2));
    await settled();
    expect(stored()).toEqual(["1"]);
    gateway.next();
    await second;
    expect([stored(), dropped, delivered.length]).toEqual([["2"], [], 1]);
  });

  test("a deletion that fails after a late acknowledgement: the next flush deletes, and sends nothing", async () => {
    const gateway = held();
    const { device, host, stored, delivered, payloads } = board(gateway.reply);
    const storage = host.storage as NonNullable<typeof host.storage>;
    const remove = storage.delete;
    (storage as { delete: unknown }).delete = () => Promise.reject(new Error("worn"));
    await device.enqueue(at(1));
    gateway.next();
    await settled();
    expect([stored(), delivered]).toEqual([["1"], []]);
    (storage as { delete: unknown }).delete = remove;
    expect(await device.flush()).toMatchObject({ delivered: 1, remaining: 0, reason: "empty" });
    expect([stored(), payloads(), delivered.length]).toEqual([[], ["1"], 1]);
  });

  test("close during its storing starts no further write, and settles every promise", async () => {
    const gateway = held();
    const { device, flash, host } = board(gateway.reply);
    const enqueued = [1, 2].map((n) => device.enqueue(at(n)).catch(({ code }) => code));
    const flushed = device.flush().catch(({ code }) => code);
    await settled();
    host.advance(5000);
    device.close();
    const { length } = flash.writes;
    await settled();
    expect(await Promise.all(enqueued)).toEqual(["DEVICE_CLOSED", "DEVICE_CLOSED"]);
    expect(await flushed).toMatchObject({ reason: "closed" });
    expect([flash.writes.length, host.timers]).toEqual([length, 0]);
  });
});
