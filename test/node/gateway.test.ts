/** The library on Node against the local gateway, over real sockets and real TLS. */

import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import {
  createHost,
  createMemoryStorage,
  Device,
  type DeviceOptions,
  type NodeHostOptions,
} from "../../host/node/index.js";
import type { NativeDigest, NativeRsa } from "../../src/host.js";
import { type GatewayOptions, makeClientCertificate, startGateway } from "../../tools/gateway/index.js";
import { cleanups } from "../support/cleanups.js";
import { failure } from "../support/failure.js";
import { makeRsaKeys, psk } from "../support/keys.js";
import { send } from "../support/send.js";

const { privatePem: privateKey, publicPem: publicKey } = makeRsaKeys();
const devices = {
  products: { G8N9VAAAHB: { devices: { key: { psk }, sha1: { psk }, cert: { publicKey } } } },
};

async function gateway(options: GatewayOptions) {
  const g = await startGateway({ devices, ...options });
  cleanups.push(() => g.close());
  return g;
}

function device(url: string, changes: Partial<DeviceOptions> = {}, hostOptions: NodeHostOptions = {}): Device {
  const host = createHost(hostOptions);
  const options = { productId: "G8N9VAAAHB", deviceName: "key", credential: { secret: psk }, url, ...changes };
  const d = new Device(options, host);
  cleanups.push(() => {
    d.close();
    host.http.close();
  });
  return d;
}

const credentials: [string, string, DeviceOptions["credential"]][] = [
  ["a key, HMAC-SHA256", "key", { secret: psk }],
  ["a key, HMAC-SHA1", "sha1", { secret: psk, algorithm: "hmacsha1" }],
  ["a certificate's key, RSA-SHA256", "cert", { privateKey }],
];

test.each(credentials)("with native: true, node:crypto signs with %s", async (_name, deviceName, credential) => {
  const host = createHost({ native: true });
  const calls: string[] = [];
  const counting = {
    ...host,
    digest: {
      sha256: (...parts: Uint8Array[]) => {
        calls.push("sha256");
        return (host.digest as NativeDigest).sha256(...parts);
      },
    },
    rsa: {
      sign: (key: Uint8Array, message: Uint8Array) => {
        calls.push("rsa");
        return (host.rsa as NativeRsa).sign(key, message);
      },
    },
  };
  const g = await gateway({});
  const d = new Device({ productId: "G8N9VAAAHB", deviceName, credential, url: g.url }, counting);
  cleanups.push(() => {
    d.close();
    host.http.close();
  });
  expect((await d.publish({ topic: "data", payload: { t: "21.5 °C" } })).status).toBe(200);
  const wanted = { key: ["sha256"], sha1: [], cert: ["sha256", "rsa"] }[deviceName] ?? [];
  expect(new Set(calls)).toEqual(new Set(wanted));
});

test("without native, node:crypto is not used", () => {
  const host = createHost();
  cleanups.push(() => host.http.close());
  expect([host.digest, host.rsa]).toEqual([undefined, undefined]);
});

test("a trailing dot of the host is removed for signature, Host header, SNI and certificate", async () => {
  for (const https of [false, true]) {
    const g = await gateway({ https });
    const url = `${https ? "https" : "http"}://localhost.:${new URL(g.url).port}`;
    const loopback = (_name: string, options: { all?: boolean }, done: (...all: unknown[]) => void) =>
      options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
    const lookup = loopback as NodeHostOptions["lookup"];
    expect(
      (await device(url, {}, { trustAnchors: g.ca, lookup }).publish({ topic: "data", payload: "1" })).status,
    ).toBe(200);
    // A request that does not come from a device, to the name with its dot.
    const { http } = createHost({ trustAnchors: g.ca, lookup });
    cleanups.push(() => http.close());
    const port = Number(new URL(g.url).port);
    const request = { scheme: https ? "https" : "http", host: "localhost.", port, method: "POST", path: "/" } as const;
    const response = await send(http, { ...request, headers: {}, body: new Uint8Array(0) });
    expect(response.status).toBeGreaterThan(0);
  }
});

