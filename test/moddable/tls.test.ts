/** HTTPS of the Moddable host against the local gateway, on a stand-in for the SDK's TLS session. */

import { createHash, createPrivateKey } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import {
  createHost,
  defaultAnchors,
  digicertGlobalRootCA,
  type ModdableHostOptions,
} from "../../host/moddable/index.js";
import { Certificate } from "../../host/moddable/tls/certificate.js";
import { type Trust, verifyChain } from "../../host/moddable/tls/chain.js";
import { sdkPrimitives } from "../../host/moddable/tls/primitives.js";
import { Rejection } from "../../host/moddable/tls/rejection.js";
import { Device, type DeviceOptions } from "../../src/index.js";
import {
  type CertificateKind,
  type CertificateOptions,
  certificateKinds,
  type Fault,
  type Gateway,
  type GatewayOptions,
  type HttpsOptions,
  type KeyType,
  makeCertificates,
  makeClientCertificate,
  startGateway,
} from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { makeRsaKeys, psk } from "../support/keys.js";
import { clock, createModdableHost, network, RSA, restart, until, useMachine } from "../support/moddable-machine.js";
import { send } from "../support/send.js";
import { rawServer } from "../support/servers.js";
import { Authority, dnsName, extension, extensions, NULL } from "../support/x509.js";

useMachine();

const { privatePem: privateKey, publicPem: publicKey } = makeRsaKeys();
const devices = { products: { P: { devices: { D: { psk }, C: { publicKey } } } } };

async function gateway(https: HttpsOptions = {}, options: GatewayOptions = {}): Promise<Gateway> {
  const g = await startGateway({ devices, https, ...options });
  cleanups.push(() => g.close());
  return g;
}

/** Plain bytes: a Buffer's slice is a view, which no device knows. */
const plain = (bytes: Uint8Array) => Uint8Array.from(bytes);
const rootOf = (g: Gateway) => plain(g.certificates?.rootDer as Uint8Array);

function made(kind: CertificateKind, options?: CertificateOptions) {
  const { chainDer, rootDer, publicKeySha256 } = makeCertificates(kind, options);
  return { chain: chainDer.map(plain), root: plain(rootDer), publicKeySha256 };
}

function device(g: Gateway, hostOptions: object = {}, changes: Partial<DeviceOptions> = {}): Device {
  const host = createModdableHost({ trustAnchors: [rootOf(g)], ...hostOptions });
  const options = {
    productId: "P",
    deviceName: "D",
    credential: { secret: psk },
    url: g.url,
    retry: false as const,
    rateLimit: false as const,
    ...changes,
  };
  const d = new Device(options, host);
  cleanups.push(() => d.close());
  return d;
}

const publish = (d: Device) => d.publish({ topic: "data", payload: { t: 21.5 } }, { timeoutMs: 120_000 });

