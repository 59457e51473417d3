import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { hex } from "../../src/crypto/hex.js";
import { sha256 } from "../../src/crypto/sha256.js";
import { type HttpRequest, storageLimits } from "../../src/host.js";
import { forget, type Host, type ProvisionOptions, provision, type Storage } from "../../src/index.js";
import { sealRegistrationPayload } from "../../tools/gateway/index.js";
import { fakeHost, response } from "../support/fake-host.js";
import { productSecret } from "../support/keys.js";

const options: ProvisionOptions = { productId: "P1", deviceName: "dev1", productSecret, url: "http://gateway.test" };
const { productSecret: _, ...withoutSecret } = options;

type Kind = "psk" | "certificate";

/** Issues a new credential at each registration; only the last one is worth something. */
class Registrar {
  count = 0;
  refuse: string | undefined;
  readonly #kind: Kind;

  constructor(kind: Kind = "psk") {
    this.#kind = kind;
  }

  /** What a device must hold now. */
  get current(): object {
    const { clientCert, clientKey, psk } = this.#content();
    return psk === undefined
      ? { credential: { privateKey: clientKey }, certificate: clientCert }
      : { credential: { secret: psk, verbatim: true } };
  }

  reply(request: HttpRequest) {
    expect(request.path).toBe("/device/register");
    if (this.refuse !== undefined) {
      return response(JSON.stringify({ Response: { Error: { Code: this.refuse }, RequestId: "r" } }));
    }
    this.count++;
    const { payload, length } = sealRegistrationPayload(productSecret, JSON.stringify(this.#content()));
    const state = this.count > 1 ? 1 : 0;
    return response(
      JSON.stringify({ Response: { Len: length, Payload: payload, State: state, RequestId: `r${this.count}` } }),
    );
  }

  #content(): Record<string, unknown> {
    const name = `credential number ${this.count}`;
    if (this.#kind === "psk") return { encryptionType: 2, psk: createHmac("md5", name).digest("base64") };
    return { encryptionType: 1, clientCert: `${name} `.repeat(350), clientKey: `${name} key `.repeat(60) };
  }
}

type Cut = "before" | "after" | "torn";

/** A storage that keeps the limits of a board, counts its operations, and fails from the `failAt`-th on. */
class FragileStorage implements Storage {
  readonly maxValueBytes = storageLimits.valueBytes;
  readonly values: Map<string, string>;
  readonly log: string[] = [];
  readonly #failAt: number;
  readonly #cut: Cut;

  constructor(values = new Map<string, string>(), failAt = Number.POSITIVE_INFINITY, cut: Cut = "before") {
    this.values = values;
    this.#failAt = failAt;
    this.#cut = cut;
  }

  get dead(): boolean {
    return this.log.length >= this.#failAt;
  }

  async #step<T>(name: string, run: (last: boolean) => T): Promise<T> {
    await null;
    if (this.dead) throw new Error("no power");
    this.log.push(name);
    if (this.dead && this.#cut === "before") throw new Error("no power");
    const result = run(this.dead && this.#cut === "torn");
    if (this.dead) throw new Error("no power");
    return result;
  }

  get(key: string) {
    return this.#step(`get ${key}`, () => this.values.get(key));
  }

  set(key: string, text: string) {
    expect(key).toMatch(/^[A-Za-z0-9_.-]{1,15}$/);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(storageLimits.valueBytes);
    return this.#step(`set ${key}`, (torn) => {
      this.values.set(key, torn ? text.slice(0, text.length >> 1) : text);
    });
  }

  delete(key: string) {
    return this.#step(`delete ${key}`, () => {
      this.values.delete(key);
    });
  }

  keys() {
    return this.#step("keys", () => [...this.values.keys()]);
  }
}

/** The gateway registers the device, and the response never arrives. */
function powerCutAfter(registrar: Registrar): Host["http"] {
  return {
    send: async (request) => {
      registrar.reply(request);
      throw new Error("no power");
    },
    close: () => {},
  };
}