for (const https of [false, true]) {
  describe(https ? "HTTPS" : "HTTP", () => {
    test.each(credentials)("%s is verified with any payload", async (_name, deviceName, credential) => {
      const g = await gateway({ https });
      const d = device(g.url, { deviceName, credential }, { trustAnchors: g.ca });
      for (const payload of ["温度\0\u2028😀\ud800", { t: 21.5 }, Uint8Array.of(0, 128, 255), "", "x".repeat(16384)]) {
        const { requestId } = await d.publish({ topic: "data", payload, qos: 0 });
        expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
      }
      expect(g.received.length).toBe(5);
      expect(g.counts.connections).toBe(1);
      expect(g.received.every((r) => r.status === 200)).toBe(true);
    });
  });
}

test("ten publishes use one connection and one TLS handshake", async () => {
  const g = await gateway({ https: true });
  const d = device(g.url, {}, { trustAnchors: g.ca });
  for (let i = 0; i < 10; i++) {
    const { timing } = await d.publish({ topic: "data", payload: { i } });
    expect(timing.reused).toBe(i > 0);
    expect((timing.tlsMs === undefined) === i > 0).toBe(true);
  }
  expect(g.counts).toMatchObject({ connections: 1, tlsHandshakes: 1 });
});

test("a gateway restart between two publishes loses no message", async () => {
  const g = await gateway({ https: true });
  const d = device(g.url, {}, { trustAnchors: g.ca });
  await d.publish({ topic: "data", payload: "1" });
  g.closeConnections();
  await d.publish({ topic: "data", payload: "2" });
  expect(g.received.length).toBe(2);
});

describe("certificates", () => {
  test.each(["chain", "direct", "ipName"] as const)("%s is accepted", async (certificates) => {
    const g = await gateway({ https: { certificates } });
    const d = device(g.url, {}, { trustAnchors: g.ca });
    expect((await d.publish({ topic: "data", payload: "1" })).status).toBe(200);
  });

  test.each([
    "expired",
    "notYetValid",
    "wrongName",
    "unknownRoot",
    "selfSigned",
    "forgedLeaf",
    "issuerNotCa",
    "expiredInChain",
    "incomplete",
  ] as const)("%s is rejected, and nothing is sent", async (certificates) => {
    const g = await gateway({ https: { certificates } });
    const d = device(g.url, {}, { trustAnchors: g.ca });
    const error = await failure(d.publish({ topic: "data", payload: "1" }));
    expect(error).toMatchObject({ code: "CERTIFICATE_REJECTED", phase: "tls", errorClass: "certificate" });
    expect(g.received.length).toBe(0);
  });

  test("Node's bundled certificates do not accept the gateway's", async () => {
    const g = await gateway({ https: true });
    expect((await failure(device(g.url).publish({ topic: "data", payload: "1" }))).code).toBe("CERTIFICATE_REJECTED");
  });

  test("mutual TLS", async () => {
    const client = makeClientCertificate();
    const g = await gateway({ https: { clientCertificate: { ca: client.root } } });
    const d = device(g.url, {}, { trustAnchors: g.ca, clientCertificate: client.chain, clientKey: client.key });
    expect((await d.publish({ topic: "data", payload: "1" })).status).toBe(200);
    const key = createPrivateKey(client.key);
    for (const type of ["pkcs8", "sec1"] as const) {
      const tls = { clientCertificate: client.chainDer, clientKey: key.export({ format: "der", type }) };
      const der = device(g.url, {}, { trustAnchors: g.ca, ...tls });
      expect((await der.publish({ topic: "data", payload: "1" })).status).toBe(200);
    }
    const without = device(g.url, {}, { trustAnchors: g.ca });
    const error = await failure(without.publish({ topic: "data", payload: "1" }));
    expect(["TLS_FAILED", "CONNECTION_RESET"]).toContain(error.code);
  });

  test("trust anchors are accepted in PEM or DER, one or a list", async () => {
    const g = await gateway({ https: true });
    const pem = g.ca as string;
    const der = g.certificates?.rootDer as Buffer;
    const other = makeClientCertificate().root;
    for (const trustAnchors of [pem, der, [der], [other, pem], other + pem, Buffer.from(`\ufeff${pem}`)]) {
      const d = device(g.url, {}, { trustAnchors });
      expect((await d.publish({ topic: "data", payload: "1" })).status).toBe(200);
    }
    const error = await failure(device(g.url, {}, { trustAnchors: other }).publish({ topic: "data", payload: "1" }));
    expect(error.code).toBe("CERTIFICATE_REJECTED");
  });

  test("an unusable certificate or key is rejected by createHost", () => {
    const { chain, key } = makeClientCertificate();
    const refused = { code: "INVALID_OPTION", message: expect.stringMatching(/clientKey|clientCertificate/) };
    for (const pair of [
      { clientCertificate: "x", clientKey: "y" },
      { clientCertificate: chain, clientKey: "y" },
      { clientCertificate: chain, clientKey: Uint8Array.of(48, 0) },
      { clientCertificate: chain, clientKey: privateKey },
      { clientCertificate: chain },
      { clientKey: key },
    ]) {
      expect(() => createHost(pair)).toThrow(expect.objectContaining(refused));
    }
  });

  test.each([["ca"], ["systemCa"], ["cert"], ["key"]])("the option %s of earlier versions is unknown", (name) => {
    expect(() => createHost({ [name]: "x" })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", message: expect.stringContaining("trustAnchors") }),
    );
  });
});

