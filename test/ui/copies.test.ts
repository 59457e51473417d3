import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { parseCurl } from "../../tools/diagnose/parse-curl.js";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { curlCommand, quote, signCommand, testCode } from "../../tools/ui/page/copies.js";
import type { RequestDetail } from "../../tools/ui/page/types.js";
import { cleanups } from "../support/cleanups.js";
import { type Call, message, send } from "../support/gateway-client.js";
import { makeRsaKeys, productSecret, psk } from "../support/keys.js";
import { run as runCli } from "../support/run-cli.js";

/** What could end a quotation, run a command, close a document, or do something in a terminal. */
const hostile: readonly (readonly [name: string, payload: string | Buffer])[] = [
  ["plain text", "hello"],
  ["nothing", ""],
  ["single quotes", "it's '; touch hacked; '"],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is for a shell
  ["a substitution", '$(touch hacked) `touch hacked` ${HOME} $HOME "!!" !cat'],
  ["the end of a here-document", "\nBODY\ntouch hacked\n"],
  ["the mark of a here-document", "BODY"],
  ["backslashes", "\\ \\n \\' \\\\ \\x41 %s %d %%"],
  ["line feeds", "a\nb\r\nc\n\n"],
  ["controls of a terminal", "\u001b[201~touch hacked\r\u0007\u0000"],
  ["marks of direction", "\u202ea\u2066b\ufeff"],
  ["scripts of the world", "温度 é 🌡️ ٣"],
  ["a long line", "0123456789".repeat(1200)],
  ["HTML", "<script>alert(1)</script>"],
  ["an option", "-o hacked @/etc/passwd"],
  ["binary", Buffer.from([0, 255, 254, 10, 13, 39, 92, 128])],
];

let sh: readonly string[] = [];
let hasCurl = false;
beforeAll(() => {
  const works = (shell: string) => spawnSync(shell, ["-c", "exit 7"]).status === 7;
  sh = ["sh", "bash"].filter(works);
  hasCurl = spawnSync("curl", ["--version"]).status === 0;
  if (!hasCurl) console.log("skipped: there is no curl here, so the copied commands are not run");
});

async function start(options: Parameters<typeof startGateway>[0] = {}): Promise<Gateway> {
  const devices = { products: { P1: { devices: { dev1: { psk } } } } };
  const gateway = await startGateway({ devices, ui: true, ...options });
  cleanups.push(() => gateway.close());
  return gateway;
}

async function detailOf(gateway: Gateway, index = gateway.received.length): Promise<RequestDetail> {
  return (await fetch(new URL(`/_/requests/${index}`, gateway.uiUrl))).json() as Promise<RequestDetail>;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "tencent-iothub-copies-"));
  cleanups.push(() => rmSync(path, { recursive: true }));
  return path;
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(file: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, ...env }, encoding: "utf8", timeout: 600_000 } as const;
    execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr });
    });
  });
}

const bodyOf = (payload: string | Buffer) =>
  typeof payload === "string"
    ? message({ Payload: payload })
    : message({ Payload: payload.toString("base64"), PayloadEncoding: "Base64" });

