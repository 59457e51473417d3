import { aes128CbcDecrypt } from "../../src/crypto/aes.js";
import { base64Decode } from "../../src/crypto/base64.js";
import { hex, hexDecode } from "../../src/crypto/hex.js";
import { utf8 } from "../../src/crypto/utf8.js";
import { openRegistrationPayload } from "../../src/provisioning/register.js";
import { readResponse } from "../../src/request/response.js";
import type { Case } from "./case.js";
import { pattern } from "./hash.cases.js";

interface KnownAnswer {
  readonly key: string;
  readonly iv: string;
  readonly ciphertext: string;
  readonly plain: string;
}

interface Registration {
  readonly productSecret: string;
  readonly reply: string;
  /** The content, or the code of the error. */
  readonly content: object | string;
}

export const cases: readonly Case[] = [
  {
    name: "known answer",
    each: true,
    run(check, { key, iv, ciphertext, plain }: KnownAnswer) {
      check.equal(hex(aes128CbcDecrypt(hexDecode(key), hexDecode(iv), hexDecode(ciphertext))), plain);
    },
  },
  {
    name: "every number of blocks",
    run(check, data: readonly string[]) {
      for (const [blocks, ciphertext] of data.entries()) {
        const plain = aes128CbcDecrypt(pattern(16), pattern(32).subarray(16), base64Decode(ciphertext));
        check.equal(plain, pattern(16 * blocks), `${blocks} blocks`);
      }
    },
  },
  {
    name: "other lengths",
    run(check) {
      for (const [key, iv, text] of [
        [15, 16, 16],
        [16, 17, 16],
        [16, 16, 17],
        [32, 16, 16],
      ]) {
        check.throws("INVALID_OPTION", () =>
          aes128CbcDecrypt(new Uint8Array(key), new Uint8Array(iv), new Uint8Array(text)),
        );
      }
    },
  },
  {
    name: "official SDKs",
    each: true,
    run(check, { productSecret, reply, content }: Registration) {
      const open = () => {
        const { Payload, Len } = readResponse({ status: 200, headers: {}, body: utf8(reply) }).content;
        return openRegistrationPayload(productSecret, Payload as string, Len as number);
      };
      if (typeof content === "string") check.throws(content, open);
      else check.equal(open(), content);
    },
  },
];
