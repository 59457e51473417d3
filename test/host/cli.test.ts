import { spawnSync } from "node:child_process";
import { createHash, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { packReadings, takeReadings } from "../../host/node/cli/readings.js";
import { visible } from "../../host/node/cli/sign.js";
import { version } from "../../host/node/cli/version.js";
import { type Gateway, startGateway } from "../../mocks/gateway/index.js";
import { run, type Surroundings } from "./run-cli.js";

jest.setTimeout(30_000);

const vectors = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));

const PRODUCT = "ABCDE12345";
const PSK = "c2VjcmV0IG9mIHNlbnNvcjE=";
const keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
const publicKey = keys.publicKey.export({ type: "spki", format: "pem" }) as string;
const devices = { products: { [PRODUCT]: { devices: { sensor1: { psk: PSK }, sensor2: { publicKey } } } } };

let folder: string;
let gateway: Gateway;
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tencent-iothub-cli-"));
  gateway = await startGateway({ devices });
  const files: Record<string, string | Uint8Array> = {
    "sensor1.psk": `${PSK}\n`,
    "sensor2.key": keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    "sensor2.der": keys.privateKey.export({ type: "pkcs1", format: "der" }),
    "encrypted.key": keys.privateKey.export({
      type: "pkcs8",
      format: "pem",
      cipher: "aes-256-cbc",
      passphrase: "of no importance",
    }) as string,
    "devices.json": JSON.stringify(devices),
    "broken-ca.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
  };
  await Promise.all(Object.entries(files).map(([name, content]) => writeFile(file(name), content)));
});

afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true });
});

beforeEach(() => gateway.clearReceived());

/** A publish of sensor1 to the gateway of these tests. */
const sensor1 = (...more: string[]) => [
  "publish",
  ...["--url", gateway.url, "--product-id", PRODUCT, "--device-name", "sensor1", "--psk-file", file("sensor1.psk")],
  ...more,
];

