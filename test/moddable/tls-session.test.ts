/**
 * TLS of the Moddable host against OpenSSL, on the stand-in for the SDK's session: what goes over the wire, and what is
 * said of it.
 */

import { randomBytes } from "node:crypto";
import type net from "node:net";
import { Duplex } from "node:stream";
import { createServer, TLSSocket, type TLSSocketOptions } from "node:tls";
import { describe, expect, jest, test } from "@jest/globals";
import type { ModdableHostOptions } from "../../host/moddable/index.js";
import RNG from "../../mocks/moddable/rng.js";
import Session from "../../mocks/moddable/ssl-session.js";
import type { ConnectionPhase } from "../../src/errors.js";
import type { AbortSignalLike } from "../../src/host.js";
import { Device, IotHubError } from "../../src/index.js";
import { Aborter } from "../../src/request/abort.js";
import { makeCertificates } from "../../tools/gateway/index.js";
import { failure } from "../support/failure.js";
import { psk } from "../support/keys.js";
import { clock, createModdableHost, network, restart, until, useMachine } from "../support/moddable-machine.js";
import { send } from "../support/send.js";
import { httpResponse, onRequest, request, serve } from "../support/servers.js";
import {
  changeCipherSpec,
  extension,
  finished,
  join,
  message,
  record,
  type ServerHelloParts,
  serverHello,
} from "../support/tls-wire.js";

useMachine();

const NO_TICKET = 1 << 14;
const NO_EXTENDED_MASTER_SECRET = 1;

const certificates = makeCertificates("chain");
const rsa = makeCertificates("chain", { keyType: "rsa" });
const OK = '{"Response":{"RequestId":"r"}}';

interface Options extends TLSSocketOptions {
  /** On the raw socket, before TLS has it. */
  readonly before?: (socket: net.Socket) => void;
  /** Reply to each request instead of a response. */
  readonly respond?: (socket: TLSSocket, raw: net.Socket) => void;
}

/** What TLS writes to, so that a test can write to the socket as well. */
function wire(raw: net.Socket): Duplex {
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      raw.write(chunk, () => done());
    },
    final(done) {
      raw.end(() => done());
    },
  });
  raw.on("data", (chunk) => stream.push(chunk)).on("end", () => stream.push(null));
  return stream;
}

/** A server of TLS 1.2 that responds to each request; its errors are kept. */
async function server({ before, respond, ...options }: Options = {}) {
  const errors: string[] = [];
  const { key, chain } = certificates;
  const { port } = await serve((raw) => {
    before?.(raw);
    const settings = { isServer: true, key, cert: chain, maxVersion: "TLSv1.2", ...options } as const;
    const socket = new TLSSocket(wire(raw), settings);
    // A TLSSocket outside of a Node server emits `error` after the handshake, and `_tlsError` during it.
    for (const event of ["error", "_tlsError"]) {
      socket.on(event, (error: NodeJS.ErrnoException) => errors.push(error.code ?? error.message));
    }
    onRequest(socket, () => (respond ? respond(socket, raw) : socket.write(httpResponse(OK))));
  });
  return { port, errors };
}

const host = (options: ModdableHostOptions = {}) =>
  createModdableHost({
    trustAnchors: [certificates.rootDer, rsa.rootDer].map((der) => Uint8Array.from(der)),
    ...options,
  });
const secure = (port: number, changes = {}) => request(port, { scheme: "https", host: "localhost", ...changes });

