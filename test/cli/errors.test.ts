import { writeFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import { startGateway } from "../../tools/gateway/index.js";
import { devices, file, folder, gateway, PRODUCT, PSK, refused, sensor1, wrong } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

describe("bad input: one line, a stable code, an exit code by its class, no stack trace, no secret", () => {
  /** Settings for sensor1 without a credential. */
  const env = () => ({
    TENCENT_IOTHUB_URL: gateway.url,
    TENCENT_IOTHUB_PRODUCT_ID: PRODUCT,
    TENCENT_IOTHUB_DEVICE_NAME: "sensor1",
    TENCENT_IOTHUB_TOPIC: "data",
  });

  test("wrong PSK", async () => {
    const surroundings = { env: { ...env(), TENCENT_IOTHUB_PSK: wrong } };
    const stderr = await refused(
      ["publish", "x"],
      3,
      /^error: GATEWAY_REJECTED: .*AuthFailure\.SignatureFailure/,
      surroundings,
    );
    expect(stderr).toContain("Wrong PSK, private key or ProductSecret");
  });

  test("PSK without its = signs", async () => {
    const surroundings = { env: { ...env(), TENCENT_IOTHUB_PSK: PSK.replace(/=+$/, "") } };
    await refused(["publish", "x"], 3, /^error: INVALID_CREDENTIAL: .*lost its trailing = signs/, surroundings);
    expect(gateway.received).toEqual([]);
  });

  test("unknown device", async () => {
    const stderr = await refused(
      sensor1("--device-name", "sensor9", "--topic", "data", "x"),
      5,
      /ResourceNotFound\.DeviceNotExist/,
    );
    expect(stderr).toContain(" Check --product-id, --device-name and the region.");
  });

  test("unknown topic", async () => {
    const stderr = await refused(
      sensor1("--topic", "unheard-of", "x"),
      5,
      /^error: GATEWAY_REJECTED: .*TopicPolicyNotExist/,
    );
    expect(stderr).toContain(" Add the topic with the permission to publish to the product in the console");
  });

  test("payload of 20 KB", async () => {
    const stdin = "x".repeat(20_000);
    await refused(sensor1("--topic", "data", "-"), 2, /^error: PAYLOAD_TOO_LARGE: .*20000 bytes; the limit is 16384/, {
      stdin,
    });
    expect(gateway.received).toEqual([]);
  });

  test("endless payload", async () => {
    const stdin = "x".repeat(2_000_000);
    await refused(sensor1("--topic", "data", "-"), 2, /^error: PAYLOAD_TOO_LARGE: /, { stdin });
  });

  test.each(["2", "one", "", "1.5"])("invalid QoS %j", async (qos) => {
    await refused(sensor1("--topic", "data", "--qos", qos, "x"), 2, /^error: INVALID_QOS: /);
  });

  test("unreadable key file", async () => {
    const missing = file("missing.key");
    await refused(
      ["publish", "--key-file", missing, "x"],
      3,
      /^error: FILE_UNREADABLE: .*no such file or directory \(ENOENT\)\.( |$)/,
      {
        env: env(),
      },
    );
    await refused(
      ["publish", "--key-file", folder, "x"],
      3,
      /^error: FILE_UNREADABLE: .*is a directory \(EISDIR\)\.( |$)/,
      {
        env: env(),
      },
    );
    await refused(["publish", "--psk-file", missing, "x"], 3, /^error: FILE_UNREADABLE: The PSK file/, { env: env() });
  });

  test("encrypted key, and a file that is not a key", async () => {
    const args = (name: string) => ["publish", "--key-file", file(name), "x"];
    const stderr = await refused(args("encrypted.key"), 3, /^error: KEY_ENCRYPTED: /, { env: env() });
    expect(stderr).toContain("openssl pkcs8 -topk8 -nocrypt");
    await refused(args("sensor1.psk"), 3, /^error: KEY_MALFORMED: /, { env: env() });
  });

  test("gateway that is down", async () => {
    const down = await startGateway();
    await down.close();
    const stderr = await refused(sensor1("--url", down.url, "--topic", "data", "x"), 4, /^error: CONNECTION_REFUSED: /);
    expect(stderr).toContain(" Is the gateway running");
  });

  test("port in use", async () => {
    const args = ["gateway", "--port", String(gateway.port), "--devices", file("devices.json")];
    const stderr = await refused(args, 4, /^error: PORT_IN_USE: /);
    expect(stderr).toContain(" Choose another port with --port");
  });

  test("trust anchors that are missing, unreadable, or another CA's", async () => {
    const https = await startGateway({ https: true, devices });
    try {
      await writeFile(file("other-ca.pem"), (await startAndStop()).ca);
      const args = (ca: string) => sensor1("--url", https.url, "--trust-anchors", file(ca), "--topic", "data", "x");
      await refused(args("missing.pem"), 2, /^error: FILE_UNREADABLE: The trust anchor file/);
      await refused(args("devices.json"), 2, /^error: INVALID_TRUST_ANCHORS: /);
      await refused(args("broken-ca.pem"), 2, /^error: INVALID_TRUST_ANCHORS: /);
      const stderr = await refused(args("other-ca.pem"), 4, /^error: CERTIFICATE_REJECTED: /);
      expect(stderr).toContain("--trust-anchors");
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
  ])("clock that is %i hours wrong", async (hours, told) => {
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

  test("gateway that does not respond", async () => {
    const silent = await startGateway({ devices, fault: { kind: "hang", phase: "headers" } });
    try {
      const args = sensor1("--url", silent.url, "--timeout-ms", "100", "--topic", "data", "x");
      await refused(args, 4, /^error: TIMEOUT: /);
    } finally {
      await silent.close();
    }
  });

  test("server other than the gateway", async () => {
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
    [
      "a CA for plain HTTP",
      ["gateway", "--trust-anchors-out", "x"],
      /^error: USAGE: --trust-anchors-out requires --https\.( |$)/,
    ],
    ["a port that is none", ["gateway", "--port", "x"], /^error: USAGE: Option .--port <n>. /],
    ["an unknown fault", ["gateway", "--fault", "x"], /^error: INVALID_OPTION: /],
    ["no devices file", ["gateway", "--devices", "/nowhere/devices.json"], /^error: DEVICES_UNREADABLE: /],
    ["no host to sign", ["sign", "--body", "x", "--psk-file", "x"], /^error: USAGE: Use either --url or --host\./],
  ])("%s", async (_, args, line) => {
    await refused(args, 2, line);
  });

  test.each([
    ["no payload", [], /^error: USAGE: The payload is missing\.( |$)/],
    [
      "two payloads",
      ["--payload-file", "x", "y"],
      /^error: USAGE: A payload and --payload-file cannot be combined\.( |$)/,
    ],
    ["binary data", ["-"], /^error: INVALID_UTF8: The payload is not valid UTF-8\.( |$)/],
    ["a wildcard", ["--topic", "a/#", "x"], /^error: TOPIC_WILDCARD: /],
    ["a region and a url", ["--region", "europe", "x"], /^error: USAGE: Only one of region and url can be used/],
    ["a psk and a key", ["--key-file", "x", "x"], /^error: USAGE: Only one of pskFile and keyFile can be used/],
    ["a url with a path", ["--url", "http://127.0.0.1/x", "x"], /^error: INVALID_URL: /],
    ["no number", ["--timeout-ms", "soon", "x"], /^error: INVALID_OPTION: /],
  ])("%s to publish", async (_, more, line) => {
    await refused(sensor1("--topic", "data", ...more), 2, line, { stdin: Uint8Array.of(0xff) });
  });

  test("invalid profile", async () => {
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

  test("error as one JSON object with --json, stack trace with --debug", async () => {
    const json = await run(sensor1("--device-name", "sensor9", "--topic", "data", "--json", "x"));
    expect(json).toMatchObject({ code: 5, stdout: "" });
    expect(JSON.parse(json.stderr)).toMatchObject({
      error: { code: "GATEWAY_REJECTED", exitCode: 5, status: 200, gatewayCode: "ResourceNotFound.DeviceNotExist" },
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
