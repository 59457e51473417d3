import { writeFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import { file, gateway, PRODUCT, PSK, sensor1 } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

describe("publish", () => {
  test("prints the result of the message", async () => {
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

  test.each(["sensor2.key", "sensor2.der"])("signs with a private key: %s", async (name) => {
    const args = ["publish", "--url", gateway.url, "--product-id", PRODUCT, "--device-name", "sensor2"];
    const { code, stderr } = await run([...args, "--key-file", file(name), "--topic", "data", "x"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(gateway.received[0].verifiedBy).toBe("publicKey");
  });

  test("reads settings from the environment, and warns only of a PSK on the command line", async () => {
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
    expect(stderr).toMatch(/^warning: a PSK on the command line .*\n$/);
    expect(stderr).not.toContain(PSK);
  });

  test("reads settings from a profile; the environment overrides it, the command line both", async () => {
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
    expect(stderr).toContain('debug: {"type":"sign"');
    expect(stderr).not.toContain(PSK);
    expect(stderr).not.toContain(gateway.received[0].headers["x-tc-signature"]);
  });

  test("prints colors on a terminal, unless NO_COLOR is set", async () => {
    const args = sensor1("--topic", "data", "x");
    expect((await run(args, { tty: true })).stdout).toContain("\u001b[32mpublished");
    expect((await run(args, { tty: true, env: { NO_COLOR: "1" } })).stdout).not.toContain("\u001b");
  });
});