describe("a full handshake", () => {
  test("and a request need three writes without False Start", async () => {
    const { port } = await server();
    await send(host({ falseStart: false }), secure(port));
    expect(network.writes.length).toBe(3);
  });

  test.each([
    ["with the extended master secret", NO_TICKET],
    ["without, where the server does not know it", NO_TICKET | NO_EXTENDED_MASTER_SECRET],
  ])("%s is completed", async (_name, secureOptions) => {
    const { port } = await server({ secureOptions });
    expect((await send(host(), secure(port))).status).toBe(200);
  });

  test.each([512, 600, 1000])("and the response are read from records of %d bytes", async (bytes) => {
    const { key, chain } = rsa;
    const payload = JSON.stringify({ text: "x".repeat(5000) });
    const { port } = await serve((raw) => {
      const socket = new TLSSocket(raw, { isServer: true, key, cert: chain, maxVersion: "TLSv1.2" });
      socket.setMaxSendFragment(bytes);
      onRequest(socket, () => socket.write(httpResponse(payload)));
    });
    const { body } = await send(host(), secure(port));
    expect(Buffer.from(body).toString()).toBe(payload);
  });

  test("seeds the SDK's generator with 32 different bytes", async () => {
    const seeds: string[] = [];
    const init = jest.spyOn(RNG, "init").mockImplementation((seed) => {
      seeds.push(Buffer.from(seed).toString("hex"));
    });
    try {
      const { port } = await server();
      const client = host({ keepAliveMs: 0 });
      await send(client, secure(port));
      await send(client, secure(port));
      expect(seeds.map((seed) => seed.length)).toEqual([64, 64]);
      expect(new Set(seeds).size).toBe(2);
    } finally {
      init.mockRestore();
    }
  });

  test.each(["ECDHE-RSA-AES128-SHA256", "AES128-SHA256", "AES256-SHA256", "AES128-SHA", "AES256-SHA"])(
    "with %s requires an option",
    async (ciphers) => {
      const { port, errors } = await server({ key: rsa.key, cert: rsa.chain, ciphers } as TLSSocketOptions);
      const error = await failure(send(host(), secure(port)));
      expect(error.message).toBe(
        "The TLS handshake with localhost failed: the server sent the alert handshake_failure (40).",
      );
      expect(errors).toContain("ERR_SSL_NO_SHARED_CIPHER");
      const client = host({ allowStaticRsaAndCbc: true });
      for (let i = 0; i < 3; i++) expect((await send(client, secure(port))).status).toBe(200);
    },
  );
});

describe("a session", () => {
  /** A server that keeps sessions itself, by their identifiers, as long as it is allowed to. */
  async function remembering(secureOptions: number) {
    const kept = new Map<string, Buffer>();
    const state = { remembers: true, resumed: [] as boolean[] };
    const { key, chain } = certificates;
    const tls = createServer({ key, cert: chain, maxVersion: "TLSv1.2", secureOptions }, (socket) => {
      state.resumed.push(socket.isSessionReused());
      socket.on("error", () => {});
      onRequest(socket, () => socket.write(httpResponse(OK)));
    });
    tls.on("newSession", (id: Buffer, data: Buffer, done: () => void) => {
      kept.set(id.toString("hex"), data);
      done();
    });
    tls.on("resumeSession", (id: Buffer, done: (error: null, data: Buffer | null) => void) => {
      done(null, state.remembers ? (kept.get(id.toString("hex")) ?? null) : null);
    });
    tls.on("tlsClientError", () => {});
    const { port } = await serve((raw) => {
      tls.emit("connection", raw);
    });
    return { port, state };
  }

  test.each([
    ["with", NO_TICKET],
    ["without", NO_TICKET | NO_EXTENDED_MASTER_SECRET],
  ])("%s the extended master secret is resumed, in two writes with the request", async (_name, secureOptions) => {
    const { port, state } = await remembering(secureOptions);
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    network.writes.length = 0;
    await send(client, secure(port));
    expect(state.resumed).toEqual([false, true]);
    // The hello; what ends the handshake, and the request; close_notify.
    expect(network.writes.length).toBe(3);
  });

  test("that the server has dropped is replaced by a full handshake, whose session is resumed", async () => {
    const { port, state } = await remembering(NO_TICKET);
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    state.remembers = false;
    await send(client, secure(port));
    state.remembers = true;
    await send(client, secure(port));
    expect(state.resumed).toEqual([false, false, true]);
    expect(client.http.counters()).toEqual({ connections: 3, fullHandshakes: 2, resumedHandshakes: 1 });
  });
});

