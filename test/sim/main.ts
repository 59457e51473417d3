/** Starts servers and the simulator, and checks every outcome from both sides. */
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  verify,
} from "node:crypto";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import {
  type Gateway,
  type GatewayOptions,
  makeCertificates,
  makeClientCertificate,
  startGateway,
} from "../../mocks/gateway/index.js";
import { Check } from "../conformance/check.js";
import { type SingleCase, singleCases } from "../conformance/node/single.js";
import { suites } from "../conformance/suites.js";
import { type CertificateCase, certificateCases } from "./certificates.js";
import { Control } from "./control.js";
import { faultCases } from "./faults.js";
import { Links } from "./link.js";
import { NtpServer } from "./ntp.js";
import { Programs, type ProgramTest } from "./programs.js";
import { build, Display, Simulator, wrap } from "./simulator.js";
import { Workshop } from "./workshop.js";

const PRODUCT = "ABCDEFGHIJ";
const PSK = "c2ltdWxhdG9yLXRlc3Qta2V5MTIz";
const identity = { productId: PRODUCT, deviceName: "sim", credential: { secret: PSK } };
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const devices = {
  products: {
    [PRODUCT]: {
      devices: {
        sim: { psk: PSK },
        rsa: { publicKey: rsa.publicKey.export({ type: "spki", format: "pem" }) as string },
      },
    },
  },
};

/** What a single attempt comes to. */
const singly = { retry: { maxAttempts: 1 } };

interface Line {
  readonly group: string;
  readonly name: string;
  readonly outcome: string;
  readonly failures: readonly string[];
}

/** Collects what does not hold, so that one run shows everything. */
export class Expectations {
  readonly failures: string[] = [];

  equal(actual: unknown, expected: unknown, what: string): void {
    const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (a !== e) this.failures.push(`${what}: expected ${e}, got ${a}`);
  }

  ok(value: unknown, what: string): void {
    if (!value) this.failures.push(what);
  }
}

/** What a test gets to work with. */
export class Session {
  readonly #control: Control;
  readonly #simulator: Simulator;
  readonly #gateways: Gateway[] = [];

  constructor(control: Control, simulator: Simulator) {
    this.#control = control;
    this.#simulator = simulator;
  }

  async run(op: string, parameters: object = {}): Promise<any> {
    const result = await this.#control.run({ op, ...parameters }, this.#simulator.ended);
    if (result.thrown) throw new Error(`${op}: ${JSON.stringify(result.thrown)}`);
    return result;
  }

  async gateway(options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = await startGateway({ devices, ...options });
    this.#gateways.push(gateway);
    return gateway;
  }

  /** A host that trusts the gateway, and a device that publishes to it. */
  async device(
    gateway: Gateway,
    host: object = {},
    more: { name?: string } & Record<string, unknown> = {},
  ): Promise<void> {
    const certificates = gateway.certificates && [gateway.certificates.rootDer.toString("base64")];
    await this.run("host", { options: { certificates, ...host } });
    const { name, ...options } = more;
    const url = name ? gateway.url.replace("127.0.0.1", name) : gateway.url;
    await this.run("device", { options: { ...identity, url, ...singly, ...options } });
  }

  /** Outcomes of publishing these payloads. */
  async publish(payloads: readonly string[], timeoutMs?: number, op = "publish"): Promise<any[]> {
    const messages = payloads.map((payload) => ({ topic: "data", payload, qos: 1 }));
    return (await this.run(op, { messages, timeoutMs })).outcomes;
  }