describe("a malformed certificate is reported as one", () => {
  const { chain } = made("chain");
  const rejection = (action: () => unknown) => {
    try {
      action();
    } catch (error) {
      expect(error).toBeInstanceOf(Rejection);
      return (error as Rejection).message;
    }
    return "taken";
  };

  test("truncated at every byte", () => {
    for (let length = 0; length < chain[0].length; length++) {
      const message = rejection(() => new Certificate(chain[0].subarray(0, length)));
      expect(message).toMatch(/^a certificate cannot be read \(.+\)$/);
      expect(message).not.toContain("private key");
    }
  });

  test("with an unreadable public key", () => {
    const certificate = new Certificate(chain[0]);
    for (let length = 0; length < certificate.spki.length; length++) {
      Object.defineProperty(certificate, "spki", { value: chain[0].subarray(0, length), configurable: true });
      expect(rejection(() => certificate.publicKey())).not.toMatch(/private key|^taken$/);
    }
  });

  test.each<[string, Uint8Array, string]>([
    [
      "a critical extension that is not understood",
      extension("1.2.3.4", NULL, true),
      "the trust anchor has an extension that is not understood (object identifier 1.2.3.4)",
    ],
    [
      "a key that is not meant to sign certificates",
      extensions.keyUsage(0x80),
      "the trust anchor is not meant to sign certificates",
    ],
    [
      "name constraints that cannot be read",
      extension("2.5.29.30", NULL),
      "a certificate cannot be read (an element is not of the expected type)",
    ],
    [
      "name constraints that are malformed",
      extensions.nameConstraints([dnsName(".test")]),
      "names in a certificate cannot be read (a name constraint is not a host name)",
    ],
  ])("as a trust anchor with %s", (_name, added, reason) => {
    const root = new Authority("Root").root({ extensions: [extensions.basicConstraints(), added] });
    expect(() => createHost({ trustAnchors: [root] })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: `A trust anchor cannot be used: ${reason}.` }),
    );
  });

  test("as a trust anchor", () => {
    expect(() => createHost({ trustAnchors: [chain[0].subarray(0, 100)] })).toThrow(
      expect.objectContaining({
        code: "INVALID_OPTION",
        message: "A trust anchor cannot be used: a certificate cannot be read (it is truncated).",
      }),
    );
  });
});

test.each([
  [{ clientCertificates: [] }, "Unknown option `clientCertificates`; did you mean `clientCertificate`?"],
  [
    { certificates: [] },
    "Unknown option `certificates`; the known ones are clock, storage, addresses, keepAliveMs, maxConnections, maxWaiting, " +
      "trustAnchors, pins, clientCertificate, clientKey, allowStaticRsaAndCbc, falseStart, resumption, dangerouslyAcceptAnyCertificate.",
  ],
  [{ maxConnections: "2" }, "maxConnections must be an integer from 1 to 16; it is a string."],
  [{ clock: { server: [] } }, "Unknown option `clock.server`; did you mean `servers`?"],
  [{ clock: { timeoutMs: "3000" } }, "clock.timeoutMs must be a number from 1 to 2147483647; it is a string."],
  [{ allowStaticRsaAndCbc: "no" }, "allowStaticRsaAndCbc must be a boolean; it is a string."],
  [{ falseStart: 1 }, "falseStart must be a boolean; it is 1."],
  [{ dangerouslyAcceptAnyCertificate: "no" }, "dangerouslyAcceptAnyCertificate must be a boolean; it is a string."],
])("createHost rejects %j", (given, sentence) => {
  expect(() => createHost(given as never)).toThrow(sentence);
});

