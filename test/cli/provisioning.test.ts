/** `tencent-iothub register` and `log`, in process, against the local gateway. */

import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { type Gateway, makeClientCertificate, startGateway } from "../../tools/gateway/index.js";
import { productSecret } from "../support/keys.js";
import { run } from "../support/run-cli.js";

const own = makeClientCertificate({ name: "sensor", keyType: "rsa" });
let folder: string;
let gateway: Gateway;
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  gateway = await startGateway({
    devices: {
      products: {
        PSK: { productSecret, registration: { again: "renew" } },
        CERT: { productSecret, registration: { credential: "certificate" } },
        OWN: { productSecret, registration: { ownCa: own.root } },
        CLOSED: { productSecret, registration: { open: false } },
      },
    },
  });
});
afterAll(() => gateway.close());

beforeEach(async () => {
  gateway.clearReceived();
  folder = await mkdtemp(join(tmpdir(), "tencent-iothub-register-"));
  await writeFile(file("product.secret"), `${productSecret}\n`);
  await writeFile(file("own.crt"), own.chain);
  await writeFile(file("own.key"), own.key);
});

afterEach(() => rm(folder, { recursive: true }));

const register = (productId: string, ...more: string[]) => [
  ...["register", "--url", gateway.url, "--product-id", productId, "--device-name", "sensor1"],
  ...["--product-secret-file", file("product.secret"), ...more],
];
const device = (productId: string) => ["--url", gateway.url, "--product-id", productId, "--device-name", "sensor1"];

/** No ProductSecret and no psk on either stream. */
async function quiet(args: readonly string[], surroundings = {}) {
  const result = await run(args, surroundings);
  expect(result.stdout + result.stderr).not.toContain(productSecret);
  return result;
}

