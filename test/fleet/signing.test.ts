/** The signatures of the Locust file, in Python and without the library, are those of the official SDKs. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";

interface Vector {
  readonly id: string;
  readonly algorithm: string;
  readonly timestamp: number;
  readonly nonce: number;
  readonly body_base64: string;
  readonly string_to_sign: string;
  readonly signature: string;
  readonly key: Readonly<Record<string, string>>;
}

const { signing }: { readonly signing: readonly Vector[] } = JSON.parse(
  readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"),
);
const script = fileURLToPath(new URL("../../fleet/iothub_signing.py", import.meta.url));
const hasPython = spawnSync("python3", ["-c", "import hmac"]).status === 0;
if (!hasPython) process.stdout.write("skipped the Python signer: there is no python3\n");

(hasPython ? test : test.skip)("the Python signer signs like the SDKs", () => {
  const vectors = signing.filter(({ key }) => key.device_psk_as_text !== undefined);
  expect(vectors.length).toBeGreaterThanOrEqual(5);
  const requests = vectors.map(({ algorithm, timestamp, nonce, body_base64, string_to_sign, key }) => ({
    psk: key.device_psk_as_text,
    host: string_to_sign.split("\n")[1],
    path: string_to_sign.split("\n")[2],
    body: body_base64,
    timestamp,
    nonce,
    algorithm,
  }));
  const { stdout, stderr } = spawnSync("python3", [script], { input: JSON.stringify(requests), encoding: "utf8" });
  expect(stderr).toBe("");
  const headers: Record<string, string>[] = JSON.parse(stdout);
  expect(headers.map((signed, i) => [vectors[i].id, signed["X-TC-Signature"]])).toEqual(
    vectors.map(({ id, signature }) => [id, signature]),
  );
});
