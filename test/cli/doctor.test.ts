import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { doctor } from "../../tools/cli/doctor.js";
import {
  type CertificateKind,
  certificateKinds,
  type Gateway,
  type GatewayOptions,
  startGateway,
} from "../../tools/gateway/index.js";
import { run } from "../support/run-cli.js";

const PSK = "lDZ6Uqt+I9E0wW7rvDUs7Q==";
let folder: string;
const open: Gateway[] = [];
const servers: Server[] = [];
const sockets: Socket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tencent-iothub-doctor-"));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  for (const gateway of open.splice(0)) await gateway.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = await startGateway(options);
  open.push(gateway);
  return gateway;
}

function caOf(gateway: Gateway): string[] {
  const path = join(folder, "ca.pem");
  writeFileSync(path, gateway.ca as string);
  return ["--trust-anchors", path];
}

interface Check {
  readonly check: string;
  readonly outcome: string;
  readonly message: string;
  readonly hint?: string;
}

async function checks(...args: string[]): Promise<{ code: number; of: Record<string, Check>; stderr: string }> {
  const { code, stdout, stderr } = await run(["doctor", "--json", ...args]);
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  expect(checks.map(({ check }) => check)).toEqual(["credential", "name", "port", "certificates", "clock"]);
  return { code, stderr, of: Object.fromEntries(checks.map((check) => [check.check, check])) };
}

const outcomes = (of: Record<string, Check>): string[] => Object.values(of).map(({ outcome }) => outcome);

