/** A folder of credentials and a gateway that knows their devices, for the tests of the command line. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect } from "@jest/globals";
import { type Gateway, startGateway } from "../../tools/gateway/index.js";
import { makeRsaKeys } from "./keys.js";
import { run, type Surroundings } from "./run-cli.js";

export const PRODUCT = "ABCDE12345";
export const PSK = "c2VjcmV0IG9mIHNlbnNvcjE=";
const keys = makeRsaKeys();
export const publicKey = keys.publicPem;
export const devices = { products: { [PRODUCT]: { devices: { sensor1: { psk: PSK }, sensor2: { publicKey } } } } };

export let folder: string;
export let gateway: Gateway;
/** Returns the path of a file in the folder. */
export const file = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tencent-iothub-cli-"));
  gateway = await startGateway({ devices });
  const files: Record<string, string | Uint8Array> = {
    "sensor1.psk": `${PSK}\n`,
    "sensor2.key": keys.privatePem,
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

/** Arguments of a publish of sensor1 to the gateway of these tests. */
export const sensor1 = (...more: string[]) => [
  "publish",
  ...["--url", gateway.url, "--product-id", PRODUCT, "--device-name", "sensor1", "--psk-file", file("sensor1.psk")],
  ...more,
];

/** A PSK of no device. */
export const wrong = "d3Jvbmcga2V5IG9mIGFsbCBvZg==";

/** Runs the CLI and expects one matching error line, empty stdout, and no secret in the output. @returns stderr */
export async function refused(args: readonly string[], exitCode: number, line: RegExp, around: Surroundings = {}) {
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