/** Thousands of starts are quicker with it; the tests of what is stored do without. */
const digest = { sha256: (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest() };
function board(registrar: Registrar, storage: Storage, changes: Partial<Host> = {}) {
  return fakeHost((request) => registrar.reply(request), { storage, digest, ...changes });
}

describe.each<Kind>(["psk", "certificate"])("a board with a %s", (kind) => {
  const setUp = () => {
    const registrar = new Registrar(kind);
    const storage = new FragileStorage();
    return { registrar, storage, host: board(registrar, storage) };
  };

  test("registers once, and then uses the stored credential", async () => {
    const { registrar, storage, host } = setUp();
    const first = await provision(options, host);
    expect(first).toEqual({
      ...registrar.current,
      productId: "P1",
      deviceName: "dev1",
      origin: "registered",
      requestId: "r1",
      state: 0,
    });
    const second = await provision(options, host);
    expect(second).toEqual({ ...registrar.current, productId: "P1", deviceName: "dev1", origin: "stored" });
    expect(await provision(withoutSecret, host)).toEqual(second);
    expect(registrar.count).toBe(1);
    expect(storage.values.has("registering")).toBe(false);
    expect(storage.values.size).toBe(kind === "psk" ? 1 : 3);
  });

  test("stores the credential first", async () => {
    const { registrar, storage } = setUp();
    const order: string[] = storage.log;
    const host = board(registrar, storage, {
      http: {
        send: async (request) => {
          order.push("register");
          return registrar.reply(request);
        },
        close: () => {},
      },
    });
    await provision(options, host);
    const after = order.slice(order.indexOf("register") + 1);
    const writes = kind === "psk" ? [] : ["set cred.0.0", "set cred.0.1"];
    expect(after.slice(0, writes.length + 1)).toEqual([...writes, "set cred"]);
    // The mark was kept, and nothing is stored, looked up in both ways.
    expect(order.slice(0, order.indexOf("register")).slice(-4)).toEqual([
      "set registering",
      "get registering",
      "get cred",
      "keys",
    ]);
  });

  test("registers again with force, and deletes the old credential", async () => {
    const { registrar, storage, host } = setUp();
    for (let count = 1; count <= 4; count++) {
      const result = await provision({ ...options, force: true }, host);
      expect(result).toMatchObject({ ...registrar.current, origin: "registered", state: count > 1 ? 1 : 0 });
      expect(registrar.count).toBe(count);
      expect(storage.values.size).toBe(kind === "psk" ? 1 : 3);
    }
    expect(await provision(withoutSecret, host)).toMatchObject(registrar.current);
  });

  test("deletes its credential with forget", async () => {
    const { registrar, storage, host } = setUp();
    storage.values.set("clock", "1s0");
    await provision(options, host);
    await forget(host);
    expect([...storage.values.keys()]).toEqual(["clock"]);
    await expect(provision(withoutSecret, host)).rejects.toMatchObject({ code: "NOT_PROVISIONED" });
    await forget(host);
    await provision(options, host);
    expect(registrar.count).toBe(2);
  });

  /** Every scenario begins with what `before` stores, is cut at each operation, and is then started again. */
  const scenarios: [string, boolean, (host: Host) => Promise<unknown>][] = [
    ["a first start", false, (host) => provision(options, host)],
    ["a later start", true, (host) => provision(options, host)],
    ["a forced registration", true, (host) => provision({ ...options, force: true }, host)],
    ["a forced registration on a first start", false, (host) => provision({ ...options, force: true }, host)],
    ["forgetting", true, (host) => forget(host)],
  ];
  describe.each(scenarios)("power cut during %s", (name, provisioned, run) => {
    test.each<Cut>(["before", "after", "torn"])("recovers from a power cut %s each storage operation", async (cut) => {
      let operations = 0;
      let cuts = 0;
      for (let failAt = 1; ; failAt++) {
        const registrar = new Registrar(kind);
        const values = new Map<string, string>();
        if (provisioned) await provision({ ...options, force: true }, board(registrar, new FragileStorage(values)));
        const fragile = new FragileStorage(values, failAt, cut);
        await run(board(registrar, fragile)).catch(() => {});
        if (!fragile.dead) break;
        operations = failAt;
        cuts++;
        const kept = new FragileStorage(values);
        const before = registrar.count;
        // What a board holds after the next start is what the gateway knows of it.
        const result = await provision(options, board(registrar, kept));
        expect({ failAt, ...result }).toMatchObject({ failAt, ...registrar.current });
        expect(registrar.count - before).toBeLessThanOrEqual(1);
        // And it stays so without another registration.
        const after = registrar.count;
        expect(await provision(withoutSecret, board(registrar, kept))).toMatchObject(registrar.current);
        expect(registrar.count).toBe(after);
        expect(values.has("registering")).toBe(false);
        expect(values.size).toBe(kind === "psk" ? 1 : 3);
        if (name === "a later start") expect(registrar.count).toBe(1);
      }
      expect(cuts).toBe(operations);
      expect(operations).toBeGreaterThanOrEqual(name === "a later start" ? 2 : 3);
    });

    // With a certificate, the one scenario that writes and deletes parts stands for all.
    const twice = kind === "psk" || name === "a forced registration";
    if (twice)
      test("recovers from a second power cut during the next start", async () => {
        for (let failAt = 1, more = true; more; failAt++) {
          more = false;
          for (let second = 1; ; second++) {
            const registrar = new Registrar(kind);
            const values = new Map<string, string>();
            if (provisioned) await provision(options, board(registrar, new FragileStorage(values)));
            const fragile = new FragileStorage(values, failAt, "torn");
            await run(board(registrar, fragile)).catch(() => {});
            if (!fragile.dead) break;
            more = true;
            const again = new FragileStorage(values, second, "after");
            await provision(options, board(registrar, again)).catch(() => {});
            const result = await provision(options, board(registrar, new FragileStorage(values)));
            expect({ failAt, second, ...result }).toMatchObject({ failAt, second, ...registrar.current });
            expect(values.size).toBe(kind === "psk" ? 1 : 3);
            if (!again.dead) break;
          }
        }
      });

    test("recovers from a power cut before the response arrives", async () => {
      const registrar = new Registrar(kind);
      const storage = new FragileStorage();
      if (provisioned) await provision(options, board(registrar, storage));
      await run(board(registrar, storage, { http: powerCutAfter(registrar) })).catch(() => {});
      expect(await provision(options, board(registrar, storage))).toMatchObject(registrar.current);
      expect(await provision(withoutSecret, board(registrar, storage))).toMatchObject(registrar.current);
    });
  });
});

describe("a rejected registration", () => {
  test("keeps the stored credential if permanent, and is not retried", async () => {
    const registrar = new Registrar();
    const host = board(registrar, new FragileStorage());
    await provision(options, host);
    registrar.refuse = "UnauthorizedOperation.Registration";
    await expect(provision({ ...options, force: true }, host)).rejects.toMatchObject({ code: "GATEWAY_REJECTED" });
    const sent = host.sent.length;
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
    expect(host.sent.length).toBe(sent);
  });

  test("keeps the stored credential after a lost response, and is retried at each start", async () => {
    const registrar = new Registrar();
    const storage = new FragileStorage();
    const host = board(registrar, storage);
    await provision(options, host);
    const lost = board(registrar, storage, {
      http: { send: () => Promise.reject(new Error("no power")), close: () => {} },
    });
    await expect(provision({ ...options, force: true }, lost)).rejects.toMatchObject({ code: "NETWORK_FAILED" });
    registrar.refuse = "UnauthorizedOperation.Registration";
    for (const tries of [2, 3]) {
      expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
      expect(host.sent.length).toBe(tries);
    }
    registrar.refuse = undefined;
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "registered", state: 1 });
  });

  test("is retried at the next start if temporary", async () => {
    const registrar = new Registrar();
    const host = board(registrar, new FragileStorage());
    await provision(options, host);
    registrar.refuse = "InternalError";
    await expect(provision({ ...options, force: true }, host)).rejects.toMatchObject({ retryable: true });
    registrar.refuse = undefined;
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "registered" });
  });
});