describe("copy as curl", () => {
  test.each(hostile)("sends the same bytes with %s, in every shell", async (_name, payload) => {
    const gateway = await start();
    // Once as a payload within JSON, and once as the body itself.
    for (const body of [bodyOf(payload), payload]) {
      await send(gateway, { body });
      const [original] = gateway.received.slice(-1);
      const command = curlCommand(await detailOf(gateway), gateway.url);
      // Nothing but line feeds and printable characters is pasted into a terminal.
      expect(command).not.toMatch(/[^\n\P{C}]/u);
      expect(Math.max(...command.split("\n").map((line) => Buffer.byteLength(line)))).toBeLessThan(4096);
      if (!hasCurl) continue;
      for (const shell of sh) {
        const cwd = folder();
        const ended = await run(shell, ["-c", command], cwd);
        expect(ended).toMatchObject({ code: 0, stderr: "" });
        expect(spawnSync("ls", ["-A", cwd]).stdout.toString()).toBe("");
        const copy = gateway.received.at(-1);
        expect(copy?.index).toBe((original.index as number) + 1 + sh.indexOf(shell));
        expect(copy?.body.equals(original.body)).toBe(true);
        const { connection: _a, ...sent } = original.headers;
        const { connection: _b, ...again } = copy?.headers ?? {};
        expect(again).toEqual(sent);
        if (original.accepted) expect(ended.stdout).toContain("AuthFailure.NonceReused");
      }
    }
  });

  test("keeps hostile headers and a hostile path", async () => {
    if (!hasCurl) return;
    const gateway = await start();
    const headers = { "user-agent": "it's $(touch hacked) `x` \\ %s", "x-empty": "", "x-latin": "caf\u00e9 '\u00a0" };
    await send(gateway, { path: "/device/../publish/[1-9]?q='$(touch%20hacked)'", headers });
    const [original] = gateway.received;
    const cwd = folder();
    const command = curlCommand(await detailOf(gateway), gateway.url);
    expect(await run("sh", ["-c", command], cwd)).toMatchObject({ code: 0, stderr: "" });
    expect(spawnSync("ls", ["-A", cwd]).stdout.toString()).toBe("");
    expect(gateway.received[1]).toMatchObject({
      url: original.url,
      headers: { ...headers, "x-latin": original.headers["x-latin"] },
    });
  });

  test("verifies the gateway by its CA", async () => {
    if (!hasCurl) return;
    const gateway = await start({ https: true });
    await send(gateway);
    const cwd = folder();
    writeFileSync(join(cwd, "ca.pem"), gateway.ca as string);
    const command = curlCommand(await detailOf(gateway), gateway.url);
    expect(command).toContain("--cacert ca.pem");
    const { code, stdout } = await run("sh", ["-c", command], cwd);
    expect({ code, isReplay: stdout.includes("NonceReused") }).toEqual({ code: 0, isReplay: true });
  });

  test("quotes for a POSIX shell", () => {
    expect(quote("it's")).toBe("'it'\\''s'");
    expect(quote("a\u0007'%\\")).toBe(`"$(printf 'a\\007\\047%%\\134')"`);
    for (const [, payload] of hostile) {
      if (typeof payload !== "string" || payload.endsWith("\n") || payload.includes("\0")) continue;
      expect(spawnSync("sh", ["-c", `printf %s ${quote(payload)}`]).stdout.toString()).toBe(payload);
    }
  });
});

describe("copy as sign --curl", () => {
  test.each(hostile)("passes on the same body with %s", async (_name, payload) => {
    const gateway = await start();
    for (const body of [bodyOf(payload), payload]) {
      await send(gateway, { body });
      const command = signCommand(await detailOf(gateway), gateway.url);
      expect(command).not.toMatch(/[^\n\P{C}]/u);
      const cwd = folder();
      // Instead of the command line: its arguments, each on separate lines.
      writeFileSync(join(cwd, "tencent-iothub"), '#!/bin/sh\nfor a; do printf "%s\\0" "$a"; done\n', { mode: 0o755 });
      const ended = await run("sh", ["-c", command], cwd, { PATH: `${cwd}:${process.env.PATH}` });
      expect(ended).toMatchObject({ code: 0, stderr: "" });
      const words = ended.stdout.split("\0").slice(0, -1);
      const key = body === payload ? "device.psk" : "dev1.psk";
      expect(words.slice(0, 5)).toEqual(["sign", "--url", `${gateway.url}/device/publish`, "--psk-file", key]);
      const [option, value] = words.slice(-2);
      const passed = option === "--body" ? Buffer.from(value) : readFileSync(join(cwd, value));
      expect(passed.equals(Buffer.from(body))).toBe(true);
    }
  });

  test("gives a request that the gateway accepts", async () => {
    if (!hasCurl) return;
    const gateway = await start();
    await send(gateway, { body: message({ Payload: "it's $HOME" }) });
    const cwd = folder();
    writeFileSync(join(cwd, "tencent-iothub"), '#!/bin/sh\nfor a; do printf "%s\\0" "$a"; done\n', { mode: 0o755 });
    writeFileSync(join(cwd, "dev1.psk"), psk);
    const command = signCommand(await detailOf(gateway), gateway.url);
    const { stdout } = await run("sh", ["-c", command], cwd, { PATH: `${cwd}:${process.env.PATH}` });
    const args = stdout.split("\0").slice(0, -1);
    const signed = await runCli(args.map((word) => (word === "dev1.psk" ? join(cwd, word) : word)));
    expect(signed).toMatchObject({ code: 0, stderr: "" });
    expect(await run("sh", ["-c", signed.stdout], cwd)).toMatchObject({ code: 0, stderr: "" });
    expect(gateway.received[1]).toMatchObject({ accepted: true, payload: Buffer.from("it's $HOME") });
  });

  test("is readable by the diagnosis, as the copied curl command is", async () => {
    const gateway = await start();
    await send(gateway);
    const command = curlCommand(await detailOf(gateway), gateway.url)
      .replace(/^.*\| /, "")
      .replace(/@-[\s\S]*/, `'${message()}'`);
    expect(parseCurl(command)).toMatchObject({ method: "POST", target: "/device/publish" });
  });
});

