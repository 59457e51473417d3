/** All options: unknown names, wrong types and values out of range are reported. */

import { describe, expect, test } from "@jest/globals";
import { createHost } from "../../host/node/index.js";
import { createMemoryStorage, Device, type DeviceOptions, IotHubError, provision, register } from "../../src/index.js";
import { messageRules } from "../../src/message.js";
import * as optionTables from "../../src/options.js";
import { provisionOptions } from "../../src/provisioning/provision.js";
import { TokenBucket } from "../../src/request/rate-limit.js";
import { topics } from "../../src/topics/topics.js";
import { fakeHost, response, success } from "../support/fake-host.js";

const options = { productId: "P", deviceName: "D", credential: { secret: "YWJj" } };
const message = { topic: "data", payload: "1" };
const host = () => fakeHost(() => response(success), { storage: createMemoryStorage() });
const device = (changes: object) => new Device({ ...options, ...changes } as DeviceOptions, host());
const registration = { productId: "P", deviceName: "D", productSecret: "0123456789abcdef", url: "http://h" };

/** How each table's options get to where they are read. */
const readers: Record<string, (given: object) => unknown> = {
  deviceRules: device,
  retryRules: (given) => device({ retry: given }),
  rateLimitRules: (given) => device({ rateLimit: given }),
  clockCorrectionRules: (given) => device({ clockCorrection: given }),
  logRules: (given) => device({ log: given }),
  outboxRules: (given) => device({ outbox: given }),
  batchRules: (given) => device({ outbox: { batch: given } }),
  phaseTimeoutRules: (given) => device({ phaseTimeoutsMs: given }),
  requestRules: (given) => device({}).publish(message, given),
  messageRules: (given) => device({}).publish({ ...message, ...given }),
  heartbeatRules: (given) => device({ heartbeat: { intervalMs: 60_000, topic: "beat", ...given } }),
  flushRules: (given) => device({ outbox: {} }).flush(given),
  topicsRules: (given) => topics(options, given),
  reportRules: (given) => topics(options).propertyReport({}, given),
  registerRules: (given) => register({ ...registration, ...given }, host()),
  provisionRules: (given) => provision({ ...registration, ...given }, host()),
  provisionedDeviceRules: (given) => provisionOptions({ ...registration, ...given }, host()),
};

async function error(table: string, given: object): Promise<IotHubError> {
  let caught: unknown;
  try {
    await readers[table](given);
  } catch (thrown) {
    caught = thrown;
  }
  expect({ table, given: Object.keys(given), is: caught instanceof IotHubError }).toMatchObject({ is: true });
  return caught as IotHubError;
}

const all = Object.entries({ ...optionTables, messageRules }).filter(([name]) => name.endsWith("Rules")) as [
  string,
  Record<string, optionTables.Rule>,
][];

test("every option table is used", () => {
  expect(all.map(([name]) => name).sort()).toEqual(Object.keys(readers).sort());
});

