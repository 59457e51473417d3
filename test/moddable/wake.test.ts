/**
 * What a board that sleeps keeps of a TLS session, over the NVS of an ESP32: what is written at each wake, and what is
 * offered.
 */

import { randomBytes } from "node:crypto";
import net from "node:net";
import { createServer, type TlsOptions } from "node:tls";
import { describe, expect, jest, test } from "@jest/globals";
import type { ModdableHostOptions } from "../../host/moddable/index.js";
import type { Storage } from "../../src/host.js";
import { makeCertificates, makeClientCertificate } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { psk } from "../support/keys.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";
import { record } from "../support/tls-wire.js";

// Before anything imports the host: the module that the manifest maps on ESP32.
const keyValue = await import("../../host/moddable/embedded/key-value.js");
jest.unstable_mockModule("../../host/moddable/key-value.js", () => ({ ...keyValue }));
const platform = await import("../../host/moddable/platform.js");
let isNetworkStarted = true;
jest.unstable_mockModule("../../host/moddable/platform.js", () => ({
  ...platform,
  isNetworkStarted: () => isNetworkStarted,
}));
const { clock, createModdableHost, flash, network, restart, until, useMachine } = await import(
  "../support/moddable-machine.js"
);
const { Device, KeyValueStorage } = await import("../../host/moddable/index.js");
const { sdkPrimitives } = await import("../../host/moddable/tls/primitives.js");
const { SessionStore } = await import("../../host/moddable/tls/session-store.js");

useMachine();

const NAME = "gateway.test";
const OTHER = "other.test";
/** Where the server was before. */
const MOVED = "127.0.0.2";
const DAY = 86400;
const hosts = [NAME, OTHER, "localhost", "127.0.0.1"];
const certificates = makeCertificates("chain", { hosts });
const elsewhere = makeCertificates("chain", { hosts });
const OK = '{"Response":{"RequestId":"r"}}';

const anchorsOf = (...sets: (typeof certificates)[]) => sets.map(({ rootDer }) => Uint8Array.from(rootDer));

/** A gateway with tickets that last for so many seconds; a connection, by its number, may never get to it. */
async function gateway(
  options: TlsOptions = {},
  replies: Record<number, ((raw: net.Socket) => void) | undefined> = {},
) {
  const { key, chain } = certificates;
  const seen = { resumed: [] as boolean[], peers: [] as (string | undefined)[] };
  const settings: TlsOptions = { key, cert: chain, maxVersion: "TLSv1.2", sessionTimeout: 300, ...options };
  const tls = createServer(settings, (socket) => {
    seen.resumed.push(socket.isSessionReused());
    socket.on("error", () => {});
    onRequest(socket, () => socket.write(httpResponse(OK)));
  });
  tls.on("tlsClientError", () => {});
  const accept = (raw: net.Socket): void => {
    seen.peers.push(raw.localAddress);
    tls.emit("connection", raw);
  };
  const { port } = await serve((raw, index) => (replies[index] ?? accept)(raw));
  return {
    port,
    seen,
    accept,
    tls,
    forgetKeys: () => tls.setTicketKeys(randomBytes(48)),
    /** Whether the last connection was resumed. */
    get isResumed() {
      return seen.resumed.at(-1);
    },
  };
}