describe("a ticket", () => {
  /** Replies to a hello of the client's, on the raw socket. */
  type Reply = (raw: net.Socket, hello: Buffer) => void;

  /** A server of tickets alone; some connections, by their number, never get to it. */
  async function ticketing(secureOptions = 0, replies: Readonly<Record<number, Reply>> = {}) {
    const state = { resumed: [] as boolean[], hellos: [] as Buffer[] };
    const { key, chain } = certificates;
    const tls = createServer({ key, cert: chain, maxVersion: "TLSv1.2", secureOptions }, (socket) => {
      state.resumed.push(socket.isSessionReused());
      socket.on("error", () => {});
      onRequest(socket, () => socket.write(httpResponse(OK)));
    });
    tls.on("tlsClientError", () => {});
    const { port } = await serve((raw, index) => {
      raw.once("data", (hello: Buffer) => state.hellos.push(hello));
      const reply = replies[index];
      if (reply) raw.once("data", (hello: Buffer) => reply(raw, hello));
      else tls.emit("connection", wire(raw));
    });
    return { port, state, forgetKeys: () => tls.setTicketKeys(randomBytes(48)) };
  }

  /** Session identifier and ticket of a hello of the client's to an address. */
  function offerOf(hello: Buffer): [id: string, ticketBytes: number] {
    const id = hello.subarray(44, 44 + hello[43]);
    const at = hello.indexOf(Uint8Array.of(0, 35), 44 + hello[43]);
    return [id.toString("hex"), hello.readUInt16BE(at + 2)];
  }

  test.each(["localhost", "127.0.0.1"])("resumes a session with %s, in two writes with the request", async (name) => {
    const { port, state } = await ticketing();
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port, { host: name }));
    for (let i = 0; i < 2; i++) {
      network.writes.length = 0;
      await send(client, secure(port, { host: name }));
      // The hello; what ends the handshake, and the request; close_notify.
      expect(network.writes.length).toBe(3);
    }
    expect(state.resumed).toEqual([false, true, true]);
    const offers = state.hellos.map(offerOf);
    expect(offers.map(([id, bytes]) => [id.length, bytes > 100])).toEqual([
      [0, false],
      [64, true],
      [64, true],
    ]);
    expect(offers[1][0]).not.toBe(offers[2][0]);
  });

  test("without the extended master secret resumes, too", async () => {
    const { port, state } = await ticketing(NO_EXTENDED_MASTER_SECRET);
    const client = host({ keepAliveMs: 0 });
    for (let i = 0; i < 2; i++) await send(client, secure(port));
    expect(state.resumed).toEqual([false, true]);
  });

  test("that the server declines is replaced by a full handshake on the same connection", async () => {
    const { port, state, forgetKeys } = await ticketing();
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    forgetKeys();
    for (let i = 0; i < 2; i++) await send(client, secure(port));
    expect(state.resumed).toEqual([false, false, true]);
    expect(state.hellos.length).toBe(3);
  });

  test("is offered only during the lifetime set by the server", async () => {
    clock.stop();
    const { port, state } = await ticketing();
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    // What OpenSSL says: 7200 seconds.
    await clock.advance(7_199_000);
    await send(client, secure(port));
    await clock.advance(2000);
    await send(client, secure(port));
    expect(state.resumed).toEqual([false, true, false]);
  });

  /** Takes the offer, and goes on with what knows no secret. */
  const echo =
    (changes: ServerHelloParts, ...rest: readonly Uint8Array[]): Reply =>
    (raw, hello) => {
      const sessionId = hello.subarray(44, 44 + hello[43]);
      const first = record(22, serverHello({ sessionId, extensions: [extension(23)], ...changes }));
      raw.write(join(first, ...rest));
    };

  /** Without limits: the phases as the host tells them. */
  const sendOnce = (
    client: ReturnType<typeof host>,
    port: number,
    onPhase: (phase: ConnectionPhase) => void,
    signal: AbortSignalLike = new AbortController().signal,
  ) =>
    client.http.send(secure(port), { signal, maxResponseBytes: 1000, fresh: false, connectTimeoutMs: 60000, onPhase });

  const failures: readonly (readonly [string, Reply])[] = [
    ["an end of the connection", (raw) => raw.end()],
    ["a reset", (raw) => raw.resetAndDestroy()],
    ["an alert", (raw) => raw.end(record(21, [2, 40]))],
    ["an echo of the identifier without the secret", echo({}, changeCipherSpec, finished)],
    ["another suite", echo({ suite: 0xc02f })],
    ["no extended master secret", echo({ extensions: [] })],
    ["a ticket that was not announced", echo({}, record(22, message(4, new Uint8Array(6))))],
    [
      "a ticket that was announced and is missing",
      echo({ extensions: [extension(23), extension(35)] }, changeCipherSpec),
    ],
    ["a certificate", echo({}, record(22, message(11, [0, 0, 0])))],
    [
      "an end after the echo",
      (raw, hello) => {
        echo({})(raw, hello);
        raw.end();
      },
    ],
  ];
  test.each(failures)("that ends in %s costs one more connection, and is dropped", async (_name, reply) => {
    const { port, state } = await ticketing(0, { 1: reply });
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    const phases: string[] = [];
    const { status } = await sendOnce(client, port, (phase) => phases.push(phase));
    expect(status).toBe(200);
    expect(phases).toEqual(["tls", "connect", "tls", "write", "first-byte", "read"]);
    expect(state.hellos.map((hello) => offerOf(hello)[1] > 0)).toEqual([false, true, false]);
    await send(client, secure(port));
    expect(state.resumed).toEqual([false, false, true]);
  });

  test("without a response is dropped once the request is aborted", async () => {
    clock.stop();
    const { port, state } = await ticketing(0, { 1: () => {} });
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    const failed = failure(send(client, secure(port), { phaseTimeoutsMs: { tls: 900 } }));
    await until(() => clock.waiting.includes(900));
    await clock.advance(900);
    expect(await failed).toMatchObject({ code: "TIMEOUT", phase: "tls" });
    await send(client, secure(port));
    expect(state.hellos.map((hello) => offerOf(hello)[1] > 0)).toEqual([false, true, false]);
  });

  test("is not involved in a failed full handshake, which is not repeated at once", async () => {
    const { port, state } = await ticketing(0, { 0: (raw) => raw.end(record(21, [2, 40])) });
    const error = await failure(send(host(), secure(port)));
    expect([error.code, state.hellos.length]).toEqual(["TLS_FAILED", 1]);
  });

  test("does not send an aborted request after its failure", async () => {
    const aborter = new AbortController();
    const { port, state } = await ticketing(0, {
      1: (raw) => raw.end(record(21, [2, 40])),
    });
    const client = host({ keepAliveMs: 0 });
    await send(client, secure(port));
    const sent = sendOnce(
      client,
      port,
      (phase) => {
        if (phase === "connect") aborter.abort(new Error("given up"));
      },
      aborter.signal,
    );
    await expect(sent).rejects.toThrow("given up");
    await send(client, secure(port));
    expect(state.hellos.map((hello) => offerOf(hello)[1] > 0)).toEqual([false, true, false]);
  });
});

