import { utf8Decode } from "../../src/crypto/utf8.js";
import {
  Aborter,
  createMemoryStorage,
  Device,
  type DeviceEvent,
  type DeviceOptions,
  NetworkError,
} from "../../src/index.js";
import { createSigner, signRequest } from "../../src/signing/signer.js";
import { fakeHost, type Respond, response, success } from "../support/fake-host.js";
import type { Case } from "./case.js";

const secret = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
const message = Object.freeze({ topic: "data", payload: "21.5" });

const base: DeviceOptions = Object.freeze({
  productId: "G8N9VAAAHB",
  deviceName: "AAAAAA",
  credential: { secret },
  retry: false as const,
});

function create(respond: Respond, changes: Partial<DeviceOptions> = {}) {
  const host = fakeHost(respond);
  return { host, device: new Device({ ...base, ...changes }, host) };
}

const never = () => new Promise<never>(() => {});

// A publish, with all that it calls, takes about 8 KB of stack; a failing one, with the checks around it, 9.
const stackBytes = 12_288;

export const cases: readonly Case[] = [
  {
    name: "publishes one message after the other, with fresh nonces and nothing left behind",
    stackBytes,
    async run(check) {
      const { host, device } = create(() => response(success));
      const nonces = new Set<string>();
      for (let i = 0; i < 10; i++) {
        const result = await device.publish({ ...message, payload: `${i} 温度` });
        check.equal(result.requestId, "f4da4f1f-d72e-40f1-0000-349fc0072ba0");
        const { request } = host.sent[i];
        check.equal(JSON.parse(utf8Decode(request.body)).Payload, `${i} 温度`);
        nonces.add(request.headers["X-TC-Nonce"]);
      }
      check.equal(nonces.size, 10);
      check.equal(host.timers, 0);
    },
  },
  {
    name: "refusals and broken connections reach the caller as they are",
    stackBytes,
    async run(check) {
      const refused = '{"Response":{"Error":{"Code":"AuthFailure","Message":"no"},"RequestId":"r"}}';
      const { device: first } = create(() => response(refused));
      await check.rejects("GATEWAY_REJECTED", () => first.publish(message));
      const { device: second } = create(() => {
        throw new NetworkError("CONNECTION_RESET", "read", "reset");
      });
      const error = await check.rejects("CONNECTION_RESET", () => second.publish(message));
      check.equal((error as NetworkError).phase, "read");
      const { device: third } = create(() => {
        throw new TypeError("a host with a fault");
      });
      await check.rejects("NETWORK_FAILED", () => third.publish(message));
    },
  },
  {
    name: "a host that never responds: timeout, cancellation, close",
    stackBytes,
    async run(check) {
      const { host, device } = create(never);
      const late = device.publish(message, { timeoutMs: 500 });
      await undefined;
      host.advance(2000);
      await check.rejects("TIMEOUT", () => late);

      const aborter = new Aborter();
      const cancelled = device.publish(message, { signal: aborter.signal });
      aborter.abort();
      await check.rejects("CANCELLED", () => cancelled);

      const pending = device.publish(message);
      device.close();
      await check.rejects("DEVICE_CLOSED", () => pending);
      await check.rejects("DEVICE_CLOSED", () => device.publish(message));
      check.equal(host.timers, 0);
    },
  },
  {
    name: "events tell what happens, and no secret",
    stackBytes,
    async run(check) {
      const events: string[] = [];
      const onEvent = (event: object) => {
        events.push(JSON.stringify(event));
        throw new Error("an app's fault");
      };
      const { host, device } = create(() => response(success), { onEvent });
      await device.publish({ topic: "data", payload: "PAYLOAD" });
      const phases = events.map((each) => JSON.parse(each).type);
      check.equal(phases, ["sign", "send", "response", "done"]);
      const all = events.join("\n");
      for (const hidden of [secret, "PAYLOAD", host.sent[0].request.headers["X-TC-Signature"]]) {
        check.ok(!all.includes(hidden), "it is revealed");
      }
    },
  },
  {
    name: "a topic with more slashes than the platform takes is sent, with a warning",
    stackBytes: 16_384,
    async run(check) {
      const warnings: string[] = [];
      const onEvent = (event: DeviceEvent) => {
        if (event.type !== "warning") return;
        warnings.push(`${event.code} ${event.topic} ${event.message}`);
        throw new Error("an app's fault");
      };
      const { host, device } = create(() => response(success), { onEvent });
      const topic = (slashes: number) => `a${"/b".repeat(slashes)}`;
      for (const slashes of [6, 7, 7, 8, 0]) await device.publish({ topic: topic(slashes), payload: "1" });
      check.equal(warnings, [
        "TOPIC_LEVELS a/b/b/b/b/b/b/b The topic has 7 slashes; the platform allows 6.",
        "TOPIC_LEVELS a/b/b/b/b/b/b/b/b The topic has 8 slashes; the platform allows 6.",
      ]);
      const abroad = create(() => response(success), { onEvent, region: "us-east" });
      for (const slashes of [7, 10, 11]) await abroad.device.publish({ topic: topic(slashes), payload: "1" });
      check.equal(warnings.slice(2), [`TOPIC_LEVELS ${topic(11)} The topic has 11 slashes; the platform allows 10.`]);
      check.equal([host.sent.length, abroad.host.sent.length], [5, 3]);
      const storage = createMemoryStorage();
      const box = new Device(
        { ...base, onEvent, outbox: { flushIntervalMs: 0 } },
        fakeHost(() => response(success), { storage }),
      );
      await box.enqueue({ topic: topic(9), payload: "1" });
      check.equal(warnings.length, 4);
      check.equal((await storage.keys()).length > 0, true);
    },
  },
  {
    name: "a signer that returns a promise signs as one that does not",
    stackBytes,
    async run(check) {
      const inner = createSigner({ secret });
      let fails = false;
      const credential = {
        algorithm: inner.algorithm,
        hashBody: (body: Uint8Array) => inner.hashBody(body),
        async sign(text: string) {
          if (fails) throw new TypeError("no secure element");
          return inner.sign(text);
        },
        close() {},
      };
      const { host, device } = create(() => response(success), { credential });
      await device.publish(message);
      const { request } = host.sent[0];
      const time = {
        timestampSeconds: Number(request.headers["X-TC-Timestamp"]),
        nonce: Number(request.headers["X-TC-Nonce"]),
      };
      check.equal(request.headers, { ...signRequest(request, inner, time).headers, "Accept-Encoding": "identity" });
      fails = true;
      await check.rejects("SIGNING_FAULT", () => device.publish(message));
      check.equal(host.sent.length, 1);
      check.equal(host.timers, 0);
    },
  },
  {
    name: "a psk that was copied badly is refused, and never shown",
    run(check) {
      const bad = [
        `${secret}\n`,
        ` ${secret}`,
        `"${secret}"`,
        `\ufeff${secret}`,
        secret.slice(0, -1),
        secret.slice(0, -2),
      ];
      for (const each of bad) {
        const error = check.throws("INVALID_CREDENTIAL", () => create(never, { credential: { secret: each } }));
        check.ok(!error.message.includes("lDZ6"), error.message);
        create(never, { credential: { secret: each, verbatim: true } });
      }
    },
  },
];
