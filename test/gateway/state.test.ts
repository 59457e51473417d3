import { spawnSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import { isPrivateAddress, issueCertificate, makeAuthority, readAuthority } from "../../tools/gateway/authority.js";
import { build } from "../../tools/gateway/certificates.js";
import {
  type Gateway,
  type GatewayOptions,
  GatewayState,
  type Interfaces,
  localAddresses,
  startGateway,
} from "../../tools/gateway/index.js";
import { message, send } from "../support/gateway-client.js";

const open: Gateway[] = [];
const folders: string[] = [];
afterEach(async () => {
  for (const gateway of open.splice(0)) await gateway.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "tencent-iothub-state-"));
  folders.push(folder);
  return folder;
}

async function start(options: GatewayOptions): Promise<Gateway> {
  const gateway = await startGateway(options);
  open.push(gateway);
  return gateway;
}

function mode(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

async function publishSample(gateway: Gateway, tls: object = {}): Promise<number> {
  const { productId, deviceName, psk } = gateway.sample as { productId: string; deviceName: string; psk: string };
  const body = message({ ProductId: productId, DeviceName: deviceName, TopicName: `${productId}/${deviceName}/data` });
  return (await send(gateway, { body, secret: psk, tls })).status;
}

async function register(gateway: Gateway, DeviceName: string): Promise<{ code: string | undefined; text: string }> {
  const { productId, productSecret } = gateway.sample as { productId: string; productSecret: string };
  const body = JSON.stringify({ ProductId: productId, DeviceName });
  const { code, text } = await send(gateway, { path: "/device/register", body, secret: productSecret });
  return { code, text };
}

const payloadOf = (text: string): string => JSON.parse(text).Response.Payload;

describe("the state folder", () => {
  test("keeps CA, sample device and registrations over restarts, and the leaf is new", async () => {
    const state = join(temporary(), "state");
    const first = await start({ state, https: true });
    expect(await publishSample(first)).toBe(200);
    const issued = await register(first, "board1");
    await first.close();
    const second = await start({ state, https: true });
    expect(second.sample).toEqual(first.sample);
    expect(second.ca).toBe(first.ca);
    expect(second.caFile).toBe(join(state, "ca.pem"));
    expect(readFileSync(join(state, "ca.pem"), "utf8")).toBe(first.ca);
    expect(readFileSync(join(state, "gateway-root.der"))).toEqual(first.certificates?.rootDer);
    expect(second.certificates?.chain).not.toBe(first.certificates?.chain);
    expect(await publishSample(second)).toBe(200);
    expect(second.devices.find("SAMPLE0001", "board1")).toBeDefined();
    expect(payloadOf((await register(second, "board1")).text)).toBe(payloadOf(issued.text));
    expect(second.received.at(-1)?.registrationState).toBe(1);
  });

  test("is readable by its owner only and ignored by git", async () => {
    const state = join(temporary(), "deep", "state");
    const gateway = await start({ state, https: true });
    await register(gateway, "board1");
    expect(mode(state)).toBe("700");
    const secret = ["ca.key", "registrations.json", "sample.json"];
    expect(secret.map((name) => mode(join(state, name)))).toEqual(["600", "600", "600"]);
    expect(mode(join(state, "ca.pem"))).toBe("644");
    expect(readFileSync(join(state, ".gitignore"), "utf8")).toBe("*\n");
    expect(readdirSync(state).sort()).toEqual([
      ...[".gitignore", "ca.key", "ca.pem", "gateway-root.der", "registrations.json", "sample.json"],
    ]);
  });

  test("keeps registrations of devices of a devices file", async () => {
    const state = join(temporary(), "state");
    const productSecret = "0123456789abcdef";
    const devices = { products: { P1: { productSecret, registration: { again: "renew" as const } } } };
    const first = await start({ state, devices });
    const body = JSON.stringify({ ProductId: "P1", DeviceName: "board1" });
    const issued = await send(first, { path: "/device/register", body, secret: productSecret });
    expect(issued.status).toBe(200);
    const { credential } = first.devices.find("P1", "board1") as { credential: object };
    await first.close();
    expect((await start({ state, devices })).devices.find("P1", "board1")?.credential).toEqual(credential);
    // Not while its product is not described, but it is kept until it is again.
    expect((await start({ state, devices: { products: {} } })).devices.size).toBe(0);
    expect((await start({ state, devices })).devices.size).toBe(1);
  });

  test("refuses a registration that cannot be saved", async () => {
    const state = join(temporary(), "state");
    const gateway = await start({ state });
    rmSync(state, { recursive: true });
    writeFileSync(state, "");
    expect((await register(gateway, "board1")).code).toBe("InternalError");
    expect(gateway.devices.find("SAMPLE0001", "board1")).toBeUndefined();
  });

  test("may be shared by two gateways", async () => {
    const state = join(temporary(), "state");
    const [one, two] = [await start({ state, https: true }), await start({ state, https: true })];
    expect(two.ca).toBe(one.ca);
    await register(one, "board1");
    await register(two, "board2");
    await register(one, "board3");
    const third = await start({ state });
    expect([1, 2, 3].map((i) => third.devices.find("SAMPLE0001", `board${i}`) !== undefined)).toEqual([
      true,
      true,
      true,
    ]);
  });

  test.each([
    ["ca.key", "", "it has no private key in PEM"],
    ["ca.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it has no certificate in PEM"],
    ["sample.json", "{", "it is not a JSON object"],
    ["sample.json", '{"productId":"A"}', "it does not describe a device"],
    ["registrations.json", "\0\0\0", "it is not a JSON object"],
    ["registrations.json", '{"SAMPLE0001":1}', "a product is no object"],
    ["registrations.json", '{"SAMPLE0001":{"a":{"device":{}}}}', "needs exactly one of psk, publicKey and certificate"],
  ])("with a damaged %s (%j) is one clear sentence", async (name, content, reason) => {
    const state = join(temporary(), "state");
    await (await start({ state, https: true })).close();
    writeFileSync(join(state, name), content, { mode: 0o600 });
    const error = await startGateway({ state, https: true }).catch((error) => error);
    expect(error).toMatchObject({ name: "GatewayError", code: "STATE_DAMAGED" });
    expect(error.message).toContain(reason);
    expect(error.message).toContain(join(state, name));
    expect(error.message).toMatch(/^[^\n]+ is damaged \([^\n]+\): restore it, or delete it [^\n]+\.$/);
  });

  test("with a key that does not match the certificate is damaged", () => {
    const [a, b] = [makeAuthority([], Date.now()), makeAuthority([], Date.now())];
    expect(() => readAuthority(a.key + b.certificate)).toThrow("its key does not match its certificate");
    const leaf = issueCertificate(a, ["localhost"], Date.now());
    expect(() => readAuthority(leaf.key + leaf.chain)).toThrow("its certificate is not that of a CA");
  });

  const posix = process.platform !== "win32" ? test : test.skip;
  posix("that others can change, or with secrets that others can read, is refused", () => {
    const state = join(temporary(), "state");
    new GatewayState(state).sample();
    chmodSync(join(state, "sample.json"), 0o644);
    expect(() => new GatewayState(state).sample()).toThrow(/^Other users can read .*sample\.json \(mode 0644\)/);
    chmodSync(state, 0o777);
    expect(() => new GatewayState(state)).toThrow(/^Other users can change .* \(mode 0777\): run chmod 700 /);
  });

  test("that cannot be created is one clear sentence", () => {
    const folder = temporary();
    writeFileSync(join(folder, "file"), "");
    expect(() => new GatewayState(join(folder, "file", "state"))).toThrow(/cannot be used \(ENOTDIR\)\.$/);
    const state = new GatewayState(join(folder, "a", "b"));
    writeFileSync(join(folder, "a"), "");
    expect(() => state.sample()).toThrow(/\((ENOTDIR|EEXIST)\)\.$/);
  });

  test("is not created while there is nothing to keep", async () => {
    const state = join(temporary(), "state");
    const gateway = await start({ state, devices: { products: { P1: { productSecret: "0123456789abcdef" } } } });
    expect(existsSync(state)).toBe(false);
    const body = JSON.stringify({ ProductId: "P1", DeviceName: "board1" });
    await send(gateway, { path: "/device/register", body, secret: "0123456789abcdef" });
    expect(readdirSync(state).sort()).toEqual([".gitignore", "registrations.json"]);
  });

  test("that exists keeps its content and gets no .gitignore", () => {
    const folder = temporary();
    const state = join(folder, "mine");
    mkdirSync(state, { mode: 0o700 });
    new GatewayState(state).sample();
    expect(existsSync(join(state, ".gitignore"))).toBe(false);
  });
});

describe("the CA of the state folder", () => {
  const nowMs = Date.now();
  const hosts = ["localhost", "127.0.0.1", "192.168.1.5", "desk.example.com", "pc.local"];

  test("issues for local names, its own names and private addresses only", () => {
    const authority = makeAuthority(["desk.example.com"], nowMs);
    const leaf = new X509Certificate(issueCertificate(authority, hosts, nowMs).chain);
    expect(leaf.subjectAltName).toBe(
      "DNS:localhost, IP Address:127.0.0.1, IP Address:192.168.1.5, DNS:desk.example.com, DNS:pc.local",
    );
    expect(leaf.checkIssued(new X509Certificate(authority.certificate))).toBe(true);
    expect(() => issueCertificate(authority, ["example.com"], nowMs)).toThrow(
      "The CA may not issue for example.com, only",
    );
    expect(() => issueCertificate(authority, ["notlocal"], nowMs)).toThrow("The CA may not issue for notlocal");
    expect(() => issueCertificate(authority, ["203.0.113.1"], nowMs)).toThrow("203.0.113.1 is a public address");
    expect(() => issueCertificate(authority, ["*.local"], nowMs)).toThrow('"*.local" is not a DNS name in lower case.');
    expect(() => makeAuthority(["Desk"], nowMs)).toThrow('"Desk" is not a DNS name in lower case.');
    expect(() => issueCertificate(authority, ["localhost"], nowMs + 3651 * 86_400_000)).toThrow(/^The CA expired on /);
  });

  test("never outlives itself in what it issues", () => {
    const authority = makeAuthority([], nowMs);
    const leaf = issueCertificate(authority, ["localhost"], nowMs + 3640 * 86_400_000);
    expect(Date.parse(new X509Certificate(leaf.chain).validTo)).toBe(
      Date.parse(new X509Certificate(authority.certificate).validTo),
    );
  });

  test("is accepted by Node for a permitted name, and refused by it for another", async () => {
    const authority = makeAuthority([], nowMs);
    const good = await start({
      https: { certificates: issueCertificate(authority, ["localhost", "127.0.0.1"], nowMs) },
    });
    await send(good);
    expect(good.received[0].connection.tls).toBeDefined();
    const bad = await start({
      https: { certificates: stolen(authority.key, authority.der, ["localhost", "example.com"]) },
    });
    await expect(send(bad)).rejects.toThrow("permitted subtree violation");
  });

  const openssl = spawnSync("openssl", ["version"]).status === 0;
  if (!openssl) console.log("skipped: openssl is not installed, so it does not judge the CA's constraints");
  (openssl ? test : test.skip).each([
    [hosts, "OK"],
    [["10.1.2.3", "172.31.255.255", "169.254.1.1", "100.64.0.1", "fe80::1", "fd00::1", "::1"], "OK"],
    [["a.b.lan", "test", "x.home.arpa", "y.internal"], "OK"],
    [["localhost", "example.com"], "permitted subtree violation"],
    [["localhost", "172.32.0.1"], "permitted subtree violation"],
    [["localhost", "2001:db8::1"], "permitted subtree violation"],
    [["evillocal"], "permitted subtree violation"],
  ])("is judged by OpenSSL in its strict mode: %j is %s", (names, outcome) => {
    const folder = temporary();
    const authority = makeAuthority(["desk.example.com"], nowMs);
    const { chain } = stolen(authority.key, authority.der, names);
    writeFileSync(join(folder, "ca.pem"), authority.certificate);
    writeFileSync(join(folder, "leaf.pem"), chain);
    const args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", join(folder, "ca.pem")];
    const { stdout, stderr } = spawnSync("openssl", [...args, join(folder, "leaf.pem")], { encoding: "utf8" });
    expect(stdout + stderr).toContain(outcome);
  });

  const curl = spawnSync("curl", ["--version"]).status === 0;
  if (!curl) console.log("skipped: curl is not installed, so it does not judge the CA's constraints");
  (curl ? test : test.skip)("is accepted by curl with --cacert", async () => {
    const state = join(temporary(), "state");
    const gateway = await start({ state, https: true });
    const { spawn } = await import("node:child_process");
    const child = spawn("curl", ["-sS", "--max-time", "20", "--cacert", gateway.caFile as string, `${gateway.url}/x`]);
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (part) => {
        text += part;
      });
    await new Promise((resolve) => child.on("close", resolve));
    expect(text).toContain("InvalidAction");
  });
});

