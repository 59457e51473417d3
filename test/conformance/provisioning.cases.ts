import { utf8, utf8Decode } from "../../src/crypto/utf8.js";
import { type HttpResponse, storageLimits } from "../../src/host.js";
import { Device, forget, type ProvisionOptions, provision, type Storage } from "../../src/index.js";
import { fakeHost, response, success } from "../support/fake-host.js";
import type { Case } from "./case.js";

interface Registration {
  readonly productSecret: string;
  readonly reply: string;
  readonly secret?: string;
  readonly privateKey?: string;
  readonly certificate?: string;
}

function memory(): Storage & { readonly values: Map<string, string> } {
  const values = new Map<string, string>();
  return {
    maxValueBytes: storageLimits.valueBytes,
    values,
    get: async (key) => values.get(key),
    set: async (key, text) => {
      values.set(key, text);
    },
    delete: async (key) => {
      values.delete(key);
    },
    keys: async () => [...values.keys()],
  };
}

const board = { productId: "G8N9VAAAHB", deviceName: "24:6f:28:aa:bb:cc", url: "http://gateway.test" };
const stackBytes = 16_384;

export const cases: readonly Case[] = [
  {
    name: "a board registers once, keeps its credential, publishes and forgets",
    each: true,
    stackBytes,
    // A psk takes 20 KB. A chain with its key has 5 KB and is there as Base64, bytes, text and objects at once.
    heapBytes: 98_304,
    async run(check, { productSecret, reply, secret, privateKey, certificate }: Registration) {
      const storage = memory();
      const registered: HttpResponse = response(utf8(reply));
      const host = fakeHost((request) => (request.path === "/device/register" ? registered : response(success)), {
        storage,
      });
      const options: ProvisionOptions = { ...board, productSecret };
      const credential = secret === undefined ? { privateKey } : { secret, verbatim: true };
      for (const origin of ["registered", "stored", "stored"]) {
        const found = await provision(options, host);
        check.equal(found.origin, origin);
        check.equal(found.credential, credential);
        check.equal(found.certificate, certificate);
      }
      check.equal(host.sent.length, 1);
      check.equal(utf8Decode(host.sent[0].request.body), '{"ProductId":"G8N9VAAAHB","DeviceName":"24:6f:28:aa:bb:cc"}');
      for (const value of storage.values.values()) check.ok(utf8(value).length <= 3999, "a value is too long");
      const [[first, kept]] = [...storage.values];
      storage.values.set(first, `${kept.slice(0, -1)}~`);
      await check.rejects("STORED_CREDENTIAL_DAMAGED", () => provision(board, host));
      await forget(host);
      check.equal(storage.values.size, 0);
      await check.rejects("NOT_PROVISIONED", () => provision(board, host));
      check.equal(host.timers, 0);
    },
  },
  {
    name: "log lines are gathered, limited and sent",
    stackBytes,
    async run(check) {
      const host = fakeHost(() => response(success));
      const log = { maxLines: 3, maxLineBytes: 64 };
      const device = new Device({ ...board, credential: { secret: "x" }, log }, host);
      device.log("debug", "left out");
      device.log("info", "温度", 21.5, { t: [1] });
      device.log("warn", "a\nb\u2028c");
      device.log("error", "😀".repeat(50));
      device.log("error", "too many");
      host.advance(10000);
      await device.flushLog();
      check.equal(host.sent.length, 1);
      const { request } = host.sent[0];
      check.equal(request.path, "/device/reportlog");
      const { Message } = JSON.parse(utf8Decode(request.body));
      const time = "|2024-12-27T08:05:44.000Z|";
      check.equal(Message.slice(0, 3), [
        `INF${time}温度 21.5 {"t":[1]}`,
        `WRN${time}a b c`,
        `ERR${time}${"😀".repeat(8)}…`,
      ]);
      check.ok(Message[3].endsWith("|1 log lines were dropped"), Message[3]);
      check.equal(Message.length, 4);
      check.throws("INVALID_LOG_LEVEL", () => device.log("loud" as "info", "x"));
      device.close();
      check.equal(host.timers, 0);
    },
  },
];
