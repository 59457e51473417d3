/** Files for the command line as editors and shells of different systems write them. */

import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { type Gateway, makeClientCertificate, startGateway } from "../../tools/gateway/index.js";
import { run } from "../support/run-cli.js";

const PRODUCT = "ABCDE12345";
const PSK = "c2VjcmV0IG9mIHNlbnNvcjE=";
const productSecret = "hzvf5LF9S0isvBhDSauWMaIk";
const keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
const publicKey = keys.publicKey.export({ type: "spki", format: "pem" }) as string;
const privateKey = keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const own = makeClientCertificate({ name: "sensor", keyType: "rsa" });
const devices = {
  products: {
    [PRODUCT]: { productSecret, devices: { sensor1: { psk: PSK }, sensor2: { publicKey } } },
    OWN: { productSecret, registration: { ownCa: own.root } },
  },
};

let folder: string;
let gateway: Gateway;
let secure: Gateway;
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tencent-iothub-text-"));
  gateway = await startGateway({ devices });
  secure = await startGateway({ devices, https: true });
});
afterAll(async () => {
  await gateway.close();
  await secure.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  gateway.clearReceived();
  secure.clearReceived();
});

const crlf = (text: string) => text.replace(/\r?\n/g, "\r\n");
const encodings: [string, (text: string) => Buffer][] = [
  ["UTF-8", (text) => Buffer.from(text)],
  ["UTF-8 with a byte order mark", (text) => Buffer.from(`\ufeff${text}`)],
  ["UTF-8 with a byte order mark, CR and LF", (text) => Buffer.from(`\ufeff${crlf(text)}`)],
];
const utf16: [string, (text: string) => Buffer][] = [
  ["UTF-16LE with a byte order mark", (text) => Buffer.from(`\ufeff${text}`, "utf16le")],
  ["UTF-16BE with a byte order mark", (text) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()],
  ["UTF-16LE", (text) => Buffer.from(text, "utf16le")],
  ["UTF-16BE", (text) => Buffer.from(text, "utf16le").swap16()],
];

/** Each kind of file, with a command that reads it as `path`. */
const readers: [string, () => string, (path: string) => string[]][] = [
  ["PSK file", () => `${PSK}\n`, (path) => publish("sensor1", "--psk-file", path)],
  ["key file", () => privateKey, (path) => publish("sensor2", "--key-file", path)],
  [
    "profile",
    () => JSON.stringify({ productId: PRODUCT, deviceName: "sensor1", topic: "data", url: gateway.url, psk: PSK }),
    (path) => ["publish", "--profile", path, "hello"],
  ],
  [
    "trust anchor file",
    () => secure.ca as string,
    (path) => [...publish("sensor1", "--trust-anchors", path), "--url", secure.url, "--psk-file", file("plain.psk")],
  ],
  [
    "ProductSecret file",
    () => `${productSecret}\n`,
    (path) => [...register(PRODUCT, path), "--out", file("registered"), "--force"],
  ],
  [
    "certificate file",
    () => own.chain,
    (path) => [...register("OWN", file("plain.secret")), "--client-certificate", path, "--client-key", file("own.key")],
  ],
  [
    "key file",
    () => own.key,
    (path) => [...register("OWN", file("plain.secret")), "--client-certificate", file("own.crt"), "--client-key", path],
  ],
];

function publish(name: string, ...more: string[]): string[] {
  return [
    "publish",
    "--url",
    gateway.url,
    "--product-id",
    PRODUCT,
    "--device-name",
    name,
    "--topic",
    "data",
    "hello",
    ...more,
  ];
}
function register(productId: string, secretFile: string): string[] {
  return [
    "register",
    "--url",
    gateway.url,
    "--product-id",
    productId,
    "--device-name",
    "sensor9",
    "--product-secret-file",
    secretFile,
  ];
}