  async release(): Promise<void> {
    await Promise.all(this.#gateways.splice(0).map((gateway) => gateway.close()));
  }
}

type Test = (session: Session, expect: Expectations) => Promise<string>;

/** The secret is written as its text; a text with characters outside ASCII shows how they are counted. */
const greeting = "温度 21.5 °C 😀";

const basics: Record<string, Test> = {
  async "ten publishes over HTTP"(session, expect) {
    const gateway = await session.gateway();
    await session.device(gateway);
    const outcomes = await session.publish(Array.from({ length: 10 }, (_, i) => `${greeting} ${i}`));
    expect.equal(outcomes.filter((outcome) => outcome.ok).length, 10, "publishes");
    expect.equal(gateway.counts.accepted, 10, "accepted by the gateway");
    expect.equal(gateway.counts.connections, 1, "TCP connections");
    const nonces = new Set(gateway.received.map((request) => request.headers["x-tc-nonce"]));
    expect.equal(nonces.size, 10, "nonces");
    return `${gateway.counts.accepted} accepted, ${gateway.counts.connections} connection`;
  },
  async "ten publishes over HTTPS"(session, expect) {
    const gateway = await session.gateway({ https: { certificates: "chain" } });
    await session.device(gateway, {}, { name: "localhost" });
    const outcomes = await session.publish(Array.from({ length: 10 }, (_, i) => `${greeting} ${i}`));
    expect.equal(outcomes.map((outcome) => outcome.code).filter(Boolean), [], "errors");
    expect.equal(gateway.counts.accepted, 10, "accepted by the gateway");
    expect.equal(gateway.counts.connections, 1, "TCP connections");
    expect.equal(gateway.counts.tlsHandshakes, 1, "TLS handshakes");
    expect.equal(outcomes[9]?.timing?.reused, true, "reuse");
    return `${gateway.counts.accepted} accepted, ${gateway.counts.connections} connection, ${gateway.counts.tlsHandshakes} handshake; first ${outcomes[0].timing?.totalMs} ms (TLS ${outcomes[0].timing?.tlsMs}), tenth ${outcomes[9].timing?.totalMs} ms`;
  },
  async "publishes that overlap"(session, expect) {
    const gateway = await session.gateway({ https: { certificates: "chain" } });
    await session.device(gateway, {}, { name: "localhost" });
    const outcomes = await session.publish(["a", "b", "c", "d"], undefined, "burst");
    expect.equal(outcomes.map((outcome) => outcome.code).filter(Boolean), [], "errors");
    expect.equal(gateway.counts.accepted, 4, "accepted by the gateway");
    expect.equal(gateway.counts.connections, 1, "TCP connections");
    return `${gateway.counts.accepted} accepted, ${gateway.counts.connections} connection`;
  },
  async "a large payload over HTTPS"(session, expect) {
    const gateway = await session.gateway({ https: { certificates: "chain" } });
    await session.device(gateway, {}, { name: "localhost" });
    const outcomes = await session.publish(["x".repeat(16384), greeting]);
    expect.equal(outcomes.map((outcome) => outcome.code).filter(Boolean), [], "errors");
    expect.equal(gateway.counts.accepted, 2, "accepted by the gateway");
    return `${outcomes[0].bodyBytes} bytes accepted`;
  },
  async "publishes with an RSA key"(session, expect) {
    const gateway = await session.gateway({ https: { certificates: "chain" } });
    const der = rsa.privateKey.export({ type: "pkcs8", format: "der" }).toString("base64");
    await session.device(
      gateway,
      {},
      { name: "localhost", deviceName: "rsa", credential: { privateKey: der, der: true } },
    );
    const outcomes = await session.publish(["a", "b"]);
    expect.equal(outcomes.map((outcome) => outcome.code).filter(Boolean), [], "errors");
    expect.equal(gateway.counts.accepted, 2, "accepted by the gateway");
    return `${gateway.counts.accepted} accepted, signed in ${outcomes[1].timing?.signMs} ms`;
  },
  async "mutual TLS"(session, expect) {
    const client = makeClientCertificate({ keyType: "rsa" });
    const gateway = await session.gateway({ https: { certificates: "chain", clientCertificate: { ca: client.root } } });
    const credentials = {
      clientCertificates: client.chainDer.map((der) => der.toString("base64")),
      clientKey: createPrivateKey(client.key).export({ type: "pkcs8", format: "der" }).toString("base64"),
    };
    await session.device(gateway, credentials, { name: "localhost" });
    const [withCertificate] = await session.publish(["a"]);
    expect.equal(withCertificate.code, undefined, "with a certificate");
    await session.device(gateway, {}, { name: "localhost" });
    const [without] = await session.publish(["a"]);
    expect.equal(without.ok, false, "without a certificate");
    expect.equal(gateway.counts.accepted, 1, "accepted by the gateway");
    return `accepted with, ${without.code} without a certificate`;
  },
  async "resumption after the connection was closed"(session, expect) {
    // The SDK resumes by session identifiers, which Node's servers keep only if they are told how.
    const { key, chain, rootDer } = makeCertificates("chain");
    const sessions = new Map<string, Buffer>();
    const sockets = new Set<TLSSocket>();
    const answer = JSON.stringify({ Response: { RequestId: "resumption" } });
    const options = { key, cert: chain, maxVersion: "TLSv1.2", secureOptions: constants.SSL_OP_NO_TICKET } as const;
    const server = createHttpsServer(options, (request, response) => {
      request.resume().on("end", () => response.end(answer));
    });
    server.on("newSession", (id: Buffer, data: Buffer, done: () => void) => {
      sessions.set(id.toString("hex"), data);
      done();
    });
    server.on("resumeSession", (id: Buffer, done: (error: null, data: Buffer | null) => void) => {
      done(null, sessions.get(id.toString("hex")) ?? null);
    });
    const resumed: boolean[] = [];
    server.on("secureConnection", (socket) => {
      sockets.add(socket);
      resumed.push(socket.isSessionReused() === true);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const { port } = server.address() as AddressInfo;
      await session.run("host", { options: { certificates: [rootDer.toString("base64")] } });
      await session.run("device", { options: { ...identity, ...singly, url: `https://localhost:${port}` } });
      const [first] = await session.publish(["a"]);
      for (const socket of sockets) socket.destroy();
      const [second] = await session.publish(["b"]);
      expect.equal([first.code, second.code].filter(Boolean), [], "errors");
      expect.equal(resumed, [false, true], "resumed");
      return `full ${first.timing?.tlsMs} ms, resumed ${second.timing?.tlsMs} ms`;
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },
  async "TLS 1.1 only"(session, expect) {
    const gateway = await session.gateway({
      https: { certificates: "chain", minVersion: "TLSv1", maxVersion: "TLSv1.1" },
    });
    await session.device(gateway, {}, { name: "localhost" });
    const [outcome] = await session.publish(["a"]);
    expect.equal(outcome.code, "TLS_FAILED", "code");
    expect.equal(gateway.counts.accepted, 0, "accepted by the gateway");
    return `${outcome.code}: ${outcome.message}`;
  },
  async "cipher suites"(session, expect) {
    const done: string[] = [];
    for (const [ciphers, keyType] of [
      ["ECDHE-ECDSA-AES128-GCM-SHA256", "ecdsa"],
      ["ECDHE-RSA-AES128-GCM-SHA256", "rsa"],
      ["AES128-SHA256", "rsa"],
    ] as const) {
      const gateway = await session.gateway({
        https: { certificates: "chain", certificateOptions: { keyType }, ciphers },
      });
      await session.device(gateway, {}, { name: "localhost" });
      const [outcome] = await session.publish(["a"]);
      expect.equal(outcome.code, undefined, ciphers);
      done.push(`${ciphers} ${outcome.timing?.tlsMs} ms`);
    }
    return done.join(", ");
  },
  async "a server that is not there"(session, expect) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    await session.run("host", { options: {} });
    const codes: string[] = [];
    for (const scheme of ["http", "https"]) {
      await session.run("device", { options: { ...identity, ...singly, url: `${scheme}://127.0.0.1:${port}` } });
      const [outcome] = await session.publish(["a"]);
      expect.equal([outcome.code, outcome.phase], ["CONNECTION_REFUSED", "connect"], scheme);
      codes.push(outcome.code);
    }
    await session.run("device", { options: { ...identity, ...singly, url: "http://no-such-host.invalid" } });
    const [unknown] = await session.publish(["a"]);
    expect.equal([unknown.code, unknown.phase], ["NAME_RESOLUTION", "connect"], "an unknown name");
    return [...codes, unknown.code].join(", ");
  },
  async "cancelling and closing"(session, expect) {
    const gateway = await session.gateway();
    await session.device(gateway);
    gateway.faults.next({ kind: "hang", phase: "headers" });
    const message = { topic: "data", payload: "a", qos: 0 };
    const cancelled = (await session.run("cancel", { message, afterMs: 200 })).outcomes[0];
    expect.equal(cancelled.code, "CANCELLED", "cancelled");
    const [next] = await session.publish(["b"]);
    expect.equal(next.code, undefined, "the next one");
    gateway.faults.next({ kind: "hang", phase: "headers" });
    const request = { scheme: "http", host: gateway.host, port: gateway.port, path: "/device/publish", body: "{}" };
    const { outcome } = await session.run("send", { request, options: { timeoutMs: 5000 }, closeAfterMs: 200 });
    expect.equal(outcome.ok, false, "closed");
    return `${cancelled.code}, ${outcome.code}`;
  },
  async "limits of the phases"(session, expect) {
    const gateway = await session.gateway();
    await session.run("host", { options: {} });
    const request = { scheme: "http", host: gateway.host, port: gateway.port, path: "/device/publish", body: "{}" };
    const found: string[] = [];
    for (const [fault, phase] of [
      [{ kind: "hang", phase: "headers" }, "first-byte"],
      [{ kind: "hang", phase: "body" }, "read"],
    ] as const) {
      gateway.faults.next(fault);
      const options = { timeoutMs: 20000, phaseTimeoutsMs: { [phase]: 300 } };
      const { outcome } = await session.run("send", { request, options });
      expect.equal([outcome.code, outcome.phase], ["TIMEOUT", phase], phase);
      found.push(`${outcome.code} ${outcome.phase}`);
    }
    return found.join(", ");
  },
  async "pinned keys"(session, expect) {
    const gateway = await session.gateway({ https: { certificates: "chain" } });
    const pin = Buffer.from(gateway.certificates?.publicKeySha256 as string, "hex").toString("base64");
    await session.device(gateway, { pins: [pin] }, { name: "localhost" });
    const [good] = await session.publish(["a"]);
    expect.equal(good.code, undefined, "the right pin");
    await session.device(gateway, { pins: [randomBytes(32).toString("base64")] }, { name: "localhost" });
    const [bad] = await session.publish(["a"]);
    expect.equal(bad.code, "CERTIFICATE_REJECTED", "a wrong pin");
    return `accepted; ${bad.code}: ${bad.message}`;
  },
  async "default anchors only"(session, expect) {
    const gateway = await session.gateway({ https: { certificates: "chain" } });
    await session.device(gateway, { certificates: undefined }, { name: "localhost" });
    const [outcome] = await session.publish(["a"]);
    expect.equal(outcome.code, "CERTIFICATE_REJECTED", "code");
    await session.device(gateway, { dangerouslyAcceptAnyCertificate: true }, { name: "localhost" });
    const [open] = await session.publish(["a"]);
    expect.equal(open.code, undefined, "anything accepted");
    return `${outcome.code}: ${outcome.message}`;
  },
  async "the clock"(session, expect) {
    const servers = [new NtpServer(), new NtpServer()];
    const addresses = [await servers[0].open(), await servers[1].open()];
    const host = (clock: object = {}) =>
      session.run("host", { options: { clock: { servers: addresses, timeoutMs: 300, ...clock } } });
    try {
      await host();
      const there = (nowMs: number, expected: number, what: string) =>
        expect.ok(Math.abs(nowMs - expected) < 1000, `${what}: off by ${nowMs - expected} ms`);
      const plain = (await session.run("synchronize")).outcome;
      there(plain.nowMs, Date.now(), "today");
      for (const date of ["2036-02-07T06:28:20Z", "2038-01-19T03:14:10Z", "2040-06-01T00:00:00Z"]) {
        const shift = Date.parse(date) - Date.now();
        servers[0].now = () => Date.now() + shift;
        await host();
        const { outcome } = await session.run("synchronize");
        there(outcome.nowMs, Date.now() + shift, date);
      }
      servers[0].now = () => Date.parse("2020-01-01T00:00:00Z");
      const seen: string[] = [];
      for (const fault of ["silent", "unsynchronized", "kiss-of-death", "stranger", "short", "zero"] as const) {
        servers[0].fault = fault;
        servers[1].requests = 0;
        await host();
        const { outcome } = await session.run("synchronize");
        expect.equal(outcome.code, undefined, `failover after ${fault}`);
        expect.equal(servers[1].requests, 1, `requests to the second server after ${fault}`);
        there(outcome.nowMs ?? 0, Date.now(), fault);
        seen.push(fault);
      }
      servers[0].fault = undefined;
      servers[0].requests = 0;
      servers[0].now = Date.now;
      await host({ trustSystemClock: false });
      await session.run("synchronizeTwice");
      expect.equal(servers[0].requests, 1, "requests when several wait");
      servers[0].fault = servers[1].fault = "silent";
      await host({ trustSystemClock: false });
      const gateway = await session.gateway({ https: true });
      await session.run("device", { options: { ...identity, ...singly, url: gateway.url } });
      const [outcome] = await session.publish(["a"], 5000);
      expect.equal(outcome.code, "CLOCK_NOT_SET", "no server");
      expect.equal(gateway.counts.requests, 0, "requests without a clock");
      return `2036, 2038 and 2040 right; failover after ${seen.join(", ")}; ${outcome.code}`;
    } finally {
      await Promise.all(servers.map((server) => server.close()));
    }
  },
  async "native digest and RSA"(session, expect) {
    await session.run("host", { options: {} });
    const key = rsa.privateKey.export({ type: "pkcs1", format: "der" }).toString("base64");
    const result = await session.run("native", { key, text: greeting });
    const expected = createHash("sha256").update(greeting).digest("hex");
    expect.equal([result.digest, result.portable], [expected, expected], "SHA-256");
    const good = verify(
      "sha256",
      Buffer.from(greeting),
      createPublicKey(rsa.publicKey.export({ type: "spki", format: "pem" })),
      Buffer.from(result.signature ?? "", "base64"),
    );
    expect.ok(good, "the signature does not verify");
    return "agree with Node's";
  },
};

async function certificates(session: Session, expect: Expectations, each: CertificateCase): Promise<string> {
  const { kind, name = "localhost", keyType, accepted, reason, code = "CERTIFICATE_REJECTED", https } = each;
  const gateway = await session.gateway({
    https: { certificates: kind, certificateOptions: { keyType }, ...https },
  });
  if (each.fault) gateway.faults.next(each.fault);
  const addresses = { [name]: "127.0.0.1" };
  await session.device(gateway, { addresses }, { name });
  const [outcome] = await session.publish(["a"]);
  if (accepted) {
    expect.equal(outcome.code, undefined, "error");
    expect.equal(gateway.counts.accepted, 1, "accepted by the gateway");
    return `accepted in ${outcome.timing?.tlsMs} ms`;
  }
  expect.equal([outcome.code, outcome.phase], [code, "tls"], "error");
  expect.ok(outcome.message?.includes(reason), `message: ${outcome.message}`);
  expect.equal(gateway.counts.requests, 0, "requests that the gateway saw");
  expect.equal(gateway.counts.tlsHandshakes, 0, "handshakes that were completed");
  return `${outcome.code}: ${outcome.message}; the server saw ${gateway.tlsErrors.map((error) => error.code).join(", ") || "nothing"}`;
}

async function faults(session: Session, expect: Expectations, each: (typeof faultCases)[number]): Promise<string> {
  const gateway = await session.gateway(each.secure ? { https: { certificates: "chain" } } : {});
  await session.device(gateway, {}, { name: "localhost" });
  if (each.kept) {
    const [first] = await session.publish(["first"]);
    expect.equal(first.code, undefined, "the request before");
  }
  gateway.faults.next(each.fault);
  const [outcome] = await session.publish(["x".repeat(each.bytes ?? 5)], 1500);
  expect.equal(outcome.ok ? "ok" : outcome.code, each.code, `outcome (${outcome.message})`);
  if (each.phase) expect.equal(outcome.phase, each.phase, "phase");
  gateway.faults.clear();
  const [after] = await session.publish(["after"], 5000);
  expect.equal(after.code, undefined, `the request after (${after.message})`);
  return outcome.ok ? "ok" : `${outcome.code} (${outcome.phase}): ${outcome.message}`;
}

/** The same cases as on Node, where they are run beforehand: as many, with as many checks. */
class Conformance {
  readonly #counts = new Map<string, { readonly cases: number; readonly checks: number }>();

  async list(session: Session, expect: Expectations): Promise<string> {
    const listed = (await session.run("cases")).suites;
    const expected = Object.entries(suites).map(([suite, cases]) => [suite, cases.map((each) => each.name)]);
    expect.equal(listed, expected, "cases that the app has");
    return `${listed.length} suites`;
  }

  async suite(session: Session, expect: Expectations, name: string): Promise<string> {
    const singles = singleCases.filter((each) => each.suite === name);
    const onNode = await Promise.all(singles.map(checksOnNode));
    let cases = 0;
    let checks = 0;
    for (const [index, single] of singles.entries()) {
      const { suite, each, input } = single;
      let result: { outcome: { ok: boolean; message?: string }; checks: number };
      try {
        result = await session.run("conformance", { suite, name: each.name, input });
      } catch (error) {
        throw new Error(`${single.name}, after ${cases} of ${singles.length} cases: ${error}`, { cause: error });
      }
      expect.ok(result.outcome.ok, `${single.name}: ${result.outcome.message}`);
      expect.equal(result.checks, onNode[index], `${single.name}: checks`);
      if (!result.outcome.ok) continue;
      cases++;
      checks += result.checks;
    }
    expect.ok(cases > 0, "no case passed");
    this.#counts.set(name, { cases, checks });
    return `${cases} cases, ${checks} checks`;
  }

  /** Of all that was run, in one line; empty if no suite came to its end. */
  summary(): string {
    const counts = [...this.#counts.values()];
    if (counts.length === 0) return "";
    const cases = counts.reduce((sum, count) => sum + count.cases, 0);
    const checks = counts.reduce((sum, count) => sum + count.checks, 0);
    return `conformance: ${cases} of ${singleCases.length} cases passed on the simulator (${checks} checks, as on Node)`;
  }
}

async function checksOnNode({ each, input }: SingleCase): Promise<number> {
  const check = new Check();
  await each.run(check, input === undefined ? undefined : JSON.parse(input));
  return check.count;
}

/** Two starts of the app. */
async function starts(library: string, display: Display, control: Control): Promise<Line> {
  const expect = new Expectations();
  const seen: string[][] = [];
  const value = Buffer.from("kept over a restart").toString("base64");
  const big = randomBytes(4000).toString("base64");
  for (let start = 0; start < 2; start++) {
    const simulator = new Simulator(library, display);
    try {
      await control.started(simulator.ended);
      const session = new Session(control, simulator);
      await session.run("host", { options: { storage: "sim-test" } });
      seen.push((await session.run("random", { count: 50 })).values);
      if (start === 0) {
        const { values } = await session.run("stored");
        for (const key of Object.keys(values)) await session.run("store", { values: { [key]: null } });
        await session.run("store", { values: { a: value, "fifteen-letters": big, empty: "", gone: value } });
        await session.run("store", { values: { a: big, gone: null } });
        await session.run("store", { values: { a: value } });
        const { outcomes } = await session.run("storeBadly");
        expect.equal(
          outcomes.map((each: any) => each.code),
          Array(3).fill("INVALID_OPTION"),
          "limits of the storage",
        );
      } else {
        const { values } = await session.run("stored");
        expect.equal(Object.keys(values).sort(), ["a", "empty", "fifteen-letters"], "keys after a restart");
        expect.equal([values.a, values["fifteen-letters"], values.empty], [value, big, ""], "values after a restart");
        for (const key of Object.keys(values)) await session.run("store", { values: { [key]: null } });
      }
      await control.run({ op: "end" }, new Promise(() => {})).catch(() => {});
    } catch (error) {
      expect.failures.push(String(error));
    } finally {
      await simulator.close();
    }
  }
  const all = new Set(seen.flat());
  expect.equal(all.size, 100, "different random values of two starts");
  return {
    group: "restart",
    name: "nonces and storage of two starts",
    outcome: `${all.size} values differ`,
    failures: expect.failures,
  };
}

async function buildSuite(output: string, control: number): Promise<string> {
  const start = performance.now();
  const app = await wrap(join(output, "apps/suite"), fileURLToPath(new URL("./app/manifest.json", import.meta.url)));
  const library = await build(app, output, "suite", { settings: { control: String(control) } });
  console.log(`built in ${Math.round(performance.now() - start)} ms`);
  return library;
}

/** @returns the process's exit code */
export async function main(filters: readonly string[]): Promise<number> {
  const control = new Control();
  const display = await Display.open();
  const lines: Line[] = [];
  const output = join(fileURLToPath(new URL("../..", import.meta.url)), "build/sim");
  try {
    const port = await control.open();
    // Built when the first test needs it.
    let built: Promise<string> | undefined;
    const suite = () => {
      built ??= buildSuite(output, port);
      return built;
    };

    const conformance = new Conformance();
    const tests: [string, string, Test][] = [
      ...Object.entries(basics).map(([name, test]): [string, string, Test] => ["basics", name, test]),
      ...certificateCases.map((each): [string, string, Test] => [
        "certificates",
        each.title ?? each.kind,
        (session, expect) => certificates(session, expect, each),
      ]),
      ...faultCases.map((each): [string, string, Test] => [
        "faults",
        `${each.secure ? "https" : "http"} ${each.kept ? "kept " : ""}${JSON.stringify(each.fault)}`,
        (session, expect) => faults(session, expect, each),
      ]),
      ["conformance", "the list of cases", (session, expect) => conformance.list(session, expect)],
      ...Object.keys(suites).map((name): [string, string, Test] => [
        "conformance",
        name,
        (session, expect) => conformance.suite(session, expect, name),
      ]),
    ];
    let simulator: Simulator | undefined;
    for (const [group, name, test] of tests) {
      if (filters.length > 0 && !filters.some((filter) => `${group} ${name}`.includes(filter))) continue;
      const expect = new Expectations();
      let outcome = "";
      try {
        if (!simulator) {
          simulator = new Simulator(await suite(), display);
          await control.started(simulator.ended);
        }
        const session = new Session(control, simulator);
        try {
          outcome = await test(session, expect);
        } finally {
          await session.release();
        }
      } catch (error) {
        expect.failures.push(error instanceof Error ? error.message : String(error));
        expect.failures.push(...(simulator?.lines.slice(-5) ?? []));
        await simulator?.close();
        simulator = undefined;
      }
      report(lines, { group, name, outcome, failures: expect.failures });
    }
    await simulator?.close();
    if (filters.length === 0 || filters.some((filter) => "restart".includes(filter))) {
      report(lines, await starts(await suite(), display, control));
    }
    const workshop = await Workshop.open();
    try {
      const others: [string, readonly ProgramTest[]][] = [
        ["link", new Links(workshop).tests()],
        ["programs", await new Programs(workshop, display, join(output, "programs")).tests()],
      ];
      for (const [group, tests] of others) {
        for (const { name, run } of tests) {
          if (filters.length > 0 && !filters.some((filter) => `${group} ${name}`.includes(filter))) continue;
          let outcome = "";
          const failures: string[] = [];
          try {
            outcome = await run();
          } catch (error) {
            failures.push(error instanceof Error ? error.message : String(error));
          }
          report(lines, { group, name, outcome, failures });
        }
      }
    } finally {
      await workshop.close();
    }
    const summary = conformance.summary();
    if (summary) console.log(summary);
  } finally {
    await display.close();
    await control.close();
  }
  const failed = lines.filter((line) => line.failures.length > 0);
  console.log(`${lines.length - failed.length} of ${lines.length} passed on the simulator`);
  if (!process.env.SIM_KEEP) await rm(output, { recursive: true, force: true });
  return failed.length === 0 ? 0 : 1;
}

function report(lines: Line[], line: Line): void {
  lines.push(line);
  console.log(`${line.failures.length === 0 ? "ok    " : "FAILED"} ${line.group}: ${line.name} — ${line.outcome}`);
  for (const failure of line.failures) console.log(`         ${failure}`);
}
