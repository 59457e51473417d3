import { utf8Decode } from "../../src/crypto/utf8.js";
import type { HttpResponse } from "../../src/host.js";
import { createMemoryStorage, Device, type DroppedMessage } from "../../src/index.js";
import { fakeHost, response, success } from "../support/fake-host.js";
import type { Case } from "./case.js";

/** An outbox whose gateway responds to each payload as `reply` says, and otherwise takes it. */
function create(reply: (payload: string, times: number) => HttpResponse | undefined) {
  const dropped: DroppedMessage[] = [];
  const payloads: string[] = [];
  const host = fakeHost(
    ({ body }) => {
      const payload: string = JSON.parse(utf8Decode(body)).Payload;
      payloads.push(payload);
      return reply(payload, payloads.filter((each) => each === payload).length) ?? response(success);
    },
    { storage: createMemoryStorage() },
  );
  const device = new Device(
    {
      productId: "P",
      deviceName: "d",
      credential: { secret: "secret" },
      rateLimit: false,
      retry: false,
      outbox: { flushIntervalMs: 0, flushThreshold: 100, onDropped: (one) => dropped.push(one) },
    },
    host,
  );
  const fill = async (...given: string[]) => {
    for (const payload of given) await device.enqueue({ topic: "data", payload });
  };
  return { device, dropped, payloads, fill };
}

const refused = (code: string) => response(`{"Response":{"Error":{"Code":"${code}","Message":"no"},"RequestId":"r"}}`);
const page = (status: number) => response("<html>sign in</html>", { status });

const stackBytes = 16_384;
const heapBytes = 131_072;

export const cases: readonly Case[] = [
  {
    name: "a code of the closed list costs a message after one round",
    stackBytes,
    heapBytes,
    async run(check) {
      for (const code of ["InvalidParameterValue.PayloadOverLimit", "FailedOperation.InvalidMsgLen"]) {
        const box = create((payload) => (payload === "bad" ? refused(code) : undefined));
        await box.fill("bad", "a", "b");
        const { delivered, dropped, remaining: kept, reason: ended } = await box.device.flush();
        check.equal([delivered, dropped, kept, ended], [2, 1, 0, "empty"], code);
        check.equal(box.payloads, ["bad", "b", "bad", "a"]);
        check.equal(box.dropped.length, 1);
        check.equal(box.dropped[0].message?.payload, "bad");
        box.device.close();
      }
    },
  },
  {
    name: "an unknown code and an unreadable page cost a message after three rounds with three others",
    stackBytes,
    heapBytes,
    async run(check) {
      for (const reply of [() => refused("Code.Of.Tomorrow"), () => page(413), () => page(200)]) {
        const box = create((payload) => (payload === "bad" ? reply() : undefined));
        await box.fill("bad", "a", "b");
        const first = await box.device.flush();
        check.equal([first.delivered, first.dropped, first.remaining], [2, 0, 1]);
        await box.fill("c", "d", "e");
        const second = await box.device.flush();
        check.equal([second.delivered, second.dropped, second.remaining], [3, 1, 0]);
        check.equal(box.payloads.slice(-7), ["bad", "e", "bad", "d", "bad", "c", "bad"]);
        box.device.close();
      }
    },
  },
  {
    name: "another code in between restarts the evidence",
    stackBytes,
    heapBytes,
    async run(check) {
      const box = create((payload, times) =>
        payload === "bad" ? refused(times === 3 ? "Code.Of.Others" : "Code.Of.Tomorrow") : undefined,
      );
      await box.fill("bad", "a", "b", "c", "d");
      const { delivered, dropped, remaining: kept, reason: ended } = await box.device.flush();
      check.equal([delivered, dropped, kept, ended], [4, 0, 1, "unknown"]);
      box.device.close();
    },
  },
  {
    name: "what speaks of the account, the device, the credential, the console or the service costs nothing",
    stackBytes,
    heapBytes,
    async run(check) {
      for (const code of [
        "FailedOperation.AccountIsolated",
        "UnauthorizedOperation.DeviceIsNotEnabled",
        "AuthFailure.SignatureFailure",
        "ResourceNotFound.TopicPolicyNotExist",
        "InternalError",
        "InvalidParameter",
      ]) {
        const box = create((payload) => (payload === "bad" ? refused(code) : undefined));
        await box.fill("bad", "a", "b", "c", "d");
        for (let i = 0; i < 4; i++) check.equal((await box.device.flush()).dropped, 0, code);
        check.equal(box.dropped.length, 0, code);
        check.ok(box.device.outbox !== undefined && box.device.outbox.size > 0, code);
        box.device.close();
      }
    },
  },
];