describe.each(readers)("a %s", (what, content, command) => {
  beforeAll(async () => {
    await writeFile(file("plain.psk"), PSK);
    await writeFile(file("plain.secret"), productSecret);
    await writeFile(file("own.crt"), own.chain);
    await writeFile(file("own.key"), own.key);
  });

  test.each(encodings)("in %s is read", async (_name, encode) => {
    await writeFile(file("given"), encode(content()));
    const { code, stderr } = await run(command(file("given")));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  test.each(utf16)("in %s is rejected with its encoding and its name", async (_name, encode) => {
    await writeFile(file("given"), encode(content()));
    const { code, stderr } = await run(command(file("given")));
    expect([2, 3]).toContain(code);
    expect(stderr).toContain(`error: INVALID_UTF8: The ${what} ${file("given")} is UTF-16, not UTF-8.`);
    expect(gateway.received).toEqual([]);
  });

  test("that is unreadable is reported with the reason", async () => {
    await writeFile(file("regular"), "");
    await mkdir(file("directory"), { recursive: true });
    for (const [path, reason] of [
      [file("missing"), "no such file or directory (ENOENT)"],
      [file("directory"), "is a directory (EISDIR)"],
      [join(file("regular"), "below"), "not a directory (ENOTDIR)"],
    ]) {
      const { stderr } = await run(command(path));
      expect(stderr).toContain(`error: FILE_UNREADABLE: The ${what} ${path} cannot be read: ${reason}.`);
    }
  });
});

describe("a devices file", () => {
  test.each(encodings)("in %s is read", async (_name, encode) => {
    await writeFile(file("devices.json"), encode(JSON.stringify(devices, undefined, 2)));
    const one = await startGateway({ devices: file("devices.json") });
    await one.close();
  });

  test.each(utf16)("in %s is rejected with its encoding and its name", async (_name, encode) => {
    await writeFile(file("devices.json"), encode(JSON.stringify(devices)));
    await expect(startGateway({ devices: file("devices.json") })).rejects.toThrow(
      `The devices file ${file("devices.json")} is UTF-16, not UTF-8.`,
    );
  });
});

test("only one trailing line feed of a secret is removed", async () => {
  const sign = ["sign", "--host", "h.com", "--body", "{}", "--timestamp", "1700000000", "--nonce", "1", "--json"];
  const signature = async (content: string) => {
    await writeFile(file("secret"), content);
    const { stdout } = await run([...sign, "--psk-file", file("secret")]);
    return JSON.parse(stdout).signature as string;
  };
  const expected = await signature("secret");
  expect(await signature("secret\n")).toBe(expected);
  expect(await signature("secret\r\n")).toBe(expected);
  expect(await signature("\ufeffsecret\r\n")).toBe(expected);
  for (const other of ["secret\n\n", "secret ", " secret", "secret\r"])
    expect(await signature(other)).not.toBe(expected);
});

describe("a payload", () => {
  const send = (...more: string[]) =>
    publish("sensor1", "--psk-file", file("plain.psk"))
      .filter((arg) => arg !== "hello")
      .concat(more);
  beforeAll(() => writeFile(file("plain.psk"), PSK));

  test("keeps its byte order mark and its NULs", async () => {
    for (const content of ["\ufeff{}", "a\0", "\0a"]) {
      gateway.clearReceived();
      await writeFile(file("payload"), content);
      expect(await run(send("--payload-file", file("payload")))).toMatchObject({ code: 0, stderr: "" });
      expect(gateway.received[0].payload).toEqual(Buffer.from(content));
    }
  });

  test("that is not text is rejected with its file's name", async () => {
    await writeFile(file("payload"), Uint8Array.of(0xff, 0xfe, 0x41, 0));
    const { code, stderr } = await run(send("--payload-file", file("payload")));
    expect(code).toBe(2);
    expect(stderr).toContain(
      `The payload file ${file("payload")} is not valid UTF-8. Use --base64 to send binary data.`,
    );
  });
});

test("log reports the lines that were uploaded before a failure", async () => {
  await writeFile(file("plain.psk"), PSK);
  const lines = Array.from({ length: 250 }, (_, i) => `line ${i}`);
  let uploads = 0;
  const failing = await startGateway({
    devices,
    onRequest: () => {
      if (++uploads === 2) failing.faults.next({ kind: "status", status: 503 });
    },
  });
  try {
    const args = ["log", "--url", failing.url, "--product-id", PRODUCT, "--device-name", "sensor1"];
    const all = [...args, "--psk-file", file("plain.psk"), "-"];
    const { code, stdout, stderr } = await run(all, { stdin: `\ufeff${lines.join("\n")}` });
    expect({ code, stdout }).toEqual({ code: 5, stdout: "" });
    expect(stderr).toMatch(
      /^warning: the first 200 lines were logged before this failure; send only the rest\.\nerror: [A-Z_]+: [^\n]+\n$/,
    );
    const logged = failing.received.flatMap(({ messages }) => messages ?? []);
    expect(logged.slice(0, 200).map((line) => line.replace(/^.*\|/, ""))).toEqual(lines.slice(0, 200));
  } finally {
    await failing.close();
  }
});

describe("a closed pipe", () => {
  const cli = fileURLToPath(new URL("../../tools/cli/tencent-iothub.ts", import.meta.url));
  const loader = fileURLToPath(new URL("../support/typescript.mjs", import.meta.url));
  const start = (...args: string[]) =>
    spawn(process.execPath, ["--import", loader, cli, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = (child: ReturnType<typeof start>) =>
    new Promise<number | string | null>((resolve) => {
      child.once("exit", (code, signal) => resolve(code ?? signal));
    });

  test("of standard error does not change the exit code", async () => {
    const child = start("publish", "--topic", "data", "x");
    child.stderr.destroy();
    expect(await ended(child)).toBe(2);
  });

  test("of standard output does not change the exit code, and ends the gateway", async () => {
    const signing = start("sign", "--host", "h", "--body", "x", "--psk", "s");
    signing.stdout.destroy();
    expect(await ended(signing)).toBe(0);
    const serving = start("gateway", "--no-state", "--port", "0");
    serving.stdout.destroy();
    expect(await ended(serving)).toBe(0);
  });
});