describe("register", () => {
  test("stores the PSK in a file readable only by its owner, from which publish reads it", async () => {
    const out = file("sensor1.psk");
    const { code, stdout, stderr } = await quiet(register("PSK", "--out", out));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [{ requestId }] = gateway.received;
    expect(stdout).toBe(`registered  PSK/sensor1  a new device\ncredential  PSK in ${out}\nRequestId   ${requestId}\n`);
    const psk = (await readFile(out, "utf8")).trim();
    expect(psk).toMatch(/^[A-Za-z0-9+/]{22}==$/);
    expect(stdout).not.toContain(psk);
    expect((await stat(out)).mode & 0o777).toBe(0o600);
    expect((await readdir(folder)).filter((name) => name.endsWith(".new"))).toEqual([]);

    const published = await run(["publish", ...device("PSK"), "--psk-file", out, "--topic", "data", "hello"]);
    expect(published.code).toBe(0);
    expect(gateway.received.at(-1)).toMatchObject({ accepted: true, verifiedBy: "psk" });
  });

  test("stores a private key, and its certificate beside it", async () => {
    const out = file("sensor1.key");
    const { code, stdout } = await quiet(register("CERT", "--out", out, "--json"));
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      productId: "CERT",
      deviceName: "sensor1",
      requestId: gateway.received[0].requestId,
      state: 0,
      credential: "certificate",
      file: out,
      certificateFile: `${out}.crt`,
    });
    expect(await readFile(`${out}.crt`, "utf8")).toContain("-----BEGIN CERTIFICATE-----");
    const published = await run(["publish", ...device("CERT"), "--key-file", out, "--topic", "data", "hello"]);
    expect(published.code).toBe(0);
    expect(gateway.received.at(-1)).toMatchObject({ accepted: true, verifiedBy: "publicKey" });
  });

  test("accepts a custom client certificate", async () => {
    const { code, stdout, stderr } = await quiet(
      register("OWN", "--client-certificate", file("own.crt"), "--client-key", file("own.key")),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("credential  own certificate\n");
    const published = await run([
      "publish",
      ...device("OWN"),
      "--key-file",
      file("own.key"),
      "--topic",
      "data",
      "hello",
    ]);
    expect(published.code).toBe(0);
  });

  test("never registers again if the file exists, except with --force", async () => {
    const out = file("sensor1.psk");
    await writeFile(out, "what was there");
    const refused = await quiet(register("PSK", "--out", out));
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/^error: FILE_EXISTS: .*--force/);
    expect(gateway.received).toHaveLength(0);
    expect(await readFile(out, "utf8")).toBe("what was there");
    expect((await quiet(register("PSK", "--out", out, "--force"))).code).toBe(0);
    expect(await readFile(out, "utf8")).toMatch(/^[A-Za-z0-9+/]{22}==\n$/);
  });

  test("does not register if the secret cannot be stored", async () => {
    const { code, stderr } = await quiet(register("PSK", "--out", file("no/such/folder")));
    expect(code).toBe(3);
    expect(stderr).toMatch(/^error: FILE_UNWRITABLE: .*ENOENT/);
    expect(gateway.received).toHaveLength(0);
  });

  test("does not register if the file is a directory", async () => {
    await mkdir(file("folder"));
    const { code, stderr } = await quiet(register("PSK", "--out", file("folder"), "--force"));
    expect(code).toBe(3);
    expect(stderr).toContain(
      `error: FILE_UNWRITABLE: The credential cannot be written to ${file("folder")}: is a directory.`,
    );
    expect(gateway.received).toHaveLength(0);
  });

  test.each<[string, string, string[], number, string]>([
    ["a product without registration", "CLOSED", [], 5, "GATEWAY_REJECTED"],
    ["a product that is not there", "NONE", [], 5, "GATEWAY_REJECTED"],
    ["a product with a private CA", "OWN", [], 5, "GATEWAY_REJECTED"],
    ["a short ProductSecret", "PSK", ["--product-secret-file", "short"], 3, "INVALID_PRODUCT_SECRET"],
    ["another ProductSecret", "PSK", ["--product-secret-file", "other"], 3, "GATEWAY_REJECTED"],
    ["a ProductSecret that cannot be read", "PSK", ["--product-secret-file", "missing"], 3, "FILE_UNREADABLE"],
    ["two ProductSecrets", "PSK", ["--product-secret", "x"], 2, "USAGE"],
    ["a certificate without its key", "OWN", ["--client-certificate", "own.crt"], 2, "USAGE"],
    ["a bad DeviceName", "PSK", ["--device-name", "a/b"], 2, "INVALID_DEVICE_NAME"],
  ])("reports %s in one line, and writes no file", async (_name, productId, more, exitCode, code) => {
    await writeFile(file("short"), "short");
    await writeFile(file("other"), "x".repeat(24));
    const args = more.map((arg, i) => (/file$|cert$/.test(more[i - 1] ?? "") ? file(arg) : arg));
    const { code: ended, stdout, stderr } = await quiet([...register(productId, "--out", file("out")), ...args]);
    expect({ ended, stdout }).toEqual({ ended: exitCode, stdout: "" });
    expect(stderr).toMatch(new RegExp(`^(warning: .*\\n)?error: ${code}: [^\\n]+\\n$`));
    expect((await readdir(folder)).filter((name) => name.startsWith("out"))).toEqual([]);
  });

  test("reads the ProductSecret from the environment, and warns of one on the command line", async () => {
    const args = ["register", ...device("PSK"), "--out", file("out")];
    const missing = await quiet(args);
    expect(missing.code).toBe(3);
    expect(missing.stderr).toContain("TENCENT_IOTHUB_PRODUCT_SECRET");
    const environment = await quiet(args, { env: { TENCENT_IOTHUB_PRODUCT_SECRET: productSecret } });
    expect(environment).toMatchObject({ code: 0, stderr: "" });
    const visible = await quiet([...args, "--force", "--product-secret", productSecret]);
    expect(visible.code).toBe(0);
    expect(visible.stderr).toMatch(/^warning: a ProductSecret on the command line/);
  });

  test("requires --out or --client-certificate", async () => {
    expect(await quiet(register("PSK"))).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("log", () => {
  const log = (...more: string[]) => ["log", ...device("PSK"), "--psk-file", file("sensor1.psk"), ...more];
  beforeEach(async () => {
    await run(register("PSK", "--out", file("sensor1.psk")));
    gateway.clearReceived();
  });
  const lines = () =>
    gateway.received.flatMap(({ messages }) => messages ?? []).map((line) => line.replace(/\|.*?\|/, "|"));

  test("sends its arguments as one line", async () => {
    const { code, stdout, stderr } = await run(log("--level", "warn", "battery", "低"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(lines()).toEqual(["WRN|battery 低"]);
    expect(stdout).toBe(`logged     1 line of PSK/sensor1, level warn\nRequestId  ${gateway.received[0].requestId}\n`);
  });

  test("sends standard input line by line, in several requests, without losing any", async () => {
    const many = Array.from({ length: 250 }, (_, i) => `line ${i} ${"x".repeat(i % 7 === 0 ? 900 : 3)}`);
    const { code, stdout } = await run(log("--level", "debug", "--json", "-"), { stdin: `${many.join("\r\n")}\n\n` });
    expect(code).toBe(0);
    expect(lines()).toEqual(many.map((line) => `DBG|${line}`));
    const { lines: count, requestIds } = JSON.parse(stdout);
    expect(count).toBe(250);
    expect(requestIds).toEqual(gateway.received.map(({ requestId }) => requestId));
    expect(requestIds.length).toBeGreaterThan(2);
  });

  test.each<[string, string[], string, number, string]>([
    ["no message", [], "", 2, "USAGE"],
    ["empty standard input", ["-"], "\n", 2, "USAGE"],
    ["an unknown level", ["--level", "loud", "x"], "", 2, "INVALID_LOG_LEVEL"],
    ["another psk", ["--psk-file", "product.secret", "x"], "", 3, "GATEWAY_REJECTED"],
  ])("reports %s in one line", async (_name, more, stdin, exitCode, code) => {
    const args = more.map((arg, i) => (more[i - 1] === "--psk-file" ? file(arg) : arg));
    const result = await run(log(...args), { stdin });
    expect(result).toMatchObject({ code: exitCode, stdout: "" });
    expect(result.stderr).toMatch(new RegExp(`^error: ${code}: [^\\n]+\\n$`));
  });
});
