/** Digest and RSA of the SDK, as the Moddable host uses them, on stand-ins for the SDK's modules. */

import { verify } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { createDigest } from "../../host/moddable/digest.js";
import { HashDrbg } from "../../host/moddable/random.js";
import { SdkRsa } from "../../host/moddable/rsa.js";
import { sha256 } from "../../src/crypto/sha256.js";
import { utf8 } from "../../src/crypto/utf8.js";
import { createSigner, signRequest } from "../../src/signing/signer.js";

import { makeRsaKeys } from "../support/keys.js";
import { Digest, RSA, useMachine } from "../support/moddable-machine.js";

useMachine();

describe("native parts", () => {
  test("the native digest is used if it passes its test vectors", () => {
    const digest = createDigest();
    const parts = [utf8("温度"), new Uint8Array(100).subarray(3, 90), new Uint8Array(0)];
    expect(digest?.sha256(...parts)).toEqual(sha256(Buffer.concat(parts)));
    Digest.broken = true;
    expect(createDigest()).toBeUndefined();
  });

  const { privateKey, publicKey, privatePem: pem } = makeRsaKeys();

  test("native RSA signatures are valid", () => {
    const digest = createDigest();
    const rsa = new SdkRsa(digest as NonNullable<typeof digest>);
    const der = Uint8Array.from(privateKey.export({ format: "der", type: "pkcs1" }));
    const signature = rsa.sign(der, utf8("message"));
    expect(verify("sha256", Buffer.from("message"), publicKey, signature)).toBe(true);
  });

  test("a wrong RSA signature is withheld", () => {
    const digest = createDigest();
    const rsa = new SdkRsa(digest as NonNullable<typeof digest>);
    const signer = createSigner({ privateKey: pem }, { digest, rsa, random: new HashDrbg() });
    RSA.broken = true;
    const request = { host: "h.test", path: "/device/publish", body: "{}" };
    expect(() => signRequest(request, signer, { timestampSeconds: 1, nonce: 1 })).toThrow(
      expect.objectContaining({ code: "SIGNING_FAULT" }),
    );
  });
});