describe("publish", () => {
  test("says what became of the message", async () => {
    const { code, stdout, stderr } = await run(sensor1("--topic", "data", "hello"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [received] = gateway.received;
    expect(received.payload?.toString()).toBe("hello");
    expect(received.qos).toBe(1);
    expect(stdout).toContain(`published  ${PRODUCT}/sensor1/data  qos 1`);
    expect(stdout).toContain(`RequestId  ${received.requestId}\n`);
    expect(stdout).not.toContain("\u001b");
  });

  test("prints one JSON object with --json", async () => {
    const { code, stdout } = await run(sensor1("--topic", "event", "--qos", "0", "--json", "hello"));
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      requestId: gateway.received[0].requestId,
      status: 200,
      topic: `${PRODUCT}/sensor1/event`,
    });
    expect(gateway.received[0].qos).toBe(0);
  });

  test.each([
    ["text as an argument", ["温度 21.5"], undefined, "温度 21.5", undefined],
    ["text from standard input, its line feed included", ["-"], "21.5\n", "21.5\n", undefined],
    ["bytes from standard input", ["--base64", "-"], Uint8Array.of(0, 255, 10), "\0\xff\n", "Base64"],
    ["text as Base64", ["--base64", "é"], undefined, "\xc3\xa9", "Base64"],
    ["an empty payload", [""], undefined, "", undefined],
  ] as const)("sends %s", async (_, args, stdin, latin, encoding) => {
    const { code, stderr } = await run(sensor1("--topic", "data", ...args), { stdin });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const expected = encoding === undefined ? Buffer.from(latin) : Buffer.from(latin, "latin1");
    expect(gateway.received[0].payload).toEqual(expected);
    expect(gateway.received[0].payloadEncoding).toBe(encoding);
  });

  test("sends a file", async () => {
    await writeFile(file("payload"), Uint8Array.of(137, 80, 78, 71));
    const { code } = await run(sensor1("--topic", "data", "--base64", "--payload-file", file("payload")));
    expect(code).toBe(0);
    expect(gateway.received[0].payload).toEqual(Buffer.from([137, 80, 78, 71]));
  });

  test.each(["sensor2.key", "sensor2.der"])("signs with a certificate's key: %s", async (name) => {
    const args = ["publish", "--url", gateway.url, "--product-id", PRODUCT, "--device-name", "sensor2"];
    const { code, stderr } = await run([...args, "--key-file", file(name), "--topic", "data", "x"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(gateway.received[0].verifiedBy).toBe("publicKey");
  });

  test("takes settings from the environment, and warns of a psk on the command line only", async () => {
    const env = {
      TENCENT_IOTHUB_URL: gateway.url,
      TENCENT_IOTHUB_PRODUCT_ID: PRODUCT,
      TENCENT_IOTHUB_DEVICE_NAME: "sensor1",
      TENCENT_IOTHUB_TOPIC: "event",
      TENCENT_IOTHUB_QOS: "0",
      TENCENT_IOTHUB_TIMEOUT_MS: "5000",
      TENCENT_IOTHUB_PSK: PSK,
    };
    expect(await run(["publish", "x"], { env })).toMatchObject({ code: 0, stderr: "" });
    expect(gateway.received[0]).toMatchObject({ topic: `${PRODUCT}/sensor1/event`, qos: 0 });
    const { code, stderr } = await run(["publish", "--psk", PSK, "x"], { env: { ...env, TENCENT_IOTHUB_PSK: "" } });
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning: a psk on the command line .*\n$/);
    expect(stderr).not.toContain(PSK);
  });

  test("takes settings from a profile; the environment comes before it, and the command line first", async () => {
    const profile = {
      productId: PRODUCT,
      deviceName: "sensor1",
      pskFile: "sensor1.psk",
      topic: "data",
      url: gateway.url,
    };
    await writeFile(file("profile.json"), JSON.stringify(profile));
    const env = { TENCENT_IOTHUB_PROFILE: file("profile.json") };
    expect(await run(["publish", "1"], { env })).toMatchObject({ code: 0, stderr: "" });
    expect(await run(["publish", "2"], { env: { ...env, TENCENT_IOTHUB_TOPIC: "event" } })).toMatchObject({ code: 0 });
    // A credential of a higher level replaces the other kind in the profile.
    const other = ["--device-name", "sensor2", "--key-file", file("sensor2.key"), "--topic", "event"];
    expect(await run(["publish", ...other, "3"], { env })).toMatchObject({ code: 0 });
    expect(gateway.received.map(({ topic }) => topic)).toEqual([
      `${PRODUCT}/sensor1/data`,
      `${PRODUCT}/sensor1/event`,
      `${PRODUCT}/sensor2/event`,
    ]);
  });

  test("shows events with --debug, and no secret", async () => {
    const { code, stderr } = await run(sensor1("--topic", "data", "--debug", "hello"));
    expect(code).toBe(0);
    expect(stderr).toContain('debug: {"phase":"sign"');
    expect(stderr).not.toContain(PSK);
    expect(stderr).not.toContain(gateway.received[0].headers["x-tc-signature"]);
  });

  test("is coloured on a terminal, unless NO_COLOR is set", async () => {
    const args = sensor1("--topic", "data", "x");
    expect((await run(args, { tty: true })).stdout).toContain("\u001b[32mpublished");
    expect((await run(args, { tty: true, env: { NO_COLOR: "1" } })).stdout).not.toContain("\u001b");
  });
});

describe("bad input: one line, a stable code, an exit code by its class, no stack trace, no secret", () => {
  const wrong = "d3Jvbmcga2V5IG9mIGFsbCBvZg==";

  async function refused(args: readonly string[], exitCode: number, line: RegExp, around: Surroundings = {}) {
    const { code, stdout, stderr } = await run(args, around);
    const lines = stderr.trimEnd().split("\n");
    expect(lines.filter((text) => text.startsWith("error: "))).toHaveLength(1);
    expect(lines.filter((text) => !/^(error|warning): /.test(text))).toEqual([]);
    expect(lines.find((text) => text.startsWith("error: "))).toMatch(line);
    expect(stdout).toBe("");
    expect(code).toBe(exitCode);
    for (const secret of [PSK, PSK.replace(/=+$/, ""), wrong, "PRIVATE KEY"]) expect(stderr).not.toContain(secret);
    return stderr;
  }

  /** Settings for sensor1 without a credential. */
  const env = () => ({
    TENCENT_IOTHUB_URL: gateway.url,
    TENCENT_IOTHUB_PRODUCT_ID: PRODUCT,
    TENCENT_IOTHUB_DEVICE_NAME: "sensor1",
    TENCENT_IOTHUB_TOPIC: "data",
  });

  test("a wrong psk", async () => {
    const around = { env: { ...env(), TENCENT_IOTHUB_PSK: wrong } };
    const stderr = await refused(
      ["publish", "x"],
      5,
      /^error: GATEWAY_REJECTED: .*AuthFailure\.SignatureFailure/,
      around,
    );
    expect(stderr).toContain("The psk, private key or ProductSecret is not the right one");
  });

  test("a psk that lost its = signs", async () => {
    const around = { env: { ...env(), TENCENT_IOTHUB_PSK: PSK.replace(/=+$/, "") } };
    await refused(
      ["publish", "x"],
      3,
      /^error: INVALID_CREDENTIAL: The psk was not copied .* lost its trailing = signs/,
      around,
    );
    expect(gateway.received).toEqual([]);
  });

  test("a psk file with a byte order mark is read, one with a space is refused", async () => {
    const around = (name: string) => ({
      env: { ...env(), TENCENT_IOTHUB_PSK: "", TENCENT_IOTHUB_PSK_FILE: file(name) },
    });
    await writeFile(file("bom"), `\ufeff${PSK}\r\n`);
    expect((await run(["publish", "x"], around("bom"))).stderr).not.toContain("INVALID_CREDENTIAL");
    await writeFile(file("space"), `${PSK} `);
    await refused(["publish", "x"], 3, /^error: INVALID_CREDENTIAL: .* it contains a space/, around("space"));
  });

  test("a wrong device", async () => {
    const stderr = await refused(
      sensor1("--device-name", "sensor9", "--topic", "data", "x"),
      5,
      /ResourceNotFound\.Device/,
    );
    expect(stderr).toContain(" Check --product-id, --device-name and the region.");
  });

  test("an unknown topic", async () => {
    const stderr = await refused(sensor1("--topic", "unheard-of", "x"), 5, /^error: GATEWAY_REJECTED: .*Unauthorized/);
    expect(stderr).toContain(" The device needs the permission to publish to this topic");
  });

  test("20 KB of payload", async () => {
    const stdin = "x".repeat(20_000);
    await refused(sensor1("--topic", "data", "-"), 2, /^error: PAYLOAD_TOO_LARGE: .*20000 bytes; the limit is 16384/, {
      stdin,
    });
    expect(gateway.received).toEqual([]);
  });

  test("a payload without end", async () => {
    const stdin = "x".repeat(2_000_000);
    await refused(sensor1("--topic", "data", "-"), 2, /^error: PAYLOAD_TOO_LARGE: /, { stdin });
  });

  test.each(["2", "one", "", "1.5"])("QoS %j", async (qos) => {
    await refused(sensor1("--topic", "data", "--qos", qos, "x"), 2, /^error: INVALID_QOS: /);
  });

  test("a key file that cannot be read", async () => {
    const missing = file("missing.key");
    await refused(["publish", "--key-file", missing, "x"], 3, /^error: FILE_UNREADABLE: .*it does not exist\.( |$)/, {
      env: env(),
    });
    await refused(["publish", "--key-file", folder, "x"], 3, /^error: FILE_UNREADABLE: .*it is a folder\.( |$)/, {
      env: env(),
    });
    await refused(["publish", "--psk-file", missing, "x"], 3, /^error: FILE_UNREADABLE: The psk file/, { env: env() });
  });

  test("an encrypted key, and what is no key", async () => {
    const args = (name: string) => ["publish", "--key-file", file(name), "x"];
    const stderr = await refused(args("encrypted.key"), 3, /^error: KEY_ENCRYPTED: /, { env: env() });
    expect(stderr).toContain("openssl pkcs8 -topk8 -nocrypt");
    await refused(args("sensor1.psk"), 3, /^error: KEY_MALFORMED: /, { env: env() });
  });

  test("a gateway that is down", async () => {
    const down = await startGateway();
    await down.close();
    const stderr = await refused(sensor1("--url", down.url, "--topic", "data", "x"), 4, /^error: CONNECTION_REFUSED: /);
    expect(stderr).toContain(" Is the gateway running");
  });

  test("a port in use", async () => {
    const args = ["gateway", "--port", String(gateway.port), "--devices", file("devices.json")];
    const stderr = await refused(args, 4, /^error: PORT_IN_USE: /);
    expect(stderr).toContain(" Choose another with --port");
  });

  test("a bad CA: none, one that cannot be read, another one", async () => {
    const https = await startGateway({ https: true, devices });
    try {
      await writeFile(file("other-ca.pem"), (await startAndStop()).ca);
      const args = (ca: string) => sensor1("--url", https.url, "--ca", file(ca), "--topic", "data", "x");
      await refused(args("missing.pem"), 2, /^error: FILE_UNREADABLE: The CA file/);
      await refused(args("devices.json"), 2, /^error: INVALID_CA: /);
      await refused(args("broken-ca.pem"), 2, /^error: INVALID_CA: /);
      const stderr = await refused(args("other-ca.pem"), 4, /^error: CERTIFICATE_REJECTED: /);
      expect(stderr).toContain("--ca");
      await refused(sensor1("--url", https.url, "--topic", "data", "x"), 4, /^error: CERTIFICATE_REJECTED: /);
      await writeFile(file("ca.pem"), https.ca as string);
      expect(await run(args("ca.pem"))).toMatchObject({ code: 0, stderr: "" });
    } finally {
      await https.close();
    }
  });

  test.each([
    [3, "3 h behind"],
    [-26, "1 d 2 h ahead of"],
  ])("a clock that is %i hours off", async (hours, told) => {
    const late = await startGateway({ devices, clockSkewSeconds: hours * 3600 });
    try {
      const args = sensor1("--url", late.url, "--topic", "data", "x");
      const stderr = await refused(args, 5, /^error: GATEWAY_REJECTED: .*AuthFailure\.SignatureExpire/);
      const hint = /This machine's clock is (.*) the gateway's/.exec(stderr)?.[1] ?? "";
      // The Date header counts whole seconds, so a second may be missing to the full hour.
      expect(hint.replace("2 h 59 min", "3 h").replace("1 d 1 h", "1 d 2 h")).toBe(told);
    } finally {
      await late.close();
    }
  });

  test("a gateway that says nothing", async () => {
    const silent = await startGateway({ devices, fault: { kind: "hang", phase: "headers" } });
    try {
      const args = sensor1("--url", silent.url, "--timeout-ms", "100", "--topic", "data", "x");
      await refused(args, 4, /^error: TIMEOUT: /);
    } finally {
      await silent.close();
    }
  });

  test("something that is not the gateway", async () => {
    const proxy = await startGateway({ devices, fault: { kind: "html" } });
    try {
      await refused(sensor1("--url", proxy.url, "--topic", "data", "x"), 5, /^error: HTTP_STATUS: .*502/);
    } finally {
      await proxy.close();
    }
  });

  test.each([
    ["no command", [], /^error: USAGE: A command is missing\.( |$)/],
    ["an unknown command", ["publisch"], /^error: USAGE: Unknown command 'publisch'\.( |$)/],
    ["an unknown option", ["publish", "--topics", "x"], /^error: USAGE: Unknown option '--topics'\.( |$)/],
    [
      "an option without its value",
      ["publish", "--topic"],
      /^error: USAGE: Option '--topic <topic>' argument missing\.( |$)/,
    ],
    ["two payloads", ["publish", "a", "b"], /^error: USAGE: Too many arguments/],
    ["no ProductId", ["publish", "a"], /^error: USAGE: The ProductId is missing\.( |$)/],
    ["a CA for plain HTTP", ["gateway", "--ca-out", "x"], /^error: USAGE: --ca-out goes with --https\.( |$)/],
    ["a port that is none", ["gateway", "--port", "x"], /^error: INVALID_OPTION: /],
    ["an unknown fault", ["gateway", "--fault", "x"], /^error: INVALID_OPTION: /],
    ["no devices file", ["gateway", "--devices", "/nowhere/devices.json"], /^error: DEVICES_UNREADABLE: /],
    [
      "no host to sign",
      ["sign", "--body", "x", "--secret-file", "x"],
      /^error: USAGE: Required option '--host <host>' not/,
    ],
  ])("%s", async (_, args, line) => {
    await refused(args, 2, line);
  });

  test.each([
    ["no payload", [], /^error: USAGE: The payload is missing\.( |$)/],
    [
      "two payloads",
      ["--payload-file", "x", "y"],
      /^error: USAGE: Give either a payload or --payload-file, not both\.( |$)/,
    ],
    ["bytes that are no text", ["-"], /^error: INVALID_UTF8: The payload is not valid UTF-8\.( |$)/],
    ["a wildcard", ["--topic", "a/#", "x"], /^error: TOPIC_WILDCARD: /],
    ["a region and a url", ["--region", "europe", "x"], /^error: USAGE: Only one of region and url can be used/],
    ["a psk and a key", ["--key-file", "x", "x"], /^error: USAGE: Only one of pskFile and keyFile can be used/],
    ["a url with a path", ["--url", "http://127.0.0.1/x", "x"], /^error: INVALID_URL: /],
    ["no number", ["--timeout-ms", "soon", "x"], /^error: INVALID_OPTION: /],
  ])("%s to publish", async (_, more, line) => {
    await refused(sensor1("--topic", "data", ...more), 2, line, { stdin: Uint8Array.of(0xff) });
  });

  test("a profile that is wrong", async () => {
    const cases: [string, RegExp][] = [
      [`{"psk":"${wrong}"`, /is not valid JSON\.( |$)/],
      ["[]", /is not a JSON object\.( |$)/],
      [`{"pks":"${wrong}"}`, /has an unknown member "pks"\.( |$)/],
      [`{"psk":7}`, /needs a string for "psk"\.( |$)/],
    ];
    for (const [content, line] of cases) {
      await writeFile(file("wrong.json"), content);
      await refused(["publish", "--profile", file("wrong.json"), "x"], 2, line);
    }
    await refused(["publish", "--profile", file("nowhere.json"), "x"], 2, /^error: FILE_UNREADABLE: The profile/);
  });

  test("one JSON object with --json, a stack trace with --debug", async () => {
    const json = await run(sensor1("--device-name", "sensor9", "--topic", "data", "--json", "x"));
    expect(json).toMatchObject({ code: 5, stdout: "" });
    expect(JSON.parse(json.stderr)).toMatchObject({
      error: { code: "GATEWAY_REJECTED", exitCode: 5, status: 200, gatewayCode: "ResourceNotFound.Device" },
    });
    const debug = await run(sensor1("--topic", "data", "--qos", "2", "--debug", "x"));
    expect(debug.code).toBe(2);
    expect(debug.stderr).toMatch(/^IotHubError: .*\n\s+at /);
    expect(debug.stderr).not.toContain(PSK);
  });

  async function startAndStop(): Promise<{ ca: string }> {
    // Roots are kept for the life of a process, so another key type makes another root.
    const other = await startGateway({ https: { certificateOptions: { keyType: "ecdsa-p384" } } });
    await other.close();
    return { ca: other.ca as string };
  }
});

describe("sign", () => {
  const { signing } = vectors;
  const rsaKey = vectors.rsa_test_key["rsa2048_pkcs1.pem"];

  test("gives what the official SDKs give", async () => {
    await writeFile(file("rsa.key"), rsaKey);
    let counted = 0;
    for (const vector of signing) {
      const { algorithm, timestamp, nonce, body_base64, string_to_sign, signature, key: used } = vector;
      const [, host, pathname] = string_to_sign.split("\n");
      await writeFile(file("body"), Buffer.from(body_base64, "base64"));
      await writeFile(file("secret"), `${Object.values(used)[0]}\n`);
      const key = algorithm === "rsa-sha256" ? ["--key-file", file("rsa.key")] : ["--secret-file", file("secret")];
      const args = ["--host", host, "--path", pathname, "--body-file", file("body"), "--algorithm", algorithm];
      const time = ["--timestamp", String(timestamp), "--nonce", String(nonce)];
      const { code, stdout } = await run(["sign", ...args, ...time, ...key, "--json"]);
      expect(code).toBe(0);
      const answer = JSON.parse(stdout);
      expect(Object.keys(answer)).toEqual(["stringToSign", "signature", "headers"]);
      expect(answer.stringToSign).toBe(string_to_sign);
      expect(answer.signature).toBe(signature);
      expect(answer.headers["X-TC-Signature"]).toBe(signature);
      counted++;
    }
    expect(counted).toBe(signing.length);
  });

  const base = (...more: string[]) => ["sign", "--host", "Example.COM:8443", "--path", "/device/publish", ...more];
  const time = ["--timestamp", "0", "--nonce", "0"];

  test("warns of a psk that lost its = signs, and of no ProductSecret", async () => {
    await writeFile(file("cut"), PSK.replace(/=+$/, ""));
    const cut = await run(base("--body", "x", "--secret-file", file("cut")));
    expect(cut).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^warning: .* lost its trailing = signs\.\n$/),
    });
    const args = ["sign", "--host", "h", "--path", "/device/register", "--body", "x", "--secret-file", file("cut")];
    expect(await run(args)).toMatchObject({ code: 0, stderr: "" });
  });

  test("shows what one does not see", async () => {
    await writeFile(file("body"), '{"a":"\u00a0\t"}\r\n');
    const { code, stdout } = await run(
      base("--body-file", file("body"), ...time, "--secret-file", file("sensor1.psk")),
    );
    expect(code).toBe(0);
    const hash = createHash("sha256").update('{"a":"\u00a0\t"}\r\n').digest("hex");
    const shown = stdout.split("\n").slice(1, 9);
    expect(shown.map((line) => line.slice(15))).toEqual([
      "POST␊",
      "example.com␊",
      "/device/publish␊",
      "␊",
      "hmacsha256␊",
      "0␊",
      "0␊",
      hash,
    ]);
    expect(stdout).toContain('Body: 13 bytes, hashed as they are\n  {"a":"\\u{a0}␉"}␍␊\n');
    expect(stdout).not.toContain(PSK);
  });

  test("makes everything visible that has no picture of its own", () => {
    expect(visible("a b\0\x7f\u200b\u2028\u{e0001}\ud800\u3000")).toBe(
      "a b␀␡\\u{200b}\\u{2028}\\u{e0001}\\u{d800}\\u{3000}",
    );
    expect(visible("温度 😀")).toBe("温度 😀");
  });

  test.each([
    ["--body", 'it\'s {"a": "$HOME `x` \\n 温"}'],
    ["--body", "@not-a-file"],
    ["--body-file", "body.json"],
  ])("prints a command that a shell reads as it is meant: %s %s", async (option, value) => {
    const content = option === "--body" ? value : '{"a":1}\n';
    if (option === "--body-file") await writeFile(file(value), content);
    const body = option === "--body" ? value : file(value);
    const { code, stdout, stderr } = await run(base(option, body, ...time, "--secret", PSK, "--curl"));
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning: a secret on the command line /);
    expect(stdout + stderr).not.toContain(PSK);
    // A function in the place of curl shows the words that it was given.
    const shell = spawnSync("sh", ["-c", `curl() { for word do printf '%s\\0' "$word"; done; }\n${stdout}`]);
    expect(shell.status).toBe(0);
    const words = shell.stdout.toString().split("\0").slice(0, -1);
    expect(words.slice(0, 4)).toEqual(["-sS", "-X", "POST", "https://Example.COM:8443/device/publish"]);
    expect(words.slice(-2)).toEqual(option === "--body" ? ["--data-raw", body] : ["--data-binary", `@${body}`]);
    expect(words.filter((word) => word.startsWith("X-TC-"))).toHaveLength(4);
  });

  test("signs with a private key, and takes time and nonce from the machine", async () => {
    const { code, stdout } = await run(base("--body", "", "--key-file", file("sensor2.der"), "--json"));
    expect(code).toBe(0);
    const { stringToSign, signature, headers } = JSON.parse(stdout);
    const key = createPublicKey(publicKey);
    expect(verify("sha256", Buffer.from(stringToSign), key, Buffer.from(signature, "base64"))).toBe(true);
    expect(headers["X-TC-Algorithm"]).toBe("rsa-sha256");
    expect(Number(headers["X-TC-Timestamp"])).toBeGreaterThan(1_700_000_000);
  });

  test.each([
    ["no body", [...time, "--secret", "x"], 2, "USAGE: Give either --body or --body-file"],
    ["two keys", ["--body", "", "--secret", "x", "--key-file", "x"], 2, "USAGE: Give one of --secret"],
    ["no key", ["--body", ""], 2, "USAGE: Give one of --secret"],
    [
      "upper case",
      ["--body", "", "--secret", "x", "--algorithm", "HmacSha256"],
      2,
      "USAGE: The algorithm must be one of",
    ],
    ["a secret for RSA", ["--body", "", "--secret", "x", "--algorithm", "rsa-sha256"], 2, "goes with --key-file"],
    ["milliseconds", ["--body", "", "--secret", "x", "--timestamp", "1700000000000"], 2, "INVALID_TIMESTAMP"],
    ["hexadecimal", ["--body", "", "--secret", "x", "--nonce", "0x10"], 2, "INVALID_NONCE"],
    ["no secret in it", ["--body", "", "--secret", ""], 3, "INVALID_CREDENTIAL"],
    ["a path with a query", ["--body", "", "--secret", "x", "--path", "/a?b"], 2, "INVALID_PATH"],
  ])("refuses %s", async (_, more, exitCode, text) => {
    const { code, stdout, stderr } = await run(base(...more));
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
    expect(stderr).toContain(text);
  });
});