/** Listens at another address of this machine, until the end of the test. */
async function listen(address: string, port: number, onConnection: (raw: net.Socket) => void) {
  const sockets: net.Socket[] = [];
  const server = net.createServer((raw) => {
    sockets.push(raw.on("error", () => {}));
    onConnection(raw);
  });
  await new Promise<void>((resolve) => server.listen(port, address, resolve));
  const close = () =>
    new Promise<void>((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
  cleanups.push(close);
  return { close };
}

/** A storage that counts: `set tls-session`, and so on. */
function counting(calls: string[], storage: Storage = new KeyValueStorage()): Storage {
  return {
    maxValueBytes: storage.maxValueBytes,
    get: (key) => storage.get(key),
    keys: () => storage.keys(),
    set: (key, text) => {
      calls.push(`set ${key}`);
      return storage.set(key, text);
    },
    delete: (key) => {
      calls.push(`delete ${key}`);
      return storage.delete(key);
    },
  };
}

const pin = (set: typeof certificates) => Buffer.from(set.publicKeySha256, "hex").toString("base64");

const STORED = "set tls-session";
const NOTED = "set tls-note";
const DELETED = "delete tls-session";

/** Switches the board on, so many seconds from now; the names are known to the network. */
function switchOn(seconds = 0, address = "127.0.0.1"): void {
  restart();
  for (const name of [NAME, OTHER]) network.names.set(name, address);
  if (seconds !== 0) clock.setDate(clock.realNow() + seconds * 1000);
}

function hostWith(options: ModdableHostOptions = {}) {
  const trustAnchors = anchorsOf(certificates);
  return createModdableHost({ resumption: "storage", keepAliveMs: 0, trustAnchors, ...options });
}

/** The board wakes, sends one request, and sleeps; gives what it has written. */
async function wake(
  { port }: { readonly port: number },
  seconds = 0,
  { address, ...options }: ModdableHostOptions & { readonly address?: string } = {},
  host = NAME,
): Promise<string[]> {
  switchOn(seconds, address);
  const calls: string[] = [];
  const client = hostWith({ storage: counting(calls), ...options });
  await send(client, request(port, { scheme: "https", host }));
  client.close();
  await until(() => network.open === 0);
  return calls;
}

describe("writes at each wake", () => {
  test("a session is stored once, marked at its first use, and not written again", async () => {
    const server = await gateway();
    expect(await wake(server)).toEqual([STORED]);
    expect(await wake(server, 10)).toEqual([NOTED]);
    for (const seconds of [20, 100, 200]) expect(await wake(server, seconds)).toEqual([]);
    expect(server.seen.resumed).toEqual([false, true, true, true, true]);
    expect(network.resolved).toEqual([]);
  });

  test("a session that was resumed is replaced when it has expired", async () => {
    const server = await gateway();
    const seen: string[][] = [];
    for (let seconds = 0; seconds <= 900; seconds += 100) seen.push(await wake(server, seconds));
    expect(seen).toEqual([[STORED], [NOTED], [], [STORED], [NOTED], [], [STORED], [NOTED], [], [STORED]]);
    expect(server.seen.resumed).toEqual([false, true, true, false, true, true, false, true, true, false]);
  });

  test("a session that expires during sleep is stored once a day", async () => {
    const server = await gateway();
    const seen: [number, string][] = [];
    for (let seconds = 0; seconds < 3 * DAY; seconds += 4 * 3600) {
      for (const call of await wake(server, seconds)) seen.push([seconds, call]);
    }
    expect(seen).toEqual([0, DAY, 2 * DAY].map((seconds) => [seconds, STORED]));
  });

  test("a declined session is replaced if it was resumed before, otherwise a day later", async () => {
    const server = await gateway({ sessionTimeout: DAY });
    await wake(server);
    server.forgetKeys();
    expect(await wake(server, 10)).toEqual([]);
    expect(await wake(server, 20)).toEqual([]);
    expect(await wake(server, DAY)).toEqual([STORED]);
    expect(await wake(server, DAY + 10)).toEqual([NOTED]);
    server.forgetKeys();
    for (const seconds of [20, 3000]) expect(await wake(server, DAY + seconds)).toEqual([]);
    expect(await wake(server, DAY + 4000)).toEqual([STORED]);
    expect(await wake(server, DAY + 4010)).toEqual([NOTED]);
    expect(server.seen.resumed).toEqual([false, false, false, false, true, false, false, false, true]);
  });

  test("servers behind one address without shared keys cause no more writes than one", async () => {
    const server = await gateway({ sessionTimeout: 7200 });
    const keys = [randomBytes(48), randomBytes(48)];
    const calls: string[] = [];
    const minutes = 150;
    for (let i = 0; i < minutes; i++) {
      server.tls.setTicketKeys(keys[Math.floor(i / 2) % 2]);
      calls.push(...(await wake(server, i * 60)));
    }
    const share = server.seen.resumed.filter(Boolean).length / minutes;
    expect(share).toBeGreaterThan(0.45);
    // An hour each, and its note.
    expect(calls.length).toBeLessThanOrEqual(6);
  });

  test("hosts with different trust settings do not keep replacing each other's session", async () => {
    const server = await gateway({ sessionTimeout: 7200 });
    const calls: string[] = [];
    for (let i = 0; i < 20; i++) {
      for (const pins of [[], [pin(certificates)]]) calls.push(...(await wake(server, i * 60, { pins })));
    }
    expect(calls).toEqual([STORED, NOTED]);
  });

  test("a wake that resumes reads two values", async () => {
    const server = await gateway();
    for (const seconds of [0, 10]) await wake(server, seconds);
    switchOn(20);
    const storage = new KeyValueStorage();
    for (let i = 0; i < 20; i++) await storage.set(`q${i}`, "a reading");
    const read: string[] = [];
    const get = (key: string) => {
      read.push(key);
      return storage.get(key);
    };
    const keys = () => {
      read.push("keys");
      return storage.keys();
    };
    const client = hostWith({ storage: { ...counting([], storage), get, keys } });
    await send(client, request(server.port, { scheme: "https", host: NAME }));
    expect([server.isResumed, read.filter((key) => !key.startsWith("false-"))]).toEqual([
      true,
      ["tls-session", "tls-note"],
    ]);
  });

  test("connections of one run store one session", async () => {
    const server = await gateway();
    const calls: string[] = [];
    switchOn();
    const client = hostWith({ storage: counting(calls) });
    for (let i = 0; i < 6; i++) {
      if (i > 2) server.forgetKeys();
      await send(client, request(server.port, { scheme: "https", host: NAME }));
    }
    expect(calls).toEqual([STORED]);
    expect(server.seen.resumed).toEqual([false, true, true, false, false, false]);
  });
});

describe("a session is stored only", () => {
  test("if it takes at most 400 characters", async () => {
    const client = makeClientCertificate({ keyType: "rsa" });
    // With a certificate in it, a ticket has a kilobyte and more.
    const server = await gateway({ requestCert: true, ca: client.root });
    const options = { clientCertificate: client.chainDer.map((der) => Uint8Array.from(der)), clientKey: client.key };
    for (const seconds of [0, 10]) expect(await wake(server, seconds, options)).toEqual([]);
    expect(server.seen.resumed).toEqual([false, false]);
  });

  test.each<[number, string[]]>([
    [284, [STORED]],
    [285, []],
  ])("if NVS then has at most 300 entries in use: with %i others %j", async (entries, expected) => {
    switchOn();
    const storage = new KeyValueStorage();
    let left = entries;
    // 126 letters of two bytes: 9 entries.
    for (; left >= 18; left -= 9) await storage.set(`k${left}`, "ä".repeat(127));
    await storage.set("last", "x".repeat(32 * (left - 1) - 1));
    storage.close();
    const server = await gateway();
    expect(await wake(server)).toEqual(expected);
  });

  test("if the certificate was verified", async () => {
    const server = await gateway();
    const options = { dangerouslyAcceptAnyCertificate: true };
    for (const seconds of [0, 10]) expect(await wake(server, seconds, options)).toEqual([]);
    await wake(server, 20);
    expect(await wake(server, 30, options)).toEqual([]);
    expect(server.seen.resumed).toEqual([false, false, false, false]);
  });

  test("while the clock is set, and is offered only then", async () => {
    const nowMs = 1_000_000_000;
    const unset = Math.round((nowMs - clock.realNow()) / 1000);
    const { key, chain, rootDer } = makeCertificates("chain", { hosts, nowMs });
    const old = await gateway({ key, cert: chain });
    expect(await wake(old, unset, { trustAnchors: [Uint8Array.from(rootDer)] })).toEqual([]);
    const server = await gateway();
    await wake(server);
    expect(await wake(server, -1000)).toEqual([STORED]);
    expect(server.isResumed).toBe(false);
    await expect(wake(server, unset)).rejects.toMatchObject({ code: "CERTIFICATE_REJECTED" });
    expect(await wake(server, -990)).toEqual([NOTED]);
    expect(server.isResumed).toBe(true);
  });

  test("until the certificate expires", async () => {
    const { key, chain, rootDer } = makeCertificates("chain", { hosts, nowMs: Date.now() - 365 * DAY * 1000 });
    const trustAnchors = [Uint8Array.from(rootDer)];
    const server = await gateway({ key, cert: chain, sessionTimeout: 7200 });
    await wake(server, -1000, { trustAnchors });
    await wake(server, -100, { trustAnchors });
    const late = failure(wake(server, 1, { trustAnchors }));
    expect((await late).code).toBe("CERTIFICATE_REJECTED");
    expect(server.seen.resumed).toEqual([false, true]);
  });
});

describe("a stored session", () => {
  const client = makeClientCertificate({ keyType: "rsa" });

  test.each<[string, ModdableHostOptions, string?]>([
    ["other anchors", { trustAnchors: anchorsOf(certificates, elsewhere) }],
    ["a pin", { pins: [pin(certificates)] }],
    [
      "a client certificate",
      { clientCertificate: client.chainDer.map((der) => Uint8Array.from(der)), clientKey: client.key },
    ],
    ["other suites", { allowStaticRsaAndCbc: true }],
  ])("is not offered with %s, and is replaced once it has expired", async (_name, options) => {
    const server = await gateway();
    for (const seconds of [0, 10]) await wake(server, seconds);
    expect(await wake(server, 20, options)).toEqual([]);
    expect(server.isResumed).toBe(false);
    expect(await wake(server, 310, options)).toEqual([STORED]);
    expect(await wake(server, 320, options)).toEqual([NOTED]);
    expect(server.isResumed).toBe(true);
    await wake(server, 330);
    expect(server.isResumed).toBe(false);
  });

  test("is verified as strictly if another origin is used first", async () => {
    const server = await gateway();
    const other = await gateway();
    const stored = async (options?: ModdableHostOptions) => {
      switchOn(10);
      const client = hostWith(options);
      for (const { port } of [other, server]) await send(client, request(port, { scheme: "https", host: NAME }));
      client.close();
      return server.isResumed;
    };
    await wake(server);
    expect(await stored()).toBe(true);
    expect(await stored({ pins: [pin(certificates)] })).toBe(false);
    const storage = new KeyValueStorage();
    const text = (await storage.get("tls-session")) as string;
    for (const at of [0, 1, 100, text.length - 3]) {
      await storage.set("tls-session", text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1));
      // Not even tried: the server would take the damaged ticket for another one's, and a damaged secret for an attack.
      expect([at, await stored(), other.seen.resumed.at(-1)]).toEqual([at, false, false]);
    }
    storage.close();
  });

  test("is not offered to another origin, which does not replace it while it is valid", async () => {
    const server = await gateway();
    const other = await gateway();
    await wake(server);
    expect(await wake(other, 10)).toEqual([]);
    expect(await wake(server, 20, {}, OTHER)).toEqual([]);
    expect([other.isResumed, server.isResumed]).toEqual([false, false]);
    expect(await wake(server, 30)).toEqual([NOTED]);
    expect(server.isResumed).toBe(true);
    expect(await wake(other, 310)).toEqual([STORED]);
  });

  test("is not used with resumption in memory, and no ticket is requested without resumption", async () => {
    const server = await gateway();
    await wake(server);
    expect(await wake(server, 10, { resumption: "memory" })).toEqual([]);
    expect(server.isResumed).toBe(false);
    const hellos: Buffer[] = [];
    const watched = await gateway();
    const { port } = await serve((raw) => raw.once("data", (hello: Buffer) => hellos.push(hello) && raw.destroy()));
    for (const resumption of ["memory", false] as const) {
      await failure(wake({ port }, 10, { resumption }));
    }
    expect(hellos.map((hello) => hello.includes(Buffer.from([0, 35, 0, 0])))).toEqual([true, false]);
    switchOn();
    const none = hostWith({ resumption: false });
    for (let i = 0; i < 3; i++) await send(none, request(watched.port, { scheme: "https", host: NAME }));
    expect(watched.seen.resumed).toEqual([false, false, false]);
  });

  test("is found by a host with its default storage", async () => {
    const server = await gateway();
    for (const seconds of [0, 10, 20]) await wake(server, seconds, { storage: undefined });
    expect(server.seen.resumed).toEqual([false, true, true]);
  });

  test("is ignored if a character was changed, removed or added", async () => {
    const server = await gateway();
    await wake(server);
    const storage = new KeyValueStorage();
    const text = (await storage.get("tls-session")) as string;
    const changes = [
      ...[0, 1, 5, 40, 41, 100, text.length - 3].map((at) => {
        const changed = text[at] === "A" ? "B" : "A";
        return text.slice(0, at) + changed + text.slice(at + 1);
      }),
      ...["", "?", " ", "~~~~~~", text.slice(2), text.slice(0, -2), text.slice(0, 38), "}".repeat(text.length)],
      `${text}${text}`,
      "x".repeat(400),
      "ä".repeat(200),
      JSON.stringify({ session: 1 }),
    ];
    for (const change of changes) {
      await storage.set("tls-session", change);
      expect([change, await wake(server, 10)]).toEqual([change, [STORED]]);
      expect(server.isResumed).toBe(false);
    }
    storage.close();
  });

  test("is deleted by forget() of the host and of the device, regardless of the host's setting", async () => {
    const server = await gateway();
    const stored = async () => {
      const storage = new KeyValueStorage();
      const keys = await storage.keys();
      storage.close();
      return keys.filter((key) => key.startsWith("tls-")).sort();
    };
    const fill = async () => {
      for (const seconds of [0, 10]) await wake(server, seconds, { storage: undefined });
      expect(await stored()).toEqual(["tls-note", "tls-session"]);
    };
    await fill();
    const client = hostWith();
    await send(client, request(server.port, { scheme: "https", host: NAME }));
    await client.forget();
    expect(await stored()).toEqual([]);
    await send(client, request(server.port, { scheme: "https", host: NAME }));
    expect([server.isResumed, await stored()]).toEqual([false, []]);
    client.close();
    await fill();
    const options = { productId: "P", deviceName: "D", credential: { secret: psk } };
    const device = new Device({ ...options, url: `https://${NAME}:${server.port}` });
    await device.forget();
    expect(await stored()).toEqual([]);
    await createModdableHost({ storage: false }).forget();
  });

  test("is deleted by forget() although only another origin was used, and a later one is not stored", async () => {
    const server = await gateway();
    const other = await gateway();
    for (const seconds of [0, 10]) await wake(server, seconds);
    switchOn(20);
    const calls: string[] = [];
    const client = hostWith({ storage: counting(calls) });
    await send(client, request(other.port, { scheme: "https", host: NAME }));
    await client.forget();
    calls.length = 0;
    for (let i = 0; i < 2; i++) await send(client, request(server.port, { scheme: "https", host: NAME }));
    expect(server.seen.resumed).toEqual([false, true, false, true]);
    expect(calls).toEqual([]);
  });

  test("is deleted by forget() during a handshake", async () => {
    let arrived = () => {};
    const hello = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    let go = () => {};
    const server = await gateway(
      {},
      {
        2: (raw) => {
          raw.pause();
          arrived();
          go = () => server.accept(raw);
        },
      },
    );
    for (const seconds of [0, 10]) await wake(server, seconds);
    switchOn(20);
    const calls: string[] = [];
    const client = hostWith({ storage: counting(calls) });
    const sent = send(client, request(server.port, { scheme: "https", host: NAME }));
    await hello;
    await client.forget();
    calls.length = 0;
    go();
    expect((await sent).status).toBe(200);
    expect([server.isResumed, calls]).toEqual([true, []]);
    await send(client, request(server.port, { scheme: "https", host: NAME }));
    expect([server.isResumed, calls]).toEqual([false, []]);
  });

  test("is deleted by forget() while it is being written", async () => {
    const server = await gateway();
    switchOn();
    const values = new Map<string, string>();
    let write = () => {};
    const writing = new Promise<void>((resolve) => {
      write = resolve;
    });
    const client = hostWith({
      storage: {
        maxValueBytes: 3999,
        get: async (key) => values.get(key),
        keys: async () => [...values.keys()],
        set: async (key, text) => {
          if (key === "tls-session") await writing;
          values.set(key, text);
        },
        delete: async (key) => {
          values.delete(key);
        },
      },
    });
    await send(client, request(server.port, { scheme: "https", host: NAME }));
    const forgotten = client.forget();
    write();
    await forgotten;
    expect([...values.keys()].filter((key) => key.startsWith("tls-"))).toEqual([]);
  });

  test("is the old one, the new one, or none after a power cut at any step", async () => {
    const server = await gateway();
    /** What wakes write, the power being cut at a step of the flash; the next one gets through and is responded. */
    const cut = async (steps: number, how: "clean" | "torn") => {
      flash.clear();
      for (const seconds of [0, 10]) await wake(server, seconds, { storage: undefined });
      flash.cutPowerAfter(steps, how);
      const before = flash.steps;
      await wake(server, 310, { storage: undefined }).catch(() => {});
      await wake(server, 320, { storage: undefined }).catch(() => {});
      const isOver = flash.steps - before < steps;
      flash.powerOn();
      await wake(server, 330, { storage: undefined });
      const calls = await wake(server, 340);
      expect([steps, how, server.isResumed, calls.includes(DELETED)]).toEqual([steps, how, true, false]);
      return isOver;
    };
    for (const how of ["clean", "torn"] as const) {
      let steps = 1;
      while (!(await cut(steps, how))) steps++;
      expect(steps).toBeGreaterThan(3);
    }
  });
});

describe("a session that fails", () => {
  const alert = (raw: net.Socket) => raw.once("data", () => raw.end(record(21, [2, 40])));

  test("after being resumed is deleted, and the next one stored at once", async () => {
    const server = await gateway({}, { 2: alert });
    for (const seconds of [0, 10]) await wake(server, seconds);
    expect(await wake(server, 20)).toEqual([DELETED, STORED]);
    expect(await wake(server, 30)).toEqual([NOTED]);
    expect(server.seen.resumed).toEqual([false, true, false, true]);
  });

  test.each<[string, (raw: net.Socket) => void]>([
    ["an alert of this side", (raw) => raw.write(record(23, new Uint8Array(40)))],
    ["a broken handshake", (raw) => raw.write(record(22, new Uint8Array(40)))],
  ])("after the handshake, by %s, is not resumed again", async (_name, harm) => {
    let raw: net.Socket | undefined;
    const server = await gateway(
      {},
      {
        2: (one) => {
          raw = one;
          server.accept(one);
        },
      },
    );
    server.tls.on("secureConnection", () => raw && harm(raw));
    for (const seconds of [0, 10]) await wake(server, seconds);
    switchOn(20);
    const calls: string[] = [];
    const client = hostWith({ storage: counting(calls) });
    const failed = await failure(send(client, request(server.port, { scheme: "https", host: NAME })));
    raw = undefined;
    expect([failed.code, calls]).toEqual(["TLS_FAILED", [DELETED]]);
    await send(client, request(server.port, { scheme: "https", host: NAME }));
    expect(server.isResumed).toBe(false);
  });

  test("because the connection broke after the handshake is kept", async () => {
    let raw: net.Socket | undefined;
    const server = await gateway(
      {},
      {
        2: (one) => {
          raw = one;
          server.accept(one);
        },
      },
    );
    server.tls.on("secureConnection", () => raw?.destroy());
    for (const seconds of [0, 10]) await wake(server, seconds);
    switchOn(20);
    const calls: string[] = [];
    await failure(send(hostWith({ storage: counting(calls) }), request(server.port, { scheme: "https", host: NAME })));
    raw = undefined;
    expect([server.isResumed, calls]).toEqual([true, []]);
    await wake(server, 30);
    expect(server.isResumed).toBe(true);
  });

  test("before it was ever resumed is not replaced for a day", async () => {
    const server = await gateway({}, { 1: alert });
    await wake(server);
    expect(await wake(server, 10)).toEqual([STORED]);
    const storage = new KeyValueStorage();
    // It holds no secret any more.
    expect((await storage.get("tls-session"))?.length).toBeLessThan(50);
    storage.close();
    for (const seconds of [20, 30, DAY]) expect(await wake(server, seconds)).toEqual([]);
    expect(await wake(server, DAY + 11)).toEqual([STORED]);
    expect(await wake(server, DAY + 20)).toEqual([NOTED]);
    expect(server.seen.resumed).toEqual([false, false, false, false, false, false, true]);
  });

  test("for lack of a response is deleted although the board is switched off meanwhile", async () => {
    const server = await gateway({}, { 2: (raw) => raw.on("data", () => {}) });
    for (const seconds of [0, 10]) await wake(server, seconds, { storage: undefined });
    switchOn(20);
    const client = hostWith();
    const phases: string[] = [];
    const signal = new AbortController().signal;
    const context = { signal, maxResponseBytes: 1000, fresh: false, connectTimeoutMs: 60000 };
    const sent = client.http
      .send(request(server.port, { scheme: "https", host: NAME }), {
        ...context,
        onPhase: (phase) => phases.push(phase),
      })
      .catch(() => {});
    await until(() => phases.includes("tls") && network.writes.length > 0);
    client.close();
    // Nothing runs any more after this.
    expect(flash.read("tc-iothub", "tls-session")).toBeUndefined();
    await sent;
    await wake(server, 30);
    expect(server.isResumed).toBe(false);
  });

  test.each<[string, Partial<Storage>]>([
    ["rejects", { get: () => Promise.reject(new Error("broken")) }],
    [
      "throws",
      {
        get: () => {
          throw new Error("broken");
        },
      },
    ],
    ["cannot list its keys", { keys: () => Promise.reject(new Error("broken")) }],
    ["takes no writes", { set: () => Promise.reject(new Error("broken")) }],
    [
      "throws as it is written to",
      {
        set: () => {
          throw new Error("broken");
        },
      },
    ],
  ])("to be stored, because the storage %s, has no effect", async (_name, faults) => {
    const server = await gateway();
    switchOn();
    const client = hostWith({ storage: { ...counting([]), ...faults } });
    for (let i = 0; i < 2; i++) {
      expect((await send(client, request(server.port, { scheme: "https", host: NAME }))).status).toBe(200);
    }
    expect(server.seen.resumed).toEqual([false, true]);
  });

  test("to be read, because the storage never responds, costs one request", async () => {
    clock.stop();
    const server = await gateway();
    const storage = { ...counting([]), get: () => new Promise<never>(() => {}) };
    const client = hostWith({ storage });
    network.names.set(NAME, "127.0.0.1");
    const first = failure(
      send(client, request(server.port, { scheme: "https", host: NAME }), { phaseTimeoutsMs: { connect: 900 } }),
    );
    await until(() => clock.waiting.includes(900));
    await clock.advance(900);
    expect(await first).toMatchObject({ code: "TIMEOUT", phase: "connect" });
    expect((await send(client, request(server.port, { scheme: "https", host: NAME }))).status).toBe(200);
  });
});

describe("the address of the server", () => {
  test("comes from the storage, without a lookup", async () => {
    const server = await gateway();
    await wake(server);
    expect(network.resolved).toEqual([NAME]);
    await wake(server, 10);
    expect(network.resolved).toEqual([]);
    await wake(server, 400);
    expect(network.resolved).toEqual([NAME]);
  });

  /** What becomes of the address that is stored; the name leads elsewhere by then. */
  const faults: readonly (readonly [string, (raw: net.Socket) => void])[] = [
    ["closes the connection", (raw) => raw.end()],
    ["speaks another protocol", (raw) => raw.end("SSH-2.0-OpenSSH_9.2\r\n")],
    [
      "shows another certificate",
      (raw) => {
        const { key, chain: cert } = makeCertificates("wrongName");
        createServer({ key, cert, maxVersion: "TLSv1.2" })
          .on("tlsClientError", () => {})
          .emit("connection", raw);
      },
    ],
  ];
  test.each(faults)("that %s is dropped, and the name is resolved at once", async (_name, fault) => {
    const server = await gateway({ sessionTimeout: 7200 });
    let reply = server.accept;
    await listen(MOVED, server.port, (raw) => reply(raw));
    for (const seconds of [0, 10]) await wake(server, seconds, { address: MOVED });
    expect(server.seen.resumed).toEqual([false, true]);
    reply = fault;
    expect(await wake(server, 20)).toContain(DELETED);
    expect(network.resolved).toEqual([NAME]);
    await wake(server, 30);
    expect(await wake(server, 40)).not.toContain(DELETED);
    expect(network.resolved).toEqual([]);
    expect(server.isResumed).toBe(true);
  });

  test("that refuses the connection is dropped, the name is resolved at once, and the session kept", async () => {
    const server = await gateway({ sessionTimeout: 7200 });
    const before = await listen(MOVED, server.port, server.accept);
    for (const seconds of [0, 10]) await wake(server, seconds, { address: MOVED });
    await before.close();
    expect(await wake(server, 20)).toEqual([NOTED]);
    expect([server.isResumed, network.resolved]).toEqual([true, [NAME]]);
    expect(await wake(server, 30)).toEqual([]);
    expect([server.isResumed, network.resolved]).toEqual([true, [NAME]]);
    // Where it is now, it has other keys.
    server.forgetKeys();
    expect(await wake(server, 40)).toEqual([STORED]);
    expect(await wake(server, 50)).toEqual([NOTED]);
    expect([server.isResumed, network.resolved]).toEqual([true, []]);
  });

  test("is kept without a network", async () => {
    const server = await gateway();
    for (const seconds of [0, 10]) await wake(server, seconds);
    isNetworkStarted = false;
    switchOn(20);
    const calls: string[] = [];
    const client = hostWith({ storage: counting(calls) });
    const failed = await failure(send(client, request(server.port, { scheme: "https", host: NAME })));
    isNetworkStarted = true;
    expect([failed.code, calls]).toEqual(["NETWORK_FAILED", []]);
    await wake(server, 30);
    expect([server.isResumed, network.resolved]).toEqual([true, []]);
  });

  test("costs one note however often the network fails", async () => {
    const server = await gateway({ sessionTimeout: 7200 });
    const before = await listen(MOVED, server.port, server.accept);
    await wake(server, 0, { address: MOVED });
    await before.close();
    const calls: string[] = [];
    for (let i = 1; i < 10; i++) {
      switchOn(i * 60, MOVED);
      const client = hostWith({ storage: counting(calls) });
      await failure(send(client, request(server.port, { scheme: "https", host: NAME })));
      client.close();
    }
    expect(calls).toEqual([NOTED]);
    calls.push(...(await wake(server, 600)));
    expect([server.isResumed, calls]).toEqual([true, [NOTED, NOTED]]);
  });

  test("that never connects is dropped when the request is aborted", async () => {
    const server = await gateway();
    for (const seconds of [0, 10]) await wake(server, seconds);
    switchOn(20);
    clock.stop();
    network.blackHoles.add(server.port);
    const calls: string[] = [];
    const client = hostWith({ storage: counting(calls) });
    const options = { phaseTimeoutsMs: { connect: 900 } };
    const sent = failure(send(client, request(server.port, { scheme: "https", host: NAME }), options));
    await until(() => network.open === 1);
    await clock.advance(900);
    expect(await sent).toMatchObject({ code: "TIMEOUT", phase: "connect" });
    expect([calls, network.resolved]).toEqual([[NOTED], []]);
  });

  test("does not override `addresses`, and is not stored for an address in the URL", async () => {
    const server = await gateway();
    await listen(MOVED, server.port, server.accept);
    await wake(server);
    const addresses = { [NAME]: MOVED };
    await wake(server, 10, { addresses });
    expect([server.isResumed, server.seen.peers.at(-1)]).toEqual([true, MOVED]);
    flash.clear();
    for (const seconds of [0, 10]) await wake(server, seconds, {}, "127.0.0.1");
    expect(server.isResumed).toBe(true);
  });
});

test("sessions cause no copy of an NVS page in ten thousand wakes with an outbox", async () => {
  // One wake in ten minutes, and sessions of two hours.
  const time = { seconds: clock.realNow() / 1000 };
  const session = { id: new Uint8Array(0), suite: 0xc02b, isExtended: true };
  const wakes = 10_000;
  const copies = { queue: 0, all: 0 };
  for (const part of ["queue", "all"] as const) {
    flash.clear();
    const own = new KeyValueStorage(part);
    let writes = 0;
    for (let at = 0; at < wakes; at++) {
      time.seconds += 600;
      await own.set(`q${at}`, "x".repeat(120));
      await own.delete(`q${at - 20}`);
      if (part === "queue") continue;
      const store = new SessionStore({
        storage: own,
        clock: { nowMs: () => time.seconds * 1000, monotonicMs: () => 0 },
        hash: sdkPrimitives.hash,
        binding: new Uint8Array(32),
      });
      await store.load("origin");
      if (store.take("origin")) {
        store.resumed("origin", true);
      } else {
        const ticket = { bytes: randomBytes(192), lifetimeSeconds: 7200 };
        store.keep("origin", { ...session, secret: randomBytes(48), ticket }, Number.POSITIVE_INFINITY, "1.2.3.4");
        writes++;
        // The storage is looked through before.
        await new Promise(setImmediate);
      }
    }
    if (part === "all") expect(writes).toBe(Math.ceil(wakes / 12));
    copies[part] = flash.wear.copies;
  }
  expect(copies.all).toBeLessThanOrEqual(copies.queue);
});
