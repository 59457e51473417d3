import { base64 } from "../../src/crypto/base64.js";
import { hexDecode } from "../../src/crypto/hex.js";
import { IotHubError } from "../../src/index.js";
import { createSigner, signRequest } from "../../src/signing/signer.js";
import type { Case } from "./case.js";
import { keyForm } from "./signature.cases.js";

interface Signatures {
  readonly privateKey: string;
  readonly signatures: readonly { readonly text: string; readonly signature: string }[];
}

interface Refused {
  readonly code: string;
  readonly privateKey: string;
}

export const cases: readonly Case[] = [
  {
    name: "the signatures of node:crypto",
    each: true,
    run(check, { privateKey, signatures }: Signatures) {
      const signer = createSigner({ privateKey: keyForm(privateKey) });
      check.equal(signer.algorithm, "rsa-sha256");
      for (const { text, signature } of signatures) check.equal(signer.sign(text), signature, text);
      signer.close();
      check.throws("SIGNER_CLOSED", () => signer.sign("x"));
    },
  },
  {
    name: "unusable keys are rejected with a reason",
    each: true,
    run(check, { code, privateKey }: Refused) {
      const error = check.throws(code, () => createSigner({ privateKey: keyForm(privateKey) }));
      check.ok(error.message.length < 300, "the message is one sentence");
    },
  },
  {
    name: "a DER key cut off anywhere is refused",
    each: true,
    run(check, { privateKey, from, to }: { privateKey: string; from: number; to: number }) {
      const der = keyForm(privateKey) as Uint8Array;
      for (let length = from; length < to; length++) {
        check.throws("KEY_MALFORMED", () => createSigner({ privateKey: der.subarray(0, length) }), `${length} bytes`);
      }
    },
  },
  {
    name: "a key with one wrong byte is refused, or signs as before",
    run(check, { privateKey, text, signature }: { privateKey: string; text: string; signature: string }) {
      const der = keyForm(privateKey) as Uint8Array;
      let refused = 0;
      for (let at = 0; at < der.length; at += 31) {
        const bytes = der.slice();
        bytes[at] ^= 0x20;
        try {
          check.equal(createSigner({ privateKey: bytes }).sign(text), signature, `byte ${at}`);
        } catch (error) {
          if (!(error instanceof IotHubError) || !/^(KEY_|SIGNING_FAULT)/.test(error.code)) throw error;
          refused++;
        }
      }
      check.ok(refused > 10, "most are refused");
    },
  },
  {
    name: "a native signer is used, and believed only when its signature verifies",
    run(check, { privateKey, text, signature }: { privateKey: string; text: string; signature: string }) {
      const request = { host: "h", path: "/", body: "{}" };
      const time = { timestampSeconds: 1, nonce: 2 };
      const right = signRequest(request, { privateKey }, time);
      const bytes = hexDecode(signature);
      let message = "";
      const signer = createSigner(
        { privateKey },
        {
          rsa: {
            sign(_key, octets) {
              message = base64(octets);
              return bytes;
            },
          },
        },
      );
      check.equal(signer.sign(text), base64(bytes));
      check.ok(message.length > 0, "it was called");
      check.throws("SIGNING_FAULT", () => signRequest(request, signer, time));
      check.equal(right.headers["X-TC-Algorithm"], "rsa-sha256");
    },
  },
];