describe("the stored credential", () => {
  const stored = async (kind: Kind) => {
    const registrar = new Registrar(kind);
    const storage = new FragileStorage();
    await provision(options, board(registrar, storage, { digest: undefined }));
    return { registrar, storage };
  };

  test("has a stable format", async () => {
    const { storage } = await stored("psk");
    const fixture =
      '10071990a7ec5274c64d89927d6e93fdc04{"productId":"P1","deviceName":"dev1","psk":"h5hqlMwKMfZ1IGueSKic7w=="}';
    expect(storage.values.get("cred")).toBe(fixture);
    const [, content] = fixture.split(/(?=\{)/);
    expect(fixture.slice(3, 35)).toBe(hex(sha256(Buffer.from(`100${content}`))).slice(0, 32));
  });

  test.each<Kind>(["psk", "certificate"])("is rejected if any bit has changed (%s)", async (kind) => {
    const { registrar, storage } = await stored(kind);
    for (const [key, value] of storage.values) {
      for (let at = 0; at < value.length; at += Math.ceil(value.length / 40)) {
        const changed = `${value.slice(0, at)}${String.fromCharCode(value.charCodeAt(at) ^ (1 << (at & 5)))}${value.slice(at + 1)}`;
        const damaged = new FragileStorage(new Map(storage.values).set(key, changed));
        await expect(provision(withoutSecret, board(registrar, damaged))).rejects.toMatchObject({
          code: "STORED_CREDENTIAL_DAMAGED",
        });
      }
      const missing = new Map(storage.values);
      missing.delete(key);
      await expect(provision(withoutSecret, board(registrar, new FragileStorage(missing)))).rejects.toMatchObject({
        code: key === "cred" ? "NOT_PROVISIONED" : "STORED_CREDENTIAL_DAMAGED",
      });
    }
    expect(registrar.count).toBe(1);
  });

  test("is replaced if it is corrupt and there is a ProductSecret", async () => {
    const { registrar, storage } = await stored("psk");
    storage.values.set("cred", (storage.values.get("cred") as string).replace("dev1", "dev2"));
    expect(await provision(options, board(registrar, storage))).toMatchObject(registrar.current);
    expect(registrar.count).toBe(2);
  });

  test("is bound to its device", async () => {
    const { registrar, storage } = await stored("psk");
    const host = board(registrar, storage);
    for (const other of [{ productId: "P2" }, { deviceName: "dev2" }]) {
      await expect(provision({ ...options, ...other }, host)).rejects.toMatchObject({
        code: "STORED_CREDENTIAL_OTHER",
      });
    }
    expect(host.sent).toHaveLength(0);
    const moved = { ...options, deviceName: "dev2", force: true };
    expect(await provision(moved, host)).toMatchObject({ deviceName: "dev2", ...registrar.current });
  });

  test("never contains the ProductSecret or the app's key, which is needed at each start", async () => {
    const storage = new FragileStorage();
    const sealed = sealRegistrationPayload(productSecret, '{"encryptionType":1}');
    const body = JSON.stringify({ Response: { Len: sealed.length, Payload: sealed.payload, RequestId: "r" } });
    const host = fakeHost(() => response(body), { storage });
    const own = { clientCertificate: "-----BEGIN CERTIFICATE-----", clientKey: "the private key" };
    const expected = { credential: { privateKey: own.clientKey }, certificate: own.clientCertificate };
    expect(await provision({ ...options, ...own }, host)).toMatchObject({ ...expected, origin: "registered" });
    expect(await provision({ ...withoutSecret, ...own }, host)).toMatchObject({ ...expected, origin: "stored" });
    await expect(provision(options, host)).rejects.toMatchObject({ code: "INVALID_OPTION" });
    expect(host.sent).toHaveLength(1);
    for (const value of storage.values.values()) {
      expect(value).not.toContain(own.clientKey);
      expect(value).not.toContain(productSecret);
    }
  });

  test("is hashed natively if the host supports it", async () => {
    const { registrar, storage } = await stored("certificate");
    let calls = 0;
    const counted = {
      sha256: (...parts: Uint8Array[]) => {
        calls++;
        return digest.sha256(...parts);
      },
    };
    const host = board(registrar, storage, { digest: counted });
    expect(await provision(withoutSecret, host)).toMatchObject(registrar.current);
    expect(calls).toBe(1);
  });
});

describe("a stored credential that reads as absent", () => {
  /** A storage that says of some keys that they are absent, the first `times` times. */
  const forgetful = (values: Map<string, string>, times: number, lists = true): FragileStorage => {
    const storage = new FragileStorage(values);
    const { get, keys } = storage;
    let left = times;
    return Object.assign(storage, {
      get: (key: string) => (key === "cred" && left-- > 0 ? Promise.resolve(undefined) : get.call(storage, key)),
      keys: () => (lists ? keys.call(storage) : Promise.resolve([])),
    });
  };
  const provisionedBoard = async () => {
    const registrar = new Registrar();
    const values = new Map<string, string>();
    await provision(options, board(registrar, new FragileStorage(values)));
    return { registrar, values };
  };

  test("is used if found at the second read, without a registration", async () => {
    const { registrar, values } = await provisionedBoard();
    const host = board(registrar, forgetful(values, 1, false));
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
    expect(host.sent.length).toBe(0);
    expect([...values.keys()]).toEqual(["cred"]);
  });

  test("prevents a registration while its key is listed", async () => {
    const { registrar, values } = await provisionedBoard();
    const host = board(registrar, forgetful(values, 1));
    await expect(provision(options, host)).rejects.toMatchObject({ code: "STORAGE_FAILED", retryable: true });
    expect(host.sent.length).toBe(0);
    expect([...values.keys()]).toEqual(["cred"]);
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
    expect(host.sent.length).toBe(0);
  });

  test("prevents a registration if its key is listed only after the marker was written", async () => {
    const { registrar, values } = await provisionedBoard();
    const storage = forgetful(values, 2);
    const { keys } = storage;
    let lists = 0;
    Object.assign(storage, { keys: () => (lists++ === 0 ? Promise.resolve([]) : keys.call(storage)) });
    const host = board(registrar, storage);
    await expect(provision(options, host)).rejects.toMatchObject({ code: "STORAGE_FAILED", retryable: true });
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
    expect(host.sent.length).toBe(0);
    expect([...values.keys()]).toEqual(["cred"]);
  });

  test("keeps its marker: an interrupted forced registration is repeated once it is found", async () => {
    const { registrar, values } = await provisionedBoard();
    const force = { ...options, force: true };
    await expect(
      provision(force, board(registrar, new FragileStorage(values), { http: powerCutAfter(registrar) })),
    ).rejects.toMatchObject({
      code: "NETWORK_FAILED",
    });
    for (const times of [1, 2]) {
      await expect(provision(force, board(registrar, forgetful(values, times)))).rejects.toMatchObject({
        code: "STORAGE_FAILED",
      });
    }
    expect(await provision(options, board(registrar, new FragileStorage(values)))).toMatchObject({
      ...registrar.current,
      origin: "registered",
    });
  });

  test("is read again before a registration if it was corrupt twice", async () => {
    const { registrar, values } = await provisionedBoard();
    const storage = new FragileStorage(values);
    const { get } = storage;
    let left = 2;
    Object.assign(storage, {
      get: (key: string) => (key === "cred" && left-- > 0 ? Promise.resolve("garbled") : get.call(storage, key)),
    });
    const host = board(registrar, storage);
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
    expect(host.sent.length).toBe(0);
  });

  test("is kept if one of its parts is listed and reads as absent", async () => {
    const registrar = new Registrar("certificate");
    const values = new Map<string, string>();
    await provision(options, board(registrar, new FragileStorage(values)));
    const [part] = [...values.keys()].filter((key) => key.startsWith("cred."));
    const storage = new FragileStorage(values);
    const { get } = storage;
    let left = 100;
    Object.assign(storage, {
      get: (key: string) => (key === part && left-- > 0 ? Promise.resolve(undefined) : get.call(storage, key)),
    });
    const host = board(registrar, storage);
    for (const each of [options, withoutSecret]) {
      await expect(provision(each, host)).rejects.toMatchObject({ code: "STORAGE_FAILED", retryable: true });
    }
    left = 0;
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "stored" });
    expect(host.sent.length).toBe(0);
  });

  test("keeps a marker that reads as absent: nothing is sent before it is known", async () => {
    const { registrar, values } = await provisionedBoard();
    values.set("registering", "10");
    const storage = new FragileStorage(values);
    const { get } = storage;
    let left = 1;
    Object.assign(storage, {
      get: (key: string) => (key === "registering" && left-- > 0 ? Promise.resolve(undefined) : get.call(storage, key)),
    });
    registrar.refuse = "UnauthorizedOperation.Registration";
    const host = board(registrar, storage);
    const code = "STORAGE_FAILED";
    await expect(provision({ ...options, force: true }, host)).rejects.toMatchObject({ code });
    expect(host.sent.length).toBe(0);
    expect(values.get("registering")).toBe("10");
  });

  test("keeps its marker if it was corrupt twice and the network fails", async () => {
    const { registrar, values } = await provisionedBoard();
    values.set("registering", "10");
    const storage = new FragileStorage(values);
    const { get } = storage;
    let left = 2;
    Object.assign(storage, {
      get: (key: string) => (key === "cred" && left-- > 0 ? Promise.resolve("garbled") : get.call(storage, key)),
    });
    const away: Host["http"] = { send: () => Promise.reject(new Error("no network")), close: () => {} };
    expect(await provision(options, board(registrar, storage, { http: away }))).toMatchObject({ origin: "stored" });
    expect(values.get("registering")).toBe("10");
  });

  test("keeps a marker that is read incorrectly once", async () => {
    const { registrar, values } = await provisionedBoard();
    values.set("registering", "10");
    const storage = new FragileStorage(values);
    const { get } = storage;
    let left = 1;
    Object.assign(storage, {
      get: (key: string) => (key === "registering" && left-- > 0 ? Promise.resolve("1") : get.call(storage, key)),
    });
    const host = board(registrar, storage);
    expect(await provision(options, host)).toMatchObject({ ...registrar.current, origin: "registered" });
  });

  test("is replaced by a forced registration, whose interruption is detected", async () => {
    const { registrar, values } = await provisionedBoard();
    const host = board(registrar, forgetful(values, 1, false), { http: powerCutAfter(registrar) });
    await expect(provision({ ...options, force: true }, host)).rejects.toMatchObject({ code: "NETWORK_FAILED" });
    expect(await provision(options, board(registrar, new FragileStorage(values)))).toMatchObject({
      ...registrar.current,
      origin: "registered",
    });
  });

  test("counts as corrupt only after two reads", async () => {
    const { registrar, values } = await provisionedBoard();
    const storage = new FragileStorage(values);
    const { get } = storage;
    let garbled = 1;
    storage.get = (key) => (key === "cred" && garbled-- > 0 ? Promise.resolve("") : get.call(storage, key));
    expect(await provision(withoutSecret, board(registrar, storage))).toMatchObject(registrar.current);
  });
});