describe("publishing", () => {
  test.each([true, false])(
    "ten messages use one connection and one handshake (writableFirst %s)",
    async (writableFirst) => {
      network.writableFirst = writableFirst;
      const g = await gateway();
      const d = device(g);
      for (let i = 0; i < 10; i++) {
        const { timing } = await publish(d);
        expect(timing.reused).toBe(i > 0);
        expect(timing.tlsMs === undefined).toBe(i > 0);
      }
      expect(g.counts).toMatchObject({ connections: 1, tlsHandshakes: 1, accepted: 10 });
    },
  );

  test("works with PSK and private key, and with 16 KB through a small socket buffer", async () => {
    network.sendBuffer = 500;
    const g = await gateway();
    for (const changes of [{}, { deviceName: "C", credential: { privateKey } }]) {
      const d = device(g, {}, changes);
      const payload = "温".repeat(5000);
      expect((await d.publish({ topic: "data", payload })).status).toBe(200);
    }
    expect(g.counts.accepted).toBe(2);
  });

  test("ignores a trailing dot of the host in SNI and certificate", async () => {
    const g = await gateway();
    const port = new URL(g.url).port;
    expect((await publish(device(g, {}, { url: `https://localhost.:${port}` }))).status).toBe(200);
    const host = createModdableHost({ trustAnchors: [rootOf(g)] });
    const request = { scheme: "https", host: "localhost.", port: Number(port), method: "POST", path: "/x" } as const;
    const sent = send(host, { ...request, headers: {}, body: new Uint8Array(0) });
    expect((await sent).status).toBeGreaterThan(0);
  });

  test("accepts trust anchors in DER or PEM, one or a list", async () => {
    const g = await gateway();
    const pem = g.ca as string;
    const other = makeClientCertificate().root;
    const forms = [
      rootOf(g),
      [rootOf(g).buffer],
      pem,
      [other, pem],
      `roots:\r\n${other}\n${pem.replace(/\n/g, "\r\n")}`,
    ];
    forms.push(Uint8Array.from(Buffer.from(pem)));
    for (const trustAnchors of forms as NonNullable<ModdableHostOptions["trustAnchors"]>[]) {
      expect((await publish(device(g, { trustAnchors }))).status).toBe(200);
    }
    expect((await failure(publish(device(g, { trustAnchors: other })))).code).toBe("CERTIFICATE_REJECTED");
  });

  test("works with mutual TLS", async () => {
    const client = makeClientCertificate({ keyType: "rsa" });
    const g = await gateway({ clientCertificate: { ca: client.root } });
    const key = createPrivateKey(client.key);
    const pem = Uint8Array.from(Buffer.from(client.chain));
    const pairs: Partial<ModdableHostOptions>[] = [
      { clientCertificate: client.chainDer, clientKey: key.export({ format: "der", type: "pkcs8" }) },
      { clientCertificate: client.chainDer[0], clientKey: key.export({ format: "der", type: "pkcs1" }) },
      { clientCertificate: client.chain, clientKey: client.key },
      { clientCertificate: [pem.buffer], clientKey: key.export({ format: "pem", type: "pkcs1" }) as string },
    ];
    for (const pair of pairs) expect((await publish(device(g, pair))).status).toBe(200);
    const error = await failure(publish(device(g)));
    expect(["TLS_FAILED", "CONNECTION_RESET"]).toContain(error.code);
  });

  test("resumes a session on the next connection, only with the same trust settings", async () => {
    const g = await gateway();
    const d = device(g);
    await publish(d);
    g.closeConnections();
    await until(() => network.open === 0);
    await publish(d);
    expect(g.counts).toMatchObject({ connections: 2, tlsHandshakes: 2, tlsResumptions: 1 });
    expect(await publish(device(g))).toMatchObject({ status: 200 });
    expect(g.counts).toMatchObject({ connections: 3, tlsResumptions: 1 });
  });

  test("random values of the client differ between two starts", async () => {
    const randoms: string[] = [];
    const server = await rawServer((socket) =>
      socket.once("data", (hello) => {
        randoms.push(hello.subarray(11, 43).toString("hex"));
        socket.end();
      }),
    );
    cleanups.push(() => server.close());
    const request = { scheme: "https", host: "127.0.0.1", port: server.port, method: "POST", path: "/" } as const;
    for (let start = 0; start < 2; start++) {
      restart();
      await failure(send(createModdableHost(), { ...request, headers: {}, body: new Uint8Array(0) }));
    }
    expect(randoms.length).toBe(2);
    expect(randoms[0]).not.toBe(randoms[1]);
  });
});

const sound: CertificateKind[] = ["chain", "direct", "rootVersion1", "ipName"];
const named: Partial<Record<CertificateKind, string>> = {
  wildcard: "device.gateway.test",
  wildcardTooWide: "device.test",
  wildcardPartial: "device.gateway.test",
  wildcardTwoLabels: "a.device.gateway.test",
};
const bad = (Object.keys(certificateKinds) as CertificateKind[]).filter(
  // A server with OpenSSL refuses to use a key for what it is not meant for; see the key exchange below.
  (kind) => !sound.includes(kind) && kind !== "wildcard" && kind !== "leafKeyUsage",
);