describe("False Start", () => {
  /** How many writes a full handshake and a request take: two with it, three without. */
  async function writesOf(client: ReturnType<typeof host>, port: number): Promise<number> {
    network.writes.length = 0;
    await send(client, secure(port), { fresh: true });
    return network.writes.length;
  }

  /** A server whose second flight, which begins with ChangeCipherSpec, goes through the test's hands. */
  async function interfering(interfere: (flight: Buffer, raw: net.Socket, index: number) => void) {
    const seen = { connections: 0, requests: 0 };
    const { key, chain } = certificates;
    const { port } = await serve((raw, index) => {
      seen.connections++;
      const stream = wire(raw);
      const passOn = stream._write.bind(stream);
      stream._write = (chunk: Buffer, encoding, done) => {
        if (chunk[0] !== 20) return passOn(chunk, encoding, done);
        interfere(chunk, raw, index);
        done();
      };
      const options = { isServer: true, key, cert: chain, maxVersion: "TLSv1.2", secureOptions: NO_TICKET } as const;
      const socket = new TLSSocket(stream, options);
      for (const event of ["error", "_tlsError"]) socket.on(event, () => {});
      onRequest(socket, () => {
        seen.requests++;
        socket.write(httpResponse(OK));
      });
    });
    return { port, seen };
  }

  const faults: readonly (readonly [string, (raw: net.Socket) => void, string])[] = [
    ["an end", (raw) => raw.end(), "localhost closed the connection before it responded."],
    [
      "an alert",
      (raw) => raw.end(record(21, [2, 10])),
      "The TLS connection to localhost failed: the server sent the alert unexpected_message (10).",
    ],
    [
      "data before Finished",
      (raw) => raw.write(record(23, new Uint8Array(40))),
      "The TLS connection to localhost failed: missing ChangeCipherSpec.",
    ],
  ];

  test("sends the request with the client's Finished", async () => {
    const { port } = await server();
    expect(await writesOf(host(), port)).toBe(2);
    const keyOfRsa = await server({ key: rsa.key, cert: rsa.chain });
    expect(await writesOf(host(), keyOfRsa.port)).toBe(2);
    expect(await host().storage?.get("false-start")).toBeUndefined();
  });

  test("needs neither ALPN nor a storage", async () => {
    const { port } = await server({ ALPNProtocols: ["http/1.1"] });
    expect(await writesOf(host({ storage: false }), port)).toBe(2);
  });

  test.each<[string, Options, ModdableHostOptions]>([
    ["CBC", { ciphers: "ECDHE-ECDSA-AES128-SHA256", key: rsa.key, cert: rsa.chain }, { allowStaticRsaAndCbc: true }],
    ["static RSA", { ciphers: "AES128-SHA256", key: rsa.key, cert: rsa.chain }, { allowStaticRsaAndCbc: true }],
    ["a request for a certificate", { requestCert: true, rejectUnauthorized: false }, {}],
  ])("is not used with %s", async (name, options, hostOptions) => {
    const ciphers = name === "CBC" ? "ECDHE-RSA-AES128-SHA256" : options.ciphers;
    const { port } = await server({ ...options, ...(ciphers && { ciphers }) });
    expect(await writesOf(host(hostOptions), port)).toBe(3);
  });

  test("reads a response in the same segment as the server's Finished", async () => {
    const held: Buffer[] = [];
    const { key, chain } = certificates;
    const { port } = await serve((raw) => {
      const stream = wire(raw);
      const passOn = stream._write.bind(stream);
      stream._write = (chunk: Buffer, encoding, done) => {
        if (chunk[0] !== 20 && held.length === 0) return passOn(chunk, encoding, done);
        held.push(chunk);
        let type = 0;
        for (let at = 0; at < chunk.length; at += 5 + chunk.readUInt16BE(at + 3)) type = chunk[at];
        if (type !== 23) return done();
        passOn(Buffer.concat(held.splice(0)), encoding, done);
      };
      const options = { isServer: true, key, cert: chain, maxVersion: "TLSv1.2", secureOptions: NO_TICKET } as const;
      const socket = new TLSSocket(stream, options);
      onRequest(socket, () => socket.write(httpResponse(OK)));
    });
    const { status, early } = await send(host(), secure(port));
    expect([status, early, network.writes.length]).toEqual([200, undefined, 2]);
  });

  test.each(faults)(
    "that ends in %s fails as stale, and is disabled for that origin for 30 days",
    async (_name, fault, message) => {
      const { port } = await interfering((flight, raw, index) => {
        if (index === 0) fault(raw);
        else raw.write(flight);
      });
      const other = await server();
      const client = host();
      const error = await failure(send(client, secure(port)));
      expect([error.phase, error.stale, error.message]).toEqual(["first-byte", true, message]);
      expect(await writesOf(client, port)).toBe(3);
      const remembered = (await client.storage?.get("false-start"))?.split(" ");
      expect(remembered?.[1]).toBe(`localhost:${port}`);
      expect(Math.abs(Number(remembered?.[0]) - Date.now() - 30 * 86400000)).toBeLessThan(60000);
      client.close();
      await until(() => network.open === 0);
      restart();
      expect(await writesOf(host(), port)).toBe(3);
      expect(await writesOf(host(), other.port)).toBe(2);
      clock.setDate(clock.realNow() + 31 * 86400000);
      expect(await writesOf(host(), port)).toBe(2);
    },
  );

  test("that fails is followed at once by a handshake without it, without using up retries", async () => {
    const { port, seen } = await interfering((flight, raw, index) => {
      if (index === 0) raw.end(record(21, [2, 10]));
      else raw.write(flight);
    });
    const options = {
      productId: "P",
      deviceName: "D",
      credential: { secret: psk },
      url: `https://localhost:${port}`,
      retry: false as const,
    };
    const device = new Device(options, host());
    const { status, attempts } = await device.publish({ topic: "data", payload: { t: 21.5 } });
    device.close();
    // It has had both.
    expect([status, attempts, seen.connections, seen.requests]).toEqual([200, 2, 2, 2]);
  });

  test("without a response is disabled, too", async () => {
    clock.stop();
    const { port } = await interfering((flight, raw, index) => {
      if (index > 0) raw.write(flight);
    });
    const client = host();
    const failed = failure(send(client, secure(port), { phaseTimeoutsMs: { "first-byte": 900 } }));
    await until(() => clock.waiting.includes(900));
    await clock.advance(900);
    expect(await failed).toMatchObject({ code: "TIMEOUT", phase: "first-byte" });
    expect(await writesOf(client, port)).toBe(3);
  });

  test("that the app aborts is not disabled", async () => {
    const { port, seen } = await interfering((flight, raw, index) => {
      if (index > 0) raw.write(flight);
    });
    const client = host();
    const aborter = new Aborter();
    const failed = failure(send(client, secure(port), { signal: aborter.signal }));
    await until(() => seen.requests === 1);
    aborter.abort(new IotHubError("CANCELLED", "enough"));
    expect((await failed).code).toBe("CANCELLED");
    client.close();
    restart();
    expect(await writesOf(host(), port)).toBe(2);
  });

  test("rejects a wrong Finished of the server with an alert", async () => {
    const { port, errors } = await server();
    const client = host();
    const write = Session.prototype.write;
    const spy = jest.spyOn(Session.prototype, "write").mockImplementation(function (this: Session, ...parameters) {
      // From here on both sides' hashes differ.
      this.handshakeDigests?.SHA256.write(Uint8Array.of(0));
      return write.apply(this, parameters);
    });
    const error = await failure(send(client, secure(port)));
    spy.mockRestore();
    expect([error.code, error.phase, error.stale]).toEqual(["TLS_FAILED", "first-byte", true]);
    expect(error.message).toBe("The TLS connection to localhost failed: the server's Finished is wrong.");
    await until(() => errors.length > 0);
    expect(errors).toContain("ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR");
    expect(await writesOf(client, port)).toBe(3);
  });
});