test("the stored credential is used after an interrupted forced registration while the network fails", async () => {
  const registrar = new Registrar();
  const storage = new FragileStorage();
  await provision(options, board(registrar, storage));
  const away = board(registrar, storage, {
    http: { send: () => Promise.reject(new Error("no network")), close: () => {} },
  });
  await expect(provision({ ...options, force: true }, away)).rejects.toMatchObject({ code: "NETWORK_FAILED" });
  expect(await provision(options, away)).toMatchObject({ ...registrar.current, origin: "stored" });
  // It is tried again once the network is back.
  expect(await provision(options, board(registrar, storage))).toMatchObject({ origin: "registered", state: 1 });
  expect(registrar.count).toBe(2);
});

test("a certificate with non-ASCII comments is stored in parts", async () => {
  const content = { encryptionType: 1, clientCert: "证书😀".repeat(900), clientKey: "key" };
  const { payload, length } = sealRegistrationPayload(productSecret, JSON.stringify(content));
  const body = JSON.stringify({ Response: { Len: length, Payload: payload, State: 0, RequestId: "r" } });
  const storage = new FragileStorage();
  const host = fakeHost(() => response(body), { storage });
  await provision(options, host);
  expect(storage.values.size).toBeGreaterThan(2);
  expect((await provision(withoutSecret, host)).certificate).toBe(content.clientCert);
});

