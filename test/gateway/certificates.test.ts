import { constants, createHash, X509Certificate } from "node:crypto";
import { Agent } from "node:https";
import { connect } from "node:tls";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type CertificateKind,
  certificateKinds,
  type Gateway,
  type GatewayOptions,
  type HttpsOptions,
  makeCertificates,
  makeClientCertificate,
  startGateway,
} from "../../tools/gateway/index.js";
import { send } from "../support/gateway-client.js";
import { psk } from "../support/keys.js";

const devices = { products: { P1: { devices: { dev1: { psk } } } } };
const open: Gateway[] = [];
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
});

async function start(https: HttpsOptions, options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway({ devices, https, ...options });
  open.push(gateway);
  return gateway;
}

/**
 * What OpenSSL, through Node, makes of each kind; `ok` for those of the second group stands for what Node lets pass.
 */
const verdicts: Record<CertificateKind, string> = {
  chain: "ok",
  direct: "ok",
  rootVersion1: "ok",
  wildcard: "ok",
  ipName: "ok",
  expired: "CERT_HAS_EXPIRED",
  notYetValid: "CERT_NOT_YET_VALID",
  wrongName: "ERR_TLS_CERT_ALTNAME_INVALID",
  noName: "ok",
  unknownRoot: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  selfSigned: "DEPTH_ZERO_SELF_SIGNED_CERT",
  forgedLeaf: "CERT_SIGNATURE_FAILURE",
  issuerNotCa: "INVALID_PURPOSE",
  issuerWithoutConstraints: "INVALID_CA",
  expiredInChain: "CERT_HAS_EXPIRED",
  expiredIntermediate: "CERT_HAS_EXPIRED",
  sha1Link: "CA signature digest algorithm too weak",
  pathTooLong: "PATH_LENGTH_EXCEEDED",
  issuerKeyUsage: "key usage does not include certificate signing",
  leafKeyUsage: "INVALID_PURPOSE",
  clientOnly: "INVALID_PURPOSE",
  unknownCritical: "unhandled critical extension",
  incomplete: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  wildcardTooWide: "ERR_TLS_CERT_ALTNAME_INVALID",
  wildcardPartial: "ok",
  wildcardTwoLabels: "ERR_TLS_CERT_ALTNAME_INVALID",
};

const kinds = Object.keys(certificateKinds) as CertificateKind[];

test("every certificate kind has an expected verdict", () => {
  expect(Object.keys(verdicts)).toEqual(kinds);
});

test.each(kinds)("%s", async (certificates) => {
  const gateway = await start({ certificates });
  const servername = certificates.startsWith("wildcard") ? "device.gateway.test" : "localhost";
  // OpenSSL's name if Node has none.
  const verdict = await send(gateway, { servername, tls: certificates === "ipName" ? { servername: "" } : {} }).then(
    () => "ok",
    (error: NodeJS.ErrnoException) => (error.code === "UNSPECIFIED" ? error.message : error.code),
  );
  expect(verdict).toBe(verdicts[certificates]);
  expect(gateway.counts.requests).toBe(verdict === "ok" ? 1 : 0);
});

test("certificates that OpenSSL accepts have the announced fault", () => {
  const leaf = (kind: CertificateKind): X509Certificate => new X509Certificate(makeCertificates(kind).chainDer[0]);
  expect(leaf("noName").subjectAltName).toBeUndefined();
  expect(leaf("noName").subject).toBe("CN=localhost");
  expect(leaf("wildcardPartial").subjectAltName).toBe("DNS:dev*.gateway.test");
  expect(leaf("wildcardTooWide").subjectAltName).toBe("DNS:*.test");
});

