import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { signRequest } from "../../src/signing/signer.js";

const peers = JSON.parse(readFileSync(new URL("../vectors/peers.json", import.meta.url), "utf8"));

describe("the official SDKs' signatures", () => {
  for (const v of peers.signing) {
    test(v.id, () => {
      const lines = v.string_to_sign.split("\n");
      const host = v.url ? new URL(v.url).host.toUpperCase() : lines[1];
      const pem = peers.rsa_test_key["rsa2048_pkcs8.pem"];
      const secret = Object.values(v.key ?? {})[0] as string;
      const body = new Uint8Array(Buffer.from(v.body_base64, "base64"));
      const credential = v.algorithm === "rsa-sha256" ? { privateKey: pem } : { secret, algorithm: v.algorithm };
      const signed = signRequest({ host, path: lines[2], body }, credential, {
        timestampSeconds: v.timestamp,
        nonce: v.nonce,
      });
      expect(signed.stringToSign).toBe(v.string_to_sign);
      expect(signed.signature).toBe(v.signature);
    });
  }
});