describe("doctor", () => {
  test("finds nothing wrong with a gateway whose CA it is given", async () => {
    const gateway = await start({ https: true });
    const { code, stdout, stderr } = await run([...["doctor", "--url", gateway.url, ...caOf(gateway), "--psk", PSK]]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toBe(`doctor ${gateway.url}`);
    expect(lines.slice(1).map((line) => line.slice(0, 22).trim())).toEqual(
      ["credential", "name", "port", "certificates", "clock"].map((name) => `ok       ${name}`),
    );
    expect(lines[4]).toMatch(
      /A board with these trust anchors accepts the chain \(2 certificates sent, valid until \d{4}-/,
    );
    // One connection, without a signature or a failed handshake.
    expect(gateway.counts).toMatchObject({ connections: 1, requests: 1, tlsFailures: 0 });
    expect(gateway.received[0].headers["x-tc-signature"]).toBeUndefined();
  });

  const valid: readonly CertificateKind[] = ["chain", "direct", "rootVersion1"];
  // A name that resolves to loopback has one label, which no wildcard stands for.
  const others = (Object.keys(certificateKinds) as CertificateKind[]).filter((kind) => !kind.startsWith("wildcard"));

  test.each(others)("judges the chain %s on loopback as a board would", async (kind) => {
    const gateway = await start({ https: { certificates: kind } });
    const { code, of } = await checks("--url", `https://localhost:${gateway.port}`, ...caOf(gateway));
    expect(of.certificates.outcome).toBe(valid.includes(kind) ? "ok" : "failed");
    expect(code).toBe(valid.includes(kind) ? 0 : 4);
    if (code === 0) return;
    const reason =
      kind === "leafKeyUsage"
        ? // The server does not even try to sign with such a key.
          /^The TLS handshake failed \(ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE\)\.$/
        : /^A board with these trust anchors refuses the chain: .+\.$/;
    expect(of.certificates.message).toMatch(reason);
  });

  test("says that a board's own anchors do not know a private CA", async () => {
    const gateway = await start({ https: true });
    const { code, of, stderr } = await checks("--url", gateway.url);
    expect(code).toBe(4);
    expect(of.certificates).toMatchObject({
      outcome: "failed",
      message: "A board with its built-in trust anchors refuses the chain: there is no path to a trust anchor.",
      hint: expect.stringContaining("--trust-anchors"),
    });
    expect(JSON.parse(stderr).error).toMatchObject({ code: "DOCTOR_FAILED", exitCode: 4 });
  });

  test("warns before the server's certificate expires", async () => {
    const nowMs = Date.now() - 355 * 86_400_000;
    const gateway = await start({ https: { certificateOptions: { nowMs } } });
    const { code, of } = await checks("--url", gateway.url, ...caOf(gateway));
    expect(code).toBe(0);
    expect(of.certificates).toMatchObject({ outcome: "warning", hint: "It expires in 9 days." });
  });

  test.each([
    [
      90,
      0,
      "warning",
      /^This machine's clock is 1 min 30 s behind the gateway's\.$|^This machine's clock is 1 min 29 s/,
    ],
    [-7200, 1, "failed", /^This machine's clock is (2 h|1 h 59 min) ahead of the gateway's\.$/],
  ])("compares the clock with the gateway's, which is %d s ahead", async (seconds, exitCode, outcome, message) => {
    const { code, of } = await checks("--url", (await start({ clockSkewSeconds: seconds })).url);
    expect(code).toBe(exitCode);
    expect(of.clock).toMatchObject({ outcome, message: expect.stringMatching(message) });
    expect(of.certificates).toMatchObject({ outcome: "skipped", message: "Plain HTTP has none." });
  });

  test.each([
    ["lDZ6Uqt+I9E0wW7rvDUs7Q", 3, "failed", /cannot be what the console shows/],
    [`${PSK} `, 3, "failed", /cannot be what the console shows/],
    ["c2VjcmV0", 0, "warning", /^The psk is Base64 of 6 bytes\.$/],
  ])("judges the form of the psk %j", async (psk, exitCode, outcome, message) => {
    const { code, of, stderr } = await checks("--url", (await start()).url, "--psk", psk);
    expect(code).toBe(exitCode);
    expect(of.credential).toMatchObject({ outcome, message: expect.stringMatching(message) });
    expect(JSON.stringify(of) + stderr).not.toContain(psk.trim());
  });

  test("says that a key file cannot be read, and goes on", async () => {
    const { code, of } = await checks("--url", (await start()).url, "--key-file", join(folder, "none.key"));
    expect(code).toBe(3);
    expect(outcomes(of)).toEqual(["failed", "ok", "ok", "skipped", "ok"]);
  });

  test("says that nothing listens on the port", async () => {
    const gateway = await start();
    await gateway.close();
    const { code, of } = await checks("--url", gateway.url);
    expect(code).toBe(4);
    expect(of.port.message).toBe(`127.0.0.1:${gateway.port} cannot be reached (ECONNREFUSED).`);
    expect(outcomes(of)).toEqual(["skipped", "ok", "failed", "skipped", "skipped"]);
  });

  test("says that the port does not speak TLS", async () => {
    const { code, of } = await checks("--url", (await start()).url.replace("http:", "https:"));
    expect(code).toBe(4);
    expect(of.certificates.message).toMatch(/^The TLS handshake failed \(/);
    expect(of.clock).toMatchObject({ outcome: "skipped", message: "There was no response." });
  });

  test("gives up on a server that never responds", async () => {
    const server = createServer((socket) => {
      sockets.push(socket);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    const { code, of } = await checks("--url", `https://127.0.0.1:${port}`, "--timeout-ms", "300");
    expect(code).toBe(4);
    expect(of.certificates.message).toBe("The TLS handshake failed (TIMEOUT).");
  });

  test("says that a name cannot be resolved", async () => {
    let stdout = "";
    const io = {
      stdin: (async function* () {})(),
      stdout: { write: (text: string) => (stdout += text) },
      stderr: { write: () => {} },
      env: {},
      onInterrupt: () => {},
    };
    const lookup = (): Promise<never> => Promise.reject(Object.assign(new Error("x"), { code: "ENOTFOUND" }));
    await expect(doctor(io, { region: "nowhere" }, { lookup, nowMs: Date.now })).rejects.toMatchObject({
      code: "DOCTOR_FAILED",
      message: "1 of 1 checks failed: name.",
      exitCode: 4,
    });
    expect(stdout).toContain("doctor https://nowhere.gateway.tencentdevices.com:443");
    expect(stdout).toContain("nowhere.gateway.tencentdevices.com has no IPv4 address (ENOTFOUND).");
  });

  test("lists the trust anchors of boards with their dates", async () => {
    const { code, stdout } = await run(["doctor", "--roots"]);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(6);
    expect(lines[0]).toMatch(/^DigiCert Global Root G2 +2013-08-01 to 2038-01-15 {2}(\d+ days left|expired)$/);
    expect(lines[5]).toMatch(
      /^DigiCert Global Root CA +2006-11-10 to 2031-11-10 .*; only with digicertGlobalRootCA\(\)$/,
    );
    const json = JSON.parse((await run(["doctor", "--roots", "--json"])).stdout);
    expect(json[0]).toEqual({
      name: "DigiCert Global Root G2",
      isDefault: true,
      notBefore: "2013-08-01T12:00:00.000Z",
      notAfter: "2038-01-15T12:00:00.000Z",
    });
  });

  test.each([
    [["--timeout-ms", "0"], /^error: USAGE: --timeout-ms must be a whole number above 0\./],
    [["--url", "ftp://x"], /^error: INVALID_URL: /],
    [["--region", "a.b"], /^error: INVALID_REGION: /],
  ])("refuses %j", async (args, line) => {
    const { code, stdout, stderr } = await run(["doctor", ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(line);
  });
});