describe.each(["rsa", "ecdsa", "ecdsa-p384", "ecdsa-p521"] as const)("%s", (keyType) => {
  test("root, intermediate and leaf, for names and addresses", () => {
    const hosts = ["gateway.test", "*.gateway.test", "127.0.0.1", "::1"];
    const made = makeCertificates("chain", { keyType, hosts });
    const [leaf, intermediate] = made.chainDer.map((der) => new X509Certificate(der));
    const root = new X509Certificate(made.rootDer);
    expect(leaf.subjectAltName).toBe(
      "DNS:gateway.test, DNS:*.gateway.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
    );
    expect([leaf.ca, intermediate.ca, root.ca]).toEqual([false, true, true]);
    expect(leaf.verify(intermediate.publicKey)).toBe(true);
    expect(intermediate.verify(root.publicKey)).toBe(true);
    expect(root.verify(root.publicKey)).toBe(true);
    expect([leaf.checkIssued(intermediate), intermediate.checkIssued(root)]).toEqual([true, true]);
    expect(leaf.publicKey.asymmetricKeyType).toBe(keyType === "rsa" ? "rsa" : "ec");
    expect(made.chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    const spki = leaf.publicKey.export({ type: "spki", format: "der" });
    expect(made.publicKeySha256).toBe(createHash("sha256").update(spki).digest("hex"));
  });
});

test("key types per level and the time can be set", () => {
  const nowMs = Date.UTC(2036, 1, 7, 6, 28, 16);
  const made = makeCertificates("chain", { keyType: { root: "rsa", leaf: "ecdsa" }, nowMs });
  const [leaf] = made.chainDer.map((der) => new X509Certificate(der));
  expect(new X509Certificate(made.rootDer).publicKey.asymmetricKeyType).toBe("rsa");
  expect(Date.parse(leaf.validFrom)).toBeLessThan(nowMs);
  expect(Date.parse(leaf.validTo)).toBeGreaterThan(nowMs);
  expect(Date.parse(leaf.validFrom)).toBeGreaterThan(nowMs - 366 * 86_400_000);
});

test("an unknown certificate kind is rejected", () => {
  expect(() => makeCertificates("good" as CertificateKind)).toThrow(
    expect.objectContaining({ code: "INVALID_OPTION" }),
  );
});

test("one connection carries many messages, and its session can be resumed", async () => {
  const gateway = await start({ maxVersion: "TLSv1.2" });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 5; i++) await send(gateway, { agent });
  expect(gateway.counts).toMatchObject({ connections: 1, tlsHandshakes: 1, tlsResumptions: 0, accepted: 5 });
  gateway.closeConnections();
  while (Object.keys(agent.freeSockets).length > 0) await new Promise((resolve) => setImmediate(resolve));
  await send(gateway, { agent });
  agent.destroy();
  expect(gateway.counts).toMatchObject({ connections: 2, tlsHandshakes: 2, tlsResumptions: 1 });
  expect(gateway.received.map(({ connection }) => [connection.id, connection.tls?.resumed])).toEqual([
    ...Array(5).fill([1, false]),
    [2, true],
  ]);
  expect(gateway.received[0].connection.tls).toMatchObject({ protocol: "TLSv1.2" });
});

test.each<[string, boolean, number, boolean]>([
  ["ticket", true, 0, true],
  ["identifier", true, constants.SSL_OP_NO_TICKET, true],
  ["ticket", false, 0, false],
  ["identifier", false, constants.SSL_OP_NO_TICKET, false],
])("a session by %s, resumption offered: %s", async (_how, resumption, secureOptions, resumed) => {
  const gateway = await start({ maxVersion: "TLSv1.2", resumption });
  const { port, ca } = gateway;
  let session: Buffer | undefined;
  const seen: boolean[] = [];
  for (let i = 0; i < 2; i++) {
    const socket = connect({ host: "127.0.0.1", port, ca, servername: "localhost", secureOptions, session });
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    session = socket.getSession();
    seen.push(socket.isSessionReused());
    socket.destroy();
  }
  expect(seen).toEqual([false, resumed]);
});

test("TLS versions and ciphers can be limited, and failed handshakes are recorded", async () => {
  const gateway = await start({ minVersion: "TLSv1", maxVersion: "TLSv1.1" });
  await expect(send(gateway)).rejects.toThrow(/protocol version|unsupported protocol/);
  expect(gateway.tlsErrors).toMatchObject([{ connectionId: 1, code: "ERR_SSL_UNSUPPORTED_PROTOCOL" }]);
  expect(gateway.counts).toMatchObject({ tlsHandshakes: 0, tlsFailures: 1 });
  const old = { minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" };
  expect((await send(gateway, { tls: old })).code).toBeUndefined();
  const one = await start({ maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" });
  await send(one);
  expect(one.received[0].connection.tls?.cipher).toBe("ECDHE-ECDSA-AES128-GCM-SHA256");
});

test("a client that disconnects during the handshake is counted", async () => {
  const gateway = await start({});
  const socket = connect({ host: "127.0.0.1", port: gateway.port });
  const [error] = await new Promise<Error[]>((resolve) => socket.once("error", (...all) => resolve(all)));
  expect(error.message).toMatch(/unable to get local issuer|unable to verify/);
  socket.destroy();
  await gateway.close();
  expect(gateway.counts.openConnections).toBe(0);
  expect(gateway.counts.tlsFailures + gateway.counts.tlsHandshakes).toBe(1);
});

test("mutual TLS rejects a client without a valid certificate", async () => {
  const client = makeClientCertificate({ name: "P1dev1" });
  const stranger = makeCertificates("selfSigned");
  const gateway = await start({ clientCertificate: { ca: client.root }, maxVersion: "TLSv1.2" });
  expect((await send(gateway, { tls: { key: client.key, cert: client.chain } })).code).toBeUndefined();
  expect(gateway.received[0].connection.tls).toMatchObject({ clientName: "P1dev1", clientTrusted: true });
  await expect(send(gateway)).rejects.toThrow();
  await expect(send(gateway, { tls: { key: stranger.key, cert: stranger.chain } })).rejects.toThrow();
  expect(gateway.counts).toMatchObject({ requests: 1, tlsFailures: 2 });
  const lax = await start({ clientCertificate: { ca: client.root, required: false } });
  await send(lax, { tls: { key: stranger.key, cert: stranger.chain } });
  expect(lax.received[0].connection.tls).toMatchObject({ clientName: "localhost", clientTrusted: false });
  await send(lax);
  expect(lax.received[1].connection.tls).not.toHaveProperty("clientName");
});