describe("gateway", () => {
  /** Runs it until `use` has ended. */
  async function running(args: readonly string[], use: (firstLines: string) => Promise<void>, enough: RegExp) {
    let interrupt = () => {};
    let started: (output: string) => void = () => {};
    const ready = new Promise<string>((resolve) => {
      started = resolve;
    });
    const end = run(["gateway", "--port", "0", ...args], {
      onInterrupt: (callback) => {
        interrupt = callback;
      },
      onOutput: (output) => {
        if (enough.test(output)) started(output);
      },
    });
    // Where it fails to start, its end says why.
    const output = await Promise.race([ready, end.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
    try {
      await use(output);
    } finally {
      interrupt();
    }
    return end;
  }

  test("prints one line a request until it is interrupted", async () => {
    const { code, stdout, stderr } = await running(
      ["--devices", file("devices.json")],
      async (output) => {
        const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] as string;
        expect(await run(sensor1("--url", url, "--topic", "data", "hello"))).toMatchObject({ code: 0 });
        expect(await run(sensor1("--url", url, "--topic", "nope", "hello"))).toMatchObject({ code: 5 });
      },
      /Ctrl-C/,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[1]).toMatch(/^ok .*ABCDE12345\/sensor1\/data qos 1 5 B/);
    expect(lines[2]).toMatch(/^refused .*UnauthorizedOperation/);
    expect(lines[3]).toBe("stopped after 2 requests: 1 accepted, 1 refused");
  });

  test("makes a device and a certificate where none is given, and says how to use them", async () => {
    const ca = file("sample-ca.pem");
    const { code, stdout } = await running(
      ["--https", "--ca-out", ca],
      async (output) => {
        const [, psk, args] = /try: TENCENT_IOTHUB_PSK='(.*)' tencent-iothub (.*)/.exec(output) as RegExpExecArray;
        expect(await run(args.split(" "), { env: { TENCENT_IOTHUB_PSK: psk } })).toMatchObject({ code: 0, stderr: "" });
        expect(await readFile(ca, "utf8")).toContain("BEGIN CERTIFICATE");
      },
      /try: .*\n/,
    );
    expect(code).toBe(0);
    expect(stdout).toContain("stopped after 1 request: 1 accepted, 0 refused");
  });

  test("prints JSON lines with --json, and misbehaves when told to", async () => {
    const { code, stdout } = await running(
      ["--devices", file("devices.json"), "--json", "--fault", "status:503"],
      async (output) => {
        const { url } = JSON.parse(output);
        expect(await run(sensor1("--url", url, "--topic", "data", "hello"))).toMatchObject({ code: 5 });
      },
      /\n/,
    );
    expect(code).toBe(0);
    const [, request, end] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(request).toMatchObject({ accepted: false, status: 503, fault: { kind: "status" } });
    expect(end).toEqual({ requests: 1, accepted: 0, refused: 1 });
  });
});

describe("demo", () => {
  test("publishes with a key and with a certificate, and shows both ends", async () => {
    const { code, stdout, stderr } = await run(["demo"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.match(/^ {2}✓ /gm)).toHaveLength(11);
    expect(stdout.match(/identical/g)).toHaveLength(8);
    expect(stdout.match(/hmacsha256 verified with the device's key/g)).toHaveLength(5);
    expect(stdout.match(/hmacsha256 verified with the ProductSecret; a new device/g)).toHaveLength(1);
    expect(stdout).toMatch(/second start {2}with the credential that is stored, nothing is registered/);
    expect(stdout).toMatch(/gateway {3}INF\|[^|]+\|started with the stored credential/);
    expect(stdout.match(/rsa-sha256 verified with the certificate's public key/g)).toHaveLength(3);
    expect(stdout).toContain("运行时间");
    expect(stdout.trimEnd().split("\n").at(-1)).toMatch(/^8 of 8 messages published, verified and received/);
  });

  test("tells a program the same", async () => {
    const { code, stdout } = await run(["demo", "--json"]);
    expect(code).toBe(0);
    const { published, failed, messages } = JSON.parse(stdout);
    expect({ published, failed }).toEqual({ published: 8, failed: 0 });
    expect(new Set(messages.map(({ requestId }: { requestId: string }) => requestId)).size).toBe(8);
  });
});

describe("readings", () => {
  test("take the temperature from a thermal zone, else from a hardware monitor, else from nowhere", async () => {
    const sys = file("sys");
    const put = async (path: string, content: string) => {
      await mkdir(join(sys, path, ".."), { recursive: true });
      await writeFile(join(sys, path), content);
    };
    expect((await takeReadings(sys)).temperatureC).toBeUndefined();
    await put("class/hwmon/hwmon0/name", "nvme\n");
    await put("class/hwmon/hwmon0/temp1_input", "-273150\n");
    await put("class/hwmon/hwmon1/temp2_input", "38850\n");
    const fromMonitor = await takeReadings(sys);
    expect(fromMonitor.temperatureC).toBe(38.9);
    expect(fromMonitor.temperatureFrom).toBe(join(sys, "class/hwmon/hwmon1/temp2_input"));
    await put("class/thermal/cooling_device0/temp", "1000\n");
    await put("class/thermal/thermal_zone0/temp", "47123\n");
    expect((await takeReadings(sys)).temperatureC).toBe(47.1);
  });

  test("fit into 16 bytes", async () => {
    const readings = { ...(await takeReadings()), takenAtMs: 1_700_000_000_500, load1: 1.5, uptimeSeconds: 77 };
    const view = new DataView(packReadings({ ...readings, temperatureC: -4.5, freeMemoryBytes: 2048 }).buffer);
    const fields = [view.getUint32(0), view.getInt16(4), view.getUint16(6), view.getUint32(8), view.getUint32(12)];
    expect(fields).toEqual([1_700_000_000, -450, 150, 2, 77]);
    expect(new DataView(packReadings({ ...readings, temperatureC: undefined }).buffer).getInt16(4)).toBe(-0x8000);
  });
});

describe("help", () => {
  test("shows commands, examples, environment and exit codes", async () => {
    const { code, stdout, stderr } = await run(["--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of ["publish", "log", "register", "sign", "gateway", "demo"]) {
      expect(stdout).toContain(`  ${command} `);
      const help = await run([command, "--help"]);
      expect(help.code).toBe(0);
      expect(help.stdout).toContain("Exit codes:");
      if (command !== "demo") expect(help.stdout).toContain("$ tencent-iothub ");
    }
    expect((await run(["publish", "--help"])).stdout).toContain("TENCENT_IOTHUB_PRODUCT_ID");
  });

  test("tells the version of the package", async () => {
    const { version: packaged } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect(version).toBe(packaged);
    expect(await run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect(await readFile(new URL("../../CHANGELOG.md", import.meta.url), "utf8")).toContain(`## [${version}]`);
  });
});
