/** Publishing, TLS, limits, the clock: one test each, seen from both sides. */
import { constants, createHash, createPrivateKey, createPublicKey, randomBytes, verify } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import type { TLSSocket } from "node:tls";
import { makeCertificates, makeClientCertificate } from "../../tools/gateway/index.js";
import { NtpServer } from "./ntp.js";
import { CLOCK_LAG_MS, GENEROUS_MS, identity, PATIENCE_MS, rsa, singly, type Test } from "./session.js";

/** The secret is written as its text; a text with characters outside ASCII shows how they are counted. */
const greeting = "温度 21.5 °C 😀";

export const basics: Record<string, Test> = {
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
      clientCertificate: client.chainDer.map((der) => der.toString("base64")),
      clientKey: createPrivateKey(client.key).export({ type: "pkcs8", format: "der" }).toString("base64"),
    };
    await session.device(gateway, credentials, { name: "localhost" });
    const [withCertificate] = await session.publish(["a"]);
    expect.equal(withCertificate.code, undefined, "with a certificate");
    // PEM in bytes, and a key in PKCS#1, which the SDK does not read by itself.
    const otherForms = {
      trustAnchors: [Buffer.from(gateway.ca as string).toString("base64")],
      clientCertificate: [Buffer.from(client.chain).toString("base64")],
      clientKey: createPrivateKey(client.key).export({ type: "pkcs1", format: "der" }).toString("base64"),
    };
    await session.device(gateway, otherForms, { name: "localhost" });
    const [withPem] = await session.publish(["a"]);
    expect.equal(withPem.code, undefined, "with a certificate in PEM");
    await session.device(gateway, {}, { name: "localhost" });
    const [without] = await session.publish(["a"]);
    expect.equal(without.ok, false, "without a certificate");
    expect.equal(gateway.counts.accepted, 2, "accepted by the gateway");
    return `accepted with, ${without.code} without a certificate`;
  },
  async "resumption after the connection was closed"(session, expect) {
    // By session identifiers, which Node's servers keep only with listeners for it.
    const { key, chain, rootDer } = makeCertificates("chain");
    const sessions = new Map<string, Buffer>();
    const sockets = new Set<TLSSocket>();
    const reply = JSON.stringify({ Response: { RequestId: "resumption" } });
    const options = { key, cert: chain, maxVersion: "TLSv1.2", secureOptions: constants.SSL_OP_NO_TICKET } as const;
    const server = createHttpsServer(options, (request, response) => {
      request.resume().on("end", () => response.end(reply));
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
      await session.run("host", { options: { trustAnchors: [rootDer.toString("base64")] } });
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
    for (const [ciphers, keyType, weak] of [
      ["ECDHE-ECDSA-AES128-GCM-SHA256", "ecdsa", false],
      ["ECDHE-RSA-AES128-GCM-SHA256", "rsa", false],
      ["ECDHE-RSA-AES128-SHA256", "rsa", true],
      ["AES128-SHA256", "rsa", true],
      ["AES256-SHA256", "rsa", true],
      ["AES128-SHA", "rsa", true],
      ["AES256-SHA", "rsa", true],
    ] as const) {
      const gateway = await session.gateway({
        https: { certificates: "chain", certificateOptions: { keyType }, ciphers },
      });
      for (const allowStaticRsaAndCbc of [false, true]) {
        await session.device(gateway, { allowStaticRsaAndCbc }, { name: "localhost" });
        const [outcome, ...more] = await session.publish(["a", "b", "c"]);
        const expected = allowStaticRsaAndCbc || !weak ? undefined : "TLS_FAILED";
        expect.equal(
          [outcome, ...more].map(({ code }) => code),
          [expected, expected, expected],
          ciphers,
        );
        if (outcome.ok) done.push(`${ciphers} ${outcome.timing?.tlsMs} ms`);
      }
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
    const { outcome } = await session.run("send", { request, options: { timeoutMs: GENEROUS_MS }, closeAfterMs: 200 });
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
      const options = { timeoutMs: GENEROUS_MS, phaseTimeoutsMs: { [phase]: PATIENCE_MS } };
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
    await session.device(gateway, { trustAnchors: undefined }, { name: "localhost" });
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
      session.run("host", { options: { clock: { servers: addresses, timeoutMs: PATIENCE_MS, ...clock } } });
    try {
      await host();
      const there = (nowMs: number, expected: number, what: string) =>
        expect.ok(Math.abs(nowMs - expected) < CLOCK_LAG_MS, `${what}: off by ${nowMs - expected} ms`);
      const plain = (await session.run("synchronize")).outcome;
      there(plain.nowMs, Date.now(), "today");
      for (const date of ["2036-02-07T06:28:20Z", "2038-01-19T03:14:10Z", "2040-06-01T00:00:00Z"]) {
        const shift = Date.parse(date) - Date.now();
        servers[0].now = () => Date.now() + shift;
        servers[1].now = Date.now;
        await host();
        const alone = (await session.run("synchronize")).outcome;
        there(alone.nowMs, Date.now(), `${date} of one server alone`);
        servers[1].now = servers[0].now;
        await host();
        const { outcome } = await session.run("synchronize");
        there(outcome.nowMs, Date.now() + shift, date);
      }
      servers[1].now = Date.now;
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
      const [outcome] = await session.publish(["a"]);
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