describe.each(all)("%s", (table, rules) => {
  test("reports a misspelled option and the closest one", async () => {
    for (const name of Object.keys(rules)) {
      if (name.length < 4) continue;
      const middle = name.length >> 1;
      const swapped = name.slice(0, middle - 1) + name[middle] + name[middle - 1] + name.slice(middle + 1);
      for (const wrong of [name.slice(0, -1), `${name}s`, name.toUpperCase(), swapped]) {
        if (wrong in rules) continue;
        const { code, message } = await error(table, { [wrong]: 1 });
        expect(code).toBe("INVALID_OPTION");
        expect(message).toMatch(new RegExp(`^Unknown option \`(\\w+\\.)?${wrong}\`; did you mean \`${name}\`\\?$`));
      }
    }
  });

  test("lists its options if none is close", async () => {
    for (const wrong of ["xyzzy", "__proto__x", "constructor", "toString", "x".repeat(1000)]) {
      const { code, message } = await error(table, { [wrong]: 1 });
      expect(code).toBe("INVALID_OPTION");
      expect(message).toContain(`the known ones are ${Object.keys(rules).join(", ")}.`);
      expect(message.length).toBeLessThan(400);
    }
  });

  const typed = Object.entries(rules).filter(([, rule]) => rule !== "any");
  test("reports a value of a wrong type, and accepts undefined", async () => {
    const canary = "canary-5000";
    for (const [name, rule] of typed) {
      const wrong: unknown[] = [null, true, [], canary, 7n, Symbol("s")];
      if (rule === "boolean") wrong.splice(1, 1);
      if (rule === "string") wrong.splice(3, 1, 5);
      if (rule !== "function") wrong.push(() => {});
      if (/ /.test(rule)) wrong.push("5000", "1", Number.NaN, Number.POSITIVE_INFINITY, -1, {}, new Date());
      if (/^integer/.test(rule)) wrong.push(300.5);
      if (rule === "signal") wrong.push({}, new AbortController());
      if (rule === "object") wrong.push(false);
      for (const value of wrong) {
        const { code, message } = await error(table, { [name]: value });
        expect({ name, value: typeof value, code }).toEqual({ name, value: typeof value, code: "INVALID_OPTION" });
        expect(message).toMatch(new RegExp(`^(\\w+\\.)?${name} must be .*; it is .*\\.$`));
        expect(message).not.toContain(canary);
      }
    }
    for (const [name] of typed) {
      const result = await Promise.resolve()
        .then(() => readers[table]({ [name]: undefined }))
        .catch((caught) => caught.code);
      expect(result === "INVALID_OPTION" ? name : "").toBe("");
    }
  });

  test("reports a value out of range", async () => {
    for (const [name, rule] of typed) {
      const [kind, min, max] = rule.split(" ");
      if (max === undefined) continue;
      const beyond = kind === "integer" ? [Number(min) - 1, Number(max) + 1] : [Number(min) - 0.0005, Number(max) * 2];
      for (const value of beyond) {
        const { code, message } = await error(table, { [name]: value });
        expect(code).toBe("INVALID_OPTION");
        expect(message).toContain(`from ${min} to ${max}; it is ${value}.`);
      }
    }
  });
});

test.each([
  ["topc", { topc: "data" }, "Unknown option `topc`; did you mean `topic`?"],
  ["QoS", { QoS: 0 }, "Unknown option `QoS`; did you mean `qos`?"],
])("a message with %s is not sent", async (_name, wrong, sentence) => {
  const sent = host();
  const published = new Device(options, sent).publish({ ...message, ...wrong } as never);
  await expect(published).rejects.toMatchObject({ code: "INVALID_OPTION", message: sentence });
  expect(sent.sent).toEqual([]);
});

test("a misspelled retry option is reported with its path", () => {
  expect(() => device({ retry: { maxAttemps: 5 } })).toThrow(
    "Unknown option `retry.maxAttemps`; did you mean `maxAttempts`?",
  );
});

test("a numeric string is rejected as a string", () => {
  expect(() => device({ timeoutMs: "5000" })).toThrow(
    "timeoutMs must be a number from 1 to 2147483647; it is a string.",
  );
});

test("an array instead of options is rejected", () => {
  for (const name of ["retry", "log", "outbox"]) {
    expect(() => device({ [name]: [] })).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
  }
  expect(() => new TokenBucket([] as never)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
});

test("provisioning passes no option of a registration to the device", async () => {
  const made = { ...host(), deviceName: () => "D" };
  await made.storage?.set("x", "1");
  const found = await provisionOptions({ ...registration, maxPayloadBytes: 5, force: false } as never, made).catch(
    (caught) => caught.code,
  );
  // The fake gateway gives no credential: what counts is that the options were taken.
  expect(found).toBe("REGISTRATION_INCOMPLETE");
});

describe("createHost of Node", () => {
  test.each([
    [{ storageFolder: "x" }, "Unknown option `storageFolder`; did you mean `storage`?"],
    [{ storage: 5 }, "storage must be the path of a folder, or a Storage object."],
    [{ systemTrustAnchors: "yes" }, "systemTrustAnchors must be a boolean; it is a string."],
    [{ lookup: {} }, "lookup must be a function; it is an object."],
  ])("%j", (given, sentence) => {
    expect(() => createHost(given as never)).toThrow(sentence);
  });
});