describe("copy as test", () => {
  const rsa = makeRsaKeys();
  /** With what it printed, which says why, if it fails. */
  const passed = { code: 0, stdout: expect.stringContaining("# pass 1"), stderr: "" };

  async function testPasses(detail: RequestDetail, env: NodeJS.ProcessEnv): Promise<Ended> {
    const cwd = folder();
    const root = pathToFileURL(`${process.cwd()}/`);
    const code = testCode(detail).replace(
      '"tencent-iothub-cli/gateway"',
      JSON.stringify(new URL("tools/gateway/index.ts", root)),
    );
    expect(code).not.toMatch(/[^\n\P{C}]/u);
    writeFileSync(join(cwd, "copied.test.mjs"), code);
    const loader = new URL("test/support/typescript.mjs", root).href;
    return run(process.execPath, ["--import", loader, "--test", "copied.test.mjs"], cwd, env);
  }

  test("repeats an accepted message, with payloads of every kind", async () => {
    const gateway = await start();
    const payload = hostile.map(([, each]) => each.toString()).join("");
    await send(gateway, { body: message({ Payload: payload }) });
    const detail = await detailOf(gateway);
    expect(await testPasses(detail, { TENCENT_IOTHUB_PSK: psk })).toMatchObject(passed);
    const wrong = await testPasses(detail, { TENCENT_IOTHUB_PSK: "another" });
    expect(wrong.code).not.toBe(0);
    expect(wrong.stdout).toContain("AuthFailure.SignatureFailure");
  });

  const now = Math.floor(Date.now() / 1000);
  test.each([
    ["a wrong signature", { secret: "another" }],
    ["an old timestamp", { timestamp: String(now - 4000) }],
    ["a binary body", { body: Buffer.from([0, 255, 39]) }],
    ["an unknown path", { path: "/nowhere?a='b'" }],
    ["HMAC-SHA1", { algorithm: "hmacsha1" }],
  ] as [string, Call][])("repeats the result of %s", async (_name, call) => {
    const gateway = await start();
    await send(gateway, call);
    expect(await testPasses(await detailOf(gateway), { TENCENT_IOTHUB_PSK: psk })).toMatchObject(passed);
  });

  test("repeats a replay, a fault, a signature by RSA and a registration", async () => {
    const gateway = await start({
      devices: {
        products: {
          P1: {
            productSecret,
            registration: { open: true },
            devices: { dev1: { psk }, dev2: { publicKey: rsa.publicPem } },
          },
        },
      },
    });
    await send(gateway, { nonce: "77" });
    await send(gateway, { nonce: "77" });
    gateway.faults.next({ kind: "status", status: 503 });
    await send(gateway);
    gateway.faults.next({ kind: "reset", phase: "headers" });
    await send(gateway).catch(() => {});
    await send(gateway, {
      body: message({ DeviceName: "dev2", TopicName: "P1/dev2/data" }),
      privateKey: rsa.privatePem,
      algorithm: "rsa-sha256",
    });
    await send(gateway, {
      path: "/device/register",
      secret: productSecret,
      body: '{"ProductId":"P1","DeviceName":"dev3"}',
    });
    const env = {
      TENCENT_IOTHUB_PSK: psk,
      TENCENT_IOTHUB_PUBLIC_KEY: rsa.publicPem,
      TENCENT_IOTHUB_PRODUCT_SECRET: productSecret,
    };
    expect(gateway.received.map(({ error, accepted }) => error?.code ?? accepted)).toEqual([
      true,
      "AuthFailure.NonceReused",
      "InternalError",
      true,
      true,
      true,
    ]);
    for (const { index } of gateway.received.slice(1)) {
      expect({ index, ...(await testPasses(await detailOf(gateway, index), env)) }).toMatchObject({
        index,
        ...passed,
      });
    }
  });
});
