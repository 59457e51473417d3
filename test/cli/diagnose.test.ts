import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { Device } from "../../host/node/index.js";
import { file, folder, gateway, PRODUCT, PSK, refused, wrong } from "../support/cli-fixture.js";
import { run } from "../support/run-cli.js";

const body =
  '{"ProductId":"ABCDE12345","DeviceName":"sensor1","TopicName":"ABCDE12345/sensor1/data","Payload":"21.5","Qos":1}';
const time = ["--timestamp", "1700000000", "--nonce", "42"];

/** A curl command of `sign`, signed for this host with this secret. */
async function signed(host: string, psk: string): Promise<string> {
  const args = ["sign", "--host", host, "--body", body, ...time, "--psk", psk, "--curl"];
  return (await run(args)).stdout;
}

describe("diagnose", () => {
  beforeAll(async () => {
    await writeFile(file("right.sh"), await signed("gw.example", PSK));
    await writeFile(file("cut.sh"), await signed("gw.example", PSK.replace("=", "")));
    await writeFile(file("wrong.sh"), await signed("gw.example", wrong));
    await writeFile(file("product.secret"), `${wrong}\n`);
    await writeFile(file("not-a-request"), "hello\n");
  });

  const pskFile = () => ["--psk-file", file("sensor1.psk")];

  test("accepts a command of sign --curl", async () => {
    const { code, stdout, stderr } = await run(["diagnose", file("right.sh"), ...pskFile()]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("\nthe signature is correct.\n");
    expect(stdout).toContain(`  8 bodyHash   ${createHash("sha256").update(body).digest("hex")}`);
  });

  test("shows the cause, the eight fields and the fix, but no secret", async () => {
    const { code, stdout } = await run(["diagnose", file("cut.sh"), ...pskFile()]);
    expect(code).toBe(0);
    expect(stdout).toContain("key: the PSK lost its trailing =");
    expect(stdout).toContain("    → Copy the complete PSK, with every = at its end.\n");
    expect(stdout).not.toContain(PSK.slice(0, -1));
    const json = await run(["diagnose", file("cut.sh"), ...pskFile(), "--json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({ verdict: "explained", deviations: [{ id: "psk-padding" }] });
    expect(json.stdout).not.toContain(PSK.slice(0, -1));
  });

  test("reports an unknown cause as unknown, and recognizes a ProductSecret used by mistake", async () => {
    const unknown = await run(["diagnose", file("wrong.sh"), ...pskFile(), "--json"]);
    expect(JSON.parse(unknown.stdout)).toMatchObject({ verdict: "key-or-text", deviations: [], pairsRuledOut: true });
    const known = ["diagnose", file("wrong.sh"), ...pskFile(), "--product-secret-file", file("product.secret")];
    expect((await run(known)).stdout).toContain("key: the key is the ProductSecret");
    expect((await run(known)).stdout).not.toContain(wrong);
  });

  test("verifies a registration with the ProductSecret, and recognizes a PSK used by mistake", async () => {
    const sign = ["sign", "--host", "gw.example", "--path", "/device/register", "--body", body, ...time, "--curl"];
    const both = [...pskFile(), "--product-secret-file", file("product.secret"), "--json"];
    for (const [options, expected] of [
      [["--product-secret-file", file("product.secret")], { verdict: "matches" }],
      [pskFile(), { verdict: "explained", deviations: [{ what: expect.stringContaining("the device's PSK") }] }],
    ] as const) {
      const { stdout: stdin } = await run([...sign, ...options]);
      expect(JSON.parse((await run(["diagnose", "-", ...both], { stdin })).stdout)).toMatchObject(expected);
    }
  });

  test("reads a request from standard input in the given format", async () => {
    const stdin = await signed("gw.example", `${PSK}\n`);
    const { stdout } = await run(["diagnose", "-", "--format", "curl", ...pskFile()], { stdin });
    expect(stdout).toContain('the PSK is followed by "\\n"');
  });

  test("accepts a request by its parts", async () => {
    const { headers } = JSON.parse(
      (await run(["sign", "--host", "gw.example", "--body", body, ...time, "--psk", `${PSK} `, "--json"])).stdout,
    ) as { headers: Record<string, string> };
    const given = Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
    const args = ["--url", "https://gw.example/device/publish", ...given, "--body", body, ...pskFile()];
    const { code, stdout } = await run(["diagnose", ...args, "--sent-at", String(1_700_000_000 - 8 * 3600)]);
    expect(code).toBe(0);
    expect(stdout).toContain('the PSK is followed by " "');
    expect(stdout).toContain("also: X-TC-Timestamp is 8 h ahead of the time of the request, as local time would be");
  });

  test("accepts a private key in PEM", async () => {
    const args = ["--host", "gw.example", "--body", body, ...time, "--key-file", file("sensor2.key"), "--curl"];
    await writeFile(file("rsa.sh"), (await run(["sign", ...args])).stdout);
    const right = await run(["diagnose", file("rsa.sh"), "--key-file", file("sensor2.key"), "--json"]);
    expect(JSON.parse(right.stdout).verdict).toBe("matches");
  });

  test("accepts the events of onEvent as a trace", async () => {
    const lines: string[] = [];
    const device = new Device({
      productId: PRODUCT,
      deviceName: "sensor1",
      credential: { secret: PSK.replace("c2", "d2") },
      url: gateway.url,
      onEvent: (event) => lines.push(JSON.stringify(event)),
    });
    await expect(device.publish({ topic: "data", payload: "21.5" })).rejects.toMatchObject({
      code: "GATEWAY_REJECTED",
    });
    device.close();
    await writeFile(file("trace.log"), lines.join("\n"));
    await writeFile(file("used.psk"), PSK.replace("c2", "d2"));
    const own = await run(["diagnose", file("trace.log"), "--psk-file", file("used.psk"), "--json"]);
    expect(JSON.parse(own.stdout).verdict).toBe("matches");
    const other = await run(["diagnose", file("trace.log"), ...pskFile(), "--json"]);
    expect(JSON.parse(other.stdout).verdict).toBe("key-or-text");
  });

  test.each<[string, () => string[], number, RegExp]>([
    ["no request", () => pskFile(), 2, /USAGE: Use either a file with the request or --url/],
    ["two requests", () => [file("right.sh"), "--url", "http://h", ...pskFile()], 2, /USAGE: Use either/],
    ["no key", () => [file("right.sh")], 3, /USAGE: The key is missing/],
    ["two PSKs", () => [file("right.sh"), ...pskFile(), "--psk", "x"], 2, /USAGE: Only one of --psk and --psk-file/],
    ["two keys", () => [file("right.sh"), ...pskFile(), "--key-file", "x"], 2, /USAGE: /],
    ["an unknown format", () => [file("right.sh"), ...pskFile(), "--format", "x"], 2, /USAGE: .*curl, http, har/],
    ["another format", () => [file("right.sh"), ...pskFile(), "--format", "har"], 2, /INVALID_HAR: /],
    ["no known form", () => [file("not-a-request"), ...pskFile()], 2, /UNKNOWN_FORMAT: /],
    ["a missing file", () => [file("nothing"), ...pskFile()], 2, /FILE_UNREADABLE: /],
    ["a missing key", () => [file("right.sh"), "--psk-file", file("nothing")], 3, /FILE_UNREADABLE: /],
    ["a key of the wrong kind", () => [file("right.sh"), "--key-file", file("sensor2.key")], 3, /INVALID_KEY: /],
    ["a damaged key", () => [file("right.sh"), "--key-file", file("broken-ca.pem")], 3, /INVALID_KEY: /],
    ["no signature", () => ["--url", "http://h/p", ...pskFile()], 2, /INVALID_REQUEST: .*X-TC-Signature/],
    ["a URL without a host", () => ["--url", "h", ...pskFile()], 2, /USAGE: The URL must begin/],
    ["a header that is none", () => ["--url", "http://h", "--header", "x", ...pskFile()], 2, /INVALID_HTTP: /],
    ["milliseconds", () => [file("right.sh"), "--sent-at", "1700000000000", ...pskFile()], 2, /USAGE: --sent-at/],
    ["a second body", () => [file("right.sh"), "--body", "x", ...pskFile()], 2, /USAGE: --body and --body-file/],
    ["headers beside a file", () => [file("right.sh"), "--header", "a: b", ...pskFile()], 2, /USAGE: --method and/],
  ])("reports %s in one line, with its exit code", async (_name, args, code, line) => {
    await refused(["diagnose", ...args()], code, line);
  });
});

test("the diagnose example of the page prints the documented output", async () => {
  const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
  const page = await readFile(path("tools/README.md"), "utf8");
  const section = page.slice(page.indexOf("## Why is a signature wrong"), page.indexOf("## In tests"));
  const [, commands, printed] = /```sh\n([\s\S]+?)```\n\n```\n([\s\S]+?)```/.exec(section) as RegExpExecArray;
  const program = `exec '${process.execPath}' --import '${path("test/support/typescript.mjs")}' '${path("tools/cli/tencent-iothub.ts")}' "$@"`;
  await writeFile(file("tencent-iothub"), `#!/bin/sh\n${program}\n`, { mode: 0o755 });
  const { status, stdout } = spawnSync("sh", ["-e", "-c", commands], {
    cwd: folder,
    encoding: "utf8",
    env: { PATH: `${folder}:${process.env.PATH}` },
  });
  expect(status).toBe(0);
  expect(stdout).toContain(`\n\n${printed}`);
});
