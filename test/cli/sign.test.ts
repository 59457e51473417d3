import { spawnSync } from "node:child_process";
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { describe, expect, test } from "@jest/globals";
import { visible } from "../../tools/diagnose/index.js";
import { file, PSK, publicKey, refused } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

const vectors = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));

describe("sign", () => {
  const { signing } = vectors;
  const rsaKey = vectors.rsa_test_key["rsa2048_pkcs1.pem"];

  test("returns the signatures of the official SDKs", async () => {
    await writeFile(file("rsa.key"), rsaKey);
    let counted = 0;
    for (const vector of signing) {
      const { algorithm, timestamp, nonce, body_base64, string_to_sign, signature, key: used } = vector;
      const [, host, pathname] = string_to_sign.split("\n");
      await writeFile(file("body"), Buffer.from(body_base64, "base64"));
      await writeFile(file("secret"), `${Object.values(used)[0]}\n`);
      const key = algorithm === "rsa-sha256" ? ["--key-file", file("rsa.key")] : ["--psk-file", file("secret")];
      const args = ["--host", host, "--path", pathname, "--body-file", file("body"), "--algorithm", algorithm];
      const time = ["--timestamp", String(timestamp), "--nonce", String(nonce)];
      const { code, stdout } = await run(["sign", ...args, ...time, ...key, "--json"]);
      expect(code).toBe(0);
      const reply = JSON.parse(stdout);
      expect(Object.keys(reply)).toEqual(["stringToSign", "signature", "headers"]);
      expect(reply.stringToSign).toBe(string_to_sign);
      expect(reply.signature).toBe(signature);
      expect(reply.headers["X-TC-Signature"]).toBe(signature);
      counted++;
    }
    expect(counted).toBe(signing.length);
  });

  const base = (...more: string[]) => ["sign", "--host", "Example.COM:8443", "--path", "/device/publish", ...more];
  const time = ["--timestamp", "0", "--nonce", "0"];

  test("warns of a PSK without its = signs, but not of a ProductSecret", async () => {
    await writeFile(file("cut"), PSK.replace(/=+$/, ""));
    const cut = await run(base("--body", "x", "--psk-file", file("cut")));
    expect(cut).toMatchObject({ code: 0, stderr: expect.stringMatching(/^warning: .*trailing = signs\.\n$/) });
    const args = [
      "sign",
      "--host",
      "h",
      "--path",
      "/device/register",
      "--body",
      "x",
      "--product-secret-file",
      file("cut"),
    ];
    expect(await run(args)).toMatchObject({ code: 0, stderr: "" });
  });

  test("takes a URL instead of host and path, and curl goes there", async () => {
    const rest = ["--body", "x", ...time, "--psk-file", file("sensor1.psk"), "--curl"];
    const { code, stdout } = await run(["sign", "--url", "http://127.0.0.1:8080/device/register?a=b", ...rest]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^curl -sS -X POST 'http:\/\/127\.0\.0\.1:8080\/device\/register' /);
    const byParts = ["sign", "--host", "127.0.0.1:8080", "--path", "/device/register", ...rest];
    expect((await run(byParts)).stdout).toBe(stdout.replace("http:", "https:"));
    for (const [args, line] of [
      [["--url", "http://h/", "--host", "h"], /^error: USAGE: Option '--url <url>' cannot be used with option '--host/],
      [["--url", "ftp://h/"], /^error: USAGE: --url must begin with http or https\./],
      [["--url", "h"], /^error: USAGE: --url is not a URL\./],
    ] as const) {
      await refused(["sign", ...args, "--body", "x", "--psk-file", file("sensor1.psk")], 2, line);
    }
  });

  test("makes invisible characters visible", async () => {
    await writeFile(file("body"), '{"a":"\u00a0\t"}\r\n');
    const { code, stdout } = await run(base("--body-file", file("body"), ...time, "--psk-file", file("sensor1.psk")));
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
    expect(stdout).toContain('Body: 13 bytes, hashed unchanged\n  {"a":"\\u{a0}␉"}␍␊\n');
    expect(stdout).not.toContain(PSK);
  });

  test("makes every character without a glyph visible", () => {
    expect(visible("a b\0\x7f\u200b\u2028\u{e0001}\ud800\u3000")).toBe(
      "a b␀␡\\u{200b}\\u{2028}\\u{e0001}\\u{d800}\\u{3000}",
    );
    expect(visible("温度 😀")).toBe("温度 😀");
  });

  test.each([
    ["--body", 'it\'s {"a": "$HOME `x` \\n 温"}'],
    ["--body", "@not-a-file"],
    ["--body-file", "body.json"],
  ])("prints a command that is quoted for the shell: %s %s", async (option, value) => {
    const content = option === "--body" ? value : '{"a":1}\n';
    if (option === "--body-file") await writeFile(file(value), content);
    const body = option === "--body" ? value : file(value);
    const { code, stdout, stderr } = await run(base(option, body, ...time, "--psk", PSK, "--curl"));
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning: a PSK on the command line /);
    expect(stdout + stderr).not.toContain(PSK);
    // A function in the place of curl shows the words that it was given.
    const shell = spawnSync("sh", ["-c", `curl() { for word do printf '%s\\0' "$word"; done; }\n${stdout}`]);
    expect(shell.status).toBe(0);
    const words = shell.stdout.toString().split("\0").slice(0, -1);
    expect(words.slice(0, 4)).toEqual(["-sS", "-X", "POST", "https://Example.COM:8443/device/publish"]);
    expect(words.slice(-2)).toEqual(option === "--body" ? ["--data-raw", body] : ["--data-binary", `@${body}`]);
    expect(words.filter((word) => word.startsWith("X-TC-"))).toHaveLength(4);
  });

  test("signs with a private key, and with the machine's time and nonce by default", async () => {
    const { code, stdout } = await run(base("--body", "", "--key-file", file("sensor2.der"), "--json"));
    expect(code).toBe(0);
    const { stringToSign, signature, headers } = JSON.parse(stdout);
    const key = createPublicKey(publicKey);
    expect(verify("sha256", Buffer.from(stringToSign), key, Buffer.from(signature, "base64"))).toBe(true);
    expect(headers["X-TC-Algorithm"]).toBe("rsa-sha256");
    expect(Number(headers["X-TC-Timestamp"])).toBeGreaterThan(1_700_000_000);
  });

  test.each([
    ["no body", [...time, "--psk", "x"], 2, "USAGE: Use either --body or --body-file"],
    ["two keys", ["--body", "", "--psk", "x", "--key-file", "x"], 2, "USAGE: Only one of --psk and --key-file"],
    ["no key", ["--body", ""], 3, "USAGE: The key is missing"],
    ["a PSK and a ProductSecret", ["--body", "", "--psk", "x", "--product-secret", "y"], 2, "signed with one key"],
    [
      "upper case",
      ["--body", "", "--psk", "x", "--algorithm", "HmacSha256"],
      2,
      "USAGE: Option '--algorithm <name>' argument 'HmacSha256' is invalid",
    ],
    ["a secret for RSA", ["--body", "", "--psk", "x", "--algorithm", "rsa-sha256"], 2, "requires --key-file"],
    ["milliseconds", ["--body", "", "--psk", "x", "--timestamp", "1700000000000"], 2, "INVALID_TIMESTAMP"],
    ["hexadecimal", ["--body", "", "--psk", "x", "--nonce", "0x10"], 2, "INVALID_NONCE"],
    ["no secret in it", ["--body", "", "--psk", ""], 3, "INVALID_CREDENTIAL"],
    ["a path with a query", ["--body", "", "--psk", "x", "--path", "/a?b"], 2, "INVALID_PATH"],
  ])("rejects %s", async (_, more, exitCode, text) => {
    const { code, stdout, stderr } = await run(base(...more));
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
    expect(stderr).toContain(text);
  });
});