describe("certificates", () => {
  const certificateOptions = (kind: CertificateKind, keyType?: KeyType) => ({
    keyType,
    ...(named[kind] === undefined ? {} : { hosts: [named[kind]] }),
  });

  async function publishTo(kind: CertificateKind, hostOptions: object = {}, keyType?: KeyType) {
    const g = await gateway({ certificates: makeCertificates(kind, certificateOptions(kind, keyType)) });
    const host = named[kind];
    if (host) network.names.set(host, "127.0.0.1");
    const url = host ? `https://${host}:${g.port}` : g.url;
    return { g, result: publish(device(g, hostOptions, { url })) };
  }

  test.each([...sound, "wildcard"] as CertificateKind[])("%s is accepted", async (kind) => {
    expect((await (await publishTo(kind)).result).status).toBe(200);
  });

  test.each(["rsa", "ecdsa", "ecdsa-p384"] as const)("a chain of %s is accepted", async (keyType) => {
    // The key exchange is signed by a key on P-256 or by RSA.
    const leaf = keyType === "ecdsa-p384" ? "ecdsa" : keyType;
    const certificates = makeCertificates("chain", { keyType: { root: keyType, intermediate: keyType, leaf } });
    const g = await gateway({ certificates });
    expect((await publish(device(g))).status).toBe(200);
  });

  test.each(bad)("%s is rejected with a reason, and nothing is sent", async (kind) => {
    const { g, result } = await publishTo(kind);
    const error = await failure(result);
    expect(error).toMatchObject({ code: "CERTIFICATE_REJECTED", phase: "tls", errorClass: "certificate" });
    expect(error.message).toMatch(/^The certificate of .* was rejected: .+\.$/);
    expect(g.counts).toMatchObject({ requests: 0, tlsHandshakes: 0 });
  });

  test("an unsupported curve is reported", async () => {
    const g = await gateway({ certificateOptions: { keyType: { intermediate: "ecdsa-p521" } } });
    const error = await failure(publish(device(g)));
    expect(error.code).toBe("CERTIFICATE_REJECTED");
    expect(error.message).toContain("P-256 and P-384");
  });

  test("the bundled trust anchors do not accept the gateway's certificate", async () => {
    const g = await gateway();
    expect((await failure(publish(device(g, { trustAnchors: undefined })))).code).toBe("CERTIFICATE_REJECTED");
  });

  test("pins accept the right and a backup key, and reject a wrong one", async () => {
    const g = await gateway();
    const right = Buffer.from(g.certificates?.publicKeySha256 as string, "hex").toString("base64");
    const wrong = createHash("sha256").update("x").digest("base64");
    expect((await publish(device(g, { pins: [wrong, right] }))).status).toBe(200);
    expect((await failure(publish(device(g, { pins: [wrong] })))).message).toContain("does not match any pin");
  });

  test("verification can be disabled with dangerouslyAcceptAnyCertificate", async () => {
    const { result } = await publishTo("selfSigned", { dangerouslyAcceptAnyCertificate: true });
    expect((await result).status).toBe(200);
  });

  test("dates are compared with the host's clock", async () => {
    const g = await gateway({}, { windowSeconds: 1e9 });
    const d = device(g);
    clock.setDate(clock.realNow() + 366 * 86400000);
    expect((await failure(publish(d))).code).toBe("CERTIFICATE_REJECTED");
  });

  test("invalid options are rejected", () => {
    const client = makeClientCertificate({ keyType: "rsa" });
    const options = [
      { trustAnchors: [] },
      { trustAnchors: [Uint8Array.of(1, 2, 3)] },
      { pins: ["AAAA"] },
      { pins: ["not base64!"] },
      { clientCertificate: [Uint8Array.of(1)] },
      { clientKey: Uint8Array.of(1) },
      { trustAnchors: "-----BEGIN CERTIFICATE-----\nMIIB" },
      { trustAnchors: 5 as never },
      { clientCertificate: client.chain, clientKey: Uint8Array.of(1) },
      { clientCertificate: client.chain, clientKey: privateKey },
      { clientCertificate: makeClientCertificate({ keyType: "ecdsa" }).chain, clientKey: privateKey },
    ];
    for (const option of options) {
      expect(() => createHost(option)).toThrow(expect.objectContaining({ code: "INVALID_OPTION" }));
    }
  });
});