/** What a thief of the CA's key could issue: a leaf for any names. */
function stolen(key: string, caDer: Buffer, names: readonly string[]) {
  const authority = { key, certificate: new X509Certificate(caDer).toString(), der: caDer };
  const honest = issueCertificate(authority, ["localhost"], Date.now());
  const issuer = {
    name: new X509Certificate(caDer).subject.replace(/^CN=/, ""),
    key: createPrivateKey(key),
  };
  const day = 86_400_000;
  const leaf = build({
    subject: "leaf",
    publicKey: createPrivateKey(honest.key),
    issuer,
    notBefore: Date.now() - day,
    notAfter: Date.now() + day,
    names,
    leaf: true,
  });
  const chain = new X509Certificate(leaf).toString();
  return { ...honest, chain, chainDer: [leaf], hosts: names };
}

describe("addresses of this machine", () => {
  const info = (address: string, more: object = {}) =>
    ({ address, family: "IPv4", internal: false, netmask: "", mac: "", cidr: null, ...more }) as never;
  const interfaces: Interfaces = {
    lo: [info("127.0.0.1", { internal: true }), info("::1", { family: "IPv6", internal: true })],
    docker0: [info("172.17.0.1")],
    tailscale0: [info("100.100.1.2")],
    wlan0: [info("192.168.1.23"), info("fe80::1", { family: "IPv6" })],
    eth1: [info("203.0.113.7")],
    eth0: [info("10.0.0.5"), info("192.168.1.23")],
    down: undefined,
  };

  test("come in the order in which boards may reach them, and public ones apart", () => {
    const { usable, public: others } = localAddresses(() => interfaces);
    expect(usable).toEqual([
      { address: "192.168.1.23", interface: "wlan0" },
      { address: "10.0.0.5", interface: "eth0" },
      { address: "172.17.0.1", interface: "docker0" },
      { address: "100.100.1.2", interface: "tailscale0" },
      { address: "127.0.0.1", interface: "lo" },
    ]);
    expect(others).toEqual([{ address: "203.0.113.7", interface: "eth1" }]);
  });

  test.each([
    ["172.15.255.255", false],
    ["172.16.0.0", true],
    ["11.0.0.1", false],
    ["100.128.0.1", false],
    ["fe80::1", true],
    ["2001:db8::1", false],
    ["localhost", false],
  ])("%s is private: %s", (address, isPrivate) => {
    expect(isPrivateAddress(address)).toBe(isPrivate);
  });

  test("are all listened on with one port, and named by the certificate", async () => {
    const gateway = await start({ host: ["127.0.0.1", "127.0.0.2"], https: true, state: join(temporary(), "s") });
    expect(gateway.addresses).toEqual(["127.0.0.1", "127.0.0.2"]);
    for (const host of gateway.addresses) {
      const there: Gateway = Object.create(gateway, { url: { value: `https://${host}:${gateway.port}` } });
      expect(await publishSample(there, { servername: "" })).toBe(200);
    }
    expect(gateway.counts).toMatchObject({ connections: 2, tlsHandshakes: 2, tlsFailures: 0 });
  });

  test("that are gone are left out; if all are gone, starting fails", async () => {
    // TEST-NET-1, RFC 5737: not for machines.
    const gateway = await start({ host: ["192.0.2.1", "127.0.0.1"] });
    expect(gateway.addresses).toEqual(["127.0.0.1"]);
    expect(gateway.host).toBe("127.0.0.1");
    await expect(startGateway({ host: ["192.0.2.1", "192.0.2.1"] })).rejects.toMatchObject({ code: "LISTEN_FAILED" });
    await expect(startGateway({ host: [] })).rejects.toMatchObject({ code: "INVALID_OPTION" });
    await expect(startGateway({ host: ["127.0.0.2", "127.0.0.1"], port: gateway.port })).rejects.toMatchObject({
      code: "PORT_IN_USE",
      message: `Another program listens on 127.0.0.1:${gateway.port}.`,
    });
  });
});

test("registrations end at the gateway's maximum number of devices", async () => {
  const gateway = await start({ state: join(temporary(), "s"), maxDevices: 2 });
  expect((await register(gateway, "board1")).code).toBeUndefined();
  expect((await register(gateway, "board2")).code).toBe("LimitExceeded.DeviceExceedLimit");
  expect(gateway.received.at(-1)?.error?.message).toBe("The gateway has reached its maximum of 2 devices.");
  expect((await register(gateway, "board1")).code).toBeUndefined();
});