describe("a storage that does not respond", () => {
  const never = () => new Promise<never>(() => {});

  test.each(["get", "keys"] as const)("fails after storageTimeoutMs in %s", async (operation) => {
    const storage = new FragileStorage(new Map([["clock", "1s0"]]));
    const { set } = storage;
    // `keys` is asked after the mark was written and read back.
    Object.assign(storage, { [operation]: never, set: (key: string, text: string) => set.call(storage, key, text) });
    const host = board(new Registrar(), storage);
    const provisioning = provision({ ...options, storageTimeoutMs: 5000 }, host);
    const failed = expect(provisioning).rejects.toMatchObject({ code: "STORAGE_FAILED", retryable: true });
    for (let i = 0; i < 200; i++) await null;
    host.advance(4999);
    expect(host.timers).toBe(1);
    host.advance(1);
    await failed;
    expect(host.sent.length).toBe(0);
  });

  test("is waited for without limit while it stores the credential", async () => {
    const registrar = new Registrar();
    const storage = new FragileStorage();
    const { set } = storage;
    let finish = () => {};
    storage.set = (key, text) => {
      if (key !== "cred") return set.call(storage, key, text);
      return new Promise<void>((resolve) => {
        finish = () => resolve(set.call(storage, key, text));
      });
    };
    const host = board(registrar, storage);
    const provisioning = provision({ ...options, storageTimeoutMs: 5000 }, host);
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    host.advance(86400000);
    finish();
    expect(await provisioning).toMatchObject({ ...registrar.current, origin: "registered" });
  });
});

describe("an unusable storage", () => {
  test("is detected before the gateway issues a secret", async () => {
    const registrar = new Registrar();
    const readOnly = Object.assign(new FragileStorage(), { set: () => Promise.reject(new Error("full")) });
    await expect(provision(options, board(registrar, readOnly))).rejects.toMatchObject({
      code: "STORAGE_FAILED",
      retryable: true,
    });
    expect(registrar.count).toBe(0);
  });

  test("that loses values is detected, too", async () => {
    const registrar = new Registrar();
    const forgetful = Object.assign(new FragileStorage(), { set: () => Promise.resolve() });
    await expect(provision(options, board(registrar, forgetful))).rejects.toMatchObject({ code: "STORAGE_FAILED" });
  });

  test("that is missing is an error", async () => {
    const host = board(new Registrar(), new FragileStorage(), { storage: undefined });
    await expect(provision(options, host)).rejects.toMatchObject({ code: "INVALID_OPTION" });
    await expect(forget(host)).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });
});