describe("faults of TLS", () => {
  const faults: [string, Fault, Partial<HttpsOptions>, string][] = [
    ["an alert instead of a response", { kind: "tls-alert" }, {}, "TLS_FAILED"],
    ["the end of the connection at once", { kind: "tls-close" }, {}, "TLS_FAILED|CONNECTION_RESET"],
    [
      "the end of the connection within the handshake",
      { kind: "tls-close", afterBytes: 100 },
      {},
      "TLS_FAILED|CONNECTION_RESET",
    ],
    ["a damaged signature of the key exchange, ECDSA", { kind: "tls-key-exchange" }, {}, "TLS_FAILED"],
    [
      "a damaged signature of the key exchange, RSA",
      { kind: "tls-key-exchange" },
      { certificateOptions: { keyType: "rsa" } },
      "TLS_FAILED",
    ],
    ["a reset before TLS", { kind: "reset", phase: "connect" }, {}, "CONNECTION_RESET|CONNECTION_REFUSED"],
  ];
  test.each(faults)("%s", async (_name, fault, https, codes) => {
    const g = await gateway(https);
    const d = device(g);
    g.faults.next(fault);
    const error = await failure(publish(d));
    expect(codes.split("|")).toContain(error.code);
    if (error.code === "TLS_FAILED") expect(error.phase).toBe("tls");
    expect(g.counts.requests).toBe(0);
    expect((await publish(d)).status).toBe(200);
  });

  test("a hanging handshake ends by its timeout", async () => {
    clock.stop();
    const g = await gateway();
    const host = createModdableHost({ trustAnchors: [rootOf(g)] });
    g.faults.next({ kind: "tls-hang" });
    const request = { scheme: "https", host: "127.0.0.1", port: g.port, method: "POST", path: "/" } as const;
    const sent = failure(
      send(host, { ...request, headers: {}, body: new Uint8Array(9) }, { phaseTimeoutsMs: { tls: 900 } }),
    );
    await until(() => clock.waiting.includes(900));
    await clock.advance(900);
    expect(await sent).toMatchObject({ code: "TIMEOUT", phase: "tls", retryable: true });
  });

  test.each<[string, HttpsOptions]>([
    ["TLS 1.1 only", { minVersion: "TLSv1.1", maxVersion: "TLSv1.1" }],
    ["TLS 1.3 only", { minVersion: "TLSv1.3" }],
    ["other curves only", { ecdhCurve: "P-521", ciphers: "ECDHE+AESGCM" }],
  ])("a server that speaks %s", async (_name, https) => {
    const g = await gateway(https);
    const error = await failure(publish(device(g)));
    expect(error).toMatchObject({ code: "TLS_FAILED", phase: "tls" });
    expect(g.counts.requests).toBe(0);
  });

  test("plain HTTP where TLS is expected", async () => {
    const server = await rawServer((socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad\r\n\r\n")));
    cleanups.push(() => server.close());
    const g = await gateway();
    const error = await failure(publish(device(g, {}, { url: `https://127.0.0.1:${server.port}` })));
    expect(["TLS_FAILED", "CONNECTION_RESET"]).toContain(error.code);
    expect(error.phase).toBe("tls");
  });
});

describe("the check of chains, on DER", () => {
  const trust = (root: Uint8Array, changes: Partial<Trust> = {}): Trust => ({
    anchors: [root],
    pins: [],
    acceptAnything: false,
    nowMs: () => Date.now(),
    ...changes,
  });
  const set = made("chain");

  function refusal(run: () => unknown): Rejection {
    try {
      run();
    } catch (error) {
      expect(error).toBeInstanceOf(Rejection);
      return error as Rejection;
    }
    throw new Error("was accepted");
  }

  test("accepts additional, repeated and reordered certificates", () => {
    const [leaf, intermediate] = set.chain;
    const other = made("direct").chain[0];
    for (const sent of [
      [leaf, intermediate, set.root],
      [leaf, other, intermediate, intermediate],
      [leaf, set.root, intermediate],
    ]) {
      expect(verifyChain(sent, "localhost", trust(set.root), sdkPrimitives).serverAuth).toBe(true);
    }
  });

  test("rejects no certificate, too many, and a loop", () => {
    const [leaf, intermediate] = set.chain;
    expect(refusal(() => verifyChain([], "localhost", trust(set.root), sdkPrimitives)).message).toContain("no cert");
    const many = Array(11).fill(intermediate);
    expect(refusal(() => verifyChain([leaf, ...many], "localhost", trust(set.root), sdkPrimitives)).message).toContain(
      "more than 10",
    );
    const stranger = made("selfSigned").root;
    const unknown = made("unknownRoot");
    refusal(() => verifyChain([...unknown.chain, unknown.root], "localhost", trust(stranger), sdkPrimitives));
  });

  test("rejects every truncation and modification, without other exceptions", () => {
    const [leaf, intermediate] = set.chain;
    let accepted = 0;
    for (let at = 0; at < leaf.length; at += 3) {
      const damaged = plain(leaf);
      damaged[at] ^= 1 << (at % 8);
      for (const der of [damaged, leaf.slice(0, at)]) {
        try {
          verifyChain([der, intermediate], "localhost", trust(set.root), sdkPrimitives);
          accepted++;
        } catch (error) {
          expect(error).toBeInstanceOf(Rejection);
        }
      }
    }
    expect(accepted).toBe(0);
  });

  test.each([
    ["localhost", true],
    ["127.0.0.1", true],
    ["127.0.0.2", false],
    ["localhost.test", false],
    ["", false],
  ])("the name %j: %s", (host, fits) => {
    const run = () => verifyChain(set.chain, host, trust(set.root), sdkPrimitives);
    if (fits) expect(run().ca).not.toBe(true);
    else expect(refusal(run).message).toMatch(/name|address/);
  });

  test("parses certificates as they were created", () => {
    const [leaf, intermediate] = set.chain.map((der) => new Certificate(der));
    expect(Buffer.from(leaf.subjectAltName ?? []).toString("latin1")).toContain("localhost");
    expect([intermediate.ca, intermediate.pathLength]).toEqual([true, 0]);
    expect(createHash("sha256").update(leaf.spki).digest("hex")).toBe(set.publicKeySha256);
    expect(new Certificate(made("rootVersion1").root).ca).toBeUndefined();
  });

  test("the bundled trust anchors are RSA and EC roots", () => {
    const anchors = [...defaultAnchors(), ...digicertGlobalRootCA()].map((der) => new Certificate(der));
    expect(anchors.length).toBe(6);
    for (const anchor of anchors) {
      expect(anchor.ca).toBe(true);
      expect(Buffer.from(anchor.subject).equals(Buffer.from(anchor.issuer))).toBe(true);
      expect(anchor.notAfterMs).toBeGreaterThan(Date.UTC(2027, 0, 1));
      // It signed itself, and its key can be calculated with.
      expect(["rsa", "ec"]).toContain(anchor.publicKey().type);
    }
  });

  test("compares RSA signatures with a new encoding", () => {
    const rsa = made("chain", { keyType: "rsa" });
    expect(verifyChain(rsa.chain, "localhost", trust(rsa.root), sdkPrimitives).ca).not.toBe(true);
    RSA.broken = true;
    expect(refusal(() => verifyChain(rsa.chain, "localhost", trust(rsa.root), sdkPrimitives)).alert).toBe(42);
  });
});