describe("rejections reach the caller", () => {
  test.each<[string, Partial<DeviceOptions>, string]>([
    ["a wrong psk", { credential: { secret: "AAAAAAAAAAAAAAAAAAAAAA==" } }, "AuthFailure"],
    ["a wrong device", { deviceName: "nobody" }, "ResourceNotFound"],
    ["a wrong product", { productId: "nothing" }, "ResourceNotFound"],
  ])("%s", async (_name, changes, prefix) => {
    const g = await gateway({});
    const error = await failure(device(g.url, changes).publish({ topic: "data", payload: "1" }));
    expect(error.code).toBe("GATEWAY_REJECTED");
    expect(error.gatewayCode).toMatch(new RegExp(`^${prefix}`));
    expect(error.message).not.toContain(psk);
  });

  test("wrong clock, with the gateway's time", async () => {
    const g = await gateway({ clockSkewSeconds: 7200 });
    const d = device(g.url, { clockCorrection: false });
    const error = await failure(d.publish({ topic: "data", payload: "1" }));
    expect(error.gatewayCode).toBe("AuthFailure.SignatureExpire");
    const ahead = (error.dateMs as number) - Date.now();
    expect(ahead).toBeGreaterThan(7_100_000);
    expect(ahead).toBeLessThan(7_300_000);
  });

  test("wrong clock is corrected, and the offset stored, unless disabled", async () => {
    const g = await gateway({ clockSkewSeconds: 7200 });
    const host = { ...createHost(), storage: createMemoryStorage() };
    cleanups.push(() => host.http.close());
    const options = { productId: "G8N9VAAAHB", deviceName: "key", credential: { secret: psk }, url: g.url };
    for (const attempts of [2, 1]) {
      const d = new Device(options, host);
      expect((await d.publish({ topic: "data", payload: "1" })).attempts).toBe(attempts);
      d.close();
    }
    const [refused, ...others] = g.received.map(({ headers }) => Number(headers["x-tc-timestamp"]));
    expect(others.every((seconds) => Math.abs(seconds - refused - 7200) < 60)).toBe(true);
  });

  test("topic without permission to publish", async () => {
    const g = await gateway({});
    const error = await failure(device(g.url).publish({ topic: "control", payload: "1" }));
    expect(error.gatewayCode).toMatch(/^UnauthorizedOperation/);
  });
});

test("the key of the test vectors is accepted for its device", async () => {
  const peers = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));
  const pem: string = peers.rsa_test_key["rsa2048_pkcs1.pem"];
  const { createPublicKey } = await import("node:crypto");
  const own = createPublicKey(pem).export({ format: "pem", type: "spki" }) as string;
  const g = await gateway({ devices: { products: { P: { devices: { D: { publicKey: own } } } } } });
  const d = device(g.url, { productId: "P", deviceName: "D", credential: { privateKey: pem } });
  expect((await d.publish({ topic: "data", payload: "1" })).status).toBe(200);
});