describe("alerts", () => {
  const warning = record(21, [1, 112]);

  test("four warnings are ignored, a fifth ends the connection", async () => {
    const warnings = (count: number) => (raw: net.Socket) => {
      for (let i = 0; i < count; i++) raw.write(warning);
    };
    const few = await server({ before: warnings(4) });
    expect((await send(host(), secure(few.port))).status).toBe(200);
    const many = await server({ before: warnings(5) });
    const error = await failure(send(host(), secure(many.port)));
    expect(error).toMatchObject({ code: "TLS_FAILED", phase: "tls" });
    expect(error.message).toBe(
      "The TLS handshake with localhost failed: the server sent the alert unrecognized_name (112).",
    );
  });

  test.each([
    [
      "a fatal one of another version",
      Uint8Array.of(21, 3, 1, 0, 2, 2, 70),
      "the server sent the alert protocol_version (70)",
    ],
    ["one without a name", record(21, [2, 200]), "the server sent the alert unknown (200)"],
    ["close_notify", record(21, [1, 0]), "the server closed the connection"],
    ["a malformed one", record(21, [2]), "an alert is malformed"],
    ["one that is too long", record(21, [2, 40, 0]), "an alert is malformed"],
    [
      "a warning amid a message",
      join(record(22, [2, 0, 0, 80]), record(21, [1, 112])),
      "another record amid a handshake message",
    ],
    ["a message that is too long", record(22, [11, 1, 0, 0]), "a handshake message is longer than 16384 bytes"],
  ])("%s instead of the handshake is reported by name", async (_name, bytes, reason) => {
    const { port } = await serve((raw) => raw.once("data", () => raw.write(bytes)));
    const error = await failure(send(host(), secure(port)));
    expect([error.code, error.phase, error.message]).toEqual([
      "TLS_FAILED",
      "tls",
      `The TLS handshake with localhost failed: ${reason}.`,
    ]);
    expect(network.open).toBe(0);
  });

  test("each fault sends its alert, during and after the handshake", async () => {
    const during = await server({ before: (raw) => raw.write(record(20, [1])) });
    const first = await failure(send(host(), secure(during.port)));
    expect(first.message).toContain("a record of another type within the handshake");
    await until(() => during.errors.length > 0);
    expect(during.errors).toContain("ERR_SSL_SSLV3_ALERT_UNEXPECTED_MESSAGE");
    const after = await server({ respond: (_socket, raw) => raw.write(record(23, new Uint8Array(40))) });
    const second = await failure(send(host({ falseStart: false }), secure(after.port)));
    expect([second.code, second.phase]).toEqual(["TLS_FAILED", "first-byte"]);
    expect(second.message).toBe("The TLS connection to localhost failed: a record cannot be decrypted.");
    await until(() => after.errors.length > 0);
    expect(after.errors).toContain("ERR_SSL_SSLV3_ALERT_BAD_RECORD_MAC");
  });
});

describe("a server without TLS", () => {
  test.each([
    ["plain HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks plain HTTP on this port"],
    ["plain HTTP, of which five bytes have come", "HTTP/", "the server speaks plain HTTP on this port"],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "the server speaks something other than TLS on this port"],
  ])("%s is reported", async (_name, text, reason) => {
    const { port } = await serve((raw) => raw.once("data", () => raw.write(text)));
    const error = await failure(send(host(), secure(port)));
    expect(error).toMatchObject({ code: "TLS_FAILED", phase: "tls" });
    expect(error.message).toBe(`The TLS handshake with localhost failed: ${reason}.`);
  });
});

test("an exception of the SDK is the error's cause, and not in its message", async () => {
  const { port } = await server();
  const write = jest.spyOn(Session.prototype, "write").mockImplementation(() => {
    throw new Error("text of the SDK");
  });
  try {
    const error = await failure(send(host(), secure(port)));
    expect(error.code).toBe("TLS_FAILED");
    expect(error.message).toBe("The TLS connection to localhost failed: an error within the TLS of the SDK.");
    expect((error as { cause?: { cause?: Error } }).cause?.cause?.message).toBe("text of the SDK");
  } finally {
    write.mockRestore();
  }
});
