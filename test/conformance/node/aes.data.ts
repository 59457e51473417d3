import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { pattern } from "../hash.cases.js";

const { aes_registration: vectors } = JSON.parse(
  readFileSync(new URL("../../vectors/peers.json", import.meta.url), "utf8"),
) as {
  aes_registration: readonly {
    readonly id: string;
    readonly product_secret: string;
    readonly response_json: string;
    readonly plaintext_in: string | null;
  }[];
};

const zeros = "00".repeat(16);

/** Vectors without a plaintext: the documentation's sample, and inputs that must be rejected. */
const contents: Readonly<Record<string, object | string>> = {
  "aes-01": { encryptionType: 2, psk: "lDZ6Uqt+I9E0wW7rvDUs7Q==" },
  "aes-10": "WRONG_PRODUCT_SECRET",
  "aes-12": "GATEWAY_REJECTED",
  "aes-13": "REGISTRATION_LENGTH",
};

export const data = {
  "known answer": {
    "FIPS 197 appendix B": {
      key: "2b7e151628aed2a6abf7158809cf4f3c",
      iv: zeros,
      ciphertext: "3925841d02dc09fbdc118597196a0b32",
      plain: "3243f6a8885a308d313198a2e0370734",
    },
    "FIPS 197 appendix C.1": {
      key: "000102030405060708090a0b0c0d0e0f",
      iv: zeros,
      ciphertext: "69c4e0d86a7b0430d8cdb78070b4c55a",
      plain: "00112233445566778899aabbccddeeff",
    },
    "SP 800-38A F.2.2": {
      key: "2b7e151628aed2a6abf7158809cf4f3c",
      iv: "000102030405060708090a0b0c0d0e0f",
      ciphertext:
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
      plain:
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    },
  },
  "every number of blocks": Array.from({ length: 20 }, (_, blocks) => {
    const cipher = createCipheriv("aes-128-cbc", pattern(16), pattern(32).subarray(16)).setAutoPadding(false);
    return Buffer.concat([cipher.update(pattern(16 * blocks)), cipher.final()]).toString("base64");
  }),
  "official SDKs": Object.fromEntries(
    vectors.map(({ id, product_secret: productSecret, response_json: reply, plaintext_in: plain }) => [
      id,
      { productSecret, reply, content: contents[id] ?? JSON.parse(plain ?? "") },
    ]),
  ),
};
